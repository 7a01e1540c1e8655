//! The simulated cluster: a store with watches, the controllers that live on it, nodes with their kubelets, and an
//! installed istiod.
//!
//! Everything a mesh sees of Kubernetes is here and nothing else. Objects go into the [`store`], controllers
//! follow it, each at its own pace: [`deployments`], [`stateful_sets`] and [`jobs`] make pods, [`injection`] gives them
//! agents, the [`kubelet`] runs them, [`endpoints`] follow their readiness, [`proxy`] serves their names and addresses,
//! [`namespaces`] hands out accounts and root certificates.

mod addresses;
mod admission;
mod bounds;
mod completions;
mod deployments;
mod dns;
mod endpoints;
pub(crate) mod events;
pub(crate) mod injection;
mod istio_system;
mod jobs;
mod kubectl;
pub(crate) mod kubelet;
mod locate;
pub(crate) mod machines;
mod members;
pub(crate) mod merge_patch;
mod names;
mod namespaces;
mod nodes;
mod ordinals;
pub(crate) mod patch;
mod pods;
mod proxy;
mod replica_sets;
mod rollout;
mod service_accounts;
mod stateful_sets;
pub(crate) mod store;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hermesh_istiod::ca::SignedTokens;
use hermesh_istiod::disruption::Disruptions;
use hermesh_istiod::objects::{Job, Kind, Object, ObjectKey, Pod, PodPhase, WorkloadEntry};
use hermesh_istiod::push::{Gate, IstiodStatus};
use hermesh_runtime::EventId;

pub(crate) use admission::{Admission, immutable_fields};
pub(crate) use istio_system::{ISTIOD, NAMESPACE as ISTIO_NAMESPACE, objects as installed};
pub use kubelet::Crash;
pub(crate) use kubelet::nodes::{NODES_MAX, NodeSpec};
pub(crate) use locate::locate;
pub use store::ApplyOutcome;

use crate::engine::{ContainerId, PodId, World};
use crate::image::{Images, Pull};
use crate::mesh::PodRow;
use deployments::Deployments;
use endpoints::Endpoints;
use istio_system::ControlPlane;
use jobs::Jobs;
use kubelet::{Inside, Kubelet, StartDelay};
use machines::Machines;
use members::{Member, Members};
use namespaces::Namespaces;
use pods::Pods;
use proxy::ServiceProxy;
use service_accounts::ServiceAccounts;
use stateful_sets::StatefulSets;
use store::{Store, Watch};

/// The kinds that make pods.
pub(crate) const WORKLOADS: [Kind; 3] = [Kind::Deployment, Kind::StatefulSet, Kind::Job];
const TRUST_DOMAIN: &str = "cluster.local";

/// A running cluster; clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    world: World,
    pub(crate) store: Store,
    pub(crate) kubelet: Kubelet,
    pods: Pods,
    deployments: Deployments,
    stateful_sets: StatefulSets,
    jobs: Jobs,
    control_plane: ControlPlane,
    admission: Admission,
    pub(crate) machines: Machines,
}

/// What may differ between clusters.
pub(crate) struct Setup {
    pub(crate) images: Images,
    /// Istio's release, such as `1.32`.
    pub(crate) istio: String,
    pub(crate) delays: Vec<StartDelay>,
    /// Those that pods run on, at most [`NODES_MAX`].
    pub(crate) nodes: Vec<NodeSpec>,
    /// Whether somebody has said which there are, so that pods can choose among them.
    pub(crate) choosy: bool,
    /// How long pulls take, where somebody says so.
    pub(crate) pulls: Vec<Pull>,
}

impl Cluster {
    /// Starts controllers, node and control plane.
    pub(crate) fn start(world: &World, mut setup: Setup) -> Self {
        let store = Store::new(world.clone());
        let mut secret = [0; 32];
        world.runtime().draws("tokens").fill(&mut secret);
        let tokens = || SignedTokens::new(&world.runtime(), &secret);

        let control_plane = ControlPlane::new(&store, tokens());
        let mut images = setup.images.with_built_in();
        control_plane.add_image(&mut images);
        setup.images = images;

        let values = injection::Values {
            image: format!("docker.io/istio/proxyv2:{}.0", setup.istio),
            trust_domain: TRUST_DOMAIN.to_owned(),
            istio_namespace: ISTIO_NAMESPACE.to_owned(),
            hold_application: false,
        };
        let nodes: Vec<Object> = setup.nodes.iter().map(NodeSpec::object).collect();
        let installed = istio_system::objects(&setup.istio);
        let images = setup.images.clone();
        let kubelet = Kubelet::new(world, &store, tokens(), setup);
        let machines = Machines::new(world, &store, images, tokens(), &kubelet, values.image.clone());
        let accounts = ServiceAccounts::new(world, &store);
        let pods = Pods::new(world, &store, values, &accounts);
        let (deployments, stateful_sets) = (Deployments::new(&pods), StatefulSets::new(&pods));
        let jobs = Jobs::new(&pods);
        let proxy = ServiceProxy::install(world, machines.outside());
        let namespaces = Namespaces::new(&store, control_plane.root());
        let endpoints = Endpoints::new(world, &store);

        let rt = world.runtime();
        let watch = |watcher: &str, kinds: &[Kind]| -> Watch { store.watch(watcher, kinds) };
        rt.spawn("namespaces", namespaces.run(watch("namespaces", &Namespaces::WATCHED)));
        rt.spawn("deployments", deployments.clone().run(watch("deployments", &Deployments::WATCHED)));
        rt.spawn("statefulsets", stateful_sets.clone().run(watch("statefulsets", &StatefulSets::WATCHED)));
        rt.spawn("jobs", jobs.clone().run(watch("jobs", &Jobs::WATCHED)));
        rt.spawn("kubelet", kubelet.clone().run(watch("kubelet", &Kubelet::WATCHED)));
        rt.spawn("endpoints", endpoints.run(watch("endpoints", &Endpoints::WATCHED)));
        rt.spawn("kube-proxy", proxy.run(watch("kube-proxy", &ServiceProxy::WATCHED)));

        let controllers = (deployments.clone(), stateful_sets.clone(), jobs.clone());
        let reconcile = move |workload: &ObjectKey, cause| match workload.kind {
            Kind::Deployment => controllers.0.reconcile(workload, cause),
            Kind::StatefulSet => controllers.1.reconcile(workload, cause),
            Kind::Job => controllers.2.reconcile(workload, cause),
            _ => {}
        };
        rt.spawn("work-queues", accounts.run(reconcile));

        let admission = Admission::new(world, &store);
        let world = world.clone();
        let cluster =
            Self { world, store, kubelet, pods, deployments, stateful_sets, jobs, control_plane, admission, machines };
        for object in nodes.into_iter().chain(installed) {
            cluster.put(object, None);
        }
        cluster
    }

    /// Stores an object that admission has let pass.
    pub(crate) fn put(&self, object: Object, cause: Option<EventId>) -> ApplyOutcome {
        match object {
            Object::Pod(pod) => self.put_pod(&pod, cause),
            Object::Job(job) => self.put_job(Job::clone(&job), cause),
            Object::Node(node) => self.put_node(Object::Node(node), cause),
            Object::WorkloadEntry(entry) => self.put_workload_entry(WorkloadEntry::clone(&entry), cause),
            other => self.store.apply(self.admission.complete(other), cause),
        }
    }

    /// How a Job fares is not the manifest's to say.
    fn put_job(&self, mut job: Job, cause: Option<EventId>) -> ApplyOutcome {
        if let Some(Object::Job(there)) = self.store.get(&job.key()) {
            job.status = there.status.clone();
        }
        self.store.apply(job.into(), cause)
    }

    /// Whether a workload outside of the cluster is healthy its agent says.
    fn put_workload_entry(&self, mut entry: WorkloadEntry, cause: Option<EventId>) -> ApplyOutcome {
        let key = ObjectKey::new(Kind::WorkloadEntry, &entry.metadata.namespace, &entry.metadata.name);
        if let Some(Object::WorkloadEntry(there)) = self.store.get(&key) {
            entry.status = there.status.clone();
        }
        self.store.apply(entry.into(), cause)
    }

    /// Whether a node is ready its kubelet says.
    fn put_node(&self, node: Object, cause: Option<EventId>) -> ApplyOutcome {
        let ready = match self.store.get(&node.key()) {
            Some(Object::Node(there)) => there.status.ready,
            _ => matches!(&node, Object::Node(node) if node.status.ready),
        };
        self.store.apply(kubelet::nodes::with_ready(node, ready), cause)
    }

    /// Webhooks see a pod once, when it is created. Of one that is there only labels and annotations change.
    fn put_pod(&self, pod: &Arc<Pod>, cause: Option<EventId>) -> ApplyOutcome {
        let key = pod.key();
        let manifest = Object::Pod(Arc::clone(pod));
        if !self.store.contains(&key) {
            let injected = self.pods.inject(Pod::clone(pod), None, None);
            let injected = injected.map_or_else(|_| Pod::clone(pod), |injected| injected.pod);
            let outcome = self.store.apply(injected.into(), cause);
            self.store.keep_manifest(manifest);
            return outcome;
        }
        let before = self.store.keep_manifest(manifest);
        let before = before.map(|before| before.metadata().clone()).unwrap_or_default();
        let change = |object: &mut Object| {
            let metadata = object.metadata_mut();
            metadata.labels.retain(|key, _| !before.labels.contains_key(key));
            metadata.labels.extend(pod.metadata.labels.clone());
            metadata.annotations.retain(|key, _| !before.annotations.contains_key(key));
            metadata.annotations.extend(pod.metadata.annotations.clone());
        };
        let changed = self.store.modify(&key, cause, change);
        self.store.keep_written(&key, &pod.metadata.written);
        if changed { ApplyOutcome::Configured } else { ApplyOutcome::Unchanged }
    }

    /// Everything that is to become ready: Deployments, StatefulSets, Jobs, pods of their own unless they are ending,
    /// and machines that are on, which go by the key that a pod of their name would have.
    pub(crate) fn workloads(&self) -> Vec<ObjectKey> {
        let lives = |pod: &Object| pod.metadata().owner.is_none() && pod.metadata().deletion_timestamp.is_none();
        let pods = self.store.list(Kind::Pod).into_iter().filter(lives).map(|pod| pod.key());
        let workloads = WORKLOADS.into_iter().flat_map(|kind| self.store.keys(kind));
        let machines = self.machines.on().into_iter();
        let machines = machines.map(|(namespace, name)| ObjectKey::new(Kind::Pod, namespace, name));
        workloads.chain(pods).chain(machines).collect()
    }

    /// Why a Deployment or StatefulSet is not rolled out and ready, a Job neither complete nor at work, or a pod not
    /// ready; `None` if it is.
    pub(crate) fn unready(&self, workload: &ObjectKey) -> Option<String> {
        match workload.kind {
            Kind::Deployment => self.deployments.unready(workload),
            Kind::StatefulSet => self.stateful_sets.unready(workload),
            Kind::Job => self.jobs.unready(workload),
            _ if self.machines.contains(&workload.namespace, &workload.name) => self.machines.unready(workload)?,
            _ => match self.store.get(workload) {
                Some(Object::Pod(pod)) if pod.status.ready && pod.metadata.deletion_timestamp.is_none() => None,
                Some(Object::Pod(pod)) => Some(kubectl::described(&pod)),
                _ if self.machines.is_gone(workload) => Some(format!("{} is a machine, and is off", workload.name)),
                _ => Some(format!("{}: there is no such pod", workload.name)),
            },
        }
    }

    /// Sets a condition of a pod's status.
    pub(crate) fn set_condition(&self, pod: &ObjectKey, condition: &str, met: bool, cause: Option<EventId>) {
        self.store.modify(pod, cause, |object| {
            if let Object::Pod(pod) = object {
                Arc::make_mut(pod).status.conditions.insert(condition.to_owned(), met);
            }
        });
    }

    /// Whether a pod has run to its end, with success.
    pub(crate) fn has_succeeded(&self, pod: &ObjectKey) -> bool {
        matches!(self.store.get(pod), Some(Object::Pod(pod)) if pod.status.phase == PodPhase::Succeeded)
    }

    /// What speaks against applying `objects` in this order, and what is worth a note.
    pub(crate) fn review(&self, objects: &[Object]) -> admission::Review {
        let mut review = self.admission.review(objects, &self.pods, self.kubelet.images());
        let shuts_down = |namespace: &str, name: &str| self.machines.shuts_down(namespace, name);
        let is_on =
            |namespace: &str, name: &str| self.machines.contains(namespace, name) && !shuts_down(namespace, name);
        review.errors.extend(admission::named_as_machines(objects, is_on));
        let named = admission::named_as_machines(objects, shuts_down).into_iter();
        let help = "it still shuts down: let time pass until it is gone, or take another name";
        review.errors.extend(named.map(|error| error.with_help(help)));
        review
    }

    /// Deletes an object as a cluster does: pods end gracefully, workloads take along their pods, and namespaces what
    /// is in them.
    pub(crate) fn remove(&self, key: &ObjectKey, cause: Option<EventId>) -> bool {
        match key.kind {
            Kind::Pod if self.store.contains(key) => {
                self.pods.delete(key, cause);
                true
            }
            Kind::Deployment => self.deployments.delete(key, cause),
            Kind::StatefulSet => self.stateful_sets.delete(key, cause),
            Kind::Job => self.jobs.delete(key, cause),
            Kind::Namespace => {
                for inner in self.store.keys_in(&key.name) {
                    self.remove(&inner, cause);
                }
                self.store.delete(key, cause)
            }
            Kind::Node => {
                let Some(node) = self.store.get(key) else { return false };
                self.collect(&key.name, &node.metadata().uid, cause);
                self.store.delete(key, cause)
            }
            Kind::WorkloadGroup => {
                // What it owns goes with it.
                let uid = self.store.get(key).map(|group| group.metadata().uid.clone());
                let owned = |entry: &Object| entry.metadata().owner.as_ref().map(|owner| owner.uid.clone()) == uid;
                for entry in self.store.list(Kind::WorkloadEntry).into_iter().filter(|_| uid.is_some()).filter(owned) {
                    self.store.delete(&entry.key(), cause);
                }
                self.store.delete(key, cause)
            }
            Kind::Service => {
                self.admission.release(key);
                self.store.delete(key, cause)
            }
            _ => self.store.delete(key, cause),
        }
    }

    /// What the latest istiod is doing.
    pub(crate) fn istiod(&self) -> Option<IstiodStatus> {
        self.control_plane.status()
    }

    /// What may be done to responses of istiod.
    pub(crate) fn gate(&self) -> &Gate {
        self.control_plane.gate()
    }

    /// What may make istiod's services late or wrong.
    pub(crate) fn disruptions(&self) -> &Disruptions {
        self.control_plane.disruptions()
    }

    /// Tells whose a pod is.
    pub(crate) fn members(&self) -> Members {
        Members::new(&self.store, &self.deployments, &self.jobs, &self.machines)
    }

    /// All pods and machines of a namespace, or of all namespaces.
    pub(crate) fn everyone(&self, namespace: Option<&str>) -> Vec<PodRow> {
        self.pods(namespace).into_iter().chain(self.machines.rows(namespace)).collect()
    }

    /// The network of a pod or a machine that runs.
    pub(crate) fn net(&self, key: &ObjectKey) -> Option<PodId> {
        self.machines.net(key).or_else(|| self.kubelet.net(key))
    }

    /// Whether the node of a pod has power; a machine has as long as it is there.
    pub(crate) fn is_powered(&self, key: &ObjectKey) -> bool {
        self.machines.contains(&key.namespace, &key.name) || self.kubelet.is_powered(key)
    }

    /// What runs in a pod or on a machine, by name.
    pub(crate) fn running(&self, key: &ObjectKey) -> BTreeMap<String, ContainerId> {
        self.machines.running(key).unwrap_or_else(|| self.kubelet.running(key))
    }

    /// What a further process in a pod's container, or on a machine, would see.
    pub(crate) fn inside(&self, key: &ObjectKey, container: &str) -> Option<Inside> {
        self.machines.inside(key).or_else(|| self.kubelet.inside(key, container))
    }

    /// Ends a container, or a unit of a machine, as gently as a shutdown would; it is started again.
    pub(crate) fn restart(&self, key: &ObjectKey, container: &str, cause: Option<EventId>) {
        match self.machines.running(key) {
            Some(running) => running.get(container).into_iter().for_each(|id| self.machines.stop(*id, cause)),
            None => self.kubelet.restart(key, container, cause),
        }
    }

    /// All pods of a namespace as kubectl shows them; of all namespaces if none is named.
    pub(crate) fn pods(&self, namespace: Option<&str>) -> Vec<PodRow> {
        self.pods_in(namespace).map(|pod| self.row(&pod)).collect()
    }

    /// Those pods of a namespace that belong to a workload, or are called so themselves.
    pub(crate) fn pods_of(&self, namespace: &str, workload: &str) -> Vec<PodRow> {
        let named = |pod: &Arc<Pod>| pod.metadata.name == workload || members::workload(pod) == workload;
        self.pods_in(Some(namespace)).filter(named).map(|pod| self.row(&pod)).collect()
    }

    /// Those pods and machines of a namespace that belong to a workload, or are called so themselves.
    pub(crate) fn everyone_of(&self, namespace: &str, workload: &str) -> Vec<PodRow> {
        let machines = self.machines.rows(Some(namespace));
        let named = machines.into_iter().filter(|row| row.workload == workload || row.name == workload);
        self.pods_of(namespace, workload).into_iter().chain(named).collect()
    }

    fn pods_in(&self, namespace: Option<&str>) -> impl Iterator<Item = Arc<Pod>> {
        let objects = match namespace {
            Some(namespace) => self.store.list_in(Kind::Pod, namespace),
            None => self.store.list(Kind::Pod),
        };
        objects.into_iter().filter_map(|object| match object {
            Object::Pod(pod) => Some(pod),
            _ => None,
        })
    }

    fn row(&self, pod: &Pod) -> PodRow {
        let Member { workload, ordinal } = self.members().of(pod);
        let created = pod.metadata.creation_timestamp.unwrap_or(0);
        let age = Duration::from_secs(self.world.wall().as_secs().saturating_sub(created));
        let containers = pod.spec.containers.iter().chain(&pod.spec.init_containers);
        PodRow {
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            hostname: pod.hostname().to_owned(),
            ordinal,
            workload,
            ready: kubectl::ready(pod),
            status: kubectl::status(pod),
            restarts: kubectl::restarts(pod),
            exits: kubectl::exits(pod),
            age: kubectl::human_duration(age),
            ip: pod.status.pod_ip,
            node: pod.spec.node_name.clone(),
            containers: containers.map(|container| container.name.clone()).collect(),
        }
    }
}
