//! The workloads behind a Service, from its EndpointSlices and pods.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hermesh_xds::resource::Locality;

use super::ServiceInfo;
use crate::objects::{Endpoint, EndpointSlice, Labels, ObjectKey, Pod};

/// The label with which a pod says where it is.
const LOCALITY_LABEL: &str = "istio-locality";

type Slices = BTreeMap<(String, String), Vec<Arc<EndpointSlice>>>;
type Pods = BTreeMap<(String, String), Arc<Pod>>;

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
pub struct Workload(Arc<Pod>);

impl Workload {
    /// The pod.
    #[must_use]
    pub fn pod(&self) -> &Arc<Pod> {
        &self.0
    }

    /// The pod's labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.0.metadata.labels
    }

    /// The workload's name: its Deployment's, else the pod's.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.metadata.owner.as_ref().map_or(&self.0.metadata.name, |owner| &owner.name)
    }

    /// Where it is: the label `istio-locality`.
    #[must_use]
    pub fn locality(&self) -> Locality {
        labelled_locality(self.labels()).unwrap_or_default()
    }
}

/// What the label `istio-locality` says; dots stand for the slashes that a label's value cannot have.
pub(super) fn labelled_locality(labels: &Labels) -> Option<Locality> {
    let label = labels.get(LOCALITY_LABEL).filter(|label| !label.is_empty())?;
    let mut parts = label.splitn(3, '.').map(|part| part.trim().to_owned());
    let mut next = || parts.next().unwrap_or_default();
    Some(Locality { region: next(), zone: next(), sub_zone: next() })
}

/// The endpoints of one port. Terminating ones are never sent, and one whose pod is not known yet waits for it.
pub(super) fn of_port(slices: &Slices, pods: &Pods, service: &ServiceInfo, port: u16) -> Vec<WorkloadEndpoint> {
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
            let (Ok(workload), Some(address)) = (workload(pods, slice, endpoint), endpoint.addresses.first()) else {
                continue;
            };
            endpoints.push(WorkloadEndpoint {
                address: *address,
                port: port.port,
                is_ready: endpoint.conditions.ready.unwrap_or(true),
                workload,
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
        let Workload(pod) = workload(pods, slice, endpoint).ok()??;
        Some((pod.metadata.namespace.clone(), pod.spec.service_account().to_owned()))
    })
}

fn slices_of<'a>(slices: &'a Slices, service: &ServiceInfo) -> &'a [Arc<EndpointSlice>] {
    slices.get(&(service.namespace().to_owned(), service.name().to_owned())).map_or(&[], Vec::as_slice)
}

/// The pod is named, but not known yet.
struct Unknown;

fn workload(pods: &Pods, slice: &EndpointSlice, endpoint: &Endpoint) -> Result<Option<Workload>, Unknown> {
    let Some(target) = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod") else { return Ok(None) };
    let namespace = if target.namespace.is_empty() { &slice.metadata.namespace } else { &target.namespace };
    let pod = pods.get(&(namespace.clone(), target.name.clone())).ok_or(Unknown)?;
    Ok(Some(Workload(Arc::clone(pod))))
}
