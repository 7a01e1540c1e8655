//! Cluster DNS: names of Services, completed by a pod's search list as its `resolv.conf` asks for.
//!
//! Source: the Kubernetes specification "DNS-Based Service Discovery", CoreDNS `plugin/kubernetes`, and `ndots:5` with
//! the kubelet's three search domains.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The cluster's domain.
pub(crate) const CLUSTER_DOMAIN: &str = "cluster.local";

/// With fewer dots than this a name is tried with the search domains first.
const NDOTS: usize = 5;

/// The addresses behind full names such as `echo.shop.svc.cluster.local`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Records(BTreeMap<String, Vec<IpAddr>>);

impl Records {
    /// Adds the name of a Service: its cluster address, or the addresses of its ready pods if it is headless.
    pub(crate) fn add_service(&mut self, namespace: &str, service: &str, addresses: Vec<IpAddr>) {
        self.0.insert(service_name(namespace, service), addresses);
    }

    /// Adds the name that an endpoint has below its Service, `web-0.web.shop.svc.cluster.local`: the hostname it was
    /// given, else its address with dashes.
    pub(crate) fn add_endpoint(&mut self, namespace: &str, service: &str, hostname: Option<&str>, address: IpAddr) {
        let dashed = || address.to_string().replace(['.', ':'], "-");
        let label = hostname.map_or_else(dashed, str::to_ascii_lowercase);
        let addresses = self.0.entry(format!("{label}.{}", service_name(namespace, service))).or_default();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }

    /// What `host` resolves to in a pod of `namespace`; `None` if there is no such name.
    pub(crate) fn resolve(&self, namespace: &str, host: &str) -> Option<Vec<IpAddr>> {
        let host = host.to_ascii_lowercase();
        if host == "localhost" {
            return Some(vec![Ipv4Addr::LOCALHOST.into()]);
        }
        if let Some(absolute) = host.strip_suffix('.') {
            return self.0.get(absolute).cloned();
        }
        let search =
            [format!("{namespace}.svc.{CLUSTER_DOMAIN}"), format!("svc.{CLUSTER_DOMAIN}"), CLUSTER_DOMAIN.into()];
        let searched = || search.iter().find_map(|domain| self.0.get(&format!("{host}.{domain}")).cloned());
        let as_is = || self.0.get(&host).cloned();
        if host.matches('.').count() < NDOTS { searched().or_else(as_is) } else { as_is().or_else(searched) }
    }
}

/// `echo.shop.svc.cluster.local`.
pub(crate) fn service_name(namespace: &str, service: &str) -> String {
    format!("{service}.{namespace}.svc.{CLUSTER_DOMAIN}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 96, 0, last).into()
    }

    #[test]
    fn a_service_has_four_names_in_its_namespace_and_three_elsewhere() {
        let mut records = Records::default();
        records.add_service("shop", "cart", vec![ip(1)]);
        for host in ["cart.shop", "cart.shop.svc", "cart.shop.svc.cluster.local", "CART.shop.svc.cluster.local."] {
            assert_eq!(records.resolve("shop", host), Some(vec![ip(1)]), "{host}");
            assert_eq!(records.resolve("other", host), Some(vec![ip(1)]), "{host}");
        }
        assert_eq!(records.resolve("shop", "cart"), Some(vec![ip(1)]));
        assert_eq!(records.resolve("other", "cart"), None);
        assert_eq!(records.resolve("shop", "cart.shop.svc.cluster"), None);
        assert_eq!(records.resolve("shop", "cart."), None);
    }

    #[test]
    fn a_short_name_means_the_service_of_the_own_namespace() {
        let mut records = Records::default();
        records.add_service("shop", "cart", vec![ip(1)]);
        records.add_service("other", "cart", vec![ip(2)]);
        assert_eq!(records.resolve("shop", "cart"), Some(vec![ip(1)]));
        assert_eq!(records.resolve("other", "cart"), Some(vec![ip(2)]));
    }

    #[test]
    fn an_endpoint_has_a_name_below_its_service() {
        let mut records = Records::default();
        records.add_service("shop", "web", vec![ip(1), ip(2)]);
        records.add_endpoint("shop", "web", Some("web-0"), ip(1));
        records.add_endpoint("shop", "web", None, ip(2));
        for host in ["web-0.web", "web-0.web.shop", "web-0.web.shop.svc", "web-0.web.shop.svc.cluster.local"] {
            assert_eq!(records.resolve("shop", host), Some(vec![ip(1)]), "{host}");
        }
        assert_eq!(records.resolve("other", "web-0.web"), None);
        assert_eq!(records.resolve("other", "web-0.web.shop"), Some(vec![ip(1)]));
        assert_eq!(records.resolve("shop", "10-96-0-2.web"), Some(vec![ip(2)]));
        assert_eq!(records.resolve("shop", "web-1.web"), None);
    }

    #[test]
    fn the_local_host_needs_no_server() {
        assert_eq!(Records::default().resolve("shop", "localhost"), Some(vec![Ipv4Addr::LOCALHOST.into()]));
    }
}
