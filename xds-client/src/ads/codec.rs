//! Requests on the wire, the same bytes every time.

use bytes::BufMut;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use hermesh_runtime::codec::small_buffers;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// The method that opens a stream.
pub const METHOD_PATH: &str = "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";

/// Field numbers of the messages that hold a node's metadata.
const REQUEST_NODE: u32 = 2;
const NODE_METADATA: u32 = 3;
const STRUCT_FIELDS: u32 = 1;
const ENTRY_KEY: u32 = 1;
const ENTRY_VALUE: u32 = 2;
const VALUE_STRUCT: u32 = 5;
const VALUE_LIST: u32 = 6;
const LIST_VALUES: u32 = 1;

/// A codec for the client's end of a stream.
///
/// prost keeps a node's metadata in hash maps, whose order differs from process to process; this codec writes them in
/// order of their keys. The messages are the same to every reader.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdsCodec;

impl Codec for AdsCodec {
    type Encode = DiscoveryRequest;
    type Decode = DiscoveryResponse;
    type Encoder = RequestEncoder;
    type Decoder = ProstDecoder<DiscoveryResponse>;

    fn encoder(&mut self) -> Self::Encoder {
        RequestEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(small_buffers())
    }
}

/// See [`AdsCodec`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEncoder;

impl Encoder for RequestEncoder {
    type Item = DiscoveryRequest;
    type Error = Status;

    fn encode(&mut self, request: DiscoveryRequest, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&request_bytes(request));
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        small_buffers()
    }
}

/// Fields may stand in any order, so each message is written without its map first, and the map after it.
fn request_bytes(mut request: DiscoveryRequest) -> Vec<u8> {
    let node = request.node.take();
    let mut bytes = request.encode_to_vec();
    if let Some(node) = node {
        put_message(REQUEST_NODE, &node_bytes(node), &mut bytes);
    }
    bytes
}

/// A node's message, its metadata in order.
pub(crate) fn node_bytes(mut node: Node) -> Vec<u8> {
    let metadata = node.metadata.take();
    let mut bytes = node.encode_to_vec();
    if let Some(metadata) = metadata {
        put_message(NODE_METADATA, &struct_bytes(&metadata), &mut bytes);
    }
    bytes
}

fn struct_bytes(value: &Struct) -> Vec<u8> {
    let fields: std::collections::BTreeMap<_, _> = value.fields.iter().collect();
    let mut bytes = Vec::new();
    for (key, value) in fields {
        let mut entry = Vec::new();
        put_message(ENTRY_KEY, key.as_bytes(), &mut entry);
        put_message(ENTRY_VALUE, &value_bytes(value), &mut entry);
        put_message(STRUCT_FIELDS, &entry, &mut bytes);
    }
    bytes
}

fn value_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    match &value.kind {
        Some(Kind::StructValue(value)) => put_message(VALUE_STRUCT, &struct_bytes(value), &mut bytes),
        Some(Kind::ListValue(ListValue { values })) => {
            let mut list = Vec::new();
            for value in values {
                put_message(LIST_VALUES, &value_bytes(value), &mut list);
            }
            put_message(VALUE_LIST, &list, &mut bytes);
        }
        _ => bytes = value.encode_to_vec(),
    }
    bytes
}

/// Appends `message` as the field with this number.
pub(crate) fn put_message(field: u32, message: &[u8], bytes: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, bytes);
    encode_varint(message.len() as u64, bytes);
    bytes.put_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bootstrap::Node as BootstrapNode;

    fn request() -> DiscoveryRequest {
        let keys = ('a'..='z').map(|key| (key.to_string(), serde_json::json!({"x": [1.5, true, {}], "y": key})));
        let node = BootstrapNode { id: "id".to_owned(), metadata: keys.collect(), ..BootstrapNode::default() };
        DiscoveryRequest {
            node: Some(node.to_proto()),
            resource_names: vec!["n".to_owned()],
            ..DiscoveryRequest::default()
        }
    }

    #[test]
    fn equal_requests_are_equal_bytes_whatever_the_order_of_their_maps() {
        // Every map has its own order: 26 keys would agree by chance once in 10^26.
        assert_eq!(request_bytes(request()), request_bytes(request()));
    }

    #[test]
    fn any_reader_understands_the_bytes() {
        assert_eq!(DiscoveryRequest::decode(request_bytes(request()).as_slice()), Ok(request()));
    }
}
