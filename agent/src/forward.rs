//! The rules of the xDS proxy: what passes, which streams may live side by side, and which ends are no news.
//!
//! istio-agent's `pkg/istio-agent/xds_proxy.go`. Messages pass as bytes; only what rules and events need is read.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use serde::Serialize;
use tonic::{Code, Status};

use crate::Profile;
use crate::health::Health;

/// Requests for listeners, after which istiod is told of the application's health.
pub(crate) const LISTENERS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const HEALTH: &str = "type.googleapis.com/istio.v1.HealthInformation";

/// State of the world or delta: they number their fields differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    StateOfTheWorld,
    Delta,
}

impl Variant {
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::StateOfTheWorld => "StreamAggregatedResources",
            Self::Delta => "DeltaAggregatedResources",
        }
    }
}

/// What of a message is looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) type_url: String,
    pub(crate) version: String,
    pub(crate) nonce: String,
    pub(crate) error: Option<String>,
}

/// Reads a DiscoveryRequest; one that does not parse has an empty head and is istiod's to refuse.
pub(crate) fn request_head(variant: Variant, message: &Bytes) -> Head {
    match variant {
        Variant::StateOfTheWorld => {
            let head = SotwRequest::decode(message.clone()).unwrap_or_default();
            let error = head.error_detail.map(|detail| detail.message);
            Head { type_url: head.type_url, version: head.version_info, nonce: head.response_nonce, error }
        }
        Variant::Delta => {
            let head = DeltaRequest::decode(message.clone()).unwrap_or_default();
            let error = head.error_detail.map(|detail| detail.message);
            Head { type_url: head.type_url, version: String::new(), nonce: head.response_nonce, error }
        }
    }
}

/// Reads a DiscoveryResponse of either variant: what is read has the same numbers in both.
pub(crate) fn response_head(message: &Bytes) -> Head {
    let head = Response::decode(message.clone()).unwrap_or_default();
    Head { type_url: head.type_url, version: head.version_info, nonce: head.nonce, error: None }
}

/// What names the last request that tells of a node's health, to who made it and who gets it.
pub(crate) fn health_name(node: &str) -> String {
    format!("{HEALTH} of {node}")
}

/// What tells istiod of the application's health; it has neither node nor names.
pub(crate) fn health_request(variant: Variant, health: &Health) -> Bytes {
    let type_url = HEALTH.to_owned();
    // As istio-agent: INTERNAL and what is wrong.
    let error_detail = health.as_ref().err().map(|message| ErrorDetail { code: 13, message: message.clone() });
    match variant {
        Variant::StateOfTheWorld => SotwRequest { type_url, error_detail, ..SotwRequest::default() }.encode_to_vec(),
        Variant::Delta => DeltaRequest { type_url, error_detail, ..DeltaRequest::default() }.encode_to_vec(),
    }
    .into()
}

/// Whether a response of this type reaches the application. What does not is dropped without an ACK.
pub(crate) fn is_forwarded(type_url: &str) -> bool {
    type_url.starts_with("type.googleapis.com/envoy.") || type_url == "type.googleapis.com/istio.workload.Workload"
}

/// The streams that are open.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    open: BTreeSet<u64>,
    last: u64,
}

impl Streams {
    /// Takes in a new stream: its number, and those of the streams that it replaces.
    pub(crate) fn open(&mut self, profile: Profile) -> (u64, Vec<u64>) {
        self.last += 1;
        let replaced = match profile {
            Profile::Hermesh => Vec::new(),
            Profile::Istio => std::mem::take(&mut self.open).into_iter().collect(),
        };
        self.open.insert(self.last);
        (self.last, replaced)
    }

    /// Forgets a stream that ended.
    pub(crate) fn close(&mut self, stream: u64) {
        self.open.remove(&stream);
    }
}

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndClass {
    /// One side said it was done.
    Graceful,
    /// As connections end in normal life: cancelled, closed by a restart, drained.
    Expected,
    /// Anything else.
    Unexpected,
}

impl EndClass {
    /// The class of an end with `status`.
    pub(crate) fn of(status: &Status) -> Self {
        const UNAVAILABLE: [&str; 3] =
            ["client disconnected", "error reading from server: EOF", "transport is closing"];
        const ANY: [&str; 2] = ["NO_ERROR", "received prior goaway"];
        let says = |texts: &[&str]| texts.iter().any(|text| status.message().contains(text));
        match status.code() {
            Code::Ok => Self::Graceful,
            Code::Cancelled | Code::DeadlineExceeded => Self::Expected,
            Code::Unavailable if says(&UNAVAILABLE) => Self::Expected,
            _ if says(&ANY) => Self::Expected,
            _ => Self::Unexpected,
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct ErrorDetail {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct SotwRequest {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    response_nonce: String,
    #[prost(message, optional, tag = "6")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct DeltaRequest {
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, tag = "6")]
    response_nonce: String,
    #[prost(message, optional, tag = "7")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::service::discovery::v3 as discovery;
    use envoy_types::pb::google::rpc;

    use super::*;

    const LDS: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

    #[test]
    fn heads_are_read_from_whole_messages() {
        let error_detail = Some(rpc::Status { code: 3, message: "bad".to_owned(), details: Vec::new() });
        let sotw = discovery::DiscoveryRequest {
            version_info: "v".to_owned(),
            type_url: LDS.to_owned(),
            response_nonce: "n".to_owned(),
            resource_names: vec!["a".to_owned()],
            node: Some(Default::default()),
            error_detail: error_detail.clone(),
            ..Default::default()
        };
        let expected = Head { type_url: LDS.into(), version: "v".into(), nonce: "n".into(), error: Some("bad".into()) };
        assert_eq!(request_head(Variant::StateOfTheWorld, &sotw.encode_to_vec().into()), expected);

        let delta = discovery::DeltaDiscoveryRequest {
            type_url: LDS.to_owned(),
            response_nonce: "n".to_owned(),
            node: Some(Default::default()),
            error_detail,
            ..Default::default()
        };
        let expected = Head { version: String::new(), ..expected };
        assert_eq!(request_head(Variant::Delta, &delta.encode_to_vec().into()), expected);

        let response = discovery::DiscoveryResponse {
            version_info: "v".to_owned(),
            type_url: LDS.to_owned(),
            nonce: "n".to_owned(),
            resources: vec![Default::default()],
            ..Default::default()
        };
        let expected = Head { version: "v".to_owned(), error: None, ..expected };
        assert_eq!(response_head(&response.encode_to_vec().into()), expected);
    }

    #[test]
    fn bytes_that_are_no_message_have_an_empty_head() {
        assert_eq!(response_head(&Bytes::from_static(b"\xff\xff")), Head::default());
    }

    #[test]
    fn only_types_that_applications_know_pass() {
        assert!(is_forwarded(LDS));
        assert!(is_forwarded("type.googleapis.com/istio.workload.Workload"));
        assert!(!is_forwarded("type.googleapis.com/istio.networking.nds.v1.NameTable"));
        assert!(!is_forwarded(""));
    }

    #[test]
    fn streams_live_side_by_side_unless_istio_s_defect_is_wanted() {
        let mut streams = Streams::default();
        assert_eq!(streams.open(Profile::Hermesh), (1, vec![]));
        assert_eq!(streams.open(Profile::Hermesh), (2, vec![]));
        streams.close(1);
        assert_eq!(streams.open(Profile::Istio), (3, vec![2]));
        assert_eq!(streams.open(Profile::Istio), (4, vec![3]));
    }

    #[test]
    fn ends_of_normal_life_are_no_news() {
        for (status, class) in [
            (Status::ok(""), EndClass::Graceful),
            (Status::cancelled("x"), EndClass::Expected),
            (Status::unavailable("transport is closing"), EndClass::Expected),
            (Status::internal("stream terminated by RST_STREAM with error code: NO_ERROR"), EndClass::Expected),
            (Status::unavailable("connection refused"), EndClass::Unexpected),
            (Status::unauthenticated("authentication failure"), EndClass::Unexpected),
        ] {
            assert_eq!(EndClass::of(&status), class, "{status:?}");
        }
    }
}
