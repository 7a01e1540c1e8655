//! The operating system as a world to run in: kernel sockets and files, its clock and entropy, its signals.
//!
//! Events become `tracing` events with target `hermesh`: field `kind`, field `fields` with the event as JSON, field
//! `seq`, and field `cause` where one is known. [`Logs`] writes them to standard error; [`Program`] is what programs
//! share.

#![expect(clippy::disallowed_methods, reason = "this is what the rest of the code goes through")]

mod files;
mod logs;
mod program;
mod sockets;

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::crypto::CryptoProvider;
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::{SignalKind, signal};

pub use logs::{LogFormat, LogLevel, Logs};
pub use program::Program;

use crate::latch::Latch;
use crate::{Address, AnyEvent, Backend, Draws, EventId, Level, Listener, Metadata, Runtime, Stream, Task, Trail};

/// The runtime of a program, with the arguments it was started with. Use it within a tokio runtime.
///
/// Call it once and clone what it returns: each call stands for a process of its own, and what is made with one finds
/// nothing in [`Runtime::shared`] of what is made with another.
///
/// ```
/// let rt = hermesh_runtime::os::runtime();
/// assert!(rt.wall().as_secs() > 1_700_000_000);
/// ```
#[must_use]
pub fn runtime() -> Runtime {
    with_args(std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect())
}

/// As [`runtime`], with these arguments: for programs that read some of theirs before.
#[must_use]
pub fn with_args(args: Vec<String>) -> Runtime {
    let random = SystemRandom::new();
    let mut draws_key = [0; 32];
    random.fill(&mut draws_key).expect("the kernel has entropy");
    Runtime::new(Os {
        args,
        random,
        draws_key,
        crypto: crate::crypto::os_provider(),
        events: AtomicU64::new(0),
        terminated: Arc::default(),
        listens_for_signals: Latch::default(),
    })
}

/// Runs `future` on tokio's own runtime.
#[track_caller]
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Task {
    let (future, task) = Task::of(future);
    tokio::spawn(future);
    task
}

struct Os {
    args: Vec<String>,
    random: SystemRandom,
    draws_key: [u8; 32],
    crypto: Arc<CryptoProvider>,
    events: AtomicU64,
    terminated: Arc<Latch<()>>,
    listens_for_signals: Latch<()>,
}

impl Backend for Os {
    fn connect(&self, to: Address, _trail: Trail) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        Box::pin(sockets::connect(to))
    }

    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        Box::pin(sockets::listen(at))
    }

    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        Box::pin(sockets::resolve(host))
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        sockets::local_addresses()
    }

    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Bytes>> {
        Box::pin(async move { tokio::fs::read(path).await.map(Bytes::from) })
    }

    fn write(&self, path: PathBuf, contents: Bytes, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(files::write(path, contents, mode))
    }

    fn rename(&self, from: PathBuf, to: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(tokio::fs::rename(from, to))
    }

    fn symlink(&self, target: PathBuf, link: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(tokio::fs::symlink(target, link))
    }

    fn read_link(&self, path: PathBuf) -> BoxFuture<'static, io::Result<PathBuf>> {
        Box::pin(tokio::fs::read_link(path))
    }

    fn remove(&self, path: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(files::remove(path))
    }

    fn create_dir_all(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(files::create_dir_all(path, mode))
    }

    fn list(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<PathBuf>>> {
        Box::pin(files::list(path))
    }

    fn metadata(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Metadata>> {
        Box::pin(files::metadata(path))
    }

    fn set_mode(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        Box::pin(files::set_mode(path, mode))
    }

    fn args(&self) -> Vec<String> {
        self.args.clone()
    }

    fn var(&self, name: &str) -> Option<String> {
        // `var_os` answers with `None` to names that cannot be: empty, or with `=` or NUL in them.
        std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn vars(&self) -> Vec<(String, String)> {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        let mut vars: Vec<_> = std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect();
        vars.sort();
        vars
    }

    fn hostname(&self) -> String {
        nix::unistd::gethostname().map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned())
    }

    fn terminated(&self) -> BoxFuture<'static, ()> {
        // One task listens for everyone: who asks after the signal came must hear of it too.
        if self.listens_for_signals.set(()) {
            let terminated = Arc::clone(&self.terminated);
            let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be listened to");
            let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be listened to");
            tokio::spawn(async move {
                tokio::select! {
                    biased;
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                terminated.set(());
            });
        }
        let terminated = Arc::clone(&self.terminated);
        Box::pin(async move { terminated.wait().await })
    }

    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }

    fn draws(&self, stream: &str) -> Draws {
        let mut hash = Sha256::new();
        hash.update(self.draws_key);
        hash.update(stream);
        Draws::from_key(hash.finalize().into())
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.random.fill(bytes).expect("the kernel has entropy");
    }

    fn crypto(&self) -> Arc<CryptoProvider> {
        Arc::clone(&self.crypto)
    }

    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn records(&self, level: Level) -> bool {
        match level {
            Level::Info => tracing::enabled!(target: "hermesh", tracing::Level::INFO),
            Level::Debug => tracing::enabled!(target: "hermesh", tracing::Level::DEBUG),
            Level::Wire => tracing::enabled!(target: "hermesh", tracing::Level::TRACE),
        }
    }

    fn emit(&self, cause: Option<EventId>, event: Box<dyn AnyEvent>) -> Option<EventId> {
        let id = NonZeroU64::new(self.events.fetch_add(1, Ordering::Relaxed) + 1).map(EventId::new)?;
        let mut json = Vec::new();
        event.write_json(&mut json);
        let (seq, cause) = (id.seq(), cause.map(EventId::seq));
        let (kind, fields) = (event.kind(), String::from_utf8_lossy(&json));
        match event.level() {
            Level::Info => tracing::info!(target: "hermesh", seq, cause, kind, %fields),
            Level::Debug => tracing::debug!(target: "hermesh", seq, cause, kind, %fields),
            Level::Wire => tracing::trace!(target: "hermesh", seq, cause, kind, %fields),
        }
        Some(id)
    }
}
