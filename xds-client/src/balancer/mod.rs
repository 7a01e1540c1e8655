//! From a cluster's endpoints to the connection an RPC takes: gRPC's load balancing policies as one tree per cluster.
//!
//! The tree is the one gRFC A27, A37 and A56 describe: the cluster manager ([`Balancer`]) has one `cluster` child
//! per cluster in use, that has its `priority` children, each a `weighted_locality` over localities, each a
//! `round_robin` over endpoints, or instead of the two a `ring_hash` or `least_request` over all endpoints of the
//! priority; each endpoint is a `pick_first` over its addresses. Subchannels belong to the
//! channel and are shared by all clusters that ask for the same (address, security configuration).
//!
//! Nothing here dials, waits or reads a clock. Inputs are configurations, subchannel states and the time; outputs are
//! [`Command`]s and immutable [`Picker`]s.

mod cluster;
mod endpoint_list;
mod least_request;
mod pick_first;
mod picker;
mod policy;
mod priority;
mod ring_hash;
mod round_robin;
mod subchannels;
mod weighted_locality;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use hermesh_runtime::Draws;
use tokio::time::Instant;

use crate::cause::{Cause, Failure};
use crate::credentials::Security;
use crate::resource::LbPolicy;
use crate::subchannel::ConnectivityState;
use cluster::Cluster;
pub use picker::{Pick, Picker};
use subchannels::Subchannels;
pub use subchannels::{SubchannelId, SubchannelKey};

/// What the balancer needs to know of one cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterConfig {
    /// How its connections are secured.
    pub security: Security,
    /// How the endpoints of a priority are picked.
    pub lb_policy: LbPolicy,
    /// Localities by priority; the first is preferred while it works.
    pub priorities: Vec<Vec<LocalityConfig>>,
}

/// One locality of one priority.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalityConfig {
    /// Region, zone and sub-zone; unique within its priority.
    pub name: String,
    /// Its share among the localities of its priority.
    pub weight: u32,
    /// The endpoints that may be used.
    pub endpoints: Vec<EndpointConfig>,
}

/// One endpoint: one server that may have several addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    /// At least one.
    pub addresses: Vec<hermesh_runtime::Address>,
    /// Its share among the endpoints of its locality, where the policy looks at it.
    pub weight: u32,
    /// What stands for it on a ring instead of its first address (gRFC A76).
    pub hash_key: Option<String>,
}

/// What a subchannel reports.
#[derive(Clone, Debug, PartialEq)]
pub enum SubchannelState {
    /// See [`ConnectivityState::Idle`].
    Idle,
    /// See [`ConnectivityState::Connecting`].
    Connecting,
    /// See [`ConnectivityState::Ready`].
    Ready,
    /// See [`ConnectivityState::TransientFailure`].
    TransientFailure(Failure),
}

/// What the channel is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Make a subchannel, in IDLE.
    Create(SubchannelId, SubchannelKey),
    /// Start an attempt unless one is under way.
    Connect(SubchannelId),
    /// Let it go: no new RPC takes it, those under way finish.
    Drop(SubchannelId),
}

/// `xds_cluster_manager_experimental`: one child per cluster that routes or RPCs refer to.
#[derive(Debug, Default)]
pub struct Balancer {
    clusters: BTreeMap<String, Cluster>,
    subchannels: Subchannels,
}

impl Balancer {
    /// Takes over the clusters in use. Those not named are closed; those new start from nothing, even if a cluster of
    /// that name existed before.
    pub fn update(&mut self, clusters: BTreeMap<String, Result<ClusterConfig, Failure>>) {
        self.clusters.retain(|name, _| clusters.contains_key(name));
        for (name, config) in clusters {
            self.clusters.entry(name).or_default().update(config, &mut self.subchannels);
        }
    }

    /// A subchannel reports. Reports of dropped ones are ignored.
    pub fn subchannel(&mut self, id: SubchannelId, state: SubchannelState) {
        self.subchannels.set(id, state);
    }

    /// An RPC to a cluster waits for a subchannel that is to connect ([`Pick::Connect`]).
    pub fn connect(&mut self, cluster: &str, id: SubchannelId) {
        if let Some(cluster) = self.clusters.get_mut(cluster) {
            cluster.connect(id);
        }
    }

    /// Lets states, timers and subchannels follow the inputs since the last call.
    pub fn settle(&mut self, now: Instant, draws: &mut Draws) -> Vec<Command> {
        let mut wanted = BTreeSet::new();
        for cluster in self.clusters.values_mut() {
            cluster.settle(now, &mut self.subchannels, draws, &mut wanted);
        }
        let referenced = self.clusters.values().flat_map(Cluster::subchannels).collect();
        self.subchannels.settle(&referenced, &wanted)
    }

    /// When [`settle`](Self::settle) must be called although nothing happened.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.clusters.values().filter_map(Cluster::deadline).min()
    }

    /// The priority in use of each cluster that has several, and its localities.
    pub fn priorities(&self) -> impl Iterator<Item = (&str, usize, &[LocalityConfig])> {
        self.clusters.iter().filter_map(|(name, cluster)| {
            let (priority, localities) = cluster.priority()?;
            Some((name.as_str(), priority, localities))
        })
    }

    /// State and picker of each cluster.
    pub fn pickers(&self) -> impl Iterator<Item = (&str, ConnectivityState, &Picker)> {
        self.clusters.iter().map(|(name, cluster)| {
            let child = cluster.outcome();
            (name.as_str(), child.state, &child.picker)
        })
    }
}

/// What a policy tells its parent.
#[derive(Clone, Debug)]
struct Outcome {
    state: ConnectivityState,
    picker: Picker,
}

impl Outcome {
    fn connecting() -> Self {
        Self { state: ConnectivityState::Connecting, picker: Picker::Queue }
    }

    fn failing(failure: Failure) -> Self {
        Self { state: ConnectivityState::TransientFailure, picker: Picker::Fail(failure) }
    }

    fn no_endpoints(message: &str) -> Self {
        Self::failing(Failure::new(Cause::NoEndpoints, message))
    }
}
