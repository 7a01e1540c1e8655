//! A pod on the machine's own sockets and files: a directory for `/`, and an environment of its own.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

pub mod istiod;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hermesh_runtime::Runtime;
use hermesh_test_support::{Process, Setup};

/// A process with these arguments and this environment.
pub fn process(args: &[&str], vars: &[(&str, &str)]) -> Process {
    let setup = Setup::new().args(args.iter().copied());
    Process::new(vars.iter().fold(setup, |setup, (name, value)| setup.var(name, value)))
}

/// Polls until `done`, and fails with `what` after 20 seconds.
pub async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !done().await {
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A port that is free now.
pub async fn free_port(rt: &Runtime) -> u16 {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = rt.listen(any.into()).await.unwrap();
    listener.local_address().tcp().unwrap().port()
}

/// A directory that stands for a pod's `/`, with what kubelet mounts.
pub struct PodFiles {
    pub root: tempfile::TempDir,
}

impl PodFiles {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in ["var/lib/istio/data", "etc/istio/proxy", "etc/istio/pod"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        Self { root }
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    pub async fn write(&self, rt: &Runtime, path: &str, contents: &str) {
        let path = self.path(path);
        rt.create_dir_all(path.parent().unwrap(), 0o755).await.unwrap();
        rt.write(path, contents.to_owned(), 0o644).await.unwrap();
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }
}
