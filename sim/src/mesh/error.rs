//! What can go wrong with a mesh: one enum for each thing to do.

use std::time::Duration;

use hermesh_istiod::yaml::Diagnostic;

use super::ReadError;
use crate::engine::{NotShown, SimulationError};

/// The run cannot go on, whatever was asked for: Hermesh itself is at fault, or a program that spins, or one that
/// leaves the simulation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Simulated time no longer passes.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// A built-in image panicked.
    #[error("built-in image of container {container} panicked: {message}; this is a fault of Hermesh")]
    Panic {
        /// `namespace/pod/container`.
        container: String,
        /// What it said.
        message: String,
    },
    /// An image asked the operating system for what only its `Runtime` should give it: nothing that follows is decided
    /// by the seed.
    #[error("container {container} left the simulation: {message}")]
    LeftSimulation {
        /// `namespace/pod/container`.
        container: String,
        /// What it did, and what to do instead.
        message: String,
    },
}

/// Why a mesh does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Only versions whose behaviour is known are played.
    #[error("istio {asked}: unknown version; expected {}", crate::mesh::ISTIO_VERSIONS.join(", "))]
    UnknownIstio {
        /// What was asked for.
        asked: String,
    },
    /// The latency's bounds are the wrong way round.
    #[error("latency: the shortest, {from:?}, is above the longest, {to:?}")]
    Latency {
        /// The lower bound.
        from: Duration,
        /// The upper bound.
        to: Duration,
    },
    /// A delay's bounds are the wrong way round.
    #[error("start delay: the shortest, {from:?}, is above the longest, {to:?}")]
    Delay {
        /// The lower bound.
        from: Duration,
        /// The upper bound.
        to: Duration,
    },
    /// Packets would take longer than anything waits.
    #[error("latency: the longest, {asked:?}, is above {:?}", crate::mesh::builder::LATENCY_MAX)]
    LongLatency {
        /// The upper bound.
        asked: Duration,
    },
    /// The variable that decides the seed is no number.
    #[error("{}={found:?}: expected a whole number from 0 to {}", crate::mesh::builder::SEED_VARIABLE, u64::MAX)]
    Seed {
        /// What it is.
        found: String,
    },
    /// There is no such cluster.
    #[error("nodes: {message}")]
    Nodes {
        /// What is wrong with its nodes.
        message: String,
    },
    /// istiod did not become ready.
    #[error(transparent)]
    Istiod(#[from] WaitError),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why nothing was applied or deleted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApplyError {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What the API server or istiod's webhooks would refuse, all of it with positions.
    #[error("{}", lines(.0))]
    Refused(Vec<Diagnostic>),
    /// There is no such object to change.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// What stands for an object is no name of one.
    #[error("{0}")]
    Name(String),
    /// It is neither a Deployment nor a StatefulSet.
    #[error("{0} is neither a Deployment nor a StatefulSet: nothing else has replicas and is rolled out")]
    NotScalable(hermesh_istiod::objects::ObjectKey),
    /// `rollout restart` tells one time from another by whole seconds, kubectl's too.
    #[error("{0} was restarted within this very second already; let time pass first")]
    RestartedJustNow(hermesh_istiod::objects::ObjectKey),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why waiting ended without what was waited for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Nothing of this name can become ready.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Time is up.
    #[error("not {what} within {}s: {}", within.as_secs_f64(), .missing.join("; "))]
    Timeout {
        /// `ready` or `converged`.
        what: &'static str,
        /// How long was waited, in simulated time.
        within: Duration,
        /// Who is missing, and why.
        missing: Vec<String>,
    },
    /// Everyone has answered, and some by a NACK: they go on with what they had before.
    #[error("not converged: rejected by {}", .rejections.join("; "))]
    Rejected {
        /// Which nodes, of what, and why.
        rejections: Vec<String>,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why there is nothing to do something to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// No workload, pod or container has this name.
    #[error("{what} `{name}` does not exist{}", did_you_mean(.nearest))]
    Unknown {
        /// `workload`, `pod`, `container` or `node`.
        what: &'static str,
        /// The name.
        name: String,
        /// The name that comes closest, if one does.
        nearest: Option<String>,
    },
    /// It exists and does not run.
    #[error("{0} does not run")]
    NotRunning(String),
    /// A container is named where only pods are told apart.
    #[error("{target}: istiod knows the clients of a pod as one node; leave the container {container} out")]
    Container {
        /// The name.
        target: String,
        /// The container in it.
        container: String,
    },
}

/// Why a call could not be made at all. A call that is made and fails is no error: see
/// [`CallReport`](super::CallReport).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// Nobody of that name to call from.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The client ended before it could answer, most often for want of a bootstrap in its pod.
    #[error("client: {message}")]
    Client {
        /// What it said.
        message: String,
    },
    /// What came of the call was not as expected, however often it was made.
    #[error("not as expected within {}s, but at last {last:?}", within.as_secs_f64())]
    Timeout {
        /// How long it was tried, in simulated time.
        within: Duration,
        /// What came of it the last time.
        last: Box<super::CallReport>,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a container, a pod or a link could not be disturbed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisturbError {
    /// A machine outside of the cluster has nothing of the kind.
    #[error("{machine} is a machine outside of the cluster, and has no {lacks}")]
    Machine {
        /// Its name.
        machine: String,
        /// What it has not.
        lacks: &'static str,
    },
    /// Nothing of that name.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Its power is as it should be.
    #[error("the power of {node} is {} already", if *.on { "on" } else { "off" })]
    Power {
        /// The node.
        node: String,
        /// Whether it is on.
        on: bool,
    },
    /// Packets would take longer than anything waits, or no time at all.
    #[error(
        "the latency {from:?} to {to:?}: expected a range of at most {:?} that is not empty",
        crate::mesh::SLOW_MAX
    )]
    Latency {
        /// The lower bound.
        from: Duration,
        /// The upper bound.
        to: Duration,
    },
    /// It does not run, and cannot be asked.
    #[error("{0} is paused and answers nothing; resume it first")]
    Paused(String),
    /// Nothing lies between these.
    #[error("the delay {from:?} to {to:?}: expected a range that is not empty")]
    Delay {
        /// The lower bound.
        from: Duration,
        /// The upper bound.
        to: Duration,
    },
    /// A clock is not that wrong.
    #[error("a clock that is wrong by {by:?}: expected ten years at most")]
    Skew {
        /// What was asked for.
        by: Duration,
    },
    /// What is asked for is how it is.
    #[error("nothing is wrong with the service: expected an error other than OK, or a delay")]
    NoDisruption,
    /// So many have no order.
    #[error("{0} responses have one order: expected 2 at least")]
    Count(usize),
    /// Nothing would be lost, or everything.
    #[error("the loss {share}: expected a share above 0 and below 1; for a link that loses all, cut it")]
    Loss {
        /// What was asked for.
        share: f64,
    },
    /// The network of this run cannot show it.
    #[error(transparent)]
    NotShown(#[from] NotShown),
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn did_you_mean(name: &Option<String>) -> String {
    name.as_ref().map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
