//! What is wanted of RPCs, as text: authorization policies with their principals and permissions, and the matchers of
//! headers and texts that routes and TLS have as well.

use hermesh_xds::resource::{
    AuditCondition, HeaderMatcher, HeaderMatcherKind, RbacAction, RbacMatcher, RbacPolicy, RbacRules, StringMatcher,
    StringMatcherKind,
};

/// What a filter does, by the names of its policies.
pub(super) fn rbac(rules: &RbacRules) -> String {
    let action = match rules.action {
        RbacAction::Allow => "allows only",
        RbacAction::Deny => "denies",
    };
    let audit = match rules.audit {
        Some(AuditCondition { on_allow: true, on_deny: true }) => " (audited)",
        Some(AuditCondition { on_allow: true, .. }) => " (audited if let in)",
        Some(AuditCondition { on_deny: true, .. }) => " (audited if denied)",
        Some(_) | None => "",
    };
    let policies: Vec<&str> = rules.policies.keys().map(String::as_str).collect();
    format!("{action} by {}{audit}", if policies.is_empty() { "nothing".to_owned() } else { policies.join(" or ") })
}

/// A policy: `from identity spiffe://cluster.local/ns/shop/sa/web to path /shop.Cart/... and port 7070`.
pub(super) fn policy(policy: &RbacPolicy) -> String {
    format!("from {} to {}", one_of(&policy.principals).0, one_of(&policy.permissions).0)
}

/// Its text, and whether there is more than one matcher in it.
fn rule(rule: &RbacMatcher) -> (String, bool) {
    let text = match rule {
        RbacMatcher::Always => "any".to_owned(),
        RbacMatcher::Never => "none".to_owned(),
        RbacMatcher::All(all) => return joined(all, " and ", "any"),
        RbacMatcher::One(one) => return one_of(one),
        RbacMatcher::Not(rule) => format!("not {}", bracketed(rule)),
        RbacMatcher::Header(wanted) => header(wanted),
        RbacMatcher::Path(path) => format!("path {}", matcher(path)),
        RbacMatcher::DestinationIp(range) => format!("address {range}"),
        RbacMatcher::DestinationPort(port) => format!("port {port}"),
        RbacMatcher::RequestedServerName(name) => format!("server name {}", matcher(name)),
        RbacMatcher::SourceIp(range) => format!("source {range}"),
        RbacMatcher::Authenticated(None) => "whoever comes by TLS".to_owned(),
        RbacMatcher::Authenticated(Some(name)) => format!("identity {}", matcher(name)),
    };
    (text, false)
}

fn one_of(rules: &[RbacMatcher]) -> (String, bool) {
    joined(rules, " or ", "none")
}

fn joined(rules: &[RbacMatcher], by: &str, of_none: &str) -> (String, bool) {
    match rules {
        [] => (of_none.to_owned(), false),
        [only] => rule(only),
        _ => (rules.iter().map(bracketed).collect::<Vec<_>>().join(by), true),
    }
}

fn bracketed(of: &RbacMatcher) -> String {
    match rule(of) {
        (text, true) => format!("({text})"),
        (text, false) => text,
    }
}

/// `header x-user ada`
pub(super) fn header(wanted: &HeaderMatcher) -> String {
    let not = if wanted.invert { "not " } else { "" };
    let what = match &wanted.kind {
        HeaderMatcherKind::String(text) => matcher(text),
        HeaderMatcherKind::Range { start, end } => format!("from {start} to below {end}"),
        HeaderMatcherKind::Present(true) => "is there".to_owned(),
        HeaderMatcherKind::Present(false) => "is not there".to_owned(),
    };
    format!("{not}header {} {what}", wanted.name)
}

/// `cart`, `cart...` for a prefix, and so on.
pub(super) fn matcher(matcher: &StringMatcher) -> String {
    let text = match &matcher.kind {
        StringMatcherKind::Exact(text) => text.clone(),
        StringMatcherKind::Prefix(text) => format!("{text}..."),
        StringMatcherKind::Suffix(text) => format!("...{text}"),
        StringMatcherKind::Contains(text) => format!("...{text}..."),
        // It has its own way to say that case does not matter.
        StringMatcherKind::Regex(regex) => return format!("like {}", regex.pattern()),
    };
    text + any_case(matcher.ignore_case)
}

/// What follows a text of which case is ignored.
pub(super) fn any_case(ignored: bool) -> &'static str {
    if ignored { " in any case" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: StringMatcherKind) -> StringMatcher {
        StringMatcher { kind, ignore_case: false }
    }

    #[test]
    fn a_policy_reads_as_who_may_do_what() {
        let web = text(StringMatcherKind::Exact("spiffe://cluster.local/ns/shop/sa/web".to_owned()));
        let path = text(StringMatcherKind::Prefix("/shop.Cart/".to_owned()));
        let by = |rule| RbacMatcher::All(vec![RbacMatcher::One(vec![rule])]);
        let both = RbacMatcher::All(vec![
            RbacMatcher::One(vec![RbacMatcher::Path(path)]),
            RbacMatcher::One(vec![RbacMatcher::DestinationPort(7070), RbacMatcher::DestinationPort(7071)]),
        ]);
        let cart = RbacPolicy { principals: vec![by(RbacMatcher::Authenticated(Some(web)))], permissions: vec![both] };
        assert_eq!(
            policy(&cart),
            "from identity spiffe://cluster.local/ns/shop/sa/web to path /shop.Cart/... and (port 7070 or port 7071)"
        );
        let others = RbacMatcher::Not(Box::new(RbacMatcher::One(vec![
            RbacMatcher::DestinationPort(1),
            RbacMatcher::DestinationPort(2),
        ])));
        let open = RbacPolicy { principals: vec![by(RbacMatcher::Always)], permissions: vec![others] };
        assert_eq!(policy(&open), "from any to not (port 1 or port 2)");
        assert_eq!(policy(&RbacPolicy::default()), "from none to none");
    }

    #[test]
    fn what_is_wanted_of_a_header_is_told_whole() {
        let wanted = |kind, invert| header(&HeaderMatcher { name: "x-user".to_owned(), kind, invert });
        let ada = StringMatcher { kind: StringMatcherKind::Exact("Ada".to_owned()), ignore_case: true };
        assert_eq!(wanted(HeaderMatcherKind::String(ada), false), "header x-user Ada in any case");
        assert_eq!(wanted(HeaderMatcherKind::Range { start: 1, end: 5 }, true), "not header x-user from 1 to below 5");
        assert_eq!(wanted(HeaderMatcherKind::Present(true), false), "header x-user is there");
    }
}
