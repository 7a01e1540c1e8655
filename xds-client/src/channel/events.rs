//! What a channel does and what becomes of its RPCs.

use std::sync::Arc;

use hermesh_runtime::Address;
use sha2::{Digest, Sha256};

use crate::cause::Cause;
use crate::dependency_manager::{ClusterState, XdsConfig};
use crate::resource::ResourceType;
use crate::subchannel::ConnectivityState;

hermesh_runtime::event! {
    /// New RPCs of a channel use this configuration from now on.
    ConfigApplied = "config.applied" {
        /// The channel's target.
        target: Arc<str>,
        /// The number of its xDS client in the process.
        client_ordinal: u64,
        /// The listener's name.
        listener: String,
        /// The version of the response that brought the listener.
        listener_version: Option<Arc<str>>,
        /// The route configuration's name.
        route_configuration: String,
        /// The version of the response that brought the routes, unless they stand in the listener.
        route_configuration_version: Option<Arc<str>>,
        /// The clusters in use.
        clusters: Vec<AppliedCluster>,
        /// Of the whole configuration; equal for channels that behave alike.
        digest: AppliedDigest,
    }

    /// A channel has no configuration: new RPCs fail.
    ConfigFailed = "config.failed" {
        /// The channel's target.
        target: Arc<str>,
        /// The number of its xDS client in the process.
        client_ordinal: u64,
        /// Why.
        error: String,
    }

    /// A subchannel's connectivity changed.
    SubchannelStateChanged = "subchannel.state" {
        /// The channel's target.
        target: Arc<str>,
        /// Where it connects to.
        address: Address,
        /// Whether the control plane asked for TLS.
        tls: bool,
        /// The new state.
        state: ConnectivityState,
        /// Why it failed, or why the connection is no longer used.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }

    /// New RPCs to a cluster with several priorities use this one from now on (gRFC A56).
    ClusterPriority = "cluster.priority" {
        /// The channel's target.
        target: Arc<str>,
        /// The cluster.
        cluster: String,
        /// 0 is preferred while it works.
        priority: usize,
        /// Where its endpoints are, as `region/zone/sub-zone`.
        localities: Vec<String>,
    }

    /// Fault injection holds an RPC back, or fails it, or first one and then the other.
    RpcFault = "rpc.fault" {
        /// The channel's target.
        target: Arc<str>,
        /// Such as `/echo.EchoService/Echo`.
        method: String,
        /// The cluster that the route chose.
        cluster: Arc<str>,
        /// How long it is held back.
        #[serde(skip_serializing_if = "Option::is_none")]
        delay_ms: Option<u64>,
        /// The name of the status code that it ends with.
        #[serde(skip_serializing_if = "Option::is_none")]
        abort: Option<String>,
    }

    /// An attempt of an RPC got a connection.
    RpcPick = "rpc.pick" @ Debug {
        /// The channel's target.
        target: Arc<str>,
        /// Such as `/echo.EchoService/Echo`.
        method: String,
        /// The cluster that the route chose.
        cluster: Arc<str>,
        /// The endpoint that the cluster's balancer chose.
        endpoint: Address,
        /// What led there.
        reason: String,
    }

    /// An RPC ended.
    RpcFinished = "rpc.finished" {
        /// The channel's target.
        target: Arc<str>,
        /// Such as `/echo.EchoService/Echo`.
        method: String,
        /// The status code's name, such as `Ok` or `Unavailable`.
        code: String,
        /// The status message.
        message: String,
        /// The cluster that the route chose, if it came so far.
        cluster: Option<Arc<str>>,
        /// The endpoint of the last attempt, if it came so far.
        endpoint: Option<Address>,
        /// How many attempts were made.
        attempts: u32,
        /// Why it failed, unless it succeeded.
        cause_kind: Option<Cause>,
        /// How long it took, in microseconds.
        took_us: u64,
    }
}

/// The digest of a whole configuration, which is all that the trace has of it.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(into = "String")]
pub struct AppliedDigest {
    /// In hex.
    pub hex: String,
    /// What it is the digest of.
    pub config: Arc<XdsConfig>,
}

impl From<AppliedDigest> for String {
    fn from(digest: AppliedDigest) -> Self {
        digest.hex
    }
}

/// One cluster of a [`ConfigApplied`].
#[derive(Clone, Debug, serde::Serialize)]
pub struct AppliedCluster {
    /// Its name.
    pub name: String,
    /// The version of the response that brought it.
    pub version: Option<Arc<str>>,
    /// The version of the response that brought its endpoints.
    pub endpoints_version: Option<Arc<str>>,
    /// How many endpoints may be used.
    pub endpoints: usize,
    /// Whether connections are to be made with TLS.
    pub tls: bool,
    /// Why the cluster or its endpoints cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl ConfigApplied {
    pub(super) fn new(target: Arc<str>, client_ordinal: u64, config: &Arc<XdsConfig>) -> Self {
        let version = |kind, name: &str| config.versions.get(&(kind, name.to_owned())).cloned();
        let clusters = config.clusters.iter().map(|(name, state)| {
            let mut applied = AppliedCluster {
                name: name.clone(),
                version: version(ResourceType::Cluster, name),
                endpoints_version: None,
                endpoints: 0,
                tls: false,
                error: None,
            };
            match state {
                ClusterState::Failed(error) => applied.error = Some(error.clone()),
                ClusterState::Ready { cluster, endpoints } => {
                    applied.endpoints_version = version(ResourceType::Endpoints, cluster.endpoints_name());
                    applied.tls = cluster.security.is_some();
                    match endpoints {
                        Ok(endpoints) => {
                            applied.endpoints = endpoints.localities.iter().map(|it| it.endpoints.len()).sum();
                        }
                        Err(error) => applied.error = Some(error.clone()),
                    }
                }
            }
            applied
        });
        Self {
            target,
            client_ordinal,
            listener: config.listener.name.clone(),
            listener_version: version(ResourceType::Listener, &config.listener.name),
            route_configuration: config.route_configuration.name.clone(),
            route_configuration_version: version(ResourceType::RouteConfiguration, &config.route_configuration.name),
            clusters: clusters.collect(),
            digest: AppliedDigest { hex: digest(config), config: config.clone() },
        }
    }
}

/// Versions differ between control planes that say the same; they are left out.
fn digest(config: &XdsConfig) -> String {
    let text = format!("{:?}", (&config.listener, &config.route_configuration, config.virtual_host, &config.clusters));
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
