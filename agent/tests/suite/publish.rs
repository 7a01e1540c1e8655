//! Certificate files, as whoever reads the directory sees them.

use crate::common::{PodFiles, process};
use hermesh_agent::publish::{Certificates, FILES, publish};
use hermesh_runtime::Runtime;

fn certificates(generation: u32) -> Certificates {
    let text = |name: &str| format!("{name} {generation}\n");
    Certificates { key: text("key"), chain: text("chain"), root: text("root") }
}

/// What an application reads through the three names, in the order of [`FILES`].
async fn read(rt: &Runtime, pod: &PodFiles) -> Vec<Option<String>> {
    let mut contents = Vec::new();
    for name in FILES {
        let read = rt.read(pod.path("var/lib/istio/data").join(name)).await.ok();
        contents.push(read.map(|bytes| String::from_utf8(bytes.into()).unwrap()));
    }
    contents
}

#[tokio::test]
async fn each_publication_replaces_all_three_and_leaves_no_litter() {
    let (pod, rt) = (PodFiles::new(), process(&[], &[]).rt);
    let directory = pod.path("var/lib/istio/data");
    for generation in 1..=3 {
        publish(&rt, &directory, &certificates(generation), 0o600).await.unwrap();
        let expected = [format!("key {generation}\n"), format!("chain {generation}\n"), format!("root {generation}\n")];
        assert_eq!(read(&rt, &pod).await, expected.map(Some));
    }
    let names: Vec<String> = rt
        .list(&directory)
        .await
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(names.len(), 5, "three links, `..data` and the one set it points to: {names:?}");
    assert_eq!(rt.metadata(directory.join("key.pem")).await.unwrap().mode, 0o600);
}

#[tokio::test]
async fn plain_files_of_another_agent_are_replaced() {
    let (pod, rt) = (PodFiles::new(), process(&[], &[]).rt);
    for name in FILES {
        pod.write(&rt, &format!("var/lib/istio/data/{name}"), "old").await;
    }
    publish(&rt, &pod.path("var/lib/istio/data"), &certificates(1), 0o644).await.unwrap();
    assert_eq!(read(&rt, &pod).await[1].as_deref(), Some("chain 1\n"));
    assert_eq!(rt.metadata(pod.path("var/lib/istio/data/key.pem")).await.unwrap().mode, 0o644);
}

#[tokio::test]
async fn what_a_crash_left_behind_is_no_obstacle() {
    let (pod, rt) = (PodFiles::new(), process(&[], &[]).rt);
    let directory = pod.path("var/lib/istio/data");
    rt.symlink("nowhere", directory.join("..data_tmp")).await.unwrap();
    rt.symlink("nowhere", directory.join("key.pem.tmp")).await.unwrap();
    publish(&rt, &directory, &certificates(1), 0o600).await.unwrap();
    assert_eq!(read(&rt, &pod).await[0].as_deref(), Some("key 1\n"));
}

#[tokio::test]
async fn a_directory_that_is_missing_is_an_error_and_stays_missing() {
    let (pod, rt) = (PodFiles::new(), process(&[], &[]).rt);
    let missing = pod.path("nowhere/at/all");
    let published = publish(&rt, &missing, &certificates(1), 0o600).await;
    assert!(published.is_err());
    assert!(!rt.exists(&missing).await);
}
