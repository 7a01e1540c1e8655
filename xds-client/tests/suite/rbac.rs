//! RBAC filters that a control plane has a server apply (gRFC A41): whose rules count, and what callers are told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::ads_support::{
    CDS, EDS, LDS, RDS, address, any, eds_cluster, filter_chain, http_filter, lb_endpoint, listener, load_assignment,
    locality, router, routes, server_listener, server_manager,
};
use crate::mesh_support::echo::Echo;
use crate::mesh_support::{EchoClient, Mesh, eventually};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::route::Action as RouteAction;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    NonForwardingAction, Route, RouteConfiguration, RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::{Rbac, RbacPerRoute};
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use envoy_types::pb::google::protobuf::Any;
use hermesh_runtime::server::drain;
use hermesh_xds::{ServingMode, XdsServer};
use rbac::permission::Rule;
use rbac::rbac::Action;
use tonic::Code;

const NAME: &str = "echo.shop:80";
const TARGET: &str = "xds:///echo.shop:80";
const DENY: &str = "envoy.filters.http.rbac.DENY";
const DENIED: &str = "Incoming RPC is not allowed: rpc error: code = PermissionDenied desc = incoming RPC";

/// One policy for anybody: `header` is there.
fn with_header(action: Action, policy: &str, header: &str) -> Rbac {
    let header = HeaderMatcher {
        name: header.to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::PresentMatch(true)),
        ..Default::default()
    };
    let rule = rbac::Policy {
        permissions: vec![rbac::Permission { rule: Some(Rule::Header(header)) }],
        principals: vec![rbac::Principal { identifier: Some(rbac::principal::Identifier::Any(true)) }],
        ..Default::default()
    };
    let policies = [(policy.to_owned(), rule)].into();
    Rbac { rules: Some(rbac::Rbac { action: action.into(), policies, ..Default::default() }), ..Default::default() }
}

/// The server's listener: filters, and what takes the place of the one that denies.
fn inbound(name: &str, port: u16, filters: &[(&str, Rbac)], host: Option<Any>, hold: Option<Any>) -> Listener {
    let overrides = |any: Option<Any>| any.map(|any| (DENY.to_owned(), any)).into_iter().collect();
    let route = |path: &str, any| Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(path.to_owned())),
            ..Default::default()
        }),
        action: Some(RouteAction::NonForwardingAction(NonForwardingAction {})),
        typed_per_filter_config: overrides(any),
        ..Default::default()
    };
    let virtual_host = VirtualHost {
        domains: vec!["*".to_owned()],
        routes: vec![route("/test.Echo/Hold", hold), route("/", None)],
        typed_per_filter_config: overrides(host),
        ..Default::default()
    };
    let mut manager = server_manager();
    let routes = RouteConfiguration { virtual_hosts: vec![virtual_host], ..Default::default() };
    manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes));
    let filters = filters.iter().map(|(name, rbac)| http_filter(name, any(rbac)));
    manager.http_filters = filters.chain([router()]).collect();
    Listener {
        address: address("127.0.0.1", port.into()),
        filter_chains: vec![filter_chain(&manager)],
        ..server_listener(name)
    }
}

/// A server with these filters and overrides, and a client of it.
async fn mesh(filters: &[(&str, Rbac)], host: Option<Any>, hold: Option<Any>) -> (Mesh, Echo, EchoClient) {
    let mesh = Mesh::start().await;
    let socket = mesh.rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = socket.local_address().tcp().unwrap().port();
    let name = format!("xds.istio.io/grpc/lds/inbound/127.0.0.1:{port}");
    let endpoint = lb_endpoint("127.0.0.1", port.into());
    mesh.control_plane.set([
        (LDS, name.as_str(), any(&inbound(&name, port, filters, host, hold))),
        (LDS, NAME, listener(NAME, "routes")),
        (RDS, "routes", routes("routes", &["one"])),
        (CDS, "one", any(&eds_cluster("one"))),
        (EDS, "one", any(&load_assignment("one", vec![locality("a", 1, 0, vec![endpoint])]))),
    ]);
    let echo = Echo::new("server");
    echo.hold.add_permits(100);
    let serving = Arc::new(AtomicBool::new(false));
    let server = XdsServer::new(&mesh.rt).pool(&mesh.pool()).add_service(echo.clone()).on_serving_mode({
        let serving = serving.clone();
        move |_, mode| serving.store(*mode == ServingMode::Serving, Ordering::SeqCst)
    });
    mesh.rt.spawn("xds server", async move {
        let (_handle, drained) = drain();
        server.serve_on(socket, drained).await.expect("the listener works");
    });
    eventually("the server serves", || serving.load(Ordering::SeqCst)).await;
    let client = mesh.client(TARGET).await;
    (mesh, echo, client)
}

#[tokio::test]
async fn a_denied_call_reaches_no_application_and_says_which_policy_denied_it() {
    let filters = [(DENY, with_header(Action::Deny, "shop-block-0", "echo"))];
    let (mesh, echo, mut client) = mesh(&filters, None, None).await;
    let calls = echo.calls();
    let status = client.say_with("echo", "block").await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!(status.message(), format!("{DENIED} matched a deny policy \"shop-block-0\""));
    assert_eq!(echo.calls(), calls);
    assert_eq!(client.say().await.unwrap(), "server");

    let denied = mesh.recorder.last("rpc.denied").fields;
    assert_eq!((&denied["policy"], &denied["filter"]), (&"shop-block-0".into(), &DENY.into()));
    assert_eq!(denied["method"], "/test.Echo/Say");
    let finished = mesh.recorder.of("rpc.finished");
    let failed = finished.iter().find(|finished| finished.fields["code"] == "PermissionDenied").unwrap();
    assert_eq!((&failed.fields["cause_kind"], &failed.fields["attempts"]), (&"rbac-denied".into(), &1.into()));
}

#[tokio::test]
async fn a_filter_that_allows_wants_a_policy_and_comes_after_one_that_denies() {
    let filters = [
        (DENY, with_header(Action::Deny, "block", "x-block")),
        ("envoy.filters.http.rbac", with_header(Action::Allow, "allow", "x-allow")),
    ];
    let (mesh, _, mut client) = mesh(&filters, None, None).await;
    let status = client.say().await.unwrap_err();
    assert_eq!(status.message(), format!("{DENIED} did not match an allow policy"));
    assert_eq!(mesh.recorder.last("rpc.denied").fields["allow_policies"], serde_json::json!(["allow"]));
    assert_eq!(client.say_with("x-allow", "yes").await.unwrap(), "server");
    let allowed = mesh.recorder.of("rpc.allowed");
    let by: Vec<_> = allowed.iter().rev().take(2).map(|allowed| allowed.fields["policy"].clone()).collect();
    assert_eq!(by, [serde_json::json!("allow"), serde_json::Value::Null]);

    let mut both = tonic::Request::new("hello".to_owned());
    both.metadata_mut().insert("x-allow", "yes".parse().unwrap());
    both.metadata_mut().insert("x-block", "yes".parse().unwrap());
    let status = client.send("/test.Echo/Say", both).await.unwrap_err();
    assert_eq!(status.message(), format!("{DENIED} matched a deny policy \"block\""));
}

#[tokio::test]
async fn the_rules_of_a_route_take_the_place_of_its_hosts_and_those_of_the_filters() {
    let filters = [(DENY, with_header(Action::Deny, "of-the-filter", "echo"))];
    let off = || any(&RbacPerRoute::default());
    let other = || any(&RbacPerRoute { rbac: Some(with_header(Action::Deny, "of-the-route", "echo")) });
    for (host, hold, say, held) in [
        (None, None, Some("of-the-filter"), Some("of-the-filter")),
        (Some(off()), None, None, None),
        (None, Some(off()), Some("of-the-filter"), None),
        (Some(off()), Some(other()), None, Some("of-the-route")),
    ] {
        let (_mesh, _, mut client) = mesh(&filters, host, hold).await;
        for (path, expected) in [("/test.Echo/Say", say), ("/test.Echo/Hold", held)] {
            let mut request = tonic::Request::new("hello".to_owned());
            request.metadata_mut().insert("echo", "x".parse().unwrap());
            let told = client.send(path, request).await.map_err(|status| status.message().to_owned());
            let expected = expected.map(|policy| format!("{DENIED} matched a deny policy \"{policy}\""));
            assert_eq!(told.err(), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn audit_loggers_are_told_of_the_decisions_they_asked_for() {
    use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
    use envoy_types::pb::envoy::extensions::rbac::audit_loggers::stream::v3::StdoutAuditLog;
    use rbac::rbac::AuditLoggingOptions;
    use rbac::rbac::audit_logging_options::{AuditCondition, AuditLoggerConfig};

    for (condition, expected) in [
        (AuditCondition::OnDeny, vec![("block", false)]),
        (AuditCondition::OnAllow, vec![("", true)]),
        (AuditCondition::OnDenyAndAllow, vec![("", true), ("block", false)]),
        (AuditCondition::None, vec![]),
    ] {
        let mut deny = with_header(Action::Deny, "block", "echo");
        let logger = TypedExtensionConfig { name: "stdout".to_owned(), typed_config: Some(any(&StdoutAuditLog {})) };
        deny.rules.as_mut().unwrap().audit_logging_options = Some(AuditLoggingOptions {
            audit_condition: condition.into(),
            logger_configs: vec![AuditLoggerConfig { audit_logger: Some(logger), is_optional: false }],
        });
        let (mesh, _, mut client) = mesh(&[(DENY, deny)], None, None).await;
        client.say().await.unwrap();
        client.say_with("echo", "x").await.unwrap_err();
        let told: Vec<_> = mesh
            .recorder
            .of("rpc.audited")
            .into_iter()
            .map(|told| {
                assert_eq!(told.fields["rpc_method"], "/test.Echo/Say");
                assert_eq!(told.fields["policy_name"], DENY);
                (told.fields["matched_rule"].clone(), told.fields["authorized"].clone())
            })
            .collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(rule, authorized)| (rule.into(), authorized.into())).collect();
        assert_eq!(told, expected, "{condition:?}");
    }
}
