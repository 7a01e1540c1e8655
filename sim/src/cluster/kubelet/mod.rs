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
mod stand_in;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::ca::SignedTokens;
use hermesh_istiod::objects::{Kind, Object, ObjectKey, Pod};
use hermesh_runtime::EventId;
use tokio::sync::mpsc;

use super::Setup;
use super::addresses::Pool;
use super::store::{Change, Store, Watch};
use crate::engine::{ContainerId, Mount, PodId, World};
use crate::image::{Images, Pull};
use crate::mesh::Fault;
use crate::signal::Signal;
use nodes::Node;
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

/// What others see of a pod.
struct Handle {
    messages: mpsc::UnboundedSender<Message>,
    /// Where it runs, once that is decided.
    node: Option<usize>,
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
    /// Nodes with their kubelets. Pods run from the moment [`run`](Self::run) is polled.
    pub(crate) fn new(world: &World, store: &Store, tokens: SignedTokens, setup: Setup) -> Self {
        let Setup { images, nodes, choosy, pulls, .. } = setup;
        let nodes = nodes.into_iter().enumerate().map(|(index, spec)| Node::new(world, index, spec)).collect();
        let shared = Shared {
            world: world.clone(),
            store: store.clone(),
            images,
            tokens,
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
                    messages: messages.clone(),
                    node: None,
                    net: None,
                    running: BTreeMap::new(),
                    inside: BTreeMap::new(),
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

    /// The images that can run.
    pub(crate) fn images(&self) -> &Images {
        &self.shared.images
    }
}

impl Shared {
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
