//! Services and ServiceEntries under their host names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Mesh, is_exported_to};
use crate::objects::{Metadata, ObjectKey, Protocol, Service, ServiceEntry, ServiceEntryPort, ServicePort, ip_range};

/// The annotation that limits who sees a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// A host with its ports: a Kubernetes Service, or one of the hosts of a ServiceEntry.
#[derive(Clone, Debug)]
pub struct ServiceInfo {
    registry: Registry,
    host: String,
    ports: Vec<ServicePort>,
    address: Option<IpAddr>,
    export_to: BTreeSet<String>,
}

/// Who says that a host exists.
#[derive(Clone, Debug)]
pub enum Registry {
    /// Kubernetes.
    Kubernetes(Arc<Service>),
    /// A ServiceEntry.
    External(Arc<ServiceEntry>),
}

impl ServiceInfo {
    pub(super) fn new(service: Arc<Service>, mesh: &Mesh) -> Self {
        let metadata = &service.metadata;
        let host = format!("{}.{}.svc.{}", metadata.name, metadata.namespace, mesh.cluster_domain);
        let export_to = metadata.annotations.get(EXPORT_TO).map(String::as_str).unwrap_or_default();
        let names = export_to.split(',').map(str::trim).filter(|name| !name.is_empty());
        let export_to = names.map(str::to_owned).collect();
        let address = service.spec.cluster_ip.and_then(crate::objects::ClusterIp::address);
        let ports = service.spec.ports.clone();
        Self { host, ports, address, export_to, registry: Registry::Kubernetes(service) }
    }

    /// One service for each host, as Istio's `convertServices` makes them.
    pub(super) fn of_entry(entry: &Arc<ServiceEntry>) -> impl Iterator<Item = Self> {
        let port = |port: &ServiceEntryPort| ServicePort {
            name: Some(port.name.clone()),
            protocol: if port.protocol.eq_ignore_ascii_case("udp") { Protocol::UDP } else { Protocol::TCP },
            app_protocol: Some(port.protocol.clone()).filter(|protocol| !protocol.is_empty()),
            port: u16::try_from(port.number).unwrap_or_default(),
            target_port: u16::try_from(port.target_port).ok().filter(|port| *port != 0).map(Into::into),
        };
        let ports: Vec<ServicePort> = entry.spec.ports.iter().map(port).collect();
        let address = entry.spec.addresses.iter().find_map(|address| single_address(address));
        entry.spec.hosts.iter().map(move |host| Self {
            host: host.clone(),
            ports: ports.clone(),
            address,
            export_to: entry.spec.export_to.iter().cloned().collect(),
            registry: Registry::External(Arc::clone(entry)),
        })
    }

    /// Who says that it exists.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The key of the object behind it.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match &self.registry {
            Registry::Kubernetes(service) => service.key(),
            Registry::External(entry) => entry.key(),
        }
    }

    /// The full host name, `name.namespace.svc.domain` of a Kubernetes Service.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The namespace of the object behind it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.metadata().namespace
    }

    fn metadata(&self) -> &Metadata {
        match &self.registry {
            Registry::Kubernetes(service) => &service.metadata,
            Registry::External(entry) => &entry.metadata,
        }
    }

    /// The virtual address; none if headless.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether it is a Kubernetes Service without an address of its own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        matches!(&self.registry, Registry::Kubernetes(service) if service.is_headless())
    }

    /// Its ports.
    #[must_use]
    pub fn ports(&self) -> &[ServicePort] {
        &self.ports
    }

    /// The port with this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|port| port.port == number)
    }

    pub(super) fn is_visible_in(&self, namespace: &str) -> bool {
        !self.export_to.contains("~") && is_exported_to(&self.export_to, self.namespace(), namespace)
    }

    /// Which of several services with one host counts for everybody: Kubernetes' own, else the oldest.
    pub(super) fn rank(&self) -> (bool, (u64, &str, &str)) {
        (matches!(self.registry, Registry::External(_)), self.metadata().age())
    }
}

/// The address that a text is, if it is no range of several.
fn single_address(text: &str) -> Option<IpAddr> {
    let (address, len) = ip_range(text)?;
    (u32::from(len) == if address.is_ipv4() { 32 } else { 128 }).then_some(address)
}

/// Whether requests on a port can be routed by their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortProtocol {
    /// HTTP in one of its forms, or undeclared and to be found out.
    Http,
    /// Bytes.
    Opaque,
}

impl PortProtocol {
    /// What a port carries: by `appProtocol`, else by its name's prefix, else by what is well known about its number.
    ///
    /// Source: Istio `pkg/config/kube/conversion.go` (`ConvertProtocol`).
    #[must_use]
    pub fn of(port: &ServicePort) -> Self {
        if port.protocol != Protocol::TCP {
            return Self::Opaque;
        }
        let named = port.name.as_deref().unwrap_or_default().to_lowercase();
        let prefix = named.split('-').next().unwrap_or_default();
        let declared = match port.app_protocol.as_deref() {
            Some(protocol) => {
                let protocol = protocol.to_lowercase();
                Self::declared(protocol.strip_prefix("kubernetes.io/").unwrap_or(&protocol))
            }
            None => Self::declared(prefix),
        };
        // Servers of these protocols speak first, so that nothing can be found out.
        declared.unwrap_or(if matches!(port.port, 25 | 53 | 3306 | 27017) { Self::Opaque } else { Self::Http })
    }

    fn declared(name: &str) -> Option<Self> {
        match name {
            "http" | "http2" | "h2c" | "grpc" | "grpc-web" | "http_proxy" => Some(Self::Http),
            "https" | "tcp" | "tls" | "mongo" | "redis" | "mysql" | "udp" => Some(Self::Opaque),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_declared_by_app_protocol_then_name_then_number() {
        for (app, name, number, expected) in [
            (None, "grpc", 7070, PortProtocol::Http),
            (None, "grpc-web-admin", 7070, PortProtocol::Http),
            (None, "http2", 80, PortProtocol::Http),
            (None, "tcp-echo", 9090, PortProtocol::Opaque),
            (None, "https", 443, PortProtocol::Opaque),
            (None, "whatever", 80, PortProtocol::Http),
            (None, "", 80, PortProtocol::Http),
            (None, "db", 3306, PortProtocol::Opaque),
            (Some("grpc"), "tcp", 80, PortProtocol::Http),
            (Some("kubernetes.io/h2c"), "tcp", 80, PortProtocol::Http),
            (Some("tcp"), "grpc", 80, PortProtocol::Opaque),
        ] {
            let port = ServicePort {
                name: Some(name.to_owned()),
                app_protocol: app.map(str::to_owned),
                port: number,
                ..ServicePort::default()
            };
            assert_eq!(PortProtocol::of(&port), expected, "{app:?} {name} {number}");
        }
        assert_eq!(
            PortProtocol::of(&ServicePort { protocol: Protocol::UDP, port: 80, ..ServicePort::default() }),
            PortProtocol::Opaque
        );
    }
}
