//! Servers under STRICT mTLS that are health-checked on the very port that wants mTLS, and the two ways around it.
//!
//! Source: the article's "Limitations": an xDS-enabled gRPC server that uses mTLS turns the kubelet away, which has no
//! certificate; either a separate port is checked, or the client that checks gets a proper certificate.

use std::time::Duration;

use hermesh::{Call, LinkFault, Mesh, WaitError};
use hermesh_tests::manifests::{self, TARGET};

/// The agent's files, which the injection template mounts into every container.
const CERTIFICATES: &str = "/var/lib/istio/data";

#[test]
fn a_strict_server_that_is_checked_on_its_mtls_port_never_gets_ready() {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&[]))
        .apply(manifests::server_tls("STRICT"))
        .apply(manifests::client_tls("ISTIO_MUTUAL"));
    mesh.apply(echo("grpc: {port: 17070}"));
    let waited = mesh.try_wait_ready(&["echo-v1"], Duration::from_secs(60));
    assert!(matches!(waited, Err(WaitError::Timeout { .. })), "{waited:?}");
    assert_eq!(mesh.get_pods().rows[0].ready, "1/2", "{}", mesh.get_pods());
}

#[test]
fn it_gets_ready_without_mtls_and_loses_its_endpoints_once_mtls_comes() {
    let mut mesh = mesh("grpc: {port: 17070}");
    mesh.wait_ready();
    mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).apply(manifests::server_tls("STRICT")).wait_converged();
    // Ten checks in a row, one every two seconds.
    mesh.run_for(Duration::from_secs(25));
    assert_eq!(mesh.get_pods().rows[0].ready, "1/2", "{}", mesh.get_pods());
}

#[test]
fn a_port_of_its_own_for_health_checks_works_around_it() {
    assert_serves_by_mtls("grpc: {port: 17171}");
}

#[test]
fn a_health_check_with_the_agents_certificate_works_around_it() {
    assert_serves_by_mtls(&probe_with_certificate());
}

#[test]
fn a_health_check_with_a_certificate_needs_the_server_to_speak_tls() {
    let mut mesh = mesh(&probe_with_certificate());
    assert!(mesh.try_wait_ready(&["echo-v1"], Duration::from_secs(60)).is_err(), "{}", mesh.get_pods());
}

#[test]
fn a_tool_that_checks_waits_as_long_as_its_flags_say() {
    // A trip takes 0.8 s: connecting takes four of them, TCP's and HTTP/2's, and the call two.
    let connect = "\"-connect-timeout=5s\", ";
    for (flags, ready) in [("", "1/2"), (connect, "1/2"), (&format!("{connect}\"-rpc-timeout=3s\", "), "2/2")] {
        let probe = format!(
            "exec: {{command: [grpc_health_probe, {flags}\"-addr=other:17171\"]}}\n          timeoutSeconds: 9"
        );
        let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&["v2"])).wait_ready();
        let other = "---\napiVersion: v1\nkind: Service\nmetadata: {name: other}\n\
                     spec: {selector: {version: v2}, ports: [{name: grpc, port: 17171}]}\n";
        mesh.apply(other).apply(echo(&probe)).run_for(Duration::from_secs(10));
        let slow = || LinkFault::Slow(Duration::from_millis(800)..=Duration::from_millis(800));
        mesh.impair("echo-v1", "echo-v2", slow())
            .impair("echo-v2", "echo-v1", slow())
            .run_for(Duration::from_secs(180));
        let rows = mesh.get_pods().rows;
        let checked = rows.iter().find(|row| row.workload == "echo-v1").expect("it is there");
        assert_eq!(checked.ready, ready, "{flags}\n{}", mesh.get_pods());
    }
}

fn probe_with_certificate() -> String {
    format!(
        "exec: {{command: [grpc_health_probe, \"-addr=localhost:17070\", -tls, -tls-no-verify, \
         -tls-client-cert={CERTIFICATES}/cert-chain.pem, -tls-client-key={CERTIFICATES}/key.pem]}}"
    )
}

fn assert_serves_by_mtls(probe: &str) {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&[]))
        .apply(manifests::server_tls("STRICT"))
        .apply(manifests::client_tls("ISTIO_MUTUAL"));
    mesh.apply(echo(probe)).wait_ready().wait_converged();
    let report = mesh.call(Call::new("echo-v1", TARGET).count(5));
    assert!(report.is_ok(), "{report:?}");
    assert!(report.answers.iter().all(|answer| answer.caller.is_some()), "{report:?}");
}

fn mesh(probe: &str) -> Mesh {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&[])).apply(echo(probe));
    mesh
}

/// `echo-v1` with this readiness probe.
fn echo(probe: &str) -> String {
    let http = "httpGet:\n            path: /\n            port: 8080\n";
    let manifest = manifests::deployment("echo-v1", &[("version", "v1")], true);
    assert!(manifest.contains(http), "the manifest is probed by HTTP");
    manifest.replace(http, &format!("{probe}\n"))
}
