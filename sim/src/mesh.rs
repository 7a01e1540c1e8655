//! A whole mesh to hold in a test: cluster, control plane, your services, and time.
//!
//! [`mesh`] builds one, and [`Mesh`] is driven from a plain `#[test]`: it owns simulated time, which passes only inside
//! its methods. Those panic at the caller's line when something is not as asked; each has a `try_` twin that returns
//! the error instead.
//!
//! ```no_run
//! use hermesh::Call;
//!
//! let mut mesh = hermesh::mesh().seed(7).namespace("echo-grpc").start();
//! mesh.apply("examples/grpc-echo/namespace.yaml").apply("examples/grpc-echo/grpc-echo.yaml").wait_ready();
//! let report = mesh.call(Call::new("echo-v1", "xds:///echo:7070").count(5));
//! assert!(report.is_ok(), "{report:?}");
//! ```

mod again;
mod asserts;
mod builder;
mod call;
mod calls;
mod changes;
mod client_config;
mod clients;
mod clock;
mod conditions;
mod converged;
mod dangling;
mod disruption;
mod disturb;
mod error;
mod events;
mod explain;
mod inject;
mod load;
mod machines;
mod manifests;
mod nacked;
mod named;
mod nodes;
mod objects;
mod peers;
mod pods;
pub(crate) mod recorded;
mod tables;
mod target;
mod tokens;
mod volumes;
mod xds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_runtime::{EventId, Runtime};
use hermesh_xds::{ChannelCredentials, XdsChannel};
use tokio::sync::oneshot;

pub(crate) use again::TRY_AGAIN;
pub use builder::{ISTIO_VERSIONS, MeshBuilder, mesh};
pub use call::{Answer, Call, CallFailure, CallReport, code_text};
pub use calls::{Calls, LoadedCall};
pub use client_config::{ClientConfig, ClientResource};
pub use disruption::Disruption;
pub use disturb::SLOW_MAX;
pub use error::{ApplyError, CallError, DisturbError, Fault, StartError, TargetError, WaitError};
pub use inject::{Resource, ResourceError};
pub use load::{LOAD_CALLS_MAX, Load, RunningLoad};
pub use machines::Machine;
pub use manifests::{IntoManifests, Manifest, Manifests, ReadError};
pub(crate) use named::ObjectName;
pub use nodes::Nodes;
pub use objects::{Applied, Deleted};
pub use pods::{ContainerExit, PodRow, PodTable};
pub use recorded::RecordedError;
pub use tables::{Listed, Table};
pub use xds::Responses;

pub use crate::cluster::machines::BootError;
pub use crate::cluster::{ApplyOutcome, Crash};

use crate::cluster::Cluster;
use crate::cluster::kubelet::{Inside, OnePod};
use crate::engine::{ContainerSpec, PodId, Simulation, World};
use crate::image::Process;
use crate::trace::{Recorded, Trace};
use clients::Clients;
use converged::Until;
use dangling::Dangling;
use disturb::{BrokenLinks, Endings};
use events::{CallEnded, CallStarted};

/// How long waits last, in simulated time, unless they say more.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The container that injection adds.
const AGENT: &str = "istio-proxy";

/// How long istiod may take to tell of ready pods: its longest debounce.
const TELLING: Duration = Duration::from_secs(10);

/// A simulated cluster with a mesh in it, and the time that passes there.
pub struct Mesh {
    simulation: Simulation,
    cluster: Cluster,
    /// For objects and workloads that name none.
    namespace: String,
    /// What is given as the cause of what is done next.
    cause: Option<EventId>,
    /// Long enough for whatever is under way between pods to arrive.
    quiet: Duration,
    clients: Clients,
    dangling: Dangling,
    /// How many loads there were of each name in each pod.
    loads: BTreeMap<String, u32>,
    broken_links: BrokenLinks,
    /// Pods whose clocks are wrong, or were.
    skewed: BTreeSet<PodId>,
    /// Pods whose tokens are not replaced, or were not.
    tokens_kept: BTreeSet<OnePod>,
    /// Volumes that are full or torn, or were, with their pods.
    disks: BTreeSet<(OnePod, String)>,
    endings: Endings,
    _repeat: Repeat,
}

/// Tells a test that fails how to see the same again.
struct Repeat {
    world: World,
    /// Whether the test leaves the seed to the environment.
    by_variable: bool,
}

impl Repeat {
    fn text(&self) -> String {
        let (seed, now) = (self.world.seed(), self.world.now().as_secs_f64());
        let how = if self.by_variable {
            format!("; {}={seed} repeats it", builder::SEED_VARIABLE)
        } else {
            ", the test's own: it comes to the same each time".to_owned()
        };
        format!("at {now:.3} s of simulated time with seed {seed}{how}")
    }
}

impl Drop for Repeat {
    #[expect(clippy::print_stderr, reason = "where the test's own panic goes")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.text());
        }
    }
}

/// Time.
impl Mesh {
    /// Lets simulated time pass. The answer is when it began and ended to do so.
    ///
    /// # Panics
    /// On a [`Fault`].
    #[track_caller]
    pub fn run_for(&mut self, time: Duration) -> Range<Duration> {
        let result = self.try_run_for(time);
        self.must("run", result)
    }

    /// [`run_for`](Self::run_for) without panics.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn try_run_for(&mut self, time: Duration) -> Result<Range<Duration>, Fault> {
        let began = self.now();
        let ran = self.simulation.run_for(time);
        self.check_fault()?;
        ran?;
        Ok(began..self.now())
    }

    /// How long the mesh has been running.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.simulation.now()
    }

    /// Waits until every Deployment has as many ready pods as it wants, all of its current template, until every Pod
    /// without a Deployment is ready or has run to its end, and until the mesh knows of them, if it can: this takes
    /// istiod a tenth of a second, more than a test and less than people need for the next command.
    ///
    /// # Panics
    /// If that takes more than [`PATIENCE`].
    #[track_caller]
    pub fn wait_ready(&mut self) -> &mut Self {
        let result = self.try_wait_ready(&[], PATIENCE);
        self.must("wait_ready", result);
        self
    }

    /// Waits for the named workloads or pods, or for all if none is named; answers with the time it took.
    ///
    /// # Errors
    /// If there is no such workload, or if time is up: then with what each lacks.
    pub fn try_wait_ready(&mut self, workloads: &[&str], within: Duration) -> Result<Duration, WaitError> {
        let mut keys = Vec::new();
        for name in workloads {
            keys.extend(self.workload(name)?);
        }
        let all = workloads.is_empty();
        if all {
            keys = self.cluster.workloads();
        }
        let began = self.now();
        let (cluster, mut changes) = (self.cluster.clone(), self.cluster.store.changes());
        let done = |key: &ObjectKey| all && cluster.has_succeeded(key);
        let missing = || keys.iter().filter(|key| !done(key)).filter_map(|key| cluster.unready(key));
        loop {
            let ready = async {
                while missing().next().is_some() {
                    changes.raised().await;
                }
            };
            let left = within.saturating_sub(self.simulation.world().now() - began);
            let waited = self.simulation.block_on(async { tokio::time::timeout(left, ready).await });
            self.check_fault()?;
            if waited.map_err(Fault::from)?.is_err() {
                return Err(WaitError::Timeout { what: "ready", within, missing: missing().collect() });
            }
            // What stands in the way of telling is not this wait's business: a partition, a dead istiod.
            let left = within.saturating_sub(self.now() - began);
            self.settle(Until::Told, left.min(TELLING))?;
            // What was done to pods just before, their status tells only now.
            if missing().next().is_none() {
                break;
            }
        }
        Ok(self.now() - began)
    }

    /// Waits until every change has reached everyone whom it concerns and is in use: no watch event is undelivered,
    /// istiod has no push pending, every stream has answered its last response, every client has what it waits for and
    /// uses it, and nothing is under way.
    ///
    /// # Panics
    /// If that takes more than [`PATIENCE`], or if a client rejects what it got.
    #[track_caller]
    pub fn wait_converged(&mut self) -> &mut Self {
        let result = self.try_wait_converged(PATIENCE);
        self.must("wait_converged", result);
        self
    }

    /// [`wait_converged`](Self::wait_converged) without panics; answers with the time it took.
    ///
    /// # Errors
    /// If time is up: then with who is missing. If a client rejects its configuration: then with its words.
    pub fn try_wait_converged(&mut self, within: Duration) -> Result<Duration, WaitError> {
        let began = self.now();
        if self.settle(Until::Used, within)? {
            let rejections = converged::rejections(&self.cluster);
            return if rejections.is_empty() {
                Ok(self.now() - began)
            } else {
                Err(WaitError::Rejected { rejections })
            };
        }
        let mut missing = converged::unsettled(self.simulation.world(), &self.cluster, &mut self.clients, Until::Used);
        // Where no link is broken, what is under way can be seen.
        let delay = self.broken_links.delay(self.simulation.world());
        if missing.is_empty() && !delay.is_zero() {
            let quiet = self.quiet + delay;
            missing.push(format!(
                "nothing is under way as far as can be seen, but links are slow or lossy, and only {} s without \
                 anything would show it: wait `within` longer",
                quiet.as_secs()
            ));
        }
        Err(WaitError::Timeout { what: "converged", within, missing })
    }

    /// Waits for convergence; answers whether it came.
    fn settle(&mut self, until: Until, within: Duration) -> Result<bool, Fault> {
        let world = self.simulation.world().clone();
        let quiet = self.quiet + self.broken_links.delay(&world);
        let converged = converged::converged(&world, &self.cluster, &mut self.clients, until, quiet);
        let waited = self.simulation.block_on(async { tokio::time::timeout(within, converged).await.is_ok() });
        self.check_fault()?;
        Ok(waited?)
    }
}

/// Calls.
impl Mesh {
    /// Has a pod send requests, as the article does with port-forward and grpcurl. What comes of them is in the report.
    ///
    /// # Panics
    /// If there is nobody to call from.
    #[track_caller]
    pub fn call(&mut self, call: Call) -> CallReport {
        let result = self.try_call(&call);
        self.must("call", result)
    }

    /// [`call`](Self::call) without panics.
    ///
    /// # Errors
    /// If there is nobody to call from. A call that fails is a report like any other.
    pub fn try_call(&mut self, call: &Call) -> Result<CallReport, CallError> {
        let (pod, row) = self.caller(&call.from)?;
        let from = format!("{}/{}", row.namespace, row.name);
        let started = CallStarted { from: from.clone(), url: call.url.clone(), count: call.count, qps: call.qps };
        let cause = self.simulation.emit("mesh", self.cause, started).or(self.cause);
        let (began, first) = (self.now(), self.simulation.with_trace(Trace::len) + 1);
        let request = call.clone();
        let (answer, answered) = oneshot::channel();
        let spec = ContainerSpec::new("port-forward", |rt: Runtime| async move {
            let result = call::forward(rt, request).await;
            let _ = answer.send(result);
        });
        let container = self.simulation.start(pod, spec, cause);
        let world = World::clone(&self.simulation);
        let done = async {
            // The pod may go before it answers.
            let answer = answered.await.unwrap_or_else(|_| Err(tonic::Status::unavailable("the pod is gone").into()));
            world.exited(container).await;
            answer
        };
        let result = self.simulation.block_on(done);
        self.check_fault()?;
        let result = result.map_err(Fault::from)?;
        let (ended, last) = (self.now(), self.simulation.with_trace(Trace::len) + 1);
        let workloads = self.cluster.everyone(None);
        let workload = |hostname: &str| {
            let row = workloads.iter().find(|row| row.hostname == hostname)?;
            Some(pods::qualified(&row.namespace, &row.workload, &self.namespace))
        };
        let mut report = self.simulation.with_trace(|trace| {
            let events = trace.events();
            let first = usize::try_from(first - 1).unwrap_or(usize::MAX).min(events.len());
            // What a load sends from the same pod meanwhile is not of this call.
            let events: Vec<&Recorded> = events[first..].iter().filter(|event| !self.is_load(&event.at)).collect();
            call::report(call, &from, result, &events, workload)
        });
        (report.began, report.ended, report.events) = (began, ended, first..last);
        let ended = CallEnded { from, answers: report.workloads.clone(), error: report.failure.clone() };
        self.simulation.emit("mesh", cause, ended);
        Ok(report)
    }

    /// Whether a load runs there.
    fn is_load(&self, at: &str) -> bool {
        self.loads.iter().any(|(load, count)| {
            let number = |rest: &str| rest.strip_prefix('-')?.parse::<u32>().ok();
            let rest = at.strip_prefix(load.as_str());
            rest.is_some_and(|rest| rest.is_empty() || number(rest).is_some_and(|number| number <= *count))
        })
    }

    /// Each RPC of a [`call`](Self::call) to an `xds:///` target, as its channel tells; of other targets nobody does.
    #[must_use]
    pub fn calls(&self, report: &CallReport) -> Calls {
        self.with_trace(|trace| {
            Calls::of(trace, &self.namespace, |event, rpc| {
                report.events.contains(&event.seq)
                    && *rpc.target == *report.url
                    && event.is_at(&report.from)
                    && !self.is_load(&event.at)
            })
        })
    }

    /// Runs `client` as a process of its own in a pod of the workload `from`, with a channel to `target`: for calls of
    /// your own services by the client that tonic generated. The channel ends with it.
    ///
    /// # Panics
    /// If there is nobody to call from, or no bootstrap in the pod.
    #[track_caller]
    pub fn call_with<F, T>(
        &mut self,
        from: &str,
        target: &str,
        client: impl FnOnce(XdsChannel) -> F + Send + 'static,
    ) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let result = self.try_call_with(from, target, client);
        self.must("call_with", result)
    }

    /// [`call_with`](Self::call_with) without panics.
    ///
    /// # Errors
    /// If there is nobody to call from, or no channel to call with.
    pub fn try_call_with<F, T>(
        &mut self,
        from: &str,
        target: &str,
        client: impl FnOnce(XdsChannel) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let to = target.to_owned();
        let client = |process: Process| async move {
            let credentials = ChannelCredentials::xds_with_insecure_fallback();
            let channel = XdsChannel::connect(&process.runtime(), &to, credentials).await;
            match channel {
                Ok(channel) => Ok(client(channel).await),
                Err(error) => Err(CallError::Client { message: format!("{to}: {error}") }),
            }
        };
        self.try_run_in(from, client)?
    }

    /// Runs `program` as a process of its own in a pod of the workload `from`, beside its first application container:
    /// with that one's environment, volumes and network. Time passes until it is done.
    ///
    /// # Panics
    /// If there is no such pod, or if the program ends without an answer.
    #[track_caller]
    pub fn run_in<F, T>(&mut self, from: &str, program: impl FnOnce(Process) -> F + Send + 'static) -> T
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let result = self.try_run_in(from, program);
        self.must("run_in", result)
    }

    /// [`run_in`](Self::run_in) without panics.
    ///
    /// # Errors
    /// If there is no such pod, or if the program ends without an answer: by a panic, or with its pod.
    pub fn try_run_in<F, T>(
        &mut self,
        from: &str,
        program: impl FnOnce(Process) -> F + Send + 'static,
    ) -> Result<T, CallError>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let (pod, row) = self.caller(from)?;
        let inside = self.inside(&row);
        let (answer, answered) = oneshot::channel();
        let mut spec = ContainerSpec::new("client", |rt: Runtime| async move {
            // Whoever asked is waiting, unless the run has ended.
            let _ = answer.send(program(Process::new(rt, Arc::new([]), None)).await);
        });
        (spec.env, spec.mounts) = (inside.env, inside.mounts);
        let container = self.simulation.start(pod, spec, self.cause);
        let world = World::clone(&self.simulation);
        let done = async {
            let answer = answered.await;
            let status = world.exited(container).await;
            let message = || status.message.unwrap_or_else(|| format!("it exited with code {}", status.code));
            answer.map_err(|_| CallError::Client { message: message() })
        };
        let result = self.simulation.block_on(done);
        self.check_fault()?;
        result.map_err(Fault::from)?
    }
}

/// What there is to see.
impl Mesh {
    /// The pods of the mesh's namespace, as `kubectl get pods` shows them.
    #[must_use]
    pub fn get_pods(&self) -> PodTable {
        self.get_pods_in(&self.namespace)
    }

    /// The pods of any namespace.
    #[must_use]
    pub fn get_pods_in(&self, namespace: &str) -> PodTable {
        PodTable { rows: self.cluster.pods(Some(namespace)), namespace: namespace.to_owned() }
    }

    /// Looks at everything that has happened so far.
    pub fn with_trace<T>(&self, look: impl FnOnce(&Trace) -> T) -> T {
        self.simulation.with_trace(look)
    }

    /// Ends the run and hands out its trace.
    #[must_use]
    pub fn finish(self) -> Trace {
        let Self { simulation, cluster, .. } = self;
        drop(cluster);
        simulation.finish()
    }

    /// Panics of images that are not built in, in the order in which they happened. Their containers exited with 101
    /// and were restarted.
    #[must_use]
    pub fn crashes(&self) -> Vec<Crash> {
        self.cluster.kubelet.crashes()
    }

    /// The namespace of objects and workloads that name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The seed of all random choices.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.simulation.seed()
    }
}

impl Mesh {
    /// Gives `cause` as the cause of all that is done from now on.
    pub(crate) fn because(&mut self, cause: Option<EventId>) {
        self.cause = cause;
    }

    /// The simulation's world, for those who record what they do.
    pub(crate) fn world(&self) -> &World {
        &self.simulation
    }

    /// What the first application container of a pod has around it.
    fn inside(&self, row: &PodRow) -> Inside {
        let key = ObjectKey::new(Kind::Pod, &row.namespace, &row.name);
        let application = row.containers.iter().find(|name| *name != AGENT).cloned().unwrap_or_default();
        self.cluster.inside(&key, &application).unwrap_or_default()
    }

    /// Does something within the simulation, where there is a clock, without letting time pass.
    fn at_once<T>(&mut self, deed: impl FnOnce() -> T) -> Result<T, Fault> {
        let done = self.simulation.block_on(async { deed() });
        self.check_fault()?;
        Ok(done?)
    }

    fn check_fault(&self) -> Result<(), Fault> {
        self.cluster.kubelet.take_fault().map_or(Ok(()), Err)
    }

    /// Panics at the line of whoever called the method that calls this.
    #[track_caller]
    fn must<T, E: fmt::Display>(&self, what: &str, result: Result<T, E>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh")
            .field("seed", &self.seed())
            .field("now", &self.now())
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_test_is_told_how_to_see_the_same_again() {
        let text = |by_variable| {
            let simulation = Simulation::new(crate::engine::Config::new(7));
            Repeat { world: simulation.world().clone(), by_variable }.text()
        };
        assert_eq!(text(true), "at 0.000 s of simulated time with seed 7; HERMESH_SEED=7 repeats it");
        assert_eq!(
            text(false),
            "at 0.000 s of simulated time with seed 7, the test's own: it comes to the same each time"
        );
    }
}
