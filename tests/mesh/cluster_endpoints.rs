//! What EndpointSlices say of pods, and what follows for whoever calls them: readiness gates, pods that end.
//!
//! Source: the Kubernetes documentation, "EndpointSlices" and "Pod Lifecycle".

use std::time::Duration;

use hermesh::{Mesh, image};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_tests::shop;

use crate::cluster_history::{NAMESPACE, events};

fn pod(name: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
{spec}  containers: [{{name: server, image: server}}]
"
    )
}

const GATED: &str = "  readinessGates: [{conditionType: example.com/registered}]\n";
const GATE: &str = "example.com/registered";

fn start() -> Mesh {
    let mut mesh = hermesh::mesh().image("*", image::stand_in).seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE).apply(shop::service("web")).apply(pod("caller", ""));
    mesh
}

/// Whether a plain call to the Service `web` finds a pod.
fn is_answered(mesh: &mut Mesh) -> bool {
    let answer = mesh.run_in("caller", |process| async move {
        let channel = Channel::new(&process.runtime(), "web:7070", ChannelOptions::default()).expect("host and port");
        let mut request = tonic::Request::new(EchoRequest { message: "ann".to_owned() });
        request.set_timeout(Duration::from_secs(1));
        EchoTestServiceClient::new(channel).echo(request).await
    });
    answer.is_ok()
}

/// What the last EndpointSlice of `web` says.
fn slice(mesh: &Mesh) -> (usize, usize) {
    let slices = events(mesh, &["object.applied"]);
    let last = slices.iter().rfind(|event| event["endpoints"]["service"] == "shop/web").expect("there is a slice");
    let count = |list: &str| last["endpoints"][list].as_array().map_or(0, Vec::len);
    (count("ready"), count("unready"))
}

#[test]
fn a_pod_is_ready_when_its_gates_are_met_as_well() {
    let mut mesh = start();
    mesh.apply(pod("web", GATED));
    let error = mesh.try_wait_ready(&["web"], Duration::from_secs(20)).unwrap_err().to_string();
    assert!(error.ends_with("web is 1/1 Running (readiness gate example.com/registered is not met)"), "{error}");
    assert_eq!(slice(&mesh), (0, 1));
    assert!(!is_answered(&mut mesh));
    mesh.set_condition("web", GATE, true).wait_ready();
    assert_eq!(slice(&mesh), (1, 0));
    assert!(is_answered(&mut mesh));
    mesh.set_condition("web/0", GATE, false).run_for(Duration::from_secs(1));
    assert_eq!(slice(&mesh), (0, 1));
    assert!(!is_answered(&mut mesh));
}

#[test]
fn a_pod_that_ends_is_called_as_long_as_it_serves_and_there_is_no_other() {
    let mut mesh = start();
    let slow = "  terminationGracePeriodSeconds: 20\n";
    let with_hook =
        pod("web", slow).replace("image: server}", "image: server, lifecycle: {preStop: {sleep: {seconds: 10}}}}");
    mesh.apply(&*with_hook).wait_ready();
    mesh.delete(&*with_hook).run_for(Duration::from_secs(2));
    assert_eq!(slice(&mesh), (0, 1));
    assert!(is_answered(&mut mesh), "it serves until its hook is done");
    mesh.run_for(Duration::from_secs(20));
    assert!(!is_answered(&mut mesh));
}
