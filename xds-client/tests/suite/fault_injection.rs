//! Faults that a control plane has a channel inject into its RPCs (gRFC A33): whose policy counts, and what it does.

use std::time::Duration;

use crate::ads_support::{
    CDS, EDS, LDS, RDS, any, client_listener, cluster, http_filter, lb_endpoint, load_assignment, locality,
    manager_with_rds, router,
};
use crate::ads_support::{to_cluster, virtual_host};
use crate::mesh_support::{Mesh, echo::Backend, eventually};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::weighted_cluster::ClusterWeight;
use envoy_types::pb::envoy::config::route::v3::{RetryPolicy, RouteAction, RouteConfiguration, WeightedCluster};
use envoy_types::pb::envoy::extensions::filters::common::fault::v3::{FaultDelay, fault_delay::FaultDelaySecifier};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::fault_abort::{ErrorType, HeaderAbort};
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::{FaultAbort, HttpFault};
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::google::protobuf::{Any, Duration as ProtoDuration, UInt32Value};
use tonic::Code;

const NAME: &str = "echo.shop:80";
const TARGET: &str = "xds:///echo.shop:80";
const FILTER: &str = "envoy.filters.http.fault";

fn aborting(error: ErrorType) -> HttpFault {
    let percentage = Some(FractionalPercent { numerator: 100, denominator: 0 });
    let abort = FaultAbort { percentage, error_type: Some(error), ..Default::default() };
    HttpFault { abort: Some(abort), ..Default::default() }
}

fn with_code(code: Code) -> HttpFault {
    aborting(ErrorType::GrpcStatus(code as u32))
}

fn delaying(delay: Duration) -> HttpFault {
    let delay = ProtoDuration { seconds: 0, nanos: delay.subsec_nanos().try_into().unwrap() };
    let delay = FaultDelay {
        percentage: Some(FractionalPercent { numerator: 100, denominator: 0 }),
        fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(delay)),
    };
    HttpFault { delay: Some(delay), ..Default::default() }
}

/// Policies of the listener, the virtual host, the route and the cluster.
#[derive(Default)]
struct Policies {
    listener: HttpFault,
    virtual_host: Option<HttpFault>,
    route: Option<HttpFault>,
    cluster: Option<HttpFault>,
}

async fn mesh(policies: Policies) -> (Mesh, Backend) {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    let filters = |fault: Option<HttpFault>| fault.map(|fault| (FILTER.to_owned(), any(&fault))).into_iter().collect();
    let mut manager = manager_with_rds("routes");
    manager.http_filters = vec![http_filter(FILTER, any(&policies.listener)), router()];
    let weighted = ClusterWeight {
        name: "one".to_owned(),
        weight: Some(UInt32Value { value: 1 }),
        typed_per_filter_config: filters(policies.cluster),
        ..Default::default()
    };
    let clusters = WeightedCluster { clusters: vec![weighted], ..Default::default() };
    let retry_policy = RetryPolicy { retry_on: "unavailable".to_owned(), ..Default::default() };
    let action = RouteAction {
        cluster_specifier: Some(ClusterSpecifier::WeightedClusters(clusters)),
        retry_policy: Some(retry_policy),
        ..Default::default()
    };
    let mut route = to_cluster("");
    route.action = Some(Action::Route(action));
    route.typed_per_filter_config = filters(policies.route);
    let mut host = virtual_host("*", "");
    host.routes = vec![route];
    host.typed_per_filter_config = filters(policies.virtual_host);
    let routes = RouteConfiguration { name: "routes".to_owned(), virtual_hosts: vec![host], ..Default::default() };
    let endpoints: Any = any(&load_assignment(
        "one",
        vec![locality("a", 1, 0, vec![lb_endpoint("127.0.0.1", backend.address.port().into())])],
    ));
    mesh.control_plane.set([
        (LDS, NAME, any(&client_listener(NAME, &manager))),
        (RDS, "routes", any(&routes)),
        (CDS, "one", cluster("one")),
        (EDS, "one", endpoints),
    ]);
    (mesh, backend)
}

#[tokio::test]
async fn the_narrowest_policy_replaces_the_others_whole() {
    let policy = |code| Some(with_code(code));
    for (policies, expected) in [
        (Policies { listener: with_code(Code::Aborted), ..Policies::default() }, Code::Aborted),
        (
            Policies {
                listener: with_code(Code::Aborted),
                virtual_host: policy(Code::DataLoss),
                ..Policies::default()
            },
            Code::DataLoss,
        ),
        (
            Policies { virtual_host: policy(Code::DataLoss), route: policy(Code::NotFound), ..Policies::default() },
            Code::NotFound,
        ),
        (
            Policies {
                virtual_host: policy(Code::DataLoss),
                route: policy(Code::NotFound),
                cluster: policy(Code::OutOfRange),
                ..Policies::default()
            },
            Code::OutOfRange,
        ),
        (
            Policies { listener: with_code(Code::Aborted), route: Some(HttpFault::default()), ..Policies::default() },
            Code::Ok,
        ),
    ] {
        let (mesh, backend) = mesh(policies).await;
        let answer = mesh.client(TARGET).await.say().await;
        let code = answer.as_ref().map_or_else(tonic::Status::code, |_| Code::Ok);
        assert_eq!(code, expected, "{answer:?}");
        assert_eq!(backend.echo.calls(), usize::from(expected == Code::Ok));
    }
}

#[tokio::test]
async fn an_rpc_that_is_to_fail_is_not_tried_again_and_says_why() {
    let (mesh, backend) = mesh(Policies { route: Some(with_code(Code::Unavailable)), ..Policies::default() }).await;
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::Unavailable, "RPC terminated due to fault injection"));
    let finished = mesh.recorder.last("rpc.finished").fields;
    assert_eq!((&finished["cause_kind"], &finished["attempts"]), (&"fault-injected".into(), &0.into()));
    assert_eq!(mesh.recorder.last("rpc.fault").fields["abort"], "Unavailable");
    assert_eq!(backend.echo.calls(), 0);
}

#[tokio::test]
async fn an_rpc_that_is_to_end_with_ok_ends_without_a_message() {
    let (mesh, backend) = mesh(Policies { route: Some(with_code(Code::Ok)), ..Policies::default() }).await;
    mesh.client(TARGET).await.say().await.expect_err("a unary call wants a message");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["code"], "Ok");
    assert_eq!(backend.echo.calls(), 0);
}

#[tokio::test]
async fn headers_choose_where_the_policy_lets_them() {
    let listener = aborting(ErrorType::HeaderAbort(HeaderAbort {}));
    let (mesh, _backend) = mesh(Policies { listener, ..Policies::default() }).await;
    let mut client = mesh.client(TARGET).await;
    assert_eq!(client.say().await.unwrap(), "a");
    let error = client.say_with("x-envoy-fault-abort-grpc-request", "9").await.unwrap_err();
    assert_eq!(error.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_delay_comes_before_anything_is_sent_and_counts_against_the_deadline() {
    let delay = Duration::from_millis(80);
    let (mesh, backend) = mesh(Policies { route: Some(delaying(delay)), ..Policies::default() }).await;
    let mut client = mesh.client(TARGET).await;
    let began = tokio::time::Instant::now();
    client.say().await.unwrap();
    assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    assert_eq!(mesh.recorder.last("rpc.fault").fields["delay_ms"], 80);

    let error = client.hold_at_most(Duration::from_millis(20)).await.unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded);
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "deadline");
    assert_eq!(backend.echo.calls(), 1, "it was never sent");
}

#[tokio::test]
async fn faults_under_way_are_counted_over_the_whole_process() {
    let policy =
        HttpFault { max_active_faults: Some(UInt32Value { value: 1 }), ..delaying(Duration::from_millis(900)) };
    let (mesh, _backend) = mesh(Policies { route: Some(policy), ..Policies::default() }).await;
    let pool = mesh.pool();
    let client = async || {
        let credentials = hermesh_xds::ChannelCredentials::xds_with_insecure_fallback();
        let channel = hermesh_xds::XdsChannel::connect_in(&pool, TARGET, credentials).await.unwrap();
        crate::mesh_support::EchoClient::new(channel)
    };
    let (mut first, mut second) = (client().await, client().await);
    let held = mesh.rt.spawn("held back", async move { drop(first.say().await) }).abort_on_drop();
    eventually("one is held back", || mesh.recorder.of("rpc.fault").len() == 1).await;
    second.say().await.unwrap();
    assert_eq!(mesh.recorder.of("rpc.fault").len(), 1, "while one is held back the others go on");
    drop(held);
    eventually("it is over", || mesh.recorder.of("rpc.finished").len() == 2).await;
    second.say().await.unwrap();
    assert_eq!(mesh.recorder.of("rpc.fault").len(), 2);
}
