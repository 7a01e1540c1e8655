//! Which listeners are accepted and what they become (gRFC A27, A29, A36, A39).
//!
//! Identifiers such as V-01 name rows of the conformance checklist, after grpc-go's tests of the same idea.

use std::time::Duration;

use crate::ads_support::*;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{self as core, transport_socket};
use envoy_types::pb::envoy::config::listener::v3::{
    Filter, FilterChain, FilterChainMatch, Listener as ListenerProto, ListenerFilter,
};
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as fault;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, ScopedRoutes,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher::MatchPattern};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::{Any, BoolValue, UInt32Value};
use hermesh_xds::resource::{
    Decoded, FaultPolicy, FilterChainMatch as Match, HttpFilterKind, Listener, ListenerKind, Resource, RouteSource,
    ServerListener, SourceType, Validation, decode,
};
use prost::Message;

fn read(any: &Any) -> Result<Listener, String> {
    let validation = Validation { certificate_providers: ["default".to_owned()].into() };
    match decode(LDS, any, &validation) {
        Decoded::Named { outcome: Ok(Resource::Listener(listener)), .. } => Ok((*listener).clone()),
        Decoded::Named { outcome: Err(error), .. } | Decoded::Unnamed(error) => Err(error.to_string()),
        other => panic!("{other:?}"),
    }
}

fn read_client(manager: &HttpConnectionManager) -> Result<Listener, String> {
    read(&any(&client_listener("l", manager)))
}

fn with_filters(http_filters: Vec<HttpFilter>) -> HttpConnectionManager {
    HttpConnectionManager { http_filters, ..manager_with_rds("r") }
}

fn with_rds(source: Option<ConfigSourceSpecifier>, name: &str) -> HttpConnectionManager {
    let config_source = Some(core::ConfigSource { config_source_specifier: source, ..Default::default() });
    let rds = Rds { config_source, route_config_name: name.to_owned() };
    HttpConnectionManager { route_specifier: Some(RouteSpecifier::Rds(rds)), ..manager_with_rds("r") }
}

fn optional(filter: HttpFilter) -> HttpFilter {
    HttpFilter { is_optional: true, ..filter }
}

fn fault_filter(fault: &HttpFault) -> HttpFilter {
    http_filter("envoy.filters.http.fault", any(fault))
}

fn aborting(numerator: u32) -> HttpFault {
    let percentage = Some(FractionalPercent { numerator, denominator: 0 });
    HttpFault { abort: Some(FaultAbort { percentage, ..Default::default() }), ..Default::default() }
}

fn rbac_filter(action: rbac::rbac::Action, policies: usize) -> HttpFilter {
    let policies = (0..policies).map(|n| (n.to_string(), rbac::Policy::default())).collect();
    let rules = Some(rbac::Rbac { action: action as i32, policies, ..Default::default() });
    http_filter("rbac", any(&Rbac { rules, ..Default::default() }))
}

/// A TypedStruct that holds a configuration of this type.
fn typed_struct(outer: &str, inner: &str) -> Any {
    #[derive(Clone, PartialEq, prost::Message)]
    struct TypedStruct {
        #[prost(string, tag = "1")]
        type_url: String,
    }
    let value = TypedStruct { type_url: format!("type.googleapis.com/{inner}") }.encode_to_vec();
    Any { type_url: format!("type.googleapis.com/{outer}"), value }
}

#[track_caller]
fn rejected<T: std::fmt::Debug>(outcome: Result<T, String>, part: &str) {
    let error = outcome.expect_err(part);
    assert!(error.contains(part), "{error:?} should contain {part:?}");
}

// V-01
#[test]
fn bad_client_listeners_are_rejected_by_name() {
    let wrong = Any { type_url: "type.googleapis.com/x.Y".into(), value: Vec::new() };
    let mut listener = client_listener("l", &manager_with_rds("r"));
    listener.api_listener.as_mut().unwrap().api_listener = Some(wrong.clone());
    rejected(read(&any(&listener)), "unexpected http connection manager resource type");
    listener.api_listener.as_mut().unwrap().api_listener = None;
    rejected(read(&any(&listener)), "unexpected http connection manager resource type");

    let manager = manager_with_rds("r");
    let ads = || Some(ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {}));
    let unknown = || http_filter("x", wrong.clone());
    let rbac = || rbac_filter(rbac::rbac::Action::Log, 1);
    let garbage = Any { value: vec![0xff], ..any(&HttpFault::default()) };
    for (manager, part) in [
        (HttpConnectionManager { xff_num_trusted_hops: 1, ..manager.clone() }, "xff_num_trusted_hops"),
        (
            HttpConnectionManager { original_ip_detection_extensions: vec![Default::default()], ..manager.clone() },
            "original_ip_detection_extensions",
        ),
        (HttpConnectionManager { route_specifier: None, ..manager.clone() }, "no RouteSpecifier"),
        (
            HttpConnectionManager {
                route_specifier: Some(RouteSpecifier::ScopedRoutes(ScopedRoutes::default())),
                ..manager.clone()
            },
            "unsupported type ScopedRoutes",
        ),
        (with_rds(None, "r"), "LDS's RDS configSource is not ADS or Self"),
        (with_rds(ads(), ""), "empty route_config_name"),
        (with_filters(vec![]), "http filters list is empty"),
        (with_filters(vec![fault_filter(&HttpFault::default())]), "is not a terminal filter and is last"),
        (
            with_filters(vec![router(), HttpFilter { name: "b".into(), ..router() }]),
            "terminal filter but it is not last",
        ),
        (with_filters(vec![router(), router()]), "duplicate filter name"),
        (with_filters(vec![HttpFilter { name: String::new(), ..router() }]), "filter missing name field"),
        (with_filters(vec![unknown(), router()]), "no filter implementation found for \"x.Y\""),
        (with_filters(vec![rbac(), router()]), "HTTP filter \"rbac\" not supported client-side"),
        (with_filters(vec![http_filter("f", garbage.clone()), router()]), "failed to unmarshal"),
        (with_filters(vec![optional(http_filter("f", garbage)), router()]), "failed to unmarshal"),
        (
            with_filters(vec![http_filter("s", any(&StatefulSession::default())), router()]),
            "no filter implementation found for \"envoy.extensions.filters.http.stateful_session.v3.StatefulSession\"",
        ),
        (
            with_filters(vec![http_filter("s", typed_struct("udpa.type.v1.TypedStruct", "x.Y")), router()]),
            "no filter implementation found for \"x.Y\"",
        ),
        (
            with_filters(vec![http_filter(
                "s",
                typed_struct("xds.type.v3.TypedStruct", "envoy.extensions.filters.http.router.v3.Router"),
            )]),
            "cannot be given as TypedStruct",
        ),
        (
            with_filters(vec![
                fault_filter(&HttpFault {
                    delay: Some(fault::FaultDelay {
                        fault_delay_secifier: Some(fault::fault_delay::FaultDelaySecifier::FixedDelay(
                            envoy_types::pb::google::protobuf::Duration { seconds: -1, nanos: 0 },
                        )),
                        ..Default::default()
                    }),
                    ..Default::default()
                }),
                router(),
            ]),
            "http filter \"envoy.filters.http.fault\": fixed_delay is negative or out of range",
        ),
    ] {
        rejected(read_client(&manager), part);
    }
}

// V-01
#[test]
fn good_client_listeners_keep_what_grpc_acts_on() {
    let myself = Some(ConfigSourceSpecifier::Self_(core::SelfConfigSource::default()));
    let unknown = http_filter("x", Any { type_url: "type.googleapis.com/x.Y".into(), value: vec![0xff] });
    let rbac = rbac_filter(rbac::rbac::Action::Deny, 1);
    let mut manager = with_rds(myself, "outbound|80||echo");
    manager.http_filters = vec![
        fault_filter(&HttpFault::default()),
        HttpFilter { name: "second".into(), ..fault_filter(&aborting(0)) },
        optional(unknown),
        optional(rbac),
        router(),
    ];
    manager.common_http_protocol_options = Some(core::HttpProtocolOptions {
        max_stream_duration: Some(envoy_types::pb::google::protobuf::Duration { seconds: 5, nanos: 1 }),
        ..Default::default()
    });
    // Istio sets the address of a client's listener as well.
    let listener = ListenerProto { address: address("10.1.0.1", 80), ..client_listener("l", &manager) };
    let listener = read(&any(&listener)).unwrap();
    let ListenerKind::Client(http) = listener.kind else { panic!("{listener:?}") };
    assert_eq!(http.routes, RouteSource::Rds("outbound|80||echo".into()));
    assert_eq!(http.max_stream_duration, Some(Duration::new(5, 1)));
    let filters: Vec<_> = http.http_filters.iter().map(|filter| (filter.name.as_str(), filter.kind.clone())).collect();
    assert_eq!(
        filters,
        [
            ("envoy.filters.http.fault", HttpFilterKind::Fault(FaultPolicy::default().into())),
            ("second", HttpFilterKind::Fault(FaultPolicy::default().into())),
            ("envoy.filters.http.router", HttpFilterKind::Router)
        ]
    );
}

#[test]
fn inline_routes_are_checked_like_others() {
    assert!(read(&inline_listener("l", "c")).is_ok());
    let mut host = virtual_host("*", "c");
    host.routes[0].r#match = None;
    let routes = envoy_types::pb::envoy::config::route::v3::RouteConfiguration {
        virtual_hosts: vec![host],
        ..Default::default()
    };
    let manager =
        HttpConnectionManager { route_specifier: Some(RouteSpecifier::RouteConfig(routes)), ..manager_with_rds("") };
    rejected(read_client(&manager), "route doesn't have a match");
}

fn read_server(change: impl FnOnce(&mut ListenerProto)) -> Result<ServerListener, String> {
    let mut listener = server_listener("l");
    change(&mut listener);
    read(&any(&listener)).map(|listener| match listener.kind {
        ListenerKind::Server(server) => server,
        ListenerKind::Client(_) => panic!("a server listener was read as a client's"),
    })
}

/// A listener of a single chain that `change` has been at.
fn read_chain(change: impl FnOnce(&mut FilterChain)) -> Result<ServerListener, String> {
    read_server(|listener| change(&mut listener.filter_chains[0]))
}

fn with_manager(manager: &HttpConnectionManager) -> Result<ServerListener, String> {
    read_chain(|chain| *chain = filter_chain(manager))
}

// V-02, V-04, V-08, V-09
#[test]
fn bad_server_listeners_are_rejected_by_name() {
    rejected(read_server(|it| it.listener_filters = vec![ListenerFilter::default()]), "'listener_filters'");
    rejected(read_server(|it| it.use_original_dst = Some(BoolValue { value: true })), "'use_original_dst'");
    rejected(read_server(|it| it.address = None), "no address field");
    rejected(read_server(|it| it.address = Some(core::Address { address: None })), "no socket_address field");
    rejected(read_server(|it| it.filter_chains.clear()), "no supported filter chains and no default filter chain");

    rejected(read_chain(|it| it.filters.clear()), "missing HttpConnectionManager filter");
    rejected(read_chain(|it| it.filters[0].name.clear()), "network filter missing name field");
    rejected(read_chain(|it| it.filters.push(it.filters[0].clone())), "duplicate filter name \"hcm\"");
    rejected(read_chain(|it| it.filters[0].config_type = None), "has no typed_config");
    rejected(
        read_chain(|it| it.filters.push(Filter { name: "b".into(), ..filter_chain_of(&any(&HttpFault::default())) })),
        "unsupported network filter",
    );
    rejected(
        with_manager(&HttpConnectionManager { http_filters: vec![], ..server_manager() }),
        "filters list is empty",
    );
    rejected(
        with_manager(&HttpConnectionManager {
            http_filters: vec![fault_filter(&HttpFault::default()), router()],
            ..server_manager()
        }),
        "not supported server-side",
    );
    let myself = Some(ConfigSourceSpecifier::Self_(core::SelfConfigSource::default()));
    rejected(with_manager(&with_rds(myself, "r")), "ConfigSource is not ADS");
}

fn filter_chain_of(config: &Any) -> Filter {
    use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
    Filter { name: "x".into(), config_type: Some(ConfigType::TypedConfig(config.clone())) }
}

#[test]
fn rbac_filters_keep_what_decides() {
    use hermesh_xds::resource::RbacAction;
    use rbac::rbac::Action::{Allow, Deny, Log};
    let with =
        |filter| with_manager(&HttpConnectionManager { http_filters: vec![filter, router()], ..server_manager() });
    for (filter, expected) in [
        (rbac_filter(Allow, 0), Some((RbacAction::Allow, 0))),
        (rbac_filter(Allow, 1), Some((RbacAction::Allow, 1))),
        (rbac_filter(Deny, 2), Some((RbacAction::Deny, 2))),
        (rbac_filter(Log, 1), None),
        (http_filter("rbac", any(&Rbac::default())), None),
    ] {
        let server = with(filter).unwrap();
        let HttpFilterKind::Rbac(rules) = &server.filter_chains[0].http.http_filters[0].kind else { panic!() };
        assert_eq!(rules.as_ref().map(|rules| (rules.action, rules.policies.len())), expected);
    }
    let bad = rbac::Policy { permissions: vec![rbac::Permission::default()], ..rbac::Policy::default() };
    let rules = rbac::Rbac { policies: [("p".to_owned(), bad)].into(), ..rbac::Rbac::default() };
    let bad = http_filter("rbac", any(&Rbac { rules: Some(rules), ..Rbac::default() }));
    rejected(with(optional(bad)), "http filter \"rbac\": RBAC policy \"p\": unsupported kind of permission");
}

// V-03, V-12
#[test]
fn chains_that_match_on_what_grpc_cannot_know_are_left_out() {
    let with = |chain_match: FilterChainMatch| {
        read_server(|listener| {
            let odd = FilterChain {
                filter_chain_match: Some(chain_match),
                // Not even looked at.
                filters: Vec::new(),
                ..Default::default()
            };
            listener.filter_chains.push(odd);
        })
    };
    for chain_match in [
        FilterChainMatch { destination_port: Some(UInt32Value { value: 80 }), ..Default::default() },
        FilterChainMatch { server_names: vec!["x".into()], ..Default::default() },
        FilterChainMatch { application_protocols: vec!["h2".into()], ..Default::default() },
        FilterChainMatch { transport_protocol: "tls".into(), ..Default::default() },
    ] {
        assert_eq!(with(chain_match.clone()).unwrap().filter_chains.len(), 1);
        let only = read_chain(|chain| chain.filter_chain_match = Some(chain_match));
        rejected(only, "no supported filter chains");
    }
}

fn range(address: &str, len: u32) -> core::CidrRange {
    core::CidrRange { address_prefix: address.into(), prefix_len: Some(UInt32Value { value: len }) }
}

// V-13
#[test]
fn chains_keep_what_they_match_on() {
    let server = read_chain(|chain| {
        chain.name = "inbound".into();
        chain.filter_chain_match = Some(FilterChainMatch {
            prefix_ranges: vec![range("10.1.2.3", 8)],
            source_type: 1,
            source_prefix_ranges: vec![range("fd00::1", 64)],
            source_ports: vec![1, 2],
            transport_protocol: "raw_buffer".into(),
            ..Default::default()
        });
    })
    .unwrap();
    assert_eq!((server.address.as_str(), server.port), ("0.0.0.0", 8080));
    let Match { prefix_ranges, raw_buffer, source_type, source_prefix_ranges, source_ports } =
        &server.filter_chains[0].matches;
    assert_eq!(prefix_ranges[0].to_string(), "10.0.0.0/8");
    assert_eq!(source_prefix_ranges[0].to_string(), "fd00::/64");
    assert_eq!((*raw_buffer, *source_type, source_ports.as_slice()), (true, SourceType::SameIpOrLoopback, &[1, 2][..]));
    assert!(matches!(server.filter_chains[0].http.routes, RouteSource::Inline(_)));
}

#[test]
fn bad_address_ranges_are_rejected() {
    for bad in [range("10.0.0.0", 33), range("x", 8), range("::", 300)] {
        let chain_match = FilterChainMatch { prefix_ranges: vec![bad], ..Default::default() };
        rejected(read_chain(|it| it.filter_chain_match = Some(chain_match)), "failed to parse prefix range");
    }
}

// V-05
#[test]
fn chains_that_match_alike_are_rejected() {
    let overlapping = "multiple filter chains with overlapping matching rules are defined";
    let two = |a: FilterChainMatch, b: FilterChainMatch| {
        read_server(|listener| {
            let chain = listener.filter_chains.remove(0);
            for chain_match in [a, b] {
                listener.filter_chains.push(FilterChain { filter_chain_match: Some(chain_match), ..chain.clone() });
            }
        })
    };
    let ports = |ports: &[u32]| FilterChainMatch { source_ports: ports.to_vec(), ..Default::default() };
    let to = |ranges: &[core::CidrRange]| FilterChainMatch { prefix_ranges: ranges.to_vec(), ..Default::default() };
    rejected(two(ports(&[]), ports(&[])), overlapping);
    rejected(two(ports(&[1, 2]), ports(&[2, 3])), overlapping);
    rejected(two(to(&[range("10.0.0.1", 8)]), to(&[range("10.9.9.9", 8)])), overlapping);
    assert!(two(ports(&[1]), ports(&[2])).is_ok());
    assert!(two(to(&[]), to(&[range("0.0.0.0", 0)])).is_ok());
    let raw = FilterChainMatch { transport_protocol: "raw_buffer".into(), ..Default::default() };
    assert!(two(raw, to(&[])).is_ok());
}

fn socket(name: &str, config: Any) -> Option<core::TransportSocket> {
    let config_type = Some(transport_socket::ConfigType::TypedConfig(config));
    Some(core::TransportSocket { name: name.into(), config_type })
}

fn instance(name: &str) -> Option<tls::CertificateProviderPluginInstance> {
    Some(tls::CertificateProviderPluginInstance { instance_name: name.into(), certificate_name: "ROOTCA".into() })
}

/// A downstream context with an identity and, if named, roots.
fn downstream(identity: &str, roots: Option<&str>) -> tls::DownstreamTlsContext {
    let validation = tls::CertificateValidationContext {
        ca_certificate_provider_instance: roots.and_then(instance),
        ..Default::default()
    };
    let common = tls::CommonTlsContext {
        tls_certificate_provider_instance: instance(identity),
        validation_context_type: roots
            .map(|_| tls::common_tls_context::ValidationContextType::ValidationContext(validation)),
        ..Default::default()
    };
    tls::DownstreamTlsContext {
        common_tls_context: Some(common),
        require_client_certificate: Some(BoolValue { value: roots.is_some() }),
        ..Default::default()
    }
}

fn secured(context: &tls::DownstreamTlsContext) -> Result<ServerListener, String> {
    read_chain(|chain| chain.transport_socket = socket("envoy.transport_sockets.tls", any(context)))
}

// V-06, V-34, X-11
#[test]
fn bad_downstream_security_is_rejected_by_name() {
    let good = downstream("default", Some("default"));
    assert!(secured(&good).is_ok());
    let other_socket = read_chain(|chain| chain.transport_socket = socket("raw", any(&good)));
    rejected(other_socket, "unexpected name: \"raw\"");
    let upstream = any(&tls::UpstreamTlsContext::default());
    let other_side = read_chain(|chain| chain.transport_socket = socket("envoy.transport_sockets.tls", upstream));
    rejected(other_side, "unexpected typeURL");
    let yes = || Some(BoolValue { value: true });
    rejected(secured(&tls::DownstreamTlsContext { require_sni: yes(), ..good.clone() }), "require_sni");
    rejected(secured(&tls::DownstreamTlsContext { ocsp_staple_policy: 1, ..good.clone() }), "ocsp_staple_policy");
    rejected(
        secured(&tls::DownstreamTlsContext { common_tls_context: None, ..good.clone() }),
        "does not contain a CommonTlsContext",
    );
    rejected(
        secured(&tls::DownstreamTlsContext { common_tls_context: Some(Default::default()), ..good }),
        "does not contain identity certificate provider instance name",
    );
    let mut without_roots = downstream("default", None);
    without_roots.require_client_certificate = yes();
    rejected(secured(&without_roots), "but require_client_cert field is set");
    rejected(
        secured(&downstream("other", None)),
        "identity certificate provider instance name \"other\" missing in bootstrap configuration",
    );
    rejected(
        secured(&downstream("default", Some("other"))),
        "root certificate provider instance name \"other\" missing",
    );
}

#[test]
#[expect(deprecated, reason = "gRPC reads this field")]
fn a_server_does_not_match_the_names_of_its_clients() {
    let mut context = downstream("default", Some("default"));
    let common = context.common_tls_context.as_mut().unwrap();
    let Some(tls::common_tls_context::ValidationContextType::ValidationContext(validation)) =
        &mut common.validation_context_type
    else {
        panic!("{common:?}")
    };
    validation.match_subject_alt_names =
        vec![StringMatcher { match_pattern: Some(MatchPattern::Exact("x".into())), ..Default::default() }];
    rejected(secured(&context), "match_subject_alt_names");
}

// V-11
#[test]
fn downstream_security_names_providers_and_says_whether_clients_must_be_known() {
    let server = secured(&downstream("default", Some("default"))).unwrap();
    let security = server.filter_chains[0].security.clone().unwrap();
    assert_eq!(security.identity.instance_name, "default");
    assert_eq!(security.roots.unwrap().certificate_name, "ROOTCA");
    assert!(security.require_client_certificate);
    let server = secured(&downstream("default", None)).unwrap();
    assert!(!server.filter_chains[0].security.clone().unwrap().require_client_certificate);
    assert_eq!(read_server(|_| {}).unwrap().filter_chains[0].security, None);
}

#[test]
fn a_default_chain_alone_will_do() {
    let server = read_server(|listener| {
        listener.default_filter_chain = listener.filter_chains.pop();
    })
    .unwrap();
    assert!(server.filter_chains.is_empty() && server.default_filter_chain.is_some());
}
