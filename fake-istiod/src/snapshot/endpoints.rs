//! The workloads behind a Service, from its EndpointSlices and pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hermesh_xds::resource::Locality;

use super::ServiceInfo;
use crate::objects::{Endpoint, EndpointSlice, Labels, Node, ObjectKey, Pod, REGION_LABEL, SUB_ZONE_LABEL, ZONE_LABEL};

/// The label with which a pod says where it is.
const LOCALITY_LABEL: &str = "istio-locality";

type Slices = BTreeMap<(String, String), Vec<Arc<EndpointSlice>>>;
type Pods = BTreeMap<(String, String), Arc<Pod>>;
/// The machines that pods run on, by name.
pub(super) type Nodes = BTreeMap<String, Arc<Node>>;

/// One endpoint of a Service's port.
#[derive(Clone, Debug)]
pub struct WorkloadEndpoint {
    /// Its address.
    pub address: IpAddr,
    /// The workload's port.
    pub port: u16,
    /// Whether it wants traffic. Endpoints that do not are sent all the same, as UNHEALTHY.
    pub is_ready: bool,
    /// Who it is; an endpoint managed by hand is nobody.
    pub workload: Option<Workload>,
    /// The slice it comes from.
    pub slice: ObjectKey,
}

/// The pod behind an endpoint.
#[derive(Clone, Debug)]
pub struct Workload {
    pod: Arc<Pod>,
    locality: Locality,
}

impl Workload {
    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Arc<Pod> {
        &self.pod
    }

    /// The pod's labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.pod.metadata.labels
    }

    /// The workload's name: its Deployment's, else the pod's.
    #[must_use]
    pub fn name(&self) -> &str {
        self.pod.metadata.owner.as_ref().map_or(&self.pod.metadata.name, |owner| &owner.name)
    }

    /// Where it is: what the label `istio-locality` says, or the labels of its node.
    #[must_use]
    pub fn locality(&self) -> &Locality {
        &self.locality
    }
}

/// Where a pod is, as far as labels tell: its own come before those of its node.
///
/// Source: Istio `pilot/pkg/serviceregistry/kube/controller/controller.go` (`getPodLocality`).
pub(super) fn locality(pod: &Pod, nodes: &Nodes) -> Option<Locality> {
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

/// The endpoints of one port. Terminating ones are never sent, and one whose pod is not known yet waits for it.
pub(super) fn of_port(
    slices: &Slices,
    pods: &Pods,
    nodes: &Nodes,
    service: &ServiceInfo,
    port: u16,
) -> Vec<WorkloadEndpoint> {
    let Some(service_port) = service.port(port) else { return Vec::new() };
    let name = service_port.name.as_deref().unwrap_or_default();
    let mut endpoints = Vec::new();
    for slice in slices_of(slices, service) {
        let Some(port) = slice.ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            if endpoint.conditions.terminating == Some(true) {
                continue;
            }
            let (Ok(pod), Some(address)) = (pod(pods, slice, endpoint), endpoint.addresses.first()) else {
                continue;
            };
            let workload =
                |pod: &Arc<Pod>| Workload { locality: locality(pod, nodes).unwrap_or_default(), pod: Arc::clone(pod) };
            endpoints.push(WorkloadEndpoint {
                address: *address,
                port: port.port,
                is_ready: endpoint.conditions.ready.unwrap_or(true),
                workload: pod.map(workload),
                slice: slice.key(),
            });
        }
    }
    endpoints
}

/// Namespace and service account of every workload of a Service.
pub(super) fn accounts<'a>(
    slices: &'a Slices,
    pods: &'a Pods,
    service: &ServiceInfo,
) -> impl Iterator<Item = (String, String)> + 'a {
    let endpoints = slices_of(slices, service).iter().flat_map(|slice| slice.endpoints.iter().map(move |e| (slice, e)));
    endpoints.filter_map(|(slice, endpoint)| {
        let pod = pod(pods, slice, endpoint).ok()??;
        Some((pod.metadata.namespace.clone(), pod.spec.service_account().to_owned()))
    })
}

fn slices_of<'a>(slices: &'a Slices, service: &ServiceInfo) -> &'a [Arc<EndpointSlice>] {
    slices.get(&(service.namespace().to_owned(), service.name().to_owned())).map_or(&[], Vec::as_slice)
}

/// The pod is named, but not known yet.
struct Unknown;

fn pod<'p>(pods: &'p Pods, slice: &EndpointSlice, endpoint: &Endpoint) -> Result<Option<&'p Arc<Pod>>, Unknown> {
    let Some(target) = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod") else { return Ok(None) };
    let namespace = if target.namespace.is_empty() { &slice.metadata.namespace } else { &target.namespace };
    pods.get(&(namespace.clone(), target.name.clone())).map(Some).ok_or(Unknown)
}
