//! The workloads behind a Service: those of its EndpointSlices, and what it selects outside of the cluster.

use std::net::IpAddr;
use std::sync::Arc;

use hermesh_xds::resource::Locality;

use super::workloads::selected;
use super::{Index, Registry, ServiceInfo, Workload};
use crate::objects::{Endpoint, EndpointSlice, ObjectKey};

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
    /// Where it is.
    pub locality: Locality,
    /// The object it comes from: a slice, a WorkloadEntry, a ServiceEntry, or a pod that a ServiceEntry selects.
    pub from: ObjectKey,
}

impl WorkloadEndpoint {
    /// How much of the traffic it takes beside others.
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.workload.as_ref().map_or(1, Workload::weight)
    }
}

/// The endpoints of one port. Terminating ones are never sent, and one whose pod is not known yet waits for it. Of a
/// host that proxies would look up in DNS none are sent.
pub(super) fn of_port(index: &Index, service: &ServiceInfo, port: u16) -> Vec<WorkloadEndpoint> {
    let Some(service_port) = service.port(port) else { return Vec::new() };
    if matches!(service.registry(), Registry::External(entry) if entry.spec.resolution.is_dns()) {
        return Vec::new();
    }
    let name = service_port.name.as_deref().unwrap_or_default();
    let mut endpoints = Vec::new();
    for slice in slices_of(index, service) {
        let Some(port) = slice.ports.iter().find(|port| port.name.as_deref().unwrap_or_default() == name) else {
            continue;
        };
        for endpoint in &slice.endpoints {
            if endpoint.conditions.terminating == Some(true) {
                continue;
            }
            let (Ok(workload), Some(address)) = (workload(index, slice, endpoint), endpoint.addresses.first()) else {
                continue;
            };
            endpoints.push(WorkloadEndpoint {
                address: *address,
                port: port.port,
                is_ready: endpoint.conditions.ready.unwrap_or(true),
                locality: workload.as_ref().map(|it| it.locality(&index.nodes)).unwrap_or_default(),
                workload,
                from: slice.key(),
            });
        }
    }
    endpoints.extend(selected(service, &index.workload_entries, &index.pods).into_iter().filter_map(|workload| {
        Some(WorkloadEndpoint {
            address: workload.address()?,
            port: workload.port(service, service_port)?,
            is_ready: true,
            locality: workload.locality(&index.nodes),
            from: workload.key(),
            workload: Some(workload),
        })
    }));
    endpoints
}

/// Namespace and service account of every workload of a Service. Those of entries are of the Service's namespace.
pub(super) fn accounts<'a>(index: &'a Index, service: &'a ServiceInfo) -> impl Iterator<Item = (String, String)> + 'a {
    let endpoints = slices_of(index, service).iter().flat_map(|slice| slice.endpoints.iter().map(move |e| (slice, e)));
    let of_slices = endpoints.filter_map(|(slice, endpoint)| workload(index, slice, endpoint).ok()?);
    let selected = selected(service, &index.workload_entries, &index.pods);
    of_slices.chain(selected).filter_map(|workload| {
        let namespace = match &workload {
            Workload::Pod(pod) => &pod.metadata.namespace,
            Workload::Entry(_) => service.namespace(),
        };
        Some((namespace.to_owned(), workload.account()?.to_owned()))
    })
}

fn slices_of<'a>(index: &'a Index, service: &ServiceInfo) -> &'a [Arc<EndpointSlice>] {
    let Registry::Kubernetes(service) = service.registry() else { return &[] };
    let key = (service.metadata.namespace.clone(), service.metadata.name.clone());
    index.slices.get(&key).map_or(&[], Vec::as_slice)
}

/// The pod is named, but not known yet.
struct Unknown;

fn workload(index: &Index, slice: &EndpointSlice, endpoint: &Endpoint) -> Result<Option<Workload>, Unknown> {
    let Some(target) = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod") else { return Ok(None) };
    let namespace = if target.namespace.is_empty() { &slice.metadata.namespace } else { &target.namespace };
    let pod = index.pods.get(&(namespace.clone(), target.name.clone())).ok_or(Unknown)?;
    Ok(Some(Workload::Pod(Arc::clone(pod))))
}
