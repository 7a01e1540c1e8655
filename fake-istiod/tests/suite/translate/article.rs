//! What istiod sends at each step of the article "gRPC Proxyless Service Mesh".

use super::support::Cluster;
use hermesh_xds::ResourceType;

const SERVICE: &str = "outbound|7070||echo.echo-grpc.svc.cluster.local";
const V1: &str = "outbound|7070|v1|echo.echo-grpc.svc.cluster.local";
const V2: &str = "outbound|7070|v2|echo.echo-grpc.svc.cluster.local";
const INBOUND: &str = "xds.istio.io/grpc/lds/inbound/10.244.0.1:17070";

fn deployed() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.apply_example("namespace.yaml").apply_example("grpc-echo.yaml").run_deployments();
    cluster
}

#[test]
fn deploy_the_application() {
    let cluster = deployed();
    let node = cluster.node("echo-grpc", "echo-v1-0");
    insta::assert_snapshot!("deploy_lds", cluster.described(&node, ResourceType::Listener, &["echo:7070", INBOUND]));
    insta::assert_snapshot!("deploy_rds", cluster.described(&node, ResourceType::RouteConfiguration, &[SERVICE]));
    insta::assert_snapshot!("deploy_cds", cluster.described(&node, ResourceType::Cluster, &[SERVICE]));
    insta::assert_snapshot!("deploy_eds", cluster.described(&node, ResourceType::Endpoints, &[SERVICE]));
}

#[test]
fn short_names_keep_their_spelling_and_share_their_routes() {
    let cluster = deployed();
    let node = cluster.node("echo-grpc", "echo-v1-0");
    let names =
        ["echo:7070", "echo.echo-grpc:7070", "echo.echo-grpc.svc:7070", "echo.echo-grpc.svc.cluster.local:7070"];
    let listeners = cluster.resources(&node, ResourceType::Listener, &names);
    let found: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(found, [names[0], names[1], names[2], names[3]]);
    for listener in &listeners {
        let text = hermesh_istiod::translate::describe(&listener.body);
        assert!(text.contains(&format!("route_config_name: {SERVICE}\n")), "{text}");
    }
}

#[test]
fn creating_subsets_and_shifting_traffic() {
    let mut cluster = deployed();
    cluster.apply_example("destination-rule-subsets.yaml").apply_example("virtual-service-20-80.yaml");
    let node = cluster.node("echo-grpc", "echo-v1-0");
    insta::assert_snapshot!("shift_rds", cluster.described(&node, ResourceType::RouteConfiguration, &[SERVICE]));
    insta::assert_snapshot!("shift_cds", cluster.described(&node, ResourceType::Cluster, &[SERVICE, V1, V2]));
    insta::assert_snapshot!("shift_eds", cluster.described(&node, ResourceType::Endpoints, &[V1, V2]));
}

#[test]
fn enabling_mtls_on_the_client_then_on_the_server() {
    let mut cluster = deployed();
    cluster.apply_example("destination-rule-subsets.yaml").apply_example("virtual-service-20-80.yaml");
    cluster.apply_example("destination-rule-mtls.yaml");
    let node = cluster.node("echo-grpc", "echo-v1-0");
    insta::assert_snapshot!("mtls_cds", cluster.described(&node, ResourceType::Cluster, &[SERVICE, V1, V2]));
    let plaintext = cluster.described(&node, ResourceType::Listener, &[INBOUND]);
    assert!(plaintext.contains("inbound-plaintext"), "{plaintext}");

    cluster.apply_example("peer-authentication-strict.yaml");
    insta::assert_snapshot!("strict_lds", cluster.described(&node, ResourceType::Listener, &[INBOUND]));
}
