//! How long calls take, how many attempts, by which version and for whom they are answered.

use std::time::Duration;

use hermesh::{Call, Calls, Load, Mesh};
use hermesh_tests::manifests::{self, TARGET};

const CALLER: &str = "spiffe://cluster.local/ns/echo-grpc/sa/default";

fn echo(seed: u64) -> Mesh {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    mesh
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Panics of an assertion, as the test would show them.
fn refused(assertion: impl FnOnce() + std::panic::UnwindSafe) -> String {
    let panic = std::panic::catch_unwind(assertion).expect_err("it is not so");
    panic.downcast_ref::<String>().cloned().unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
}

#[test]
fn the_calls_of_a_batch_and_of_a_load_tell_the_same() {
    let mut mesh = echo(1);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(100));
    mesh.run_for(Duration::from_secs(5));
    let report = mesh.call(Call::new("echo-v1", TARGET).count(200).qps(100));
    let (batch, load) = (mesh.calls(&report), mesh.stop(&load));
    assert_eq!(batch.len(), 200, "those of the load are not its own");
    for calls in [&batch, &load] {
        calls
            .assert_share([("echo-v1", 0.5), ("echo-v2", 0.5)])
            .assert_versions([("v1", 0.5), ("v2", 0.5)])
            .assert_codes([("OK", 1.0)])
            .assert_attempts(1..=1)
            .assert_latency(0.5, ..ms(20))
            .assert_caller(None);
        assert_eq!(calls.pods().len(), 2);
    }
    let share = refused(|| _ = load.assert_share([("echo-v1", 0.8), ("echo-v2", 0.2)]));
    assert!(share.contains("echo-v1") && share.contains("expected "), "{share}");
    let latency = refused(|| _ = load.assert_latency(1.0, ..=ms(1)));
    assert!(latency.starts_with("p100 of ") && latency.ends_with(", expected ..=1.000 ms"), "{latency}");
    assert!(refused(|| _ = load.assert_caller(Some(CALLER))).contains(CALLER));
}

#[test]
fn servers_know_who_calls_once_the_connection_is_that_of_an_identity() {
    let mut mesh = echo(2);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(50));
    let plain = load.during(mesh.run_for(Duration::from_secs(5)));
    mesh.apply(manifests::server_tls("STRICT")).apply(manifests::client_tls("ISTIO_MUTUAL")).wait_converged();
    mesh.run_for(Duration::from_secs(10));
    let tls = load.during(mesh.run_for(Duration::from_secs(5)));
    mesh.stop(&load);
    plain.assert_caller(None);
    tls.assert_caller(Some(CALLER));
}

#[test]
fn a_window_is_a_part_and_shares_the_calls() {
    let mut mesh = echo(3);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(20));
    let early = mesh.run_for(Duration::from_secs(5));
    let late = mesh.run_for(Duration::from_secs(5));
    let all: Calls = mesh.stop(&load);
    let windows = [all.during(early.clone()), all.during(late.clone())];
    assert_eq!(windows.iter().map(Calls::len).sum::<usize>(), all.during(early.start..late.end).len());
    assert!(windows[0].iter().all(|call| early.contains(&call.sent)));
    assert!(windows[1].during(early).is_empty());
    assert!(std::ptr::eq(&all.as_slice()[windows[0].len()], &windows[1].as_slice()[0]));
}
