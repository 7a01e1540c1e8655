//! Services under their host names.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::{Mesh, is_exported_to};
use crate::objects::{ObjectKey, Protocol, Service, ServicePort};

/// The annotation that limits who sees a Service.
const EXPORT_TO: &str = "networking.istio.io/exportTo";

/// A Service and what follows from it.
#[derive(Clone, Debug)]
pub struct ServiceInfo {
    service: Arc<Service>,
    host: String,
    export_to: BTreeSet<String>,
}

/// Whether requests on a port can be routed by their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortProtocol {
    /// HTTP in one of its forms, or undeclared and to be found out.
    Http,
    /// Bytes.
    Opaque,
}

impl ServiceInfo {
    pub(super) fn new(service: Arc<Service>, mesh: &Mesh) -> Self {
        let metadata = &service.metadata;
        let host = format!("{}.{}.svc.{}", metadata.name, metadata.namespace, mesh.cluster_domain);
        let export_to = metadata.annotations.get(EXPORT_TO).map(String::as_str).unwrap_or_default();
        let names = export_to.split(',').map(str::trim).filter(|name| !name.is_empty());
        let export_to = names.map(str::to_owned).collect();
        Self { host, export_to, service }
    }

    /// The object.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The object's key.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        self.service.key()
    }

    /// The full host name, `name.namespace.svc.domain`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The Service's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.service.metadata.name
    }

    /// The Service's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.service.metadata.namespace
    }

    /// The cluster address; none if headless.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.service.spec.cluster_ip.and_then(crate::objects::ClusterIp::address)
    }

    /// The port with this number.
    #[must_use]
    pub fn port(&self, number: u16) -> Option<&ServicePort> {
        self.service.spec.ports.iter().find(|port| port.port == number)
    }

    pub(super) fn is_visible_in(&self, namespace: &str) -> bool {
        !self.export_to.contains("~") && is_exported_to(&self.export_to, self.namespace(), namespace)
    }
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
