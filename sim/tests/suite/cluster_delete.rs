//! What is deleted ends in its own time, and what is applied after it under the same name is another.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hermesh::{ApplyError, Call, Mesh, PodRow, image};

fn manifest(name: &str) -> String {
    format!("{}/../examples/grpc-echo/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn deployed() -> Mesh {
    let mut mesh = hermesh::mesh().seed(7).namespace("echo-grpc").start();
    mesh.apply([manifest("namespace.yaml"), manifest("grpc-echo.yaml")]).wait_ready();
    mesh
}

/// The pods that end, and those that do not.
fn parted(mesh: &Mesh) -> (Vec<PodRow>, Vec<PodRow>) {
    mesh.get_pods().rows.into_iter().partition(PodRow::is_terminating)
}

fn names(rows: &[PodRow]) -> BTreeSet<String> {
    rows.iter().map(|row| row.name.clone()).collect()
}

#[test]
fn pods_of_a_deleted_deployment_are_terminating_at_once() {
    let mut mesh = deployed();
    let before = mesh.get_pods();
    mesh.delete(manifest("grpc-echo.yaml"));
    let after = mesh.get_pods();
    let told = |row: &PodRow| (row.ready.clone(), row.status.clone());
    assert_eq!(names(&before.rows), names(&after.rows));
    assert!(after.rows.iter().all(|row| told(row) == ("2/2".to_owned(), "Terminating".to_owned())), "{after}");
    mesh.run_for(Duration::from_secs(40));
    assert_eq!(mesh.get_pods().rows, []);
}

#[test]
fn a_deployment_applied_again_has_pods_of_its_own() {
    let mut mesh = deployed();
    let old = mesh.get_pods().rows;
    mesh.delete(manifest("grpc-echo.yaml")).apply(manifest("grpc-echo.yaml"));
    assert_eq!(names(&parted(&mesh).0), names(&old));
    mesh.run_for(Duration::from_millis(500));
    let (ending, new) = parted(&mesh);
    assert_eq!((names(&ending), new.len()), (names(&old), 2), "{}", mesh.get_pods());
    // Name and address of a pod that ends are its own until it is gone.
    assert!(names(&new).is_disjoint(&names(&old)), "{}", mesh.get_pods());
    let address = |row: &PodRow| row.ip.expect("it was started");
    let (old_addresses, new_addresses): (BTreeSet<_>, BTreeSet<_>) =
        (ending.iter().map(address).collect(), new.iter().map(address).collect());
    assert!(new_addresses.is_disjoint(&old_addresses), "{old_addresses:?} {new_addresses:?}");
    // The hash is that of the template, which is the same.
    let hash = |name: &String| name.rsplit('-').nth(1).map(str::to_owned);
    assert_eq!(names(&new).iter().map(hash).collect::<Vec<_>>(), names(&old).iter().map(hash).collect::<Vec<_>>());

    mesh.wait_ready();
    let report = mesh.call(Call::new("echo-v1", "xds:///echo:7070").count(10).qps(10));
    assert!(report.is_ok(), "{report:#?}");
    let hosts: BTreeSet<String> = report.answers.iter().map(|answer| answer.hostname.clone()).collect();
    assert_eq!(hosts, names(&new));
    mesh.run_for(Duration::from_secs(40));
    assert_eq!(names(&mesh.get_pods().rows), names(&new));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the manifest is a file of the machine")]
fn a_deployment_that_recreates_its_pods_does_not_wait_for_those_of_its_predecessor() {
    let text = std::fs::read_to_string(manifest("grpc-echo.yaml")).unwrap();
    let recreate = text.replace("spec:\n  replicas: 1\n", "spec:\n  replicas: 1\n  strategy: {type: Recreate}\n");
    assert_ne!(text, recreate);
    let changed = recreate.replace("- v1", "- v1-changed").replace("- v2", "- v2-changed");
    let mut mesh = deployed();
    mesh.delete(manifest("grpc-echo.yaml")).apply(changed).run_for(Duration::from_millis(500));
    let (ending, new) = parted(&mesh);
    assert_eq!((ending.len(), new.len()), (2, 2), "{}", mesh.get_pods());
}

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
";

fn pod(image: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: web}}
spec:
  containers:
  - {{name: server, image: {image}}}
"
    )
}

/// A mesh with a pod `web` of the image `old`, and how often a container of that was started.
fn with_pod() -> (Mesh, Arc<AtomicUsize>) {
    let started = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&started);
    let old = move |process: hermesh::Process| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            process.runtime().terminated().await;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
    };
    let mut mesh = hermesh::mesh().image("old", old).image("*", image::stand_in).seed(7).namespace("shop").start();
    mesh.apply(SHOP).apply(pod("old")).wait_ready();
    (mesh, started)
}

#[test]
fn a_pod_applied_while_it_ends_ends_all_the_same() {
    let (mut mesh, _) = with_pod();
    mesh.delete(pod("old"));
    let applied = mesh.try_apply(pod("old")).unwrap();
    assert_eq!(applied.objects[0].1.as_str(), "unchanged");
    let [note] = applied.notes.as_slice() else { panic!("{:?}", applied.notes) };
    let text = "inline:4:18: warning: metadata.name: the Pod is being deleted: it ends all the same, and no other \
                takes its place; apply it once it is gone, after its grace period at the latest";
    assert_eq!(note.to_string(), text);

    let error = mesh.try_apply(pod("new")).unwrap_err();
    let ApplyError::Refused(errors) = error else { panic!("{error}") };
    assert!(errors[0].to_string().contains("the Pod is being deleted: apply it once it is gone"), "{}", errors[0]);

    mesh.run_for(Duration::from_secs(4));
    assert_eq!(mesh.get_pods().rows[0].status, "Terminating");
    mesh.run_for(Duration::from_secs(2));
    assert_eq!(mesh.get_pods().rows, []);
}

#[test]
fn a_pod_applied_at_the_moment_at_which_one_of_its_name_is_gone_is_another() {
    let (mut mesh, started) = with_pod();
    mesh.delete(pod("old"));
    while !mesh.get_pods().rows.is_empty() {
        mesh.run_for(Duration::from_millis(1));
    }
    mesh.apply(pod("new")).wait_ready();
    assert_eq!(started.load(Ordering::Relaxed), 1, "the kubelet has started the pod that is gone");
    assert_eq!((mesh.get_pods().rows[0].status.as_str(), mesh.get_pods().rows[0].restarts), ("Running", 0));
}
