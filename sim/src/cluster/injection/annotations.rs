//! Annotations that change what a template makes of a pod, and what is wrong with their values.

use std::collections::BTreeMap;
use std::str::FromStr;

use hermesh_istiod::objects::{Labels, Resources, Volume, VolumeMount};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

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

/// Volumes that the pod gets.
pub(super) fn user_volumes(annotations: &Labels) -> Result<Vec<Volume>, InjectionError> {
    named(annotations, USER_VOLUME, "{\"extra\": {\"configMap\": {\"name\": \"extra\"}}}")
}

/// Where the agent's container sees volumes of the pod.
pub(super) fn user_mounts(annotations: &Labels) -> Result<Vec<VolumeMount>, InjectionError> {
    let mounts: Vec<VolumeMount> = named(annotations, USER_MOUNT, "{\"extra\": {\"mountPath\": \"/etc/extra\"}}")?;
    match mounts.iter().find(|mount| mount.mount_path.is_empty()) {
        Some(mount) => {
            let expected = format!("`{}` needs a mountPath", mount.name);
            Err(wrong(USER_MOUNT, &annotations[USER_MOUNT], expected))
        }
        None => Ok(mounts),
    }
}

/// Refuses a mount of a volume that the pod does not have.
pub(super) fn check_mounts(annotations: &Labels, volumes: &[Volume]) -> Result<(), InjectionError> {
    let mounts = user_mounts(annotations)?;
    let is_there = |mount: &&VolumeMount| volumes.iter().any(|volume| volume.name == mount.name);
    let Some(mount) = mounts.iter().find(|mount| !is_there(mount)) else { return Ok(()) };
    let expected = format!("the pod has no volume `{}`; {USER_VOLUME} adds one", mount.name);
    Err(wrong(USER_MOUNT, &annotations[USER_MOUNT], expected))
}

/// The entries of an annotation in JSON: a mapping by name, or a list of mappings with names.
fn named<T: DeserializeOwned>(annotations: &Labels, name: &str, example: &str) -> Result<Vec<T>, InjectionError> {
    let Some(text) = annotations.get(name) else { return Ok(Vec::new()) };
    let refuse = |why: String| wrong(name, text, why);
    let entry = |key: Option<String>, value: Value| {
        let Value::Object(mut fields) = value else { return Err(format!("expected JSON such as {example}")) };
        if let Some(key) = key {
            fields.insert("name".to_owned(), key.into());
        }
        if fields.get("name").and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(format!("an entry has no name; expected JSON such as {example}"));
        }
        serde_json::from_value(Value::Object(fields)).map_err(|error| error.to_string())
    };
    let entries: Result<Vec<T>, String> = match serde_json::from_str(text) {
        Ok(Value::Object(entries)) => Map::into_iter(entries).map(|(name, value)| entry(Some(name), value)).collect(),
        Ok(Value::Array(entries)) => entries.into_iter().map(|value| entry(None, value)).collect(),
        Ok(_) => Err(format!("expected JSON such as {example}")),
        Err(error) => Err(format!("{error}; expected JSON such as {example}")),
    };
    entries.map_err(refuse)
}

fn wrong(name: &str, value: &str, expected: String) -> InjectionError {
    InjectionError::Annotation { name: name.to_owned(), value: value.to_owned(), expected }
}
