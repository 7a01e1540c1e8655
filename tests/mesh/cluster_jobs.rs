//! Jobs: pods that come to an end, how often they are tried, and who waits for them.
//!
//! Source: the Kubernetes documentation, "Jobs".

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hermesh::engine::Exit;
use hermesh::{ApplyError, Listed, Mesh, image};

use crate::cluster_history::{NAMESPACE, events, second, text};

/// The Job `load` with these fields of its spec.
fn job(image: &str, policy: &str, spec: &str) -> String {
    format!(
        "---
apiVersion: batch/v1
kind: Job
metadata: {{name: load}}
spec:
{spec}  template:
    spec:
      restartPolicy: {policy}
      containers: [{{name: client, image: {image}}}]
"
    )
}

/// Images: `work` does something for two seconds, `fails` fails, `flaky` fails twice and then works, `serves` stays.
fn start() -> Mesh {
    let attempts = Arc::new(AtomicU32::new(0));
    let flaky = move |_| {
        let attempt = attempts.fetch_add(1, Ordering::Relaxed);
        async move { if attempt < 2 { Exit::code(3) } else { Exit::code(0) } }
    };
    let builder = hermesh::mesh()
        .image("work", |_| async { tokio::time::sleep(Duration::from_secs(2)).await })
        .image("fails", |_| async { Exit::code(3) })
        .image("flaky", flaky)
        .image("serves", |process| async move { process.runtime().terminated().await })
        .image("*", image::stand_in);
    let mut mesh = builder.seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE);
    mesh
}

fn statuses(mesh: &Mesh) -> Vec<String> {
    mesh.get_pods().rows.iter().map(|row| row.status.clone()).collect()
}

fn finished(mesh: &Mesh) -> Vec<String> {
    let told = events(mesh, &["job.finished"]);
    told.iter().map(|job| format!("{} {} {}", job["succeeded"], job["failed"], text(job, "reason"))).collect()
}

#[test]
fn a_job_runs_one_pod_to_its_end_and_nobody_waits_for_it_then() {
    let mut mesh = start();
    mesh.apply(job("work", "Never", "")).run_for(Duration::from_secs(10));
    let pods = mesh.get_pods();
    let row = &pods.rows[0];
    assert_eq!(
        (row.ready.as_str(), row.status.as_str(), row.workload.as_str()),
        ("0/1", "Completed", "load"),
        "{pods}"
    );
    let suffix = row.name.strip_prefix("load-").expect("it is named after the Job");
    assert!(suffix.len() == 5 && suffix.bytes().all(|b| b.is_ascii_alphanumeric()), "{}", row.name);
    assert_eq!(finished(&mesh), ["1 0 "]);
    mesh.wait_ready();
    mesh.try_wait_ready(&["load"], Duration::from_secs(1)).unwrap();
}

#[test]
fn a_job_at_work_is_ready_with_its_pods() {
    let mut mesh = start();
    mesh.apply(job("serves", "Never", "  parallelism: 2\n  completions: 3\n")).wait_ready();
    assert_eq!(statuses(&mesh), ["Running", "Running"]);
    mesh.restart("load/0").run_for(Duration::from_secs(1));
    mesh.wait_ready();
    let mut all = statuses(&mesh);
    all.sort();
    assert_eq!(all, ["Completed", "Running", "Running"]);
    mesh.restart("load/1").restart("load/2").run_for(Duration::from_secs(5));
    assert_eq!(finished(&mesh), ["3 0 "]);
    mesh.delete(job("serves", "Never", "")).run_for(Duration::from_secs(5));
    assert_eq!(mesh.get_pods().rows, []);
}

#[test]
fn a_failed_pod_is_replaced_after_ten_seconds_and_then_after_twice_as_long_each_time() {
    let mut mesh = start();
    mesh.apply(job("fails", "Never", "  backoffLimit: 3\n")).run_for(Duration::from_secs(120));
    assert_eq!(statuses(&mesh), ["Error"; 4]);
    assert_eq!(finished(&mesh), ["0 4 BackoffLimitExceeded"]);
    let starts: Vec<u64> = events(&mesh, &["container.started"])
        .iter()
        .filter(|event| text(event, "at").contains("/load-"))
        .map(second)
        .collect();
    let waits: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().zip([10, 20, 40]).all(|(wait, least)| (least..=least + 2).contains(wait)), "{waits:?}");
    let error = mesh.try_wait_ready(&["load"], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains("load: the Job has failed: BackoffLimitExceeded, load-"), "{error}");
    assert!(error.contains("is 0/1 Error (client: Error, exit code 3)"), "{error}");
}

#[test]
fn with_on_failure_the_kubelet_tries_again_in_the_same_pod() {
    let mut mesh = start();
    mesh.apply(job("flaky", "OnFailure", "")).run_for(Duration::from_secs(30));
    let pods = mesh.get_pods();
    assert_eq!((pods.rows.len(), pods.rows[0].status.as_str(), pods.rows[0].restarts), (1, "Completed", 2), "{pods}");
    assert_eq!(finished(&mesh), ["1 0 "]);
}

#[test]
fn with_on_failure_the_tries_of_the_kubelet_count_against_the_limit() {
    let mut mesh = start();
    mesh.apply(job("fails", "OnFailure", "  backoffLimit: 2\n")).run_for(Duration::from_secs(60));
    assert_eq!(finished(&mesh), ["0 0 BackoffLimitExceeded"]);
    assert_eq!(mesh.get_pods().rows, [], "its pod is deleted, for it would go on trying");
}

#[test]
fn a_stand_in_has_nothing_to_do_in_a_job() {
    let mut mesh = start();
    mesh.apply(job("registry.corp/migrate:1", "Never", "  completions: 2\n")).run_for(Duration::from_secs(10));
    assert_eq!(statuses(&mesh), ["Completed", "Completed"]);
}

#[test]
fn a_job_at_work_for_longer_than_its_deadline_is_given_up_with_its_pods() {
    let mut mesh = start();
    mesh.apply(job("serves", "Never", "  activeDeadlineSeconds: 20\n")).run_for(Duration::from_secs(19));
    assert_eq!((statuses(&mesh), finished(&mesh)), (vec!["Running".to_owned()], vec![]));
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(finished(&mesh), ["0 0 DeadlineExceeded"]);
    mesh.run_for(Duration::from_secs(30));
    assert_eq!(mesh.get_pods().rows, []);
    let error = mesh.try_wait_ready(&["load"], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains("load: the Job has failed: DeadlineExceeded"), "{error}");
}

#[test]
fn a_deadline_also_ends_a_job_that_waits_to_try_again() {
    let mut mesh = start();
    mesh.apply(job("fails", "Never", "  activeDeadlineSeconds: 20\n")).run_for(Duration::from_secs(60));
    assert_eq!((finished(&mesh), statuses(&mesh).len()), (vec!["0 2 DeadlineExceeded".to_owned()], 2));
}

#[test]
fn the_time_of_a_suspended_job_begins_anew() {
    let mut mesh = start();
    mesh.apply(job("serves", "Never", "  activeDeadlineSeconds: 20\n")).run_for(Duration::from_secs(15));
    mesh.patch("job/load", "spec: {suspend: true}").run_for(Duration::from_secs(60));
    let table = mesh.get(Listed::Jobs).to_string();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["load", "Suspended", "0/1", "75s"], "its AGE alone: {table}");
    mesh.patch("job/load", "spec: {suspend: false}").run_for(Duration::from_secs(15));
    assert_eq!(finished(&mesh), [""; 0]);
    mesh.run_for(Duration::from_secs(6));
    assert_eq!(finished(&mesh), ["0 0 DeadlineExceeded"]);
}

#[test]
fn a_job_that_has_come_to_its_end_is_deleted_when_its_time_is_over() {
    let mut mesh = start();
    mesh.apply(job("work", "Never", "  ttlSecondsAfterFinished: 60\n")).run_for(Duration::from_secs(50));
    assert_eq!((statuses(&mesh), finished(&mesh)), (vec!["Completed".to_owned()], vec!["1 0 ".to_owned()]));
    mesh.run_for(Duration::from_secs(20));
    assert_eq!(mesh.get_pods().rows, []);
    let error = mesh.try_wait_ready(&["load"], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.contains("workload `load` does not exist"), "{error}");
    mesh.apply(job("fails", "Never", "  backoffLimit: 0\n  ttlSecondsAfterFinished: 0\n"));
    mesh.run_for(Duration::from_secs(10));
    assert_eq!((mesh.get_pods().rows, finished(&mesh).last().unwrap().as_str()), (vec![], "0 1 BackoffLimitExceeded"));
}

#[test]
fn what_the_api_server_does_not_change_is_refused() {
    let mut mesh = start();
    mesh.apply(job("work", "Never", ""));
    assert_eq!(mesh.try_apply(job("work", "Never", "")).unwrap().objects[0].1.as_str(), "unchanged");
    mesh.run_for(Duration::from_secs(10));
    // How it fares is no part of what is applied.
    assert_eq!(mesh.try_apply(job("work", "Never", "")).unwrap().objects[0].1.as_str(), "unchanged");
    let error = mesh.try_apply(job("fails", "Never", "")).unwrap_err();
    let ApplyError::Refused(errors) = error else { panic!("{error}") };
    assert!(errors[0].to_string().contains("spec.template: field is immutable"), "{}", errors[0]);
}
