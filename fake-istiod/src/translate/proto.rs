//! Small protobuf messages that many resources have.

use std::net::IpAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{self, Any};
use prost::{Message, Name};

pub(super) fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: format!("type.googleapis.com/{}", M::full_name()), value: message.encode_to_vec() }
}

pub(super) fn address(host: impl Into<String>, port: u16) -> core::Address {
    let socket = core::SocketAddress {
        address: host.into(),
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..core::SocketAddress::default()
    };
    core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
}

/// A Service's address, or what stands for it if it is headless.
pub(super) fn vip(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "0.0.0.0".to_owned(), |address| address.to_string())
}

pub(super) fn ads() -> core::ConfigSource {
    let specifier = core::config_source::ConfigSourceSpecifier::Ads(core::AggregatedConfigSource {});
    core::ConfigSource { config_source_specifier: Some(specifier), ..core::ConfigSource::default() }
}

pub(super) fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: duration.subsec_nanos().try_into().expect("a nanosecond part is less than a second"),
    }
}

pub(super) fn uint32(value: u32) -> protobuf::UInt32Value {
    protobuf::UInt32Value { value }
}

/// Metadata with one text under `filter` and `key`. More than one entry would be encoded in a random order.
pub(super) fn metadata(filter: &str, key: &str, text: String) -> core::Metadata {
    let value = protobuf::Value { kind: Some(protobuf::value::Kind::StringValue(text)) };
    let fields = [(key.to_owned(), value)].into();
    core::Metadata {
        filter_metadata: [(filter.to_owned(), protobuf::Struct { fields })].into(),
        ..core::Metadata::default()
    }
}
