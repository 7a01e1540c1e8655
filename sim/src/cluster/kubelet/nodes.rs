//! The nodes that pods run on: where the next pod goes, and what becomes of a node's pods when it loses power.
//!
//! Source: kubernetes `pkg/scheduler` (a pod goes to a node that is ready and that its `nodeSelector` selects) and
//! `pkg/kubelet/kubelet_node_status.go` (a kubelet that starts registers its node and tells that it is ready).

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use hermesh_istiod::objects::{Kind, Labels, Node as NodeObject, Object, ObjectKey, Pod, load, selects};
use hermesh_runtime::{EventId, Runtime};
use tokio::time::Instant;

use super::worker::Message;
use super::{Kubelet, Shared};
use crate::cluster::events::NodeReady;
use crate::engine::{ContainerSpec, Exit, PodId, PodSpec, World};

/// The most nodes that a cluster has.
pub(crate) const NODES_MAX: usize = 100;
/// The label with a node's own name.
pub(crate) const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// A node that a cluster is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    pub(crate) labels: Labels,
}

impl NodeSpec {
    /// `count` nodes called `node-1` and so on.
    pub(crate) fn numbered(count: usize) -> Vec<Self> {
        let node = |number| Self { name: format!("node-{number}"), labels: Labels::new() };
        (1..=count).map(node).collect()
    }

    /// The object under which the cluster knows it, as its kubelet registers it.
    pub(crate) fn object(&self) -> Object {
        let mut labels = self.labels.clone();
        for (label, value) in
            [(HOSTNAME_LABEL, &*self.name), ("kubernetes.io/os", "linux"), ("kubernetes.io/arch", "amd64")]
        {
            labels.insert(label.to_owned(), value.to_owned());
        }
        let labels = serde_json::to_string(&labels).expect("texts are JSON");
        let text = format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {:?}, labels: {labels}}}\n", self.name);
        let loaded = load("node", &text, "");
        debug_assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
        let object = loaded.objects.into_iter().chain(loaded.broken).next().expect("a Node was written");
        with_ready(object, true)
    }
}

/// A node object with its condition `Ready`.
pub(crate) fn with_ready(mut object: Object, ready: bool) -> Object {
    if let Object::Node(node) = &mut object {
        Arc::make_mut(node).status.ready = ready;
    }
    object
}

/// What identifies a node's object.
pub(crate) fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Node, "", name)
}

/// One node, with its kubelet.
pub(super) struct Node {
    spec: NodeSpec,
    pub(super) name: Arc<str>,
    pub(super) ip: IpAddr,
    net: PodId,
    /// Its end of probes.
    runtime: Runtime,
    /// Images that it has, or will have at that time.
    pub(super) pulled: BTreeMap<String, Instant>,
    /// How many pulls of an image have failed here because they were to.
    pub(super) failed_pulls: BTreeMap<String, u32>,
    power: Power,
    /// How often its power went off.
    outages: u64,
}

/// Whether a node runs.
#[derive(Clone, Copy)]
enum Power {
    On,
    /// The event tells that it failed.
    Off(Option<EventId>),
}

impl Node {
    pub(super) fn new(world: &World, index: usize, spec: NodeSpec) -> Self {
        let last = u8::try_from(index + 1).expect("there are at most as many nodes as NODES_MAX says");
        let ip = IpAddr::from(Ipv4Addr::new(10, 0, 0, last));
        let net = world.add_pod(PodSpec::new(format!("node/{}", spec.name), [ip]), None);
        let runtime = boot(world, net, None);
        let name = spec.name.as_str().into();
        let (pulled, failed_pulls) = (BTreeMap::new(), BTreeMap::new());
        Self { spec, name, ip, net, runtime, pulled, failed_pulls, power: Power::On, outages: 0 }
    }
}

/// A node has no program of its own: its runtime is its end of probes.
fn boot(world: &World, net: PodId, cause: Option<EventId>) -> Runtime {
    let idle = ContainerSpec::new("kubelet", |_| std::future::pending::<Exit>());
    world.runtime_in(world.start(net, idle, cause))
}

impl Shared {
    /// Where a pod goes: to the node that it names, else to the one with the fewest pods, and the first of several, of
    /// those that are ready and have the labels that it selects.
    ///
    /// # Errors
    /// If there is none: then with what each node lacks.
    pub(super) fn schedule(&self, pod: &Pod) -> Result<usize, String> {
        let nodes: Vec<Arc<str>> = self.lock().nodes.iter().map(|node| Arc::clone(&node.name)).collect();
        if let Some(name) = pod.spec.node_name.as_ref().filter(|_| self.choosy) {
            let named = nodes.iter().position(|node| **node == **name);
            return named.ok_or_else(|| format!("there is no node {name}"));
        }
        let any = Labels::new();
        let lack = |name: &str| match self.store.get(&key(name)) {
            Some(Object::Node(node)) => lack(&node, if self.choosy { &pod.spec.node_selector } else { &any }),
            _ => Some("is none of the cluster's".to_owned()),
        };
        let lacks: Vec<Option<String>> = nodes.iter().map(|name| lack(name)).collect();
        let state = self.lock();
        let pods_on = |index: usize| state.pods.values().filter(|handle| handle.node == Some(index)).count();
        let fits = lacks.iter().enumerate().filter(|(_, lack)| lack.is_none()).map(|(index, _)| index);
        fits.min_by_key(|index| pods_on(*index)).ok_or_else(|| {
            let lacks = nodes.iter().zip(lacks).filter_map(|(name, lack)| Some(format!("{name} {}", lack?)));
            format!("no node takes the pod: {}", lacks.collect::<Vec<_>>().join(", "))
        })
    }

    /// A node's end of probes.
    pub(super) fn node_runtime(&self, node: usize) -> Runtime {
        self.lock().nodes[node].runtime.clone()
    }

    pub(super) fn node_name(&self, node: usize) -> Arc<str> {
        Arc::clone(&self.lock().nodes[node].name)
    }

    pub(super) fn node_ip(&self, node: usize) -> IpAddr {
        self.lock().nodes[node].ip
    }

    /// Whether a node has power.
    pub(super) fn is_on(&self, node: usize) -> bool {
        matches!(self.lock().nodes[node].power, Power::On)
    }
}

/// What a node lacks to run a pod with this selector, if it lacks anything.
fn lack(node: &NodeObject, selector: &Labels) -> Option<String> {
    let labels = &node.metadata.labels;
    if !node.status.ready {
        return Some("is not ready".to_owned());
    }
    let missing = selector.iter().find(|(label, value)| labels.get(*label) != Some(*value));
    debug_assert_eq!(missing.is_none(), selects(selector, labels));
    missing.map(|(label, value)| format!("has no label {label}: {value}"))
}

impl Kubelet {
    /// The names of all nodes.
    pub(crate) fn nodes(&self) -> Vec<String> {
        self.shared.lock().nodes.iter().map(|node| node.name.to_string()).collect()
    }

    /// The pods of a node.
    pub(crate) fn pods_on(&self, node: usize) -> Vec<ObjectKey> {
        let state = self.shared.lock();
        state.pods.iter().filter(|(_, handle)| handle.node == Some(node)).map(|(key, _)| key.clone()).collect()
    }

    /// Whether a pod has a node, and that has power.
    pub(crate) fn is_powered(&self, pod: &ObjectKey) -> bool {
        let node = self.shared.lock().pods.get(pod).and_then(|handle| handle.node);
        node.is_some_and(|node| self.shared.is_on(node))
    }

    /// Whether a node has power.
    pub(crate) fn is_on(&self, node: usize) -> bool {
        self.shared.is_on(node)
    }

    /// The event of the outage with this number, if it is still going on.
    pub(crate) fn outage(&self, node: usize, number: u64) -> Option<Option<EventId>> {
        let state = self.shared.lock();
        match &state.nodes[node] {
            Node { power: Power::Off(event), outages, .. } if *outages == number => Some(*event),
            _ => None,
        }
    }

    /// Turns off the power of a node that has it: all that runs there is gone. Answers with the number of the outage.
    pub(crate) fn power_off(&self, node: usize, cause: Option<EventId>) -> u64 {
        let world = &self.shared.world;
        let net = self.shared.lock().nodes[node].net;
        let event = world.power_off(net, cause).or(cause);
        let number = {
            let mut state = self.shared.lock();
            let node = &mut state.nodes[node];
            node.power = Power::Off(event);
            // What was being pulled is lost.
            let now = Instant::now();
            node.pulled.retain(|_, there| *there <= now);
            node.outages += 1;
            node.outages
        };
        for pod in self.pods_on(node) {
            if let Some(net) = self.net(&pod) {
                world.power_off(net, event);
            }
            if let Some(handle) = self.shared.lock().pods.get_mut(&pod) {
                handle.running.clear();
                let _ = handle.messages.send(Message::PowerOff);
            }
        }
        number
    }

    /// Turns it on again: its kubelet tells the cluster that it is there, and starts what it still has to run.
    pub(crate) fn power_on(&self, node: usize, cause: Option<EventId>) {
        let world = &self.shared.world;
        let net = self.shared.lock().nodes[node].net;
        let event = world.power_on(net, cause).or(cause);
        let runtime = boot(world, net, event);
        let spec = {
            let mut state = self.shared.lock();
            let node = &mut state.nodes[node];
            (node.runtime, node.power) = (runtime, Power::On);
            node.spec.clone()
        };
        self.register(&spec, event);
        for pod in self.pods_on(node) {
            if let Some(handle) = self.shared.lock().pods.get(&pod) {
                let _ = handle.messages.send(Message::PowerOn { cause: event });
            }
        }
        self.shared.power.raise();
    }

    /// Ends a pod that is none of the cluster's any more, whether its node has power or not.
    pub(crate) fn forget(&self, pod: &ObjectKey, cause: Option<EventId>) {
        if let Some(handle) = self.shared.lock().pods.get(pod) {
            let _ = handle.messages.send(Message::Forget { cause });
        }
    }

    /// Wakes whoever waits for power to be switched on.
    pub(crate) fn power(&self) -> crate::signal::Listener {
        self.shared.power.listen()
    }

    fn register(&self, spec: &NodeSpec, cause: Option<EventId>) {
        let store = &self.shared.store;
        let key = key(&spec.name);
        let was_ready = matches!(store.get(&key), Some(Object::Node(node)) if node.status.ready);
        if was_ready {
            return;
        }
        let event = self.shared.world.emit("cluster", cause, NodeReady { node: spec.name.clone() }).or(cause);
        if store.contains(&key) {
            store.modify(&key, event, |object| *object = with_ready(object.clone(), true));
        } else {
            store.apply(spec.object(), event);
        }
    }
}
