//! Listeners: for clients under the name they dial, for servers under their address.
//!
//! Source: Istio `grpcgen/lds.go`.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::listener::v3 as listener;
use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use envoy_types::pb::google::protobuf::Any;

use super::authorization_policy::rbac_filters;
use super::name::{INBOUND_LISTENER_PREFIX, join_host_port, split_host_port};
use super::name_filter::NameFilter;
use super::peer_authentication::{ServerMode, server_mode};
use super::{ClusterName, Resource, fault, proto, tls};
use crate::node::Node;
use crate::snapshot::{ServiceInfo, Snapshot};

pub(super) fn listeners(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<Resource> {
    let filter = NameFilter::new(names, node);
    let mut resources = Vec::new();
    for service in snapshot.services(node.namespace()) {
        let everything = BTreeSet::from([service.host().to_owned()]);
        let requested = filter.get(service.host());
        let spellings = match requested {
            _ if names.is_empty() => &everything,
            Some(requested) => &requested.names,
            None => continue,
        };
        for name in spellings {
            for port in service.ports() {
                if requested.is_none_or(|requested| requested.wants(port.port)) {
                    resources.push(outbound(service, name, port.port));
                }
            }
        }
    }
    resources.extend(filter.inbound.iter().filter_map(|name| inbound(snapshot, node, name)));
    resources
}

/// A client's listener. It has an address as well as an `api_listener`, which only older clients stumble over.
fn outbound(service: &ServiceInfo, host: &str, port: u16) -> Resource {
    let manager = hcm::HttpConnectionManager {
        http_filters: vec![
            filter(fault::FILTER, proto::any(&HttpFault::default())),
            filter("envoy.filters.http.router", proto::any(&Router::default())),
        ],
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::Rds(hcm::Rds {
            config_source: Some(proto::ads()),
            route_config_name: ClusterName::of_service(service.host(), port).to_string(),
        })),
        ..hcm::HttpConnectionManager::default()
    };
    let name = join_host_port(host, port);
    let body = listener::Listener {
        name: name.clone(),
        address: Some(proto::address(proto::vip(service.address()), port)),
        api_listener: Some(listener::ApiListener { api_listener: Some(proto::any(&manager)) }),
        ..listener::Listener::default()
    };
    Resource { name, body: proto::any(&body), from: BTreeSet::from([service.key()]) }
}

/// A server's listener; none unless a Service targets the port of this workload.
fn inbound(snapshot: &Snapshot, node: &Node, name: &str) -> Option<Resource> {
    let (host, port) = split_host_port(name.strip_prefix(INBOUND_LISTENER_PREFIX)?)?;
    let port: u16 = port.parse().ok()?;
    let mut from = snapshot.services_that_target(node, port);
    if from.is_empty() {
        return None;
    }
    from.extend(snapshot.pod(node).map(|pod| pod.key()));
    from.extend(snapshot.workload_entry(node).map(|entry| entry.key()));
    let (mode, policies) = server_mode(snapshot, node.namespace(), snapshot.labels(node), port);
    from.extend(policies);
    let (suffix, transport_socket) = match mode {
        ServerMode::Plaintext => ("plaintext", None),
        ServerMode::MutualTls => ("mtls", Some(tls::downstream())),
    };
    let (rbac, policies) = rbac_filters(snapshot, node.namespace(), snapshot.labels(node));
    from.extend(policies);
    let manager = proto::any(&inbound_manager(rbac));
    let chain = listener::FilterChain {
        name: format!("inbound-{suffix}"),
        transport_socket,
        filters: vec![listener::Filter {
            name: format!("inbound-hcm{suffix}"),
            config_type: Some(listener::filter::ConfigType::TypedConfig(manager)),
        }],
        ..listener::FilterChain::default()
    };
    let body = listener::Listener {
        name: name.to_owned(),
        address: Some(proto::address(host, port)),
        filter_chains: vec![chain],
        ..listener::Listener::default()
    };
    Some(Resource { name: name.to_owned(), body: proto::any(&body), from })
}

/// gRPC servers want routes although they forward nothing: one that says so. Before the router comes who is let in.
fn inbound_manager(rbac: Vec<(&'static str, Any)>) -> hcm::HttpConnectionManager {
    let route = route::Route {
        r#match: Some(route::RouteMatch {
            path_specifier: Some(route::route_match::PathSpecifier::Prefix("/".to_owned())),
            ..route::RouteMatch::default()
        }),
        action: Some(route::route::Action::NonForwardingAction(route::NonForwardingAction {})),
        ..route::Route::default()
    };
    let routes = route::RouteConfiguration {
        name: "inbound".to_owned(),
        virtual_hosts: vec![route::VirtualHost {
            domains: vec!["*".to_owned()],
            routes: vec![route],
            ..route::VirtualHost::default()
        }],
        ..route::RouteConfiguration::default()
    };
    hcm::HttpConnectionManager {
        http_filters: rbac
            .into_iter()
            .chain([("envoy.filters.http.router", proto::any(&Router::default()))])
            .map(|(name, config)| filter(name, config))
            .collect(),
        route_specifier: Some(hcm::http_connection_manager::RouteSpecifier::RouteConfig(routes)),
        ..hcm::HttpConnectionManager::default()
    }
}

fn filter(name: &str, config: Any) -> hcm::HttpFilter {
    hcm::HttpFilter {
        name: name.to_owned(),
        config_type: Some(hcm::http_filter::ConfigType::TypedConfig(config)),
        ..hcm::HttpFilter::default()
    }
}
