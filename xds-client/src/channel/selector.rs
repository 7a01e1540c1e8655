//! The config selector (gRFC A31): from an RPC to its cluster, time limit and retry policy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hermesh_runtime::{Draws, EventId};
use http::HeaderMap;
use tokio::sync::mpsc;

use super::actor::Event;
use crate::balancer::SubchannelId;
use crate::cause::{Cause, Failure};
use crate::dependency_manager::XdsConfig;
use crate::resource::{FaultPolicy, FilterOverride, FilterOverrides, HttpFilterKind, RetryPolicy, RouteAction};
use crate::routing::{Metadata, find_route, pick_cluster, request_hash};

/// Routes RPCs by one configuration. It keeps the clusters of its routes alive.
#[derive(Debug)]
pub(super) struct ConfigSelector {
    config: Arc<XdsConfig>,
    clusters: BTreeMap<String, Arc<ClusterRef>>,
    node_id: Arc<str>,
    /// The event that recorded the configuration's use.
    event: Option<EventId>,
}

/// Keeps a cluster in the channel's configuration: held by selectors, and by RPCs until they are committed.
#[derive(Debug)]
pub(super) struct ClusterRef {
    pub(super) name: Arc<str>,
    events: mpsc::UnboundedSender<Event>,
}

/// What the configuration says of one RPC.
#[derive(Debug)]
pub(super) struct Selected {
    pub(super) cluster: Arc<ClusterRef>,
    /// The route's name and whether the cluster was drawn, for the explanation of picks.
    pub(super) route: String,
    pub(super) weighted: bool,
    /// How long the RPC may take at most.
    pub(super) limit: Option<Duration>,
    pub(super) retry_policy: Option<RetryPolicy>,
    /// By the route's policies, unless they found nothing.
    pub(super) hash: Option<u64>,
    /// In the order of the filters.
    pub(super) faults: Vec<Arc<FaultPolicy>>,
    /// The event that recorded the configuration's use.
    pub(super) event: Option<EventId>,
}

impl ConfigSelector {
    pub(super) fn new(
        config: Arc<XdsConfig>,
        clusters: BTreeMap<String, Arc<ClusterRef>>,
        node_id: Arc<str>,
        event: Option<EventId>,
    ) -> Self {
        Self { config, clusters, node_id, event }
    }

    pub(super) fn select(
        &self,
        path: &str,
        headers: &HeaderMap,
        channel_id: u64,
        draws: &mut Draws,
    ) -> Result<Selected, Failure> {
        let virtual_host = self.config.virtual_host();
        let Some(route) = find_route(&virtual_host.routes, path, Metadata::new(headers), draws) else {
            return Err(self.failure(Cause::NoRoute, "no matched route was found"));
        };
        let RouteAction::Forward { clusters, max_stream_duration, retry_policy, hash_policies } = &route.action else {
            return Err(self.failure(Cause::NoRoute, "matched route does not have a supported route action type"));
        };
        let chosen = pick_cluster(clusters, draws);
        let name = &chosen.name;
        let Some(cluster) = self.clusters.get(name) else {
            return Err(self.failure(Cause::NoCluster, &format!("unknown cluster selected for RPC: {name:?}")));
        };
        Ok(Selected {
            cluster: cluster.clone(),
            route: route.name.clone(),
            weighted: clusters.len() > 1,
            limit: max_stream_duration.limit(self.config.http().max_stream_duration),
            retry_policy: retry_policy.as_ref().or(virtual_host.retry_policy.as_ref()).cloned(),
            hash: request_hash(hash_policies, Metadata::new(headers), channel_id),
            faults: self.faults([&chosen.overrides, &route.overrides, &virtual_host.overrides]),
            event: self.event,
        })
    }

    /// The fault policies of the filter chain, in its order; the first of the overrides that there are counts.
    fn faults(&self, overrides: [&FilterOverrides; 3]) -> Vec<Arc<FaultPolicy>> {
        let filters = self.config.http().http_filters.iter().filter_map(|filter| {
            let HttpFilterKind::Fault(policy) = &filter.kind else { return None };
            let replaced = overrides.iter().find_map(|overrides| match overrides.get(&filter.name) {
                Some(FilterOverride::Fault(other)) => Some(other),
                _ => None,
            });
            let policy = replaced.unwrap_or(policy);
            (policy.delay.is_some() || policy.abort.is_some()).then(|| policy.clone())
        });
        filters.collect()
    }

    fn failure(&self, cause: Cause, message: &str) -> Failure {
        Failure::new(cause, format!("[xDS node id: {}]: {message}", self.node_id)).because(self.event)
    }
}

impl ClusterRef {
    pub(super) fn new(name: &str, events: mpsc::UnboundedSender<Event>) -> Self {
        Self { name: name.into(), events }
    }
}

impl ClusterRef {
    /// Asks the channel to connect a subchannel of the cluster.
    pub(super) fn want(&self, id: SubchannelId) {
        // An RPC of a channel that is gone waits for nothing any more.
        let _ = self.events.send(Event::Wanted { cluster: self.name.clone(), id });
    }
}

impl Drop for ClusterRef {
    fn drop(&mut self) {
        // A channel that is gone keeps no clusters.
        let _ = self.events.send(Event::Released(self.name.clone()));
    }
}
