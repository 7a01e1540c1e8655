//! [`Runtime`], the handle everyone holds, and [`Backend`], what a world implements.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{AbortHandle, BoxFuture};
use rustls::crypto::CryptoProvider;

use crate::{Address, AnyEvent, Draws, Event, EventId, Level, Listener, ProcessState, Stream, Trail};

/// A world to run in: the operating system, or one container of a simulation.
pub trait Backend: Send + Sync + 'static {
    /// See [`Runtime::connect_on`].
    fn connect(&self, to: Address, trail: Trail) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
    /// See [`Runtime::listen`].
    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
    /// See [`Runtime::resolve`].
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
    /// See [`Runtime::local_addresses`].
    fn local_addresses(&self) -> Vec<IpAddr>;

    /// See [`Runtime::read`].
    fn read(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Bytes>>;
    /// See [`Runtime::write`].
    fn write(&self, path: PathBuf, contents: Bytes, mode: u32) -> BoxFuture<'static, io::Result<()>>;
    /// See [`Runtime::rename`].
    fn rename(&self, from: PathBuf, to: PathBuf) -> BoxFuture<'static, io::Result<()>>;
    /// See [`Runtime::symlink`].
    fn symlink(&self, target: PathBuf, link: PathBuf) -> BoxFuture<'static, io::Result<()>>;
    /// See [`Runtime::read_link`].
    fn read_link(&self, path: PathBuf) -> BoxFuture<'static, io::Result<PathBuf>>;
    /// See [`Runtime::remove`].
    fn remove(&self, path: PathBuf) -> BoxFuture<'static, io::Result<()>>;
    /// See [`Runtime::create_dir_all`].
    fn create_dir_all(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>>;
    /// See [`Runtime::list`].
    fn list(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Vec<PathBuf>>>;
    /// See [`Runtime::metadata`].
    fn metadata(&self, path: PathBuf) -> BoxFuture<'static, io::Result<Metadata>>;
    /// See [`Runtime::set_mode`].
    fn set_mode(&self, path: PathBuf, mode: u32) -> BoxFuture<'static, io::Result<()>>;

    /// See [`Runtime::args`].
    fn args(&self) -> Vec<String>;
    /// See [`Runtime::var`].
    fn var(&self, name: &str) -> Option<String>;
    /// See [`Runtime::vars`].
    fn vars(&self) -> Vec<(String, String)>;
    /// See [`Runtime::hostname`].
    fn hostname(&self) -> String;
    /// See [`Runtime::terminated`].
    fn terminated(&self) -> BoxFuture<'static, ()>;

    /// See [`Runtime::wall`].
    fn wall(&self) -> Duration;
    /// See [`Runtime::draws`].
    fn draws(&self, stream: &str) -> Draws;
    /// See [`Runtime::fill`].
    fn fill(&self, bytes: &mut [u8]);
    /// See [`Runtime::crypto`].
    fn crypto(&self) -> Arc<CryptoProvider>;

    /// Runs a task until it ends or the process does.
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>);

    /// See [`Runtime::records`].
    fn records(&self, level: Level) -> bool;
    /// See [`Runtime::emit`].
    fn emit(&self, cause: Option<EventId>, event: Box<dyn AnyEvent>) -> Option<EventId>;
    /// See [`Runtime::sent`]. Worlds that record nothing remember nothing.
    fn sent(&self, _message: &str, _event: EventId) {}
    /// See [`Runtime::received`].
    fn received(&self, _message: &str) -> Option<EventId> {
        None
    }
}

/// What [`Runtime::metadata`] tells of a file, following symbolic links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metadata {
    /// Length in bytes; 0 for what is no regular file.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Whether it is a regular file, and no socket, pipe or device.
    pub is_file: bool,
    /// Permission bits.
    pub mode: u32,
}

/// What is at a path, for [`Metadata::new`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file of this many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A socket, a pipe or a device.
    Other,
}

impl Metadata {
    /// For [`Backend`]s.
    #[must_use]
    pub fn new(kind: FileKind, mode: u32) -> Self {
        let len = if let FileKind::File(len) = kind { len } else { 0 };
        Self { len, is_dir: kind == FileKind::Directory, is_file: matches!(kind, FileKind::File(_)), mode }
    }
}

/// The door to the outside world; cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    backend: Arc<dyn Backend>,
    state: ProcessState,
}

impl Runtime {
    /// A runtime on `backend`. Programs take [`os::runtime`](crate::os::runtime); the simulator makes its own.
    pub fn new(backend: impl Backend) -> Self {
        Self::of_process(backend, ProcessState::default())
    }

    /// A runtime on `backend` for a process that has others: `state` is what they share.
    pub fn of_process(backend: impl Backend, state: ProcessState) -> Self {
        Self { backend: Arc::new(backend), state }
    }

    /// Runs `future` as a task of this process, named for those who look at it from outside.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Task {
        let (future, task) = Task::of(future);
        self.backend.spawn(name, future);
        task
    }

    /// Records `event`. The answer names it, so that what follows from it can say so; it is `None` where nothing is
    /// recorded.
    pub fn emit(&self, event: impl Event) -> Option<EventId> {
        self.emit_because(None, event)
    }

    /// Records `event` as a consequence of `cause`.
    pub fn emit_because<E: Event>(&self, cause: Option<EventId>, event: E) -> Option<EventId> {
        if !self.records(E::LEVEL) {
            return None;
        }
        self.backend.emit(cause, Box::new(event))
    }

    /// Lets whoever receives `message` find the event that recorded its sending. A message is named by something that
    /// no other has, such as the nonce of an xDS response.
    pub fn sent(&self, message: &str, event: Option<EventId>) {
        if let Some(event) = event {
            self.backend.sent(message, event);
        }
    }

    /// The event that recorded the sending of `message`, in whatever process; only a simulation knows it. It is
    /// forgotten with this: who sends the message on says so again.
    #[must_use]
    pub fn received(&self, message: &str) -> Option<EventId> {
        self.backend.received(message)
    }
}

/// Sockets and names.
impl Runtime {
    /// Opens a connection.
    ///
    /// # Errors
    /// Those of the kernel: `ConnectionRefused`, `TimedOut`, `NotFound` for a Unix path without a socket, and so on.
    pub fn connect(&self, to: Address) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.connect_on(&Trail::default(), to)
    }

    /// Opens a connection and leaves on `trail` what the trace knows of it, from the first packet on.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_on(&self, trail: &Trail, to: Address) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        self.backend.connect(to, trail.clone())
    }

    /// Binds and listens. Port 0 asks for any free port.
    ///
    /// # Errors
    /// `AddrInUse` if something listens there, or if a Unix path exists; `AddrNotAvailable` for a foreign IP address.
    pub fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        self.backend.listen(at)
    }

    /// The addresses of `host`, in the order DNS gives them.
    ///
    /// # Errors
    /// `NotFound` if there is no such name.
    pub fn resolve(&self, host: &str) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.backend.resolve(host.to_owned())
    }

    /// The addresses of this host's interfaces, loopback left out.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<IpAddr> {
        self.backend.local_addresses()
    }
}

/// Files.
impl Runtime {
    /// The whole of a file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&self, path: impl AsRef<Path>) -> BoxFuture<'static, io::Result<Bytes>> {
        self.backend.read(path.as_ref().to_owned())
    }

    /// Creates or replaces a file with permission bits `mode`. Others may see it half-written; see
    /// [`write_atomic`](Self::write_atomic).
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(
        &self,
        path: impl AsRef<Path>,
        contents: impl Into<Bytes>,
        mode: u32,
    ) -> BoxFuture<'static, io::Result<()>> {
        self.backend.write(path.as_ref().to_owned(), contents.into(), mode)
    }

    /// Creates or replaces a file such that others see the old contents or the new, never something between: it writes
    /// a file beside it and renames that.
    ///
    /// # Errors
    /// Those of the file system; the file beside it is removed again.
    pub async fn write_atomic(
        &self,
        path: impl AsRef<Path> + Send,
        contents: impl Into<Bytes> + Send,
        mode: u32,
    ) -> io::Result<()> {
        let path = path.as_ref().to_owned();
        let Some(name) = path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path to write to must end in a file name"));
        };
        let mut random = [0; 4];
        self.fill(&mut random);
        let beside = path.with_file_name(format!("{}.tmp.{:08x}", name.display(), u32::from_be_bytes(random)));
        let written = match self.write(&beside, contents, mode).await {
            Ok(()) => self.rename(&beside, &path).await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            // The first error is the one to tell.
            let _ = self.remove(&beside).await;
        }
        written
    }

    /// Renames a file, replacing what has the new name, in one step.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> BoxFuture<'static, io::Result<()>> {
        self.backend.rename(from.as_ref().to_owned(), to.as_ref().to_owned())
    }

    /// Makes `link` a symbolic link to `target`.
    ///
    /// # Errors
    /// Those of the file system; `AlreadyExists` if `link` exists.
    pub fn symlink(&self, target: impl AsRef<Path>, link: impl AsRef<Path>) -> BoxFuture<'static, io::Result<()>> {
        self.backend.symlink(target.as_ref().to_owned(), link.as_ref().to_owned())
    }

    /// Where the symbolic link `path` points.
    ///
    /// # Errors
    /// Those of the file system; `InvalidInput` if `path` is no link.
    pub fn read_link(&self, path: impl AsRef<Path>) -> BoxFuture<'static, io::Result<PathBuf>> {
        self.backend.read_link(path.as_ref().to_owned())
    }

    /// Removes a file, a link, a socket or an empty directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn remove(&self, path: impl AsRef<Path>) -> BoxFuture<'static, io::Result<()>> {
        self.backend.remove(path.as_ref().to_owned())
    }

    /// Creates a directory and those above it with permission bits `mode`. One that exists is no error.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create_dir_all(&self, path: impl AsRef<Path>, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.backend.create_dir_all(path.as_ref().to_owned(), mode)
    }

    /// What a directory holds, as full paths in order.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn list(&self, path: impl AsRef<Path>) -> BoxFuture<'static, io::Result<Vec<PathBuf>>> {
        self.backend.list(path.as_ref().to_owned())
    }

    /// What kind of file this is, following symbolic links.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn metadata(&self, path: impl AsRef<Path>) -> BoxFuture<'static, io::Result<Metadata>> {
        self.backend.metadata(path.as_ref().to_owned())
    }

    /// Whether there is a file, following symbolic links.
    pub async fn exists(&self, path: impl AsRef<Path> + Send) -> bool {
        self.metadata(path).await.is_ok()
    }

    /// Changes a file's permission bits.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn set_mode(&self, path: impl AsRef<Path>, mode: u32) -> BoxFuture<'static, io::Result<()>> {
        self.backend.set_mode(path.as_ref().to_owned(), mode)
    }
}

/// The process.
impl Runtime {
    /// The command line without the program's name.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        self.backend.args()
    }

    /// An environment variable.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<String> {
        self.backend.var(name)
    }

    /// All environment variables, ordered by name.
    #[must_use]
    pub fn vars(&self) -> Vec<(String, String)> {
        self.backend.vars()
    }

    /// The host's name; in a cluster the pod's.
    #[must_use]
    pub fn hostname(&self) -> String {
        self.backend.hostname()
    }

    /// The one `T` of this process, made when it is first asked for: where components that do not know each other
    /// meet. It lives as long as the process; one that holds a `Runtime` would keep itself alive. The clones of a
    /// `Runtime` are of one process; every call of [`os::runtime`](crate::os::runtime) makes another.
    #[must_use]
    pub fn shared<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.state.shared()
    }

    /// Ends when the process is asked to terminate: SIGTERM or SIGINT.
    pub fn terminated(&self) -> BoxFuture<'static, ()> {
        self.backend.terminated()
    }
}

/// Clock, entropy and crypto.
impl Runtime {
    /// Wall time since 1970-01-01T00:00:00Z. For how long something took, use `tokio::time`.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.backend.wall()
    }

    /// The stream of random choices called `stream`, from its beginning. Two callers that take the same stream get the
    /// same draws: a component takes its stream once and keeps it.
    #[must_use]
    pub fn draws(&self, stream: &str) -> Draws {
        self.backend.draws(stream)
    }

    /// A number that nobody of this process got for `name` before: what tells components of one name apart, such as two
    /// channels to one target, so that each has a stream of draws of its own. It counts from 0; only names that come
    /// after 4096 others share counters, and count with gaps: names come from the network, and what is remembered of
    /// them is bounded.
    #[must_use]
    pub fn ordinal(&self, name: &str) -> u64 {
        self.state.ordinal(name)
    }

    /// Fills `bytes` with entropy fit for keys.
    pub fn fill(&self, bytes: &mut [u8]) {
        self.backend.fill(bytes);
    }

    /// The cryptography for TLS. Keys come from [`KeyPair::generate`](crate::crypto::KeyPair::generate).
    #[must_use]
    pub fn crypto(&self) -> Arc<CryptoProvider> {
        self.backend.crypto()
    }

    /// Whether events of `level` are recorded; asked before costly ones are made.
    #[must_use]
    pub fn records(&self, level: Level) -> bool {
        self.backend.records(level)
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("hostname", &self.hostname()).finish_non_exhaustive()
    }
}

/// A running task. Dropping this lets it run on.
#[derive(Clone, Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// What is to run, and the handle to it.
    pub(crate) fn of(future: impl Future<Output = ()> + Send + 'static) -> (BoxFuture<'static, ()>, Self) {
        let (future, handle) = futures::future::abortable(future);
        // An `async` block around it would hold it twice, as what it captures and as what it awaits.
        (Box::pin(future.map(|_aborted| ())), Self(handle))
    }

    /// Ends the task at its next turn; its values are dropped there.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Ties the task to the answer's life.
    #[must_use]
    pub fn abort_on_drop(self) -> TaskGuard {
        TaskGuard(Some(self))
    }
}

/// Aborts its task when dropped.
#[derive(Debug)]
pub struct TaskGuard(Option<Task>);

impl TaskGuard {
    /// Lets the task live on its own.
    pub fn release(mut self) {
        self.0 = None;
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
