//! Who asks.

use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{
    MetadataMatcher, RegexMatcher, StringMatcher, ValueMatcher, metadata_matcher, value_matcher,
};
use rbac::principal::Identifier;

use super::rule::{cidr, header, regex};
use crate::objects::{RuleCondition, RuleSource};

const SPIFFE: &str = "spiffe://";

/// The beginning of conditions about what an Envoy filter has noted; they become permissions.
pub(super) const ENVOY_FILTERS: &str = "experimental.envoy.filters.";

/// Where a sidecar would note what a JWT says.
const JWT: &str = "envoy.filters.http.jwt_authn";

/// One entry of `from`, with the conditions that are about the caller or the headers it sends.
pub(super) fn principal(
    namespace: &str,
    source: Option<&RuleSource>,
    when: &[RuleCondition],
) -> Option<rbac::Principal> {
    let mut all = All::default();
    if let Some(source) = source {
        for (attribute, values, not_values) in [
            ("source.principal", &source.principals, &source.not_principals),
            ("request.auth.principal", &source.request_principals, &source.not_request_principals),
            ("source.serviceAccount", &source.service_accounts, &source.not_service_accounts),
            ("source.trustDomain", &source.trust_domains, &source.not_trust_domains),
            ("source.namespace", &source.namespaces, &source.not_namespaces),
            ("remote.ip", &source.remote_ip_blocks, &source.not_remote_ip_blocks),
            ("source.ip", &source.ip_blocks, &source.not_ip_blocks),
        ] {
            all.add(values, not_values, |value| identifier(namespace, attribute, value))?;
        }
    }
    for condition in when.iter().filter(|condition| is_of_principals(&condition.key)) {
        let key = &condition.key;
        all.add(&condition.values, &condition.not_values, |value| identifier(namespace, key, value))?;
    }
    Some(all.principal())
}

fn is_of_principals(attribute: &str) -> bool {
    attribute == "remote.ip" || attribute.starts_with("source.") || attribute.starts_with("request.")
}

/// What one value of an attribute means; none if it means nothing.
#[expect(deprecated, reason = "`metadata` is what istiod sends")]
fn identifier(namespace: &str, attribute: &str, value: &str) -> Option<Identifier> {
    Some(match attribute {
        "source.principal" => authenticated(with_prefix(value)),
        "source.namespace" => {
            let parts: Vec<String> = value.split('*').map(quoted).collect();
            authenticated(regex(format!(".*/ns/{}/.*", parts.join(".*"))))
        }
        "source.serviceAccount" => {
            let (namespace, account) = value.split_once('/').unwrap_or((namespace, value));
            let (namespace, account) = (quoted(namespace), quoted(account));
            authenticated(regex(format!("spiffe://.+/ns/{namespace}/(.+/|)sa/{account}(/.+)?")))
        }
        "source.trustDomain" => authenticated(match value {
            "*" => MatchPattern::Prefix(SPIFFE.to_owned()),
            value if value.contains('*') => {
                let parts: Vec<String> = value.split('*').map(quoted).collect();
                regex(format!("{SPIFFE}{}/.*", parts.join(".*")))
            }
            value => MatchPattern::Prefix(format!("{SPIFFE}{value}/")),
        }),
        "source.ip" => Identifier::DirectRemoteIp(cidr(value)?),
        "remote.ip" => Identifier::RemoteIp(cidr(value)?),
        attribute => {
            let name = |prefix| attribute.strip_prefix(prefix).and_then(|rest: &str| rest.strip_suffix(']'));
            match (name("request.headers["), name("request.experimental.inline.headers[")) {
                (Some(name), _) => Identifier::Header(header(name, value)),
                (None, Some(name)) => Identifier::Header(inline_header(name, value)),
                (None, None) => Identifier::Metadata(metadata(attribute, value)),
            }
        }
    })
}

/// A header that has the value alone or among others, which are written with commas between them.
///
/// Source: Istio `pilot/pkg/security/authz` (`requestInlineHeaderGenerator`).
#[expect(deprecated, reason = "`safe_regex_match` is what istiod sends")]
fn inline_header(name: &str, value: &str) -> HeaderMatcher {
    let one = if value == "*" {
        return header(name, value);
    } else if let Some(suffix) = value.strip_prefix('*') {
        format!(".*{}", quoted(suffix))
    } else if let Some(prefix) = value.strip_suffix('*') {
        format!("{}.*", quoted(prefix))
    } else {
        quoted(value)
    };
    let expression = format!("^{one}$|^{one},.*|.*,{one},.*|.*,{one}$");
    let matcher = RegexMatcher { regex: expression, ..RegexMatcher::default() };
    HeaderMatcher {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::SafeRegexMatch(matcher)),
        ..HeaderMatcher::default()
    }
}

/// Principals that must all hold.
#[derive(Default)]
struct All(Vec<rbac::Principal>);

impl All {
    /// Adds an attribute: one of `values`, none of `not_values`. None if a value means nothing.
    fn add(&mut self, values: &[String], not_values: &[String], id: impl Fn(&str) -> Option<Identifier>) -> Option<()> {
        let one = |values: &[String]| {
            let ids = values.iter().map(|value| id(value).map(from_id)).collect::<Option<_>>()?;
            Some(from_id(Identifier::OrIds(rbac::principal::Set { ids })))
        };
        if !values.is_empty() {
            self.0.push(one(values)?);
        }
        if !not_values.is_empty() {
            self.0.push(from_id(Identifier::NotId(Box::new(one(not_values)?))));
        }
        Some(())
    }

    fn principal(mut self) -> rbac::Principal {
        if self.0.is_empty() {
            self.0.push(from_id(Identifier::Any(true)));
        }
        from_id(Identifier::AndIds(rbac::principal::Set { ids: self.0 }))
    }
}

fn from_id(identifier: Identifier) -> rbac::Principal {
    rbac::Principal { identifier: Some(identifier) }
}

fn authenticated(pattern: MatchPattern) -> Identifier {
    let name = StringMatcher { match_pattern: Some(pattern), ..StringMatcher::default() };
    Identifier::Authenticated(rbac::principal::Authenticated { principal_name: Some(name) })
}

/// An identity as policies write it, without `spiffe://`.
fn with_prefix(value: &str) -> MatchPattern {
    if value == "*" {
        regex(".+")
    } else if let Some(suffix) = value.strip_prefix('*') {
        regex(format!("{SPIFFE}.*{}", quoted(suffix)))
    } else if let Some(prefix) = value.strip_suffix('*') {
        MatchPattern::Prefix(format!("{SPIFFE}{prefix}"))
    } else {
        MatchPattern::Exact(format!("{SPIFFE}{value}"))
    }
}

/// Dynamic metadata. gRPC servers have none, so that only this much of its shape matters: it is a value at a path.
pub(super) fn metadata(attribute: &str, value: &str) -> MetadataMatcher {
    let (filter, key) = match attribute.strip_prefix(ENVOY_FILTERS).and_then(|rest| rest.split_once('[')) {
        Some((filter, key)) => (filter, key.trim_end_matches(']')),
        None => (JWT, attribute),
    };
    let segment = metadata_matcher::path_segment::Segment::Key(key.to_owned());
    let exact = StringMatcher { match_pattern: Some(MatchPattern::Exact(value.to_owned())), ignore_case: false };
    MetadataMatcher {
        filter: filter.to_owned(),
        path: vec![metadata_matcher::PathSegment { segment: Some(segment) }],
        value: Some(ValueMatcher { match_pattern: Some(value_matcher::MatchPattern::StringMatch(exact)) }),
        invert: false,
    }
}

/// A text as an expression that matches nothing else (Go's `regexp.QuoteMeta`).
fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for character in text.chars() {
        if r"\.+*?()|[]{}^$".contains(character) {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted
}
