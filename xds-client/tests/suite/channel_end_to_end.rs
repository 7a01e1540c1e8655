//! A channel against a control plane and backends on the loopback: routing, balancing, failures, retries, deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ads_support::{
    CDS, EDS, LDS, RDS, any, cluster, eds_cluster, lb_endpoint, listener, load_assignment, locality, to_cluster,
    virtual_host,
};
use crate::mesh_support::echo::Backend;
use crate::mesh_support::{EchoClient, Mesh, eventually};
use envoy_types::pb::envoy::config::core::v3::HealthStatus;
use envoy_types::pb::envoy::config::route::v3::header_matcher::HeaderMatchSpecifier;
use envoy_types::pb::envoy::config::route::v3::retry_policy::RetryBackOff;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::{ClusterSpecifier, MaxStreamDuration};
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{
    HeaderMatcher, RetryPolicy, Route, RouteAction, RouteConfiguration, WeightedCluster,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, Duration as ProtoDuration, UInt32Value};
use hermesh_xds::{ChannelCredentials, XdsChannel};
use tonic::{Code, Status};

const NAME: &str = "echo.shop:80";
const TARGET: &str = "xds:///echo.shop:80";

/// All RPCs of the target take these routes.
fn routes(routes: Vec<Route>) -> Any {
    let host = virtual_host("*", "");
    let virtual_hosts = vec![envoy_types::pb::envoy::config::route::v3::VirtualHost { routes, ..host }];
    any(&RouteConfiguration { name: "routes".to_owned(), virtual_hosts, ..Default::default() })
}

fn endpoints(cluster: &str, backends: &[&Backend]) -> Any {
    let endpoints = backends.iter().map(|it| lb_endpoint("127.0.0.1", it.address.port().into())).collect();
    any(&load_assignment(cluster, vec![locality("a", 1, 0, endpoints)]))
}

/// One cluster with these backends, and a route to it.
fn one_cluster(mesh: &Mesh, route: Route, backends: &[&Backend]) {
    mesh.control_plane.set([
        (LDS, NAME, listener(NAME, "routes")),
        (RDS, "routes", routes(vec![route])),
        (CDS, "one", cluster("one")),
        (EDS, "one", endpoints("one", backends)),
    ]);
}

fn weighted(clusters: &[(&str, u32)]) -> Route {
    let weight = |(name, weight): &(&str, u32)| ClusterWeight {
        name: (*name).to_owned(),
        weight: Some(UInt32Value { value: *weight }),
        ..Default::default()
    };
    let clusters = WeightedCluster { clusters: clusters.iter().map(weight).collect(), ..Default::default() };
    let action =
        RouteAction { cluster_specifier: Some(ClusterSpecifier::WeightedClusters(clusters)), ..Default::default() };
    Route { action: Some(Action::Route(action)), ..to_cluster("") }
}

fn with_action(route: Route, change: impl FnOnce(&mut RouteAction)) -> Route {
    let Some(Action::Route(mut action)) = route.action else { panic!("a route to a cluster") };
    change(&mut action);
    Route { action: Some(Action::Route(action)), ..route }
}

fn exactly(text: &str) -> StringMatcher {
    StringMatcher { match_pattern: Some(MatchPattern::Exact(text.to_owned())), ..Default::default() }
}

/// What Istio sends unless told otherwise.
fn istio_retries(action: &mut RouteAction) {
    action.retry_policy = Some(RetryPolicy {
        retry_on: "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes".to_owned(),
        num_retries: Some(UInt32Value { value: 2 }),
        retry_back_off: Some(RetryBackOff {
            base_interval: Some(ProtoDuration { seconds: 0, nanos: 25_000_000 }),
            ..Default::default()
        }),
        ..Default::default()
    });
}

#[tokio::test]
async fn round_robin_is_exact() {
    let mesh = Mesh::start().await;
    let backends =
        [Backend::start(&mesh.rt, "a").await, Backend::start(&mesh.rt, "b").await, Backend::start(&mesh.rt, "c").await];
    one_cluster(&mesh, to_cluster("one"), &backends.each_ref());
    let mut client = mesh.client(TARGET).await;
    client.say().await.unwrap();
    let recorder = &mesh.recorder;
    let ready = || recorder.of("subchannel.state").iter().filter(|event| event.fields["state"] == "READY").count();
    eventually("all three are connected", || ready() == 3).await;
    client.until("a").await;
    let expected: BTreeMap<String, usize> = ["a", "b", "c"].map(|name| (name.to_owned(), 10)).into();
    assert_eq!(client.tally(30).await, expected);
}

#[tokio::test]
async fn endpoints_that_are_not_healthy_get_no_call() {
    let mesh = Mesh::start().await;
    let (well, ill) = (Backend::start(&mesh.rt, "well").await, Backend::start(&mesh.rt, "ill").await);
    one_cluster(&mesh, to_cluster("one"), &[&well]);
    let mut draining = lb_endpoint("127.0.0.1", ill.address.port().into());
    draining.health_status = HealthStatus::Draining.into();
    let healthy = lb_endpoint("127.0.0.1", well.address.port().into());
    let assignment = load_assignment("one", vec![locality("a", 1, 0, vec![draining, healthy])]);
    mesh.control_plane.set([(EDS, "one", any(&assignment))]);
    let tally = mesh.client(TARGET).await.tally(20).await;
    assert_eq!(tally, [("well".to_owned(), 20)].into());
}

#[tokio::test]
async fn a_split_of_20_to_80_is_kept() {
    let mesh = Mesh::start().await;
    let (v1, v2) = (Backend::start(&mesh.rt, "v1").await, Backend::start(&mesh.rt, "v2").await);
    mesh.control_plane.set([
        (LDS, NAME, listener(NAME, "routes")),
        (RDS, "routes", routes(vec![weighted(&[("v1", 20), ("v2", 80)])])),
        (CDS, "v1", cluster("v1")),
        (CDS, "v2", cluster("v2")),
        (EDS, "v1", endpoints("v1", &[&v1])),
        (EDS, "v2", endpoints("v2", &[&v2])),
    ]);
    let tally = mesh.client(TARGET).await.tally(1000).await;
    // Six standard deviations to either side.
    assert!((124..=276).contains(&tally["v1"]), "{tally:?}");
    assert_eq!(tally["v1"] + tally["v2"], 1000);
    let pick = mesh.recorder.last("rpc.pick");
    assert!(pick.fields["reason"].as_str().unwrap().contains("by weight"), "{pick:?}");
}

#[tokio::test]
async fn a_header_leads_to_a_subset() {
    let mesh = Mesh::start().await;
    let (stable, canary) = (Backend::start(&mesh.rt, "stable").await, Backend::start(&mesh.rt, "canary").await);
    let mut to_canary = to_cluster("canary");
    to_canary.r#match.as_mut().unwrap().headers = vec![HeaderMatcher {
        name: "x-canary".to_owned(),
        header_match_specifier: Some(HeaderMatchSpecifier::StringMatch(exactly("yes"))),
        ..Default::default()
    }];
    mesh.control_plane.set([
        (LDS, NAME, listener(NAME, "routes")),
        (RDS, "routes", routes(vec![to_canary, to_cluster("stable")])),
        (CDS, "stable", cluster("stable")),
        (CDS, "canary", cluster("canary")),
        (EDS, "stable", endpoints("stable", &[&stable])),
        (EDS, "canary", endpoints("canary", &[&canary])),
    ]);
    let mut client = mesh.client(TARGET).await;
    assert_eq!(client.say().await.unwrap(), "stable");
    assert_eq!(client.say_with("x-canary", "yes").await.unwrap(), "canary");
    assert_eq!(client.say_with("x-canary", "no").await.unwrap(), "stable");
}

/// tonic-xds keeps the endpoints of a cluster that went away and uses them when it comes back.
#[tokio::test]
async fn a_cluster_removed_and_added_again_uses_the_new_endpoints() {
    let mesh = Mesh::start().await;
    let (old, other, new) = (
        Backend::start(&mesh.rt, "old").await,
        Backend::start(&mesh.rt, "other").await,
        Backend::start(&mesh.rt, "new").await,
    );
    one_cluster(&mesh, to_cluster("one"), &[&old]);
    mesh.control_plane.set([(CDS, "two", cluster("two")), (EDS, "two", endpoints("two", &[&other]))]);
    let mut client = mesh.client(TARGET).await;
    assert_eq!(client.say().await.unwrap(), "old");
    mesh.control_plane.set([(RDS, "routes", routes(vec![to_cluster("two")]))]);
    client.until("other").await;
    let calls_of_old = old.echo.calls();
    mesh.control_plane.remove(CDS, "one");
    mesh.control_plane.set([(EDS, "one", endpoints("one", &[&new]))]);
    mesh.control_plane.set([(CDS, "one", cluster("one")), (RDS, "routes", routes(vec![to_cluster("one")]))]);
    client.until("new").await;
    assert_eq!(client.tally(20).await, [("new".to_owned(), 20)].into());
    assert_eq!(old.echo.calls(), calls_of_old);
}

#[tokio::test]
async fn a_priority_that_fails_is_replaced_by_the_next_at_once() {
    let mesh = Mesh::start().await;
    let backup = Backend::start(&mesh.rt, "backup").await;
    let gone = Backend::start(&mesh.rt, "gone").await;
    let first = vec![lb_endpoint("127.0.0.1", gone.address.port().into())];
    let second = vec![lb_endpoint("127.0.0.1", backup.address.port().into())];
    let assignment = load_assignment("one", vec![locality("a", 1, 0, first), locality("b", 1, 1, second)]);
    one_cluster(&mesh, to_cluster("one"), &[]);
    mesh.control_plane.set([(EDS, "one", any(&assignment))]);
    gone.drain();
    drop(gone);
    let mut client = mesh.client(TARGET).await;
    let said = tokio::time::timeout(Duration::from_secs(5), client.say()).await;
    assert_eq!(said.expect("no wait for the failover timer").unwrap(), "backup");
}

#[tokio::test]
async fn a_refused_connection_fails_rpcs_with_grpc_gos_words_and_a_chain_of_causes() {
    let mesh = Mesh::start().await;
    let gone = Backend::start(&mesh.rt, "gone").await;
    one_cluster(&mesh, to_cluster("one"), &[&gone]);
    let address = gone.address;
    gone.drain();
    drop(gone);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(
        error.message(),
        format!(
            "connection error: desc = \"transport: Error while dialing: dial tcp {address}: connect: connection refused\""
        )
    );
    let finished = mesh.recorder.last("rpc.finished");
    assert_eq!(finished.fields["cause_kind"], "tcp-connect");
    assert_eq!(finished.fields["cluster"], "one");
    assert_eq!(mesh.recorder.causes(&finished)[..3], ["rpc.finished", "subchannel.state", "conn.failed"]);
}

#[tokio::test]
async fn a_server_that_hangs_up_is_told_from_one_that_speaks_something_else() {
    use tokio::io::AsyncWriteExt as _;
    let greetings: [(&[u8], &str); 3] = [
        (b"", "xds-server-not-serving"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "connection-lost"),
        (b"220 mail.shop ESMTP\r\n", "connection-lost"),
    ];
    for (greeting, cause) in greetings {
        let mesh = Mesh::start().await;
        let mut listener = mesh.rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let port = listener.local_address().tcp().unwrap().port();
        mesh.rt.spawn("stranger", async move {
            let mut greeted = Vec::new();
            while let Ok(mut stream) = listener.accept().await {
                if !greeting.is_empty() {
                    let _ = stream.write_all(greeting).await;
                    // A greeting that is followed by RST may not arrive.
                    greeted.push(stream);
                }
            }
        });
        one_cluster(&mesh, to_cluster("one"), &[]);
        let stranger = vec![locality("a", 1, 0, vec![lb_endpoint("127.0.0.1", port.into())])];
        mesh.control_plane.set([(EDS, "one", any(&load_assignment("one", stranger)))]);
        mesh.client(TARGET).await.say().await.unwrap_err();
        let told = mesh.recorder.last("rpc.finished");
        assert_eq!(told.fields["cause_kind"], cause, "{}", String::from_utf8_lossy(greeting));
    }
}

#[tokio::test]
async fn a_configuration_in_use_is_announced_with_its_versions_and_its_cause() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    mesh.client(TARGET).await.say().await.unwrap();
    let applied = mesh.recorder.last("config.applied");
    assert_eq!(applied.fields["target"], TARGET);
    assert_eq!(applied.fields["listener_version"], "2");
    assert_eq!(applied.fields["clusters"][0]["endpoints"], 1);
    assert_eq!(mesh.recorder.causes(&applied)[..2], ["config.applied", "xds.response"]);
}

#[tokio::test]
async fn rpcs_without_a_route_a_virtual_host_or_endpoints_say_so() {
    let mesh = Mesh::start().await;
    let node = crate::mesh_support::NODE_ID;

    // No endpoints.
    one_cluster(&mesh, to_cluster("one"), &[]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("no children to pick from"), "{error}");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "no-endpoints");
    mesh.control_plane.set([(EDS, "one", any(&load_assignment("one", vec![])))]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert!(error.message().contains("no targets to pick from"), "{error}");

    // No route.
    mesh.control_plane.set([(RDS, "routes", routes(vec![]))]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.message(), format!("[xDS node id: {node}]: no matched route was found"));
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "no-route");

    // No virtual host.
    mesh.control_plane.set([(RDS, "routes", crate::ads_support::routes_for("routes", "other.shop", "one"))]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().starts_with("name resolver error: "), "{error}");
    assert!(error.message().ends_with(&format!("could not find VirtualHost for {NAME:?}")), "{error}");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "name-resolution");
}

#[tokio::test]
async fn a_policy_this_client_does_not_have_is_refused_by_name() {
    use envoy_types::pb::envoy::config::cluster::v3::cluster::LbPolicy;
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let mut hashed = eds_cluster("one");
    hashed.lb_policy = LbPolicy::Maglev.into();
    mesh.control_plane.set([(CDS, "one", any(&hashed))]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    let told = "unexpected lbPolicy MAGLEV; gRPC knows ROUND_ROBIN, RING_HASH and LEAST_REQUEST";
    assert!(error.message().contains(told), "{error}");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "no-cluster");
    let nack = format!("error parsing \"ClusterResource\" response: resource \"one\": {told}");
    eventually("the server knows", || mesh.control_plane.nacks() == [nack.clone()]).await;
}

#[tokio::test]
async fn a_control_plane_that_cannot_be_reached_fails_rpcs_with_its_connection_error() {
    let mut mesh = Mesh::start().await;
    let bootstrap = mesh.bootstrap();
    let (rt, _) = crate::mesh_support::recorder::runtime();
    mesh.control_plane = crate::mesh_support::ControlPlane::start(&rt).await;
    let pool = hermesh_xds::XdsClientPool::with_bootstrap(&mesh.rt, bootstrap);
    let credentials = ChannelCredentials::xds_with_insecure_fallback();
    let channel = XdsChannel::connect_in(&pool, TARGET, credentials).await.unwrap();
    let error = EchoClient::new(channel).say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("listener resource error"), "{error}");
    assert!(error.message().contains("connection refused"), "{error}");
}

#[tokio::test]
async fn istios_default_policy_tries_an_unavailable_server_three_times() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, with_action(to_cluster("one"), istio_retries), &[&backend]);
    let mut client = mesh.client(TARGET).await;

    backend.echo.fail_with([Status::unavailable("one"), Status::cancelled("two")]);
    assert_eq!(client.say().await.unwrap(), "a");
    assert_eq!(backend.echo.calls(), 3);
    let attempts: Vec<_> =
        backend.echo.seen().iter().map(|seen| seen.get("grpc-previous-rpc-attempts").cloned()).collect();
    assert_eq!(attempts, [None, Some("1".parse().unwrap()), Some("2".parse().unwrap())]);
    assert_eq!(mesh.recorder.last("rpc.finished").fields["attempts"], 3);

    backend.echo.fail_with((0..5).map(|_| Status::unavailable("busy")));
    let error = client.say().await.unwrap_err();
    assert_eq!(error.message(), "max retries exhausted: failed after 3 attempts: busy");
    assert_eq!(backend.echo.calls(), 6);
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "application");

    backend.echo.fail_with([Status::internal("broken")]);
    assert_eq!(client.say().await.unwrap_err().code(), Code::Internal);
    assert_eq!(backend.echo.calls(), 7);
}

#[tokio::test]
async fn without_a_policy_nothing_is_retried() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    backend.echo.fail_with([Status::unavailable("busy")]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "busy"));
    assert_eq!(backend.echo.calls(), 1);
}

/// One cluster with one endpoint.
fn one_endpoint(mesh: &Mesh, route: Route, port: u16) {
    one_cluster(mesh, route, &[]);
    let endpoints = vec![lb_endpoint("127.0.0.1", port.into())];
    mesh.control_plane.set([(EDS, "one", any(&load_assignment("one", vec![locality("a", 1, 0, endpoints)])))]);
}

#[tokio::test]
async fn what_a_server_refuses_unseen_is_sent_once_more_without_any_policy() {
    use crate::mesh_support::frames::{FrameServer, Reply};
    for reply in [Reply::Refuse, Reply::GoAway] {
        let mesh = Mesh::start().await;
        let server = FrameServer::start(&mesh.rt, [reply]).await;
        one_endpoint(&mesh, to_cluster("one"), server.address.port());
        let answer = mesh.client(TARGET).await.say().await;
        assert_eq!((answer.as_deref().ok(), server.requests()), (Some("a"), 2), "{reply:?}: {answer:?}");
        // It is the same attempt.
        assert_eq!(mesh.recorder.last("rpc.finished").fields["attempts"], 1);
    }
}

#[tokio::test]
async fn what_is_refused_twice_is_left_to_the_policy() {
    use crate::mesh_support::frames::{FrameServer, Reply};
    for (route, requests) in [(to_cluster("one"), 2), (with_action(to_cluster("one"), istio_retries), 4)] {
        let mesh = Mesh::start().await;
        let server = FrameServer::start(&mesh.rt, [Reply::Refuse; 5]).await;
        one_endpoint(&mesh, route, server.address.port());
        let error = mesh.client(TARGET).await.say().await.unwrap_err();
        assert!(error.message().ends_with("RST_STREAM with error code: REFUSED_STREAM"), "{error}");
        assert_eq!((error.code(), server.requests()), (Code::Unavailable, requests));
    }
}

// Z-03
#[tokio::test]
async fn a_routes_policy_overrides_its_virtual_hosts_even_with_nothing_to_retry_on() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    let nothing = |action: &mut RouteAction| {
        action.retry_policy = Some(RetryPolicy { retry_on: "5xx".to_owned(), ..Default::default() });
    };
    for (route, attempts) in [(to_cluster("one"), 3), (with_action(to_cluster("one"), nothing), 1)] {
        one_cluster(&mesh, to_cluster("one"), &[&backend]);
        let mut action = RouteAction::default();
        istio_retries(&mut action);
        let mut host = virtual_host("*", "");
        (host.routes, host.retry_policy) = (vec![route], action.retry_policy);
        let routes = RouteConfiguration { name: "routes".to_owned(), virtual_hosts: vec![host], ..Default::default() };
        mesh.control_plane.set([(RDS, "routes", any(&routes))]);
        let before = backend.echo.calls();
        backend.echo.fail_with(vec![Status::unavailable("not now"); 3]);
        mesh.client(TARGET).await.say().await.unwrap_err();
        backend.echo.fail_with([]);
        assert_eq!(backend.echo.calls() - before, attempts);
    }
}

//
#[tokio::test]
async fn refused_routes_fail_rpcs_unless_there_are_older_ones() {
    use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    // What istiod makes of a prefix in a Gateway API route.
    let mut separated = to_cluster("one");
    separated.r#match.as_mut().unwrap().path_specifier = Some(PathSpecifier::PathSeparatedPrefix("/test.Echo".into()));

    one_cluster(&mesh, separated.clone(), &[&backend]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert!(error.message().contains("route resource error") && error.message().contains("separated"), "{error}");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "name-resolution");

    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let mut client = mesh.client(TARGET).await;
    client.say().await.unwrap();
    let nacks = mesh.control_plane.nacks().len();
    one_cluster(&mesh, separated, &[&backend]);
    eventually("they are refused", || mesh.control_plane.nacks().len() > nacks).await;
    client.say().await.unwrap();
}

#[tokio::test]
async fn a_server_may_forbid_retries() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, with_action(to_cluster("one"), istio_retries), &[&backend]);
    let mut status = Status::unavailable("go away");
    status.metadata_mut().insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
    backend.echo.fail_with([status]);
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.message(), "go away");
    assert_eq!(backend.echo.calls(), 1);
}

#[tokio::test]
async fn the_applications_deadline_and_the_routes_end_an_rpc() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let mut client = mesh.client(TARGET).await;
    let error = client.hold_at_most(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "deadline");

    let limited = with_action(to_cluster("one"), |action| {
        let limit = ProtoDuration { seconds: 0, nanos: 60_000_000 };
        action.max_stream_duration = Some(MaxStreamDuration { max_stream_duration: Some(limit), ..Default::default() });
    });
    mesh.control_plane.set([(RDS, "routes", routes(vec![limited]))]);
    let applied = mesh.recorder.clone();
    eventually("the limit is in use", || applied.of("config.applied").len() >= 2).await;
    let error = client.hold().await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    let sent = backend.echo.seen().last().unwrap().get("grpc-timeout").cloned();
    assert!(sent.is_some(), "the server is told of the limit");
}

#[tokio::test]
async fn rpcs_wait_for_the_first_configuration_but_not_past_their_deadline() {
    let mesh = Mesh::start().await;
    let mut client = mesh.client(TARGET).await;
    let error = client.hold_at_most(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);

    let backend = Backend::start(&mesh.rt, "a").await;
    let mut waiting = client.clone();
    let waiting = tokio::join!(async { waiting.say().await }, async {
        one_cluster(&mesh, to_cluster("one"), &[&backend]);
    });
    assert_eq!(waiting.0.unwrap(), "a");
}

#[tokio::test]
async fn goaway_moves_new_rpcs_elsewhere_and_lets_those_in_flight_finish() {
    let mesh = Mesh::start().await;
    let (a, b) = (Backend::start(&mesh.rt, "a").await, Backend::start(&mesh.rt, "b").await);
    one_cluster(&mesh, to_cluster("one"), &[&a, &b]);
    let mut client = mesh.client(TARGET).await;
    client.until("b").await;
    client.until("a").await;
    let mut holding = Vec::new();
    for _ in 0..2 {
        let mut client = client.clone();
        let (tell, told) = tokio::sync::oneshot::channel();
        mesh.rt.spawn("holding", async move {
            let _ = tell.send(client.hold().await);
        });
        holding.push(told);
    }
    eventually("both backends hold a call", || a.echo.held() == 1 && b.echo.held() == 1).await;
    a.drain();
    for _ in 0..50 {
        assert_eq!(
            client.say().await.map_err(|error| error.to_string()).as_deref().map(|name| name == "a" || name == "b"),
            Ok(true)
        );
    }
    client.until("b").await;
    assert_eq!(client.tally(10).await, [("b".to_owned(), 10)].into());
    a.echo.hold.add_permits(1);
    b.echo.hold.add_permits(1);
    let mut answers = Vec::new();
    for told in holding {
        answers.push(told.await.unwrap().unwrap());
    }
    answers.sort();
    assert_eq!(answers, ["a", "b"]);
}

#[tokio::test]
async fn an_endpoint_taken_away_lets_rpcs_in_flight_finish() {
    let mesh = Mesh::start().await;
    let (a, b) = (Backend::start(&mesh.rt, "a").await, Backend::start(&mesh.rt, "b").await);
    one_cluster(&mesh, to_cluster("one"), &[&a]);
    let mut client = mesh.client(TARGET).await;
    let mut holder = client.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    mesh.rt.spawn("holding", async move {
        let _ = tell.send(holder.hold().await);
    });
    eventually("the call is held", || a.echo.held() == 1).await;
    mesh.control_plane.set([(EDS, "one", endpoints("one", &[&b]))]);
    client.until("b").await;
    a.echo.hold.add_permits(1);
    assert_eq!(told.await.unwrap().unwrap(), "a");
}

#[tokio::test]
async fn channels_to_one_target_share_a_stream_if_they_share_a_pool() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let pool = mesh.pool();
    for _ in 0..2 {
        let credentials = ChannelCredentials::xds_with_insecure_fallback();
        let channel = XdsChannel::connect_in(&pool, TARGET, credentials).await.unwrap();
        let mut client = EchoClient::new(channel.clone());
        let mut again =
            EchoClient::new(XdsChannel::connect_in(&pool, TARGET, ChannelCredentials::Insecure).await.unwrap());
        client.say().await.unwrap();
        again.say().await.unwrap();
    }
    // Both channels of the first round were gone before the second began.
    assert_eq!(mesh.control_plane.streams(), 2);
}

#[tokio::test]
async fn what_eds_drops_fails_for_that_reason_and_is_not_retried() {
    use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::{Policy, policy::DropOverload};
    use envoy_types::pb::envoy::r#type::v3::{FractionalPercent, fractional_percent::DenominatorType};
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, with_action(to_cluster("one"), istio_retries), &[&backend]);
    let mut client = mesh.client(TARGET).await;
    client.say().await.unwrap();
    let everything = FractionalPercent { numerator: 100, denominator: DenominatorType::Hundred.into() };
    let drop_overload = DropOverload { category: "overload".to_owned(), drop_percentage: Some(everything) };
    let usable = lb_endpoint("127.0.0.1", backend.address.port().into());
    let mut assignment = load_assignment("one", vec![locality("a", 1, 0, vec![usable])]);
    assignment.policy = Some(Policy { drop_overloads: vec![drop_overload], ..Default::default() });
    let applied = mesh.recorder.of("config.applied").len();
    mesh.control_plane.set([(EDS, "one", any(&assignment))]);
    eventually("the policy is in use", || mesh.recorder.of("config.applied").len() > applied).await;
    let error = client.say().await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "RPC is dropped"));
    let finished = mesh.recorder.last("rpc.finished").fields;
    assert_eq!((&finished["cause_kind"], &finished["attempts"]), (&"dropped".into(), &1.into()));
    assert_eq!(backend.echo.calls(), 1);
}

#[tokio::test]
async fn max_requests_limits_what_is_in_flight() {
    use envoy_types::pb::envoy::config::cluster::v3::CircuitBreakers;
    use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let mut limited = eds_cluster("one");
    let thresholds = Thresholds { max_requests: Some(UInt32Value { value: 1 }), ..Default::default() };
    limited.circuit_breakers = Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() });
    mesh.control_plane.set([(CDS, "one", any(&limited))]);
    let mut client = mesh.client(TARGET).await;
    let mut holder = client.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    mesh.rt.spawn("holding", async move {
        let _ = tell.send(holder.hold().await);
    });
    eventually("the call is held", || backend.echo.held() == 1).await;
    let error = client.say().await.unwrap_err();
    assert_eq!(error.message(), "max requests 1 exceeded on service one");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "max-requests");
    backend.echo.hold.add_permits(1);
    told.await.unwrap().unwrap();
    client.say().await.unwrap();
}

// I-16
#[tokio::test]
async fn a_raised_limit_counts_what_is_in_flight_already() {
    use envoy_types::pb::envoy::config::cluster::v3::CircuitBreakers;
    use envoy_types::pb::envoy::config::cluster::v3::circuit_breakers::Thresholds;
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let limit = |max| {
        let mut limited = eds_cluster("one");
        let thresholds = Thresholds { max_requests: Some(UInt32Value { value: max }), ..Default::default() };
        limited.circuit_breakers = Some(CircuitBreakers { thresholds: vec![thresholds], ..Default::default() });
        let applied = mesh.recorder.of("config.applied").len();
        mesh.control_plane.set([(CDS, "one", any(&limited))]);
        let recorder = mesh.recorder.clone();
        async move { eventually("the limit is in use", || recorder.of("config.applied").len() > applied).await }
    };
    let mut client = mesh.client(TARGET).await;
    client.say().await.unwrap();
    let hold = || {
        let mut holder = client.clone();
        mesh.rt.spawn("holding", async move { drop(holder.hold().await) })
    };
    limit(1).await;
    let _first = hold();
    eventually("one call is held", || backend.echo.held() == 1).await;
    limit(2).await;
    let _second = hold();
    eventually("another is held", || backend.echo.held() == 2).await;
    let error = client.clone().say().await.unwrap_err();
    assert_eq!(error.message(), "max requests 2 exceeded on service one");
    limit(1).await;
    backend.echo.hold.add_permits(2);
    eventually("there is room again", || mesh.recorder.of("rpc.finished").len() == 4).await;
    client.say().await.unwrap();
}

#[tokio::test]
async fn a_channel_without_rpcs_for_half_an_hour_lets_go_of_everything_until_the_next() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    one_cluster(&mesh, to_cluster("one"), &[&backend]);
    let mut client = mesh.client(TARGET).await;
    client.say().await.unwrap();
    for (minutes, streams) in [(29, 1), (31, 2)] {
        let others_run = async || {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        };
        others_run().await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(minutes * 60)).await;
        others_run().await;
        tokio::time::resume();
        client.say().await.unwrap();
        assert_eq!(mesh.control_plane.streams(), streams, "after {minutes} minutes");
    }
}
