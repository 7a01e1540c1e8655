//! Resources by intent, and what tests of clients and servers share.
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{self as core, address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::envoy::config::listener::v3::{ApiListener, Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::route_action::ClusterSpecifier;
use envoy_types::pb::envoy::config::route::v3::route_match::PathSpecifier;
use envoy_types::pb::envoy::config::route::v3::{
    NonForwardingAction, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
};
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager::RouteSpecifier, http_filter as filter_oneof,
};
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use envoy_types::pb::google::protobuf::{Any, UInt32Value};
use hermesh_runtime::Draws;
use hermesh_xds::ResourceType;
use hermesh_xds::ads::client::{AdsClient, Config};
use hermesh_xds::bootstrap::Node;
use hermesh_xds::resource::Validation;
use prost::{Message, Name};

pub(crate) const LDS: ResourceType = ResourceType::Listener;
pub(crate) const RDS: ResourceType = ResourceType::RouteConfiguration;
pub(crate) const CDS: ResourceType = ResourceType::Cluster;
pub(crate) const EDS: ResourceType = ResourceType::Endpoints;
/// When all responses come, by the wall clock.
pub(crate) const WALL: std::time::Duration = std::time::Duration::from_secs(1_700_000_000);
pub(crate) const NODE_ID: &str = "sidecar~10.0.0.1~web-0.shop~shop.svc.cluster.local";

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

pub(crate) fn ads() -> Option<core::ConfigSource> {
    let config_source_specifier = Some(ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {}));
    Some(core::ConfigSource { config_source_specifier, ..Default::default() })
}

pub(crate) fn http_filter(name: &str, config: Any) -> HttpFilter {
    let config_type = Some(filter_oneof::ConfigType::TypedConfig(config));
    HttpFilter { name: name.to_owned(), config_type, ..Default::default() }
}

pub(crate) fn router() -> HttpFilter {
    http_filter("envoy.filters.http.router", any(&Router::default()))
}

pub(crate) fn manager_with_rds(route_config_name: &str) -> HttpConnectionManager {
    HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(Rds {
            config_source: ads(),
            route_config_name: route_config_name.to_owned(),
        })),
        http_filters: vec![router()],
        ..Default::default()
    }
}

pub(crate) fn client_listener(name: &str, manager: &HttpConnectionManager) -> Listener {
    let api_listener = Some(ApiListener { api_listener: Some(any(manager)) });
    Listener { name: name.to_owned(), api_listener, ..Default::default() }
}

/// A client listener that takes its routes from RDS.
pub(crate) fn listener(name: &str, routes: &str) -> Any {
    any(&client_listener(name, &manager_with_rds(routes)))
}

/// A client listener that brings its routes along: domain `*`, all to `cluster`.
pub(crate) fn inline_listener(name: &str, cluster: &str) -> Any {
    let routes = RouteConfiguration { virtual_hosts: vec![virtual_host("*", cluster)], ..Default::default() };
    let manager =
        HttpConnectionManager { route_specifier: Some(RouteSpecifier::RouteConfig(routes)), ..manager_with_rds("") };
    any(&client_listener(name, &manager))
}

/// The connection manager of a server whose RPCs it handles itself.
pub(crate) fn server_manager() -> HttpConnectionManager {
    let mut host = virtual_host("*", "");
    host.routes[0].action = Some(Action::NonForwardingAction(NonForwardingAction {}));
    let routes = RouteConfiguration { virtual_hosts: vec![host], ..Default::default() };
    HttpConnectionManager { route_specifier: Some(RouteSpecifier::RouteConfig(routes)), ..manager_with_rds("") }
}

pub(crate) fn filter_chain(manager: &HttpConnectionManager) -> FilterChain {
    let config_type = Some(filter::ConfigType::TypedConfig(any(manager)));
    FilterChain { filters: vec![Filter { name: "hcm".to_owned(), config_type }], ..Default::default() }
}

/// A server listener on 0.0.0.0:8080 with one filter chain.
pub(crate) fn server_listener(name: &str) -> Listener {
    Listener {
        name: name.to_owned(),
        address: address("0.0.0.0", 8080),
        filter_chains: vec![filter_chain(&server_manager())],
        ..Default::default()
    }
}

/// A listener without routes or filters.
pub(crate) fn bad_listener(name: &str) -> Any {
    any(&client_listener(name, &HttpConnectionManager::default()))
}

pub(crate) fn to_cluster(cluster: &str) -> Route {
    Route {
        r#match: Some(RouteMatch { path_specifier: Some(PathSpecifier::Prefix("/".into())), ..Default::default() }),
        action: Some(Action::Route(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster(cluster.to_owned())),
            ..Default::default()
        })),
        ..Default::default()
    }
}

pub(crate) fn virtual_host(domain: &str, cluster: &str) -> VirtualHost {
    VirtualHost {
        name: domain.to_owned(),
        domains: vec![domain.to_owned()],
        routes: vec![to_cluster(cluster)],
        ..Default::default()
    }
}

/// Routes for domain `*`, one cluster after the other.
pub(crate) fn routes(name: &str, clusters: &[&str]) -> Any {
    let mut host = virtual_host("*", "");
    host.routes = clusters.iter().map(|cluster| to_cluster(cluster)).collect();
    any(&RouteConfiguration { name: name.to_owned(), virtual_hosts: vec![host], ..Default::default() })
}

/// Routes for a domain of their own.
pub(crate) fn routes_for(name: &str, domain: &str, cluster: &str) -> Any {
    let virtual_hosts = vec![virtual_host(domain, cluster)];
    any(&RouteConfiguration { name: name.to_owned(), virtual_hosts, ..Default::default() })
}

/// A route without a match.
pub(crate) fn bad_routes(name: &str) -> Any {
    let mut host = virtual_host("*", "x");
    host.routes[0].r#match = None;
    any(&RouteConfiguration { name: name.to_owned(), virtual_hosts: vec![host], ..Default::default() })
}

pub(crate) fn eds_cluster(name: &str) -> Cluster {
    Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds as i32)),
        eds_cluster_config: Some(EdsClusterConfig { eds_config: ads(), ..Default::default() }),
        ..Default::default()
    }
}

pub(crate) fn cluster(name: &str) -> Any {
    any(&eds_cluster(name))
}

/// A cluster of type STATIC.
pub(crate) fn bad_cluster(name: &str) -> Any {
    any(&Cluster { name: name.to_owned(), ..Default::default() })
}

pub(crate) fn address(ip: &str, port: u32) -> Option<core::Address> {
    let address = address::Address::SocketAddress(core::SocketAddress {
        address: ip.to_owned(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..Default::default()
    });
    Some(core::Address { address: Some(address) })
}

pub(crate) fn lb_endpoint(ip: &str, port: u32) -> LbEndpoint {
    let endpoint = Endpoint { address: address(ip, port), ..Default::default() };
    LbEndpoint { host_identifier: Some(HostIdentifier::Endpoint(endpoint)), ..Default::default() }
}

pub(crate) fn locality(zone: &str, weight: u32, priority: u32, endpoints: Vec<LbEndpoint>) -> LocalityLbEndpoints {
    LocalityLbEndpoints {
        locality: Some(core::Locality { zone: zone.to_owned(), ..Default::default() }),
        load_balancing_weight: Some(UInt32Value { value: weight }),
        priority,
        lb_endpoints: endpoints,
        ..Default::default()
    }
}

pub(crate) fn load_assignment(name: &str, endpoints: Vec<LocalityLbEndpoints>) -> ClusterLoadAssignment {
    ClusterLoadAssignment { cluster_name: name.to_owned(), endpoints, ..Default::default() }
}

/// One endpoint, 10.0.0.1 on `port`.
pub(crate) fn endpoints(name: &str, port: u32) -> Any {
    any(&load_assignment(name, vec![locality("a", 1, 0, vec![lb_endpoint("10.0.0.1", port)])]))
}

/// An endpoint of weight zero.
pub(crate) fn bad_endpoints(name: &str) -> Any {
    let endpoint = LbEndpoint { load_balancing_weight: Some(UInt32Value { value: 0 }), ..lb_endpoint("10.0.0.1", 1) };
    any(&load_assignment(name, vec![locality("a", 1, 0, vec![endpoint])]))
}

/// A good resource; another `variant` is another content.
pub(crate) fn good(resource_type: ResourceType, name: &str, variant: u32) -> Any {
    match resource_type {
        LDS => listener(name, &format!("routes-{variant}")),
        RDS => routes(name, &[&format!("cluster-{variant}")]),
        CDS => any(&Cluster {
            eds_cluster_config: Some(EdsClusterConfig {
                eds_config: ads(),
                service_name: format!("service-{variant}"),
            }),
            ..eds_cluster(name)
        }),
        EDS => endpoints(name, variant),
    }
}

/// A resource of this name that no client accepts.
pub(crate) fn bad(resource_type: ResourceType, name: &str) -> Any {
    match resource_type {
        LDS => bad_listener(name),
        RDS => bad_routes(name),
        CDS => bad_cluster(name),
        EDS => bad_endpoints(name),
    }
}

pub(crate) fn response(
    resource_type: ResourceType,
    version: &str,
    nonce: &str,
    resources: Vec<Any>,
) -> DiscoveryResponse {
    DiscoveryResponse {
        version_info: version.to_owned(),
        nonce: nonce.to_owned(),
        type_url: resource_type.type_url().to_owned(),
        resources,
        ..Default::default()
    }
}

pub(crate) fn config() -> Config {
    Config {
        node: Node { id: NODE_ID.to_owned(), ..Node::default() },
        validation: Validation { certificate_providers: ["default".to_owned()].into() },
        ignore_resource_deletion: false,
    }
}

pub(crate) fn client() -> AdsClient {
    AdsClient::new(config(), Draws::new(1, "xds", 0))
}
