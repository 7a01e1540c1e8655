//! Server listeners: address and filter chains (gRFC A36).

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::listener::v3 as proto;
use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::filter_chain_match::ConnectionSourceType;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager as ManagerProto;
use prost::Name;

use super::client::read_manager;
use super::{CidrRange, FilterChain, FilterChainMatch, HttpConnectionManager, ServerListener, SourceType};
use crate::resource::decode::parse;
use crate::resource::filter::Side;
use crate::resource::{DecodeError, DownstreamTlsContext, Validation};

/// The only transport protocol that gRPC knows, besides not saying.
const RAW_BUFFER: &str = "raw_buffer";

pub(super) fn read(proto: &proto::Listener, validation: &Validation) -> Result<ServerListener, DecodeError> {
    if !proto.listener_filters.is_empty() {
        return Err(DecodeError::new("unsupported field 'listener_filters' is present and non-empty"));
    }
    if proto.use_original_dst.is_some_and(|use_it| use_it.value) {
        return Err(DecodeError::new("unsupported field 'use_original_dst' is present and set to true"));
    }
    let (address, port) = read_address(proto.address.as_ref())?;
    let mut filter_chains = Vec::new();
    for chain in &proto.filter_chains {
        let matches = match &chain.filter_chain_match {
            Some(chain_match) => read_match(chain_match)?,
            None => Some(FilterChainMatch::default()),
        };
        if let Some(matches) = matches {
            filter_chains.push(read_chain(chain, matches, validation)?);
        }
    }
    reject_overlap(&filter_chains)?;
    let default_filter_chain = proto
        .default_filter_chain
        .as_ref()
        .map(|chain| read_chain(chain, FilterChainMatch::default(), validation))
        .transpose()?;
    if filter_chains.is_empty() && default_filter_chain.is_none() {
        return Err(DecodeError::new("no supported filter chains and no default filter chain"));
    }
    Ok(ServerListener { address, port, filter_chains, default_filter_chain })
}

fn read_address(proto: Option<&core::Address>) -> Result<(String, u16), DecodeError> {
    let Some(proto) = proto else {
        return Err(DecodeError::new("no address field in LDS response"));
    };
    let Some(Address::SocketAddress(socket)) = &proto.address else {
        return Err(DecodeError::new("no socket_address field in LDS response"));
    };
    match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => match u16::try_from(port) {
            Ok(port) => Ok((socket.address.clone(), port)),
            Err(_) => Err(DecodeError::new(format!("port_value {port} in LDS response is above 65535"))),
        },
        Some(PortSpecifier::NamedPort(_)) | None => Ok((socket.address.clone(), 0)),
    }
}

/// `None` if the chain matches on what gRPC cannot know.
fn read_match(proto: &proto::FilterChainMatch) -> Result<Option<FilterChainMatch>, DecodeError> {
    let raw_buffer = proto.transport_protocol == RAW_BUFFER;
    if proto.destination_port.is_some_and(|port| port.value != 0)
        || !proto.server_names.is_empty()
        || !proto.application_protocols.is_empty()
        || !(raw_buffer || proto.transport_protocol.is_empty())
    {
        return Ok(None);
    }
    let source_type = match ConnectionSourceType::try_from(proto.source_type) {
        Ok(ConnectionSourceType::Any) => SourceType::Any,
        Ok(ConnectionSourceType::SameIpOrLoopback) => SourceType::SameIpOrLoopback,
        Ok(ConnectionSourceType::External) => SourceType::External,
        Err(_) => return Err(DecodeError::new(format!("unsupported source type: {}", proto.source_type))),
    };
    Ok(Some(FilterChainMatch {
        prefix_ranges: proto.prefix_ranges.iter().map(read_range).collect::<Result<_, _>>()?,
        raw_buffer,
        source_type,
        source_prefix_ranges: proto.source_prefix_ranges.iter().map(read_range).collect::<Result<_, _>>()?,
        source_ports: proto.source_ports.clone(),
    }))
}

fn read_range(proto: &core::CidrRange) -> Result<CidrRange, DecodeError> {
    let len = proto.prefix_len.map_or(0, |len| len.value);
    let range = u8::try_from(len).ok().zip(proto.address_prefix.parse().ok());
    range.and_then(|(len, address)| CidrRange::new(address, len)).ok_or_else(|| {
        DecodeError::new(format!("failed to parse prefix range: {:?} with prefix_len {len}", proto.address_prefix))
    })
}

fn read_chain(
    proto: &proto::FilterChain,
    matches: FilterChainMatch,
    validation: &Validation,
) -> Result<FilterChain, DecodeError> {
    let in_chain = |error: DecodeError| DecodeError::new(format!("filter chain {:?}: {error}", proto.name));
    let http = read_network_filters(&proto.filters).map_err(in_chain)?;
    let security = proto
        .transport_socket
        .as_ref()
        .map(|socket| DownstreamTlsContext::from_proto(socket, validation))
        .transpose()
        .map_err(in_chain)?;
    Ok(FilterChain { name: proto.name.clone(), matches, security, http })
}

/// The first connection manager; all are checked.
fn read_network_filters(filters: &[proto::Filter]) -> Result<HttpConnectionManager, DecodeError> {
    let mut names = BTreeSet::new();
    let mut first = None;
    for filter in filters {
        let name = &filter.name;
        if name.is_empty() {
            return Err(DecodeError::new("network filter missing name field"));
        }
        if !names.insert(name) {
            return Err(DecodeError::new(format!("duplicate filter name {name:?}")));
        }
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else {
            return Err(DecodeError::new(format!("network filter {name:?} has no typed_config")));
        };
        if any.type_url != ManagerProto::type_url() {
            return Err(DecodeError::new(format!("unsupported network filter {:?} in filter {name:?}", any.type_url)));
        }
        let manager = read_manager(&parse("HttpConnectionManager", any)?, Side::Server)?;
        first.get_or_insert(manager);
    }
    first.ok_or_else(|| DecodeError::new("missing HttpConnectionManager filter"))
}

fn reject_overlap(chains: &[FilterChain]) -> Result<(), DecodeError> {
    fn or_any<T: Copy>(values: &[T]) -> Vec<Option<T>> {
        if values.is_empty() { vec![None] } else { values.iter().copied().map(Some).collect() }
    }
    let mut seen = BTreeSet::new();
    for FilterChain { matches, .. } in chains {
        for destination in or_any(&matches.prefix_ranges) {
            for source in or_any(&matches.source_prefix_ranges) {
                for port in or_any(&matches.source_ports) {
                    if !seen.insert((destination, matches.raw_buffer, matches.source_type, source, port)) {
                        return Err(DecodeError::new(
                            "multiple filter chains with overlapping matching rules are defined",
                        ));
                    }
                }
            }
        }
    }
    Ok(())
}
