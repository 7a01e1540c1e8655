//! The Services that the manifests of a scenario have, as far as calls name them.

use std::collections::{BTreeMap, BTreeSet};

use hermesh_istiod::objects::{Object, Service, ServiceEntry, ServiceType};
use hermesh_istiod::yaml::{listed, nearest};

use super::url::{Scheme, Url};

const CLUSTER_DOMAIN: &str = ".svc.cluster.local";

/// The ports of the Service `istiod`, which every mesh has.
const ISTIOD_PORTS: [u16; 4] = [443, 15010, 15012, 15014];

/// Services of every real cluster that nothing plays here, by namespace and name.
const NOT_PLAYED: [(&str, &str); 2] = [("default", "kubernetes"), ("kube-system", "kube-dns")];

/// The Services there are at some point of a scenario, by namespace and name.
#[derive(Clone, Debug)]
pub(super) struct Services(BTreeMap<(String, String), Ports>, BTreeMap<(String, String), Hosts>);

/// The hosts of a ServiceEntry.
#[derive(Clone, Debug)]
struct Hosts {
    names: Vec<String>,
    ports: Ports,
}

#[derive(Clone, Debug)]
struct Ports {
    numbers: BTreeSet<u16>,
    headless: bool,
    /// Whether nothing is known of them.
    any: bool,
}

impl Services {
    /// Those of an installation of Istio.
    pub(super) fn of_istio() -> Self {
        let istiod = Ports { numbers: ISTIOD_PORTS.into(), headless: false, any: false };
        Self([(("istio-system".to_owned(), "istiod".to_owned()), istiod)].into(), BTreeMap::new())
    }

    pub(super) fn apply(&mut self, service: &Service) {
        let ports = Ports {
            numbers: service.spec.ports.iter().map(|port| port.port).collect(),
            headless: service.is_headless(),
            any: service.spec.service_type == ServiceType::ExternalName,
        };
        self.0.insert((service.metadata.namespace.clone(), service.metadata.name.clone()), ports);
    }

    /// A Service of which no more than the name is known.
    pub(super) fn apply_name(&mut self, service: &Service) {
        let ports = Ports { numbers: BTreeSet::new(), headless: false, any: true };
        self.0.insert((service.metadata.namespace.clone(), service.metadata.name.clone()), ports);
    }

    /// A ServiceEntry, of which perhaps nothing more than the hosts is known.
    pub(super) fn apply_entry(&mut self, entry: &ServiceEntry, any: bool) {
        let numbers = entry.spec.ports.iter().filter_map(|port| u16::try_from(port.number).ok()).collect();
        let names = entry.spec.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let hosts = Hosts { names, ports: Ports { numbers, headless: false, any } };
        self.1.insert((entry.metadata.namespace.clone(), entry.metadata.name.clone()), hosts);
    }

    pub(super) fn delete(&mut self, object: &Object) {
        match object {
            Object::ServiceEntry(entry) => {
                self.1.remove(&(entry.metadata.namespace.clone(), entry.metadata.name.clone()));
            }
            Object::Service(service) => {
                self.0.remove(&(service.metadata.namespace.clone(), service.metadata.name.clone()));
            }
            Object::Namespace(namespace) => {
                self.0.retain(|(of, _), _| *of != namespace.metadata.name);
                self.1.retain(|(of, _), _| *of != namespace.metadata.name);
            }
            _ => {}
        }
    }

    /// Why a call from a pod of `namespace` cannot reach anybody, if that is so. `ever` is all that any step of the
    /// scenario applies.
    pub(super) fn complaint(&self, url: &Url<'_>, namespace: &str, ever: &Self) -> Option<String> {
        if url.is_address() {
            return None;
        }
        let host = url.host.to_ascii_lowercase();
        if url.scheme != Scheme::Xds && self.is_below_headless(&host, namespace) {
            return None;
        }
        if url.scheme == Scheme::Xds && !self.0.contains_key(&key(&host, namespace).unwrap_or_default()) {
            if let Some((_, hosts)) = self.entry(&host) {
                let any = hosts.ports.any || hosts.ports.numbers.contains(&url.port);
                let numbers: Vec<String> = hosts.ports.numbers.iter().map(u16::to_string).collect();
                let message = || format!("host `{host}` has no port {}; expected {}", url.port, listed(&numbers));
                return (!any).then(message);
            }
            if let Some(((of, name), _)) = ever.entry(&host) {
                return Some(format!(
                    "ServiceEntry `{name}` of namespace {of} with host `{host}` is not applied at this step"
                ));
            }
        }
        let Some(key) = key(&host, namespace) else { return Some(ever.unknown(&host, namespace)) };
        let Some(ports) = self.0.get(&key) else {
            let (of, name) = &key;
            return Some(match ever.0.contains_key(&key) {
                true => format!("Service `{name}` of namespace {of} is not applied at this step"),
                false => ever.unknown(&host, namespace),
            });
        };
        let is_full = host.trim_end_matches('.').ends_with(CLUSTER_DOMAIN);
        if url.scheme == Scheme::Xds && key.0 != namespace && !is_full {
            let (of, name) = &key;
            return Some(format!(
                "by xds, a short name is one of the caller's own namespace, {namespace}; \
                 write `{name}.{of}{CLUSTER_DOMAIN}`"
            ));
        }
        // Without xDS, a headless Service's name leads to its pods and all of their ports.
        let any_port = ports.any || (ports.headless && url.scheme != Scheme::Xds);
        if any_port || ports.numbers.contains(&url.port) {
            return None;
        }
        let numbers: Vec<String> = ports.numbers.iter().map(u16::to_string).collect();
        Some(format!("Service `{}` has no port {}; expected {}", key.1, url.port, listed(&numbers)))
    }

    /// The ServiceEntry that has a host.
    fn entry(&self, host: &str) -> Option<(&(String, String), &Hosts)> {
        self.1.iter().find(|(_, hosts)| hosts.names.iter().any(|name| name == host))
    }

    /// Whether a host may be that of a pod below a headless Service, `web-0.web`.
    fn is_below_headless(&self, host: &str, namespace: &str) -> bool {
        let service = host.split_once('.').and_then(|(_, service)| key(service, namespace));
        service.is_some_and(|key| self.0.get(&key).is_some_and(|ports| ports.headless))
    }

    fn unknown(&self, host: &str, namespace: &str) -> String {
        let Some((of, name)) = key(host, namespace) else {
            return format!("no Service has the name `{host}`");
        };
        if NOT_PLAYED.contains(&(&of, &name)) {
            return format!("the cluster's own Service `{name}` in namespace {of} is not played: nobody answers there");
        }
        let none = format!("no Service `{name}` in namespace {of}");
        let names: Vec<&str> = self.0.keys().filter(|(other, _)| *other == of).map(|(_, name)| name.as_str()).collect();
        if let Some(near) = nearest(&name, names.iter().copied()) {
            return format!("{none}; did you mean `{near}{}`?", &host[name.len()..]);
        }
        if let Some((other, _)) = self.0.keys().find(|(_, other)| *other == name) {
            return format!("{none}; did you mean `{name}.{other}{CLUSTER_DOMAIN}`?");
        }
        match names.as_slice() {
            [] => format!("{none}; no manifest has any there"),
            names => format!("{none}; the manifests have {}", listed(names)),
        }
    }
}

/// The namespace and the name of the Service that a host in a pod of `namespace` means, if it can be one's.
fn key(host: &str, namespace: &str) -> Option<(String, String)> {
    let host = host.strip_suffix('.').unwrap_or(host);
    let short = host.strip_suffix(CLUSTER_DOMAIN).or_else(|| host.strip_suffix(".svc")).unwrap_or(host);
    match short.split_once('.') {
        None if short.len() == host.len() => Some((namespace.to_owned(), short.to_owned())),
        Some((name, of)) if !name.is_empty() && !of.is_empty() && !of.contains('.') => {
            Some((of.to_owned(), name.to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{ClusterIp, Metadata, ServicePort};

    use super::*;

    fn service(namespace: &str, name: &str, headless: bool) -> Service {
        let mut service = Service { metadata: Metadata::named(namespace, name), ..Service::default() };
        service.spec.ports =
            [7070, 80].map(|port| ServicePort { port, ..ServicePort::default() }).into_iter().collect();
        service.spec.cluster_ip = headless.then_some(ClusterIp::None);
        service
    }

    fn services() -> Services {
        let mut services = Services::of_istio();
        services.apply(&service("shop", "cart", false));
        services.apply(&service("shop", "pods", true));
        services.apply(&service("bank", "ledger", false));
        services
    }

    fn complaint(url: &str) -> Option<String> {
        services().complaint(&Url::parse(url).unwrap(), "shop", &services())
    }

    #[test]
    fn services_are_reached_by_all_their_names() {
        for url in [
            "xds:///cart:7070",
            "xds:///cart.shop:7070",
            "xds:///cart.shop.svc:80",
            "xds:///Cart.shop.svc.cluster.local:7070",
            "xds:///ledger.bank.svc.cluster.local:7070",
            "grpc://ledger.bank:80",
            "grpc://istiod.istio-system.svc:15010",
            "http://cart/path",
            "http://pods:9999",
            "grpc://web-0.pods:9999",
            "http://web-0.pods.shop.svc.cluster.local/",
            "grpc://10.0.0.1:1",
            "grpc://localhost:1",
        ] {
            assert_eq!(complaint(url), None, "{url}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_explained() {
        for (url, message) in [
            ("xds:///crat:7070", "no Service `crat` in namespace shop; did you mean `cart`?"),
            ("grpc://crat.shop.svc:80", "no Service `crat` in namespace shop; did you mean `cart.shop.svc`?"),
            (
                "xds:///ledger:7070",
                "no Service `ledger` in namespace shop; did you mean `ledger.bank.svc.cluster.local`?",
            ),
            ("xds:///checkout:7070", "no Service `checkout` in namespace shop; the manifests have cart or pods"),
            ("grpc://x.none:1", "no Service `x` in namespace none; no manifest has any there"),
            (
                "grpc://kubernetes.default:443",
                "the cluster's own Service `kubernetes` in namespace default is not played: nobody answers there",
            ),
            ("http://www.example.com/", "no Service has the name `www.example.com`"),
            ("grpc://web-0.cart:1", "no Service `web-0` in namespace cart; no manifest has any there"),
            ("xds:///web-0.pods:1", "no Service `web-0` in namespace pods; no manifest has any there"),
            ("xds:///cart:7071", "Service `cart` has no port 7071; expected 80 or 7070"),
            ("xds:///pods:9999", "Service `pods` has no port 9999; expected 80 or 7070"),
            (
                "xds:///ledger.bank:7070",
                "by xds, a short name is one of the caller's own namespace, shop; \
                 write `ledger.bank.svc.cluster.local`",
            ),
        ] {
            assert_eq!(complaint(url).as_deref(), Some(message), "{url}");
        }
    }

    #[test]
    fn a_deleted_service_is_known_but_not_applied() {
        let mut now = services();
        now.delete(&service("shop", "cart", false).into());
        let complaint = now.complaint(&Url::parse("xds:///cart:7070").unwrap(), "shop", &services());
        assert_eq!(complaint.as_deref(), Some("Service `cart` of namespace shop is not applied at this step"));
    }
}
