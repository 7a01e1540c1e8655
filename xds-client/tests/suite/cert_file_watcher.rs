//! The `file_watcher` certificate provider on real files: late, renewed, broken and mismatched ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::mesh_support::{Authority, Recorder, eventually, recorder};
use hermesh_runtime::Runtime;
use hermesh_xds::bootstrap::{FileWatcherConfig, IdentityFiles};
use hermesh_xds::certificate_provider::FileWatcher;

const FIRST: &str = "spiffe://cluster.local/ns/a/sa/first";
const SECOND: &str = "spiffe://cluster.local/ns/a/sa/second";

struct Files {
    rt: Runtime,
    recorder: Recorder,
    authority: Authority,
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let (rt, recorder) = recorder::runtime();
        let authority = Authority::new(&rt);
        Self { rt, recorder, authority, directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    async fn write(&self, file: &str, contents: &str) {
        self.rt.write_atomic(self.path(file), contents.to_owned(), 0o600).await.unwrap();
    }

    fn watch(&self, refresh: Duration) -> FileWatcher {
        self.watch_in(self.directory.path(), refresh)
    }

    fn watch_in(&self, directory: &Path, refresh: Duration) -> FileWatcher {
        let config = FileWatcherConfig {
            identity: Some(IdentityFiles {
                certificate_file: directory.join("cert.pem"),
                private_key_file: directory.join("key.pem"),
            }),
            ca_certificate_file: Some(directory.join("roots.pem")),
            refresh_interval: refresh,
        };
        FileWatcher::start(&self.rt, "default", config)
    }

    async fn write_pair(&self, spiffe: &str) {
        let issued = self.authority.issue(&self.rt, spiffe);
        self.write("cert.pem", &issued.chain).await;
        self.write("key.pem", &issued.key).await;
        self.write("roots.pem", &self.authority.roots()).await;
    }

    fn loaded(&self, what: &str) -> usize {
        self.recorder.of("cert.loaded").iter().filter(|event| event.fields["what"] == what).count()
    }
}

#[tokio::test]
async fn files_that_come_late_are_found_long_before_the_refresh_interval() {
    let files = Files::new();
    let watcher = files.watch(Duration::from_secs(900));
    let nothing = tokio::time::timeout(Duration::from_millis(100), watcher.identity()).await;
    assert!(nothing.is_err(), "whoever asks waits");
    files.write_pair(FIRST).await;
    let identity = tokio::time::timeout(Duration::from_secs(5), watcher.identity()).await.expect("it is found");
    assert_eq!(identity.spiffe_id().as_deref(), Some(FIRST));
    tokio::time::timeout(Duration::from_secs(5), watcher.roots()).await.expect("the roots are found, too");
    let loaded = files.recorder.of("cert.loaded");
    let identity = loaded.iter().find(|event| event.fields["what"] == "identity").unwrap();
    assert_eq!(identity.fields["spiffe"], FIRST);
    assert!(identity.fields["not_after"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn renewed_files_are_taken_over_at_the_next_refresh() {
    let files = Files::new();
    files.write_pair(FIRST).await;
    let watcher = files.watch(Duration::from_millis(20));
    assert_eq!(watcher.identity().await.spiffe_id().as_deref(), Some(FIRST));
    files.write_pair(SECOND).await;
    eventually("the new pair is loaded", || files.loaded("identity") == 2).await;
    assert_eq!(watcher.identity().await.spiffe_id().as_deref(), Some(SECOND));
    assert_eq!(files.loaded("roots"), 1, "the same roots are no news");
}

#[tokio::test]
async fn a_key_that_does_not_belong_to_the_certificate_changes_nothing() {
    let files = Files::new();
    files.write_pair(FIRST).await;
    let watcher = files.watch(Duration::from_millis(20));
    watcher.identity().await;
    let other = files.authority.issue(&files.rt, SECOND);
    files.write("key.pem", &other.key).await;
    eventually("the pair is refused", || !files.recorder.of("cert.refused").is_empty()).await;
    assert_eq!(watcher.identity().await.spiffe_id().as_deref(), Some(FIRST));
    files.write("cert.pem", &other.chain).await;
    eventually("the pair is whole again", || files.loaded("identity") == 2).await;
    assert_eq!(watcher.identity().await.spiffe_id().as_deref(), Some(SECOND));
}

#[tokio::test]
async fn a_swapped_symbolic_link_is_noticed() {
    let files = Files::new();
    for (directory, spiffe) in [("v1", FIRST), ("v2", SECOND)] {
        files.rt.create_dir_all(files.path(directory), 0o700).await.unwrap();
        let issued = files.authority.issue(&files.rt, spiffe);
        files.write(&format!("{directory}/cert.pem"), &issued.chain).await;
        files.write(&format!("{directory}/key.pem"), &issued.key).await;
        files.write(&format!("{directory}/roots.pem"), &files.authority.roots()).await;
    }
    files.rt.symlink("v1", files.path("data")).await.unwrap();
    let watcher = files.watch_in(&files.path("data"), Duration::from_millis(20));
    watcher.identity().await;
    files.rt.symlink("v2", files.path("next")).await.unwrap();
    files.rt.rename(files.path("next"), files.path("data")).await.unwrap();
    eventually("the other directory is read", || files.loaded("identity") == 2).await;
    assert_eq!(watcher.identity().await.spiffe_id().as_deref(), Some(SECOND));
}

#[tokio::test]
async fn neither_events_nor_debug_output_hold_a_key() {
    let files = Files::new();
    files.write_pair(FIRST).await;
    let watcher = files.watch(Duration::from_millis(20));
    watcher.identity().await;
    let broken = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0c2VjcmV0\n-----END PRIVATE KEY-----\n";
    files.write("key.pem", broken).await;
    eventually("the key is refused", || !files.recorder.of("cert.refused").is_empty()).await;
    let told = format!("{:?} {watcher:?}", files.recorder.all());
    assert!(!told.contains("c2VjcmV0") && !told.contains("-----BEGIN"), "{told}");
}
