//! What certificates need, taken away: the CA, the right time, a valid token, room on the disk.

use std::time::Duration;

use hermesh::{Call, Disruption, IstiodService, Mesh};
use hermesh_tests::manifests::{self, TARGET};
use tonic::Code;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn echo(seed: u64) -> Mesh {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    mesh
}

/// How many events of a kind happened at the agent of a workload.
fn at_agent(mesh: &Mesh, workload: &str, kind: &str) -> usize {
    mesh.with_trace(|trace| {
        let here = |at: &str| at.contains(&format!("/{workload}-")) && at.ends_with("/istio-proxy");
        trace.events().iter().filter(|event| event.kind == kind && here(&event.at)).count()
    })
}

#[test]
fn a_disruption_concerns_those_that_it_is_for_and_their_later_pods() {
    let mut mesh = echo(1);
    mesh.disrupt(Disruption::of(IstiodService::Authority).to("echo-v1").error(Code::PermissionDenied));
    mesh.rollout_restart("echo-v1").rollout_restart("echo-v2").run_for(secs(60));
    let refused = |mesh: &Mesh, workload| at_agent(mesh, workload, "cert.request.failed");
    assert!(refused(&mesh, "echo-v1") > 0);
    assert_eq!(refused(&mesh, "echo-v2"), 0);
    let issued = at_agent(&mesh, "echo-v1", "cert.issued");
    mesh.end_disruption(Disruption::of(IstiodService::Authority).to("echo-v1")).run_for(secs(60));
    assert_eq!(at_agent(&mesh, "echo-v1", "cert.issued"), issued + 1);
}

#[test]
fn open_xds_streams_are_closed_even_if_that_is_over_at_once() {
    let mut mesh = echo(2);
    let closed = at_agent(&mesh, "echo-v1", "agent.stream.closed");
    mesh.disrupt(Disruption::of(IstiodService::Discovery).error(Code::Internal));
    mesh.end_disruption(Disruption::of(IstiodService::Discovery)).run_for(secs(1));
    assert_eq!(at_agent(&mesh, "echo-v1", "agent.stream.closed"), closed + 1);
    mesh.wait_converged();
    assert!(mesh.call(Call::new("echo-v1", TARGET)).is_ok());
}

#[test]
fn an_agent_whose_clock_is_far_ahead_does_not_ask_without_end() {
    let mut mesh = echo(3);
    mesh.set_clock_ahead("echo-v1", secs(25 * 3600)).run_for(secs(1800));
    let issued = at_agent(&mesh, "echo-v1", "cert.issued");
    assert!((10..100).contains(&issued), "{issued}");
    assert_eq!(at_agent(&mesh, "echo-v2", "cert.issued"), 1);
}

/// How many events of a kind there are.
fn count(mesh: &Mesh, kind: &str) -> usize {
    mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == kind).count())
}

#[test]
fn a_fault_is_of_a_pod_and_not_of_another_that_has_its_name_later() {
    let mut mesh = hermesh::mesh().seed(5).namespace("shop").image("*", hermesh::image::stand_in).start();
    let db = "---\napiVersion: v1\nkind: Service\nmetadata: {name: db}\n\
              spec: {clusterIP: None, selector: {app: db}, ports: [{name: grpc, port: 7070}]}\n\
              ---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  serviceName: db\n\
              \x20 selector: {matchLabels: {app: db}}\n  template:\n    metadata:\n      labels: {app: db}\n\
              \x20     annotations: {inject.istio.io/templates: grpc-agent}\n    spec:\n\
              \x20     containers: [{name: app, image: registry.shop/db}]\n";
    mesh.apply(hermesh_tests::shop::NAMESPACE.to_owned() + db).wait_ready();
    mesh.expire_tokens_for("db-0", None, secs(120)).fill_volume_for("db-0", "istio-data", secs(120));
    mesh.rollout_restart("db").run_for(secs(90));
    assert_eq!(mesh.get_pods().rows[0].ready, "2/2", "{}", mesh.get_pods());
    mesh.run_for(secs(60));
    // What was wrong with the pod of before has not ended for this one: it was never wrong with it.
    assert_eq!((count(&mesh, "pod.tokens"), count(&mesh, "volume.full"), count(&mesh, "volume.freed")), (1, 1, 0));
    mesh.expire_tokens("db-0", None).rollout_restart("db").run_for(secs(90));
    mesh.try_heal_all().unwrap();
    assert_eq!(count(&mesh, "pod.tokens"), 2);
}

/// A pod with a token that lives for ten minutes, and is replaced after eight.
const POD: &str = "apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  containers:
  - name: app
    image: registry.istio.io/testing/app:latest
    args: [--port=8080]
    volumeMounts: [{name: token, mountPath: /token}]
  volumes:
  - name: token
    projected: {sources: [{serviceAccountToken: {path: token, expirationSeconds: 600}}]}
";

fn token(mesh: &mut Mesh) -> Vec<u8> {
    mesh.run_in("web", |process| async move {
        process.runtime().read("/token/token").await.expect("the token is there").to_vec()
    })
}

#[test]
fn the_kubelet_replaces_tokens_by_the_clock_of_the_node() {
    let mut mesh = hermesh::mesh().seed(4).namespace("shop").start();
    mesh.apply(POD).wait_ready();
    let first = token(&mut mesh);
    mesh.run_for(secs(490));
    let second = token(&mut mesh);
    assert_ne!(first, second, "in time");
    mesh.set_clock_behind("web", secs(180)).run_for(secs(610));
    assert_eq!(token(&mut mesh), second, "it has expired, and the kubelet does not know");
    mesh.set_clock_right("web").run_for(secs(1));
    let third = token(&mut mesh);
    assert_ne!(third, second, "now it does");
    mesh.set_clock_ahead("web", secs(300)).run_for(secs(190));
    assert_ne!(token(&mut mesh), third, "before its time");
}

#[test]
fn a_token_that_is_kept_stays_until_it_is_renewed() {
    let mut mesh = hermesh::mesh().seed(5).namespace("shop").start();
    mesh.apply(POD).wait_ready();
    let first = token(&mut mesh);
    mesh.expire_tokens("web", None).run_for(secs(1300));
    assert_eq!(token(&mut mesh), first);
    mesh.expire_tokens("web", secs(5)).run_for(secs(1));
    let last = token(&mut mesh);
    assert_ne!(last, first, "one more, that lives for five seconds");
    mesh.run_for(secs(1300));
    assert_eq!(token(&mut mesh), last);
    mesh.renew_tokens("web").run_for(secs(1));
    let renewed = token(&mut mesh);
    assert_ne!(renewed, last);
    mesh.run_for(secs(490));
    assert_ne!(token(&mut mesh), renewed, "and so on");
}

#[test]
fn an_agent_without_room_for_its_bootstrap_ends_and_is_started_again_until_there_is_room() {
    let mut mesh = echo(6);
    mesh.fill_volume("echo-v1", "istio-xds").kill("echo-v1/0/istio-proxy").run_for(secs(60));
    let row = mesh.get_pods().rows[0].clone();
    assert!(row.restarts >= 2, "{}", mesh.get_pods());
    assert_eq!(row.exits["istio-proxy"].code, 255, "{:?}", row.exits);
    mesh.free_volume("echo-v1", "istio-xds");
    // It has backed off meanwhile.
    mesh.try_wait_ready(&[], secs(300)).unwrap();
    assert!(mesh.call(Call::new("echo-v1", TARGET)).is_ok());
}

#[test]
fn what_is_not_there_is_named() {
    let mut mesh = echo(7);
    let error = mesh.try_fill_volume("echo-v1", "istio-dat").unwrap_err().to_string();
    assert_eq!(error, "volume `istio-dat` does not exist; did you mean `istio-data`?");
    let error = mesh.try_disrupt(&Disruption::of(IstiodService::Authority)).unwrap_err().to_string();
    assert_eq!(error, "nothing is wrong with the service: expected an error other than OK, or a delay");
    let error = mesh.try_expire_tokens("echo-v3", None).unwrap_err().to_string();
    assert!(error.starts_with("workload `echo-v3` does not exist"), "{error}");
}

#[test]
fn a_fault_for_a_time_ends_alone_and_only_once() {
    let mut mesh = echo(8);
    mesh.pause_for("echo-v2/0/app", secs(5)).run_for(secs(2));
    mesh.resume("echo-v2/0/app").pause("echo-v2/0/app").run_for(secs(20));
    let events = |mesh: &Mesh, kind: &str| {
        mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == kind).count())
    };
    assert_eq!(events(&mesh, "container.resumed"), 1, "the end of the first pause is not that of the second");
    mesh.resume("echo-v2/0/app");
    mesh.partition_for("echo-v1", "echo-v2", secs(5)).run_for(secs(6));
    assert_eq!((events(&mesh, "net.mended"), events(&mesh, "net.healed")), (2, 0));
    mesh.partition_for("echo-v1", "echo-v2", secs(5)).heal("echo-v1", "echo-v2").run_for(secs(6));
    assert_eq!((events(&mesh, "net.mended"), events(&mesh, "net.healed")), (2, 1));
}
