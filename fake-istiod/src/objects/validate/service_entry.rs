//! What istiod's webhook refuses of hosts and workloads outside of the cluster, and what gRPC clients get of them.
//!
//! Source: Istio `pkg/config/validation/validation.go` (`ValidateServiceEntry`, `ValidateWorkloadEntry`,
//! `ValidateWorkloadGroup`, `ValidateProxyConfig`).

use std::collections::BTreeSet;

use super::Check;
use super::istio::{Exporter, export_to};
use crate::objects::names::{is_host, is_mesh_header_name, is_mesh_label, is_mesh_name};
use crate::objects::probe::{ONE_PROBE_HANDLER, PROBE_HANDLERS};
use crate::objects::{
    ProxyConfig, ReadinessProbe, Resolution, ServiceEntry, ServiceEntryPort, WorkloadEntry, WorkloadEntrySpec,
    WorkloadGroup, ip_range,
};
use crate::yaml::{field_path, nearest};

/// The protocols that a port of a ServiceEntry may name, in any case (`pkg/config/protocol`).
const PROTOCOLS: [&str; 15] = [
    "GRPC",
    "GRPC-WEB",
    "HTTP",
    "HTTP_PROXY",
    "HTTP2",
    "H2C",
    "HTTPS",
    "TLS",
    "TCP",
    "UDP",
    "MONGO",
    "REDIS",
    "MYSQL",
    "DOUBLE-HBONE",
    "HBONE",
];

/// Those whose requests or handshakes name the host.
const NAME_THE_HOST: [&str; 8] = ["GRPC", "GRPC-WEB", "HTTP", "HTTP_PROXY", "HTTP2", "H2C", "HTTPS", "TLS"];

pub(in crate::objects) fn service_entry(check: &mut Check<'_>, entry: &ServiceEntry) {
    let spec = &entry.spec;
    if spec.hosts.is_empty() {
        check.error("missing-field", "spec.hosts", "missing; a ServiceEntry needs at least one host");
    }
    for (index, host) in spec.hosts.iter().enumerate() {
        entry_host(check, &format!("spec.hosts[{index}]"), host);
    }
    let mut has_range = false;
    for (index, address) in spec.addresses.iter().enumerate() {
        has_range |= address.contains('/');
        if ip_range(address).is_none() {
            let message = format!("expected an IP address or a range such as 10.0.0.0/8, found {address:?}");
            check.error("invalid-value", &format!("spec.addresses[{index}]"), message);
        }
    }
    if has_range && spec.resolution.is_dns() {
        let message = format!("ranges have no place beside resolution {}; name single addresses", spec.resolution);
        check.error("invalid-value", "spec.addresses", message);
    }
    ports(check, &spec.ports);
    behind(check, entry);
    let name_the_host =
        |port: &ServiceEntryPort| NAME_THE_HOST.iter().any(|name| name.eq_ignore_ascii_case(&port.protocol));
    if spec.resolution != Resolution::None && spec.hosts.len() > 1 && !spec.ports.iter().all(name_the_host) {
        let message = "nothing on a port without HTTP or TLS tells several hosts apart; write a ServiceEntry for each";
        check.error("invalid-value", "spec.hosts", message);
    }
    export_to(check, &spec.export_to, Exporter::Entry);
    if !check.is_whole("spec") || spec.hosts.is_empty() {
        return;
    }
    let nobody = match spec.resolution {
        Resolution::Dns | Resolution::DnsRoundRobin => true,
        Resolution::None => spec.workload_selector.is_none(),
        Resolution::Static => false,
    };
    if nobody {
        let message = format!(
            "istiod sends gRPC clients no endpoints of a host with resolution {}: calls to it fail; STATIC has some",
            spec.resolution
        );
        check.warning("rpc-fails", "spec.resolution", message);
    }
}

fn entry_host(check: &mut Check<'_>, path: &str, host: &str) {
    if host == "*" {
        check.error("invalid-value", path, "`*` would be every host there is; name one, maybe with a first label `*`");
    } else if !is_host(host) {
        let message = format!("invalid host {host:?}; use a DNS name, maybe with a first label `*`");
        check.error("invalid-name", path, message);
    } else if host.starts_with('*') {
        let message = "gRPC clients ask for a host by its whole name, which no ServiceEntry with a wildcard has";
        check.warning("never-matches", path, message);
    }
}

fn ports(check: &mut Check<'_>, ports: &[ServiceEntryPort]) {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    for (index, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{index}]");
        check.port(&format!("{path}.number"), port.number);
        if port.target_port != 0 {
            check.port(&format!("{path}.targetPort"), port.target_port);
        }
        if !is_mesh_label(&port.name) {
            let message = format!("invalid or missing port name {:?}; use letters, digits and dashes", port.name);
            check.error("invalid-name", &format!("{path}.name"), message);
        } else if !names.insert(port.name.as_str()) {
            check.error("duplicate", &format!("{path}.name"), format!("port name {:?} is already there", port.name));
        }
        if port.number != 0 && !numbers.insert(port.number) {
            check.error("duplicate", &format!("{path}.number"), format!("port {} is already there", port.number));
        }
        if !port.protocol.is_empty() && !PROTOCOLS.iter().any(|name| name.eq_ignore_ascii_case(&port.protocol)) {
            let near = nearest(&port.protocol.to_uppercase(), PROTOCOLS);
            let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            let message = format!("unknown protocol {:?}{meant}", port.protocol);
            check.error("invalid-value", &format!("{path}.protocol"), message);
        }
    }
}

/// Endpoints and selector, as the resolution has them.
fn behind(check: &mut Check<'_>, entry: &ServiceEntry) {
    let spec = &entry.spec;
    if spec.workload_selector.is_some() && check.has("spec.endpoints") {
        check.error("invalid-value", "spec.endpoints", "has no place beside a workloadSelector; leave one out");
    }
    if let Some(selector) = &spec.workload_selector {
        check.selector("spec.workloadSelector.labels", &selector.labels);
        if selector.labels.is_empty() && check.is_whole("spec.workloadSelector") {
            let message = "without labels it is for all workloads of the namespace";
            check.warning("selects-all", "spec.workloadSelector", message);
        }
        if spec.resolution == Resolution::None {
            let message = "should not be there with resolution NONE; STATIC is meant";
            check.warning("invalid-value", "spec.workloadSelector", message);
        }
    }
    let dns = spec.resolution.is_dns();
    if spec.resolution == Resolution::None && !spec.endpoints.is_empty() {
        check.error(
            "invalid-value",
            "spec.endpoints",
            "has no place beside resolution NONE; write `resolution: STATIC`",
        );
    }
    if dns && spec.endpoints.is_empty() && spec.workload_selector.is_none() {
        for (index, _) in spec.hosts.iter().enumerate().filter(|(_, host)| host.starts_with('*')) {
            let message =
                format!("no DNS knows a wildcard; name a host, or endpoints, for resolution {}", spec.resolution);
            check.error("invalid-value", &format!("spec.hosts[{index}]"), message);
        }
    }
    if spec.resolution == Resolution::DnsRoundRobin && spec.endpoints.len() > 1 {
        let message = "there can be one endpoint with resolution DNS_ROUND_ROBIN; write DNS, or leave the others out";
        check.error("invalid-value", "spec.endpoints", message);
    }
    let names: Vec<&str> = spec.ports.iter().map(|port| port.name.as_str()).collect();
    for (index, endpoint) in spec.endpoints.iter().enumerate() {
        let path = format!("spec.endpoints[{index}]");
        workload(check, &path, endpoint, dns, Some(&names));
    }
}

pub(in crate::objects) fn workload_entry(check: &mut Check<'_>, entry: &WorkloadEntry) {
    workload(check, "spec", &entry.spec, true, None);
    if entry.spec.ip().is_none() && is_mesh_name(&entry.spec.address) {
        let message = "gRPC clients are sent no endpoints that have to be looked up: nobody calls this one";
        check.warning("never-matches", "spec.address", message);
    }
}

/// One workload; `names` are those that its ports may have.
fn workload(
    check: &mut Check<'_>,
    path: &str,
    workload: &WorkloadEntrySpec,
    takes_names: bool,
    names: Option<&[&str]>,
) {
    // Of a ServiceEntry that DNS resolves.
    let in_dns = takes_names && names.is_some();
    let (address, at) = (workload.address.as_str(), format!("{path}.address"));
    if address.is_empty() {
        if workload.network.is_empty() || in_dns {
            check.error("missing-field", &at, "missing; where is it?");
        }
    } else if let Some(socket) = address.strip_prefix("unix://").filter(|_| !in_dns) {
        if !socket.starts_with('@') && (!socket.starts_with('/') || socket.ends_with('/')) {
            let message = format!("expected an absolute path of a file after unix://, found {address:?}");
            check.error("invalid-value", &at, message);
        }
        if !workload.ports.is_empty() {
            check.error("invalid-value", &format!("{path}.ports"), "a Unix socket has no ports; leave them out");
        }
        if names.is_some_and(|names| names.len() != 1) {
            check.error("invalid-value", &at, "a Unix socket serves one port; write a ServiceEntry with one");
        }
        check.warning("never-matches", &at, "istiod sends gRPC clients no Unix sockets: nobody calls this one");
    } else if workload.ip().is_none() && !(takes_names && is_mesh_name(address)) {
        let what = if takes_names { "an IP address or a DNS name" } else { "an IP address" };
        check.error("invalid-value", &at, format!("expected {what}, found {address:?}"));
    }
    template(check, path, workload);
    for name in workload.ports.keys() {
        let at = field_path(&format!("{path}.ports"), name);
        if let Some(names) = names.filter(|names| !names.contains(&name.as_str()) && check.is_whole("spec.ports")) {
            let near = nearest(name, names.iter().copied());
            let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            check.error("invalid-value", &at, format!("the ServiceEntry has no port {name:?}{meant}"));
        }
    }
}

/// What workloads and the templates of groups have in common.
fn template(check: &mut Check<'_>, path: &str, workload: &WorkloadEntrySpec) {
    for (name, port) in &workload.ports {
        let at = field_path(&format!("{path}.ports"), name);
        if !is_mesh_label(name) {
            check.error("invalid-name", &at, format!("invalid port name {name:?}"));
        }
        if !(1..=65535).contains(port) {
            check.error("out-of-range", &at, format!("port {port} is out of range; expected 1 to 65535"));
        }
    }
    check.labels(&format!("{path}.labels"), &workload.labels);
}

pub(in crate::objects) fn workload_group(check: &mut Check<'_>, group: &WorkloadGroup) {
    check.labels("spec.metadata.labels", &group.spec.metadata.labels);
    match &group.spec.template {
        Some(workload) => template(check, "spec.template", workload),
        None => check.error("missing-field", "spec.template", "missing; `template: {}` is the least"),
    }
    if let Some(probe) = &group.spec.probe {
        readiness_probe(check, probe);
    }
}

fn readiness_probe(check: &mut Check<'_>, probe: &ReadinessProbe) {
    let ReadinessProbe { http_get, tcp_socket, exec, grpc, .. } = probe;
    let has_any = PROBE_HANDLERS.iter().any(|name| check.has(&format!("spec.probe.{name}")));
    match has_any {
        true => check.only_one("spec.probe", &PROBE_HANDLERS, ONE_PROBE_HANDLER),
        false => check.error("invalid-value", "spec.probe", ONE_PROBE_HANDLER),
    }
    if exec.is_some() {
        let message = "machines have no commands here; ask a port instead";
        check.error("not-supported", "spec.probe.exec", message);
    }
    let ports = [
        ("httpGet", http_get.as_ref().map(|action| action.port)),
        ("tcpSocket", tcp_socket.as_ref().map(|action| action.port)),
        ("grpc", grpc.as_ref().map(|action| action.port)),
    ];
    for (handler, port) in ports {
        if let Some(port) = port {
            check.port(&format!("spec.probe.{handler}.port"), port);
        }
    }
    let headers = http_get.iter().flat_map(|action| &action.http_headers).enumerate();
    for (index, header) in headers.filter(|(_, header)| !is_mesh_header_name(&header.name)) {
        let message = format!("invalid header name {:?}; use letters, digits, dashes and underscores", header.name);
        check.error("invalid-name", &format!("spec.probe.httpGet.httpHeaders[{index}].name"), message);
    }
    if let Some(action) = http_get.as_ref().filter(|action| !action.scheme.is_empty()) {
        let at = "spec.probe.httpGet.scheme";
        match &*action.scheme.to_ascii_lowercase() {
            "http" => {}
            "https" => check.error("not-supported", at, "HTTPS probes are not supported yet"),
            other => check.error("invalid-value", at, format!("expected http or https, found {other:?}")),
        }
    }
}

pub(in crate::objects) fn proxy_config(check: &mut Check<'_>, config: &ProxyConfig) {
    if let Some(selector) = &config.spec.selector {
        check.selector("spec.selector.matchLabels", &selector.match_labels);
    }
    if let Some(concurrency) = config.spec.concurrency {
        if concurrency < 0 {
            check.error("out-of-range", "spec.concurrency", format!("{concurrency} is negative; 0 means all cores"));
        }
        check.note("no-effect", "spec.concurrency", "is of Envoy, which no gRPC application has");
    }
}
