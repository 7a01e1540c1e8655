//! Rollouts that do not go on: what stays, what comes back, and what a Deployment's size does meanwhile.
//!
//! Source: kubernetes `pkg/controller/deployment` and `pkg/controller/replicaset`.

use std::time::Duration;

use hermesh::{Listed, Mesh, image};

use crate::cluster_history::NAMESPACE;

/// The Deployment `cart` with these fields of its spec, and this readiness probe in a template of that version.
fn cart(spec: &str, version: &str, probe: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: cart}}
spec:
{spec}  selector: {{matchLabels: {{app: cart}}}}
  template:
    metadata: {{labels: {{app: cart, version: '{version}'}}}}
    spec:
      containers:
      - name: server
        image: cart
        readinessProbe: {probe}
"
    )
}

const READY: &str = "{httpGet: {path: /, port: 8080}, periodSeconds: 1}";
const NEVER: &str = "{exec: {command: ['false']}, periodSeconds: 1}";

fn start(nodes: usize) -> Mesh {
    let mut mesh = hermesh::mesh().image("*", image::stand_in).nodes(nodes).seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE);
    mesh
}

/// A Deployment whose rollout is stuck: four pods of version 1, as far as the limits let them stay, and some of
/// version 2 that never get ready.
fn stuck(nodes: usize, limits: &str) -> (Mesh, String) {
    let mut mesh = start(nodes);
    let spec = |replicas: u32| format!("  replicas: {replicas}\n  strategy: {{rollingUpdate: {limits}}}\n");
    mesh.apply(cart(&spec(4), "1", READY)).wait_ready();
    mesh.apply(cart(&spec(4), "2", NEVER)).run_for(Duration::from_secs(10));
    (mesh, spec(8))
}

/// `READY UP-TO-DATE AVAILABLE`
fn counts(mesh: &Mesh) -> String {
    let table = mesh.get(Listed::Deployments);
    let cell = |heading| table.cell("cart", heading).unwrap_or_else(|| panic!("{table}"));
    [cell("READY"), cell("UP-TO-DATE"), cell("AVAILABLE")].join(" ")
}

#[test]
fn no_old_pod_goes_for_pods_that_never_get_ready() {
    let (mut mesh, _) = stuck(1, "{maxSurge: 1, maxUnavailable: 0}");
    assert_eq!(counts(&mesh), "4/4 1 4");
    let before: Vec<String> = mesh.get_pods().rows.into_iter().map(|row| row.name).collect();
    let old = mesh.get_pods().rows.into_iter().find(|row| row.is_ready()).unwrap().name;
    mesh.pause(&format!("{old}/server")).run_for(Duration::from_secs(20));
    assert_eq!(counts(&mesh), "3/4 1 3", "{}", mesh.get_pods());
    mesh.resume(&format!("{old}/server")).run_for(Duration::from_secs(60));
    assert_eq!(counts(&mesh), "4/4 1 4", "{}", mesh.get_pods());
    assert_eq!(mesh.get_pods().rows.into_iter().map(|row| row.name).collect::<Vec<_>>(), before);
}

#[test]
fn old_pods_that_are_lost_are_made_again() {
    let (mut mesh, _) = stuck(1, "{maxSurge: 1, maxUnavailable: 0}");
    let old = mesh.get_pods().rows.into_iter().find(|row| row.is_ready()).unwrap().name;
    mesh.delete(format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {old}}}\nspec: {{containers: [{{name: server, image: cart}}]}}\n"
    ));
    mesh.run_for(Duration::from_secs(40));
    assert_eq!(counts(&mesh), "4/4 1 4", "{}", mesh.get_pods());
    assert!(mesh.get_pods().rows.iter().all(|row| row.name != old));
}

#[test]
fn a_rollout_that_is_stuck_is_scaled_in_proportion() {
    let (mut mesh, eight) = stuck(1, "{maxSurge: 25%, maxUnavailable: 25%}");
    assert_eq!(counts(&mesh), "3/4 2 3");
    mesh.apply(cart(&eight, "2", NEVER)).run_for(Duration::from_secs(10));
    assert_eq!(counts(&mesh), "6/8 4 6", "{}", mesh.get_pods());
}

#[test]
fn a_pod_is_available_when_it_has_been_ready_for_long_enough() {
    let mut mesh = start(1);
    let spec = "  minReadySeconds: 15\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}\n  replicas: 3\n";
    mesh.apply(cart(spec, "1", READY)).run_for(Duration::from_secs(10));
    assert_eq!(counts(&mesh), "3/3 3 0", "{}", mesh.get_pods());
    let error = mesh.try_wait_ready(&[], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains("3 of 3 pods are ready, 0 of them for 15s, which minReadySeconds asks for"), "{error}");
    mesh.wait_ready();
    assert_eq!(counts(&mesh), "3/3 3 3");
    let began = mesh.now();
    mesh.apply(cart(spec, "2", READY)).wait_ready();
    // One after the other.
    let took = mesh.now() - began;
    assert!((Duration::from_secs(45)..Duration::from_secs(60)).contains(&took), "{took:?}");
}

#[test]
fn a_paused_deployment_keeps_its_template_until_it_is_resumed() {
    let mut mesh = start(1);
    mesh.apply(cart("  replicas: 2\n", "1", READY)).wait_ready();
    mesh.apply(cart("  paused: true\n  replicas: 3\n", "2", READY)).run_for(Duration::from_secs(10));
    assert_eq!(counts(&mesh), "3/3 0 3", "{}", mesh.get_pods());
    let error = mesh.try_wait_ready(&[], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(
        error.contains("0 of 3 pods of its template are ready, 3 of an older template are left, it is paused"),
        "{error}"
    );
    let error = mesh.try_rollout_restart("cart").unwrap_err().to_string();
    assert_eq!(
        error,
        "rollout restart:1:1: Deployment shop/cart is paused, and kubectl restarts none that is; patch it first, with \
         {spec: {paused: false}}"
    );
    mesh.apply(cart("  replicas: 3\n", "2", READY)).wait_ready();
    assert_eq!(counts(&mesh), "3/3 3 3");
}

#[test]
fn the_pod_that_was_restarted_goes_first() {
    let mut mesh = start(1);
    mesh.apply(cart("  replicas: 3\n", "1", READY)).wait_ready();
    let restarted = mesh.get_pods().rows[0].name.clone();
    mesh.kill(&format!("{restarted}/server")).run_for(Duration::from_secs(30));
    assert_eq!(mesh.get_pods().rows[0].restarts, 1);
    mesh.apply(cart("  replicas: 2\n", "1", READY)).run_for(Duration::from_secs(40));
    assert!(mesh.get_pods().rows.iter().all(|row| row.name != restarted), "{}", mesh.get_pods());
}

#[test]
fn pods_of_both_templates_come_back_when_their_node_is_lost() {
    let (mut mesh, _) = stuck(2, "{maxSurge: 2, maxUnavailable: 0}");
    assert_eq!(counts(&mesh), "4/4 2 4");
    let node = mesh.get_pods().rows.into_iter().find(|row| row.is_ready()).unwrap().node.unwrap();
    mesh.power_off(&node).run_for(Duration::from_secs(80));
    assert_eq!(counts(&mesh), "2/4 2 2", "{}", mesh.get_pods());
    mesh.run_for(Duration::from_secs(400));
    assert_eq!(counts(&mesh), "4/4 2 4", "{}", mesh.get_pods());
}
