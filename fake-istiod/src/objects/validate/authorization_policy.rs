//! What istiod's validation webhook refuses of an AuthorizationPolicy, and what gRPC servers make of it otherwise than
//! sidecars.
//!
//! Source: Istio `pkg/config/validation/validation.go` (`ValidateAuthorizationPolicy`) and `pkg/config/security`.

use super::Check;
use crate::objects::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, PolicyTargetReference, RuleCondition, RuleOperation,
    RuleSource,
};
use crate::yaml::{field_path, listed};

/// The annotation with which a sidecar would only log what a policy would do.
const DRY_RUN: &str = "istio.io/dry-run";

/// What conditions may be about; the last four go on with a name in brackets.
const ATTRIBUTES: [&str; 16] = [
    "source.ip",
    "remote.ip",
    "source.namespace",
    "source.serviceAccount",
    "source.trustDomain",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.ip",
    "destination.port",
    "connection.sni",
    "request.headers",
    "request.experimental.inline.headers",
    "request.auth.claims",
    "experimental.envoy.filters.",
];

/// Of those, what stands in front of brackets.
const WITH_NAME: &[&str] = ATTRIBUTES.split_at(12).1;

/// Of those, who somebody is, which CUSTOM cannot ask.
const IDENTITIES: [&str; 5] = [
    "source.namespace",
    "source.serviceAccount",
    "source.principal",
    "request.auth.principal",
    "request.auth.audiences",
];

/// What a policy can be for instead of workloads, with its group.
const TARGETS: [(&str, &str); 4] = [
    ("", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// As many service accounts as one field takes, and as long as one of them may be.
const ACCOUNTS_MAX: usize = 16;
const ACCOUNT_LEN_MAX: usize = 320;

pub(in crate::objects) fn authorization_policy(check: &mut Check<'_>, policy: &AuthorizationPolicy) {
    let spec = &policy.spec;
    if let Some(selector) = &spec.selector {
        check.selector("spec.selector.matchLabels", &selector.match_labels);
        if spec.has_target() {
            check.error("invalid-value", "spec.selector", "expected one of selector, targetRef or targetRefs");
        }
    }
    if spec.target_ref.is_some() && !spec.target_refs.is_empty() {
        check.error("invalid-value", "spec.targetRef", "has no place beside targetRefs; write it there");
    }
    if let Some(target) = &spec.target_ref {
        target_reference(check, "spec.targetRef", target);
    }
    for (index, target) in spec.target_refs.iter().enumerate() {
        target_reference(check, &format!("spec.targetRefs[{index}]"), target);
    }
    if spec.has_target() {
        let path = if spec.target_ref.is_some() { "spec.targetRef" } else { "spec.targetRefs" };
        let message = "policies for gateways and waypoints have no effect on servers in the mesh";
        check.note("no-effect", path, message);
    }
    action(check, policy);
    if policy.metadata.annotations.get(DRY_RUN).is_some_and(|value| value == "true") {
        let message = "istiod does not look at this for gRPC servers: the policy is enforced";
        check.warning("treated-as", &field_path("metadata.annotations", DRY_RUN), message);
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = format!("spec.rules[{index}]");
        authorization_rule(check, &path, rule);
        if spec.action == AuthorizationAction::Custom {
            without_identities(check, &path, rule);
        }
    }
}

/// Source: `validatePolicyTargetReference`.
fn target_reference(check: &mut Check<'_>, path: &str, target: &PolicyTargetReference) {
    if target.name.is_empty() {
        check.error("missing-field", &format!("{path}.name"), "missing; which one?");
    }
    let namespace = format!("{path}.namespace");
    if check.root.find(&namespace).and_then(crate::yaml::Node::text).is_some_and(|text| !text.is_empty()) {
        check.error("invalid-value", &namespace, "is that of the policy; leave it out");
    }
    let group = if target.group == "core" { "" } else { &target.group };
    let kinds = || TARGETS.iter().map(|(_, kind)| *kind);
    if !TARGETS.contains(&(group, target.kind.as_str())) && check.is_whole(path) {
        let message = match TARGETS.iter().find(|(_, kind)| *kind == target.kind) {
            Some(("", kind)) => format!("{kind} has no group; leave out {group:?}"),
            Some((right, kind)) => format!("{kind} is of the group {right}, found {group:?}"),
            None => format!("no policy is for a {:?}; expected {}", target.kind, listed(&kinds().collect::<Vec<_>>())),
        };
        check.error("invalid-value", &format!("{path}.kind"), message);
    }
}

/// Whoever decides in Istio's place is asked before anybody knows who calls.
fn without_identities(check: &mut Check<'_>, path: &str, rule: &AuthorizationRule) {
    let message = "CUSTOM cannot tell who calls; leave it to a policy that ALLOWs or DENYs";
    for (index, source) in rule.from.iter().enumerate().filter_map(|(index, from)| Some((index, from.source.as_ref()?)))
    {
        for (field, values) in [
            ("principals", &source.principals),
            ("notPrincipals", &source.not_principals),
            ("requestPrincipals", &source.request_principals),
            ("notRequestPrincipals", &source.not_request_principals),
            ("namespaces", &source.namespaces),
            ("notNamespaces", &source.not_namespaces),
            ("serviceAccounts", &source.service_accounts),
            ("notServiceAccounts", &source.not_service_accounts),
        ] {
            if !values.is_empty() {
                check.error("invalid-value", &format!("{path}.from[{index}].source.{field}"), message);
            }
        }
    }
    for (index, condition) in rule.when.iter().enumerate() {
        let key = condition.key.as_str();
        let of_jwt = key == "request.auth.presenter" || key.starts_with("request.auth.claims");
        if of_jwt || IDENTITIES.contains(&key) {
            check.error("invalid-value", &format!("{path}.when[{index}].key"), message);
        }
    }
}

fn action(check: &mut Check<'_>, policy: &AuthorizationPolicy) {
    let spec = &policy.spec;
    let has_rules = !spec.rules.is_empty() || !check.is_read("spec.rules");
    let names_provider = spec.provider.as_ref().is_some_and(|provider| !provider.name.is_empty());
    match spec.action {
        AuthorizationAction::Custom => {
            if !names_provider {
                check.error("missing-field", "spec.provider.name", "missing; who decides?");
            }
            if !has_rules {
                check.error("missing-field", "spec.rules", "CUSTOM without rules would never be asked");
            }
        }
        _ if spec.provider.is_some() => {
            check.error("invalid-value", "spec.provider", "only CUSTOM has a provider; leave it out");
        }
        AuthorizationAction::Deny if !has_rules => {
            let message = "DENY without rules would never deny; `rules: [{}]` denies everything";
            check.error("missing-field", "spec.rules", message);
        }
        AuthorizationAction::Allow if !has_rules => {
            let message = "istiod sends gRPC servers nothing of a policy without rules, so that it denies nothing here, \
                           unlike with sidecars; `action: DENY` with `rules: [{}]` denies everything";
            check.warning("never-matches", "spec.rules", message);
        }
        AuthorizationAction::Allow | AuthorizationAction::Deny | AuthorizationAction::Audit => {}
    }
    if matches!(spec.action, AuthorizationAction::Audit | AuthorizationAction::Custom) {
        check.note("no-effect", "spec.action", "istiod sends gRPC servers only policies that ALLOW or DENY");
    }
}

fn authorization_rule(check: &mut Check<'_>, path: &str, rule: &AuthorizationRule) {
    for (field, length) in [("from", rule.from.len()), ("to", rule.to.len())] {
        let path = format!("{path}.{field}");
        if length == 0 && check.has(&path) {
            check.error("missing-field", &path, "is empty; leave it out to mean any");
        }
    }
    for (index, from) in rule.from.iter().enumerate() {
        let path = format!("{path}.from[{index}].source");
        match &from.source {
            Some(source) => rule_source(check, &path, source),
            None => check.error("missing-field", &path, "missing; who?"),
        }
    }
    for (index, to) in rule.to.iter().enumerate() {
        let path = format!("{path}.to[{index}].operation");
        match &to.operation {
            Some(operation) => rule_operation(check, &path, operation),
            None => check.error("missing-field", &path, "missing; what?"),
        }
    }
    for (index, condition) in rule.when.iter().enumerate() {
        rule_condition(check, &format!("{path}.when[{index}]"), condition);
    }
}

fn rule_source(check: &mut Check<'_>, path: &str, source: &RuleSource) {
    let fields = [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ];
    not_empty(check, path, &fields);
    for (field, values) in &fields[10..] {
        values_are(check, &format!("{path}.{field}"), values, is_range, "an IP address or a range such as 10.0.0.0/8");
    }
    for (field, values) in &fields[6..8] {
        service_accounts(check, &format!("{path}.{field}"), values);
    }
    let said_already = [0, 1, 4, 5].into_iter().any(|index: usize| !fields[index].1.is_empty());
    if let Some((field, _)) = fields[6..8].iter().find(|(_, values)| !values.is_empty() && said_already) {
        let message = "service accounts say principals and namespaces already; leave those out";
        check.error("invalid-value", &format!("{path}.{field}"), message);
    }
    for (field, values) in &fields[2..4] {
        if !values.is_empty() {
            of_jwt(check, &format!("{path}.{field}"), field.starts_with("not"));
        }
    }
}

fn rule_operation(check: &mut Check<'_>, path: &str, operation: &RuleOperation) {
    let fields = [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
        ("ports", &operation.ports),
        ("notPorts", &operation.not_ports),
    ];
    not_empty(check, path, &fields);
    for (field, values) in &fields[6..] {
        values_are(check, &format!("{path}.{field}"), values, is_port, "a port from 0 to 65535");
    }
    for (field, values) in &fields[4..6] {
        for (index, value) in values.iter().enumerate() {
            let path = format!("{path}.{field}[{index}]");
            match path_template(value) {
                Err(message) => check.error("invalid-value", &path, format!("{message}, found {value:?}")),
                Ok(false) => {}
                Ok(true) => {
                    let message = "gRPC servers know no templates of paths: they reject the whole listener";
                    check.warning("rejected", &path, message);
                }
            }
        }
    }
    let is_post = |value: &String| match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(suffix), _) => "POST".ends_with(suffix),
        (None, Some(prefix)) => "POST".starts_with(prefix),
        (None, None) => value == "POST",
    };
    if !operation.methods.is_empty() && !operation.methods.iter().any(is_post) {
        check.warning("never-matches", &format!("{path}.methods"), "the method of every gRPC call is POST");
    }
}

fn rule_condition(check: &mut Check<'_>, path: &str, condition: &RuleCondition) {
    let key = condition.key.as_str();
    let key_path = format!("{path}.key");
    if key.is_empty() {
        check.error("missing-field", &key_path, "missing; a condition of what?");
        return;
    }
    if condition.values.is_empty() && condition.not_values.is_empty() && check.is_whole(path) {
        check.error("missing-field", path, "needs values or notValues");
    }
    // The webhook wants something in brackets at the end, and looks no closer at what is in front of them.
    let in_brackets = |prefix: &str| {
        let rest = key.strip_prefix(prefix)?;
        let (before, name) = rest.strip_suffix(']')?.split_once('[')?;
        (!name.is_empty() && (before.is_empty() || prefix.ends_with('.'))).then_some(name)
    };
    let known = ATTRIBUTES[..12].contains(&key) || WITH_NAME.iter().any(|prefix| in_brackets(prefix).is_some());
    if !known {
        let near = crate::yaml::nearest(key, ATTRIBUTES);
        let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        let meant = match WITH_NAME.iter().find(|prefix| key.starts_with(**prefix)) {
            Some(prefix) if prefix.ends_with('.') => format!("; write `{prefix}filter[name]`"),
            Some(prefix) => format!("; write `{prefix}[name]`"),
            None => meant,
        };
        check.error("invalid-value", &key_path, format!("no condition is about {key:?}{meant}"));
        return;
    }
    for (field, values) in [("values", &condition.values), ("notValues", &condition.not_values)] {
        let path = format!("{path}.{field}");
        match key {
            "source.ip" | "remote.ip" | "destination.ip" => {
                values_are(check, &path, values, is_range, "an IP address or a range such as 10.0.0.0/8");
            }
            "destination.port" => values_are(check, &path, values, is_port, "a port from 0 to 65535"),
            "source.serviceAccount" => service_accounts(check, &path, values),
            _ => values_are(check, &path, values, |value| !value.is_empty(), "a value that is not empty"),
        }
        let of_metadata = key.starts_with("request.auth.") || key.starts_with(ATTRIBUTES[15]);
        if of_metadata && !values.is_empty() {
            of_jwt(check, &path, field == "notValues");
        }
    }
    if let Some(name) = in_brackets(ATTRIBUTES[12]).or_else(|| in_brackets(ATTRIBUTES[13])) {
        let name = name.to_ascii_lowercase();
        if name == ":scheme" || name.starts_with("grpc-") {
            let message = "gRPC servers do not look at this header: they reject the whole listener";
            check.warning("rejected", &key_path, message);
        } else if name.ends_with("-bin") {
            check.warning("never-matches", &key_path, "gRPC servers keep binary metadata (-bin) out of this");
        }
    }
    if key == "connection.sni" {
        check.note("treated-as", &key_path, "gRPC servers take the name to be empty");
    }
}

/// What only dynamic metadata could tell, which gRPC has none of.
fn of_jwt(check: &mut Check<'_>, path: &str, inverted: bool) {
    let message = if inverted {
        "gRPC servers know nothing of it: this holds for every call"
    } else {
        "gRPC servers know nothing of it: this holds for no call"
    };
    check.warning(if inverted { "always-matches" } else { "never-matches" }, path, message);
}

/// Source: `pkg/config/security` (`CheckServiceAccount`).
fn service_accounts(check: &mut Check<'_>, path: &str, values: &[String]) {
    if values.len() > ACCOUNTS_MAX {
        let message =
            format!("{} are more than the {ACCOUNTS_MAX} that istiod takes; write another rule", values.len());
        check.error("out-of-range", path, message);
    }
    let plain = |value: &str| {
        let parts: Vec<&str> = value.split('/').collect();
        !value.contains('*') && parts.len() <= 2 && parts.iter().all(|part| !part.is_empty())
    };
    values_are(check, path, values, plain, "`name` or `namespace/name` without `*`");
    let short = |value: &str| value.len() <= ACCOUNT_LEN_MAX || !plain(value);
    values_are(check, path, values, short, "no more than 320 characters");
}

/// Whether a path is a template; an error says what it may be if it is neither that nor a path.
///
/// Source: `pkg/config/security` (`CheckValidPathTemplate`).
fn path_template(path: &str) -> Result<bool, &'static str> {
    let is_template = path.contains("{*}") || path.contains("{**}");
    let mut is_over = false;
    for part in path.trim_matches('/').split('/') {
        match part {
            "{*}" | "{**}" if is_over => return Err("expected {**} as the last template of a path"),
            "{*}" => {}
            "{**}" => is_over = true,
            part if part.contains(['{', '}']) => {
                return Err("expected {*} or {**} as a whole part of a path, and no other braces");
            }
            part if is_template && (part.is_empty() || !part.bytes().all(is_of_path)) => {
                return Err("expected what a URL's path may have between its templates");
            }
            _ => {}
        }
    }
    Ok(is_template)
}

/// RFC 3986's `pchar`.
fn is_of_path(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

fn not_empty(check: &mut Check<'_>, path: &str, fields: &[(&str, &Vec<String>)]) {
    if fields.iter().all(|(_, values)| values.is_empty()) && check.is_whole(path) {
        check.error("missing-field", path, "is empty; leave the whole entry out to mean any");
    }
    // Of service accounts there is more to say.
    for (field, values) in fields.iter().filter(|(field, _)| !field.ends_with("erviceAccounts")) {
        values_are(check, &format!("{path}.{field}"), values, |value| !value.is_empty(), "a value that is not empty");
    }
}

fn values_are(check: &mut Check<'_>, path: &str, values: &[String], is_good: impl Fn(&str) -> bool, what: &str) {
    for (index, value) in values.iter().enumerate().filter(|(_, value)| !is_good(value)) {
        check.error("invalid-value", &format!("{path}[{index}]"), format!("expected {what}, found {value:?}"));
    }
}

fn is_port(value: &str) -> bool {
    value.parse::<u16>().is_ok()
}

fn is_range(value: &str) -> bool {
    crate::objects::ip_range(value).is_some()
}
