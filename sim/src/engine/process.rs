//! The [`Backend`] behind a container's `Runtime`.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hermesh_runtime::{Address, AnyEvent, Backend, Draws, EventId, Level, Listener, Metadata, Runtime, Stream, Trail};
use rustls::crypto::CryptoProvider;

use super::crypto;
use super::events;
use super::scope::Scope;
use super::socket;
use super::volume::Files;

/// The processes of one scope, as the programs in it see themselves.
pub(super) struct Process(Arc<Scope>);

impl Process {
    /// A runtime of the processes of `scope`, one with all others of them.
    pub(super) fn runtime(scope: Arc<Scope>) -> Runtime {
        let state = scope.state.clone();
        Runtime::of_process(Self(scope), state)
    }

    /// A file operation: takes no time, fails once the process has ended.
    fn file<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Files) -> io::Result<T> + Send + 'static,
    ) -> BoxFuture<'static, io::Result<T>> {
        let scope = Arc::clone(&self.0);
        Box::pin(async move {
            alive(&scope)?;
            operation(&scope.files)
        })
    }
}

impl Backend for Process {
    fn connect(&self, to: Address, trail: Trail) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let scope = Arc::clone(&self.0);
        Box::pin(async move {
            alive(&scope)?;
            socket::connect(&scope, to, trail).await
        })
    }

    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let scope = Arc::clone(&self.0);
        Box::pin(async move {
            alive(&scope)?;
            socket::listen(&scope, at).await
        })
    }

    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        let scope = Arc::clone(&self.0);
        Box::pin(async move {
            alive(&scope)?;
            resolve(&scope, &host)
                .ok_or_else(|| io::Error::new(ErrorKind::NotFound, format!("lookup {host}: no such host")))
        })
    }

    fn local_addresses(&self) -> Vec<IpAddr> {
        self.0.pod.as_ref().map_or_else(Vec::new, |pod| self.0.world.addresses(pod.id))
    }

    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Bytes>> {
        self.file(move |files| files.read(&path))
    }

    fn write(&self, path: PathBuf, contents: Bytes, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        let scope = Arc::clone(&self.0);
        Box::pin(async move {
            alive(&scope)?;
            let file = scope.files.open(&path, mode)?;
            // A process may be killed, and others may read, between the pages of a write.
            let half = contents.slice(..contents.len() / 2);
            file.write(half.clone(), Some(scope.world.now()))?;
            if let Some(cause) = file.tears() {
                let path = path.display().to_string();
                let event = events::FileTorn { path, written: half.len(), of: contents.len() };
                scope.world.recorder().emit(scope.at(), cause, event);
                return Ok(());
            }
            yield_once().await;
            alive(&scope)?;
            file.write(contents, Some(scope.world.now()))
        })
    }

    fn rename(&self, from: PathBuf, to: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        self.file(move |files| files.rename(&from, &to))
    }

    fn symlink(&self, target: PathBuf, link: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        self.file(move |files| files.symlink(&target, &link))
    }

    fn read_link(&self, path: PathBuf) -> BoxFuture<'static, io::Result<PathBuf>> {
        self.file(move |files| files.read_link(&path))
    }

    fn remove(&self, path: PathBuf) -> BoxFuture<'static, io::Result<()>> {
        self.file(move |files| files.remove(&path))
    }

    fn create_dir_all(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.file(move |files| files.create_dir_all(&path, mode))
    }

    fn list(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<PathBuf>>> {
        self.file(move |files| files.list(&path))
    }

    fn metadata(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Metadata>> {
        self.file(move |files| files.metadata(&path))
    }

    fn set_mode(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.file(move |files| files.set_mode(&path, mode))
    }

    fn args(&self) -> Vec<String> {
        self.0.args.clone()
    }

    fn var(&self, name: &str) -> Option<String> {
        self.0.env.get(name).cloned()
    }

    fn vars(&self) -> Vec<(String, String)> {
        self.0.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn hostname(&self) -> String {
        self.0.pod.as_ref().map_or_else(|| "cluster".to_owned(), |pod| pod.hostname.clone())
    }

    fn terminated(&self) -> BoxFuture<'static, ()> {
        let terminated = self.0.terminated.clone();
        Box::pin(async move { terminated.first().await })
    }

    fn wall(&self) -> Duration {
        self.0.wall()
    }

    fn draws(&self, stream: &str) -> Draws {
        self.0.draws(stream)
    }

    fn fill(&self, bytes: &mut [u8]) {
        self.0.fill(bytes);
    }

    fn crypto(&self) -> Arc<CryptoProvider> {
        crypto::provider()
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.0.spawn(name, task);
    }

    fn records(&self, level: Level) -> bool {
        self.0.world.recorder().records(level)
    }

    fn emit(&self, cause: Option<EventId>, event: Box<dyn AnyEvent>) -> Option<EventId> {
        if self.0.ended() {
            return None;
        }
        self.0.world.recorder().emit_any(self.0.at(), cause, event.into())
    }

    fn sent(&self, message: &str, event: EventId) {
        self.0.world.recorder().sent(message, event);
    }

    fn received(&self, message: &str) -> Option<EventId> {
        self.0.world.recorder().received(message)
    }
}

/// A process that has ended does nothing, even where someone still holds its `Runtime`.
fn alive(scope: &Scope) -> io::Result<()> {
    if scope.ended() { Err(io::Error::new(ErrorKind::BrokenPipe, "the process has ended")) } else { Ok(()) }
}

/// Literal addresses, `/etc/hosts` as kubelet writes it, then DNS.
fn resolve(scope: &Scope, host: &str) -> Option<Vec<IpAddr>> {
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(vec![address]);
    }
    if host == "localhost" {
        return Some(vec![IpAddr::from([127, 0, 0, 1])]);
    }
    let pod = scope.pod.as_ref()?;
    if host == pod.hostname {
        return Some(scope.world.addresses(pod.id));
    }
    let resolver = scope.world.resolver()?;
    resolver(&pod.name, host).filter(|addresses| !addresses.is_empty())
}

async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
