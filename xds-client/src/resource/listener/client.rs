//! The connection manager, as an API listener holds it for clients and a filter chain for servers.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as proto;
use envoy_types::pb::google::protobuf::Any;
use prost::Name;
use proto::http_connection_manager::RouteSpecifier;

use super::{HttpConnectionManager, RouteSource};
use crate::resource::DecodeError;
use crate::resource::decode::{duration, parse};
use crate::resource::filter::{Side, read_filters};
use crate::resource::route;

/// Reads the content of an `api_listener`.
pub(super) fn read(any: Option<&Any>) -> Result<HttpConnectionManager, DecodeError> {
    let type_url = any.map(|any| any.type_url.as_str()).unwrap_or_default();
    match any {
        Some(any) if type_url == proto::HttpConnectionManager::type_url() => {
            read_manager(&parse("api_listener", any)?, Side::Client)
        }
        _ => Err(DecodeError::new(format!("unexpected http connection manager resource type: {type_url:?}"))),
    }
}

pub(super) fn read_manager(
    manager: &proto::HttpConnectionManager,
    side: Side,
) -> Result<HttpConnectionManager, DecodeError> {
    if manager.xff_num_trusted_hops != 0 {
        return Err(DecodeError::new("xff_num_trusted_hops must be unset or zero"));
    }
    if !manager.original_ip_detection_extensions.is_empty() {
        return Err(DecodeError::new("original_ip_detection_extensions must be empty"));
    }
    let routes = match &manager.route_specifier {
        Some(RouteSpecifier::Rds(rds)) => RouteSource::Rds(read_rds(rds, side)?),
        Some(RouteSpecifier::RouteConfig(routes)) => RouteSource::Inline(Arc::new(route::from_proto(routes)?)),
        Some(RouteSpecifier::ScopedRoutes(_)) => {
            return Err(DecodeError::new("unsupported type ScopedRoutes for RouteSpecifier"));
        }
        None => return Err(DecodeError::new("no RouteSpecifier: neither rds nor route_config is set")),
    };
    let options = manager.common_http_protocol_options.as_ref();
    let max_stream_duration = options
        .and_then(|options| options.max_stream_duration.as_ref())
        .map(|max| duration("max_stream_duration", max))
        .transpose()?;
    Ok(HttpConnectionManager { routes, max_stream_duration, http_filters: read_filters(&manager.http_filters, side)? })
}

/// The name of the route configuration. Clients also take it from where the listener came from.
fn read_rds(rds: &proto::Rds, side: Side) -> Result<String, DecodeError> {
    match (rds.config_source.as_ref().and_then(|source| source.config_source_specifier.as_ref()), side) {
        (Some(ConfigSourceSpecifier::Ads(_)), _) | (Some(ConfigSourceSpecifier::Self_(_)), Side::Client) => {}
        (_, Side::Client) => return Err(DecodeError::new("LDS's RDS configSource is not ADS or Self")),
        (_, Side::Server) => return Err(DecodeError::new("ConfigSource is not ADS")),
    }
    if rds.route_config_name.is_empty() {
        return Err(DecodeError::new("empty route_config_name"));
    }
    Ok(rds.route_config_name.clone())
}
