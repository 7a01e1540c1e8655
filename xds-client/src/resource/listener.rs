//! What a client target or a server address is told by LDS (gRFC A27, A36).

use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::listener::v3 as proto;

use crate::resource::{DecodeError, DownstreamTlsContext, HttpFilter, RouteConfiguration, Validation};

mod cidr;
mod client;
mod server;

pub use cidr::CidrRange;

/// `envoy.config.listener.v3.Listener`.
#[derive(Clone, Debug, PartialEq)]
pub struct Listener {
    /// The resource's name.
    pub name: String,
    /// For a client or for a server.
    pub kind: ListenerKind,
}

/// A listener with an `api_listener` is a client's, whatever else it carries: Istio sets an address as well.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one per listener, behind an `Arc`")]
pub enum ListenerKind {
    /// What to do with RPCs to a target.
    Client(HttpConnectionManager),
    /// What to do with connections to an address.
    Server(ServerListener),
}

/// `envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager`.
#[derive(Clone, Debug, PartialEq)]
pub struct HttpConnectionManager {
    /// Where its routes are.
    pub routes: RouteSource,
    /// The longest an RPC may take if its route does not say (A31); zero means for ever.
    pub max_stream_duration: Option<Duration>,
    /// In order; the last one is the router.
    pub http_filters: Vec<HttpFilter>,
}

/// Where routes are.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteSource {
    /// In the [`RouteConfiguration`] of this name, to be had from RDS.
    Rds(String),
    /// In the listener itself.
    Inline(Arc<RouteConfiguration>),
}

/// A server's listener.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerListener {
    /// The address as the resource has it; it must equal the one the server listens on, in text.
    pub address: String,
    /// The port; 0 matches any.
    pub port: u16,
    /// In order. Chains that match on what gRPC cannot know are left out.
    pub filter_chains: Vec<FilterChain>,
    /// For connections that match no other.
    pub default_filter_chain: Option<FilterChain>,
}

/// What to do with the connections that match.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterChain {
    /// Its name, for messages.
    pub name: String,
    /// Which connections.
    pub matches: FilterChainMatch,
    /// Transport security. `None` means that the application's fallback credentials are used.
    pub security: Option<DownstreamTlsContext>,
    /// Routes and filters.
    pub http: HttpConnectionManager,
}

/// `envoy.config.listener.v3.FilterChainMatch`, as far as gRPC looks at it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterChainMatch {
    /// Destination addresses; empty means any.
    pub prefix_ranges: Vec<CidrRange>,
    /// Whether `transport_protocol` is `raw_buffer`, which precedes the empty one.
    pub raw_buffer: bool,
    /// Where the peer is.
    pub source_type: SourceType,
    /// Peer addresses; empty means any.
    pub source_prefix_ranges: Vec<CidrRange>,
    /// Peer ports; empty means any.
    pub source_ports: Vec<u32>,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceType {
    /// From anywhere.
    #[default]
    Any,
    /// From this host.
    SameIpOrLoopback,
    /// From another host.
    External,
}

pub(super) fn from_proto(proto: &proto::Listener, validation: &Validation) -> Result<Listener, DecodeError> {
    let kind = match proto.api_listener.as_ref().map(|listener| listener.api_listener.as_ref()) {
        Some(manager) => ListenerKind::Client(client::read(manager)?),
        None => ListenerKind::Server(server::read(proto, validation)?),
    };
    Ok(Listener { name: proto.name.clone(), kind })
}
