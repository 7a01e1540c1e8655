//! Init containers and native sidecars: in which order they start and end, and what `kubectl get pods` says meanwhile.
//!
//! Source: the Kubernetes documentation, "Init Containers" and "Sidecar Containers".

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hermesh::engine::Exit;
use hermesh::{Mesh, image};

use crate::cluster_history::{NAMESPACE, lives, statuses};

/// A Pod `web` with these fields of its spec.
fn pod(spec: &str) -> String {
    format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web, labels: {{app: web}}}}\nspec:\n{spec}")
}

/// Images: `work` does something for two seconds, `fails` fails, `flaky` fails twice and then works, `slow` takes three
/// seconds to end, everything else serves.
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
        .image("slow", |process| async move {
            process.runtime().terminated().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        })
        .image("*", image::stand_in);
    let mut mesh = builder.seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE);
    mesh
}

#[test]
fn init_containers_run_one_after_the_other_and_then_the_others() {
    let mut mesh = start();
    let spec = "  initContainers: [{name: a, image: work}, {name: b, image: work}]
  containers: [{name: server, image: server}, {name: other, image: slow}]\n";
    mesh.apply(pod(spec)).wait_ready();
    let expected = ["a started", "a exited", "b started", "b exited", "server started", "other started"];
    assert_eq!(lives(&mesh, "shop/web"), expected);
    let expected = ["0/2 Init:0/2", "0/2 Init:1/2", "0/2 PodInitializing", "1/2 PodInitializing", "2/2 Running"];
    assert_eq!(statuses(&mesh, "shop/web"), expected);
    assert_eq!(mesh.get_pods().rows[0].restarts, 0);
}

#[test]
fn an_init_container_that_fails_is_tried_again_with_longer_waits_and_the_pod_goes_on_once_it_works() {
    let mut mesh = start();
    let spec = "  initContainers: [{name: setup, image: flaky}]
  containers: [{name: server, image: server}]\n";
    mesh.apply(pod(spec)).run_for(Duration::from_secs(5));
    let error = mesh.try_wait_ready(&["web"], Duration::from_secs(1)).unwrap_err().to_string();
    let expected = "web is 0/1 Init:CrashLoopBackOff (setup: Error, exit code 3)";
    assert!(error.ends_with(expected), "{error}");
    assert_eq!(mesh.get_pods().rows[0].restarts, 1);
    mesh.wait_ready();
    let expected = [
        "0/1 Init:0/1",
        "0/1 Init:Error",
        "0/1 Init:0/1",
        "0/1 Init:CrashLoopBackOff",
        "0/1 Init:0/1",
        "0/1 PodInitializing",
        "1/1 Running",
    ];
    assert_eq!(statuses(&mesh, "shop/web"), expected);
}

#[test]
fn a_pod_that_never_restarts_fails_with_its_init_container() {
    let mut mesh = start();
    let spec = "  restartPolicy: Never
  initContainers: [{name: log, image: slow, restartPolicy: Always}, {name: setup, image: fails}]
  containers: [{name: server, image: server}]\n";
    mesh.apply(pod(spec)).run_for(Duration::from_secs(60));
    let expected = ["log started", "setup started", "setup exited", "log terminating", "log exited"];
    assert_eq!(lives(&mesh, "shop/web"), expected);
    assert_eq!(mesh.get_pods().rows[0].status, "Init:Error");
}

#[test]
fn the_next_container_waits_until_a_sidecar_has_come_up() {
    let mut mesh = start();
    let spec = "  initContainers:
  - name: log
    image: log
    restartPolicy: Always
    ports: [{containerPort: 9100}]
    lifecycle: {postStart: {sleep: {seconds: 2}}}
    startupProbe: {tcpSocket: {port: 9100}, initialDelaySeconds: 5, periodSeconds: 1}
  - {name: setup, image: work}
  containers: [{name: server, image: server}]\n";
    mesh.apply(pod(spec)).run_for(Duration::from_secs(6));
    // Its hook is done, and its probe has not passed.
    assert_eq!(lives(&mesh, "shop/web"), ["log started"]);
    assert_eq!(mesh.get_pods().rows[0].status, "Init:0/2");
    mesh.wait_ready();
    assert_eq!(lives(&mesh, "shop/web"), ["log started", "setup started", "setup exited", "server started"]);
    let row = &mesh.get_pods().rows[0];
    assert_eq!((row.ready.as_str(), row.status.as_str()), ("2/2", "Running"));
}

/// Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go` (`startContainer`, which calls `killContainer`
/// without a grace period of its own).
#[test]
fn a_container_whose_post_start_hook_fails_ends_as_others_do_before_the_next_one_starts() {
    let mut mesh = start();
    let spec = "  restartPolicy: Never
  containers:
  - name: server
    image: server
    lifecycle: {postStart: {exec: {command: ['false']}}, preStop: {sleep: {seconds: 5}}}
  - {name: other, image: server}\n";
    mesh.apply(pod(spec)).run_for(Duration::from_secs(4));
    assert_eq!(lives(&mesh, "shop/web"), ["server started"], "its preStop hook runs");
    mesh.run_for(Duration::from_secs(10));
    assert_eq!(lives(&mesh, "shop/web"), ["server started", "server terminating", "server exited", "other started"]);
    assert_eq!(mesh.get_pods().rows[0].exits["server"].code, 0);
}

#[test]
fn sidecars_end_after_the_ordinary_containers_in_reverse_order() {
    let mut mesh = start();
    let spec = "  initContainers:
  - {name: a, image: slow, restartPolicy: Always}
  - {name: b, image: slow, restartPolicy: Always}
  containers: [{name: server, image: slow}, {name: other, image: slow}]\n";
    mesh.apply(pod(spec)).wait_ready();
    mesh.delete(pod(spec)).run_for(Duration::from_secs(20));
    let lives = lives(&mesh, "shop/web");
    let expected = [
        "server terminating",
        "other terminating",
        "server exited",
        "other exited",
        "b terminating",
        "b exited",
        "a terminating",
        "a exited",
    ];
    assert_eq!(lives[4..], expected);
    assert_eq!(mesh.get_pods().rows, []);
}

#[test]
fn a_sidecar_that_gets_its_signal_late_has_two_seconds_left() {
    let mut mesh = start();
    let spec = "  terminationGracePeriodSeconds: 1
  initContainers: [{name: log, image: slow, restartPolicy: Always}]
  containers: [{name: server, image: slow}]\n";
    mesh.apply(pod(spec)).wait_ready();
    mesh.delete(pod(spec)).run_for(Duration::from_secs(20));
    let expected = ["server terminating", "log terminating", "server killed", "log killed"];
    assert_eq!(lives(&mesh, "shop/web")[2..], expected);
}

#[test]
fn a_pod_whose_work_is_done_ends_although_sidecars_run() {
    let mut mesh = start();
    let spec = "  restartPolicy: OnFailure
  initContainers: [{name: log, image: slow, restartPolicy: Always}]
  containers: [{name: job, image: work}]\n";
    mesh.apply(pod(spec)).run_for(Duration::from_secs(30));
    let expected = ["log started", "job started", "job exited", "log terminating", "log exited"];
    assert_eq!(lives(&mesh, "shop/web"), expected);
    let expected = ["0/2 Init:0/1", "1/2 PodInitializing", "2/2 Running", "1/2 Completed", "0/2 Completed"];
    assert_eq!(statuses(&mesh, "shop/web"), expected);
    // It has succeeded, and so nobody waits for it.
    mesh.wait_ready();
}

#[test]
fn a_sidecar_starts_again_whatever_the_pods_restart_policy() {
    let mut mesh = start();
    let spec = "  restartPolicy: Never
  initContainers: [{name: log, image: log, restartPolicy: Always}]
  containers: [{name: server, image: server}]\n";
    mesh.apply(pod(spec)).wait_ready();
    mesh.kill("web/0/log").run_for(Duration::from_secs(1));
    mesh.wait_ready();
    assert_eq!(mesh.get_pods().rows[0].restarts, 1, "{}", mesh.get_pods());
    assert_eq!(lives(&mesh, "shop/web"), ["log started", "server started", "log killed", "log started"]);
}
