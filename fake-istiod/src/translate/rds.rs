//! Route configurations: the virtual hosts a client's requests to one Service and port can meet.
//!
//! Source: Istio `grpcgen/rds.go` and `pilot/pkg/networking/core/httproute.go` (`BuildSidecarOutboundVirtualHosts`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::route::v3 as route;

use super::name::{join_host_port, split_host_port};
use super::route as routes;
use super::{ClusterName, Resource, hash, proto};
use crate::node::Node;
use crate::objects::{ObjectKey, VirtualService};
use crate::snapshot::{PortProtocol, ServiceInfo, Snapshot, full_host, hosts_match};

pub(super) fn route_configurations(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<Resource> {
    // The virtual hosts of a port are the same for all its Services; they are filtered by host afterwards.
    let mut by_port: BTreeMap<u16, Vec<Host>> = BTreeMap::new();
    let asked = names.iter().filter_map(|name| Some((name, ClusterName::parse(name)?)));
    asked
        .map(|(name, cluster)| {
            let hosts = by_port.entry(cluster.port).or_insert_with(|| hosts_of_port(snapshot, node, cluster.port));
            let mut virtual_hosts = Vec::new();
            let mut from = BTreeSet::new();
            for host in hosts.iter().filter(|host| concerns(&host.virtual_host, &cluster)) {
                virtual_hosts.push(host.virtual_host.clone());
                from.extend(host.from.iter().cloned());
            }
            let body =
                route::RouteConfiguration { name: name.clone(), virtual_hosts, ..route::RouteConfiguration::default() };
            Resource { name: name.clone(), body: proto::any(&body), from }
        })
        .collect()
}

/// A virtual host and the objects it was made from.
struct Host {
    virtual_host: route::VirtualHost,
    from: BTreeSet<ObjectKey>,
}

/// All virtual hosts of a port: VirtualServices in their order, then the Services that none is for. Of two with the
/// same domain the first keeps it.
fn hosts_of_port(snapshot: &Snapshot, node: &Node, port: u16) -> Vec<Host> {
    let mut registry: BTreeMap<&str, &ServiceInfo> = BTreeMap::new();
    for service in snapshot.services(node.namespace()) {
        if service.port(port).is_some() {
            registry.insert(service.host(), service);
        }
    }
    let services = snapshot.virtual_services(node.namespace());
    let mut hosts = Vec::new();
    let mut taken = BTreeSet::new();
    for virtual_service in &services {
        let routes = routes::of_virtual_service(snapshot, node, virtual_service, port);
        if routes.is_empty() {
            continue;
        }
        let rules = hash::rules_behind(snapshot, node, &routes);
        let claim = Claim::new(snapshot, virtual_service, &registry, &services);
        let http = |service: &&&ServiceInfo| {
            service.port(port).is_some_and(|port| PortProtocol::of(port) == PortProtocol::Http)
        };
        let http: Vec<&ServiceInfo> = claim.services.iter().filter(http).copied().collect();
        // Hosts that no Service has are served on port 80 alone, unless the VirtualService is also for one that has.
        if http.is_empty() && port != 80 {
            continue;
        }
        for host in &claim.hosts {
            let from = rules.iter().cloned().chain([virtual_service.key()]).collect();
            let domains = with_port(host, port).into();
            hosts.push(Host { virtual_host: virtual_host(host, port, domains, routes.clone()), from });
        }
        for service in http {
            let from = rules.iter().cloned().chain([virtual_service.key(), service.key()]).collect();
            let domains = domains(service, port, node.dns_domain());
            hosts.push(Host { virtual_host: virtual_host(service.host(), port, domains, routes.clone()), from });
            taken.insert(service.host());
        }
    }
    for service in registry.values().filter(|service| !taken.contains(service.host())) {
        if service.port(port).is_some_and(|port| PortProtocol::of(port) == PortProtocol::Http) {
            let domains = domains(service, port, node.dns_domain());
            let routes = vec![routes::default(snapshot, node, service.host(), port)];
            let mut from = hash::rules_behind(snapshot, node, &routes);
            from.insert(service.key());
            let virtual_host = virtual_host(service.host(), port, domains, routes);
            hosts.push(Host { virtual_host, from });
        }
    }
    without_duplicates(hosts)
}

/// What a VirtualService's hosts stand for on one port.
struct Claim<'a> {
    services: Vec<&'a ServiceInfo>,
    /// Hosts that no Service has.
    hosts: Vec<String>,
}

impl<'a> Claim<'a> {
    fn new(
        snapshot: &Snapshot,
        virtual_service: &VirtualService,
        registry: &BTreeMap<&'a str, &'a ServiceInfo>,
        all: &[&Arc<VirtualService>],
    ) -> Self {
        let mut claim = Self { services: Vec::new(), hosts: Vec::new() };
        for host in hosts(snapshot, virtual_service) {
            if let Some(service) = registry.get(host.as_str()) {
                claim.services.push(service);
                continue;
            }
            let mut is_known = false;
            if host.starts_with('*') {
                for (name, service) in registry.iter().filter(|(name, _)| hosts_match(&host, name)) {
                    is_known = true;
                    if most_specific(snapshot, name, all).as_deref() == Some(&host) {
                        claim.services.push(service);
                    }
                }
            }
            if !is_known {
                claim.hosts.push(host);
            }
        }
        claim
    }
}

fn hosts(snapshot: &Snapshot, service: &VirtualService) -> Vec<String> {
    let namespace = &service.metadata.namespace;
    service.spec.hosts.iter().map(|host| full_host(host, namespace, snapshot.mesh())).collect()
}

/// The host of all VirtualServices that says most exactly what `name` is: the name itself, else the longest wildcard.
fn most_specific(snapshot: &Snapshot, name: &str, all: &[&Arc<VirtualService>]) -> Option<String> {
    let hosts = all.iter().flat_map(|service| hosts(snapshot, service)).filter(|host| hosts_match(host, name));
    hosts.max_by_key(|host| (host == name, host.len()))
}

fn virtual_host(host: &str, port: u16, domains: Vec<String>, routes: Vec<route::Route>) -> route::VirtualHost {
    route::VirtualHost {
        name: format!("{host}:{port}"),
        domains,
        routes,
        include_request_attempt_count: true,
        ..route::VirtualHost::default()
    }
}

fn without_duplicates(hosts: Vec<Host>) -> Vec<Host> {
    let mut names = BTreeSet::new();
    let mut domains = BTreeSet::new();
    let mut kept = Vec::new();
    for mut host in hosts {
        if !names.insert(host.virtual_host.name.clone()) {
            continue;
        }
        host.virtual_host.domains.retain(|domain| domains.insert(domain.clone()));
        if !host.virtual_host.domains.is_empty() {
            kept.push(host);
        }
    }
    kept
}

/// All names under which clients of `dns_domain` may call a Service, with and without the port.
///
/// Source: `generateVirtualHostDomains` and `GenerateAltVirtualHosts`, with `PILOT_ENABLE_ABSOLUTE_FQDN_VHOST_DOMAIN`.
fn domains(service: &ServiceInfo, port: u16, dns_domain: &str) -> Vec<String> {
    let host = service.host();
    let mut names = vec![host.to_owned(), format!("{host}.")];
    names.extend(short_names(service, dns_domain));
    let mut domains: Vec<String> = names.iter().flat_map(|name| with_port(name, port)).collect();
    if service.is_headless() {
        domains.extend(domains.iter().map(|domain| format!("*.{domain}")).collect::<Vec<_>>());
    }
    domains.extend(service.address().into_iter().flat_map(|address: IpAddr| {
        let address = if address.is_ipv6() { format!("[{address}]") } else { address.to_string() };
        with_port(&address, port)
    }));
    domains
}

fn short_names(service: &ServiceInfo, dns_domain: &str) -> Vec<String> {
    let Some((own_namespace, suffix)) = dns_domain.split_once(".svc.") else {
        // A domain without namespace, as in agentless bootstraps: only what both have in common is left out.
        let shared = format!(".{dns_domain}");
        return service.host().strip_suffix(&shared).map(str::to_owned).into_iter().collect();
    };
    let short = service.host().strip_suffix(&format!(".svc.{suffix}"));
    let Some((name, namespace)) = short.and_then(|short| short.split_once('.')) else { return Vec::new() };
    if own_namespace == namespace {
        vec![name.to_owned(), format!("{name}.{namespace}.svc"), format!("{name}.{namespace}")]
    } else {
        vec![format!("{name}.{namespace}"), format!("{name}.{namespace}.svc")]
    }
}

fn with_port(name: &str, port: u16) -> [String; 2] {
    [name.to_owned(), format!("{name}:{port}")]
}

/// Whether a virtual host can be for requests to the cluster's host and port.
///
/// Source: `grpcgen/rds.go` (`filterVirtualHostsForHostname`).
fn concerns(virtual_host: &route::VirtualHost, cluster: &ClusterName) -> bool {
    let host = cluster.host.to_lowercase();
    let port = cluster.port.to_string();
    let with_port = join_host_port(&host, cluster.port);
    virtual_host.domains.iter().any(|domain| {
        let domain = domain.to_lowercase();
        if domain == host || domain == with_port {
            return true;
        }
        let name = match split_host_port(&domain) {
            Some((_, other)) if other != port => return false,
            Some((name, _)) => name,
            None => domain.strip_prefix('[').and_then(|domain| domain.strip_suffix(']')).unwrap_or(&domain),
        };
        name == host || (name.starts_with('*') && hosts_match(name, &host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Istio's TestFilterVirtualHostsForHostname.
    #[test]
    fn virtual_hosts_are_kept_if_they_can_be_for_the_host() {
        let host = "svc-a.test.svc.cluster.local";
        for (host, domain, expected) in [
            (host, host, true),
            (host, "svc-b.test.svc.cluster.local", false),
            (host, "svc-a.test.svc.cluster.local:8080", true),
            (host, "svc-a.test.svc.cluster.local:9090", false),
            (host, "*.test.svc.cluster.local", true),
            (host, "*.other.svc.cluster.local", false),
            (host, "*.test.svc.cluster.local:8080", true),
            (host, "*.test.svc.cluster.local:9090", false),
            (host, "SVC-A.Test.svc.cluster.local", true),
            ("2001:db8::1", "[2001:db8::1]", true),
            ("2001:db8::1", "[2001:db8::1]:8080", true),
            ("2001:db8::1", "[2001:db8::2]", false),
        ] {
            let virtual_host = route::VirtualHost { domains: vec![domain.to_owned()], ..route::VirtualHost::default() };
            assert_eq!(concerns(&virtual_host, &ClusterName::of_service(host, 8080)), expected, "{host} {domain}");
        }
    }
}
