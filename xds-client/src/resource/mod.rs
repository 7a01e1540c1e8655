//! xDS resources, parsed once and kept in the form that balancers and routers use.
//!
//! [`decode`] turns one `Any` of a discovery response into a [`Resource`] or says by name what is wrong with it. Its
//! rules are grpc-go's: most checks reject the whole resource (NACK), some leave one element out, all other fields
//! have no effect. Two things differ on purpose. A field that gRPC would act on and this crate does not yet is either
//! rejected in plain words or listed in the resource's `unsupported`. And what protobuf would let through but no
//! client could use (an endpoint without an address) is rejected.
//!
//! Rejected although gRPC knows them: aggregate and LOGICAL_DNS clusters (A37), outlier detection (A50), cluster
//! specifier plugins (RLS), and the policies
//! `client_side_weighted_round_robin` (A58), `pick_first` (A62), and `ring_hash` (A42) or `least_request` (A48) below
//! `wrr_locality`, unless `load_balancing_policy` (A52) has another after them. Listed as unsupported: a policy passed
//! over there, `round_robin` that is not below `wrr_locality`, and `lrs_server` (A27).

mod cluster;
mod decode;
mod endpoints;
mod fault;
mod filter;
mod listener;
mod matcher;
mod name;
mod rbac;
mod route;
mod tls;

use std::fmt;
use std::sync::Arc;

pub use cluster::{Cluster, LbPolicy};
pub use decode::{DecodeError, Decoded, Validation, decode};
pub(crate) use decode::{decode_unwrapped, unwrap};
pub use endpoints::{DropOverload, Endpoint, Endpoints, HealthStatus, Locality, LocalityEndpoints};
pub use fault::{FaultAbort, FaultDelay, FaultPolicy, Fraction, code_of_grpc, code_of_http};
pub use filter::{FilterOverride, FilterOverrides, HttpFilter, HttpFilterKind};
pub use listener::{
    CidrRange, FilterChain, FilterChainMatch, HttpConnectionManager, Listener, ListenerKind, RouteSource,
    ServerListener, SourceType,
};
pub use matcher::{FullRegex, HeaderMatcher, HeaderMatcherKind, PathMatcher, StringMatcher, StringMatcherKind};
pub use name::canonical_name;
#[cfg(test)]
pub(crate) use rbac::read_filter as read_rbac;
pub use rbac::{AuditCondition, RbacAction, RbacMatcher, RbacPolicy, RbacRules};
pub use route::{
    HashPolicy, HashPolicyKind, MaxStreamDuration, RetryOn, RetryPolicy, Route, RouteAction, RouteConfiguration,
    RouteMatch, VirtualHost, WeightedCluster,
};
pub use tls::{CertificateProviderInstance, DownstreamTlsContext, UpstreamTlsContext};

/// The four types of resource a gRPC client asks for, in the order of the watch graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// `envoy.config.listener.v3.Listener`, discovered by LDS.
    Listener,
    /// `envoy.config.route.v3.RouteConfiguration`, discovered by RDS.
    RouteConfiguration,
    /// `envoy.config.cluster.v3.Cluster`, discovered by CDS.
    Cluster,
    /// `envoy.config.endpoint.v3.ClusterLoadAssignment`, discovered by EDS.
    Endpoints,
}

impl ResourceType {
    /// All types, in order.
    pub const ALL: [Self; 4] = [Self::Listener, Self::RouteConfiguration, Self::Cluster, Self::Endpoints];

    /// The type URL on the wire.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::RouteConfiguration => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoints => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        }
    }

    /// The type with this type URL.
    #[must_use]
    pub fn from_type_url(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.type_url() == type_url)
    }

    /// The discovery service's short name: `LDS`, `RDS`, `CDS` or `EDS`.
    #[must_use]
    pub fn short(self) -> &'static str {
        match self {
            Self::Listener => "LDS",
            Self::RouteConfiguration => "RDS",
            Self::Cluster => "CDS",
            Self::Endpoints => "EDS",
        }
    }

    /// The type's name in error messages, the same as grpc-go's.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Listener => "ListenerResource",
            Self::RouteConfiguration => "RouteConfigResource",
            Self::Cluster => "ClusterResource",
            Self::Endpoints => "EndpointsResource",
        }
    }

    /// Whether every response carries all resources of the type, so that one that is absent has been deleted.
    #[must_use]
    pub fn is_full_state(self) -> bool {
        matches!(self, Self::Listener | Self::Cluster)
    }
}

impl fmt::Display for ResourceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.short())
    }
}

/// A resource of any type that passed validation; cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub enum Resource {
    /// From LDS.
    Listener(Arc<Listener>),
    /// From RDS.
    RouteConfiguration(Arc<RouteConfiguration>),
    /// From CDS.
    Cluster(Arc<Cluster>),
    /// From EDS.
    Endpoints(Arc<Endpoints>),
}

impl Resource {
    /// Which type it is.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        match self {
            Self::Listener(_) => ResourceType::Listener,
            Self::RouteConfiguration(_) => ResourceType::RouteConfiguration,
            Self::Cluster(_) => ResourceType::Cluster,
            Self::Endpoints(_) => ResourceType::Endpoints,
        }
    }

    /// The name it is subscribed by.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Listener(listener) => &listener.name,
            Self::RouteConfiguration(routes) => &routes.name,
            Self::Cluster(cluster) => &cluster.name,
            Self::Endpoints(endpoints) => &endpoints.name,
        }
    }

    /// What the resource asks for, gRPC would do, and this crate does not: one sentence each.
    #[must_use]
    pub fn unsupported(&self) -> &[String] {
        match self {
            Self::Cluster(cluster) => &cluster.unsupported,
            Self::Listener(_) | Self::RouteConfiguration(_) | Self::Endpoints(_) => &[],
        }
    }
}
