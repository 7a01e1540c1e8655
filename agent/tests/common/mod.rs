//! A pod on the machine's own sockets and files: a directory for `/`, an environment of its own, and its events kept.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hermesh_runtime::latest::Latest;
use hermesh_runtime::{
    Address, AnyEvent, Backend, Draws, EventId, Level, Listener, Metadata, Runtime, Stream, Task, Trail,
};
use rustls::crypto::CryptoProvider;

/// What an event was: kind, cause, JSON.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub kind: &'static str,
    pub cause: Option<u64>,
    pub json: String,
}

/// A process with an environment, arguments and a switch to terminate it.
#[derive(Clone)]
pub struct Process {
    pub rt: Runtime,
    pub events: Arc<Mutex<Vec<Recorded>>>,
    terminate: Latest<bool>,
    tasks: Tasks,
}

/// All tasks of a process.
type Tasks = Arc<Mutex<Vec<Task>>>;

impl Process {
    pub fn new(args: &[&str], vars: &[(&str, &str)]) -> Self {
        let events: Arc<Mutex<Vec<Recorded>>> = Arc::default();
        let terminate = Latest::new(false);
        let tasks = Tasks::default();
        let backend = Environment {
            tasks: Arc::clone(&tasks),
            os: hermesh_runtime::os::runtime(),
            args: args.iter().map(ToString::to_string).collect(),
            vars: vars.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            events: Arc::clone(&events),
            terminate: terminate.clone(),
        };
        Self { rt: Runtime::new(backend), events, terminate, tasks }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.terminate.replace(true);
    }

    /// Ends all its tasks, as SIGKILL does.
    pub fn kill(&self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
    }

    /// The kinds of all events so far, in order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.events.lock().unwrap().iter().map(|event| event.kind).collect()
    }

    /// The last event of a kind.
    pub fn last(&self, kind: &str) -> Option<Recorded> {
        self.events.lock().unwrap().iter().rev().find(|event| event.kind == kind).cloned()
    }

    /// How many events of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.events.lock().unwrap().iter().filter(|event| event.kind == kind).count()
    }

    /// The kinds along the chain of causes, from the last event of `kind` back to the first cause.
    pub fn causes(&self, kind: &str) -> Vec<&'static str> {
        let events = self.events.lock().unwrap();
        let mut chain = Vec::new();
        let mut at = events.iter().rposition(|event| event.kind == kind);
        while let Some(index) = at {
            chain.push(events[index].kind);
            at = events[index].cause.map(|seq| seq as usize - 1);
        }
        chain
    }
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

struct Environment {
    tasks: Tasks,
    os: Runtime,
    args: Vec<String>,
    vars: BTreeMap<String, String>,
    events: Arc<Mutex<Vec<Recorded>>>,
    terminate: Latest<bool>,
}

impl Backend for Environment {
    fn connect(&self, to: Address, _trail: Trail) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.os.connect(to)
    }
    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        self.os.listen(at)
    }
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.os.resolve(&host)
    }
    fn local_addresses(&self) -> Vec<IpAddr> {
        Vec::new()
    }
    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Bytes>> {
        self.os.read(path)
    }
    fn write(&self, path: PathBuf, contents: Bytes, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.os.write(path, contents, mode)
    }
    fn rename(&self, from: PathBuf, to: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        self.os.rename(from, to)
    }
    fn symlink(&self, target: PathBuf, link: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        self.os.symlink(target, link)
    }
    fn read_link(&self, path: PathBuf) -> BoxFuture<'static, io::Result<PathBuf>> {
        self.os.read_link(path)
    }
    fn remove(&self, path: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        self.os.remove(path)
    }
    fn create_dir_all(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.os.create_dir_all(path, mode)
    }
    fn list(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<PathBuf>>> {
        self.os.list(path)
    }
    fn metadata(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Metadata>> {
        self.os.metadata(path)
    }
    fn set_mode(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.os.set_mode(path, mode)
    }
    fn args(&self) -> Vec<String> {
        self.args.clone()
    }
    fn var(&self, name: &str) -> Option<String> {
        self.vars.get(name).cloned()
    }
    fn vars(&self) -> Vec<(String, String)> {
        self.vars.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
    fn hostname(&self) -> String {
        "test".to_owned()
    }
    fn terminated(&self) -> BoxFuture<'static, ()> {
        let mut terminate = self.terminate.reader();
        Box::pin(async move {
            while !terminate.look(|terminate| *terminate) {
                terminate.changed().await;
            }
        })
    }
    fn wall(&self) -> Duration {
        self.os.wall()
    }
    fn draws(&self, stream: &str) -> Draws {
        self.os.draws(stream)
    }
    fn fill(&self, bytes: &mut [u8]) {
        self.os.fill(bytes);
    }
    fn crypto(&self) -> Arc<CryptoProvider> {
        self.os.crypto()
    }
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        let task = self.os.spawn(name, task);
        self.tasks.lock().unwrap().push(task);
    }
    fn records(&self, _level: Level) -> bool {
        true
    }
    fn emit(&self, cause: Option<EventId>, event: Box<dyn AnyEvent>) -> Option<EventId> {
        let mut json = Vec::new();
        event.write_json(&mut json);
        let json = String::from_utf8(json).unwrap();
        let mut events = self.events.lock().unwrap();
        events.push(Recorded { kind: event.kind(), cause: cause.map(EventId::seq), json });
        NonZeroU64::new(events.len() as u64).map(EventId::new)
    }
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
