//! The client status discovery service in a mesh: each process tells of its own xDS clients and of nothing else.

use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest};
use hermesh::{Mesh, Process};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_runtime::Runtime;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_tests::manifests::{self, HOST, TARGET};
use hermesh_xds::{ChannelCredentials, ClientStatusDiscovery, XdsChannel};
use tonic::{Code, Status};

/// echo-v1 with its status exposed, echo-v2 without.
fn start() -> Mesh {
    let mut mesh = hermesh::mesh().seed(7).namespace(manifests::NAMESPACE).start();
    let exposed = "        env:\n        - {name: EXPOSE_GRPC_ADMIN, value: \"true\"}\n";
    let (one, both) = (manifests::echo(&["v1"]).replace("        env:\n", exposed), manifests::echo(&["v1", "v2"]));
    let other = both.strip_prefix(&manifests::echo(&["v1"])).expect("versions follow each other");
    mesh.apply(one).apply(other).wait_ready();
    mesh
}

/// What the echo application of the same pod tells.
async fn told_by_echo(rt: &Runtime) -> Result<Vec<ClientConfig>, Status> {
    let channel = Channel::new(rt, "127.0.0.1:17171", ChannelOptions::default()).expect("an address");
    let mut client = ClientStatusDiscoveryServiceClient::new(channel);
    Ok(client.fetch_client_status(ClientStatusRequest::default()).await?.into_inner().config)
}

/// What a program beside echo-v1 tells of itself after a call, and what echo does.
fn told_in_pod(mut mesh: Mesh) -> (Vec<ClientConfig>, Vec<ClientConfig>) {
    mesh.run_in("echo-v1", |process: Process| async move {
        let rt = process.runtime();
        let credentials = ChannelCredentials::xds_with_insecure_fallback();
        let channel = XdsChannel::connect(&rt, TARGET, credentials).await.expect("the bootstrap is there");
        EchoTestServiceClient::new(channel.clone()).echo(EchoRequest::default()).await.expect("echo answers");
        let own = ClientStatusDiscovery::new(&rt).client_status(&ClientStatusRequest::default()).await;
        let echos = told_by_echo(&rt).await;
        drop(channel);
        (own.expect("nothing is wrong with the request").config, echos.expect("its status is exposed"))
    })
}

fn names(client: &ClientConfig) -> Vec<&str> {
    client.generic_xds_configs.iter().map(|resource| resource.name.as_str()).collect()
}

#[test]
fn two_processes_of_one_pod_tell_of_their_own_clients_the_same_in_every_run() {
    let (own, echos) = told_in_pod(start());
    let [own_client] = &own[..] else { panic!("one target, one client: {own:?}") };
    assert_eq!(own_client.client_scope, TARGET);
    assert!(names(own_client).contains(&format!("{HOST}:7070").as_str()), "{:?}", names(own_client));
    let [server] = &echos[..] else { panic!("one client for all servers: {echos:?}") };
    assert_eq!((server.client_scope.as_str(), names(server).len()), ("#server", 1));
    assert!(names(server)[0].ends_with(":17070"), "{:?}", names(server));
    assert_eq!(server.node, own_client.node, "one bootstrap");

    assert_eq!(told_in_pod(start()), (own, echos));
}

#[test]
fn echo_keeps_its_status_to_itself_unless_told_to_expose_it() {
    let told = start().run_in("echo-v2", |process| async move { told_by_echo(&process.runtime()).await });
    assert_eq!(told.unwrap_err().code(), Code::Unimplemented);
}
