//! Traffic at a steady rate over one channel.

use std::time::Duration;

use hermesh::{Load, Mesh};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_tests::manifests::{self, TARGET};

fn echo(seed: u64) -> Mesh {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    mesh
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_load_sends_at_its_rate_until_it_is_stopped() {
    let mut mesh = echo(1);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(70));
    let second = mesh.run_for(secs(10));
    assert_eq!(load.during(second).len(), 700);
    let all = mesh.stop(&load);
    assert!((700..=702).contains(&all.len()), "{}", all.len());
    // A connection to the second pod stands only after the first calls.
    let to_v1 = all.workloads()["echo-v1"];
    assert!((350..370).contains(&to_v1), "{to_v1}");
    all.assert_no_errors();
    mesh.run_for(secs(5));
    assert_eq!(load.calls(), all);
}

#[test]
fn calls_belong_to_the_workload_that_had_the_address_then() {
    let mut mesh = echo(2);
    mesh.delete(manifests::deployment("echo-v2", &[("version", "v2")], true)).run_for(secs(40));
    mesh.wait_converged();
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(20));
    mesh.run_for(secs(5));
    mesh.apply(manifests::deployment("echo-v3", &[("version", "v3")], true)).wait_ready().wait_converged();
    let later = load.during(mesh.run_for(secs(5))).workloads();
    assert_eq!(later.keys().collect::<Vec<_>>(), ["echo-v1", "echo-v3"]);
    let all = mesh.stop(&load);
    all.assert_no_errors();
    // The addresses of pods that are gone are used again.
    assert!(!all.workloads().contains_key("echo-v2"), "{:?}", all.workloads());
}

#[test]
fn what_fails_is_told_with_its_time_and_its_cause() {
    let mut mesh = echo(3);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(10).timeout(secs(1)));
    mesh.run_for(secs(2));
    mesh.partition("echo-v1", "echo-v2");
    let cut = mesh.run_for(secs(4));
    mesh.heal("echo-v1", "echo-v2").run_for(secs(20));
    let calls = mesh.stop(&load);
    let failed: Vec<_> = calls.errors().collect();
    // What is sent while the link is cut, and until the kernel retransmits what it has not delivered: up to 6.2 s.
    assert!((20..=31).contains(&failed.len()), "{}", failed.len());
    for call in failed {
        assert!(cut.start <= call.sent && call.sent <= cut.start + Duration::from_millis(6200), "{call:?}");
        assert_eq!((call.code, call.took), (tonic::Code::DeadlineExceeded, secs(1)), "{call:?}");
        assert_eq!(call.workload.as_deref(), Some("echo-v2"));
    }
}

#[test]
fn a_call_without_a_deadline_that_hangs_is_cancelled_and_counts() {
    let mut mesh = echo(5);
    let load = mesh.load_with(Load::new("echo-v1", TARGET), |channel| async move {
        EchoTestServiceClient::new(channel).echo(EchoRequest::default()).await
    });
    mesh.run_for(secs(2));
    mesh.partition("echo-v1", "echo-v2").run_for(secs(2));
    let calls = mesh.stop(&load);
    assert_eq!(calls.len(), 40);
    let hung: Vec<_> = calls.errors().collect();
    assert!(hung.len() >= 9, "{}", hung.len());
    assert!(hung.iter().all(|call| call.code == tonic::Code::Cancelled && call.took > secs(60)), "{hung:#?}");
}

#[test]
#[should_panic(expected = "ended before it was stopped")]
fn a_load_whose_pod_goes_away_does_not_pass_for_stopped() {
    let mut mesh = echo(4);
    let load = mesh.load(Load::new("echo-v1", TARGET));
    mesh.delete(manifests::deployment("echo-v1", &[("version", "v1")], true)).run_for(secs(60));
    mesh.stop(&load);
}
