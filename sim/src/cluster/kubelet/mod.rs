//! The kubelet: what turns Pod objects into running containers and tells how they fare.
//!
//! One worker per pod starts its containers in order ([`order`]), restarts what crashed, runs hooks and probes, and
//! writes the pod's status into the store. Probes go from the node through the simulated network, as a cluster's do.
//!
//! Source: kubernetes `pkg/kubelet`.

pub(crate) mod backoff;
mod commands;
mod environment;
mod expand;
mod grpc_health_probe;
mod health;
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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::ca::SignedTokens;
use hermesh_istiod::objects::{Kind, Object, ObjectKey, Pod};
use hermesh_runtime::{EventId, Runtime};
use tokio::sync::mpsc;

use super::addresses::Pool;
use super::store::{Change, Store, Watch};
use crate::engine::{ContainerId, ContainerSpec, Exit, ExitReason, ExitStatus, Mount, PodId, PodSpec, World};
use crate::image::Images;
use crate::mesh::Fault;
use crate::signal::Signal;
use worker::{Message, Worker};

/// The one node of the cluster.
pub(crate) const NODE: &str = "node-1";
const NODE_ADDRESS: [u8; 4] = [10, 0, 0, 1];

/// The kubelet of the node; clones share it.
#[derive(Clone)]
pub(crate) struct Kubelet {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    world: World,
    store: Store,
    images: Images,
    tokens: SignedTokens,
    /// The node's own network.
    node: Runtime,
    host_ip: IpAddr,
    state: Mutex<State>,
    /// Counts changes of ConfigMaps and ServiceAccounts that pods may wait for.
    configuration: Signal,
}

#[derive(Default)]
struct State {
    pods: BTreeMap<ObjectKey, Handle>,
    addresses: Option<Pool>,
    /// Images that the node has.
    pulled: std::collections::BTreeSet<String>,
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

/// What others see of a pod.
struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    net: Option<PodId>,
    running: BTreeMap<String, ContainerId>,
    /// What a further process in a container sees, by the container's name.
    inside: BTreeMap<String, Inside>,
}

/// Environment and volumes of a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inside {
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) mounts: Vec<Mount>,
}

impl Kubelet {
    /// A node with its kubelet. Pods run from the moment [`run`](Self::run) is polled.
    pub(crate) fn new(world: &World, store: &Store, images: Images, tokens: SignedTokens) -> Self {
        let host_ip = IpAddr::from(NODE_ADDRESS);
        let net = world.add_pod(PodSpec::new(format!("node/{NODE}"), [host_ip]), None);
        // It has no program of its own: its runtime is the node's end of probes.
        let idle = ContainerSpec::new("kubelet", |_| std::future::pending::<Exit>());
        let container = world.start(net, idle, None);
        let shared = Shared {
            world: world.clone(),
            store: store.clone(),
            images,
            tokens,
            node: world.runtime_in(container),
            host_ip,
            state: Mutex::new(State { addresses: Some(Pool::pods()), ..State::default() }),
            configuration: Signal::default(),
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
                _ => {}
            }
        }
    }

    /// The kinds that [`run`](Self::run) wants watched.
    pub(crate) const WATCHED: [Kind; 3] = [Kind::Pod, Kind::ConfigMap, Kind::ServiceAccount];

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
                let handle =
                    Handle { messages: messages.clone(), net: None, running: BTreeMap::new(), inside: BTreeMap::new() };
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
    /// A panic ends the run if it is Hermesh's, and is kept for the report if it is the user's.
    fn note_crash(&self, built_in: bool, container: &str, status: &ExitStatus) {
        if !matches!(status.reason, ExitReason::Panicked | ExitReason::ForeignTask) {
            return;
        }
        let (container, message) = (container.to_owned(), status.message.clone().unwrap_or_default());
        let mut state = self.lock();
        if built_in {
            state.fault.get_or_insert(Fault::Panic { container, message });
        } else {
            state.crashes.push(Crash { container, message, event: status.event.map(EventId::seq) });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long until `image` is there: some seconds the first time, a look at the registry afterwards.
    fn pull_delay(&self, image: &str, container: &str) -> Duration {
        let mut draws = self.world.runtime().draws(&format!("pull/{container}"));
        let first = self.lock().pulled.insert(image.to_owned());
        let (low, high) = if first { FIRST_PULL_MS } else { LATER_PULL_MS };
        Duration::from_millis(draws.between(low, high))
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

/// Bounds on how long the first pull of an image takes, in milliseconds.
const FIRST_PULL_MS: (u64, u64) = (400, 1500);
/// Bounds on how long it takes to see that the image is there.
const LATER_PULL_MS: (u64, u64) = (20, 200);
