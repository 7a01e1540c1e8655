//! One state of the cluster, indexed for translation and never changed.

mod destination_rules;
mod endpoints;
mod services;
mod virtual_services;
mod workloads;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

pub use destination_rules::{MergedRule, Policy};
pub use endpoints::WorkloadEndpoint;
pub use services::{PortProtocol, Registry, ServiceInfo};
pub(crate) use workloads::with_own_labels;
pub use workloads::{EntrySource, Workload};

use hermesh_xds::resource::Locality;

use crate::node::Node;
use crate::objects::{
    AuthorizationPolicy, EndpointSlice, Labels, Object, ObjectKey, PeerAuthentication, Pod, PodPhase, Service,
    ServiceEntry, VirtualService, WorkloadEntry,
};

/// What the mesh is called; the part of Istio's MeshConfig that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mesh {
    /// The first part of every workload's SPIFFE ID.
    pub trust_domain: String,
    /// The namespace whose rules hold for all others.
    pub root_namespace: String,
    /// The domain under which Services have names.
    pub cluster_domain: String,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
        }
    }
}

/// One state of the cluster; cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot(Arc<Index>);

#[derive(Debug)]
struct Index {
    mesh: Mesh,
    /// By host; of several that have one, the first counts, unless another is of the client's own namespace.
    services: BTreeMap<String, Vec<ServiceInfo>>,
    /// By namespace and name.
    workload_entries: BTreeMap<(String, String), Arc<WorkloadEntry>>,
    slices: BTreeMap<(String, String), Vec<Arc<EndpointSlice>>>,
    pods: BTreeMap<(String, String), Arc<Pod>>,
    pods_by_address: BTreeMap<IpAddr, Arc<Pod>>,
    nodes: workloads::Nodes,
    destination_rules: destination_rules::Rules,
    virtual_services: Vec<Arc<VirtualService>>,
    peer_authentications: Vec<Arc<PeerAuthentication>>,
    authorization_policies: Vec<Arc<AuthorizationPolicy>>,
}

impl Snapshot {
    /// The state that `objects` make up. Their order does not matter.
    #[must_use]
    pub fn new(mesh: Mesh, objects: impl IntoIterator<Item = Object>) -> Self {
        let mut services: Vec<Arc<Service>> = Vec::new();
        let mut service_entries: Vec<Arc<ServiceEntry>> = Vec::new();
        let mut workload_entries = BTreeMap::new();
        let mut slices: BTreeMap<_, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
        let mut pods = BTreeMap::new();
        let mut nodes = BTreeMap::new();
        let mut rules = Vec::new();
        let mut virtual_services = Vec::new();
        let mut peer_authentications = Vec::new();
        let mut authorization_policies: Vec<Arc<AuthorizationPolicy>> = Vec::new();
        for object in objects {
            match object {
                Object::Service(service) => services.push(service),
                Object::ServiceEntry(entry) => service_entries.push(entry),
                Object::WorkloadEntry(entry) => {
                    let key = (entry.metadata.namespace.clone(), entry.metadata.name.clone());
                    workload_entries.insert(key, workloads::with_own_labels(entry));
                }
                Object::EndpointSlice(slice) => {
                    let service = slice.service_name().map(str::to_owned);
                    if let Some(service) = service {
                        slices.entry((slice.metadata.namespace.clone(), service)).or_default().push(slice);
                    }
                }
                Object::Pod(pod) => {
                    pods.insert((pod.metadata.namespace.clone(), pod.metadata.name.clone()), pod);
                }
                Object::Node(node) => drop(nodes.insert(node.metadata.name.clone(), node)),
                Object::DestinationRule(rule) => rules.push(rule),
                Object::VirtualService(service) => virtual_services.push(service),
                Object::PeerAuthentication(policy) => peer_authentications.push(policy),
                Object::AuthorizationPolicy(policy) => authorization_policies.push(policy),
                Object::Namespace(_)
                | Object::ServiceAccount(_)
                | Object::ConfigMap(_)
                | Object::Deployment(_)
                | Object::StatefulSet(_)
                | Object::Job(_)
                | Object::WorkloadGroup(_)
                | Object::ProxyConfig(_) => {}
            }
        }
        for slices in slices.values_mut() {
            slices.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        }
        // Addresses are reused: a pod that has ended keeps none.
        let living =
            pods.values().filter(|pod: &&Arc<Pod>| !matches!(pod.status.phase, PodPhase::Succeeded | PodPhase::Failed));
        let pods_by_address = living.filter_map(|pod| Some((pod.status.pod_ip?, Arc::clone(pod)))).collect();
        virtual_services.sort_by(|a, b| a.metadata.age().cmp(&b.metadata.age()));
        peer_authentications.sort_by(|a, b| a.metadata.age().cmp(&b.metadata.age()));
        authorization_policies.sort_by(|a, b| a.metadata.age().cmp(&b.metadata.age()));
        let services = services.into_iter().map(|service| ServiceInfo::new(service, &mesh));
        let mut by_host: BTreeMap<String, Vec<ServiceInfo>> = BTreeMap::new();
        for service in services.chain(service_entries.iter().flat_map(ServiceInfo::of_entry)) {
            by_host.entry(service.host().to_owned()).or_default().push(service);
        }
        by_host.values_mut().for_each(|services| services.sort_by(|a, b| a.rank().cmp(&b.rank())));
        Self(Arc::new(Index {
            services: by_host,
            workload_entries,
            destination_rules: destination_rules::Rules::new(&mesh, rules),
            mesh,
            slices,
            pods,
            pods_by_address,
            nodes,
            virtual_services,
            peer_authentications,
            authorization_policies,
        }))
    }

    /// What the mesh is called.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.0.mesh
    }

    /// The Service or ServiceEntry with this host name, if clients in `namespace` see it.
    #[must_use]
    pub fn service(&self, host: &str, namespace: &str) -> Option<&ServiceInfo> {
        visible(self.0.services.get(host)?, namespace)
    }

    /// All Services and hosts of ServiceEntries that clients in `namespace` see, by host name.
    pub fn services(&self, namespace: &str) -> impl Iterator<Item = &ServiceInfo> {
        self.0.services.values().filter_map(move |services| visible(services, namespace))
    }

    /// The pod a node is: by address, else by name.
    #[must_use]
    pub fn pod(&self, node: &Node) -> Option<&Arc<Pod>> {
        let by_address = node.addresses().iter().find_map(|address| self.0.pods_by_address.get(address));
        by_address.or_else(|| self.0.pods.get(&(node.pod_namespace().to_owned(), node.pod_name().to_owned())))
    }

    /// The WorkloadEntry a node is: the oldest of its namespace with one of its addresses, if it is no pod.
    #[must_use]
    pub fn workload_entry(&self, node: &Node) -> Option<&Arc<WorkloadEntry>> {
        if self.pod(node).is_some() {
            return None;
        }
        let own = |entry: &&Arc<WorkloadEntry>| {
            entry.metadata.namespace == node.namespace()
                && entry.spec.ip().is_some_and(|address| node.addresses().contains(&address))
        };
        self.0.workload_entries.values().filter(own).min_by_key(|entry| entry.metadata.age())
    }

    /// A node's labels: its pod's, else its WorkloadEntry's, else what it says itself.
    #[must_use]
    pub fn labels<'a>(&'a self, node: &'a Node) -> &'a Labels {
        match (self.pod(node), self.workload_entry(node)) {
            (Some(pod), _) => &pod.metadata.labels,
            (None, Some(entry)) => &entry.spec.labels,
            (None, None) => node.labels(),
        }
    }

    /// Where a node is: what its pod's labels say, or those of the machine it runs on; without a pod what its own
    /// labels say, else its WorkloadEntry; else what it says itself.
    #[must_use]
    pub fn locality(&self, node: &Node) -> Locality {
        let of_entry = || self.workload_entry(node)?.spec.locality();
        let known = match self.pod(node) {
            Some(pod) => workloads::pod_locality(pod, &self.0.nodes),
            None => workloads::labelled_locality(self.labels(node)).or_else(of_entry),
        };
        known.unwrap_or_else(|| node.locality().clone())
    }

    /// The endpoints of one port of a Service, ready or not: those of its slices in their order, then what else it
    /// selects.
    #[must_use]
    pub fn endpoints(&self, service: &ServiceInfo, port: u16) -> Vec<WorkloadEndpoint> {
        endpoints::of_port(&self.0, service, port)
    }

    /// The SPIFFE IDs under which a Service's workloads prove who they are.
    #[must_use]
    pub fn identities(&self, service: &ServiceInfo) -> BTreeSet<String> {
        let accounts = endpoints::accounts(&self.0, service);
        let trust_domain = &self.0.mesh.trust_domain;
        let ids = accounts.map(|(namespace, account)| format!("spiffe://{trust_domain}/ns/{namespace}/sa/{account}"));
        let mut ids: BTreeSet<String> = ids.collect();
        if let Registry::External(entry) = service.registry() {
            ids.extend(entry.spec.subject_alt_names.iter().cloned());
        }
        ids
    }

    /// The Services and ServiceEntries of the node's namespace that send to `port` of the node's workload.
    #[must_use]
    pub fn services_that_target(&self, node: &Node, port: u16) -> BTreeSet<ObjectKey> {
        workloads::services_that_target(self, node, port)
    }

    /// The merged DestinationRule by which `node` talks to `service`.
    #[must_use]
    pub fn destination_rule(&self, node: &Node, service: &ServiceInfo) -> Option<&MergedRule> {
        self.destination_rule_for(node.namespace(), self.labels(node), service.host(), service.namespace())
    }

    /// The merged DestinationRule for `host`, a service of `service_namespace`, as seen by a client in `namespace`.
    #[must_use]
    pub fn destination_rule_for(
        &self,
        namespace: &str,
        labels: &Labels,
        host: &str,
        service_namespace: &str,
    ) -> Option<&MergedRule> {
        self.0.destination_rules.lookup(&self.0.mesh, namespace, labels, host, service_namespace)
    }

    /// The VirtualServices that clients in `namespace` see, those that count first in front: private ones, then those
    /// exported to the namespace, then public ones, each oldest first.
    #[must_use]
    pub fn virtual_services(&self, namespace: &str) -> Vec<&Arc<VirtualService>> {
        virtual_services::visible(&self.0.virtual_services, namespace)
    }

    /// All PeerAuthentications, oldest first.
    #[must_use]
    pub fn peer_authentications(&self) -> &[Arc<PeerAuthentication>] {
        &self.0.peer_authentications
    }

    /// All AuthorizationPolicies, oldest first.
    #[must_use]
    pub fn authorization_policies(&self) -> &[Arc<AuthorizationPolicy>] {
        &self.0.authorization_policies
    }
}

/// The one of several services with a host that counts in `namespace`.
fn visible<'a>(services: &'a [ServiceInfo], namespace: &str) -> Option<&'a ServiceInfo> {
    let mut seen = services.iter().filter(|service| service.is_visible_in(namespace));
    let own = seen.clone().find(|service| service.namespace() == namespace);
    own.or_else(|| seen.next())
}

/// A host as Istio completes it: a name without dots is a service of the namespace.
pub(crate) fn full_host(host: &str, namespace: &str, mesh: &Mesh) -> String {
    if host.contains('.') || host.starts_with('*') {
        host.to_owned()
    } else {
        format!("{host}.{namespace}.svc.{}", mesh.cluster_domain)
    }
}

/// Whether two hosts, either of which may have a wildcard, have names in common (`host.Name.Matches`).
pub(crate) fn hosts_match(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(a), Some(b)) => a.ends_with(b) || b.ends_with(a),
        (Some(a), None) => b.ends_with(a),
        (None, Some(b)) => a.ends_with(b),
        (None, None) => a == b,
    }
}

/// Who sees an object: `exportTo` with `.` replaced by the object's own namespace.
fn is_exported_to(export_to: &BTreeSet<String>, own: &str, namespace: &str) -> bool {
    export_to.is_empty()
        || export_to.contains("*")
        || export_to.contains(namespace)
        || (own == namespace && export_to.contains("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_match_in_both_directions() {
        for (a, b, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.c", false),
            ("*.b", "a.b", true),
            ("a.b", "*.b", true),
            ("*.b", "b", false),
            ("*", "a.b", true),
            ("*.a.b", "*.b", true),
            ("*.a", "*.b", false),
        ] {
            assert_eq!(hosts_match(a, b), expected, "{a} {b}");
        }
    }
}
