//! Images that cannot be pulled: ErrImagePull, ImagePullBackOff, and what follows when they can be.
//!
//! Source: kubernetes `pkg/kubelet/images/image_manager.go` (`EnsureImageExists`).

use std::time::Duration;

use hermesh::{Images, Mesh, Registry, image};

use crate::cluster_history::{NAMESPACE, events, second, statuses};

fn pod(name: &str, containers: &str) -> String {
    format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec:\n  containers: {containers}\n")
}

fn start() -> (Mesh, Registry) {
    let idle = |process: hermesh::Process| async move { process.runtime().terminated().await };
    let images = Images::new().add("corp/other:*", idle).add("*", image::stand_in);
    let registry = images.registry();
    let mut mesh = hermesh::mesh().images(images).seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE);
    (mesh, registry)
}

#[test]
fn a_pull_that_fails_is_tried_again_after_ten_seconds_and_then_after_twice_as_long_each_time() {
    let (mut mesh, registry) = start();
    registry.withhold("corp/web:*");
    mesh.apply(pod("web", "[{name: server, image: 'corp/web:1'}]")).run_for(Duration::from_secs(1300));
    let failures: Vec<u64> = events(&mesh, &["image.missing"]).iter().map(second).collect();
    let waits: Vec<u64> = failures.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Until the registry has answered, up to a second passes.
    let expected = [10, 20, 40, 80, 160, 300, 300, 300];
    assert_eq!(waits.len(), expected.len(), "{waits:?}");
    assert!(waits.iter().zip(expected).all(|(wait, expected)| (expected..=expected + 1).contains(wait)), "{waits:?}");
    assert_eq!(statuses(&mesh, "shop/web")[..3], ["0/1 ContainerCreating", "0/1 ErrImagePull", "0/1 ImagePullBackOff"]);
    let error = mesh.try_wait_ready(&["web"], Duration::from_secs(1)).unwrap_err().to_string();
    assert!(error.ends_with("web is 0/1 ImagePullBackOff"), "{error}");
}

#[test]
fn a_pod_goes_on_when_its_image_is_there_after_all() {
    let (mut mesh, registry) = start();
    registry.withhold("corp/web:*");
    // The other container does not wait for it.
    mesh.apply(pod("web", "[{name: server, image: 'corp/web:1'}, {name: other, image: 'corp/other:1'}]"));
    mesh.run_for(Duration::from_secs(5));
    let row = &mesh.get_pods().rows[0];
    assert_eq!((row.ready.as_str(), row.status.as_str()), ("1/2", "ImagePullBackOff"));
    registry.restore("corp/web:*");
    mesh.run_for(Duration::from_secs(4));
    assert_eq!(mesh.get_pods().rows[0].status, "ImagePullBackOff", "it is too early to try again");
    mesh.wait_ready();
    assert_eq!((mesh.get_pods().rows[0].ready.as_str(), mesh.get_pods().rows[0].restarts), ("2/2", 0));
}

#[test]
fn a_node_keeps_the_images_that_it_has() {
    let (mut mesh, registry) = start();
    mesh.apply(pod("web", "[{name: server, image: 'corp/web:1'}]")).wait_ready();
    registry.withhold("*");
    mesh.apply(pod("web-2", "[{name: server, image: 'corp/web:1'}]")).wait_ready();
    mesh.kill("web/0/server").run_for(Duration::from_secs(1));
    mesh.wait_ready();
    assert_eq!(events(&mesh, &["image.missing"]).len(), 0);
}

#[test]
fn nothing_starts_before_the_image_of_an_init_container_is_there() {
    let (mut mesh, registry) = start();
    registry.withhold("corp/setup:*");
    let containers = "[{name: server, image: 'corp/web:1'}]\n  initContainers: [{name: setup, image: 'corp/setup:1'}]";
    mesh.apply(pod("web", containers)).run_for(Duration::from_secs(5));
    assert_eq!(mesh.get_pods().rows[0].status, "Init:ImagePullBackOff");
    registry.restore("corp/setup:*");
    mesh.wait_ready();
}
