//! Who serves: pods of the cluster, and workloads outside of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use hermesh_xds::resource::Locality;

use super::{Registry, ServiceInfo, Snapshot};
use crate::node::Node;
use crate::objects::{
    self, IntOrString, Labels, ObjectKey, Pod, REGION_LABEL, SUB_ZONE_LABEL, ServiceEntry, ServicePort, WorkloadEntry,
    WorkloadEntrySpec, ZONE_LABEL, selects,
};

/// The label with which a workload says where it is.
const LOCALITY_LABEL: &str = "istio-locality";

/// The machines that pods run on, by name.
pub(super) type Nodes = BTreeMap<String, Arc<objects::Node>>;

/// The workload behind an endpoint.
#[derive(Clone, Debug)]
pub enum Workload {
    /// A pod.
    Pod(Arc<Pod>),
    /// A workload outside of the cluster.
    Entry(EntrySource),
}

/// Where a workload outside of the cluster is written.
#[derive(Clone, Debug)]
pub enum EntrySource {
    /// An object of its own.
    Object(Arc<WorkloadEntry>),
    /// The endpoint with this index of a ServiceEntry.
    Inline(Arc<ServiceEntry>, usize),
}

impl Workload {
    /// The key of the object that it is written in.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Pod(pod) => pod.key(),
            Self::Entry(EntrySource::Object(entry)) => entry.key(),
            Self::Entry(EntrySource::Inline(entry, _)) => entry.key(),
        }
    }

    /// Its namespace; an endpoint of a ServiceEntry has none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.metadata.namespace,
            Self::Entry(EntrySource::Object(entry)) => &entry.metadata.namespace,
            Self::Entry(EntrySource::Inline(..)) => "",
        }
    }

    /// Its name: its Deployment's, else the pod's, or its WorkloadEntry's; an endpoint of a ServiceEntry has none.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pod(pod) => pod.metadata.owner.as_ref().map_or(&pod.metadata.name, |owner| &owner.name),
            Self::Entry(EntrySource::Object(entry)) => &entry.metadata.name,
            Self::Entry(EntrySource::Inline(..)) => "",
        }
    }

    /// Its labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        match self {
            Self::Pod(pod) => &pod.metadata.labels,
            Self::Entry(source) => &source.spec().labels,
        }
    }

    /// Where it is: what a pod's label says, or those of its node; what an entry says, or its label.
    pub(super) fn locality(&self, nodes: &Nodes) -> Locality {
        let known = match self {
            Self::Pod(pod) => pod_locality(pod, nodes),
            Self::Entry(source) => source.spec().locality().or_else(|| labelled_locality(self.labels())),
        };
        known.unwrap_or_default()
    }

    /// How much of the traffic it takes beside others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        match self {
            Self::Pod(_) => 1,
            Self::Entry(source) => source.spec().weight.max(1),
        }
    }

    /// Its service account, if it has one.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Pod(pod) => Some(pod.spec.service_account()),
            Self::Entry(source) => Some(source.spec().service_account.as_str()).filter(|account| !account.is_empty()),
        }
    }

    /// Where it is reached; none if that has to be looked up, or is not known yet.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Pod(pod) => pod.status.pod_ip,
            Self::Entry(source) => source.spec().ip(),
        }
    }

    /// Where it serves a port of `service`.
    pub(super) fn port(&self, service: &ServiceInfo, port: &ServicePort) -> Option<u16> {
        let named = |name: &str| match self {
            Self::Pod(pod) => pod.named_port(name),
            Self::Entry(source) => source.spec().port(name),
        };
        let own_name = port.name.as_deref().unwrap_or_default();
        match (&port.target_port, service.registry(), self) {
            (Some(IntOrString::String(name)), Registry::Kubernetes(_), _) => named(name),
            (Some(IntOrString::Int(number)), Registry::Kubernetes(_), Self::Pod(_)) => u16::try_from(*number).ok(),
            (None, Registry::Kubernetes(_), Self::Pod(_)) => Some(port.port),
            (target, ..) => named(own_name).or_else(|| match target {
                Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                _ => Some(port.port),
            }),
        }
    }
}

impl EntrySource {
    /// What it is.
    #[must_use]
    pub fn spec(&self) -> &WorkloadEntrySpec {
        match self {
            Self::Object(entry) => &entry.spec,
            Self::Inline(entry, index) => &entry.spec.endpoints[*index],
        }
    }
}

/// A WorkloadEntry with the labels of its metadata among those of its spec, where they win.
pub(crate) fn with_own_labels(mut entry: Arc<WorkloadEntry>) -> Arc<WorkloadEntry> {
    if !entry.metadata.labels.is_empty() {
        let labels = entry.metadata.labels.clone();
        Arc::make_mut(&mut entry).spec.labels.extend(labels);
    }
    entry
}

/// Where a pod is, as far as labels tell: its own come before those of its node.
///
/// Source: Istio `pilot/pkg/serviceregistry/kube/controller/controller.go` (`getPodLocality`).
pub(super) fn pod_locality(pod: &Pod, nodes: &Nodes) -> Option<Locality> {
    labelled_locality(&pod.metadata.labels).or_else(|| {
        let node = nodes.get(pod.spec.node_name.as_ref()?)?;
        let label = |name| node.metadata.labels.get(name).cloned().unwrap_or_default();
        let locality =
            Locality { region: label(REGION_LABEL), zone: label(ZONE_LABEL), sub_zone: label(SUB_ZONE_LABEL) };
        (locality != Locality::default()).then_some(locality)
    })
}

/// What the label `istio-locality` says; dots stand for the slashes that a label's value cannot have.
pub(super) fn labelled_locality(labels: &Labels) -> Option<Locality> {
    let label = labels.get(LOCALITY_LABEL).filter(|label| !label.is_empty())?;
    let mut parts = label.splitn(3, '.').map(|part| part.trim().to_owned());
    let mut next = || parts.next().unwrap_or_default();
    Some(Locality { region: next(), zone: next(), sub_zone: next() })
}

/// The workloads that a service selects itself, apart from those of its EndpointSlices: WorkloadEntries, and for a
/// ServiceEntry its endpoints and ready pods as well.
///
/// Source: Istio `serviceregistry/kube/controller` (`serviceInstancesFromWorkloadInstances`) and
/// `serviceregistry/serviceentry`.
pub(super) fn selected<'a>(
    service: &'a ServiceInfo,
    entries: &'a BTreeMap<(String, String), Arc<WorkloadEntry>>,
    pods: &'a BTreeMap<(String, String), Arc<Pod>>,
) -> Vec<Workload> {
    let of_entry = |entry: &Arc<WorkloadEntry>| Workload::Entry(EntrySource::Object(Arc::clone(entry)));
    let healthy = entries.values().filter(|entry| entry.is_healthy());
    let mut workloads: Vec<Workload> = healthy.map(of_entry).filter(|it| is_selected(service, it)).collect();
    if let Registry::External(entry) = service.registry() {
        let inline = |index| Workload::Entry(EntrySource::Inline(Arc::clone(entry), index));
        workloads.extend((0..entry.spec.endpoints.len()).map(inline));
        let of_pod = |pod: &Arc<Pod>| Workload::Pod(Arc::clone(pod));
        workloads
            .extend(pods.values().filter(|pod| pod.status.ready).map(of_pod).filter(|it| is_selected(service, it)));
    }
    workloads
}

fn is_selected(service: &ServiceInfo, workload: &Workload) -> bool {
    let selector = match service.registry() {
        Registry::Kubernetes(service) => Some(&service.spec.selector).filter(|selector| !selector.is_empty()),
        Registry::External(entry) => entry.spec.workload_selector.as_ref().map(|selector| &selector.labels),
    };
    service.namespace() == workload.namespace() && selector.is_some_and(|selector| selects(selector, workload.labels()))
}

/// The Services and ServiceEntries of the node's namespace that send to `port` of the node's workload.
pub(super) fn services_that_target(snapshot: &Snapshot, node: &Node, port: u16) -> BTreeSet<ObjectKey> {
    let own = match (snapshot.pod(node), snapshot.workload_entry(node)) {
        (Some(pod), _) => Some(Workload::Pod(Arc::clone(pod))),
        (None, Some(entry)) => Some(Workload::Entry(EntrySource::Object(Arc::clone(entry)))),
        (None, None) => None,
    };
    let namespace = own.as_ref().map_or_else(|| node.namespace(), Workload::namespace);
    let labels = snapshot.labels(node);
    let mut from = BTreeSet::new();
    for service in snapshot.services(namespace).filter(|service| service.namespace() == namespace) {
        let targets = |workload: &Workload| service.ports().iter().any(|it| workload.port(service, it) == Some(port));
        let found = match (service.registry(), &own) {
            // A pod counts for a ServiceEntry as long as it is ready.
            (Registry::External(_), Some(Workload::Pod(pod))) if !pod.status.ready => false,
            (_, Some(workload)) => is_selected(service, workload) && targets(workload),
            (Registry::Kubernetes(kubernetes), None) => {
                let selector = &kubernetes.spec.selector;
                let number = |it: &ServicePort| match &it.target_port {
                    None => Some(it.port),
                    Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
                    Some(IntOrString::String(name)) => node.named_port(name),
                };
                !selector.is_empty()
                    && selects(selector, labels)
                    && service.ports().iter().any(|it| number(it) == Some(port))
            }
            (Registry::External(_), None) => false,
        };
        let inline = || match service.registry() {
            Registry::External(entry) => (0..entry.spec.endpoints.len()).any(|index| {
                let workload = Workload::Entry(EntrySource::Inline(Arc::clone(entry), index));
                workload.address().is_some_and(|address| node.addresses().contains(&address)) && targets(&workload)
            }),
            Registry::Kubernetes(_) => false,
        };
        if found || inline() {
            from.insert(service.key());
        }
    }
    from
}
