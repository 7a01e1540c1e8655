//! Istio's ProxyConfig: the built-in defaults, and who may overlay them in which order.
//!
//! `pkg/config/mesh` and `pkg/bootstrap/option`: defaults, then the mesh file's `defaultConfig`, the environment's
//! `PROXY_CONFIG`, the annotation `proxy.istio.io/config`, and two annotations for single fields. Fields replace
//! fields, lists replace lists, `proxyMetadata` is merged.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::health::ReadinessProbe;
use crate::yaml;

/// The annotation that overlays the whole.
const CONFIG_ANNOTATION: &str = "proxy.istio.io/config";
const DISCOVERY_ADDRESS_ANNOTATION: &str = "sidecar.istio.io/discoveryAddress";
const STATUS_PORT_ANNOTATION: &str = "status.sidecar.istio.io/port";

/// What the agent reads of a ProxyConfig, and the whole of it for the node's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyConfig {
    /// Where the bootstrap and the Unix socket live.
    pub config_path: String,
    /// `host:port` of istiod.
    pub discovery_address: String,
    /// Whether istiod is reached over TLS (`controlPlaneAuthPolicy` is not `NONE`).
    pub control_plane_tls: bool,
    /// Where readiness is served; 0 turns the status server off.
    pub status_port: u16,
    /// Becomes node metadata where a key starts with `ISTIO_META_`.
    pub proxy_metadata: BTreeMap<String, String>,
    /// How the application's health is found out, if istiod wants to know.
    pub readiness_probe: Option<ReadinessProbe>,
    /// All fields, in proto-JSON.
    pub json: Map<String, Value>,
}

/// A ProxyConfig that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyConfigError {
    /// The text is no YAML mapping.
    #[error("ProxyConfig from {from}: {problem}")]
    Syntax {
        /// Which of the sources.
        from: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A field has a value that cannot work.
    #[error("ProxyConfig field `{field}`: {problem}")]
    Field {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

/// Where a ProxyConfig comes from, besides the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources<'a> {
    /// The mesh file, whose `defaultConfig` counts.
    pub mesh_file: Option<&'a str>,
    /// The variable `PROXY_CONFIG`.
    pub environment: Option<&'a str>,
    /// The pod's annotations.
    pub annotations: Option<&'a BTreeMap<String, String>>,
}

impl ProxyConfig {
    /// The effective configuration.
    ///
    /// # Errors
    /// If a source does not parse or the outcome cannot work.
    pub fn effective(sources: &Sources<'_>) -> Result<Self, ProxyConfigError> {
        let mut fields = defaults();
        if let Some(text) = sources.mesh_file {
            let mut mesh = mapping("the mesh file", text)?;
            match mesh.remove("defaultConfig") {
                None | Some(Value::Null) => {}
                Some(Value::Object(overlay)) => apply(&mut fields, overlay),
                Some(_) => return Err(field("defaultConfig", "expected a mapping")),
            }
        }
        if let Some(text) = sources.environment {
            apply(&mut fields, mapping("PROXY_CONFIG", text)?);
        }
        if let Some(annotations) = sources.annotations {
            if let Some(text) = annotations.get(CONFIG_ANNOTATION) {
                apply(&mut fields, mapping("annotation proxy.istio.io/config", text)?);
            }
            if let Some(address) = annotations.get(DISCOVERY_ADDRESS_ANNOTATION) {
                fields.insert("discoveryAddress".to_owned(), address.clone().into());
            }
            if let Some(port) = annotations.get(STATUS_PORT_ANNOTATION) {
                let port: u16 = port.parse().map_err(|_| field("statusPort", format!("`{port}` is no port")))?;
                fields.insert("statusPort".to_owned(), port.into());
            }
        }
        Self::from_fields(fields)
    }

    fn from_fields(json: Map<String, Value>) -> Result<Self, ProxyConfigError> {
        let text = |name: &'static str| match json.get(name) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.clone()),
            Some(Value::String(_)) | None | Some(Value::Null) => Err(field(name, "must not be empty")),
            Some(other) => Err(field(name, format!("expected text, found {other}"))),
        };
        let discovery_address = text("discoveryAddress")?;
        let port = discovery_address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
        if port.is_none_or(|port| port.parse::<u16>().is_err()) {
            return Err(field("discoveryAddress", format!("`{discovery_address}` is not `host:port`")));
        }
        let control_plane_tls = match text("controlPlaneAuthPolicy")?.as_str() {
            "MUTUAL_TLS" => true,
            "NONE" => false,
            other => return Err(field("controlPlaneAuthPolicy", format!("`{other}` is not MUTUAL_TLS or NONE"))),
        };
        let status_port = json.get("statusPort").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let mut proxy_metadata = BTreeMap::new();
        if let Some(Value::Object(metadata)) = json.get("proxyMetadata") {
            for (name, value) in metadata {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                proxy_metadata.insert(name.clone(), value);
            }
        }
        let probe = json.get("readinessProbe").filter(|probe| !probe.is_null()).cloned();
        let probe = probe.map(ReadinessProbe::try_from).transpose();
        Ok(Self {
            config_path: text("configPath")?,
            discovery_address,
            control_plane_tls,
            status_port: status_port.ok_or_else(|| field("statusPort", "expected a port from 0 to 65535"))?,
            proxy_metadata,
            readiness_probe: probe.map_err(|problem| field("readinessProbe", problem))?,
            json,
        })
    }
}

/// `mesh.DefaultProxyConfig`.
fn defaults() -> Map<String, Value> {
    let Value::Object(defaults) = json!({
        "binaryPath": "/usr/local/bin/envoy",
        "configPath": "./etc/istio/proxy",
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "drainDuration": "45s",
        "proxyAdminPort": 15000,
        "serviceCluster": "istio-proxy",
        "statNameLength": 189,
        "statusPort": 15020,
        "terminationDrainDuration": "5s",
    }) else {
        unreachable!("it is written as a mapping")
    };
    defaults
}

fn mapping(from: &'static str, text: &str) -> Result<Map<String, Value>, ProxyConfigError> {
    match yaml::parse(text) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(Value::Null) => Ok(Map::new()),
        Ok(_) => Err(ProxyConfigError::Syntax { from, problem: "expected a mapping".to_owned() }),
        Err(problem) => Err(ProxyConfigError::Syntax { from, problem }),
    }
}

fn apply(fields: &mut Map<String, Value>, overlay: Map<String, Value>) {
    for (name, value) in overlay {
        match (name.as_str(), fields.get_mut(&name), value) {
            (_, _, Value::Null) => {}
            ("proxyMetadata", Some(Value::Object(metadata)), Value::Object(overlay)) => metadata.extend(overlay),
            (_, _, value) => {
                fields.insert(name, value);
            }
        }
    }
}

fn field(field: &'static str, problem: impl Into<String>) -> ProxyConfigError {
    ProxyConfigError::Field { field, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annotation_beats_environment_beats_mesh_file_beats_defaults() {
        let annotations = BTreeMap::from([(
            CONFIG_ANNOTATION.to_owned(),
            "discoveryAddress: annotation:15012\nproxyMetadata: {C: '3'}".to_owned(),
        )]);
        let config = ProxyConfig::effective(&Sources {
            mesh_file: Some("defaultConfig: {discoveryAddress: 'mesh:1', configPath: /p, proxyMetadata: {A: '1'}}"),
            environment: Some(r#"{"discoveryAddress":"env:2","statusPort":15021,"proxyMetadata":{"B":"2"}}"#),
            annotations: Some(&annotations),
        })
        .unwrap();
        assert_eq!(config.discovery_address, "annotation:15012");
        assert_eq!(config.status_port, 15021);
        assert_eq!(config.config_path, "/p");
        assert_eq!(config.proxy_metadata.keys().collect::<Vec<_>>(), ["A", "B", "C"]);
        assert_eq!(config.json["drainDuration"], "45s");
    }

    #[test]
    fn single_field_annotations_win_over_all() {
        let annotations = BTreeMap::from([
            (CONFIG_ANNOTATION.to_owned(), "discoveryAddress: a:1".to_owned()),
            (DISCOVERY_ADDRESS_ANNOTATION.to_owned(), "b:2".to_owned()),
            (STATUS_PORT_ANNOTATION.to_owned(), "0".to_owned()),
        ]);
        let config =
            ProxyConfig::effective(&Sources { annotations: Some(&annotations), ..Sources::default() }).unwrap();
        assert_eq!((config.discovery_address.as_str(), config.status_port), ("b:2", 0));
    }

    #[test]
    fn a_configuration_that_cannot_work_names_its_field() {
        for (text, named) in [
            ("discoveryAddress: istiod", "discoveryAddress"),
            ("statusPort: 70000", "statusPort"),
            ("configPath: ''", "configPath"),
            ("controlPlaneAuthPolicy: MAYBE", "controlPlaneAuthPolicy"),
            ("readinessProbe: {tcpSocket: {port: 0}}", "readinessProbe"),
            ("- a", "PROXY_CONFIG"),
        ] {
            let sources = Sources { environment: Some(text), ..Sources::default() };
            let error = ProxyConfig::effective(&sources).unwrap_err().to_string();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}
