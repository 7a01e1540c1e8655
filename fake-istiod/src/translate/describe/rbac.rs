//! RBAC rules in words, a condition in one line.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::CidrRange;
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, StringMatcher, path_matcher};
use rbac::permission::Rule;
use rbac::principal::Identifier;

use super::{Page, string_matcher};

impl Page {
    pub(super) fn rbac(&mut self, rbac: &Rbac) {
        let Some(rules) = &rbac.rules else { return };
        self.field("action", rules.action().as_str_name());
        let policies: BTreeMap<_, _> = rules.policies.iter().collect();
        for (name, policy) in policies {
            self.nested(&format!("policies.{name}"), |page| {
                page.list("permissions", &policy.permissions, |page, it| page.line(format_args!("{}", permission(it))));
                page.list("principals", &policy.principals, |page, it| page.line(format_args!("{}", principal(it))));
            });
        }
    }
}

#[expect(deprecated, reason = "`metadata` is what istiod sends")]
fn permission(proto: &rbac::Permission) -> String {
    let set = |set: &rbac::permission::Set| set.rules.iter().map(permission).collect();
    match &proto.rule {
        Some(Rule::AndRules(rules)) => joined("and", set(rules)),
        Some(Rule::OrRules(rules)) => joined("or", set(rules)),
        Some(Rule::NotRule(rule)) => format!("not({})", permission(rule)),
        Some(Rule::Any(any)) => format!("any {any}"),
        Some(Rule::Header(matcher)) => header(matcher),
        Some(Rule::UrlPath(matcher)) => path(matcher),
        Some(Rule::DestinationIp(range)) => format!("destination_ip {}", cidr(range)),
        Some(Rule::DestinationPort(port)) => format!("destination_port {port}"),
        Some(Rule::RequestedServerName(name)) => format!("requested_server_name {}", string_matcher(name)),
        Some(Rule::Metadata(matcher)) => format!("metadata {}", matcher.filter),
        Some(Rule::UriTemplate(extension)) => extension.name.clone(),
        _ => "none".to_owned(),
    }
}

#[expect(deprecated, reason = "`metadata` is what istiod sends")]
fn principal(proto: &rbac::Principal) -> String {
    let set = |set: &rbac::principal::Set| set.ids.iter().map(principal).collect();
    match &proto.identifier {
        Some(Identifier::AndIds(ids)) => joined("and", set(ids)),
        Some(Identifier::OrIds(ids)) => joined("or", set(ids)),
        Some(Identifier::NotId(id)) => format!("not({})", principal(id)),
        Some(Identifier::Any(any)) => format!("any {any}"),
        Some(Identifier::Authenticated(authenticated)) => {
            let name: Option<String> = authenticated.principal_name.as_ref().map(exactly);
            format!("authenticated {}", name.unwrap_or_default())
        }
        Some(Identifier::Header(matcher)) => header(matcher),
        Some(Identifier::DirectRemoteIp(range)) => format!("direct_remote_ip {}", cidr(range)),
        Some(Identifier::RemoteIp(range)) => format!("remote_ip {}", cidr(range)),
        Some(Identifier::Metadata(matcher)) => format!("metadata {}", matcher.filter),
        _ => "none".to_owned(),
    }
}

fn joined(word: &str, parts: Vec<String>) -> String {
    format!("{word}({})", parts.join(", "))
}

fn header(matcher: &HeaderMatcher) -> String {
    let wanted = match &matcher.header_match_specifier {
        Some(HeaderMatchSpecifier::StringMatch(matcher)) => exactly(matcher),
        Some(HeaderMatchSpecifier::PresentMatch(present)) => format!("present {present}"),
        _ => "none".to_owned(),
    };
    format!("header {} {wanted}", matcher.name)
}

fn path(matcher: &PathMatcher) -> String {
    match &matcher.rule {
        Some(path_matcher::Rule::Path(matcher)) => format!("url_path {}", exactly(matcher)),
        None => "none".to_owned(),
    }
}

fn exactly(matcher: &StringMatcher) -> String {
    let ignoring = if matcher.ignore_case { " ignoring case" } else { "" };
    format!("{}{ignoring}", string_matcher(matcher))
}

fn cidr(range: &CidrRange) -> String {
    format!("{}/{}", range.address_prefix, range.prefix_len.map_or(0, |len| len.value))
}
