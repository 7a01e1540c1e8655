//! Sidecar injection: what istiod's webhook makes of a pod before it is created.
//!
//! Only the template `grpc-agent` is played: the agent without Envoy. A pod that would get the Envoy sidecar runs
//! without it, and a note says so. Left out is what only people read: resource limits and the annotation
//! `proxy.istio.io/overrides`.
//!
//! Source: istio `pkg/kube/inject` and `manifests/charts/istio-control/istio-discovery/files/grpc-agent.yaml`.

mod merge;
mod proxy_config;
mod selection;
mod template;

use hermesh_istiod::objects::{Labels, ObjectKey, Pod};
use proxy_config::Effective;
pub(crate) use proxy_config::{MESH_CONFIG, Sources};
use selection::{Decision, decide};
pub(crate) use template::volume_names;

const TEMPLATES: &str = "inject.istio.io/templates";
/// The templates an istiod with default values knows.
const KNOWN_TEMPLATES: [&str; 6] = ["sidecar", "gateway", "grpc-simple", "grpc-agent", "waypoint", "kube-gateway"];
const GRPC_AGENT: &str = "grpc-agent";

/// What the webhook is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) namespace_labels: &'a Labels,
    /// The workload that the pod belongs to; `None` for a pod of its own.
    pub(crate) workload: Option<&'a ObjectKey>,
    pub(crate) values: &'a Values,
    pub(crate) proxy_configs: &'a Sources,
}

/// The installation's choices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Values {
    /// The agent's image.
    pub(crate) image: String,
    pub(crate) trust_domain: String,
    pub(crate) istio_namespace: String,
    /// `meshConfig.defaultConfig.holdApplicationUntilProxyStarts`.
    pub(crate) hold_application: bool,
}

/// The pod to create, and what there is to say about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Injected {
    pub(crate) pod: Pod,
    pub(crate) notes: Vec<String>,
}

/// Why the webhook refuses a pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum InjectionError {
    /// The annotation names a template that istiod does not have.
    #[error("annotation inject.istio.io/templates: unknown template `{name}`; expected one of {known}")]
    UnknownTemplate {
        /// What it names.
        name: String,
        /// Those there are.
        known: String,
    },
    /// The annotation holds no ProxyConfig.
    #[error("annotation proxy.istio.io/config: {0}")]
    ProxyConfig(String),
    /// The mesh's configuration is none.
    #[error("ConfigMap istio of the root namespace, key mesh: {0}")]
    MeshConfig(String),
}

/// What becomes of `pod`.
pub(crate) fn inject(pod: Pod, request: &Request<'_>) -> Result<Injected, InjectionError> {
    match decide(request.namespace, request.namespace_labels, &pod) {
        Decision::Skip => return Ok(Injected { pod, notes: Vec::new() }),
        Decision::Note(note) => return Ok(Injected { pod, notes: vec![note] }),
        Decision::Inject => {}
    }
    let annotations = &pod.metadata.annotations;
    let templates = annotations.get(TEMPLATES).map_or("sidecar", String::as_str);
    let templates: Vec<&str> = templates.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = templates.iter().find(|name| !KNOWN_TEMPLATES.contains(name)) {
        return Err(InjectionError::UnknownTemplate { name: (*unknown).to_owned(), known: KNOWN_TEMPLATES.join(", ") });
    }
    let notes = templates.iter().filter(|name| **name != GRPC_AGENT).map(|name| not_played(name)).collect();
    if !templates.contains(&GRPC_AGENT) {
        return Ok(Injected { pod, notes });
    }
    let effective = proxy_config::effective(annotations, &pod.metadata.labels, request)?;
    Ok(Injected { pod: grpc_agent(pod, &effective, request), notes })
}

fn not_played(template: &str) -> String {
    let what = match template {
        "sidecar" => "the Envoy sidecar".to_owned(),
        other => format!("template `{other}`"),
    };
    format!("{what} is not played here, the pod runs without it; proxyless gRPC asks for {TEMPLATES}: {GRPC_AGENT}")
}

/// Applies the template `grpc-agent`. What the user wrote wins over what the template says.
fn grpc_agent(mut pod: Pod, effective: &Effective, request: &Request<'_>) -> Pod {
    let rendered = template::render(&pod, effective, request);
    let (own_agents, mut containers): (Vec<_>, Vec<_>) =
        std::mem::take(&mut pod.spec.containers).into_iter().partition(|container| container.name == template::AGENT);
    for container in &mut containers {
        merge::fill(container, &rendered.application);
    }
    let agent = match own_agents.into_iter().next() {
        Some(mut own) => {
            // `image: auto` asks for the template's.
            if own.image == "auto" {
                own.image.clear();
            }
            merge::fill(&mut own, &rendered.agent);
            own
        }
        None => rendered.agent,
    };
    containers.insert(if rendered.hold { 0 } else { containers.len() }, agent);
    pod.spec.containers = containers;
    merge::fill_list(&mut pod.spec.volumes, &rendered.volumes, |volume| volume.name.clone());
    pod.metadata.labels.extend(rendered.labels);
    pod.metadata.annotations.extend(rendered.annotations);
    pod
}

#[cfg(test)]
mod tests;
