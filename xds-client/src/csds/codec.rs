//! Responses on the wire, the same bytes every time: a node's metadata in order, as in
//! [`AdsCodec`](crate::ads::AdsCodec).

use bytes::BufMut as _;
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest, ClientStatusResponse};
use prost::Message as _;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::{ProstCodec, ProstDecoder};

use crate::ads::{node_bytes, put_message};

const RESPONSE_CONFIG: u32 = 1;
const CONFIG_NODE: u32 = 1;

/// The codec of the service's end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CsdsCodec;

impl Codec for CsdsCodec {
    type Encode = ClientStatusResponse;
    type Decode = ClientStatusRequest;
    type Encoder = ResponseEncoder;
    type Decoder = ProstDecoder<ClientStatusRequest>;

    fn encoder(&mut self) -> Self::Encoder {
        ResponseEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstCodec::<ClientStatusResponse, ClientStatusRequest>::default().decoder()
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResponseEncoder;

impl Encoder for ResponseEncoder {
    type Item = ClientStatusResponse;
    type Error = Status;

    fn encode(&mut self, response: ClientStatusResponse, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&response_bytes(response));
        Ok(())
    }
}

fn response_bytes(response: ClientStatusResponse) -> Vec<u8> {
    let mut bytes = Vec::new();
    for config in response.config {
        put_message(RESPONSE_CONFIG, &config_bytes(config), &mut bytes);
    }
    bytes
}

fn config_bytes(mut config: ClientConfig) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(node) = config.node.take() {
        put_message(CONFIG_NODE, &node_bytes(node), &mut bytes);
    }
    bytes.put_slice(&config.encode_to_vec());
    bytes
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;

    use super::*;
    use crate::bootstrap::Node;

    fn response() -> ClientStatusResponse {
        let config = |scope: &str| {
            let metadata = ('a'..='z').map(|key| (key.to_string(), key.to_string().into())).collect();
            let node = Node { id: "id".to_owned(), metadata, ..Node::default() };
            ClientConfig {
                node: Some(node.to_proto()),
                client_scope: scope.to_owned(),
                generic_xds_configs: vec![GenericXdsConfig { name: "a".to_owned(), ..Default::default() }],
                ..Default::default()
            }
        };
        ClientStatusResponse { config: vec![config("#server"), config("xds:///echo")] }
    }

    #[test]
    fn equal_responses_are_equal_bytes_and_any_reader_understands_them() {
        let bytes = response_bytes(response());
        assert_eq!(bytes, response_bytes(response()));
        assert_eq!(ClientStatusResponse::decode(bytes.as_slice()), Ok(response()));
    }
}
