//! What an xDS client says and hears.

use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use prost::Message;

use crate::resource::ResourceType;

hermesh_runtime::event! {
    /// An ADS stream to a management server is open.
    StreamOpened = "xds.stream.opened" {
        /// The client's key: a channel's target, or `#server`.
        client: Arc<str>,
        /// Its number among all clients that the process has had, from 0.
        client_ordinal: u64,
        /// The `server_uri`.
        server: Arc<str>,
    }

    /// An ADS stream ended or could not be opened.
    StreamClosed = "xds.stream.closed" {
        /// The client's key.
        client: Arc<str>,
        /// Its number in the process.
        client_ordinal: u64,
        /// The `server_uri`.
        server: Arc<str>,
        /// The status code's name.
        code: String,
        /// The status message.
        message: String,
    }

    /// A client no longer wants anything of a management server, whether a stream was open or not.
    ClientClosed = "xds.client.closed" {
        /// The client's key.
        client: Arc<str>,
        /// Its number in the process.
        client_ordinal: u64,
        /// The `server_uri`.
        server: Arc<str>,
    }

    /// A discovery request was sent: a subscription, an ACK or a NACK.
    XdsRequest = "xds.request" {
        /// The client's key.
        client: Arc<str>,
        /// Its number in the process.
        client_ordinal: u64,
        /// `LDS`, `RDS`, `CDS` or `EDS`; else the type URL.
        r#type: String,
        /// The last accepted version.
        version: String,
        /// Of the response that this answers; empty for the first request of a stream.
        nonce: String,
        /// What is subscribed to.
        names: Vec<String>,
        /// Why the response was rejected.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }

    /// A discovery response arrived.
    XdsResponse = "xds.response" {
        /// The client's key.
        client: Arc<str>,
        /// Its number in the process.
        client_ordinal: u64,
        /// `LDS`, `RDS`, `CDS` or `EDS`; else the type URL.
        r#type: String,
        /// Its version.
        version: String,
        /// Its nonce.
        nonce: String,
        /// The names of the resources in it.
        resources: Vec<String>,
    }

    /// A discovery response was rejected.
    XdsNack = "xds.nack" {
        /// The client's key.
        client: Arc<str>,
        /// Its number in the process.
        client_ordinal: u64,
        /// `LDS`, `RDS`, `CDS` or `EDS`; else the type URL.
        r#type: String,
        /// Of the rejected response.
        nonce: String,
        /// Why.
        error: String,
    }
}

impl XdsRequest {
    pub(super) fn new(client: Arc<str>, client_ordinal: u64, request: &DiscoveryRequest) -> Self {
        Self {
            client,
            client_ordinal,
            r#type: short(&request.type_url),
            version: request.version_info.clone(),
            nonce: request.response_nonce.clone(),
            names: request.resource_names.clone(),
            error: request.error_detail.as_ref().map(|error| error.message.clone()),
        }
    }
}

impl XdsResponse {
    pub(super) fn new(client: Arc<str>, client_ordinal: u64, response: &DiscoveryResponse) -> Self {
        Self {
            client,
            client_ordinal,
            r#type: short(&response.type_url),
            version: response.version_info.clone(),
            nonce: response.nonce.clone(),
            resources: response.resources.iter().map(|any| name(&any.type_url, &any.value)).collect(),
        }
    }
}

pub(super) fn short(type_url: &str) -> String {
    match ResourceType::from_type_url(type_url) {
        Some(known) => known.short().to_owned(),
        None => type_url.to_owned(),
    }
}

/// A resource's name without the rest of it. All four types have it in field 1; the wrapper has it in field 3.
fn name(type_url: &str, value: &[u8]) -> String {
    #[derive(Clone, PartialEq, Message)]
    struct Resource {
        #[prost(string, tag = "1")]
        name: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Wrapper {
        #[prost(string, tag = "3")]
        name: String,
    }
    let name = if type_url.ends_with("/envoy.service.discovery.v3.Resource") {
        Wrapper::decode(value).map(|wrapper| wrapper.name)
    } else {
        Resource::decode(value).map(|resource| resource.name)
    };
    name.unwrap_or_default()
}
