//! Item by item what the templates `grpc-agent` and `grpc-simple` make of a pod: `items.yaml`.

use hermesh_istiod::yaml;

use super::shown::{item, shown};
use super::*;
use crate::cluster::merge_patch;

const ITEMS: &str = include_str!("items.yaml");

#[test]
fn each_item_of_the_templates_is_as_istio_has_it() {
    let mut wrong = Vec::new();
    let sections = read(ITEMS);
    let text = |value: &Value| value.as_str().expect("the table has a text here").to_owned();
    for section in sections.as_array().expect("a list of sections") {
        let templates = text(&section["templates"]);
        for row in section["rows"].as_array().expect("a list of rows") {
            let (what, at, expected) = (text(&row["item"]), text(&row["at"]), &row["is"]);
            let known = ["item", "pod", "at", "is"];
            let fields: Vec<&String> = row.as_object().into_iter().flat_map(serde_json::Map::keys).collect();
            assert!(fields.iter().all(|field| known.contains(&field.as_str())) && row.get("is").is_some(), "{what}");
            let injected = inject_input(&templates, &row["pod"]).unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = item(&shown(&injected.pod), &at);
            if found != *expected {
                wrong.push(format!("{templates}, {what}: at {at} found {found}, expected {expected}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn whole_pods_are_as_they_were() {
    for template in ["grpc-agent", "grpc-simple"] {
        let pod = shown(&inject_input(template, &Value::Null).unwrap().pod);
        insta::assert_snapshot!(template, serde_json::to_string_pretty(&pod).unwrap());
    }
}

/// What becomes of the pod with those templates.
pub(super) fn inject_input(templates: &str, input: &Value) -> Result<Injected, InjectionError> {
    let get = |name: &str| input.get(name).cloned();
    let mut annotations = get("annotations").unwrap_or_else(|| serde_json::json!({}));
    annotations[TEMPLATES] = templates.into();
    let manifest = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "traffic-v1-abc",
            "labels": get("labels").unwrap_or_else(|| serde_json::json!({"app": "traffic"})),
            "annotations": annotations,
        },
        "spec": get("spec").unwrap_or_else(|| serde_json::json!({"containers": [{
            "name": "traffic", "image": "traffic-go-gke:1.0", "readinessProbe": {"httpGet": {"port": 80}},
        }]})),
    });
    let loaded = load("test.yaml", &manifest.to_string(), "shop");
    assert_eq!(loaded.errors, [], "the pod is sound");
    let Some(Object::Pod(pod)) = loaded.objects.into_iter().next() else { panic!("{manifest}") };
    let labels = Labels::from([("istio-injection".to_owned(), "enabled".to_owned())]);
    let workload = ObjectKey::new(Kind::Deployment, "shop", "traffic-v1");
    let sources = Sources { mesh: get("mesh").map(|mesh| mesh.to_string()), objects: Vec::new() };
    try_injected_with(Pod::clone(&pod), &labels, &workload, &sources)
}

pub(super) fn read(text: &str) -> Value {
    let documents = yaml::parse("table", text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"));
    merge_patch::json(&documents[0].root)
}
