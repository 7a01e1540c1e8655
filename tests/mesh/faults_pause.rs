//! Paused containers, as the kubelet and their clients see them.

use std::time::Duration;

use hermesh::{Call, Mesh};
use hermesh_tests::manifests::{self, TARGET};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn echo(seed: u64) -> Mesh {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    mesh
}

#[test]
fn a_liveness_probe_has_a_paused_container_killed_and_started_again() {
    let mut mesh = hermesh::mesh().seed(1).namespace("shop").start();
    mesh.apply(
        "apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  terminationGracePeriodSeconds: 5
  containers:
  - name: app
    image: registry.istio.io/testing/app:latest
    args: [--port=8080]
    livenessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 2, failureThreshold: 3}
",
    )
    .wait_ready();
    mesh.pause("web");
    mesh.run_for(secs(4));
    assert_eq!(mesh.get_pods().rows[0].restarts, 0, "two probes have failed at most");
    mesh.run_for(secs(30));
    let row = mesh.get_pods().rows[0].clone();
    // SIGTERM reaches nobody who is paused: SIGKILL comes with the end of the grace period.
    assert_eq!((row.restarts, row.ready.as_str()), (1, "1/1"), "{}", mesh.get_pods());
    assert_eq!(row.exits["app"].code, 137, "{:?}", row.exits);
}

#[test]
fn a_paused_server_is_no_endpoint_once_its_readiness_probe_has_failed() {
    let mut mesh = echo(2);
    mesh.pause("echo-v2/0/app").run_for(secs(40));
    assert_eq!(mesh.get_pods().rows[1].ready, "1/2", "{}", mesh.get_pods());
    let report = mesh.call(Call::new("echo-v1", TARGET).count(10));
    assert_eq!(report.workloads, [("echo-v1".to_owned(), 10)].into(), "{report:#?}");
    mesh.resume("echo-v2/0/app").wait_ready().wait_converged();
    let report = mesh.call(Call::new("echo-v1", TARGET).count(10).qps(10));
    assert!(report.workloads.contains_key("echo-v2"), "{report:#?}");
}

#[test]
fn a_paused_agent_gives_its_application_nothing_new_until_it_is_resumed() {
    let mut mesh = echo(3);
    mesh.pause("echo-v1/0/istio-proxy");
    mesh.apply(manifests::server_tls("STRICT"));
    let error = mesh.try_wait_converged(secs(20)).unwrap_err().to_string();
    assert!(error.contains("echo-v1-"), "{error}");
    mesh.resume("echo-v1/0/istio-proxy").wait_converged();
}
