//! Programs that take their time to start decide who is up first.

use std::time::Duration;

use hermesh::Mesh;
use hermesh_tests::manifests;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A pod of echo that is not held, whose containers take so long before they start.
fn echo(app: u64, agent: u64) -> Mesh {
    let builder = hermesh::mesh().seed(1).namespace(manifests::NAMESPACE);
    let builder = builder.start_delay("echo-v1", "app", secs(app)..=secs(app));
    let mut mesh = builder.start_delay("echo-grpc/echo-v1", "istio-proxy", secs(agent)..=secs(agent)).start();
    mesh.apply(manifests::echo(&[])).apply(manifests::deployment("echo-v1", &[("version", "v1")], false));
    mesh
}

/// When the first of these events happened.
fn at(mesh: &Mesh, kind: &str) -> Duration {
    mesh.with_trace(|trace| {
        let event = trace.events().iter().find(|event| event.kind == kind && event.at.contains("echo-v1-"));
        Duration::from_micros(event.unwrap_or_else(|| panic!("no {kind}")).t_us)
    })
}

#[test]
fn an_application_that_starts_after_its_agent_does_not_crash() {
    let mut mesh = echo(20, 5);
    mesh.wait_ready();
    assert_eq!(mesh.get_pods().rows[0].restarts, 0, "{}", mesh.get_pods());
    let (agent, application) = (at(&mesh, "agent.started"), at(&mesh, "echo.ready"));
    assert!(agent + secs(10) < application, "{agent:?} {application:?}");
}

#[test]
fn one_that_starts_before_it_does() {
    let mut mesh = echo(2, 30);
    mesh.try_wait_ready(&[], secs(120)).unwrap();
    assert!(mesh.get_pods().rows[0].restarts > 0, "{}", mesh.get_pods());
}

#[test]
fn a_program_that_has_not_started_ends_at_once_when_it_is_told_to() {
    let mut mesh = echo(1, 300);
    mesh.run_for(secs(10));
    mesh.restart("echo-v1/0/istio-proxy").run_for(secs(1));
    assert_eq!(mesh.get_pods().rows[0].exits["istio-proxy"].code, 143, "{:?}", mesh.get_pods().rows[0].exits);
}
