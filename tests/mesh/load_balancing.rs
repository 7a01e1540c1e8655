//! `loadBalancer` of a DestinationRule: calls that are alike go to one pod (gRFC A42), or calls go to where there are
//! the fewest (gRFC A48).

use std::collections::BTreeSet;
use std::time::Duration;

use hermesh::{Call, Mesh};
use hermesh_runtime::Level;
use hermesh_tests::manifests::{self, HOST, TARGET};
use hermesh_xds::RpcPick;

const VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v4"];

fn start(balancer: &str) -> Mesh {
    let mut mesh = hermesh::mesh().seed(11).namespace(manifests::NAMESPACE).level(Level::Debug).start();
    let rule = format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: echo, namespace: {}}}
spec:
  host: {HOST}
  trafficPolicy:
    loadBalancer: {balancer}
",
        manifests::NAMESPACE
    );
    mesh.apply(manifests::echo(&VERSIONS)).apply(rule).wait_ready().wait_converged();
    mesh
}

/// The pods that answered `count` calls.
fn answering(mesh: &mut Mesh, call: Call) -> BTreeSet<String> {
    let report = mesh.call(call);
    assert!(report.is_ok(), "{report:?}");
    report.workloads.into_keys().collect()
}

#[test]
fn calls_with_one_header_go_to_one_pod_from_every_client() {
    let mut mesh = start("{consistentHash: {httpHeaderName: x-user}}");
    let of = |from: &str, user: &str| Call::new(from, TARGET).header("x-user", user).count(5);
    let mut pods = BTreeSet::new();
    for user in 0..16 {
        let user = format!("user-{user}");
        let own = answering(&mut mesh, of("echo-v1", &user));
        assert_eq!(own.len(), 1, "{user} is answered by {own:?}");
        assert_eq!(answering(&mut mesh, of("echo-v2", &user)), own, "{user}");
        pods.extend(own);
    }
    assert!(pods.len() >= 3, "sixteen users of four pods share {pods:?}");
    let any = answering(&mut mesh, Call::new("echo-v1", TARGET).count(80).qps(40));
    assert!(any.len() >= 3, "without the header each call goes where it may: {any:?}");
}

#[test]
fn least_request_spreads_calls_and_says_so() {
    let mut mesh = start("{simple: LEAST_REQUEST}");
    mesh.run_for(Duration::from_secs(1));
    let report = mesh.call(Call::new("echo-v1", TARGET).count(200).qps(50));
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(report.workloads.len(), 4, "{report:?}");
    let reasons: Vec<String> = mesh.with_trace(|trace| {
        let picks = trace.of::<RpcPick>().filter(|(event, _)| report.events.contains(&event.seq));
        picks.map(|(_, pick)| pick.reason.clone()).collect()
    });
    assert!(reasons.iter().any(|reason| reason.ends_with("least requests of 4 ready")), "{reasons:?}");
}
