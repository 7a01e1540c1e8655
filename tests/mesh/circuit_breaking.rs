//! `connectionPool.http.http2MaxRequests` limits the calls a client has under way to a cluster (gRFC A32).

use hermesh::{Call, Mesh};
use hermesh_tests::manifests::{self, TARGET};
use hermesh_xds::{Cause, RpcFinished};

fn limited_to(requests: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo-limits, namespace: {}}}
spec:
  host: {}
  trafficPolicy:
    connectionPool: {{http: {{http2MaxRequests: {requests}}}}}
",
        manifests::NAMESPACE,
        manifests::HOST
    )
}

/// How many calls got through, and how many the circuit breaker failed, at once and unsent.
fn outcome(mesh: &mut Mesh, call: Call) -> (usize, usize) {
    let report = mesh.call(call);
    mesh.with_trace(|trace| {
        let (mut ok, mut limited) = (0, 0);
        for (event, finished) in trace.of::<RpcFinished>() {
            if !report.events.contains(&event.seq) || *finished.target != *TARGET {
                continue;
            }
            match finished.cause_kind {
                None => ok += 1,
                Some(cause) => {
                    assert_eq!((cause, finished.endpoint.as_ref()), (Cause::MaxRequests, None), "{finished:?}");
                    limited += 1;
                }
            }
        }
        (ok, limited)
    })
}

#[test]
fn calls_beyond_the_limit_fail_at_once_and_those_within_it_do_not() {
    let mut mesh = hermesh::mesh().seed(3).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1"])).wait_ready().wait_converged();
    let all_at_once = || Call::new("echo-v1", TARGET).count(20);
    assert_eq!(outcome(&mut mesh, all_at_once()), (20, 0), "without a rule the limit is 1024");

    mesh.apply(limited_to(7)).wait_converged();
    assert_eq!(outcome(&mut mesh, all_at_once()), (7, 13));
    assert_eq!(outcome(&mut mesh, all_at_once().qps(10)), (20, 0), "one by one they are all within it");

    mesh.apply(limited_to(20)).wait_converged();
    assert_eq!(outcome(&mut mesh, all_at_once()), (20, 0));
}
