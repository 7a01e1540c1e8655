//! The runtime behind a [`Process`](crate::Process): the machine's files, clocks and entropy, and what the test
//! decides.

use std::io;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hermesh_runtime::{Address, AnyEvent, Draws, EventId, Level, Listener, Metadata, Runtime, Stream, Trail};
use rustls::crypto::CryptoProvider;

use crate::{Network, Recorder, Setup, Signal, Tasks};

pub(crate) struct Backend {
    os: Runtime,
    setup: Setup,
    network: Box<dyn Network>,
    events: Recorder,
    terminate: Arc<Signal>,
    tasks: Tasks,
}

impl Backend {
    pub(crate) fn new(mut setup: Setup, events: Recorder, terminate: Arc<Signal>, tasks: Tasks) -> Self {
        let os = hermesh_runtime::os::with_args(Vec::new());
        let network = setup.network.take().unwrap_or_else(|| Box::new(Kernel(os.clone())));
        Self { os, setup, network, events, terminate, tasks }
    }
}

/// The machine's network.
struct Kernel(Runtime);

impl Network for Kernel {
    fn connect(&self, to: Address) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.0.connect(to)
    }

    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        self.0.listen(at)
    }

    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.0.resolve(&host)
    }
}

impl hermesh_runtime::Backend for Backend {
    fn connect(&self, to: Address, _trail: Trail) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.network.connect(to)
    }

    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        self.network.listen(at)
    }

    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.network.resolve(host)
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
        self.setup.args.clone()
    }

    fn var(&self, name: &str) -> Option<String> {
        self.setup.vars.get(name).cloned()
    }

    fn vars(&self) -> Vec<(String, String)> {
        self.setup.vars.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn hostname(&self) -> String {
        "test".to_owned()
    }

    fn terminated(&self) -> BoxFuture<'static, ()> {
        let terminate = Arc::clone(&self.terminate);
        Box::pin(async move { terminate.wait().await })
    }

    fn wall(&self) -> Duration {
        self.os.wall()
    }

    /// The same in every run: stream names that end in a port or a serial number are one stream.
    fn draws(&self, stream: &str) -> Draws {
        Draws::new(1, stream.trim_end_matches(|c: char| c.is_ascii_hexdigit()), 0)
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

    fn records(&self, level: Level) -> bool {
        level <= Level::Debug
    }

    fn emit(&self, cause: Option<EventId>, event: Box<dyn AnyEvent>) -> Option<EventId> {
        NonZeroU64::new(self.events.record(cause, &*event)).map(EventId::new)
    }
}
