//! The gRPC bootstrap file, in the exact shape istio-agent gives it.
//!
//! `pkg/istio-agent/grpcxds/grpc_bootstrap.go` and `pkg/bootstrap/config.go`. Field order, the odd
//! `UserAgentVersionType` and the slashes of the server's URI are Istio's: readers must cope with them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::settings::Settings;

/// The version of Istio whose agent this one stands for, unless `ISTIO_META_ISTIO_VERSION` names another.
pub const ISTIO_VERSION: &str = "1.32.0";

/// What `file_watcher` waits between two looks at the files; Istio hard-codes it.
const REFRESH_INTERVAL: &str = "900s";
const LISTENER_TEMPLATE: &str = "xds.istio.io/grpc/lds/inbound/%s";

const LOCALITY_LABELS: [&str; 2] = ["topology.istio.io/locality", "istio-locality"];

/// Node metadata of kind text that may come from the environment; istio-agent drops what its typed struct lacks.
const TEXT_KEYS: [&str; 25] = [
    "APP_CONTAINERS",
    "AUTO_REGISTER_GROUP",
    "CLUSTER_ID",
    "HTTP10",
    "IDLE_TIMEOUT",
    "INTERCEPTION_MODE",
    "ISTIO_PROXY_SHA",
    "ISTIO_VERSION",
    "MESH_ID",
    "NAME",
    "NAMESPACE",
    "NETWORK",
    "NODE_NAME",
    "OWNER",
    "POD_PORTS",
    "REQUESTED_NETWORK_VIEW",
    "ROUTER_MODE",
    "SERVICE_ACCOUNT",
    "TLS_CLIENT_CERT_CHAIN",
    "TLS_CLIENT_KEY",
    "TLS_CLIENT_ROOT_CERT",
    "TLS_SERVER_CERT_CHAIN",
    "TLS_SERVER_KEY",
    "TLS_SERVER_ROOT_CERT",
    "WORKLOAD_NAME",
];

/// Booleans that travel as text, and only when true.
const FLAG_KEYS: [&str; 4] = ["DISABLE_HBONE_SEND", "DNS_AUTO_ALLOCATE", "DNS_CAPTURE", "ENABLE_HBONE"];

/// The bootstrap as JSON.
#[must_use]
pub fn bootstrap(settings: &Settings) -> Value {
    let mut bootstrap = json!({
        "xds_servers": [{
            "server_uri": format!("unix:///{}", settings.socket_path_in_bootstrap()),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }],
        "node": {
            "id": node_id(settings),
            "metadata": metadata(settings),
            "locality": locality(settings),
            "UserAgentVersionType": null,
        },
    });
    if let Some(directory) = &settings.output_certs {
        let file = |name: &str| directory.join(name).display().to_string();
        bootstrap["certificate_providers"] = json!({
            "default": {
                "plugin_name": "file_watcher",
                "config": {
                    "certificate_file": file("cert-chain.pem"),
                    "private_key_file": file("key.pem"),
                    "ca_certificate_file": file("root-cert.pem"),
                    "refresh_interval": REFRESH_INTERVAL,
                },
            },
        });
    }
    bootstrap["server_listener_resource_name_template"] = LISTENER_TEMPLATE.into();
    bootstrap
}

/// The file's contents: indented by two spaces, without a newline at the end.
#[must_use]
pub fn bootstrap_file(settings: &Settings) -> Vec<u8> {
    serde_json::to_vec_pretty(&bootstrap(settings)).expect("JSON values always have a text form")
}

/// `sidecar~<first address>~<pod>.<namespace>~<dns domain>`.
#[must_use]
pub fn node_id(settings: &Settings) -> String {
    let address = settings.addresses.first().map(ToString::to_string).unwrap_or_default();
    format!("sidecar~{address}~{}.{}~{}", settings.pod_name, settings.pod_namespace, settings.dns_domain)
}

/// Whether `text` is a bootstrap that readiness accepts, and the files its certificate provider names.
///
/// # Errors
/// If it is no JSON object with servers, as a message.
pub fn certificate_files(text: &[u8]) -> Result<Vec<String>, String> {
    let bootstrap: Value = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if bootstrap.get("xds_servers").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return Err("`xds_servers` is missing or empty".to_owned());
    }
    let providers = bootstrap.get("certificate_providers").and_then(Value::as_object);
    let watcher = providers
        .into_iter()
        .flat_map(Map::values)
        .find(|provider| provider.get("plugin_name").and_then(Value::as_str) == Some("file_watcher"));
    let Some(config) = watcher.and_then(|provider| provider.get("config")) else { return Ok(Vec::new()) };
    let files = ["certificate_file", "private_key_file", "ca_certificate_file"];
    Ok(files.iter().filter_map(|name| config.get(name)?.as_str().map(str::to_owned)).collect())
}

fn metadata(settings: &Settings) -> Value {
    let mut metadata: BTreeMap<String, Value> = BTreeMap::new();
    let mut set = |name: &str, value: Value| metadata.insert(name.to_owned(), value);

    set("ENVOY_PROMETHEUS_PORT", 15090.into());
    set("ENVOY_SKIP_DEPRECATED_LOGS", "true".into());
    set("ENVOY_STATUS_PORT", 15021.into());
    set("ISTIO_VERSION", ISTIO_VERSION.into());
    set("METADATA_DISCOVERY", "false".into());
    set("PROXY_CONFIG", settings.proxy.json.clone().into());
    set("WORKLOAD_IDENTITY_SOCKET_FILE", settings.workload_socket.clone().into());
    for (name, value) in [
        ("NAME", &settings.pod_name),
        ("NAMESPACE", &settings.pod_namespace),
        ("SERVICE_ACCOUNT", &settings.service_account),
    ] {
        if !value.is_empty() {
            set(name, value.clone().into());
        }
    }
    if settings.proxy.control_plane_tls {
        let host = settings.proxy.discovery_address.rsplit_once(':').map_or("", |(host, _)| host);
        let host = if host == "localhost" { "istiod.istio-system.svc" } else { host };
        set("PILOT_SAN", json!([host]));
    }
    for (name, value) in &settings.metadata {
        if TEXT_KEYS.contains(&name.as_str()) && !value.is_empty() {
            set(name, value.clone().into());
        } else if FLAG_KEYS.contains(&name.as_str()) && matches!(value.as_str(), "true" | "1") {
            set(name, "true".into());
        } else if name == "METADATA_DISCOVERY" {
            set(name, value.clone().into());
        }
    }

    let mut labels = settings.labels.clone();
    labels.remove("pod-template-hash");
    if let Some((label, locality)) = locality_label(settings) {
        labels.insert(label.to_owned(), locality);
    }
    for (name, text) in &settings.json_metadata {
        let Ok(Value::Object(fields)) = serde_json::from_str(text) else { continue };
        if name == "LABELS" {
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            let fixed: BTreeMap<String, String> =
                fields.iter().map(|(key, value)| (key.clone(), text(value))).collect();
            labels.extend(fixed.clone());
            set("STATIC_LABELS", json!(fixed));
            continue;
        }
        for (key, value) in fields {
            if TEXT_KEYS.contains(&key.as_str()) && value.is_string() {
                set(&key, value);
            }
        }
    }
    if !labels.is_empty() {
        set("LABELS", json!(labels));
    }
    if !settings.annotations.is_empty() {
        set("ANNOTATIONS", json!(settings.annotations));
    }
    let addresses: Vec<String> = settings.addresses.iter().map(ToString::to_string).collect();
    set("INSTANCE_IPS", addresses.join(",").into());
    set("GENERATOR", "grpc".into());
    Value::Object(metadata.into_iter().collect())
}

fn locality(settings: &Settings) -> Value {
    let mut locality = Map::new();
    if let Some((_, text)) = locality_label(settings) {
        let names = ["region", "zone", "sub_zone"];
        for (name, part) in names.iter().zip(text.splitn(3, '/')).filter(|(_, part)| !part.is_empty()) {
            locality.insert((*name).to_owned(), part.into());
        }
    }
    Value::Object(locality)
}

/// The label that gives the locality, with dots read as slashes where a label value cannot hold slashes.
fn locality_label(settings: &Settings) -> Option<(&'static str, String)> {
    let (label, text) = LOCALITY_LABELS.iter().find_map(|label| Some((*label, settings.labels.get(*label)?)))?;
    let text = if text.contains('/') { text.clone() } else { text.replace('.', "/") };
    (!text.is_empty()).then_some((label, text))
}
