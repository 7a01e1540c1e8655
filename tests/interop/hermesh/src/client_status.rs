//! What this process's xDS clients say of themselves.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::admin::v3::ClientResourceStatus;
use envoy_types::pb::envoy::service::status::v3::ClientStatusRequest;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use hermesh_runtime::Runtime;
use hermesh_xds::ClientStatusDiscovery;
use serde_json::{Value, json};

/// The resources of all clients.
pub(crate) async fn told(rt: &Runtime) -> Result<Value, String> {
    let status = ClientStatusDiscovery::new(rt).client_status(&ClientStatusRequest::default()).await;
    let clients = status.map_err(|status| status.to_string())?.config;
    let resources = clients.into_iter().flat_map(|client| client.generic_xds_configs);
    Ok(json!({"resources": resources.map(resource).collect::<Vec<_>>()}))
}

fn resource(resource: GenericXdsConfig) -> Value {
    let status = ClientResourceStatus::try_from(resource.client_status).map_or("", |status| status.as_str_name());
    json!({
        "type_url": resource.type_url,
        "name": resource.name,
        "status": status,
        "version": resource.version_info,
        "config_base64": STANDARD.encode(resource.xds_config.map(|any| any.value).unwrap_or_default()),
    })
}
