//! The kubelet: what turns Pod objects into running containers and tells how they fare.
//!
//! One worker per pod starts its containers in order ([`order`]), restarts what crashed, runs hooks and probes, and
//! writes the pod's status into the store. Probes go from the pod's node through the simulated network, as a cluster's
//! do.
//!
//! Source: kubernetes `pkg/kubelet`.

pub(crate) mod backoff;
mod commands;
mod environment;
mod expand;
mod grpc_health_probe;
mod health;
pub(crate) mod nodes;
pub(crate) mod order;
mod payload;
pub(crate) mod probe;
mod probes;
mod pull;
pub(crate) mod stand_in;
pub(crate) mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::ca::SignedTokens;
use hermesh_istiod::objects::{Kind, Object, ObjectKey, Pod};
use hermesh_runtime::EventId;
use tokio::sync::mpsc;

use super::Setup;
use super::addresses::Pool;
use super::store::{Change, Store, Watch};
use crate::cluster::events::{VolumeFilled, VolumeFreed};
use crate::engine::{ContainerId, ExitReason, ExitStatus, Mount, PodId, Volume, World};
use crate::image::{Images, Pull};
use crate::mesh::Fault;
use crate::signal::Signal;
use nodes::Node;
pub(crate) use volumes::Tokens;
use worker::{Message, Worker};

/// The kubelets of all nodes; clones share them.
#[derive(Clone)]
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    world: World,
    store: Store,
    images: Images,
    tokens: SignedTokens,
    delays: Vec<StartDelay>,
    /// Whether pods choose their nodes: where nobody has said which there are, they cannot.
    choosy: bool,
    /// How long pulls take, where somebody says so.
    pulls: Vec<Pull>,
    state: Mutex<State>,
    /// Counts changes of ConfigMaps and ServiceAccounts that pods may wait for.
    configuration: Signal,
    /// Counts changes of Nodes, for which pods may wait.
    nodes_changed: Signal,
    /// Raised when a node has power again.
    power: Signal,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<ObjectKey, Handle>,
    nodes: Vec<Node>,
    addresses: Option<Pool>,
    fault: Option<Fault>,
    /// Panics of images that are the user's.
    crashes: Vec<Crash>,
}

/// A panic in an image of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Crash {
    /// `namespace/pod/container`.
    pub container: String,
    /// What it said.
    pub message: String,
    /// The event that records the end of the container.
    pub event: Option<u64>,
}

/// A pod, and not another one that has its name later on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OnePod {
    pub(crate) key: ObjectKey,
    uid: String,
}

/// What others see of a pod.
struct Handle {
    uid: String,
    messages: mpsc::UnboundedSender<Message>,
    /// Where it runs, once that is decided.
    node: Option<usize>,
    net: Option<PodId>,
    running: BTreeMap<String, ContainerId>,
    /// What a further process in a container sees, by the container's name.
    inside: BTreeMap<String, Inside>,
    volumes: BTreeMap<String, Volume>,
}

/// What becomes of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disk {
    /// It is as it should be.
    Whole,
    /// It has no room.
    Full,
    /// So many writes stop in the middle.
    Torn { count: u64 },
}

/// How long a container of a workload takes before its program starts.
#[derive(Clone, Debug)]
pub(crate) struct StartDelay {
    pub(crate) namespace: String,
    pub(crate) workload: String,
    pub(crate) container: String,
    /// Drawn for each start.
    pub(crate) by: RangeInclusive<Duration>,
}

/// Environment and volumes of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inside {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) mounts: Vec<Mount>,
}

impl Kubelet {
    /// Nodes with their kubelets. Pods run from the moment [`run`](Self::run) is polled.
    pub(crate) fn new(world: &World, store: &Store, tokens: SignedTokens, setup: Setup) -> Self {
        let Setup { images, delays, nodes, choosy, pulls, .. } = setup;
        let nodes = nodes.into_iter().enumerate().map(|(index, spec)| Node::new(world, index, spec)).collect();
        let shared = Shared {
            world: world.clone(),
            store: store.clone(),
            images,
            tokens,
            delays,
            choosy,
            pulls,
            state: Mutex::new(State { nodes, addresses: Some(Pool::pods()), ..State::default() }),
            configuration: Signal::default(),
            nodes_changed: Signal::default(),
            power: Signal::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Follows the store for good.
    pub(crate) async fn run(self, mut watch: Watch) {
        loop {
            let delivery = watch.next().await;
            match delivery.change {
                Change::Applied(Object::Pod(pod)) => self.pod(&pod, delivery.cause),
                Change::Applied(Object::ConfigMap(_) | Object::ServiceAccount(_)) => {
                    self.shared.configuration.raise();
                }
                Change::Applied(Object::Node(_)) => self.shared.nodes_changed.raise(),
                _ => {}
            }
        }
    }

    /// The kinds that [`run`](Self::run) wants watched.
    pub(crate) const WATCHED: [Kind; 4] = [Kind::Node, Kind::Pod, Kind::ConfigMap, Kind::ServiceAccount];

    fn pod(&self, pod: &Arc<Pod>, cause: Option<EventId>) {
        let key = pod.key();
        let mut state = self.shared.lock();
        match state.pods.get(&key) {
            None => {
                // It may be gone by now, and another pod have its name.
                let stored = self.shared.store.get(&key);
                if stored.is_none_or(|stored| stored.metadata().uid != pod.metadata.uid) {
                    return;
                }
                let (messages, inbox) = mpsc::unbounded_channel();
                let handle = Handle {
                    uid: pod.metadata.uid.clone(),
                    messages: messages.clone(),
                    node: None,
                    net: None,
                    running: BTreeMap::new(),
                    inside: BTreeMap::new(),
                    volumes: BTreeMap::new(),
                };
                state.pods.insert(key, handle);
                let worker = Worker::new(Arc::clone(&self.shared), Pod::clone(pod), inbox, messages, cause);
                self.shared.world.runtime().spawn("kubelet.pod", worker.run());
            }
            Some(handle) => {
                let Some(at) = pod.metadata.deletion_timestamp else {
                    if !pod.spec.readiness_gates.is_empty() {
                        let conditions = pod.status.conditions.clone();
                        let _ = handle.messages.send(Message::Conditions { conditions, cause });
                    }
                    return;
                };
                let grace = Duration::from_secs(pod.spec.termination_grace_period_seconds);
                // A worker that is gone has deleted its pod already.
                let _ = handle.messages.send(Message::Delete { at, grace, cause });
            }
        }
    }

    /// The pod that has this name now.
    pub(crate) fn one(&self, pod: &ObjectKey) -> Option<OnePod> {
        let uid = self.shared.lock().pods.get(pod)?.uid.clone();
        Some(OnePod { key: pod.clone(), uid })
    }

    /// The network of a pod that runs.
    pub(crate) fn net(&self, pod: &ObjectKey) -> Option<PodId> {
        self.shared.lock().pods.get(pod)?.net
    }

    /// The runs of a pod's containers, by name.
    pub(crate) fn running(&self, pod: &ObjectKey) -> BTreeMap<String, ContainerId> {
        self.shared.lock().pods.get(pod).map(|handle| handle.running.clone()).unwrap_or_default()
    }

    /// What a further process in a pod's container would see; `None` if the container was never started.
    pub(crate) fn inside(&self, pod: &ObjectKey, container: &str) -> Option<Inside> {
        self.shared.lock().pods.get(pod)?.inside.get(container).cloned()
    }

    /// Ends a container as gently as its pod's deletion would; the restart policy starts it again.
    pub(crate) fn restart(&self, pod: &ObjectKey, container: &str, cause: Option<EventId>) {
        if let Some(handle) = self.shared.lock().pods.get(pod) {
            let _ = handle.messages.send(Message::Restart { container: container.to_owned(), cause });
        }
    }

    /// How far the clock of a pod is ahead, in nanoseconds.
    pub(crate) fn clock(&self, net: PodId) -> i64 {
        self.shared.world.clock_skew(net)
    }

    /// Sets how far the clock of a pod is ahead, in nanoseconds.
    pub(crate) fn set_clock(&self, net: PodId, skew_ns: i64, cause: Option<EventId>) {
        self.shared.world.set_clock_skew(net, skew_ns, cause);
        let state = self.shared.lock();
        if let Some(handle) = state.pods.values().find(|handle| handle.net == Some(net)) {
            let _ = handle.messages.send(Message::Clock);
        }
    }

    /// Decides what becomes of a pod's tokens, if it is there.
    pub(crate) fn set_tokens(&self, pod: &OnePod, tokens: Tokens, cause: Option<EventId>) {
        if let Some(handle) = self.shared.lock().pods.get(&pod.key).filter(|handle| handle.uid == pod.uid) {
            let _ = handle.messages.send(Message::Tokens { tokens, cause });
        }
    }

    /// The volumes of a pod that runs, by name.
    pub(crate) fn volumes(&self, pod: &ObjectKey) -> Vec<(String, Volume)> {
        let state = self.shared.lock();
        let volumes = state.pods.get(pod).into_iter().flat_map(|handle| &handle.volumes);
        volumes.map(|(name, volume)| (name.clone(), volume.clone())).collect()
    }

    /// Decides what becomes of a pod's volume, if the pod is there.
    pub(crate) fn set_disk(&self, pod: &OnePod, name: &str, disk: Disk, cause: Option<EventId>) {
        if self.one(&pod.key).as_ref() != Some(pod) {
            return;
        }
        let pod = &pod.key;
        let Some((_, volume)) = self.volumes(pod).into_iter().find(|(own, _)| own == name) else { return };
        let (path, name) = (format!("{}/{}", pod.namespace, pod.name), name.to_owned());
        let node = self.shared.lock().pods.get(pod).and_then(|handle| handle.node).unwrap_or_default();
        let at = format!("node/{}", self.shared.node_name(node));
        match disk {
            Disk::Whole => {
                volume.set_full(false);
                volume.tear_writes(0, None);
                self.shared.world.emit(&at, cause, VolumeFreed { pod: path, volume: name });
            }
            Disk::Full => {
                volume.set_full(true);
                self.shared.world.emit(&at, cause, VolumeFilled { pod: path, volume: name });
            }
            Disk::Torn { count } => volume.tear_writes(count, cause),
        }
    }

    /// Takes what makes the whole run meaningless, if that happened.
    pub(crate) fn take_fault(&self) -> Option<Fault> {
        self.shared.lock().fault.take()
    }

    /// The panics of users' images so far.
    pub(crate) fn crashes(&self) -> Vec<Crash> {
        self.shared.lock().crashes.clone()
    }

    /// Notes the end of what no kubelet runs: a panic ends the run if it is Hermesh's, and is kept for the report if it
    /// is the user's.
    pub(crate) fn note_crash(&self, built_in: bool, container: &str, status: &ExitStatus) {
        self.shared.note_crash(built_in, container, status);
    }

    /// The images that can run.
    pub(crate) fn images(&self) -> &Images {
        &self.shared.images
    }
}

impl Shared {
    /// A panic ends the run if it is Hermesh's, and is kept for the report if it is the user's. Whoever
    /// leaves the simulation ends the run.
    fn note_crash(&self, built_in: bool, container: &str, status: &ExitStatus) {
        if !matches!(status.reason, ExitReason::Panicked | ExitReason::LeftSimulation) {
            return;
        }
        let (container, message) = (container.to_owned(), status.message.clone().unwrap_or_default());
        let mut state = self.lock();
        if built_in {
            state.fault.get_or_insert(Fault::Panic { container, message });
        } else if status.reason == ExitReason::LeftSimulation {
            state.fault.get_or_insert(Fault::LeftSimulation { container, message });
        } else {
            state.crashes.push(Crash { container, message, event: status.event.map(EventId::seq) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_address(&self) -> IpAddr {
        let mut state = self.lock();
        let pool = state.addresses.as_mut().expect("a kubelet is made with its pool");
        pool.lowest().expect("the pool has 65 000 addresses, more than a simulation has pods")
    }

    fn release_address(&self, address: IpAddr) {
        if let Some(pool) = self.lock().addresses.as_mut() {
            pool.release(address);
        }
    }
}
