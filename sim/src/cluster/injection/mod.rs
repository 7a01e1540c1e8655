//! Sidecar injection: what istiod's webhook makes of a pod before it is created.
//!
//! The templates for gRPC without a proxy are played: `grpc-agent`, the agent without Envoy, and `grpc-simple`, a
//! bootstrap without an agent. A pod that would get the Envoy sidecar runs without it, and a note says so.
//!
//! Source: istio `pkg/kube/inject` and `manifests/charts/istio-control/istio-discovery/files/grpc-{agent,simple}.yaml`.

mod annotations;
mod finish;
mod grpc_agent;
pub(crate) mod grpc_simple;
mod manifest;
mod merge;
mod metrics;
mod overlay;
mod proxy_config;
mod proxy_config_fields;
mod quantity;
mod selection;

pub(crate) use grpc_agent::AGENT;
use hermesh_istiod::objects::{Labels, ObjectKey, Pod};
use hermesh_istiod::yaml::nearest;
pub(crate) use proxy_config::{MESH_CONFIG, Sources};
use selection::{Decision, decide};

const TEMPLATES: &str = "inject.istio.io/templates";
/// The templates an istiod with default values knows.
const KNOWN_TEMPLATES: [&str; 7] =
    ["sidecar", "gateway", "grpc-simple", "grpc-agent", "waypoint", "kube-gateway", "agentgateway"];
const GRPC_AGENT: &str = "grpc-agent";
const GRPC_SIMPLE: &str = "grpc-simple";

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
    #[error("annotation inject.istio.io/templates: unknown template `{name}`; {remedy}")]
    UnknownTemplate {
        /// What it names.
        name: String,
        /// The one that is meant, or those there are.
        remedy: String,
    },
    /// The annotation holds no ProxyConfig.
    #[error("annotation proxy.istio.io/config: {0}")]
    ProxyConfig(String),
    /// An annotation has a value that cannot work.
    #[error("annotation {name}: `{value}`: {expected}")]
    Annotation {
        /// The annotation.
        name: String,
        /// Its value.
        value: String,
        /// What is wrong with it, or would work.
        expected: String,
    },
    /// What annotations ask of the node cannot be.
    #[error("annotations sidecar.istio.io/proxy*: {0}")]
    Resources(String),
    /// The mesh's configuration is none.
    #[error("ConfigMap istio of the root namespace, key mesh: {0}")]
    MeshConfig(String),
}

impl InjectionError {
    /// The annotation that is to blame, if it is one.
    pub(crate) fn annotation(&self) -> Option<&str> {
        match self {
            Self::UnknownTemplate { .. } => Some(TEMPLATES),
            Self::ProxyConfig(_) => Some(proxy_config::ANNOTATION),
            Self::Annotation { name, .. } => Some(name),
            Self::Resources(_) | Self::MeshConfig(_) => None,
        }
    }
}

/// What becomes of `pod`.
pub(crate) fn inject(pod: Pod, request: &Request<'_>) -> Result<Injected, InjectionError> {
    match decide(request.namespace, request.namespace_labels, &pod) {
        Decision::Skip => return Ok(Injected { pod, notes: Vec::new() }),
        Decision::Note(note) => return Ok(Injected { pod, notes: vec![note] }),
        Decision::Inject => {}
    }
    let annotations = &pod.metadata.annotations;
    let templates = templates(annotations);
    if let Some(unknown) = templates.iter().find(|name| !KNOWN_TEMPLATES.contains(name)) {
        let remedy = match nearest(unknown, KNOWN_TEMPLATES) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("expected one of {}", KNOWN_TEMPLATES.join(", ")),
        };
        return Err(InjectionError::UnknownTemplate { name: (*unknown).to_owned(), remedy });
    }
    let is_played = |name: &&&str| [GRPC_AGENT, GRPC_SIMPLE].contains(*name);
    let notes = templates.iter().filter(|name| !is_played(name)).map(|name| not_played(name)).collect();
    let played: Vec<&str> = templates.iter().filter(is_played).copied().collect();
    if played.is_empty() {
        return Ok(Injected { pod, notes });
    }
    annotations::check(annotations)?;
    let effective = proxy_config::effective(annotations, &pod.metadata.labels, request)?;
    let render = |name: &str| match name {
        GRPC_AGENT => grpc_agent::render(&pod, &effective, request),
        _ => Ok(grpc_simple::render(&effective, request)),
    };
    let overlays = played.into_iter().map(render).collect::<Result<Vec<_>, _>>()?;
    let mut injected = pod.clone();
    // What is there stays, so that a later template wins over one before it, and the user over all.
    overlays.iter().rev().for_each(|overlay| overlay.lay_over(&mut injected, &pod));
    if overlays.iter().any(|overlay| overlay.mounts_volumes) {
        annotations::check_mounts(&pod.metadata.annotations, &injected.spec.volumes)?;
    }
    finish::finish(&mut injected, &pod, &overlays, &effective);
    Ok(Injected { pod: injected, notes })
}

/// The names of the volumes that injection may add to a pod with these annotations: those of the agent, as a template
/// may yet be asked for, and those of the templates that are. `None` if the annotations cannot be read, which is told
/// when the pod is applied.
pub(crate) fn volume_names(annotations: &Labels) -> Option<Vec<String>> {
    let agents = grpc_agent::volumes(annotations).ok()?;
    let simple = templates(annotations).contains(&GRPC_SIMPLE).then(|| grpc_simple::VOLUME.to_owned());
    Some(agents.into_iter().map(|volume| volume.name).chain(simple).collect())
}

/// The containers that injection adds to a pod with these annotations, or completes, and their images. `agent` is the
/// image of the installation.
pub(crate) fn images(annotations: &Labels, agent: &str) -> Vec<(&'static str, String)> {
    let image = |name: &str| match name {
        GRPC_AGENT => Some((AGENT, grpc_agent::image(annotations, None, agent))),
        GRPC_SIMPLE => Some((grpc_simple::INIT, grpc_simple::IMAGE.to_owned())),
        _ => None,
    };
    templates(annotations).into_iter().filter_map(image).collect()
}

/// Whether this is what the user writes for the image of the template's.
pub(crate) fn asks_for_templates_image(image: &str) -> bool {
    image == "auto"
}

/// The templates that annotations ask for.
fn templates(annotations: &Labels) -> Vec<&str> {
    let templates = annotations.get(TEMPLATES).map_or("sidecar", String::as_str);
    templates.split(',').map(str::trim).collect()
}

fn not_played(template: &str) -> String {
    let what = match template {
        "sidecar" => "the Envoy sidecar".to_owned(),
        other => format!("template `{other}`"),
    };
    format!("{what} is not played here, the pod runs without it; proxyless gRPC asks for {TEMPLATES}: {GRPC_AGENT}")
}

#[cfg(test)]
mod tests;
