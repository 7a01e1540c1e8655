//! The ports that a stand-in serves: those that others expect of its container.

use std::collections::BTreeMap;

use hermesh_istiod::objects::{Container, IntOrString, Kind, Labels, Object, Pod, ProbeHandler, ServicePort, selects};

use super::order::Role;
use super::probes::port_number;
use crate::cluster::injection::AGENT;
use crate::cluster::injection::grpc_simple;
use crate::cluster::store::Store;
use crate::image::{ServedPort, ServedProtocol};

/// Where ForwardEcho is called, in the echo application's own manifests too.
const FORWARD_PORT: u16 = 17171;
/// The ports of the agent beside it.
const AGENT_PORTS: [u16; 1] = [15020];

/// Whether the pod's containers are there to do something and end.
pub(super) fn is_task(pod: &Pod) -> bool {
    pod.metadata.owner.as_ref().is_some_and(|owner| owner.kind == Kind::Job)
}

/// What Services and probes expect of `container`, which is one of `pod`'s: the ports that it declares, and if it is
/// the application those that no container declares.
pub(super) fn ports(pod: &Pod, role: Role, container: &Container, store: &Store) -> Vec<ServedPort> {
    let services = store.list(Kind::Service).into_iter().filter_map(|object| match object {
        Object::Service(service) => Some(service),
        _ => None,
    });
    let namespace = &pod.metadata.namespace;
    let selecting = services.filter(|service| {
        let selector = &service.spec.selector;
        service.metadata.namespace == *namespace && !selector.is_empty() && selects(selector, &pod.metadata.labels)
    });
    // With that of grpc-simple there are clients of xDS, and no servers.
    let has_bootstrap = container.env.iter().any(|variable| variable.name == "GRPC_XDS_BOOTSTRAP")
        && !grpc_simple::is_told_of(container);
    let declares = |of: &Container, number| of.ports.iter().any(|port| port.container_port == number);
    let is_application = role == Role::Main && application(pod).is_none_or(|first| first.name == container.name);
    let sidecars = pod.spec.init_containers.iter().filter(|container| container.is_sidecar());
    let serving: Vec<&Container> = pod.spec.containers.iter().chain(sidecars).collect();
    let is_own =
        |number| declares(container, number) || (is_application && !serving.iter().any(|of| declares(of, number)));
    let mut ports = BTreeMap::from([(FORWARD_PORT, ServedProtocol::Grpc)]);
    ports.retain(|number, _| is_own(*number));
    // Probes first: what a Service says of a port is more exact.
    let probes = [&container.readiness_probe, &container.liveness_probe, &container.startup_probe];
    for probe in probes.into_iter().flatten() {
        let (port, protocol) = match &probe.handler {
            ProbeHandler::HttpGet(action) => (port_number(&action.port, container).ok(), ServedProtocol::Http),
            ProbeHandler::TcpSocket(action) => (port_number(&action.port, container).ok(), ServedProtocol::Http),
            ProbeHandler::Grpc(action) => (Some(action.port), ServedProtocol::Grpc),
            ProbeHandler::Exec(_) => (None, ServedProtocol::Tcp),
        };
        ports.extend(port.map(|port| (port, protocol)));
    }
    for service in selecting {
        for port in &service.spec.ports {
            let target = port.target_port.clone().unwrap_or_else(|| IntOrString::from(port.port));
            if let Ok(number) = port_number(&target, container)
                && is_own(number)
            {
                ports.insert(number, protocol(port, has_bootstrap));
            }
        }
    }
    ports.retain(|number, _| !AGENT_PORTS.contains(number));
    ports.into_iter().map(|(number, protocol)| ServedPort { number, protocol }).collect()
}

/// The first ordinary container besides the agent: the one that a pod is about.
fn application(pod: &Pod) -> Option<&Container> {
    pod.spec.containers.iter().find(|container| container.name != AGENT)
}

/// What is expected of a machine outside of the cluster with these labels: the ports that it says it has, and those
/// that Services and ServiceEntries of its namespace expect of it.
pub(crate) fn outside(namespace: &str, labels: &Labels, own: &BTreeMap<String, u32>, store: &Store) -> Vec<ServedPort> {
    let mut ports = BTreeMap::from([(FORWARD_PORT, ServedProtocol::Grpc)]);
    let mut add = |port: &ServicePort| {
        let named = |name: &str| own.get(name).and_then(|number| u16::try_from(*number).ok());
        let number = match &port.target_port {
            Some(IntOrString::String(name)) => named(name),
            Some(IntOrString::Int(number)) => {
                named(port.name.as_deref().unwrap_or_default()).or_else(|| u16::try_from(*number).ok())
            }
            None => named(port.name.as_deref().unwrap_or_default()).or(Some(port.port)),
        };
        ports.extend(number.map(|number| (number, protocol(port, true))));
    };
    for (name, number) in own {
        let number = u16::try_from(*number).unwrap_or_default();
        add(&ServicePort { name: Some(name.clone()), port: number, ..ServicePort::default() });
    }
    for object in store.list(Kind::Service) {
        let Object::Service(service) = object else { continue };
        let selector = &service.spec.selector;
        if service.metadata.namespace == namespace && !selector.is_empty() && selects(selector, labels) {
            service.spec.ports.iter().for_each(&mut add);
        }
    }
    for object in store.list(Kind::ServiceEntry) {
        let Object::ServiceEntry(entry) = object else { continue };
        let selector = entry.spec.workload_selector.as_ref();
        if entry.metadata.namespace != namespace || !selector.is_some_and(|it| selects(&it.labels, labels)) {
            continue;
        }
        for port in &entry.spec.ports {
            let target = u16::try_from(port.target_port).ok().filter(|port| *port != 0);
            add(&ServicePort {
                name: Some(port.name.clone()),
                app_protocol: Some(port.protocol.clone()).filter(|protocol| !protocol.is_empty()),
                port: u16::try_from(port.number).unwrap_or_default(),
                target_port: target.map(IntOrString::from),
                ..ServicePort::default()
            });
        }
    }
    ports.into_iter().map(|(number, protocol)| ServedPort { number, protocol }).collect()
}

/// Istio's protocol selection: `appProtocol`, else the name up to its first hyphen.
fn protocol(port: &ServicePort, has_bootstrap: bool) -> ServedProtocol {
    let name = port.name.as_deref().unwrap_or_default();
    let named = port.app_protocol.as_deref().unwrap_or_else(|| name.split('-').next().unwrap_or_default());
    match named.to_ascii_lowercase().as_str() {
        "grpc" if has_bootstrap => ServedProtocol::XdsGrpc,
        "grpc" | "http2" => ServedProtocol::Grpc,
        "tcp" | "tls" | "mongo" | "mysql" | "redis" => ServedProtocol::Tcp,
        _ => ServedProtocol::Http,
    }
}
