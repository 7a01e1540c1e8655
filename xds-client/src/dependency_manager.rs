//! From a target's name to one consistent configuration: listener, routes, clusters and endpoints together (gRFC A74).
//!
//! [`DependencyManager`] follows the watch graph: the listener names a route configuration, the virtual host of the
//! data-plane authority names clusters, each cluster names its endpoints. It shows a new [`XdsConfig`] only when every
//! part has data or an error, so that an RPC never meets half an update; until then the previous one stays in force.
//! Like everything here it does no I/O: it says what to watch, and is told what the watches bring.

mod manager;
mod slot;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use manager::DependencyManager;

use crate::resource::{
    Cluster, Endpoints, HttpConnectionManager, Listener, ListenerKind, ResourceType, RouteConfiguration, VirtualHost,
};

/// What the owner of a [`DependencyManager`] must do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Start to watch a resource and pass on its events by [`DependencyManager::on_event`].
    Watch(ResourceType, String),
    /// Stop to watch it. Events of it that are still on their way are ignored.
    Unwatch(ResourceType, String),
    /// Use this configuration from now on.
    Apply(Arc<XdsConfig>),
    /// There is no configuration: fail RPCs with this error, those in flight apart.
    Fail(DependencyError),
}

/// Everything a channel must know to route RPCs and pick backends, at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct XdsConfig {
    /// The listener.
    pub listener: Arc<Listener>,
    /// The routes, from RDS or from within the listener.
    pub route_configuration: Arc<RouteConfiguration>,
    /// Index into the routes' virtual hosts: the one that the data-plane authority selects.
    pub virtual_host: usize,
    /// Every cluster that the virtual host's routes name or that [`DependencyManager::retain_cluster`] keeps.
    pub clusters: BTreeMap<String, ClusterState>,
    /// The version each resource came with. An inline route configuration has none of its own.
    pub versions: BTreeMap<(ResourceType, String), Arc<str>>,
}

impl XdsConfig {
    /// The virtual host that the data-plane authority selects.
    #[must_use]
    pub fn virtual_host(&self) -> &VirtualHost {
        &self.route_configuration.virtual_hosts[self.virtual_host]
    }

    /// The listener's connection manager.
    #[must_use]
    pub fn http(&self) -> &HttpConnectionManager {
        match &self.listener.kind {
            ListenerKind::Client(http) => http,
            ListenerKind::Server(_) => unreachable!("a configuration is made of client listeners"),
        }
    }
}

/// What is known of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum ClusterState {
    /// Its configuration and endpoints.
    Ready {
        /// From CDS.
        cluster: Arc<Cluster>,
        /// From EDS; an error where there are none and why. RPCs then fail with UNAVAILABLE.
        endpoints: Result<Arc<Endpoints>, String>,
    },
    /// CDS has none. RPCs to it fail with UNAVAILABLE and this text; other clusters are not affected.
    Failed(String),
}

/// Why a target has no configuration at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DependencyError {
    /// The listener is missing, invalid or out of reach.
    #[error("listener resource error: {0}")]
    Listener(String),
    /// The listener is a server's.
    #[error(
        "[xDS node id: {node_id}]: client-side listener resource {name:?} does not contain API listener configuration"
    )]
    ServerListener {
        /// The node's id in the bootstrap.
        node_id: Arc<str>,
        /// The listener's name.
        name: String,
    },
    /// The route configuration is missing, invalid or out of reach.
    #[error("route resource error: {0}")]
    RouteConfiguration(String),
    /// The route configuration has no virtual host for the data-plane authority.
    #[error("[xDS node id: {node_id}]: could not find VirtualHost for {authority:?}")]
    NoVirtualHost {
        /// The node's id in the bootstrap.
        node_id: Arc<str>,
        /// What was looked for.
        authority: String,
    },
}
