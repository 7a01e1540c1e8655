//! ServiceAccounts that are not there: nobody can make pods of theirs until they are.
//!
//! Source: kubernetes `plugin/pkg/admission/serviceaccount/admission.go`.

use std::time::Duration;

use hermesh::{ApplyError, Mesh, image};

use crate::cluster_history::{NAMESPACE, events, text};

const ACCOUNT: &str = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: web}\n";

const POD: &str = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: \
                   {serviceAccountName: web, containers: [{name: a, image: a}]}\n";

/// A workload whose pods have the account `web`.
fn workload(kind: &str) -> String {
    let (group, more, policy) = match kind {
        "Deployment" => ("apps", "selector: {matchLabels: {app: web}}, ", ""),
        "StatefulSet" => ("apps", "serviceName: web, selector: {matchLabels: {app: web}}, ", ""),
        _ => ("batch", "", "restartPolicy: Never, "),
    };
    format!(
        "---
apiVersion: {group}/v1
kind: {kind}
metadata: {{name: web}}
spec: {{{more}template: {{metadata: {{labels: {{app: web}}}}, spec:
  {{serviceAccountName: web, {policy}containers: [{{name: a, image: a}}]}}}}}}
"
    )
}

fn start() -> Mesh {
    let mut mesh = hermesh::mesh().image("*", image::stand_in).seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE);
    mesh
}

#[test]
fn pods_come_when_the_work_queue_of_their_controller_tries_again() {
    let table = [
        // When the account comes, in seconds, and the first try after that, in milliseconds: 5 ms * (2^11 - 1).
        ("Deployment", 9, 10_235),
        ("StatefulSet", 9, 10_235),
        // 5 ms * (2^18 - 1), and 1000 s more.
        ("Deployment", 2_000, 2_310_715),
        // 1 s * (2^4 - 1); 1 + 2 + 4 + 8 + 16 + 32 + 60 s.
        ("Job", 9, 15_000),
        ("Job", 70, 123_000),
    ];
    for (kind, comes_s, wait_ms) in table {
        let mut mesh = start();
        mesh.apply(workload(kind).as_str()).run_for(Duration::from_secs(comes_s));
        assert!(mesh.get_pods().rows.is_empty(), "{kind}");
        mesh.apply(ACCOUNT)
            .run_for(Duration::from_millis(wait_ms) + Duration::from_secs(1) - Duration::from_secs(comes_s));
        let mut told = events(&mesh, &["pod.forbidden", "pod.scheduled"]);
        told.retain(|event| text(event, "pod").starts_with("shop/"));
        assert_eq!(told.len(), 2, "{kind}: it is told of once: {told:?}");
        let [first, last] = [0, 1].map(|index| told[index]["t_us"].as_u64().unwrap_or_default() / 1000);
        // A pod gets its node some milliseconds after it is made.
        assert!((wait_ms..wait_ms + 50).contains(&(last - first)), "{kind}: {told:?}");
        assert_eq!(mesh.get_pods().rows.len(), 1, "{kind}");
    }
}

#[test]
fn a_wait_says_why_nobody_makes_the_pods() {
    for (kind, state) in [
        ("Deployment", "0 of 1 pods are ready"),
        ("StatefulSet", "0 of 1 pods are ready"),
        ("Job", "0 pods run, 0 have succeeded, 0 have failed"),
    ] {
        let mut mesh = start();
        mesh.apply(workload(kind).as_str());
        let error = mesh.try_wait_ready(&["web"], Duration::from_secs(1)).unwrap_err().to_string();
        let why = "none can be made: error looking up service account shop/web: serviceaccount \"web\" not found";
        assert!(error.contains(&format!("web: {state}, {why}")), "{kind}: {error}");
    }
}

#[test]
fn a_wait_that_fails_meanwhile_says_when_the_next_try_is_due() {
    let mut mesh = start();
    mesh.apply(workload("Deployment").as_str()).run_for(Duration::from_secs(700));
    mesh.apply(ACCOUNT);
    let error = mesh.try_wait_ready(&["web"], Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.contains("not found; it is there now, and the next try is due in 9m"), "{error}");
}

#[test]
fn a_template_without_the_account_ends_the_waiting() {
    let mut mesh = start();
    let fine = workload("Deployment").replace("serviceAccountName: web, ", "");
    mesh.apply(fine.as_str()).wait_ready();
    mesh.apply(workload("Deployment").as_str()).run_for(Duration::from_secs(60));
    mesh.apply(fine.as_str()).run_for(Duration::from_secs(1));
    mesh.apply(ACCOUNT).kill("web/0/a");
    let error = mesh.try_wait_ready(&["web"], Duration::from_millis(1)).unwrap_err().to_string();
    assert!(!error.contains("none can be made"), "{error}");
}

#[test]
fn a_workload_that_wants_no_pods_for_a_while_begins_anew() {
    let mut mesh = start();
    mesh.apply(workload("Deployment").as_str()).run_for(Duration::from_secs(700));
    mesh.scale("web", 0).run_for(Duration::from_secs(1));
    mesh.scale("web", 2).run_for(Duration::from_millis(100));
    mesh.apply(ACCOUNT).run_for(Duration::from_millis(500));
    assert_eq!(mesh.get_pods().rows.len(), 2);
}

#[test]
fn a_workload_that_comes_again_waits_from_then_on() {
    let mut mesh = start();
    mesh.apply(workload("Deployment").as_str()).run_for(Duration::from_secs(60));
    mesh.delete(workload("Deployment").as_str()).run_for(Duration::from_secs(1));
    mesh.apply(workload("Deployment").as_str()).run_for(Duration::from_millis(100));
    mesh.apply(ACCOUNT).run_for(Duration::from_millis(500));
    assert_eq!(mesh.get_pods().rows.len(), 1);
}

#[test]
fn a_pod_that_is_there_keeps_its_account_when_it_goes() {
    let mut mesh = start();
    mesh.apply([ACCOUNT, &workload("Deployment")].concat().as_str()).wait_ready();
    mesh.delete(ACCOUNT).run_for(Duration::from_secs(30));
    assert_eq!(mesh.get_pods().rows[0].status, "Running");
    assert_eq!(events(&mesh, &["pod.forbidden"]), [] as [serde_json::Value; 0]);
    // Who takes its place has none.
    let pod = mesh.get_pods().rows[0].name.clone();
    mesh.delete(
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {pod}}}\nspec: {{containers: [{{name: a, image: a}}]}}\n"
        )
        .as_str(),
    )
    .run_for(Duration::from_secs(60));
    assert!(mesh.get_pods().rows.is_empty());
    assert!(text(&events(&mesh, &["pod.forbidden"])[0], "error").ends_with("serviceaccount \"web\" not found"));
}

#[test]
fn a_pod_of_its_own_is_refused_unless_its_account_is_there_or_stands_before_it() {
    let refusal = |yaml: &str| match start().try_apply(yaml).unwrap_err() {
        ApplyError::Refused(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        other => panic!("{other}"),
    };
    let message =
        "spec.serviceAccountName: error looking up service account shop/web: serviceaccount \"web\" not found";
    assert_eq!(refusal(POD), format!("inline:5:28: {message}; apply a ServiceAccount web first"));
    let later = [POD, ACCOUNT].concat();
    assert_eq!(refusal(&later), format!("inline:5:28: {message}; apply ServiceAccount web before its pods"));
    let older = POD.replace("serviceAccountName", "serviceAccount");
    assert!(refusal(&older).starts_with("inline:5:24: spec.serviceAccount: error"), "{}", refusal(&older));
    start().try_apply([ACCOUNT, POD].concat().as_str()).expect("it stands before it");
}
