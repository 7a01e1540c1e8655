//! One rule: `to` becomes permissions, `from` becomes principals, and `when` joins either.
//!
//! Within an entry the attributes are joined by and, the values of one attribute by or; the attributes of `from` and
//! `to` come in the reverse of the order in which the model collects them, those of `when` last.

use envoy_types::pb::envoy::config::core::v3::{CidrRange, TypedExtensionConfig};
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::path::r#match::uri_template::v3::UriTemplateMatchConfig;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{PathMatcher, RegexMatcher, StringMatcher, path_matcher};
use rbac::permission::Rule;

use super::principals;
use crate::objects::{AuthorizationRule, RuleCondition, RuleOperation, RuleSource, ip_range};
use crate::translate::proto;

/// The rule of a policy in `namespace`; none if a value of it means nothing.
pub(super) fn policy(namespace: &str, rule: &AuthorizationRule) -> Option<rbac::Policy> {
    let sources: Vec<Option<&RuleSource>> = rule.from.iter().map(|from| from.source.as_ref()).collect();
    let operations: Vec<Option<&RuleOperation>> = rule.to.iter().map(|to| to.operation.as_ref()).collect();
    let permissions = any_if_none(operations).into_iter().map(|operation| permission(operation, &rule.when));
    let principals =
        any_if_none(sources).into_iter().map(|source| principals::principal(namespace, source, &rule.when));
    Some(rbac::Policy {
        permissions: permissions.collect::<Option<_>>()?,
        principals: principals.collect::<Option<_>>()?,
        ..rbac::Policy::default()
    })
}

fn any_if_none<T>(entries: Vec<Option<T>>) -> Vec<Option<T>> {
    if entries.is_empty() { vec![None] } else { entries }
}

fn permission(operation: Option<&RuleOperation>, when: &[RuleCondition]) -> Option<rbac::Permission> {
    let mut all = All::default();
    if let Some(operation) = operation {
        all.add(&operation.hosts, &operation.not_hosts, |value| Some(Rule::Header(host(value))))?;
        all.add(&operation.methods, &operation.not_methods, |value| Some(Rule::Header(header(":method", value))))?;
        all.add(&operation.paths, &operation.not_paths, |value| Some(path(value)))?;
        all.add(&operation.ports, &operation.not_ports, |value| value.parse().ok().map(Rule::DestinationPort))?;
    }
    for condition in when {
        let (values, not_values) = (&condition.values, &condition.not_values);
        match condition.key.as_str() {
            "destination.ip" => all.add(values, not_values, |value| cidr(value).map(Rule::DestinationIp))?,
            "destination.port" => {
                all.add(values, not_values, |value| value.parse().ok().map(Rule::DestinationPort))?;
            }
            "connection.sni" => {
                all.add(values, not_values, |value| Some(Rule::RequestedServerName(string(value))))?;
            }
            #[expect(deprecated, reason = "it is what istiod sends")]
            key if key.starts_with(principals::ENVOY_FILTERS) => {
                all.add(values, not_values, |value| Some(Rule::Metadata(principals::metadata(key, value))))?;
            }
            _ => {}
        }
    }
    Some(all.permission())
}

/// Permissions that must all hold.
#[derive(Default)]
struct All(Vec<rbac::Permission>);

impl All {
    /// Adds an attribute: one of `values`, none of `not_values`. None if a value means nothing.
    fn add(&mut self, values: &[String], not_values: &[String], rule: impl Fn(&str) -> Option<Rule>) -> Option<()> {
        let one = |values: &[String]| {
            let rules = values.iter().map(|value| rule(value).map(from_rule)).collect::<Option<_>>()?;
            Some(from_rule(Rule::OrRules(rbac::permission::Set { rules })))
        };
        if !values.is_empty() {
            self.0.push(one(values)?);
        }
        if !not_values.is_empty() {
            self.0.push(from_rule(Rule::NotRule(Box::new(one(not_values)?))));
        }
        Some(())
    }

    fn permission(mut self) -> rbac::Permission {
        if self.0.is_empty() {
            self.0.push(from_rule(Rule::Any(true)));
        }
        from_rule(Rule::AndRules(rbac::permission::Set { rules: self.0 }))
    }
}

fn from_rule(rule: Rule) -> rbac::Permission {
    rbac::Permission { rule: Some(rule) }
}

/// A path with variables is a template, which gRPC servers reject.
fn path(value: &str) -> Rule {
    if !value.contains(['{', '}']) {
        return Rule::UrlPath(PathMatcher { rule: Some(path_matcher::Rule::Path(string(value))) });
    }
    let config = UriTemplateMatchConfig { path_template: value.replace("{*}", "*").replace("{**}", "**") };
    Rule::UriTemplate(TypedExtensionConfig { name: "uri-template".to_owned(), typed_config: Some(proto::any(&config)) })
}

/// Whether a value is there, ends or begins like this, or is this.
pub(super) fn header(name: &str, value: &str) -> HeaderMatcher {
    header_matcher(name, value, false)
}

fn host(value: &str) -> HeaderMatcher {
    header_matcher(":authority", value, true)
}

fn header_matcher(name: &str, value: &str, ignore_case: bool) -> HeaderMatcher {
    let specifier = if value == "*" {
        HeaderMatchSpecifier::PresentMatch(true)
    } else {
        HeaderMatchSpecifier::StringMatch(StringMatcher { ignore_case, match_pattern: Some(pattern(value)) })
    };
    HeaderMatcher { name: name.to_owned(), header_match_specifier: Some(specifier), ..HeaderMatcher::default() }
}

/// `*` at an end stands for the rest; alone it stands for anything that is not empty.
fn string(value: &str) -> StringMatcher {
    let pattern = if value == "*" { regex(".+") } else { pattern(value) };
    StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() }
}

fn pattern(value: &str) -> MatchPattern {
    if let Some(suffix) = value.strip_prefix('*') {
        MatchPattern::Suffix(suffix.to_owned())
    } else if let Some(prefix) = value.strip_suffix('*') {
        MatchPattern::Prefix(prefix.to_owned())
    } else {
        MatchPattern::Exact(value.to_owned())
    }
}

pub(super) fn regex(regex: impl Into<String>) -> MatchPattern {
    MatchPattern::SafeRegex(RegexMatcher { regex: regex.into(), ..RegexMatcher::default() })
}

pub(super) fn cidr(value: &str) -> Option<CidrRange> {
    let (address, len) = ip_range(value)?;
    Some(CidrRange { address_prefix: address.to_string(), prefix_len: Some(proto::uint32(len.into())) })
}
