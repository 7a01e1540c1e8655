//! Which route configurations are accepted and what they become (gRFC A27, A28, A31, A42, A44, A63).
//!
//! Identifiers such as V-14 name rows of the conformance checklist, after grpc-go's tests of the same idea.

use std::time::Duration;

use crate::ads_support::*;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::{self, PolicySpecifier};
use envoy_types::pb::envoy::config::route::v3::route_action::{self, ClusterSpecifier};
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{self as proto, RouteAction as ActionProto};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher, StringMatcher};
use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, Int64Range};
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration as DurationProto, UInt32Value};
use hermesh_xds::resource::{
    Decoded, HashPolicyKind, HeaderMatcher, MaxStreamDuration, PathMatcher, Resource, RetryOn, RetryPolicy, Route,
    RouteAction, RouteConfiguration, Validation, WeightedCluster, decode,
};

fn read(configuration: &proto::RouteConfiguration) -> Result<RouteConfiguration, String> {
    match decode(RDS, &any(configuration), &Validation::default()) {
        Decoded::Named { outcome: Ok(Resource::RouteConfiguration(routes)), .. } => Ok((*routes).clone()),
        Decoded::Named { outcome: Err(error), .. } | Decoded::Unnamed(error) => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

/// A configuration of one host with one route, after `change`.
fn read_host(change: impl FnOnce(&mut proto::VirtualHost)) -> Result<RouteConfiguration, String> {
    let mut host = virtual_host("*", "c");
    change(&mut host);
    read(&proto::RouteConfiguration { name: "r".into(), virtual_hosts: vec![host], ..Default::default() })
}

/// What becomes of one route after `change`; `None` if it is left out.
fn read_route(change: impl FnOnce(&mut proto::Route)) -> Result<Option<Route>, String> {
    let routes = read_host(|host| change(&mut host.routes[0]))?;
    Ok(routes.virtual_hosts[0].routes.first().cloned())
}

fn read_match(change: impl FnOnce(&mut proto::RouteMatch)) -> Result<Option<Route>, String> {
    read_route(|route| change(route.r#match.as_mut().unwrap()))
}

fn read_action(change: impl FnOnce(&mut ActionProto)) -> Result<Option<Route>, String> {
    read_route(|route| {
        let Some(Action::Route(action)) = &mut route.action else { panic!("{route:?}") };
        change(action);
    })
}

fn regex(regex: &str) -> RegexMatcher {
    RegexMatcher { regex: regex.into(), ..Default::default() }
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(outcome: Result<T, String>, part: &str) {
    let error = outcome.expect_err(part);
    assert!(error.contains(part), "{error:?} should contain {part:?}");
}

// V-14, V-16
#[test]
fn a_route_without_a_usable_match_rejects_the_configuration() {
    rejected(read_route(|route| route.r#match = None), "route doesn't have a match");
    let path = |path| read_match(|it| it.path_specifier = path);
    rejected(path(None), "route match doesn't have path specifier set");
    rejected(path(Some(PathSpecifier::PathSeparatedPrefix("/a".into()))), "path_separated_prefix");
    rejected(path(Some(PathSpecifier::ConnectMatcher(Default::default()))), "connect_matcher");
    rejected(path(Some(PathSpecifier::PathMatchPolicy(Default::default()))), "path_match_policy");
    rejected(path(Some(PathSpecifier::SafeRegex(regex("(")))), "is not a valid regular expression");
}

fn read_header(specifier: Option<HeaderMatchSpecifier>) -> Result<HeaderMatcher, String> {
    let header =
        proto::HeaderMatcher { name: "X-User".into(), header_match_specifier: specifier, ..Default::default() };
    read_match(|it| it.headers = vec![header]).map(|route| route.unwrap().matches.headers.remove(0))
}

fn string(pattern: MatchPattern) -> Option<HeaderMatchSpecifier> {
    Some(HeaderMatchSpecifier::StringMatch(StringMatcher { match_pattern: Some(pattern), ignore_case: false }))
}

// V-16
#[test]
#[expect(deprecated, reason = "gRPC still reads these fields")]
fn a_bad_header_matcher_rejects_the_configuration() {
    rejected(read_header(None), "unrecognized header match specifier");
    rejected(
        read_header(Some(HeaderMatchSpecifier::StringMatch(StringMatcher::default()))),
        "unrecognized string matcher",
    );
    for (kind, pattern) in [
        ("prefix", MatchPattern::Prefix(String::new())),
        ("suffix", MatchPattern::Suffix(String::new())),
        ("contains", MatchPattern::Contains(String::new())),
    ] {
        rejected(read_header(string(pattern)), &format!("\"X-User\": empty {kind} is not allowed"));
    }
    rejected(read_header(Some(HeaderMatchSpecifier::PrefixMatch(String::new()))), "empty prefix");
    rejected(read_header(Some(HeaderMatchSpecifier::SafeRegexMatch(regex("[")))), "is not a valid regular expression");
    assert!(read_header(string(MatchPattern::Exact(String::new()))).is_ok());
}

// M-09..15
#[test]
#[expect(deprecated, reason = "gRPC still reads these fields")]
fn header_matchers_match_as_grpc_go_does() {
    use HeaderMatchSpecifier as Spec;
    let range = Spec::RangeMatch(Int64Range { start: -5, end: 10 });
    for (specifier, value, plain, inverted) in [
        (Spec::ExactMatch("a".into()), Some("a"), true, false),
        (Spec::ExactMatch("a".into()), Some("a,a"), false, true),
        (Spec::ExactMatch("a".into()), None, false, false),
        (Spec::PrefixMatch("a".into()), Some("ab"), true, false),
        (Spec::SuffixMatch("b".into()), Some("ab"), true, false),
        (Spec::ContainsMatch("b".into()), Some("abc"), true, false),
        (Spec::SafeRegexMatch(regex("a+")), Some("aa"), true, false),
        (Spec::SafeRegexMatch(regex("a+")), Some("aab"), false, true),
        (Spec::SafeRegexMatch(regex("a|b")), Some("ab"), false, true),
        (range.clone(), Some("-5"), true, false),
        (range.clone(), Some("10"), false, true),
        (range.clone(), Some("ten"), false, true),
        (range, None, false, false),
        (Spec::PresentMatch(true), Some("x"), true, false),
        (Spec::PresentMatch(true), Some(""), false, true),
        (Spec::PresentMatch(true), None, false, true),
        (Spec::PresentMatch(false), None, true, false),
        (Spec::PresentMatch(false), Some("x"), false, true),
    ] {
        let mut matcher = read_header(Some(specifier.clone())).unwrap();
        assert_eq!(matcher.name, "x-user");
        assert_eq!(matcher.matches(value), plain, "{specifier:?} of {value:?}");
        matcher.invert = true;
        assert_eq!(matcher.matches(value), inverted, "inverted {specifier:?} of {value:?}");
    }
}

// M-16, M-17, M-18
#[test]
fn case_is_ignored_where_it_is_asked_for_and_never_by_expressions() {
    let with = |pattern, text: &str| {
        let matcher = StringMatcher { match_pattern: Some(pattern), ignore_case: true };
        read_header(Some(HeaderMatchSpecifier::StringMatch(matcher))).unwrap().matches(Some(text))
    };
    assert!(with(MatchPattern::Exact("aB".into()), "Ab"));
    assert!(with(MatchPattern::Prefix("aB".into()), "AbX"));
    assert!(with(MatchPattern::Suffix("aB".into()), "xAb"));
    assert!(with(MatchPattern::Contains("aB".into()), "xAbx"));
    assert!(!with(MatchPattern::SafeRegex(regex("ab")), "AB"));
}

// M-04, M-05, M-06
#[test]
fn paths_match_exactly_by_prefix_or_by_expression() {
    let path = |specifier, sensitive, text: &str| {
        let route = read_match(|it| {
            it.path_specifier = Some(specifier);
            it.case_sensitive = sensitive;
        });
        route.unwrap().unwrap().matches.path.matches(text)
    };
    let no = Some(BoolValue { value: false });
    assert!(path(PathSpecifier::Path("/a.B/C".into()), None, "/a.B/C"));
    assert!(!path(PathSpecifier::Path("/a.B/C".into()), None, "/a.b/c"));
    assert!(path(PathSpecifier::Path("/a.B/C".into()), no, "/A.b/c"));
    assert!(path(PathSpecifier::Prefix(String::new()), None, "/a.B/C"));
    assert!(path(PathSpecifier::Prefix("/a.".into()), no, "/A.B/C"));
    assert!(path(PathSpecifier::SafeRegex(regex("/a\\..*")), no, "/a.B/C"));
    assert!(!path(PathSpecifier::SafeRegex(regex("/a\\..*")), no, "/A.B/C"));
    assert!(!path(PathSpecifier::SafeRegex(regex("a")), None, "/a"));
}

// M-08
#[test]
fn fractions_are_kept_in_parts_of_a_million() {
    for (numerator, denominator, expected) in
        [(50, 0, 500_000), (1, 1, 100), (7, 2, 7), (7, 9, 7), (200, 0, 2_000_000), (u32::MAX, 0, u32::MAX)]
    {
        let fraction = core::RuntimeFractionalPercent {
            default_value: Some(FractionalPercent { numerator, denominator }),
            ..Default::default()
        };
        let route = read_match(|it| it.runtime_fraction = Some(fraction)).unwrap().unwrap();
        assert_eq!(route.matches.per_million, Some(expected));
    }
    assert_eq!(read_match(|_| {}).unwrap().unwrap().matches.per_million, None);
}

// V-16
#[test]
fn routes_that_grpc_cannot_follow_are_left_out() {
    let with_query = |it: &mut proto::RouteMatch| {
        it.query_parameters = vec![Default::default()];
        it.path_specifier = None;
    };
    assert_eq!(read_match(with_query), Ok(None));
    for specifier in [
        None,
        Some(ClusterSpecifier::ClusterHeader("h".into())),
        Some(ClusterSpecifier::InlineClusterSpecifierPlugin(Default::default())),
    ] {
        let skipped = read_action(|action| {
            action.cluster_specifier = specifier;
            action.retry_policy = Some(retry("unavailable", Some(0)));
        });
        assert_eq!(skipped, Ok(None), "not even its retry policy is checked");
    }
}

#[test]
fn actions_of_the_other_side_are_kept_to_fail_when_matched() {
    let action = |action| read_route(|route| route.action = action).unwrap().unwrap().action;
    assert_eq!(action(Some(Action::NonForwardingAction(Default::default()))), RouteAction::NonForwarding);
    assert_eq!(action(Some(Action::Redirect(Default::default()))), RouteAction::Unsupported("redirect"));
    assert_eq!(action(Some(Action::DirectResponse(Default::default()))), RouteAction::Unsupported("direct_response"));
    assert_eq!(action(None), RouteAction::Unsupported("no action"));
}

fn weighted(weights: &[u32]) -> Result<Option<Route>, String> {
    let clusters = weights.iter().enumerate().map(|(n, weight)| ClusterWeight {
        name: format!("c{n}"),
        weight: Some(UInt32Value { value: *weight }),
        ..Default::default()
    });
    let clusters = proto::WeightedCluster { clusters: clusters.collect(), ..Default::default() };
    read_action(|action| action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(clusters)))
}

// V-16
#[test]
fn weighted_clusters_drop_zero_weights_and_must_leave_something() {
    rejected(weighted(&[]), "all weights are zero");
    rejected(weighted(&[0, 0]), "all weights are zero");
    rejected(weighted(&[u32::MAX, 1]), "exceeds the maximum of 4294967295");
    let RouteAction::Forward { clusters, .. } = weighted(&[80, 0, 20]).unwrap().unwrap().action else { panic!() };
    let cluster = |name: &str, weight| WeightedCluster { name: name.into(), weight, overrides: [].into() };
    assert_eq!(clusters, [cluster("c0", 80), cluster("c2", 20)]);
    assert!(weighted(&[u32::MAX]).is_ok());
}

fn seconds(seconds: i64) -> Option<DurationProto> {
    Some(DurationProto { seconds, nanos: 0 })
}

// V-14, R-14
#[test]
fn a_route_may_lift_the_default_time_limit() {
    let limit = |duration: Option<route_action::MaxStreamDuration>| {
        let route = read_action(|action| action.max_stream_duration = duration).unwrap().unwrap();
        let RouteAction::Forward { max_stream_duration, .. } = route.action else { panic!() };
        max_stream_duration.limit(Some(Duration::from_secs(9)))
    };
    let of = |max, header| {
        Some(route_action::MaxStreamDuration {
            max_stream_duration: max,
            grpc_timeout_header_max: header,
            grpc_timeout_header_offset: None,
        })
    };
    assert_eq!(limit(None), Some(Duration::from_secs(9)));
    assert_eq!(limit(of(None, None)), Some(Duration::from_secs(9)));
    assert_eq!(limit(of(seconds(5), None)), Some(Duration::from_secs(5)));
    assert_eq!(limit(of(seconds(5), seconds(3))), Some(Duration::from_secs(3)));
    assert_eq!(limit(of(seconds(0), None)), None);
    assert_eq!(limit(of(seconds(5), seconds(0))), None);
    assert_eq!(MaxStreamDuration(None).limit(Some(Duration::ZERO)), None);
}

fn retry(retry_on: &str, num_retries: Option<u32>) -> proto::RetryPolicy {
    proto::RetryPolicy {
        retry_on: retry_on.into(),
        num_retries: num_retries.map(|value| UInt32Value { value }),
        ..Default::default()
    }
}

fn read_retry(policy: proto::RetryPolicy) -> Result<RetryPolicy, String> {
    read_host(|host| host.retry_policy = Some(policy))
        .map(|mut routes| routes.virtual_hosts.remove(0).retry_policy.unwrap())
}

// V-14, own-02
#[test]
fn retry_policies_have_defaults_and_limits() {
    let istio = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
    let policy = read_retry(retry(istio, Some(2))).unwrap();
    assert_eq!(policy.retry_on.iter().collect::<Vec<_>>(), [&RetryOn::Cancelled, &RetryOn::Unavailable]);
    assert_eq!((policy.max_attempts(), policy.base_interval), (3, Duration::from_millis(25)));
    assert_eq!(policy.max_interval, Duration::from_millis(250));
    assert_eq!(read_retry(retry(" Internal , x", None)).unwrap().max_attempts(), 2);
    assert_eq!(read_retry(retry("internal", Some(100))).unwrap().max_attempts(), 5);
    assert_eq!(read_retry(retry("5xx", Some(3))).unwrap().max_attempts(), 1);

    let backoff = |base: Option<DurationProto>, max| proto::RetryPolicy {
        retry_back_off: Some(RetryBackOff { base_interval: base, max_interval: max }),
        ..retry("unavailable", None)
    };
    let policy = read_retry(backoff(seconds(1), None)).unwrap();
    assert_eq!((policy.base_interval, policy.max_interval), (Duration::from_secs(1), Duration::from_secs(10)));
    let tiny = Some(DurationProto { seconds: 0, nanos: 1 });
    assert_eq!(read_retry(backoff(tiny, tiny)).unwrap().base_interval, Duration::from_millis(1));
    assert_eq!(read_retry(backoff(seconds(2), seconds(1))).unwrap().max_interval, Duration::from_secs(2));
    rejected(read_retry(backoff(seconds(0), None)), "base_interval must be > 0");
    rejected(read_retry(backoff(seconds(-1), None)), "base_interval must be > 0");
    rejected(read_retry(backoff(seconds(1), seconds(0))), "max_interval must be > 0");
    rejected(read_retry(retry("unknown", Some(0))), "num_retries = 0; must be >= 1");
    let on_route = |action: &mut ActionProto| action.retry_policy = Some(retry("unavailable", Some(0)));
    rejected(read_action(on_route), "num_retries = 0");
}

// V-17
#[test]
fn hash_policies_of_headers_and_channels_are_kept() {
    let policies = |specifiers: Vec<PolicySpecifier>| {
        let policy = |specifier| route_action::HashPolicy { terminal: true, policy_specifier: Some(specifier) };
        let route = read_action(|action| action.hash_policy = specifiers.into_iter().map(policy).collect())?;
        let RouteAction::Forward { hash_policies, .. } = route.unwrap().action else { panic!() };
        Ok::<_, String>(hash_policies)
    };
    let rewrite = |pattern: &str| {
        PolicySpecifier::Header(hash_policy::Header {
            header_name: "X-User".into(),
            regex_rewrite: Some(RegexMatchAndSubstitute { pattern: Some(regex(pattern)), substitution: "x".into() }),
        })
    };
    let state = |key: &str| PolicySpecifier::FilterState(hash_policy::FilterState { key: key.into() });
    let read = policies(vec![
        rewrite("a+"),
        state("other"),
        PolicySpecifier::Cookie(Default::default()),
        state("io.grpc.channel_id"),
    ])
    .unwrap();
    let [header, channel] = read.as_slice() else { panic!("{read:?}") };
    assert!(matches!(&header.kind, HashPolicyKind::Header { name, rewrite: Some(_) } if name == "x-user"));
    assert!(header.terminal && channel.kind == HashPolicyKind::ChannelId);
    rejected(policies(vec![rewrite("(")]), "regex_rewrite");
}

fn plugin(name: &str, is_optional: bool) -> proto::ClusterSpecifierPlugin {
    let extension = core::TypedExtensionConfig { name: name.into(), ..Default::default() };
    proto::ClusterSpecifierPlugin { extension: Some(extension), is_optional }
}

// V-14
#[test]
fn cluster_specifier_plugins_are_unknown_and_may_be_passed_over_if_optional() {
    let read_with = |plugins: Vec<proto::ClusterSpecifierPlugin>, used: &str| {
        let mut host = virtual_host("*", "c");
        host.routes[0].action = Some(Action::Route(ActionProto {
            cluster_specifier: Some(ClusterSpecifier::ClusterSpecifierPlugin(used.into())),
            ..Default::default()
        }));
        read(&proto::RouteConfiguration {
            name: "r".into(),
            virtual_hosts: vec![host],
            cluster_specifier_plugins: plugins,
            ..Default::default()
        })
    };
    rejected(read_with(vec![plugin("p", false)], "p"), "cluster specifier plugin \"p\"");
    rejected(read_with(vec![plugin("p", true)], "q"), "undeclared cluster specifier plugin \"q\"");
    assert!(read_with(vec![plugin("p", true)], "p").unwrap().virtual_hosts[0].routes.is_empty());
}

fn fault() -> HttpFault {
    let percentage = Some(FractionalPercent { numerator: 10, denominator: 0 });
    HttpFault { abort: Some(FaultAbort { percentage, ..Default::default() }), ..Default::default() }
}

fn wrapped(config: Any, is_optional: bool) -> Any {
    any(&proto::FilterConfig { config: Some(config), is_optional, disabled: false })
}

// V-14
#[test]
fn overrides_that_this_crate_cannot_carry_out_reject_the_configuration_at_every_level() {
    let unknown = || Any {
        type_url: "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy".into(),
        ..Default::default()
    };
    let at_host =
        |config: Any| read_host(|host| drop(host.typed_per_filter_config.insert("f".into(), config))).map(drop);
    let at_route =
        |config: Any| read_route(|route| drop(route.typed_per_filter_config.insert("f".into(), config))).map(drop);
    let at_cluster = |config: Any| {
        let cluster = ClusterWeight {
            name: "c".into(),
            weight: Some(UInt32Value { value: 1 }),
            typed_per_filter_config: [("f".to_owned(), config)].into(),
            ..Default::default()
        };
        let clusters = proto::WeightedCluster { clusters: vec![cluster], ..Default::default() };
        read_action(|action| action.cluster_specifier = Some(ClusterSpecifier::WeightedClusters(clusters))).map(drop)
    };
    type Level<'a> = &'a dyn Fn(Any) -> Result<(), String>;
    for level in [&at_host as Level<'_>, &at_route, &at_cluster] {
        rejected(
            level(unknown()),
            "no filter implementation found for \"envoy.extensions.filters.http.cors.v3.CorsPolicy\"",
        );
        rejected(level(wrapped(unknown(), false)), "no filter implementation found");
        assert!(level(wrapped(unknown(), true)).is_ok());
        rejected(level(any(&Router::default())), "router filter takes no override config");
        rejected(level(Any { value: vec![0xff], ..any(&fault()) }), "failed to unmarshal");
        assert!(level(any(&fault())).is_ok());
        assert!(level(wrapped(any(&fault()), true)).is_ok());
        assert!(level(any(&HttpFault::default())).is_ok());
    }
}

// V-15
#[test]
fn hosts_without_domains_or_routes_and_names_without_hosts_are_accepted() {
    let empty = read(&proto::RouteConfiguration { name: "r".into(), ..Default::default() }).unwrap();
    assert!(empty.virtual_hosts.is_empty());
    assert!(read_host(|host| host.domains.clear()).is_ok());
    assert!(read_host(|host| host.routes.clear()).is_ok());
    rejected(read(&proto::RouteConfiguration::default()), "empty resource name");
}

#[test]
fn an_error_names_host_and_route() {
    let error = read_host(|host| {
        host.name = "echo:80".into();
        host.routes[0].name = "default".into();
        host.routes[0].r#match = None;
    });
    assert_eq!(error.unwrap_err(), "virtual host \"echo:80\": route \"default\": route doesn't have a match");
}

#[test]
fn a_path_matcher_keeps_what_it_was_given() {
    let route = read_match(|it| it.path_specifier = Some(PathSpecifier::SafeRegex(regex("/a|/b")))).unwrap().unwrap();
    let PathMatcher::Regex(regex) = &route.matches.path else { panic!("{route:?}") };
    assert_eq!(regex.pattern(), "/a|/b");
    assert!(regex.matches("/b") && !regex.matches("/a|/b"));
}
