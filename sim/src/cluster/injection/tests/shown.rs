//! A pod as `kubectl get pod -o yaml` would show it, and the way to one of its items.

use hermesh_istiod::objects::{Container, Pod, ProjectedSource, Volume, VolumeSource};
use serde_json::{Map, Value, json};

use super::super::manifest;

/// The pod, and under `order` the names in the order of the lists.
pub(super) fn shown(pod: &Pod) -> Value {
    let PodLists { containers, init_containers, volumes } = lists(pod);
    let spec = json!({"initContainers": init_containers, "containers": containers, "volumes": volumes});
    json!({"metadata": {"labels": pod.metadata.labels, "annotations": pod.metadata.annotations}, "spec": spec})
}

/// What is at `path`, whose parts stand between ` > `: fields, names of list items (or their mount paths), `@names` for
/// the names of all items of a list, and `@json` for the JSON in a text.
pub(super) fn item(pod: &Value, path: &str) -> Value {
    let step = |value: Value, part: &str| match (&value, part) {
        (Value::String(text), "@json") => serde_json::from_str(text).expect("the text is JSON"),
        (Value::Array(items), "@names") => items.iter().map(|item| name(item).to_owned()).collect(),
        (Value::Array(items), wanted) => {
            let found = items.iter().find(|item| name(item) == wanted);
            found.cloned().unwrap_or(Value::Null)
        }
        (value, field) => value.get(field).cloned().unwrap_or(Value::Null),
    };
    path.split(" > ").fold(pod.clone(), step)
}

fn name(item: &Value) -> &str {
    ["mountPath", "name"].iter().find_map(|key| item.get(*key)).and_then(Value::as_str).unwrap_or_default()
}

struct PodLists {
    containers: Vec<Value>,
    init_containers: Vec<Value>,
    volumes: Vec<Value>,
}

fn lists(pod: &Pod) -> PodLists {
    let all = |containers: &[Container]| containers.iter().map(manifest::container).collect();
    PodLists {
        containers: all(&pod.spec.containers),
        init_containers: all(&pod.spec.init_containers),
        volumes: pod.spec.volumes.iter().map(volume).collect(),
    }
}

fn volume(volume: &Volume) -> Value {
    let (name, source) = match &volume.source {
        VolumeSource::EmptyDir(source) if source.medium.is_empty() => ("emptyDir", json!({})),
        VolumeSource::EmptyDir(source) => ("emptyDir", json!({"medium": source.medium})),
        VolumeSource::ConfigMap(source) => ("configMap", json!({"name": source.name})),
        VolumeSource::Projected(source) => {
            ("projected", json!({"sources": source.sources.iter().map(projected).collect::<Vec<_>>()}))
        }
        VolumeSource::DownwardApi(source) => {
            let item = |path: &str, field: &str| json!({"path": path, "fieldRef": {"fieldPath": field}});
            let items = source.items.iter().map(|it| item(&it.path, &it.field_ref.field_path));
            ("downwardAPI", json!({"items": items.collect::<Vec<_>>()}))
        }
    };
    Value::Object(Map::from_iter([("name".to_owned(), json!(volume.name)), (name.to_owned(), source)]))
}

fn projected(source: &ProjectedSource) -> Value {
    let token = source.service_account_token.as_ref().expect("injection projects tokens alone");
    json!({"serviceAccountToken": {
        "audience": token.audience, "expirationSeconds": token.expiration_seconds, "path": token.path,
    }})
}
