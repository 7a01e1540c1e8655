//! Waits end when what they wait for is true, not when nobody speaks against it.

use std::time::Duration;

use hermesh::{Mesh, WaitError};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo/");

fn deployed() -> Mesh {
    let mut mesh = hermesh::mesh().seed(1).namespace("echo-grpc").start();
    mesh.apply(manifest("namespace.yaml")).apply(manifest("grpc-echo.yaml")).wait_ready();
    mesh
}

fn manifest(file: &str) -> String {
    format!("{EXAMPLES}{file}")
}

fn ready(mesh: &Mesh) -> Vec<String> {
    mesh.get_pods().rows.iter().map(|row| row.ready.clone()).collect()
}

#[test]
fn ready_is_not_said_of_a_container_that_was_killed_at_this_moment() {
    for container in ["app", "istio-proxy"] {
        let mut mesh = deployed();
        mesh.kill(&format!("echo-v1/0/{container}")).wait_ready();
        assert_eq!(ready(&mesh), ["2/2", "2/2"], "{container}");
    }
}

#[test]
fn ready_is_not_said_of_pods_that_restart() {
    let mut mesh = deployed();
    mesh.restart("echo-v1").wait_ready();
    assert_eq!(ready(&mesh), ["2/2", "2/2"]);
}

#[test]
fn a_pod_whose_agent_istiod_has_lost_has_not_converged() {
    let mut mesh = deployed();
    mesh.partition("echo-v1", "istio-system/istiod").apply(manifest("peer-authentication-strict.yaml"));
    // Longer than istiod keeps a connection that is silent.
    let Err(WaitError::Timeout { missing, .. }) = mesh.try_wait_converged(Duration::from_secs(90)) else {
        panic!("it is told to have converged");
    };
    assert!(missing.iter().any(|who| who.contains("echo-v1-") && who.contains("reach istiod")), "{missing:?}");
    mesh.heal("echo-v1", "istio-system/istiod");
    mesh.try_wait_converged(Duration::from_secs(300)).unwrap();
}

#[test]
fn what_was_cut_heals_even_if_its_workload_is_gone() {
    let mut mesh = deployed();
    mesh.partition("echo-v1", "echo-v2").partition("echo-v1", "istio-system/istiod");
    mesh.delete(manifest("grpc-echo.yaml")).run_for(Duration::from_secs(60));
    assert_eq!(mesh.try_heal_all().unwrap(), 2);
    assert_eq!(mesh.try_heal_all().unwrap(), 0);
}
