//! What the trace tells about the cluster.

use hermesh_istiod::objects::{Endpoint, EndpointSlice, Labels, SERVICE_NAME_LABEL, WorkloadEntry};
use hermesh_runtime::event;
use serde::Serialize;

event! {
    /// An object came to be or changed.
    ObjectApplied = "object.applied" {
        object: String,
        resource_version: u64,
        change: &'static str,
        /// Of an EndpointSlice, what it has behind its Service.
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoints: Option<SlicePods>,
        /// Of a Pod that came to be, the workload it belongs to: its owner, or itself.
        #[serde(skip_serializing_if = "Option::is_none")]
        workload: Option<String>,
        /// Of a Service, the labels of those it selects.
        #[serde(skip_serializing_if = "Option::is_none")]
        selector: Option<Labels>,
        /// Of a WorkloadEntry, whom it stands for.
        #[serde(skip_serializing_if = "Option::is_none")]
        entry: Option<Entered>,
    }
    /// An object is gone.
    ObjectDeleted = "object.deleted" {
        object: String,
        resource_version: u64,
    }
    /// A change reached one of those who watch its kind.
    WatchDelivered = "watch.delivered" @ Debug {
        watcher: String,
        object: String,
        resource_version: u64,
    }
    /// What sidecar injection left out or does otherwise than asked.
    InjectionNoted = "injection.noted" {
        pod: String,
        note: String,
    }
    /// A workload's controller may not make its pods. Told once for each account that is missing; it goes on to try.
    PodForbidden = "pod.forbidden" {
        pod: String,
        error: String,
    }
    /// A container waits for an image whose pull takes a time that somebody has set.
    ImagePulling = "image.pulling" {
        container: String,
        image: String,
        takes_ms: u64,
    }
    /// A container's image is there.
    ImagePulled = "image.pulled" @ Debug {
        container: String,
        image: String,
    }
    /// A container's image cannot be pulled.
    ImageMissing = "image.missing" {
        container: String,
        image: String,
        error: String,
    }
    /// A container waits before its image is pulled again.
    ImageBackedOff = "image.backed-off" {
        container: String,
        image: String,
        wait_ms: u64,
    }
    /// A container waits before its program starts.
    ProgramDelayed = "program.delayed" { by_ms: u64, }
    /// A volume of a pod has no room any more.
    VolumeFilled = "volume.full" { pod: String, volume: String, }
    /// It has room again, and writes to it end as they should.
    VolumeFreed = "volume.freed" { pod: String, volume: String, }
    /// What becomes of a pod's tokens was decided anew.
    TokensSet = "pod.tokens" {
        pod: String,
        /// Whether the kubelet replaces them in time.
        refreshed: bool,
        /// After which time those that are there now expire, if they were made just now.
        life_s: Option<u64>,
    }
    /// A pod is given a node.
    PodScheduled = "pod.scheduled" { pod: String, node: String, }
    /// The cluster has not heard of a node for too long.
    NodeNotReady = "node.not-ready" { node: String, }
    /// The cluster hears of a node again.
    NodeReady = "node.ready" { node: String, }
    /// A pod is deleted since its node has been lost for longer than it tolerates.
    PodEvicted = "pod.evicted" { pod: String, node: String, }
    /// A pod is gone with its node, which is none of the cluster's any more.
    PodCollected = "pod.collected" { pod: String, node: String, }
    /// A container is not started because something it needs is not there yet.
    PodWaits = "pod.waits" {
        pod: String,
        reason: String,
    }
    /// A container waits before its next start.
    ContainerBackedOff = "container.backed-off" {
        container: String,
        wait_ms: u64,
    }
    /// A hook ran to its end.
    HookFinished = "hook.finished" {
        container: String,
        hook: &'static str,
        error: Option<String>,
    }
    /// One probe.
    Probed = "probe.result" @ Debug {
        container: String,
        probe: super::kubelet::probe::Purpose,
        error: Option<String>,
    }
    /// A run of probes changed what a container is taken for.
    ProbeTurned = "probe.turned" {
        container: String,
        probe: super::kubelet::probe::Purpose,
        passing: bool,
        error: Option<String>,
    }
    /// A pod got another status.
    PodStatusChanged = "pod.status" {
        pod: String,
        ready: String,
        status: String,
        restarts: u32,
    }
    /// A Job is over; `reason` says why it was given up, if it was.
    JobFinished = "job.finished" {
        job: String,
        succeeded: u32,
        failed: u32,
        reason: Option<String>,
    }
    /// A Service's address was connected to.
    ServiceRouted = "service.routed" @ Debug {
        service: String,
        endpoint: Option<std::net::SocketAddr>,
    }
}

/// What one EndpointSlice has behind its Service. Pods go by `namespace/name`, what is no pod by its address.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SlicePods {
    /// `namespace/name` of the Service.
    pub service: String,
    /// Those that take connections.
    pub ready: Vec<String>,
    /// Those that take none.
    pub unready: Vec<String>,
}

impl SlicePods {
    pub(super) fn of(slice: &EndpointSlice) -> Self {
        let namespace = &slice.metadata.namespace;
        let service = slice.metadata.labels.get(SERVICE_NAME_LABEL).cloned().unwrap_or_default();
        let (ready, unready) =
            slice.endpoints.iter().partition::<Vec<_>, _>(|endpoint| endpoint.conditions.ready.unwrap_or(true));
        let names = |endpoints: Vec<&Endpoint>| endpoints.into_iter().filter_map(name).collect();
        Self { service: format!("{namespace}/{service}"), ready: names(ready), unready: names(unready) }
    }
}

/// The workload of a WorkloadEntry.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entered {
    /// Those of its metadata among those of its spec, where they win.
    pub labels: Labels,
    /// Whether anybody is sent to it.
    pub healthy: bool,
}

impl Entered {
    pub(super) fn of(entry: &WorkloadEntry) -> Self {
        let mut labels = entry.spec.labels.clone();
        labels.extend(entry.metadata.labels.clone());
        Self { labels, healthy: entry.is_healthy() }
    }
}

fn name(endpoint: &Endpoint) -> Option<String> {
    match &endpoint.target_ref {
        Some(target) => Some(format!("{}/{}", target.namespace, target.name)),
        None => endpoint.addresses.first().map(ToString::to_string),
    }
}
