//! Which Services a set of listener names asks for: spellings, ports and short names.
//!
//! Source: Istio `grpcgen/lds.go` (`newListenerNameFilter`, `tryFindFQDN`).

use std::collections::{BTreeMap, BTreeSet};

use super::name::{INBOUND_LISTENER_PREFIX, split_host_port};
use crate::node::Node;

/// What was asked for, by host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct NameFilter {
    /// Names of server listeners, in order.
    pub(super) inbound: BTreeSet<String>,
    hosts: BTreeMap<String, Requested>,
}

/// The spellings under which a host was asked for, and its ports.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Requested {
    /// Hosts as asked, without ports.
    pub(super) names: BTreeSet<String>,
    /// Ports as asked; empty for all.
    ports: BTreeSet<String>,
    /// A name without a port asks for all, whatever follows.
    all_ports: bool,
}

impl NameFilter {
    pub(super) fn new(names: &BTreeSet<String>, node: &Node) -> Self {
        let mut filter = Self::default();
        for name in names {
            if name.starts_with(INBOUND_LISTENER_PREFIX) {
                filter.inbound.insert(name.clone());
                continue;
            }
            let (host, port) = split_host_port(name).map_or((name.as_str(), None), |(host, port)| (host, Some(port)));
            let expanded = full_name(host, node);
            for key in std::iter::once(host).chain(expanded.as_deref()) {
                filter.hosts.entry(key.to_owned()).or_default().add(host, port);
            }
        }
        filter
    }

    pub(super) fn get(&self, host: &str) -> Option<&Requested> {
        self.hosts.get(host)
    }
}

impl Requested {
    fn add(&mut self, host: &str, port: Option<&str>) {
        self.names.insert(host.to_owned());
        match port {
            None => {
                self.all_ports = true;
                self.ports.clear();
            }
            Some(port) if !self.all_ports => {
                self.ports.insert(port.to_owned());
            }
            Some(_) => {}
        }
    }

    pub(super) fn wants(&self, port: u16) -> bool {
        self.ports.is_empty() || self.ports.contains(&port.to_string())
    }
}

/// The full name of a host that is short for one of the node's own namespace. Short names do not reach into others.
fn full_name(host: &str, node: &Node) -> Option<String> {
    let domain = node.dns_domain();
    if !host.contains('.') {
        return Some(format!("{host}.{domain}"));
    }
    let namespace = node.metadata_namespace()?;
    [namespace.to_owned(), format!("{namespace}.svc")].iter().find_map(|suffix| {
        let name = host.strip_suffix(suffix.as_str())?.strip_suffix('.')?;
        domain.starts_with(suffix.as_str()).then(|| format!("{name}.{domain}"))
    })
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};

    use super::*;

    const P: &str = INBOUND_LISTENER_PREFIX;

    fn node() -> Node {
        let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        let fields = [("GENERATOR".to_owned(), text("grpc")), ("NAMESPACE".to_owned(), text("ns"))].into();
        Node::parse(&core::Node {
            id: "sidecar~10.0.0.1~a.ns~ns.svc.cluster.local".to_owned(),
            metadata: Some(Struct { fields }),
            ..core::Node::default()
        })
        .unwrap()
    }

    /// `host {names; ports}` for each host, `|` between hosts, then the inbound names.
    fn filter(names: &[&str]) -> String {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let filter = NameFilter::new(&names, &node());
        let join = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        let hosts =
            filter.hosts.iter().map(|(host, it)| format!("{host} {{{}; {}}}", join(&it.names), join(&it.ports)));
        hosts.chain(filter.inbound.iter().cloned()).collect::<Vec<_>>().join(" | ")
    }

    /// Istio's TestListenerNameFilter.
    #[test]
    fn names_are_grouped_by_host_with_their_spellings_and_ports() {
        assert_eq!(
            filter(&["foo.com:80", "foo.com:443", "wildcard.com"]),
            "foo.com {foo.com; 443 80} | wildcard.com {wildcard.com; }"
        );
        assert_eq!(filter(&["foo.com:80", "foo.com"]), "foo.com {foo.com; }");
        assert_eq!(filter(&["foo.com:80", "foo.com", "foo.com:443"]), "foo.com {foo.com; }");
        let inbound = [format!("{P}foo:1234"), format!("{P}foo"), format!("{P}[::]:8076")];
        assert_eq!(
            filter(&["foo.com:80", &inbound[0], &inbound[1], &inbound[2]]),
            format!("foo.com {{foo.com; 80}} | {P}[::]:8076 | {P}foo | {P}foo:1234")
        );
        let short = [
            "bar",
            "bar.ns",
            "bar.ns.svc",
            "bar.ns.svc.cluster.local",
            "foo:80",
            "foo.ns:81",
            "foo.ns.svc:82",
            "foo.ns.svc.cluster.local:83",
        ];
        let expected = [
            "bar {bar; }",
            "bar.ns {bar.ns; }",
            "bar.ns.svc {bar.ns.svc; }",
            "bar.ns.svc.cluster.local {bar bar.ns bar.ns.svc bar.ns.svc.cluster.local; }",
            "foo {foo; 80}",
            "foo.ns {foo.ns; 81}",
            "foo.ns.svc {foo.ns.svc; 82}",
            "foo.ns.svc.cluster.local {foo foo.ns foo.ns.svc foo.ns.svc.cluster.local; 80 81 82 83}",
        ];
        assert_eq!(filter(&short), expected.join(" | "));
    }

    /// Istio's TestTryFindFQDN.
    #[test]
    fn short_names_of_the_own_namespace_are_completed_and_no_others() {
        let full = Some("foo.ns.svc.cluster.local".to_owned());
        for host in ["foo", "foo.ns", "foo.ns.svc"] {
            assert_eq!(full_name(host, &node()), full, "{host}");
        }
        let inbound = format!("{P}foo:1234");
        for host in [
            "foo.ns.svc.cluster.local",
            "foo.com",
            "foo.ns.com",
            "foo.ns.svc.notdnsdomain",
            "foo.ns.svc.cluster.local.extra",
            "foo.other",
            "foo.other.svc",
            &inbound,
        ] {
            assert_eq!(full_name(host, &node()), None, "{host}");
        }
    }
}
