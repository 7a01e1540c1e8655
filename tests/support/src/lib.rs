//! A process for tests: the machine's own runtime, with the parts replaced that a test wants to decide, and its events
//! kept.
//!
//! ```
//! use hermesh_test_support::{Process, Setup};
//!
//! let process = Process::new(Setup::new().args(["proxy", "sidecar"]).var("POD_NAME", "web-0"));
//! assert_eq!(process.rt.var("POD_NAME").as_deref(), Some("web-0"));
//! assert_eq!(process.rt.var("HOME"), None);
//! ```

mod backend;
mod memory;
mod program;
mod recorder;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::{Address, Listener, Runtime, Stream, Task};
use tokio::sync::Notify;

use backend::Backend;

pub use memory::InMemory;
pub use program::{Program, run};
pub use recorder::{Recorded, Recorder};

/// Where a process finds others.
pub trait Network: Send + Sync + 'static {
    /// See [`Runtime::connect`].
    fn connect(&self, to: Address) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;
    /// See [`Runtime::listen`].
    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>>;
    /// See [`Runtime::resolve`].
    fn resolve(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>>;
}

/// What of a process is not the machine's: nothing is inherited of its arguments and environment.
#[derive(Default)]
pub struct Setup {
    args: Vec<String>,
    vars: BTreeMap<String, String>,
    network: Option<Box<dyn Network>>,
}

impl Setup {
    /// No arguments, no environment, the machine's network.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Its arguments.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn var(mut self, name: &str, value: &str) -> Self {
        self.vars.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Its network.
    #[must_use]
    pub fn network(mut self, network: impl Network) -> Self {
        self.network = Some(Box::new(network));
        self
    }
}

/// A process with its events, a switch to terminate it, and one to kill it. Clones are the same process.
#[derive(Clone)]
pub struct Process {
    /// What the code under test is given.
    pub rt: Runtime,
    /// What it has told so far.
    pub events: Recorder,
    terminate: Arc<Signal>,
    tasks: Tasks,
}

/// All tasks of a process.
type Tasks = Arc<Mutex<Vec<Task>>>;

impl Process {
    /// A process that has done nothing yet.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let (events, terminate, tasks) = (Recorder::default(), Arc::<Signal>::default(), Tasks::default());
        let backend = Backend::new(setup, events.clone(), Arc::clone(&terminate), Arc::clone(&tasks));
        Self { rt: Runtime::new(backend), events, terminate, tasks }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.terminate.raise();
    }

    /// Ends all its tasks, as SIGKILL does.
    pub fn kill(&self) {
        for task in self.tasks.lock().unwrap().drain(..) {
            task.abort();
        }
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

/// A signal that was or was not sent.
#[derive(Default)]
struct Signal {
    raised: AtomicBool,
    told: Notify,
}

impl Signal {
    fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        self.told.notify_waiters();
    }

    async fn wait(&self) {
        let told = self.told.notified();
        let mut told = std::pin::pin!(told);
        // From here on no signal is missed, so that looking comes second.
        told.as_mut().enable();
        if !self.raised.load(Ordering::SeqCst) {
            told.await;
        }
    }
}
