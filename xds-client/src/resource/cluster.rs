//! A group of endpoints with its load balancing policy and transport security, from CDS (gRFC A27, A29, A32, A42, A48).

use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig};
use envoy_types::pb::envoy::config::core::v3::RoutingPriority;
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;

use crate::resource::{DecodeError, UpstreamTlsContext, Validation};

mod lb_policy;

pub use lb_policy::LbPolicy;

/// How many RPCs may be in flight to a cluster that does not say (gRFC A32).
const DEFAULT_MAX_REQUESTS: u32 = 1024;

/// `envoy.config.cluster.v3.Cluster` of type EDS.
#[derive(Clone, Debug, PartialEq)]
pub struct Cluster {
    /// The resource's name.
    pub name: String,
    /// The name to ask EDS for, if it is not the cluster's own; see [`Cluster::endpoints_name`].
    pub eds_service_name: Option<String>,
    /// How endpoints are picked.
    pub lb_policy: LbPolicy,
    /// Transport security. `None` means that the application's fallback credentials are used.
    pub security: Option<UpstreamTlsContext>,
    /// How many RPCs may be in flight to the cluster at once (A32).
    pub max_requests: u32,
    /// See [`Resource::unsupported`](crate::resource::Resource::unsupported).
    pub unsupported: Vec<String>,
}

impl Cluster {
    /// The name of the cluster's [`Endpoints`](crate::resource::Endpoints).
    #[must_use]
    pub fn endpoints_name(&self) -> &str {
        self.eds_service_name.as_deref().unwrap_or(&self.name)
    }
}

pub(super) fn from_proto(proto: &proto::Cluster, validation: &Validation) -> Result<Cluster, DecodeError> {
    let mut unsupported = Vec::new();
    let eds_service_name = read_discovery(proto)?;
    let lb_policy = lb_policy::read(proto, &mut unsupported)?;
    if proto.outlier_detection.is_some() {
        return Err(DecodeError::new(
            "outlier_detection (gRFC A50) is not implemented by this client; remove it from the cluster",
        ));
    }
    if let Some(source) = &proto.lrs_server {
        if !matches!(source.config_source_specifier, Some(ConfigSourceSpecifier::Self_(_))) {
            return Err(DecodeError::new("unsupported config_source_specifier in lrs_server, want self"));
        }
        unsupported.push("lrs_server: load is not reported".to_owned());
    }
    if !proto.transport_socket_matches.is_empty() {
        return Err(DecodeError::new("unsupported transport_socket_matches field is non-empty"));
    }
    let security =
        proto.transport_socket.as_ref().map(|socket| UpstreamTlsContext::from_proto(socket, validation)).transpose()?;
    Ok(Cluster {
        name: proto.name.clone(),
        eds_service_name,
        lb_policy,
        security,
        max_requests: read_max_requests(proto),
        unsupported,
    })
}

/// The name to ask EDS for, if it is another.
fn read_discovery(proto: &proto::Cluster) -> Result<Option<String>, DecodeError> {
    let not_implemented = |what: &str| {
        Err(DecodeError::new(format!("{what} clusters (gRFC A37) are not implemented by this client; use type EDS")))
    };
    match &proto.cluster_discovery_type {
        Some(ClusterDiscoveryType::Type(number)) if *number == DiscoveryType::Eds as i32 => {}
        Some(ClusterDiscoveryType::Type(number)) if *number == DiscoveryType::LogicalDns as i32 => {
            return not_implemented("LOGICAL_DNS");
        }
        Some(ClusterDiscoveryType::ClusterType(custom)) if custom.name == "envoy.clusters.aggregate" => {
            return not_implemented("aggregate");
        }
        other => {
            let found = match other {
                Some(ClusterDiscoveryType::Type(number)) => {
                    DiscoveryType::try_from(*number).map_or("unknown", |it| it.as_str_name()).to_owned()
                }
                Some(ClusterDiscoveryType::ClusterType(custom)) => custom.name.clone(),
                // The protocol's default.
                None => DiscoveryType::Static.as_str_name().to_owned(),
            };
            return Err(DecodeError::new(format!("unsupported cluster type {found}, want EDS")));
        }
    }
    let eds = proto.eds_cluster_config.as_ref();
    let source = eds.and_then(|eds| eds.eds_config.as_ref()).and_then(|it| it.config_source_specifier.as_ref());
    if !matches!(source, Some(ConfigSourceSpecifier::Ads(_) | ConfigSourceSpecifier::Self_(_))) {
        return Err(DecodeError::new("CDS's EDS config source is not ADS or Self"));
    }
    let service_name = eds.map(|eds| eds.service_name.clone()).filter(|name| !name.is_empty());
    if service_name.is_none() && proto.name.starts_with("xdstp:") {
        return Err(DecodeError::new("CDS's EDS service name is not set with a new-style cluster name"));
    }
    Ok(service_name.filter(|name| *name != proto.name))
}

fn read_max_requests(proto: &proto::Cluster) -> u32 {
    let mut thresholds = proto.circuit_breakers.iter().flat_map(|breakers| &breakers.thresholds);
    thresholds
        .find(|threshold| threshold.priority == RoutingPriority::Default as i32)
        .and_then(|threshold| threshold.max_requests)
        .map_or(DEFAULT_MAX_REQUESTS, |max| max.value)
}
