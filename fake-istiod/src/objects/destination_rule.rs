//! Istio's DestinationRule: subsets of a host's workloads, and how clients talk to them.

use std::fmt;

use serde::Deserialize;

use super::{Labels, LocalityLbSetting, Metadata, OutlierDetection, WorkloadSelector};
use crate::yaml::Spanned;

/// `networking.istio.io DestinationRule`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: DestinationRuleSpec,
}

/// A DestinationRule's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRuleSpec {
    /// The service, maybe with a wildcard; without dots it is one of the rule's namespace.
    pub host: Spanned<String>,
    /// How clients talk to the host.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of the host's workloads.
    pub subsets: Vec<Subset>,
    /// The namespaces whose clients see the rule: names, `.` or `*`; all if empty.
    pub export_to: Vec<String>,
    /// The clients the rule is for; all if absent.
    pub workload_selector: Option<WorkloadSelector>,
}

/// How clients talk to a host, a subset or a port of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests, of which gRPC knows one.
    pub connection_pool: Option<ConnectionPool>,
    /// Whether connections are encrypted.
    pub tls: Option<ClientTls>,
    /// When endpoints are taken out for failing; gRPC clients only learn of priorities.
    pub outlier_detection: Option<OutlierDetection>,
    /// What replaces the above for single ports.
    pub port_level_settings: Vec<PortTrafficPolicy>,
}

/// The policy of one port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortTrafficPolicy {
    /// The service's port.
    pub port: super::PortSelector,
    /// How endpoints are chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections and requests, of which gRPC knows one.
    pub connection_pool: Option<ConnectionPool>,
    /// Whether connections are encrypted.
    pub tls: Option<ClientTls>,
    /// When endpoints are taken out for failing; gRPC clients only learn of priorities.
    pub outlier_detection: Option<OutlierDetection>,
}

/// How endpoints are chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// One of the simple policies.
    pub simple: SimpleLoadBalancer,
    /// Requests that are alike in something go to one endpoint.
    pub consistent_hash: Option<ConsistentHash>,
    /// Which localities take the traffic.
    pub locality_lb_setting: Option<LocalityLbSetting>,
}

/// What requests must be alike in, and how that leads to an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// A header's value; the only one of these that gRPC clients look at.
    pub http_header_name: Option<String>,
    /// A cookie's value.
    pub http_cookie: Option<HttpCookie>,
    /// The caller's address.
    pub use_source_ip: bool,
    /// A query parameter's value.
    pub http_query_parameter_name: Option<String>,
    /// How large a ring is at least, in the older form.
    pub minimum_ring_size: u64,
    /// By a ring, which is the default.
    pub ring_hash: Option<RingHash>,
    /// By Maglev's table, which gRPC clients do not have.
    pub maglev: Option<Maglev>,
}

/// A cookie.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
}

/// A ring of endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// How large it is at least; the client decides if 0.
    pub minimum_ring_size: u64,
}

/// Maglev's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// How large it is; the client decides if 0.
    pub table_size: u64,
}

/// The simple policies. istiod gives gRPC clients ROUND_ROBIN for all but LEAST_REQUEST.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "load balancer", rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "Istio's own names")]
pub enum SimpleLoadBalancer {
    #[default]
    Unspecified,
    LeastConn,
    Random,
    Passthrough,
    RoundRobin,
    LeastRequest,
}

/// Limits of connections and requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// Limits of TCP connections.
    pub tcp: Option<TcpSettings>,
    /// Limits of HTTP connections.
    pub http: Option<HttpSettings>,
}

/// Limits of TCP connections; none is modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct TcpSettings {}

/// Limits of HTTP connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HttpSettings {
    /// How many requests may be under way from one client process; the default if 0.
    #[serde(rename = "http2MaxRequests")]
    pub http2_max_requests: i32,
}

/// Whether a client's connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// How.
    pub mode: TlsMode,
}

/// How a client's connections are encrypted. istiod gives gRPC clients plaintext for all but ISTIO_MUTUAL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "tls mode", rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "Istio's own names")]
pub enum TlsMode {
    #[default]
    Disable,
    Simple,
    Mutual,
    IstioMutual,
}

impl fmt::Display for TlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "DISABLE",
            Self::Simple => "SIMPLE",
            Self::Mutual => "MUTUAL",
            Self::IstioMutual => "ISTIO_MUTUAL",
        })
    }
}

/// A named part of a host's workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Its name, which VirtualServices use.
    pub name: Spanned<String>,
    /// The labels its workloads have.
    pub labels: Labels,
    /// What replaces parts of the rule's policy.
    pub traffic_policy: Option<TrafficPolicy>,
}
