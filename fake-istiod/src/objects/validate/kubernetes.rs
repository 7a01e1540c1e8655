//! What the API server refuses of Kubernetes objects.

use std::collections::BTreeSet;

use super::Check;
use crate::objects::names::{is_dns_label, is_env_name, is_label_key, is_port_name};
use crate::objects::probe::{LIFECYCLE_HANDLERS, ONE_LIFECYCLE_HANDLER, ONE_PROBE_HANDLER, PROBE_HANDLERS};
use crate::objects::volume::VOLUME_SOURCES;
use crate::objects::{
    ConfigMap, Container, EndpointSlice, HttpScheme, IntOrString, LifecycleHandler, Namespace, Node, Pod, PodSpec,
    Probe, ProbeHandler, Service, ServiceAccount, ServiceType, VolumeSource,
};

pub(in crate::objects) fn namespace(_: &mut Check<'_>, _: &Namespace) {}

pub(in crate::objects) fn node(_: &mut Check<'_>, _: &Node) {}

pub(in crate::objects) fn service_account(_: &mut Check<'_>, _: &ServiceAccount) {}

pub(in crate::objects) fn config_map(check: &mut Check<'_>, config_map: &ConfigMap) {
    for key in config_map.data.keys() {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if key.is_empty() || !key.bytes().all(plain) || key.starts_with("..") {
            let message = format!("invalid key {key:?}; use letters, digits, dashes, underscores and dots");
            check.error("invalid-name", &crate::yaml::field_path("data", key), message);
        }
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
            port_or_name(check, &format!("{path}.targetPort"), target);
        }
    }
}

pub(in crate::objects) fn endpoint_slice(check: &mut Check<'_>, slice: &EndpointSlice) {
    use crate::objects::AddressType;
    let has_type = check.has("addressType") && check.is_read("addressType");
    if !check.has("addressType") {
        check.error("missing-field", "addressType", "missing; write IPv4 or IPv6");
    }
    if slice.address_type == AddressType::FQDN {
        check.error("not-supported", "addressType", "FQDN is not supported yet; gRPC needs IP addresses");
    }
    for (index, endpoint) in slice.endpoints.iter().enumerate() {
        let path = format!("endpoints[{index}].addresses");
        if endpoint.addresses.is_empty() && check.is_whole(&path) {
            check.error("missing-field", &path, "missing; an endpoint needs an address");
        }
        for (number, address) in endpoint.addresses.iter().enumerate() {
            let is_of_type = address.is_ipv4() == (slice.address_type == AddressType::IPv4);
            // Of addresses that could not be read, the others do not keep their numbers.
            if !is_of_type && has_type && check.is_whole(&path) {
                let message = format!("{address} is not of the slice's addressType {:?}", slice.address_type);
                check.error("invalid-value", &format!("{path}[{number}]"), message);
            }
        }
    }
    for (index, port) in slice.ports.iter().enumerate() {
        check.port(&format!("ports[{index}].port"), port.port);
    }
}

pub(in crate::objects) fn pod(check: &mut Check<'_>, pod: &Pod) {
    pod_spec(check, "spec", &pod.spec);
}

/// `path` is where the spec stands.
pub(super) fn pod_spec(check: &mut Check<'_>, path: &str, spec: &PodSpec) {
    for (name, value) in [("hostname", &spec.hostname), ("subdomain", &spec.subdomain)] {
        if !value.is_empty() && !is_dns_label(value) {
            let message = format!("invalid {name} {value:?}; use up to 63 lower-case letters, digits and inner dashes");
            check.error("invalid-name", &format!("{path}.{name}"), message);
        }
    }
    if spec.containers.is_empty() {
        check.error("missing-field", &format!("{path}.containers"), "missing; a pod needs at least one container");
    }
    check.labels(&format!("{path}.nodeSelector"), &spec.node_selector);
    for (index, gate) in spec.readiness_gates.iter().enumerate() {
        if !is_label_key(&gate.condition_type) {
            let path = format!("{path}.readinessGates[{index}].conditionType");
            let message = format!(
                "invalid or missing condition {:?}; write the like of `example.com/registered`",
                gate.condition_type
            );
            check.error("invalid-name", &path, message);
        }
    }
    let mut volumes = BTreeSet::new();
    let mut volumes_known = check.is_read(&format!("{path}.volumes"));
    for (index, volume) in spec.volumes.iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        volumes_known &= check.is_read(&format!("{path}.name"));
        if !is_dns_label(&volume.name) {
            check.error(
                "invalid-name",
                &format!("{path}.name"),
                format!("invalid or missing volume name {:?}", volume.name),
            );
        } else if !volumes.insert(volume.name.as_str()) {
            check.error("duplicate", &format!("{path}.name"), format!("volume {:?} is already there", volume.name));
        }
        check.only_one(&path, &VOLUME_SOURCES, "a volume has exactly one source; give each its own volume");
        volume_fields(check, &path, &volume.source);
    }
    let volumes = volumes_known.then_some(&volumes);
    let mut names = BTreeSet::new();
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            container_identity(check, &path, container, &mut names);
            container_fields(check, &path, container, volumes);
            if list == "initContainers" {
                init_container(check, &path, container);
            } else if container.restart_policy.is_some() {
                let message = "only init containers have one of their own; leave it out";
                check.error("invalid-value", &format!("{path}.restartPolicy"), message);
            }
        }
    }
}

/// Name, image and ports. `names` are those of the containers before.
fn container_identity<'a>(check: &mut Check<'_>, path: &str, container: &'a Container, names: &mut BTreeSet<&'a str>) {
    if container.name.is_empty() {
        check.error("missing-field", &format!("{path}.name"), "missing; every container needs a name");
    } else if !is_dns_label(&container.name) {
        let message =
            format!("invalid container name {:?}; use lower-case letters, digits and inner dashes", container.name);
        check.error("invalid-name", &format!("{path}.name"), message);
    } else if !names.insert(container.name.as_str()) {
        let message = format!("container {:?} is already there", container.name);
        check.error("duplicate", &format!("{path}.name"), message);
    }
    if container.image.is_empty() {
        check.error("missing-field", &format!("{path}.image"), "missing; every container needs an image");
    }
    let mut ports = BTreeSet::new();
    for (number, port) in container.ports.iter().enumerate() {
        let path = format!("{path}.ports[{number}]");
        check.port(&format!("{path}.containerPort"), port.container_port);
        if let Some(name) = &port.name {
            if !is_port_name(name) {
                let words = "use up to 15 lower-case letters, digits and inner dashes, at least one letter";
                check.error("invalid-name", &format!("{path}.name"), format!("invalid port name {name:?}; {words}"));
            } else if !ports.insert(name.as_str()) {
                check.error("duplicate", &format!("{path}.name"), format!("port name {name:?} is already there"));
            }
        }
    }
}

/// An init container that is no sidecar ends before anybody could probe it.
///
/// Source: kubernetes `pkg/apis/core/validation/validation.go` (`validateInitContainers`).
fn init_container(check: &mut Check<'_>, path: &str, container: &Container) {
    if container.is_sidecar() || !check.is_read(&format!("{path}.restartPolicy")) {
        return;
    }
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        if check.has(&format!("{path}.{field}")) {
            let message = "an init container may not have one unless it has `restartPolicy: Always`";
            check.error("invalid-value", &format!("{path}.{field}"), message);
        }
    }
}

/// `volumes` are the pod's if all of them are known.
fn container_fields(check: &mut Check<'_>, path: &str, container: &Container, volumes: Option<&BTreeSet<&str>>) {
    for (index, variable) in container.env.iter().enumerate() {
        let path = format!("{path}.env[{index}]");
        if !is_env_name(&variable.name) {
            check.error(
                "invalid-name",
                &format!("{path}.name"),
                format!("invalid or missing name {:?}", variable.name),
            );
        }
        if variable.value.as_deref().is_some_and(|value| !value.is_empty()) && variable.value_from.is_some() {
            check.error("invalid-value", &format!("{path}.valueFrom"), "has no place beside a value; leave one out");
        }
        if let Some(source) = &variable.value_from {
            match (&source.field_ref, &source.config_map_key_ref) {
                (Some(field), None) => {
                    field_reference(check, &format!("{path}.valueFrom.fieldRef.fieldPath"), &field.field_path)
                }
                (None, Some(reference)) if reference.name.is_empty() || reference.key.is_empty() => {
                    let path = format!("{path}.valueFrom.configMapKeyRef");
                    if check.is_whole(&path) {
                        check.error("missing-field", &path, "needs a name and a key");
                    }
                }
                (Some(_), Some(_)) => {
                    check.error("invalid-value", &format!("{path}.valueFrom"), "expected one source, found two")
                }
                _ => {}
            }
        }
    }
    let mut mounts = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        if let Some(volumes) = volumes.filter(|volumes| !volumes.contains(mount.name.as_str())) {
            let error = format!("the pod has no volume {:?}", mount.name);
            let error = match crate::yaml::nearest(&mount.name, volumes.iter().copied()) {
                Some(name) => format!("{error}; did you mean `{name}`?"),
                None => error,
            };
            check.error("unknown-reference", &format!("{path}.name"), error);
        }
        if mount.mount_path.is_empty() {
            check.error("missing-field", &format!("{path}.mountPath"), "missing; where does the volume appear?");
        } else if !mounts.insert(mount.mount_path.as_str()) {
            check.error("duplicate", &format!("{path}.mountPath"), format!("{:?} is already there", mount.mount_path));
        }
    }
    let probes = [
        ("readinessProbe", &container.readiness_probe),
        ("livenessProbe", &container.liveness_probe),
        ("startupProbe", &container.startup_probe),
    ];
    for (name, probe) in probes {
        if let Some(probe) = probe {
            probe_fields(check, &format!("{path}.{name}"), probe, name);
        }
    }
    for (name, handler) in [("postStart", &container.lifecycle.post_start), ("preStop", &container.lifecycle.pre_stop)]
    {
        check.only_one(&format!("{path}.lifecycle.{name}"), &LIFECYCLE_HANDLERS, ONE_LIFECYCLE_HANDLER);
        match handler {
            Some(LifecycleHandler::Exec(action)) if action.command.is_empty() => {
                check.error("missing-field", &format!("{path}.lifecycle.{name}.exec.command"), "missing; what runs?");
            }
            Some(LifecycleHandler::HttpGet(action)) => {
                port_or_name(check, &format!("{path}.lifecycle.{name}.httpGet.port"), &action.port);
            }
            _ => {}
        }
    }
}

fn probe_fields(check: &mut Check<'_>, path: &str, probe: &Probe, name: &str) {
    check.only_one(path, &PROBE_HANDLERS, ONE_PROBE_HANDLER);
    match &probe.handler {
        ProbeHandler::HttpGet(action) => {
            port_or_name(check, &format!("{path}.httpGet.port"), &action.port);
            if action.scheme == HttpScheme::HTTPS {
                check.error("not-supported", &format!("{path}.httpGet.scheme"), "HTTPS probes are not supported yet");
            }
        }
        ProbeHandler::TcpSocket(action) => port_or_name(check, &format!("{path}.tcpSocket.port"), &action.port),
        ProbeHandler::Grpc(action) => check.port(&format!("{path}.grpc.port"), action.port),
        ProbeHandler::Exec(action) if action.command.is_empty() => {
            check.error("missing-field", &format!("{path}.exec.command"), "missing; what runs?");
        }
        ProbeHandler::Exec(_) => {}
    }
    if name != "readinessProbe" && probe.success_threshold != 1 {
        check.error("invalid-value", &format!("{path}.successThreshold"), format!("must be 1 for a {name}"));
    }
}

fn volume_fields(check: &mut Check<'_>, path: &str, source: &VolumeSource) {
    match source {
        VolumeSource::EmptyDir(_) => {}
        VolumeSource::ConfigMap(config_map) if config_map.name.is_empty() => {
            check.error("missing-field", &format!("{path}.configMap.name"), "missing; which ConfigMap?");
        }
        VolumeSource::ConfigMap(_) => {}
        VolumeSource::DownwardApi(volume) => {
            for (index, item) in volume.items.iter().enumerate() {
                field_reference(
                    check,
                    &format!("{path}.downwardAPI.items[{index}].fieldRef.fieldPath"),
                    &item.field_ref.field_path,
                );
            }
        }
        VolumeSource::Projected(volume) => {
            for (index, source) in volume.sources.iter().enumerate() {
                let path = format!("{path}.projected.sources[{index}]");
                if let Some(token) = &source.service_account_token {
                    if token.path.is_empty() {
                        check.error(
                            "missing-field",
                            &format!("{path}.serviceAccountToken.path"),
                            "missing; which file?",
                        );
                    }
                    if token.expiration_seconds < 600 {
                        let message = "must be at least 600, ten minutes";
                        check.error("out-of-range", &format!("{path}.serviceAccountToken.expirationSeconds"), message);
                    }
                }
            }
        }
    }
}

fn field_reference(check: &mut Check<'_>, path: &str, field: &str) {
    const FIELDS: [&str; 9] = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "spec.nodeName",
        "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs",
        "status.podIP",
        "status.podIPs",
    ];
    let keyed = ["metadata.labels", "metadata.annotations"];
    let is_keyed = keyed.iter().any(|prefix| {
        let key = field.strip_prefix(prefix);
        key.is_some_and(|key| key.is_empty() || (key.starts_with("['") && key.ends_with("']") && key.len() > 4))
    });
    if !is_keyed && !FIELDS.contains(&field) {
        let message = format!("a pod has no field {field:?} to take a value from");
        match crate::yaml::nearest(field, FIELDS.into_iter().chain(keyed)) {
            Some(name) => check.error("invalid-value", path, format!("{message}; did you mean `{name}`?")),
            None => check.error("invalid-value", path, message),
        }
    }
}

fn port_or_name(check: &mut Check<'_>, path: &str, port: &IntOrString) {
    match port {
        IntOrString::Int(number) => check.port(path, *number),
        IntOrString::String(name) if !is_port_name(name) => {
            check.error(
                "invalid-name",
                path,
                format!("expected a port from 1 to 65535 or a port's name, found {name:?}"),
            );
        }
        IntOrString::String(_) => {}
    }
}
