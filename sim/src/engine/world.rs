//! [`World`], by which controllers act on pods, containers and the network.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hermesh_runtime::{Event, EventId, Runtime};

use super::container::{ContainerId, ContainerSpec, ExitReason, ExitStatus, PodId, PodSpec};
use super::events;
use super::executor::Executor;
use super::fault::{LinkFault, NotShown};
use super::net::{Latency, Net, Owner};
use super::network::{AnyNet, Network};
use super::process::Process;
use super::recorder::Recorder;
use super::scope::{Namespace, Parts, Scope};
use super::simulation::Config;
use super::turmoil;
use super::volume::{Files, Volume};
use crate::trace::Trace;

/// Answers DNS: the addresses of a host as the pod `namespace/name` sees them, or `None` if there is no such name.
pub type Resolver = Arc<dyn Fn(&str, &str) -> Option<Vec<IpAddr>> + Send + Sync>;

/// Routes connections as kube-proxy does: where one from the pod `namespace/name` to an address goes.
pub type Router = Arc<dyn Fn(&str, SocketAddr) -> Route + Send + Sync>;

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To whoever has the address; if nobody has, the SYN is lost.
    Direct,
    /// To another address, as for a Service's virtual one; the client does not see the difference.
    To(SocketAddr),
    /// Nowhere: it is refused at once.
    Refuse,
}

impl Route {
    /// Where a connection to this address goes, if it is not refused.
    pub(super) fn destination(self, to: SocketAddr) -> SocketAddr {
        match self {
            Self::To(backend) => backend,
            Self::Direct | Self::Refuse => to,
        }
    }
}

/// The world around the containers of one simulation; cheap to clone.
///
/// Every deed takes the event it follows from, which becomes the cause of what it leads to.
#[derive(Clone)]
pub struct World(Arc<Inner>);

struct Inner {
    seed: u64,
    epoch: Duration,
    recorder: Arc<Recorder>,
    net: Mutex<AnyNet>,
    executor: Executor,
    state: Mutex<State>,
}

struct State {
    cluster: Option<Arc<Scope>>,
    pods: Vec<Pod>,
    containers: Vec<Arc<Scope>>,
    /// How often a pod, or a container of a pod, of this name was made.
    incarnations: BTreeMap<String, u64>,
    resolver: Option<Resolver>,
    router: Option<Router>,
    sockets_made: u64,
}

struct Pod {
    namespace: Arc<Namespace>,
    containers: Vec<ContainerId>,
    volumes: Vec<Volume>,
}

/// Owner number of the cluster's tasks, which have no sockets.
const CLUSTER: u32 = u32::MAX;

impl World {
    pub(super) fn new(config: &Config, trace: Trace) -> Self {
        let recorder = Arc::new(Recorder::new(trace, config.level));
        let latency = nanos(&config.latency);
        let net = match config.network {
            Network::Simulated => AnyNet::Simulated(Net::new(Arc::clone(&recorder), config.seed, latency)),
            Network::Turmoil => AnyNet::Turmoil(turmoil::Net::new(Arc::clone(&recorder), latency)),
        };
        let world = Self(Arc::new(Inner {
            seed: config.seed,
            epoch: config.epoch,
            recorder,
            net: Mutex::new(net),
            executor: Executor::new(),
            state: Mutex::new(State {
                cluster: None,
                pods: Vec::new(),
                containers: Vec::new(),
                incarnations: BTreeMap::new(),
                resolver: None,
                router: None,
                sockets_made: 0,
            }),
        }));
        let parts = Parts {
            owner: Owner { number: CLUSTER, at: "cluster".into() },
            draws_path: "cluster".to_owned(),
            incarnation: 0,
            pod: None,
            args: Vec::new(),
            env: BTreeMap::new(),
            files: Files::new(Volume::new(), []),
        };
        let cluster = Scope::new(world.clone(), parts);
        world.state().cluster = Some(cluster);
        world
    }

    /// Simulated time since the start.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.recorder.now())
    }

    /// Wall time since 1970, by a clock that is right.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.0.epoch + self.now()
    }

    /// The seed of all random choices.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.seed
    }

    /// The runtime of the cluster's own tasks: its draws are `cluster/..`, its events happen at `cluster`, it has no
    /// network. A panic in one of its tasks ends the run.
    ///
    /// # Panics
    /// If the simulation has ended.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        Process::runtime(self.cluster())
    }

    /// The runtime of a container, for what others start in it, such as probes and hooks. All fails once it has ended.
    /// A container is one process: what [`Runtime::shared`] finds is the container's.
    #[must_use]
    pub fn runtime_in(&self, container: ContainerId) -> Runtime {
        Process::runtime(self.scope(container))
    }

    /// Records an event that happens at `at`.
    pub fn emit<E: Event>(&self, at: &str, cause: Option<EventId>, event: E) -> Option<EventId> {
        if !self.0.recorder.records(E::LEVEL) {
            return None;
        }
        self.0.recorder.emit(&at.into(), cause, event)
    }

    /// Looks at the trace so far. `look` must not emit.
    pub fn with_trace<T>(&self, look: impl FnOnce(&Trace) -> T) -> T {
        look(&self.0.recorder.trace())
    }
}

/// Pods.
impl World {
    /// Adds a pod: a network namespace without processes.
    ///
    /// # Panics
    /// If another pod has one of its addresses.
    pub fn add_pod(&self, spec: PodSpec, cause: Option<EventId>) -> PodId {
        let PodSpec { name, addresses, hostname } = spec;
        let incarnation = self.incarnation(name.clone());
        let name: Arc<str> = name.into();
        let id = self.net(|net| net.add_pod(Arc::clone(&name), incarnation, addresses, cause));
        let namespace = Arc::new(Namespace { id, name, hostname, skew_ns: AtomicI64::new(0) });
        self.state().pods.push(Pod { namespace, containers: Vec::new(), volumes: Vec::new() });
        id
    }

    /// Kills what runs in a pod and frees its addresses for others.
    pub fn remove_pod(&self, pod: PodId, cause: Option<EventId>) {
        if self.is_removed(pod) {
            return;
        }
        for container in self.containers(pod) {
            self.kill(container, cause);
        }
        self.net(|net| net.remove_pod(pod, cause));
    }

    /// Whether a pod was removed; its number is no other's.
    #[must_use]
    pub fn is_removed(&self, pod: PodId) -> bool {
        self.net(|net| net.is_removed(pod))
    }

    /// `namespace/name`.
    #[must_use]
    pub fn pod_name(&self, pod: PodId) -> Arc<str> {
        Arc::clone(&self.state().pods[pod.index()].namespace.name)
    }

    /// A pod's addresses.
    #[must_use]
    pub fn addresses(&self, pod: PodId) -> Vec<IpAddr> {
        self.net(|net| net.addresses(pod))
    }

    /// All runs of a pod's containers so far, in the order they were started.
    #[must_use]
    pub fn containers(&self, pod: PodId) -> Vec<ContainerId> {
        self.state().pods[pod.index()].containers.clone()
    }

    /// `namespace/pod/container`.
    #[must_use]
    pub fn container_name(&self, container: ContainerId) -> Arc<str> {
        Arc::clone(self.scope(container).at())
    }

    /// Sets how far the wall clock of a pod's node is ahead, in nanoseconds. Monotonic time is not touched.
    pub fn set_clock_skew(&self, pod: PodId, skew_ns: i64, cause: Option<EventId>) -> Option<EventId> {
        let namespace = Arc::clone(&self.state().pods[pod.index()].namespace);
        namespace.skew_ns.store(skew_ns, Relaxed);
        let event = events::ClockSet { pod: namespace.name.to_string(), ahead_ms: skew_ns / 1_000_000 };
        self.emit("network", cause, event)
    }

    /// How far the wall clock of a pod's node is ahead, in nanoseconds.
    #[must_use]
    pub fn clock_skew(&self, pod: PodId) -> i64 {
        self.state().pods[pod.index()].namespace.skew_ns.load(Relaxed)
    }

    /// Turns a pod's power off: its processes are gone, its kernel sends nothing, its peers learn of it by silence.
    /// Volumes lose what was not on disk.
    pub fn power_off(&self, pod: PodId, cause: Option<EventId>) -> Option<EventId> {
        let event = self.net(|net| net.power_off(pod, cause));
        for container in self.containers(pod) {
            self.end(&self.scope(container), Ending { code: 137, reason: ExitReason::PowerOff, message: None }, event);
        }
        let volumes = self.state().pods[pod.index()].volumes.clone();
        for volume in volumes {
            volume.lose_power(self.now());
        }
        event
    }

    /// Turns the power on again. Containers are started by [`start`](Self::start).
    pub fn power_on(&self, pod: PodId, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.power_on(pod, cause))
    }
}

/// Containers.
impl World {
    /// Starts a container. In a pod that is off or removed it ends at once.
    pub fn start(&self, pod: PodId, spec: ContainerSpec, cause: Option<EventId>) -> ContainerId {
        let ContainerSpec { name, args, env, mounts, root, main } = spec;
        let namespace = Arc::clone(&self.state().pods[pod.index()].namespace);
        let at = format!("{}/{name}", namespace.name);
        let incarnation = self.incarnation(at.clone());
        let files = Files::new(root, mounts.iter().map(|mount| (mount.path.as_path(), &mount.volume)));
        let (id, scope) = {
            let mut state = self.state();
            let id = ContainerId(u32::try_from(state.containers.len()).expect("memory ends before that"));
            let scope = Scope::new(
                self.clone(),
                Parts {
                    owner: Owner { number: id.0, at: at.as_str().into() },
                    draws_path: format!("pod/{at}"),
                    incarnation,
                    pod: Some(namespace),
                    args,
                    env,
                    files,
                },
            );
            state.containers.push(Arc::clone(&scope));
            let pod = &mut state.pods[pod.index()];
            pod.containers.push(id);
            for mount in mounts {
                if !pod.volumes.iter().any(|volume| volume.is(&mount.volume)) {
                    pod.volumes.push(mount.volume);
                }
            }
            (id, scope)
        };
        let started = events::ContainerStarted { args: scope.args.clone(), incarnation };
        self.0.recorder.emit(scope.at(), cause, started);
        let runtime = Process::runtime(Arc::clone(&scope));
        let (world, main_scope) = (self.clone(), Arc::clone(&scope));
        let main = async move {
            let exit = main(runtime).await;
            let ending = Ending { code: exit.code, reason: ExitReason::Exited, message: exit.message };
            world.end(&main_scope, ending, None);
        };
        scope.spawn("main", Box::pin(main));
        if self.net(|net| net.is_off(pod) || net.is_removed(pod)) {
            self.end(&scope, Ending { code: 137, reason: ExitReason::PowerOff, message: None }, cause);
        }
        id
    }

    /// Kills a container by SIGKILL: it does nothing more, and its sockets close as a kernel closes them.
    pub fn kill(&self, container: ContainerId, cause: Option<EventId>) {
        self.end(&self.scope(container), Ending { code: 137, reason: ExitReason::Killed, message: None }, cause);
    }

    /// Asks a container to end: SIGTERM.
    pub fn terminate(&self, container: ContainerId, cause: Option<EventId>) {
        let scope = self.scope(container);
        if !scope.ended() && !scope.terminated.is_raised() {
            scope.terminated.raise();
            let event = self.0.recorder.emit(scope.at(), cause, events::ContainerTerminating {});
            self.net(|net| net.endings().ask(scope.owner.number, event.or(cause)));
        }
    }

    /// Pauses a container by SIGSTOP: none of its tasks runs. Its sockets stay as they are: its kernel takes
    /// connections and data for it as long as there is room. A signal to end reaches it when it is resumed; SIGKILL
    /// ends it at once.
    pub fn pause(&self, container: ContainerId, cause: Option<EventId>) -> Option<EventId> {
        let scope = self.scope(container);
        if !scope.pause() {
            return None;
        }
        self.0.recorder.emit(scope.at(), cause, events::ContainerPaused {})
    }

    /// Resumes a paused container by SIGCONT. Its monotonic clock has gone on: timers that were due fire now.
    pub fn resume(&self, container: ContainerId, cause: Option<EventId>) -> Option<EventId> {
        let scope = self.scope(container);
        let waiting = scope.resume()?;
        let event = self.0.recorder.emit(scope.at(), cause, events::ContainerResumed {});
        self.0.executor.put_back(&waiting);
        event
    }

    /// How a container ended; `None` while it runs.
    #[must_use]
    pub fn status(&self, container: ContainerId) -> Option<ExitStatus> {
        self.scope(container).exited.get()
    }

    /// Whether it was paused and has not been resumed.
    #[must_use]
    pub fn is_paused(&self, container: ContainerId) -> bool {
        self.scope(container).is_paused()
    }

    /// Ends when the container has.
    pub fn exited(&self, container: ContainerId) -> impl Future<Output = ExitStatus> + Send + 'static {
        let exited = self.scope(container).exited.clone();
        async move { exited.wait().await }
    }

    /// The directory a container has as `/`, for others that shall share it.
    #[must_use]
    pub fn root(&self, container: ContainerId) -> Volume {
        self.scope(container).files.root().clone()
    }

    /// Ends all processes of a scope.
    pub(super) fn end(&self, scope: &Arc<Scope>, ending: Ending, cause: Option<EventId>) {
        let Some(tasks) = scope.end() else {
            return;
        };
        let Ending { code, reason, message } = ending;
        let cause = cause.or_else(|| self.net(|net| net.endings().asked(scope.owner.number)));
        let recorder = &self.0.recorder;
        let event = match reason {
            ExitReason::Killed => recorder.emit(scope.at(), cause, events::ContainerKilled {}),
            _ => {
                let message = message.clone();
                recorder.emit(scope.at(), cause, events::ContainerExited { code, reason, message })
            }
        };
        let silent = reason == ExitReason::PowerOff;
        let owner = scope.owner.number;
        self.net(|net| net.endings().begin(owner, event.or(cause), silent));
        for key in tasks.into_values() {
            self.0.executor.kill(key);
        }
        self.net(|net| {
            net.close_all_of(owner);
            net.endings().over(owner);
        });
        scope.exited.set(ExitStatus { code, reason, message, event });
    }
}

/// How a scope ends.
pub(super) struct Ending {
    pub(super) code: i32,
    pub(super) reason: ExitReason,
    pub(super) message: Option<String>,
}

/// The network.
impl World {
    /// Loses all packets between two pods. Connections stall; new ones time out.
    pub fn partition(&self, a: PodId, b: PodId, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.partition(a, b, cause))
    }

    /// Breaks the way from one pod to another. What is wrong with it already stays so, unless it is of the same kind.
    ///
    /// # Errors
    /// On turmoil's network, which can show none of these.
    ///
    /// # Panics
    /// If a range of latencies is empty.
    pub fn impair(
        &self,
        from: PodId,
        to: PodId,
        fault: &LinkFault,
        cause: Option<EventId>,
    ) -> Result<Option<EventId>, NotShown> {
        self.net(|net| net.impair(from, to, fault, cause))
    }

    /// Holds the link between two pods: packets wait, in both directions, and arrive in order when both are mended.
    pub fn hold(&self, a: PodId, b: PodId, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.hold(a, b, cause))
    }

    /// Whether one direction of a link can be held and released.
    pub(crate) fn has_ways(&self) -> Result<(), NotShown> {
        self.net(|net| net.has_ways())
    }

    /// Sends RST to both ends of every connection between two pods; those that are being opened are none yet. Answers
    /// with their number.
    ///
    /// # Errors
    /// On turmoil's network.
    pub fn reset(&self, a: PodId, b: PodId, cause: Option<EventId>) -> Result<usize, NotShown> {
        self.net(|net| net.reset(a, b, cause))
    }

    /// Ends one kind of fault of the way from a pod to another, if it has it. What else is wrong with it stays so.
    pub fn mend(&self, from: PodId, to: PodId, fault: &LinkFault, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.mend(from, to, fault, cause))
    }

    /// Ends whatever is wrong with the links of a pod, each by itself.
    pub(crate) fn mend_all(&self, pod: PodId, cause: Option<EventId>) {
        self.net(|net| net.mend_all(pod, cause));
    }

    /// Mends the link between two pods in both directions. What was lost arrives when it is next retransmitted, what
    /// waited at once.
    pub fn heal(&self, a: PodId, b: PodId, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.heal(a, b, cause))
    }

    /// Loses all packets between a pod and every other, those added later included.
    pub fn isolate(&self, pod: PodId, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.isolate(pod, cause))
    }

    /// Ends an isolation.
    pub fn rejoin(&self, pod: PodId, cause: Option<EventId>) -> Option<EventId> {
        self.net(|net| net.rejoin(pod, cause))
    }

    /// Sets how long packets from one pod to another take.
    ///
    /// # Panics
    /// If the range is empty, and on turmoil's network, whose links have one latency for both directions.
    pub fn set_latency(&self, from: PodId, to: PodId, latency: RangeInclusive<Duration>) {
        let latency = nanos(&latency);
        let set = self.net(|net| net.set_latency(from, to, latency));
        assert!(
            set,
            "the latency from pod {} to pod {} cannot be set on turmoil's network, which has one latency for both \
             directions: use the simulated network",
            self.pod_name(from),
            self.pod_name(to)
        );
    }

    /// Sets who answers DNS. Until then only literal addresses, `localhost` and a pod's own hostname are known.
    pub fn set_resolver(&self, resolver: Resolver) {
        self.state().resolver = Some(resolver);
    }

    /// Sets who routes connections. Until then all go where they are addressed.
    pub fn set_router(&self, router: Router) {
        self.state().router = Some(router);
    }
}

/// For the engine's other parts.
impl World {
    pub(super) fn recorder(&self) -> &Recorder {
        &self.0.recorder
    }

    pub(super) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    pub(super) fn resolver(&self) -> Option<Resolver> {
        self.state().resolver.clone()
    }

    pub(super) fn router(&self) -> Option<Router> {
        self.state().router.clone()
    }

    /// A number for the file of a Unix socket.
    pub(super) fn next_socket(&self) -> u64 {
        let mut state = self.state();
        state.sockets_made += 1;
        state.sockets_made
    }

    pub(super) fn cluster(&self) -> Arc<Scope> {
        self.state().cluster.clone().expect("the simulation has not ended")
    }

    /// Works on the network, then wakes whom that concerns.
    pub(super) fn net<T>(&self, work: impl FnOnce(&mut AnyNet) -> T) -> T {
        let mut net = self.0.net.lock().expect("the network's invariants hold");
        let result = work(&mut net);
        if net.wakes().is_empty() {
            return result;
        }
        let wakes = std::mem::take(net.wakes());
        drop(net);
        for waker in wakes {
            waker.wake();
        }
        result
    }

    /// Works on the part of turmoil's network that is ours.
    pub(super) fn turmoil<T>(&self, work: impl FnOnce(&mut turmoil::Net) -> T) -> T {
        self.net(|net| match net {
            AnyNet::Turmoil(net) => work(net),
            AnyNet::Simulated(_) => unreachable!("only turmoil's hosts and steps ask"),
        })
    }

    /// Ends everything, in order, and lets go of it.
    pub(super) fn shut_down(&self) {
        let containers = self.state().containers.clone();
        for scope in containers {
            self.end(&scope, Ending { code: 137, reason: ExitReason::Killed, message: None }, None);
        }
        let cluster = self.state().cluster.take();
        if let Some(cluster) = cluster {
            self.end(&cluster, Ending { code: 0, reason: ExitReason::Exited, message: None }, None);
        }
        let mut state = self.state();
        let hooks = (state.resolver.take(), state.router.take());
        let containers = std::mem::take(&mut state.containers);
        let pods = std::mem::take(&mut state.pods);
        // Their destructors may come back here.
        drop(state);
        drop((hooks, containers, pods));
    }

    fn scope(&self, container: ContainerId) -> Arc<Scope> {
        Arc::clone(&self.state().containers[container.index()])
    }

    fn incarnation(&self, path: String) -> u64 {
        let mut state = self.state();
        let made = state.incarnations.entry(path).or_insert(0);
        *made += 1;
        *made - 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("nothing panics while it holds the world's state")
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("now", &self.now()).finish_non_exhaustive()
    }
}

pub(super) fn nanos(range: &RangeInclusive<Duration>) -> Latency {
    let nanos = |time: &Duration| u64::try_from(time.as_nanos()).expect("a latency is shorter than 500 years");
    let latency = (nanos(range.start()), nanos(range.end()));
    assert!(latency.0 <= latency.1, "the latency range {range:?} is empty");
    latency
}
