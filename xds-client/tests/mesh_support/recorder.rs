//! The operating system, with its events kept.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hermesh_runtime::{Address, AnyEvent, Backend, Draws, EventId, Level, Listener, Metadata, Runtime, Stream, Trail};
use rustls::crypto::CryptoProvider;
use serde_json::Value;

/// What happened so far.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<Recorded>>>);

#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) kind: &'static str,
    pub(crate) cause: Option<u64>,
    pub(crate) fields: Value,
}

impl Recorder {
    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn of(&self, kind: &str) -> Vec<Recorded> {
        self.all().into_iter().filter(|event| event.kind == kind).collect()
    }

    pub(crate) fn last(&self, kind: &str) -> Recorded {
        self.of(kind).pop().unwrap_or_else(|| panic!("no event {kind}"))
    }

    /// The kinds from an event back to its first cause.
    pub(crate) fn causes(&self, event: &Recorded) -> Vec<&'static str> {
        let all = self.all();
        let mut kinds = vec![event.kind];
        let mut cause = event.cause;
        while let Some(seq) = cause {
            let event = &all[seq as usize - 1];
            kinds.push(event.kind);
            cause = event.cause;
        }
        kinds
    }
}

pub(crate) fn runtime() -> (Runtime, Recorder) {
    let recorder = Recorder::default();
    let backend = Recording { os: hermesh_runtime::os::runtime(), recorder: recorder.clone() };
    (Runtime::new(backend), recorder)
}

struct Recording {
    os: Runtime,
    recorder: Recorder,
}

impl Backend for Recording {
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
        self.os.local_addresses()
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
        self.os.args()
    }

    fn var(&self, name: &str) -> Option<String> {
        self.os.var(name)
    }

    fn vars(&self) -> Vec<(String, String)> {
        self.os.vars()
    }

    fn hostname(&self) -> String {
        self.os.hostname()
    }

    fn terminated(&self) -> BoxFuture<'static, ()> {
        self.os.terminated()
    }

    fn wall(&self) -> Duration {
        self.os.wall()
    }

    /// The choices of a test are the same in every run.
    fn draws(&self, stream: &str) -> Draws {
        let name = stream.trim_end_matches(|c: char| c.is_ascii_hexdigit());
        Draws::new(1, name, 0)
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.os.fill(bytes);
    }

    fn crypto(&self) -> Arc<CryptoProvider> {
        self.os.crypto()
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        drop(self.os.spawn(name, task));
    }

    fn records(&self, level: Level) -> bool {
        level <= Level::Debug
    }

    fn emit(&self, cause: Option<EventId>, event: Box<dyn AnyEvent>) -> Option<EventId> {
        let mut json = Vec::new();
        event.write_json(&mut json);
        let fields = serde_json::from_slice(&json).expect("an event is a JSON object");
        let mut events = self.recorder.0.lock().unwrap();
        events.push(Recorded { kind: event.kind(), cause: cause.map(EventId::seq), fields });
        NonZeroU64::new(events.len() as u64).map(EventId::new)
    }
}
