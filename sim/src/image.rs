//! What runs in a container: names of images, or globs over them, and the Rust functions that play them.
//!
//! An image is an `async fn(Process)`. Built in are the echo application (`*/testing/app:*`), the agent
//! (`*/proxyv2:*`), istiod (`*/pilot:*`) and [`stand_in`], which serves echo on every port its pod should have.

mod pulls;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use hermesh_runtime::Runtime;

pub use pulls::Pull;
pub(crate) use pulls::{FAILURES_MAX, PULL_MAX};

use crate::engine::Exit;

/// One run of a container, from the inside.
#[derive(Clone, Debug)]
pub struct Process {
    runtime: Runtime,
    ports: Arc<[ServedPort]>,
    /// The pod's label `version`.
    version: Option<Arc<str>>,
    part: Part,
}

/// What a container is there for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Part {
    /// To serve.
    #[default]
    Server,
    /// To do something and end.
    Task,
}

/// A port that others expect a container to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServedPort {
    pub(crate) number: u16,
    pub(crate) protocol: ServedProtocol,
}

/// What they expect to be spoken there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ServedProtocol {
    /// gRPC by a server that takes its configuration from xDS.
    XdsGrpc,
    /// gRPC without xDS.
    Grpc,
    Http,
    Tcp,
}

impl Process {
    pub(crate) fn new(runtime: Runtime, ports: Arc<[ServedPort]>, version: Option<Arc<str>>) -> Self {
        Self { runtime, ports, version, part: Part::default() }
    }

    /// The same, in a container that is there for something else.
    pub(crate) fn playing(self, part: Part) -> Self {
        Self { part, ..self }
    }

    /// The door to sockets, files, clock, arguments and environment.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        self.runtime.clone()
    }

    /// The command line without the program's name: the container's `command` after its first word, and `args`.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        self.runtime.args()
    }

    /// An environment variable.
    #[must_use]
    pub fn var(&self, name: &str) -> Option<String> {
        self.runtime.var(name)
    }
}

type Main = Arc<dyn Fn(Process) -> BoxFuture<'static, Exit> + Send + Sync>;

/// The function behind an image.
#[derive(Clone)]
pub(crate) struct Program {
    main: Main,
    /// Whether it came with Hermesh: then a panic is Hermesh's fault.
    pub(crate) built_in: bool,
}

impl Program {
    /// A program that comes with Hermesh.
    pub(crate) fn built_in<F>(main: impl Fn(Process) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output: Into<Exit>> + Send + 'static,
    {
        Self::new(true, main)
    }

    fn new<F>(built_in: bool, main: impl Fn(Process) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output: Into<Exit>> + Send + 'static,
    {
        let main: Main = Arc::new(move |process| {
            let running = main(process);
            Box::pin(async move { running.await.into() })
        });
        Self { main, built_in }
    }

    pub(crate) fn run(&self, process: Process) -> BoxFuture<'static, Exit> {
        (self.main)(process)
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").field("built_in", &self.built_in).finish_non_exhaustive()
    }
}

/// Functions by image name.
///
/// A name is looked up among the globs in the order they were added, then among the built-in ones; a bare `*` comes
/// last, so that "everything else" never replaces the agent.
#[derive(Clone, Debug, Default)]
pub struct Images {
    programs: Vec<(String, Program)>,
    registry: Registry,
}

/// Where images are pulled from, which can be away for some of them. Clones share it.
///
/// ```
/// use hermesh::{Images, image};
///
/// let images = Images::new().add("registry.corp/*", image::stand_in);
/// let registry = images.registry();
/// let mesh = hermesh::mesh().images(images);
/// // Pods that want one of these wait in ImagePullBackOff ...
/// registry.withhold("registry.corp/*");
/// // ... until the first pull after this.
/// registry.restore("registry.corp/*");
/// # drop(mesh);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Registry {
    withheld: Arc<Mutex<BTreeSet<String>>>,
}

impl Registry {
    /// From now on no image whose name matches `glob` can be pulled. A node keeps those that it has.
    pub fn withhold(&self, glob: impl Into<String>) {
        self.lock().insert(glob.into());
    }

    /// Takes back what was withheld under the same `glob`.
    pub fn restore(&self, glob: &str) {
        self.lock().remove(glob);
    }

    /// Why `image` cannot be pulled.
    pub(crate) fn refuses(&self, image: &str) -> Option<String> {
        let withheld = self.lock();
        withheld.iter().any(|glob| matches(glob, image)).then(|| format!("the registry withholds the image {image}"))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Images {
    /// None but those built in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Plays images whose name matches `glob` (where `*` stands for any text) by `main`.
    ///
    /// What `main` returns is how its container ends: nothing or `Ok` with exit code 0, an error with 1, as a Rust
    /// program does, and an [`Exit`] with its own code. A panic ends it with 101. One that never returns is best an
    /// `async fn`: what a closure with an endless loop returns is of no type that the compiler takes here.
    #[must_use]
    pub fn add<F>(mut self, glob: impl Into<String>, main: impl Fn(Process) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output: Into<Exit>> + Send + 'static,
    {
        self.insert(glob, false, main);
        self
    }

    /// Plays images whose name matches `glob` by the built-in image called `name`: `echo`, `agent` or `stand-in`.
    ///
    /// # Errors
    /// If no built-in image has that name.
    pub fn add_named(&mut self, glob: impl Into<String>, name: &str) -> Result<(), UnknownImage> {
        match name {
            "stand-in" => self.insert(glob, true, stand_in),
            "echo" => self.insert(glob, true, echo),
            "agent" => self.insert(glob, true, agent),
            _ => return Err(UnknownImage { name: name.to_owned() }),
        }
        Ok(())
    }

    pub(crate) fn insert<F>(
        &mut self,
        glob: impl Into<String>,
        built_in: bool,
        main: impl Fn(Process) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output: Into<Exit>> + Send + 'static,
    {
        self.programs.push((glob.into(), Program::new(built_in, main)));
    }

    /// These, and after them those built into Hermesh.
    pub(crate) fn with_built_in(mut self) -> Self {
        self.insert("*/testing/app:*", true, echo);
        self.insert("*/proxyv2:*", true, agent);
        self
    }

    /// Where they are pulled from.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.registry.clone()
    }

    /// What plays `image`.
    pub(crate) fn find(&self, image: &str) -> Option<&Program> {
        let catch_all = |glob: &str| glob == "*";
        let specific = self.programs.iter().find(|(glob, _)| !catch_all(glob) && matches(glob, image));
        let found = specific.or_else(|| self.programs.iter().find(|(glob, _)| catch_all(glob)));
        found.map(|(_, program)| program)
    }

    /// The globs, for messages about an image that none matches.
    pub(crate) fn globs(&self) -> impl Iterator<Item = &str> {
        self.programs.iter().map(|(glob, _)| glob.as_str())
    }
}

/// No built-in image has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown built-in image `{name}`; expected `stand-in`, `echo` or `agent`")]
pub struct UnknownImage {
    /// The name.
    pub name: String,
}

/// Istio's echo application, `testing/app`.
pub async fn echo(process: Process) -> impl Into<Exit> {
    as_istio_exits(hermesh_echo::run(process.runtime).await)
}

/// istio-agent without Envoy, `proxyv2`.
pub async fn agent(process: Process) -> impl Into<Exit> {
    as_istio_exits(hermesh_agent::run(process.runtime).await)
}

/// Istio's programs end with -1 after any error.
pub(crate) fn as_istio_exits<E: fmt::Display>(result: Result<(), E>) -> Exit {
    match result {
        Ok(()) => Exit::code(0),
        Err(error) => Exit { code: hermesh_agent::AgentError::EXIT_CODE.into(), message: Some(error.to_string()) },
    }
}

/// Serves echo on every port that Services and probes expect of the container, and on 17171 for ForwardEcho. Its
/// version is the pod's label `version`. In an init container that is no sidecar, and in a Job, it has nothing to do
/// and ends with success.
pub async fn stand_in(process: Process) -> impl Into<Exit> {
    if process.part == Part::Task {
        return Exit::code(0);
    }
    let version = process.version.iter().map(|version| format!("--version={version}"));
    let mut arguments =
        hermesh_echo::args::Arguments::parse(&version.collect::<Vec<_>>()).expect("the flag is one of echo's");
    let of = |protocols: &[ServedProtocol]| {
        let ports = process.ports.iter().filter(|port| protocols.contains(&port.protocol)).map(|port| port.number);
        ports.collect::<Vec<_>>()
    };
    // Nothing that echo would serve unasked: it may be a port of another container.
    arguments.http = of(&[ServedProtocol::Http]);
    arguments.grpc = of(&[ServedProtocol::Grpc, ServedProtocol::XdsGrpc]);
    arguments.xds = of(&[ServedProtocol::XdsGrpc]).into_iter().collect();
    arguments.tcp = of(&[ServedProtocol::Tcp]);
    as_istio_exits(hermesh_echo::run_with(process.runtime, arguments).await)
}

/// Whether `text` matches `glob`, in which `*` stands for any text and all else for itself.
pub(crate) fn matches(glob: &str, text: &str) -> bool {
    let Some((head, rest)) = glob.split_once('*') else { return glob == text };
    let Some(mut text) = text.strip_prefix(head) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().expect("splitting gives at least one part");
    for part in parts {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (glob, image, expected) in [
            ("*", "", true),
            ("app", "app", true),
            ("app", "apps", false),
            ("*/testing/app:*", "gcr.io/istio-testing/app:latest", false),
            ("*/testing/app:*", "registry.istio.io/testing/app:latest", true),
            ("registry.corp/*", "registry.corp/team/greeter:1", true),
            ("a*a", "a", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(glob, image), expected, "{glob} {image}");
        }
    }

    #[test]
    fn the_first_glob_wins_and_a_bare_star_comes_last() {
        let images = Images::new()
            .add("*", |_| async {})
            .add("corp/greeter:*", |_| async { Exit::code(1) })
            .add("corp/*", |_| async { Exit::code(2) })
            .with_built_in();
        let code = |image: &str| {
            let program = images.find(image).expect("the star matches all");
            (program.built_in, images.programs.iter().position(|(_, other)| Arc::ptr_eq(&other.main, &program.main)))
        };
        assert_eq!(code("corp/greeter:1"), (false, Some(1)));
        assert_eq!(code("corp/other:1"), (false, Some(2)));
        assert_eq!(code("docker.io/istio/proxyv2:1.32.0"), (true, Some(4)));
        assert_eq!(code("nginx"), (false, Some(0)));
    }
}
