//! Pods and containers.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::path::PathBuf;

use futures::future::BoxFuture;
use hermesh_runtime::{EventId, Runtime};

use super::volume::Volume;

/// A pod of one simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodId(pub(super) u32);

impl PodId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// One run of a container: a restart makes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(pub(super) u32);

impl ContainerId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A pod to add: a network namespace in which containers will be started.
#[derive(Clone, Debug)]
pub struct PodSpec {
    /// `namespace/name`; draws and the trace know the pod by it.
    pub name: String,
    /// The addresses of its interface; the first of each family is where its connections come from.
    pub addresses: Vec<IpAddr>,
    /// What its containers see as hostname; the name without the namespace unless set.
    pub hostname: String,
}

impl PodSpec {
    /// A pod called `namespace/name` whose hostname is its name.
    pub fn new(name: impl Into<String>, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let name = name.into();
        let hostname = name.rsplit('/').next().unwrap_or_default().to_owned();
        Self { name, addresses: addresses.into_iter().collect(), hostname }
    }
}

type Main = Box<dyn FnOnce(Runtime) -> BoxFuture<'static, Exit> + Send>;

/// A container to start.
pub struct ContainerSpec {
    /// Its name within the pod.
    pub name: String,
    /// The command line without the program's name.
    pub args: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Volumes and where they appear.
    pub mounts: Vec<Mount>,
    /// What `/` is; an empty directory of its own unless set.
    pub root: Volume,
    /// The program: its end is the container's end.
    pub(super) main: Main,
}

impl ContainerSpec {
    /// A container that runs `main`, which may return nothing or a `Result`.
    pub fn new<F>(name: impl Into<String>, main: impl FnOnce(Runtime) -> F + Send + 'static) -> Self
    where
        F: Future<Output: Into<Exit>> + Send + 'static,
    {
        Self {
            name: name.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            mounts: Vec::new(),
            root: Volume::new(),
            main: Box::new(move |runtime| {
                let future = main(runtime);
                Box::pin(async move { future.await.into() })
            }),
        }
    }
}

impl fmt::Debug for ContainerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerSpec").field("name", &self.name).field("args", &self.args).finish_non_exhaustive()
    }
}

/// A volume at a path.
#[derive(Clone, Debug)]
pub struct Mount {
    /// An absolute path.
    pub path: PathBuf,
    /// What is there.
    pub volume: Volume,
}

/// How a program ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// The exit code.
    pub code: i32,
    /// What it said last.
    pub message: Option<String>,
}

impl Exit {
    /// Ends with this code and nothing to say.
    #[must_use]
    pub fn code(code: i32) -> Self {
        Self { code, message: None }
    }
}

impl From<()> for Exit {
    fn from((): ()) -> Self {
        Self::code(0)
    }
}

impl<E: fmt::Display> From<Result<(), E>> for Exit {
    fn from(result: Result<(), E>) -> Self {
        match result {
            Ok(()) => Self::code(0),
            Err(error) => Self { code: 1, message: Some(error.to_string()) },
        }
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExitStatus {
    /// As Kubernetes reports it: 137 after SIGKILL, 101 after a panic or what stands for one.
    pub code: i32,
    /// Why it ended.
    pub reason: ExitReason,
    /// The program's error, the panic's message, or what it did that no program may.
    pub message: Option<String>,
    /// The event that records the end.
    pub event: Option<EventId>,
}

/// Why a container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExitReason {
    /// Its program returned.
    Exited,
    /// SIGKILL.
    Killed,
    /// A task of it panicked.
    Panicked,
    /// It reached around its [`Runtime`] to the operating system: `tokio::spawn`, `tokio::net` and their like.
    LeftSimulation,
    /// The pod's power went off.
    PowerOff,
}
