//! What rules look at, and what they say (gRFC A41): tables, and trees of conditions against what they are made of.

use envoy_types::pb::envoy::config::core::v3::CidrRange as CidrProto;
use envoy_types::pb::envoy::config::rbac::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher as HeaderProto;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::r#type::matcher::v3 as matcher;
use envoy_types::pb::google::protobuf::UInt32Value;
use http::{HeaderMap, HeaderName, HeaderValue};
use matcher::string_matcher::MatchPattern;
use proptest::prelude::*;
use proto::permission::Rule;
use proto::principal::Identifier;
use proto::rbac::Action;

use super::*;
use crate::resource::{CidrRange, read_rbac as read_filter};

fn text(pattern: MatchPattern) -> matcher::StringMatcher {
    matcher::StringMatcher { ignore_case: false, match_pattern: Some(pattern) }
}

fn exact(value: &str) -> matcher::StringMatcher {
    text(MatchPattern::Exact(value.to_owned()))
}

fn permission(rule: Rule) -> proto::Permission {
    proto::Permission { rule: Some(rule) }
}

fn principal(identifier: Identifier) -> proto::Principal {
    proto::Principal { identifier: Some(identifier) }
}

fn header(name: &str, value: &str) -> HeaderProto {
    HeaderProto {
        name: name.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exact(value))),
        ..HeaderProto::default()
    }
}

fn range(address: &str, len: u32) -> CidrProto {
    CidrProto { address_prefix: address.to_owned(), prefix_len: Some(UInt32Value { value: len }) }
}

fn path(value: &str) -> matcher::PathMatcher {
    matcher::PathMatcher { rule: Some(matcher::path_matcher::Rule::Path(exact(value))) }
}

fn authenticated(name: Option<&str>) -> Identifier {
    Identifier::Authenticated(proto::principal::Authenticated { principal_name: name.map(exact) })
}

fn metadata(invert: bool) -> matcher::MetadataMatcher {
    matcher::MetadataMatcher { invert, ..matcher::MetadataMatcher::default() }
}

/// Rules of one policy, `p`, with one permission and one principal.
fn rules(action: Action, rule: Rule, identifier: Identifier) -> Rbac {
    let policy = proto::Policy {
        permissions: vec![permission(rule)],
        principals: vec![principal(identifier)],
        ..proto::Policy::default()
    };
    filter(action, [("p", policy)])
}

fn filter<'a>(action: Action, policies: impl IntoIterator<Item = (&'a str, proto::Policy)>) -> Rbac {
    let policies = policies.into_iter().map(|(name, policy)| (name.to_owned(), policy)).collect();
    let rules = proto::Rbac { action: action.into(), policies, ..proto::Rbac::default() };
    Rbac { rules: Some(rules), ..Rbac::default() }
}

fn error(rbac: &Rbac) -> String {
    read_filter(rbac).expect_err("it is refused").to_string()
}

fn headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in [("x-user", "ann"), ("x-raw-bin", "AAAA"), ("te", "trailers"), ("host", "of-the-metadata")] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers
}

fn certificate(uris: &[&str], dns: &[&str]) -> PeerCertificate {
    let mut certificate = PeerCertificate::default();
    certificate.uri_sans = uris.iter().map(|it| (*it).to_owned()).collect();
    certificate.dns_sans = dns.iter().map(|it| (*it).to_owned()).collect();
    certificate.subject = "O=cluster.local".to_owned();
    certificate
}

fn judge(rbac: &Rbac, caller: Caller<'_>) -> Result<Option<String>, Option<String>> {
    let rules = read_filter(rbac).expect("it is taken").expect("it decides");
    let headers = headers();
    let rpc = IncomingRpc {
        path: "/echo.Echo/Echo",
        authority: "echo:7070",
        metadata: Metadata::new(&headers),
        local: "10.0.0.1:7070".parse().unwrap(),
        peer: "10.1.0.2:40000".parse().unwrap(),
        caller,
    };
    match rules.judge(&rpc) {
        Decision::Allowed(policy) => Ok(policy.map(str::to_owned)),
        Decision::Denied(policy) => Err(policy.map(str::to_owned)),
    }
}

fn is_let_in(rule: Rule, identifier: Identifier) -> bool {
    let ann = certificate(&["spiffe://td/ns/a/sa/ann"], &["ann.example"]);
    judge(&rules(Action::Allow, rule, identifier), Caller::Tls(Some(&ann))).is_ok()
}

#[test]
#[expect(deprecated, reason = "`metadata` and `source_ip` are what servers have sent so far")]
fn every_kind_of_permission_and_principal_looks_at_its_part_of_the_rpc() {
    let set = |rules: &[Rule]| proto::permission::Set { rules: rules.iter().cloned().map(permission).collect() };
    let not = |rule: Rule| Rule::NotRule(Box::new(permission(rule)));
    let wrong = || Rule::DestinationPort(1);
    for (rule, expected) in [
        (Rule::Any(true), true),
        (Rule::Any(false), true),
        (Rule::UrlPath(path("/echo.Echo/Echo")), true),
        (Rule::UrlPath(path("/echo.Echo")), false),
        (Rule::Header(header("x-user", "ann")), true),
        (Rule::Header(header("X-User", "ann")), true),
        (Rule::Header(header("x-user", "bob")), false),
        (Rule::Header(header("x-raw-bin", "AAAA")), false),
        (Rule::Header(header("te", "trailers")), false),
        (Rule::Header(header(":method", "POST")), true),
        (Rule::Header(header(":method", "GET")), false),
        (Rule::Header(header(":path", "/echo.Echo/Echo")), true),
        (Rule::Header(header(":authority", "echo:7070")), true),
        (Rule::Header(header("Host", "echo:7070")), true),
        (Rule::Header(header("host", "of-the-metadata")), false),
        (Rule::DestinationIp(range("10.0.0.0", 24)), true),
        (Rule::DestinationIp(range("10.1.0.0", 24)), false),
        (Rule::DestinationPort(7070), true),
        (wrong(), false),
        (Rule::RequestedServerName(exact("")), true),
        (Rule::RequestedServerName(exact("echo")), false),
        (Rule::Metadata(metadata(false)), false),
        (Rule::Metadata(metadata(true)), true),
        (not(wrong()), true),
        (not(not(wrong())), false),
        (Rule::AndRules(set(&[Rule::Any(true), not(wrong())])), true),
        (Rule::AndRules(set(&[Rule::Any(true), wrong()])), false),
        (Rule::OrRules(set(&[Rule::Any(true), wrong()])), true),
        (Rule::OrRules(set(&[])), false),
    ] {
        assert_eq!(is_let_in(rule.clone(), Identifier::Any(true)), expected, "{rule:?}");
    }
    let set = |ids: &[Identifier]| proto::principal::Set { ids: ids.iter().cloned().map(principal).collect() };
    for (identifier, expected) in [
        (Identifier::Any(true), true),
        (Identifier::SourceIp(range("10.1.0.0", 16)), true),
        (Identifier::DirectRemoteIp(range("10.1.0.2", 32)), true),
        (Identifier::RemoteIp(range("10.0.0.0", 16)), false),
        (Identifier::Header(header("x-user", "ann")), true),
        (Identifier::UrlPath(path("/echo.Echo/Echo")), true),
        (Identifier::Metadata(metadata(false)), false),
        (Identifier::NotId(Box::new(principal(Identifier::Metadata(metadata(false))))), true),
        (authenticated(None), true),
        (authenticated(Some("spiffe://td/ns/a/sa/ann")), true),
        (authenticated(Some("ann.example")), false),
        (Identifier::AndIds(set(&[Identifier::Any(true), authenticated(None)])), true),
        (Identifier::OrIds(set(&[])), false),
    ] {
        assert_eq!(is_let_in(Rule::Any(true), identifier.clone()), expected, "{identifier:?}");
    }
}

#[test]
fn a_caller_is_its_uris_else_its_dns_names_else_its_subject() {
    let both = certificate(&["spiffe://td/ns/a/sa/ann"], &["ann.example"]);
    let dns = certificate(&[], &["ann.example"]);
    let subject = certificate(&[], &[]);
    for (caller, name, expected) in [
        (Caller::Plaintext, None, false),
        (Caller::Plaintext, Some(""), false),
        (Caller::Tls(None), None, true),
        (Caller::Tls(None), Some(""), true),
        (Caller::Tls(None), Some("x"), false),
        (Caller::Tls(Some(&both)), Some("spiffe://td/ns/a/sa/ann"), true),
        (Caller::Tls(Some(&both)), Some("ann.example"), false),
        (Caller::Tls(Some(&dns)), Some("ann.example"), true),
        (Caller::Tls(Some(&dns)), Some("O=cluster.local"), false),
        (Caller::Tls(Some(&subject)), Some("O=cluster.local"), true),
    ] {
        let rbac = rules(Action::Allow, Rule::Any(true), authenticated(name));
        assert_eq!(judge(&rbac, caller).is_ok(), expected, "{caller:?} {name:?}");
    }
}

#[test]
fn the_first_policy_by_name_that_matches_is_the_one_that_is_named() {
    let matching = || proto::Policy {
        permissions: vec![permission(Rule::DestinationPort(1)), permission(Rule::Any(true))],
        principals: vec![principal(Identifier::Any(true))],
        ..proto::Policy::default()
    };
    let other = || proto::Policy { principals: Vec::new(), ..matching() };
    let policies = || [("c", matching()), ("b", matching()), ("a", other())];
    let named = Some("b".to_owned());
    assert_eq!(judge(&filter(Action::Allow, policies()), Caller::Plaintext), Ok(named.clone()));
    assert_eq!(judge(&filter(Action::Deny, policies()), Caller::Plaintext), Err(named));
    assert_eq!(judge(&filter(Action::Allow, [("a", other())]), Caller::Plaintext), Err(None));
    assert_eq!(judge(&filter(Action::Deny, [("a", other())]), Caller::Plaintext), Ok(None));
    assert_eq!(judge(&filter(Action::Allow, []), Caller::Plaintext), Err(None), "nothing is allowed");
    assert_eq!(judge(&filter(Action::Deny, []), Caller::Plaintext), Ok(None), "nothing is denied");
}

#[test]
fn rules_that_are_not_there_or_only_log_decide_nothing() {
    assert_eq!(read_filter(&Rbac::default()), Ok(None));
    assert_eq!(read_filter(&rules(Action::Log, Rule::Any(true), Identifier::Any(true))), Ok(None));
}

#[test]
fn what_grpc_cannot_tell_is_refused_even_where_it_would_only_be_logged() {
    use matcher::FilterStateMatcher;
    for action in [Action::Allow, Action::Deny, Action::Log] {
        let nested = Rule::NotRule(Box::new(permission(Rule::OrRules(proto::permission::Set {
            rules: vec![permission(Rule::Header(header("GRPC-Timeout", "1S")))],
        }))));
        for (rule, part) in [
            (Rule::Header(header(":scheme", "http")), "\":scheme\" is not supported"),
            (Rule::Header(header("grpc-status", "0")), "\"grpc-status\" is not supported"),
            (nested, "\"GRPC-Timeout\" is not supported"),
            (Rule::DestinationPortRange(Default::default()), "destination_port_range"),
            (Rule::UriTemplate(Default::default()), "uri_template"),
            (Rule::Matcher(Default::default()), "matcher"),
            (Rule::SourcedMetadata(Default::default()), "sourced_metadata"),
            (Rule::DestinationIp(range("10.0.0.0", 33)), "failed to parse address range"),
            (Rule::DestinationIp(range("ten", 8)), "failed to parse address range"),
            (Rule::UrlPath(Default::default()), "url_path has no path"),
        ] {
            let error = error(&rules(action, rule.clone(), Identifier::Any(true)));
            assert!(error.contains(part) && error.contains("RBAC policy \"p\""), "{rule:?}: {error}");
        }
        let regex = matcher::RegexMatcher { regex: "(".to_owned(), ..Default::default() };
        let name = Some(text(MatchPattern::SafeRegex(regex)));
        for (identifier, part) in [
            (Identifier::FilterState(FilterStateMatcher::default()), "filter_state"),
            (Identifier::Custom(Default::default()), "custom"),
            (Identifier::SourcedMetadata(Default::default()), "sourced_metadata"),
            (Identifier::Authenticated(proto::principal::Authenticated { principal_name: name }), "not a valid"),
        ] {
            let error = error(&rules(action, Rule::Any(true), identifier.clone()));
            assert!(error.contains(part), "{identifier:?}: {error}");
        }
        for policy in [
            proto::Policy { condition: Some(Default::default()), ..Default::default() },
            proto::Policy { checked_condition: Some(Default::default()), ..Default::default() },
            proto::Policy { permissions: vec![Default::default()], ..Default::default() },
            proto::Policy { principals: vec![Default::default()], ..Default::default() },
        ] {
            assert!(error(&filter(action, [("p", policy)])).contains("unsupported"));
        }
    }
    let mut unknown = filter(Action::Allow, []);
    unknown.rules.as_mut().unwrap().action = 7;
    assert_eq!(error(&unknown), "RBAC action 7 is unknown");
}

#[test]
fn decisions_are_audited_if_a_known_logger_listens() {
    use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
    use envoy_types::pb::google::protobuf::Any;
    use proto::rbac::AuditLoggingOptions;
    use proto::rbac::audit_logging_options::{AuditCondition as Condition, AuditLoggerConfig};

    use crate::resource::AuditCondition;
    const STDOUT: &str = "type.googleapis.com/envoy.extensions.rbac.audit_loggers.stream.v3.StdoutAuditLog";
    let logger = |type_url: &str, is_optional| AuditLoggerConfig {
        audit_logger: Some(TypedExtensionConfig {
            name: "logger".to_owned(),
            typed_config: Some(Any { type_url: type_url.to_owned(), value: Vec::new() }),
        }),
        is_optional,
    };
    let read = |condition: i32, logger_configs| {
        let mut rbac = filter(Action::Allow, []);
        let options = AuditLoggingOptions { audit_condition: condition, logger_configs };
        rbac.rules.as_mut().unwrap().audit_logging_options = Some(options);
        read_filter(&rbac).map(|rules| rules.unwrap().audit).map_err(|error| error.to_string())
    };
    for (condition, expected) in [
        (Condition::None, None),
        (Condition::OnDeny, Some((false, true))),
        (Condition::OnAllow, Some((true, false))),
        (Condition::OnDenyAndAllow, Some((true, true))),
    ] {
        let expected = expected.map(|(on_allow, on_deny)| AuditCondition { on_allow, on_deny });
        assert_eq!(read(condition.into(), vec![logger(STDOUT, false)]), Ok(expected));
    }
    let on_deny = Condition::OnDeny.into();
    assert_eq!(read(on_deny, vec![logger("x/y.Z", true)]), Ok(None), "an optional one may be unknown");
    assert!(read(on_deny, vec![logger("x/y.Z", false)]).unwrap_err().contains("audit logger \"y.Z\" is unknown"));
    assert!(read(on_deny, vec![AuditLoggerConfig::default()]).unwrap_err().contains("no typed_config"));
    assert!(read(9, vec![]).unwrap_err().contains("audit_condition 9"));
}

/// A tree over the caller's address, with what it says of the one below.
fn tree() -> impl Strategy<Value = (RbacMatcher, bool)> {
    let leaf = prop_oneof![
        Just((RbacMatcher::Always, true)),
        Just((RbacMatcher::Never, false)),
        (0_u8..=32).prop_map(|len| {
            let range = CidrRange::new([10, 1, 0, 3].into(), len).unwrap();
            (RbacMatcher::SourceIp(range), len < 32)
        }),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let many = || prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            inner.clone().prop_map(|(matcher, said)| (RbacMatcher::Not(Box::new(matcher)), !said)),
            many().prop_map(|parts| {
                let said = parts.iter().filter(|(_, said)| !said).count() == 0;
                (RbacMatcher::All(parts.into_iter().map(|(matcher, _)| matcher).collect()), said)
            }),
            many().prop_map(|parts| {
                let said = parts.iter().filter(|(_, said)| *said).count() > 0;
                (RbacMatcher::One(parts.into_iter().map(|(matcher, _)| matcher).collect()), said)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn trees_say_what_their_parts_say_together((matcher, said) in tree()) {
        let headers = HeaderMap::new();
        let rpc = IncomingRpc {
            path: "/a/b",
            authority: "",
            metadata: Metadata::new(&headers),
            local: "10.0.0.1:1".parse().unwrap(),
            peer: "10.1.0.2:1".parse().unwrap(),
            caller: Caller::Plaintext,
        };
        prop_assert_eq!(matcher.matches(&rpc), said);
    }
}

#[test]
fn denials_read_as_those_of_grpc_go() {
    assert_eq!(
        denial(Some("shop-web-0")),
        "Incoming RPC is not allowed: rpc error: code = PermissionDenied desc = incoming RPC matched a deny policy \"shop-web-0\""
    );
    assert_eq!(
        denial(None),
        "Incoming RPC is not allowed: rpc error: code = PermissionDenied desc = incoming RPC did not match an allow policy"
    );
    assert!(is_denial(&denial(None)) && is_denial("Unauthorized RPC rejected") && !is_denial("no"));
}
