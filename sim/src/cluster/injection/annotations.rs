//! Annotations that change what a template makes of a pod, and what is wrong with their values.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use hermesh_istiod::objects::{Labels, Resources, Volume, VolumeMount, load};
use hermesh_istiod::yaml::Diagnostic;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::InjectionError;
use super::quantity::Quantity;

pub(super) const STATUS_PORT_ANNOTATION: &str = "status.sidecar.istio.io/port";
pub(super) const MERGE_METRICS: &str = "prometheus.istio.io/merge-metrics";
const USER_VOLUME: &str = "sidecar.istio.io/userVolume";
const USER_MOUNT: &str = "sidecar.istio.io/userVolumeMount";
/// What the container asks for and what it gets at most, if no annotation says otherwise
/// (`global.proxy.resources`).
const REQUESTS: [(&str, &str); 2] = [("cpu", "100m"), ("memory", "128Mi")];
const LIMITS: [(&str, &str); 2] = [("cpu", "2"), ("memory", "1Gi")];

/// Looks at those annotations whose values the webhook checks whatever becomes of them.
pub(super) fn check(annotations: &Labels) -> Result<(), InjectionError> {
    parsed::<u16>(annotations, STATUS_PORT_ANNOTATION, "a port from 0 to 65535")?;
    parsed::<bool>(annotations, MERGE_METRICS, "`true` or `false`")?;
    Ok(())
}

/// The value of an annotation; `None` without it.
pub(super) fn parsed<T: FromStr>(
    annotations: &Labels,
    name: &str,
    expected: &str,
) -> Result<Option<T>, InjectionError> {
    let parse = |text: &String| text.parse().map_err(|_| wrong(name, text, format!("expected {expected}")));
    annotations.get(name).map(parse).transpose()
}

/// What the agent's container asks of its node. With one of the four annotations, all of the installation's own
/// numbers are gone.
pub(super) fn resources(annotations: &Labels) -> Result<Resources, InjectionError> {
    let mut amounts = [BTreeMap::new(), BTreeMap::new()];
    let names = [("proxyCPU", 0, "cpu"), ("proxyMemory", 0, "memory")].into_iter();
    let mut is_any = false;
    for (name, list, resource) in names.chain([("proxyCPULimit", 1, "cpu"), ("proxyMemoryLimit", 1, "memory")]) {
        let name = format!("sidecar.istio.io/{name}");
        let amount: Option<Quantity> = parsed(annotations, &name, "an amount such as `100m` or `128Mi`")?;
        if let Some(amount) = amount {
            is_any = true;
            amounts[list].insert(resource.to_owned(), amount);
        }
    }
    let [requests, limits] = amounts;
    for (resource, request) in &requests {
        if let Some(limit) = limits.get(resource).filter(|limit| *limit < request) {
            let message =
                format!("the agent's container asks for {request} of {resource}, and may have {limit} at most");
            return Err(InjectionError::Resources(message));
        }
    }
    let default = |list: [(&str, &str); 2]| list.map(|(name, amount)| (name.to_owned(), amount.to_owned())).into();
    let texts = |amounts: BTreeMap<String, Quantity>| {
        amounts.into_iter().map(|(name, amount)| (name, amount.to_string())).collect()
    };
    Ok(if is_any {
        Resources { requests: texts(requests), limits: texts(limits) }
    } else {
        Resources { requests: default(REQUESTS), limits: default(LIMITS) }
    })
}

/// Volumes that the pod gets beside the template's.
pub(super) fn user_volumes(annotations: &Labels, template: &[Volume]) -> Result<Vec<Volume>, InjectionError> {
    let of_pod = |entries: &[Value]| {
        let taken = template.iter().map(|volume| json!({"name": volume.name}));
        let volumes: Vec<Value> = taken.chain(entries.iter().cloned()).collect();
        json!({"containers": [{"name": "agent", "image": "agent"}], "volumes": volumes})
    };
    let example = "{\"extra\": {\"configMap\": {\"name\": \"extra\"}}}";
    named(annotations, USER_VOLUME, example, ("spec.volumes", template.len()), of_pod)
}

/// Where the agent's container sees volumes of the pod, beside the template's.
pub(super) fn user_mounts(annotations: &Labels, template: &[VolumeMount]) -> Result<Vec<VolumeMount>, InjectionError> {
    let of_pod = |entries: &[Value]| {
        let taken = template.iter().map(|mount| json!({"name": mount.name, "mountPath": mount.mount_path}));
        let mounts: Vec<Value> = taken.chain(entries.iter().cloned()).collect();
        // Whether the pod has the volume shows when all templates are laid over it.
        let names: BTreeSet<&str> = mounts.iter().filter_map(|mount| mount["name"].as_str()).collect();
        let volumes: Vec<Value> = names.iter().map(|name| json!({"name": name})).collect();
        json!({"containers": [{"name": "agent", "image": "agent", "volumeMounts": mounts}], "volumes": volumes})
    };
    let example = "{\"extra\": {\"mountPath\": \"/etc/extra\"}}";
    named(annotations, USER_MOUNT, example, ("spec.containers[0].volumeMounts", template.len()), of_pod)
}

/// Refuses a mount of a volume that the pod does not have.
pub(super) fn check_mounts(annotations: &Labels, volumes: &[Volume]) -> Result<(), InjectionError> {
    let mounts = user_mounts(annotations, &[])?;
    let is_there = |mount: &&VolumeMount| volumes.iter().any(|volume| volume.name == mount.name);
    let Some(mount) = mounts.iter().find(|mount| !is_there(mount)) else { return Ok(()) };
    let expected = format!("the pod has no volume `{}`; {USER_VOLUME} adds one", mount.name);
    Err(wrong(USER_MOUNT, &annotations[USER_MOUNT], expected))
}

/// The entries of an annotation in JSON: a mapping by name, or a list of mappings with names. `of_pod` makes the spec
/// of a pod of them, in which they are at the field `at`, after so many others.
fn named<T: DeserializeOwned>(
    annotations: &Labels,
    name: &str,
    example: &str,
    at: (&str, usize),
    of_pod: impl Fn(&[Value]) -> Value,
) -> Result<Vec<T>, InjectionError> {
    let Some(text) = annotations.get(name) else { return Ok(Vec::new()) };
    let refuse = |why: String| wrong(name, text, why);
    let entry = |key: Option<String>, value: Value| -> Result<Value, String> {
        let Value::Object(mut fields) = value else { return Err(format!("expected JSON such as {example}")) };
        if let Some(key) = key {
            fields.insert("name".to_owned(), key.into());
        }
        if fields.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(format!("an entry has no name; expected JSON such as {example}"));
        }
        Ok(Value::Object(fields))
    };
    let entries: Result<Vec<Value>, String> = match serde_json::from_str(text) {
        Ok(Value::Object(entries)) => Map::into_iter(entries).map(|(name, value)| entry(Some(name), value)).collect(),
        Ok(Value::Array(entries)) => entries.into_iter().map(|value| entry(None, value)).collect(),
        Ok(_) => Err(format!("expected JSON such as {example}")),
        Err(error) => Err(format!("{error}; expected JSON such as {example}")),
    };
    let entries = entries.map_err(refuse)?;
    mistakes(&entries, at, &of_pod(&entries)).map_err(refuse)?;
    let read = |entry| serde_json::from_value(entry).map_err(|error| refuse(error.to_string()));
    entries.into_iter().map(read).collect()
}

/// What the API server has against the pod that would come of it, as far as these entries are to blame.
fn mistakes(entries: &[Value], (at, others): (&str, usize), spec: &Value) -> Result<(), String> {
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec});
    let said = |error: &Diagnostic| {
        let field = error.location.field.as_deref()?.strip_prefix(at)?.strip_prefix('[')?;
        let (index, field) = field.split_once(']')?;
        let entry = entries.get(index.parse::<usize>().ok()?.checked_sub(others)?)?;
        let name = entry["name"].as_str().unwrap_or_default();
        let field = field.trim_start_matches('.');
        let place = if field.is_empty() { format!("`{name}`") } else { format!("{field} of `{name}`") };
        let help = error.help.iter().map(|help| format!("; {help}")).collect::<String>();
        Some(format!("{place}: {}{help}", error.message))
    };
    let said: Vec<String> = load("pod", &pod.to_string(), "default").errors.iter().filter_map(said).collect();
    if said.is_empty() { Ok(()) } else { Err(said.join("; ")) }
}

fn wrong(name: &str, value: &str, expected: String) -> InjectionError {
    InjectionError::Annotation { name: name.to_owned(), value: value.to_owned(), expected }
}
