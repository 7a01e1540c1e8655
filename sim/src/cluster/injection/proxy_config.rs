//! The ProxyConfig that counts for a pod when it is injected, of all there are.
//!
//! The built-in defaults come first, then the mesh's `defaultConfig`, the ProxyConfigs without a selector of the root
//! namespace and of the pod's, the annotation `proxy.istio.io/config`, and the ProxyConfig of the pod's namespace whose
//! selector is for the pod. Later ones win, field by field; `proxyMetadata` is merged; of several equals the oldest
//! counts.
//!
//! Source: istio `pilot/pkg/model/proxy_config.go` (`EffectiveProxyConfig`) and `pkg/kube/inject/template.go`
//! (`cleanProxyConfig`).

use std::sync::Arc;

use hermesh_istiod::objects::{Labels, ProxyConfig, selects};
use hermesh_istiod::yaml::{self, Location};
use serde_json::{Map, Value, json};

use super::proxy_config_fields::typed;
use super::{InjectionError, Request};

pub(super) const ANNOTATION: &str = "proxy.istio.io/config";
/// The mesh's configuration: a ConfigMap of the root namespace, and the key in it.
pub(crate) const MESH_CONFIG: (&str, &str) = ("istio", "mesh");

/// What there is besides the annotation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// The text of the mesh's configuration.
    pub(crate) mesh: Option<String>,
    /// All ProxyConfigs.
    pub(crate) objects: Vec<Arc<ProxyConfig>>,
}

/// The effective ProxyConfig, without the built-in defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Effective {
    pub(super) config: Map<String, Value>,
    /// Whether the application waits for the agent, of which ProxyConfigs say nothing.
    pub(super) hold: bool,
    /// Whether the agent serves the application's metrics with its own (`enablePrometheusMerge` of the mesh).
    pub(super) merge_metrics: bool,
    /// Whether sidecars of the mesh reach their applications at `localhost` (`inboundTrafficPolicy: LOCALHOST`).
    pub(super) inbound_to_localhost: bool,
}

impl Effective {
    /// An entry of `proxyMetadata`.
    pub(super) fn metadata(&self, name: &str) -> Option<&str> {
        self.config.get("proxyMetadata")?.get(name)?.as_str()
    }
}

pub(super) fn effective(
    annotations: &Labels,
    labels: &Labels,
    request: &Request<'_>,
) -> Result<Effective, InjectionError> {
    let mut of_mesh = match &request.proxy_configs.mesh {
        Some(text) => mapping(text).map_err(InjectionError::MeshConfig)?,
        None => Map::new(),
    };
    let merge_metrics = of_mesh.get("enablePrometheusMerge").and_then(Value::as_bool).unwrap_or(true);
    let inbound = of_mesh.get("inboundTrafficPolicy").and_then(|policy| policy.get("mode")).and_then(Value::as_str);
    let inbound_to_localhost = inbound == Some("LOCALHOST");
    let mesh = match of_mesh.remove("defaultConfig") {
        Some(Value::Object(config)) => {
            typed(config).map_err(|error| InjectionError::MeshConfig(format!("defaultConfig.{error}")))?
        }
        _ => Map::new(),
    };
    let annotation = match annotations.get(ANNOTATION) {
        Some(text) => mapping(text).and_then(typed).map_err(InjectionError::ProxyConfig)?,
        None => Map::new(),
    };
    let of = |namespace: &str, of_pod: bool| {
        let all = request.proxy_configs.objects.iter().filter(|config| config.metadata.namespace == namespace);
        let fits = all.filter(|config| match config.spec.labels() {
            Some(selector) => of_pod && selects(selector, labels),
            None => !of_pod,
        });
        fits.min_by_key(|config| config.metadata.age()).map(|config| fields(config)).unwrap_or_default()
    };
    let (root, own) = (request.values.istio_namespace.as_str(), request.namespace);
    let hold = |config: &Map<String, Value>| config.get("holdApplicationUntilProxyStarts").and_then(Value::as_bool);
    let hold = hold(&annotation).or_else(|| hold(&mesh)).unwrap_or(request.values.hold_application);
    let mut config = Map::new();
    for layer in
        [mesh, of(root, false), if own == root { Map::new() } else { of(own, false) }, annotation, of(own, true)]
    {
        overlay(&mut config, layer);
    }
    config.retain(|name, value| !is_default(name, value, root));
    Ok(Effective { config, hold, merge_metrics, inbound_to_localhost })
}

/// What a ProxyConfig says, in the terms of the annotation.
fn fields(config: &ProxyConfig) -> Map<String, Value> {
    let mut fields = Map::new();
    if let Some(concurrency) = config.spec.concurrency {
        fields.insert("concurrency".to_owned(), json!(concurrency));
    }
    if !config.spec.environment_variables.is_empty() {
        fields.insert("proxyMetadata".to_owned(), json!(config.spec.environment_variables));
    }
    if let Some(image) = &config.spec.image {
        fields.insert("image".to_owned(), json!({"imageType": image.image_type}));
    }
    fields
}

fn overlay(config: &mut Map<String, Value>, later: Map<String, Value>) {
    for (name, value) in later {
        match (config.get_mut(&name), value) {
            (Some(Value::Object(metadata)), Value::Object(more)) if name == "proxyMetadata" => metadata.extend(more),
            (_, value) => {
                config.insert(name, value);
            }
        }
    }
}

/// Whether a field says no more than what holds without it.
fn is_default(name: &str, value: &Value, root: &str) -> bool {
    let default = match name {
        "configPath" => json!("./etc/istio/proxy"),
        "binaryPath" => json!("/usr/local/bin/envoy"),
        "serviceCluster" => json!("istio-proxy"),
        "drainDuration" => json!("45s"),
        "terminationDrainDuration" => json!("5s"),
        "discoveryAddress" => json!(format!("istiod.{root}.svc:15012")),
        "controlPlaneAuthPolicy" => json!("MUTUAL_TLS"),
        "proxyAdminPort" => json!(15000),
        "statNameLength" => json!(189),
        "statusPort" => json!(15020),
        "proxyMetadata" => json!({}),
        _ => return false,
    };
    *value == default
}

/// A mapping in YAML, or JSON.
fn mapping(text: &str) -> Result<Map<String, Value>, String> {
    let documents = yaml::parse(ANNOTATION, text).map_err(|errors| errors[0].to_string())?;
    let Some(document) = documents.first() else { return Ok(Map::new()) };
    let config = yaml::from_node(&document.root, &Location::in_file(ANNOTATION));
    match config.map_err(|errors| errors[0].to_string())? {
        Value::Object(config) => Ok(config),
        Value::Null => Ok(Map::new()),
        other => Err(format!("expected a mapping, found `{other}`")),
    }
}
