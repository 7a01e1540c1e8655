//! Pods whose volumes or environment lack something: they say what, and go on when it comes.

use std::time::Duration;

use hermesh::{Mesh, image};
use hermesh_tests::shop;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const CONFIG: &str = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {mode: fast}\n";

/// The workload `web`, whose container has these fields besides its name and image, with what the pod has beside it.
fn web(fields: &[&str], beside: &str) -> Mesh {
    let mut mesh = hermesh::mesh().seed(7).namespace("shop").image("*", image::stand_in).start();
    mesh.apply(shop::NAMESPACE.to_owned() + &shop::deployment("web", "registry.shop/web", fields) + beside);
    mesh
}

fn unready(mesh: &mut Mesh, time: Duration) -> String {
    mesh.try_wait_ready(&["web"], time).expect_err("something is missing").to_string()
}

fn count(mesh: &Mesh, kind: &str) -> usize {
    mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == kind).count())
}

#[test]
fn a_pod_that_waits_for_a_volume_says_for_what() {
    let mounts = "volumeMounts: [{name: settings, mountPath: /etc/web}]";
    let volumes = "      volumes: [{name: settings, configMap: {name: settings}}]\n";
    let mut mesh = web(&[mounts], volumes);
    let told = unready(&mut mesh, secs(30));
    let wanted = "MountVolume.SetUp failed for volume \"settings\": configmap \"settings\" not found";
    assert!(told.contains(wanted) && told.contains("0/2"), "{told}");
    mesh.apply(CONFIG).wait_ready();
}

#[test]
fn a_container_without_its_environment_is_made_when_that_is_there() {
    let env = "env: [{name: MODE, valueFrom: {configMapKeyRef: {name: settings, key: mode}}}]";
    let mut mesh = web(&[env], "");
    let told = unready(&mut mesh, secs(120));
    assert!(told.contains("1/2 CreateContainerConfigError (server: "), "{told}");
    assert!(told.contains("settings"), "{told}");
    // It has been looked at some ten times, and nothing else has come of that.
    assert_eq!((count(&mesh, "pod.waits"), count(&mesh, "container.started")), (1, 3), "{}", mesh.get_pods());
    let began = mesh.now();
    mesh.apply(CONFIG).try_wait_ready(&["web"], secs(30)).unwrap();
    assert!(mesh.now() - began < secs(25), "the kubelet looks at it within 15 s");
}
