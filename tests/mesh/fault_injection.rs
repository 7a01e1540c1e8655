//! A VirtualService's `fault` holds calls back and fails them, each its share (gRFC A33).

use std::time::Duration;

use hermesh::{Call, Mesh};
use hermesh_tests::bounds;
use hermesh_tests::manifests::{self, HOST, TARGET};
use hermesh_xds::{Cause, RpcFinished};
use tonic::Code;

fn start(fault: &str) -> Mesh {
    let mut mesh = hermesh::mesh().seed(5).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1"])).wait_ready();
    let rule = format!("- fault: {fault}\n  route:\n  - destination: {{host: {HOST}}}\n");
    mesh.apply(manifests::virtual_service(&rule)).wait_converged();
    mesh
}

#[test]
fn calls_fail_in_the_share_that_is_asked_for_and_reach_no_server() {
    let mut mesh = start("{abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 30}}}");
    let report = mesh.call(Call::new("echo-v1", TARGET).count(500));
    let failure = report.failure.expect("some fail");
    assert_eq!((failure.request_code, failure.cause), (Some(Code::ResourceExhausted), Some(Cause::FaultInjected)));
    let failed = mesh.with_trace(|trace| {
        let calls = trace.of::<RpcFinished>().filter(|(event, _)| report.events.contains(&event.seq));
        let failed = calls.filter(|(_, finished)| *finished.target == *TARGET && finished.cause_kind.is_some());
        failed
            .inspect(|(_, finished)| assert_eq!((finished.attempts, &*finished.code), (0, "ResourceExhausted")))
            .count()
    });
    assert!(bounds::accepted(30, 100, 500).contains(&(failed as u64)), "{failed} of 500");
}

#[test]
fn calls_are_held_back_before_they_are_sent() {
    let mut mesh = start("{delay: {fixedDelay: 2s, percentage: {value: 100}}}");
    let report = mesh.call(Call::new("echo-v1", TARGET).count(3));
    assert!(report.is_ok(), "{report:?}");
    let took = report.ended - report.began;
    assert!((Duration::from_secs(2)..Duration::from_millis(2200)).contains(&took), "{took:?}");
}
