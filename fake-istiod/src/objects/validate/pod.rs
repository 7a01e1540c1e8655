//! What the API server refuses of pods: their spec, and its containers.
//!
//! Source: kubernetes `pkg/apis/core/validation/validation.go` (`ValidatePodSpec`).

use std::collections::BTreeSet;

use super::Check;
use super::probe::{lifecycle, probe_fields};
use super::volume::{field_reference, volume_fields, whole_sources};
use crate::objects::names::{is_config_map_key, is_dns_label, is_env_name, is_label_key, is_label_value, is_port_name};
use crate::objects::{Container, EnvVar, Pod, PodSpec, Toleration, VolumeMount};

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
    let account =
        if check.has(&format!("{path}.serviceAccountName")) { "serviceAccountName" } else { "serviceAccount" };
    check.subdomain(&format!("{path}.{account}"), &spec.service_account_name, "the name of a ServiceAccount");
    if let Some(node) = &spec.node_name {
        check.subdomain(&format!("{path}.nodeName"), node, "the name of a Node");
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
    for (index, one) in spec.tolerations.iter().enumerate() {
        toleration(check, &format!("{path}.tolerations[{index}]"), one);
    }
    let volumes = volumes(check, path, spec);
    let mut names = BTreeSet::new();
    for (list, containers) in [("containers", &spec.containers), ("initContainers", &spec.init_containers)] {
        for (index, container) in containers.iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            container_identity(check, &path, container, &mut names);
            container_fields(check, &path, container, volumes.as_ref(), spec.termination_grace_period_seconds);
            if list == "initContainers" {
                init_container(check, &path, container);
            } else if container.restart_policy.is_some() {
                let message = "only init containers have one of their own; leave it out";
                check.error("invalid-value", &format!("{path}.restartPolicy"), message);
            }
        }
    }
}

/// The names of the pod's volumes, if all of them are known.
fn volumes<'a>(check: &mut Check<'_>, path: &str, spec: &'a PodSpec) -> Option<BTreeSet<&'a str>> {
    let mut volumes = BTreeSet::new();
    let mut all_known = check.is_read(&format!("{path}.volumes"));
    for (index, volume) in spec.volumes.iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        all_known &= check.is_read(&format!("{path}.name"));
        if !is_dns_label(&volume.name) {
            check.error(
                "invalid-name",
                &format!("{path}.name"),
                format!("invalid or missing volume name {:?}", volume.name),
            );
        } else if !volumes.insert(volume.name.as_str()) {
            check.error("duplicate", &format!("{path}.name"), format!("volume {:?} is already there", volume.name));
        }
        whole_sources(check, &path);
        volume_fields(check, &path, &volume.source);
    }
    all_known.then_some(volumes)
}

/// Source: `ValidateTolerations`.
fn toleration(check: &mut Check<'_>, path: &str, toleration: &Toleration) {
    const OPERATORS: [&str; 2] = ["Equal", "Exists"];
    const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    let exists = toleration.operator.as_deref() == Some("Exists");
    let operator = format!("{path}.operator");
    if let Some(other) = toleration.operator.as_deref().filter(|it| !it.is_empty() && !OPERATORS.contains(it)) {
        check.error("unknown-value", &operator, format!("unknown operator {other:?}; expected Equal or Exists"));
    } else if toleration.key.is_empty() && !exists && check.is_whole(path) {
        let message = "without a key it is Exists, for taints of any key; write one of them";
        check.error("invalid-value", &operator, message);
    }
    if !toleration.key.is_empty() && !is_label_key(&toleration.key) {
        let message = format!("invalid key {:?}; write the like of `node.kubernetes.io/unreachable`", toleration.key);
        check.error("invalid-name", &format!("{path}.key"), message);
    }
    if exists && !toleration.value.is_empty() {
        check.error("invalid-value", &format!("{path}.value"), "has no place beside Exists; leave one out");
    } else if !is_label_value(&toleration.value) {
        let message = format!("invalid value {:?}; use up to 63 letters, digits, dashes, dots", toleration.value);
        check.error("invalid-value", &format!("{path}.value"), message);
    }
    let effect = toleration.effect.as_str();
    if !effect.is_empty() && !EFFECTS.contains(&effect) {
        let message = format!("unknown effect {effect:?}; expected NoSchedule, PreferNoSchedule or NoExecute");
        check.error("unknown-value", &format!("{path}.effect"), message);
    } else if toleration.toleration_seconds.is_some() && effect != "NoExecute" && check.is_whole(path) {
        let message = "only taints that evict are borne for a time; write `effect: NoExecute`";
        check.error("invalid-value", &format!("{path}.tolerationSeconds"), message);
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
    } else if container.image.trim() != container.image {
        let message = format!("blanks around {:?}; leave them out", container.image.trim());
        check.error("invalid-value", &format!("{path}.image"), message);
    }
    let mut ports = BTreeSet::new();
    for (number, port) in container.ports.iter().enumerate() {
        let path = format!("{path}.ports[{number}]");
        check.port(&format!("{path}.containerPort"), port.container_port);
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            if !is_port_name(name) {
                let words = "use up to 15 lower-case letters, digits and inner dashes, at least one letter";
                check.error("invalid-name", &format!("{path}.name"), format!("invalid port name {name:?}; {words}"));
            } else if !ports.insert(name) {
                check.error("duplicate", &format!("{path}.name"), format!("port name {name:?} is already there"));
            }
        }
    }
}

/// An init container that is no sidecar ends before anybody could probe it.
///
/// Source: `validateInitContainers`.
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

/// `volumes` are the pod's if all of them are known; `grace` is how long its containers may take to end.
fn container_fields(
    check: &mut Check<'_>,
    path: &str,
    container: &Container,
    volumes: Option<&BTreeSet<&str>>,
    grace: u64,
) {
    for (index, variable) in container.env.iter().enumerate() {
        environment(check, &format!("{path}.env[{index}]"), variable);
    }
    let mut mounts = BTreeSet::new();
    for (index, mount) in container.volume_mounts.iter().enumerate() {
        volume_mount(check, &format!("{path}.volumeMounts[{index}]"), mount, volumes);
        if !mount.mount_path.is_empty() && !mounts.insert(mount.mount_path.as_str()) {
            let path = format!("{path}.volumeMounts[{index}].mountPath");
            check.error("duplicate", &path, format!("{:?} is already there", mount.mount_path));
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
    lifecycle(check, &format!("{path}.lifecycle"), &container.lifecycle, grace);
}

fn volume_mount(check: &mut Check<'_>, path: &str, mount: &VolumeMount, volumes: Option<&BTreeSet<&str>>) {
    if mount.name.is_empty() {
        check.error("missing-field", &format!("{path}.name"), "missing; which volume?");
    } else if let Some(volumes) = volumes.filter(|volumes| !volumes.contains(mount.name.as_str())) {
        let error = format!("the pod has no volume {:?}", mount.name);
        let error = match crate::yaml::nearest(&mount.name, volumes.iter().copied()) {
            Some(name) => format!("{error}; did you mean `{name}`?"),
            None => error,
        };
        check.error("unknown-reference", &format!("{path}.name"), error);
    }
    if mount.mount_path.is_empty() {
        check.error("missing-field", &format!("{path}.mountPath"), "missing; where does the volume appear?");
    }
}

/// Source: `validateEnv` and `validateEnvVarValueFrom`.
fn environment(check: &mut Check<'_>, path: &str, variable: &EnvVar) {
    /// Those of which Hermesh models the first two.
    const SOURCES: [&str; 5] = ["fieldRef", "configMapKeyRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"];
    if !is_env_name(&variable.name) {
        check.error("invalid-name", &format!("{path}.name"), format!("invalid or missing name {:?}", variable.name));
    }
    let Some(source) = &variable.value_from else { return };
    let path = format!("{path}.valueFrom");
    if variable.value.as_deref().is_some_and(|value| !value.is_empty()) {
        check.error("invalid-value", &path, "has no place beside a value; leave one out");
    }
    match SOURCES.iter().filter(|name| check.has(&format!("{path}.{name}"))).count() {
        0 if check.is_whole(&path) => {
            check.error(
                "missing-field",
                &path,
                "needs one of fieldRef, configMapKeyRef, resourceFieldRef or secretKeyRef",
            );
        }
        0 | 1 => {}
        _ => check.error("invalid-value", &path, "expected one source, found several"),
    }
    if let Some(field) = &source.field_ref {
        field_reference(check, &format!("{path}.fieldRef.fieldPath"), &field.field_path, super::volume::Fields::OfEnv);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let path = format!("{path}.configMapKeyRef");
        if reference.name.is_empty() || reference.key.is_empty() {
            if check.is_whole(&path) {
                check.error("missing-field", &path, "needs a name and a key");
            }
        } else if !is_config_map_key(&reference.key) {
            let message =
                format!("no ConfigMap has a key {:?}: use letters, digits, dashes, underscores, dots", reference.key);
            check.error("invalid-name", &format!("{path}.key"), message);
        }
        check.subdomain(&format!("{path}.name"), &reference.name, "the name of a ConfigMap");
    }
}
