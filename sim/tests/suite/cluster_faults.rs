//! What the cluster does when things break.

use std::time::Duration;

use hermesh::{ApplyError, Call, Mesh, TargetError};

fn manifest(name: &str) -> String {
    format!("{}/../examples/grpc-echo/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn deployed() -> Mesh {
    let mut mesh = hermesh::mesh().seed(7).namespace("echo-grpc").start();
    mesh.apply([manifest("namespace.yaml"), manifest("grpc-echo.yaml")]).wait_ready();
    mesh
}

#[test]
fn a_killed_container_is_restarted_alone() {
    let mut mesh = deployed();
    let before: Vec<String> = mesh.get_pods().rows.iter().map(|row| row.name.clone()).collect();
    mesh.kill("echo-v1/0/app");
    mesh.run_for(Duration::from_secs(1));
    assert_eq!(mesh.get_pods().rows[0].ready, "1/2", "{}", mesh.get_pods());
    mesh.wait_ready();
    let after = mesh.get_pods();
    assert_eq!(before, after.rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>());
    assert_eq!(after.rows.iter().map(|row| row.restarts).collect::<Vec<_>>(), [1, 0], "{after}");
}

#[test]
fn changes_made_while_istiod_is_away_arrive_once_it_is_back() {
    let mut mesh = deployed();
    mesh.kill("istiod");
    mesh.apply(manifest("destination-rule-mtls.yaml")).apply(manifest("peer-authentication-strict.yaml"));
    mesh.wait_converged();
    let report = mesh.call(Call::new("echo-v1", "xds:///echo:7070").count(4));
    assert!(report.is_ok(), "{report:#?}");
    assert!(report.answers.iter().all(|answer| answer.caller.is_some()), "{report:#?}");
}

#[test]
fn calls_avoid_a_pod_behind_a_partition_and_find_it_again() {
    let mut mesh = deployed();
    let call = Call::new("echo-v1", "xds:///echo:7070").count(5).qps(10);
    mesh.partition("echo-v1", "echo-v2");
    let cut = mesh.call(call.clone());
    assert_eq!(cut.workloads, [("echo-v1".to_owned(), 5)].into(), "{cut:#?}");
    mesh.heal("echo-v1", "echo-v2");
    let healed = mesh.call(call);
    assert!(healed.workloads["echo-v2"] >= 2, "{healed:#?}");
}

#[test]
fn a_pod_that_cannot_reach_the_control_plane_is_named_by_who_waits() {
    let mut mesh = deployed();
    mesh.partition("echo-v1", "istiod");
    mesh.apply(manifest("destination-rule-mtls.yaml"));
    let error = mesh.try_wait_converged(Duration::from_secs(20)).unwrap_err().to_string();
    assert!(error.starts_with("not converged within 20s: ") && error.contains("echo-v1-"), "{error}");
    mesh.heal("echo-v1", "istiod");
    mesh.wait_converged();
}

#[test]
fn a_deleted_deployment_takes_its_pods_along() {
    let mut mesh = deployed();
    mesh.delete(manifest("grpc-echo.yaml"));
    mesh.run_for(Duration::from_secs(40));
    assert_eq!(mesh.get_pods().rows, []);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the manifest is a file of the machine")]
fn a_changed_template_replaces_the_pod_by_a_new_one() {
    let mut mesh = deployed();
    let old = mesh.get_pods();
    let text = std::fs::read_to_string(manifest("grpc-echo.yaml")).unwrap();
    mesh.apply(text.replace("- --version\n        - v1", "- --version\n        - v1-changed")).wait_ready();
    let new = mesh.get_pods();
    let names = |workload: &str| {
        [&old, &new].map(|table| {
            let row = table.rows.iter().find(|row| row.workload == workload && row.status == "Running");
            row.expect("each Deployment has a pod").name.clone()
        })
    };
    let [before, after] = names("echo-v1");
    assert_ne!(before, after);
    let [before, after] = names("echo-v2");
    assert_eq!(before, after);
}

#[test]
fn what_is_refused_is_not_applied_at_all() {
    let mut mesh = hermesh::mesh().seed(7).start();
    let yaml = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\n\
                apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: b, namespace: nowhere}\n";
    let error = mesh.try_apply(yaml).unwrap_err();
    let ApplyError::Refused(errors) = error else { panic!("{error}") };
    assert!(errors[0].to_string().contains("namespace \"nowhere\" not found"), "{}", errors[0]);
    assert_eq!((errors[0].location.line, errors[0].location.column), (7, 32), "{}", errors[0]);
    let applied = mesh.try_apply("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n").unwrap();
    assert_eq!(applied.objects[0].1.as_str(), "created");
}

#[test]
fn an_unknown_name_comes_with_the_nearest_one() {
    let mut mesh = deployed();
    let error = mesh.try_call(&Call::new("echo-v3", "xds:///echo:7070")).unwrap_err();
    assert!(error.to_string().starts_with("workload `echo-v3` does not exist; did you mean `echo-v"), "{error}");
    let error = mesh.try_kill("echo-v1/0/istio-prox").unwrap_err();
    assert!(error.to_string().contains("did you mean `istio-proxy`?"), "{error}");
    let error = mesh.try_wait_ready(&["echo"], Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, hermesh::WaitError::Target(TargetError::Unknown { .. })), "{error}");
}
