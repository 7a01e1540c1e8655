//! What the webhook adds to a pod when all templates are laid over it.

use hermesh_istiod::objects::{Container, Pod};
use serde_json::{Value, json};

use super::overlay::Overlay;
use super::proxy_config::Effective;
use super::{manifest, metrics};

/// What the templates have touched.
const STATUS: &str = "sidecar.istio.io/status";
/// The containers that a template changed, as they were before.
const OVERRIDES: &str = "proxy.istio.io/overrides";

pub(super) fn finish(pod: &mut Pod, original: &Pod, overlays: &[Overlay], effective: &Effective) {
    let annotations = &mut pod.metadata.annotations;
    annotations.extend(metrics::annotations(original, effective));
    annotations.insert(OVERRIDES.to_owned(), overrides(original, overlays).to_string());
    annotations.insert(STATUS.to_owned(), status(original, overlays).to_string());
}

fn overrides(original: &Pod, overlays: &[Overlay]) -> Value {
    let all = |containers: &[Container]| containers.iter().map(manifest::container).collect::<Vec<_>>();
    let mut overrides = json!({"containers": all(&original.spec.containers)});
    let is_touched = |container: &&Container| {
        let mut of_templates = overlays.iter().flat_map(|overlay| &overlay.init_containers);
        of_templates.any(|template| template.name == container.name)
    };
    let init: Vec<Container> = original.spec.init_containers.iter().filter(is_touched).cloned().collect();
    if !init.is_empty() {
        overrides["initContainers"] = json!(all(&init));
    }
    overrides
}

fn status(original: &Pod, overlays: &[Overlay]) -> Value {
    let init = names(overlays.iter().flat_map(|overlay| &overlay.init_containers).map(|container| &container.name));
    let added = overlays.iter().flat_map(|overlay| &overlay.containers);
    let containers = names(added.chain(&original.spec.containers).map(|container| &container.name));
    let volumes = names(overlays.iter().flat_map(|overlay| &overlay.volumes).map(|volume| &volume.name));
    let or_null = |names: Vec<&str>| if names.is_empty() { Value::Null } else { json!(names) };
    json!({
        "initContainers": or_null(init),
        "containers": or_null(containers),
        "volumes": or_null(volumes),
        "imagePullSecrets": null,
        "revision": "default",
    })
}

/// Each name once.
fn names<'a>(all: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut names = Vec::new();
    for name in all {
        if !names.contains(&name.as_str()) {
            names.push(name.as_str());
        }
    }
    names
}
