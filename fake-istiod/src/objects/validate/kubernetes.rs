//! What the API server refuses of Kubernetes objects.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Check;
use crate::objects::names::{is_config_map_key, is_dns_label, is_label_key};
use crate::objects::{
    AddressType, ClusterIp, ConfigMap, EndpointSlice, Namespace, Node, Service, ServiceAccount, ServiceType,
};
use crate::yaml::field_path;

/// How much a ConfigMap holds.
const CONFIG_MAP_MAX: usize = 1 << 20;
/// How much an EndpointSlice holds, and an endpoint of it.
const ENDPOINTS_MAX: usize = 1000;
const ADDRESSES_MAX: usize = 100;

pub(in crate::objects) fn namespace(_: &mut Check<'_>, _: &Namespace) {}

pub(in crate::objects) fn node(_: &mut Check<'_>, _: &Node) {}

pub(in crate::objects) fn service_account(_: &mut Check<'_>, _: &ServiceAccount) {}

pub(in crate::objects) fn config_map(check: &mut Check<'_>, config_map: &ConfigMap) {
    for key in config_map.data.keys().filter(|key| !is_config_map_key(key)) {
        let message = format!("invalid key {key:?}; use up to 253 letters, digits, dashes, underscores and dots");
        check.error("invalid-name", &field_path("data", key), message);
    }
    let size: usize = config_map.data.values().map(String::len).sum();
    if size > CONFIG_MAP_MAX {
        check.error("out-of-range", "data", format!("{size} bytes are more than the {CONFIG_MAP_MAX} of a ConfigMap"));
    }
}

pub(in crate::objects) fn service(check: &mut Check<'_>, service: &Service) {
    let spec = &service.spec;
    if spec.service_type == ServiceType::ExternalName {
        check.error("not-supported", "spec.type", "ExternalName is not supported yet; a real mesh would act on it");
    } else if spec.ports.is_empty()
        && !service.is_headless()
        && check.is_read("spec.type")
        && check.is_read("spec.clusterIP")
    {
        check.error("missing-field", "spec.ports", "missing; a Service needs at least one port unless it is headless");
    }
    let reached_from_outside = matches!(spec.service_type, ServiceType::NodePort | ServiceType::LoadBalancer);
    if reached_from_outside && spec.cluster_ip == Some(ClusterIp::None) {
        let message = "a Service of another type than ClusterIP has an address; leave it out";
        check.error("invalid-value", "spec.clusterIP", message);
    }
    check.labels("spec.selector", &spec.selector);
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        check.port(&format!("{path}.port"), port.port);
        if port.port != 0 && !numbers.insert((port.protocol, port.port)) {
            check.error("duplicate", &format!("{path}.port"), format!("port {} is already there", port.port));
        }
        match port.name.as_deref().filter(|name| !name.is_empty()) {
            None if spec.ports.len() > 1 => {
                check.error("missing-field", &format!("{path}.name"), "missing; with several ports each needs a name");
            }
            None => {}
            Some(name) if !is_dns_label(name) => {
                let message = format!("invalid port name {name:?}; use lower-case letters, digits and inner dashes");
                check.error("invalid-name", &format!("{path}.name"), message);
            }
            Some(name) if !names.insert(name) => {
                check.error("duplicate", &format!("{path}.name"), format!("port name {name:?} is already there"));
            }
            Some(_) => {}
        }
        if let Some(target) = &port.target_port {
            check.port_or_name(&format!("{path}.targetPort"), target);
        }
        app_protocol(check, &path, port.app_protocol.as_deref());
    }
}

/// Of a port of a Service or an EndpointSlice.
fn app_protocol(check: &mut Check<'_>, port: &str, protocol: Option<&str>) {
    if let Some(protocol) = protocol.filter(|protocol| !is_label_key(protocol)) {
        let message = format!("invalid protocol {protocol:?}; write the like of `grpc` or `example.com/mine`");
        check.error("invalid-name", &format!("{port}.appProtocol"), message);
    }
}

/// Source: kubernetes `pkg/apis/discovery/validation/validation.go` (`ValidateEndpointSlice`).
pub(in crate::objects) fn endpoint_slice(check: &mut Check<'_>, slice: &EndpointSlice) {
    if !check.has("addressType") {
        check.error("missing-field", "addressType", "missing; write IPv4 or IPv6");
    }
    if slice.address_type == AddressType::FQDN {
        check.error("not-supported", "addressType", "FQDN is not supported yet; gRPC needs IP addresses");
    }
    if slice.endpoints.len() > ENDPOINTS_MAX {
        let message = format!(
            "{} are more than the {ENDPOINTS_MAX} of a slice; write another for the same Service",
            slice.endpoints.len()
        );
        check.error("out-of-range", "endpoints", message);
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let path = format!("endpoints[{index}]");
        addresses(check, &format!("{path}.addresses"), &endpoint.addresses, slice.address_type);
        if let Some(hostname) = endpoint.hostname.as_deref().filter(|hostname| !is_dns_label(hostname)) {
            let message =
                format!("invalid hostname {hostname:?}; use up to 63 lower-case letters, digits and inner dashes");
            check.error("invalid-name", &format!("{path}.hostname"), message);
        }
        if let Some(node) = &endpoint.node_name {
            check.subdomain(&format!("{path}.nodeName"), node, "the name of a Node");
        }
    }
    let mut names = BTreeSet::new();
    for (index, port) in slice.ports.iter().enumerate() {
        let path = format!("ports[{index}]");
        check.port(&format!("{path}.port"), port.port);
        let name = port.name.as_deref().unwrap_or_default();
        if !name.is_empty() && !is_dns_label(name) {
            let message = format!("invalid port name {name:?}; use lower-case letters, digits and inner dashes");
            check.error("invalid-name", &format!("{path}.name"), message);
        } else if check.is_read(&format!("{path}.name")) && !names.insert(name) {
            check.error("duplicate", &format!("{path}.name"), format!("port name {name:?} is already there"));
        }
        app_protocol(check, &path, port.app_protocol.as_deref());
    }
}

/// Of one endpoint.
fn addresses(check: &mut Check<'_>, path: &str, addresses: &[IpAddr], family: AddressType) {
    if addresses.is_empty() && check.is_whole(path) {
        check.error("missing-field", path, "missing; an endpoint needs an address");
    }
    if addresses.len() > ADDRESSES_MAX {
        let message = format!("{} are more than the {ADDRESSES_MAX} of an endpoint", addresses.len());
        check.error("out-of-range", path, message);
    }
    // Of addresses that could not be read, the others do not keep their numbers.
    if !check.is_whole(path) {
        return;
    }
    let has_family = check.has("addressType") && check.is_read("addressType");
    for (number, address) in addresses.iter().enumerate() {
        let path = format!("{path}[{number}]");
        if address.is_ipv4() != (family == AddressType::IPv4) && has_family {
            let message = format!("{address} is not of the slice's addressType {family:?}");
            check.error("invalid-value", &path, message);
        } else if let Some(what) = special(*address) {
            check.error("invalid-value", &path, format!("{address} is {what}: nobody else can call it"));
        }
    }
}

/// Source: kubernetes `pkg/apis/core/validation/validation.go` (`ValidateEndpointIP`). Loopback is left to the cluster:
/// an istiod that serves the programs of one machine reads slices of such addresses.
fn special(address: IpAddr) -> Option<&'static str> {
    let (link, group) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), v6.segments()[0] & 0xff0f == 0xff02),
    };
    match () {
        () if address.is_unspecified() => Some("no address"),
        () if link => Some("a link-local address"),
        () if group => Some("a link-local group"),
        () => None,
    }
}
