//! The article's tutorial through the library: what its commands do and print.

use std::collections::BTreeMap;

use hermesh::{Call, CallReport, Mesh};

const FQDN: &str = "xds:///echo.echo-grpc.svc.cluster.local:7070";

fn manifest(name: &str) -> String {
    format!("{}/../examples/grpc-echo/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn deployed(seed: u64) -> Mesh {
    let mut mesh = hermesh::mesh().istio("1.32").seed(seed).namespace("echo-grpc").start();
    mesh.apply(manifest("namespace.yaml")).apply(manifest("grpc-echo.yaml")).wait_ready();
    mesh
}

fn calls(mesh: &mut Mesh, url: &str, count: u32) -> CallReport {
    mesh.call(Call::new("echo-v1", url).count(count))
}

#[track_caller]
fn all_answered(report: &CallReport) -> BTreeMap<String, u64> {
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.answers.len(), report.count as usize);
    report.workloads.clone()
}

#[test]
fn two_pods_come_up_with_an_agent_each() {
    let mesh = deployed(7);
    let pods = mesh.get_pods();
    assert_eq!(pods.rows.len(), 2, "{pods}");
    for (row, deployment) in pods.rows.iter().zip(["echo-v1-", "echo-v2-"]) {
        assert!(row.name.starts_with(deployment), "{pods}");
        assert_eq!((row.ready.as_str(), row.status.as_str(), row.restarts), ("2/2", "Running", 0), "{pods}");
    }
}

#[test]
fn names_resolve_and_round_robin_alternates() {
    let mut mesh = deployed(7);
    let paced = mesh.call(Call::new("echo-v1", FQDN).count(5).qps(10));
    let workloads = all_answered(&paced);
    // The first request goes to whichever pod is connected first; after that they alternate.
    assert!(workloads.values().all(|count| (2..=3).contains(count)), "{workloads:?}");
    assert_eq!(paced.grep("Hostname=echo-v").len(), 5);
    for short in ["xds:///echo:7070", "xds:///echo.echo-grpc:7070", "xds:///echo.echo-grpc.svc:7070"] {
        all_answered(&calls(&mut mesh, short, 1));
    }
}

#[test]
fn traffic_shifts_to_twenty_and_eighty() {
    let mut mesh = deployed(7);
    mesh.apply(manifest("destination-rule-subsets.yaml"));
    mesh.apply(manifest("virtual-service-20-80.yaml")).wait_converged();
    let workloads = all_answered(&calls(&mut mesh, "xds:///echo:7070", 1000));
    assert!((140..=260).contains(&workloads["echo-v1"]), "{workloads:?}");
}

#[test]
fn mutual_tls_fails_until_the_server_has_it_too() {
    let mut mesh = deployed(7);
    mesh.apply(manifest("destination-rule-mtls.yaml")).wait_converged();
    let refused = calls(&mut mesh, FQDN, 1);
    let failure = refused.failure.as_ref().expect("the server does not speak TLS yet");
    assert_eq!(failure.code, tonic::Code::Unknown, "{failure:?}");
    assert!(failure.message.starts_with("1/1 requests had errors; first error: rpc error: code = Unavailable"));
    assert_eq!(failure.request_code, Some(tonic::Code::Unavailable));
    assert_eq!(serde_json::to_value(failure.cause).unwrap(), "tls-handshake");
    let explained = mesh.explain("echo-v1", FQDN);
    for told in ["made from Service echo-grpc/echo, DestinationRule echo-grpc/echo-mtls", "(2 endpoints, mTLS)"] {
        assert_eq!(explained.matches(told).count(), 2, "of the configuration and of the failure: {explained}");
    }
    assert!(explained.contains("it speaks TLS, and this port plain text"), "{explained}");

    mesh.apply(manifest("peer-authentication-strict.yaml")).wait_converged();
    let accepted = calls(&mut mesh, FQDN, 4);
    all_answered(&accepted);
    for answer in &accepted.answers {
        assert_eq!(answer.caller.as_deref(), Some("spiffe://cluster.local/ns/echo-grpc/sa/default"));
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let run = |seed| {
        let mut mesh = deployed(seed);
        all_answered(&calls(&mut mesh, FQDN, 4));
        mesh.finish().digest_hex()
    };
    let first = run(7);
    assert_eq!(first, run(7));
    assert_ne!(first, run(8));
}
