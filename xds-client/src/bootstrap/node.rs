//! Who a process says it is, and how that looks on the wire.

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{self, value::Kind};
use serde_json::Value;

use crate::resource::Locality;

/// The user agent of every request, as `user_agent_name`.
const USER_AGENT: &str = "hermesh-xds";

/// What the client can do: it takes no part in overprovisioning, and it unwraps resources.
const CLIENT_FEATURES: [&str; 2] = ["envoy.lb.does_not_support_overprovisioning", "xds.config.resource-in-sotw"];

/// Who this process says it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// Istio's has four parts: `sidecar~<ip>~<pod>.<namespace>~<dns domain>`.
    pub id: String,
    /// Free.
    pub cluster: String,
    /// Where it runs.
    pub locality: Locality,
    /// Free; Istio requires `GENERATOR` to be `grpc`.
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl Node {
    /// The message for the first request of a stream. User agent and features are this client's own.
    #[must_use]
    pub fn to_proto(&self) -> core::Node {
        let Locality { region, zone, sub_zone } = self.locality.clone();
        core::Node {
            id: self.id.clone(),
            cluster: self.cluster.clone(),
            metadata: (!self.metadata.is_empty()).then(|| to_struct(&self.metadata)),
            locality: (self.locality != Locality::default()).then_some(core::Locality { region, zone, sub_zone }),
            user_agent_name: USER_AGENT.to_owned(),
            user_agent_version_type: Some(core::node::UserAgentVersionType::UserAgentVersion(
                env!("CARGO_PKG_VERSION").to_owned(),
            )),
            client_features: CLIENT_FEATURES.map(str::to_owned).to_vec(),
            ..Default::default()
        }
    }
}

fn to_struct(map: &serde_json::Map<String, Value>) -> protobuf::Struct {
    protobuf::Struct { fields: map.iter().map(|(key, value)| (key.clone(), to_value(value))).collect() }
}

fn to_value(value: &Value) -> protobuf::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        // Protobuf has no other numbers; those beyond 2^53 lose digits in every implementation.
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(values) => Kind::ListValue(protobuf::ListValue { values: values.iter().map(to_value).collect() }),
        Value::Object(map) => Kind::StructValue(to_struct(map)),
    };
    protobuf::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // B-08
    #[test]
    fn the_node_keeps_its_own_user_agent_and_omits_an_empty_locality() {
        let metadata = serde_json::json!({"GENERATOR": "grpc", "user_agent_name": "other", "DEEP": {"a": [1, null]}});
        let node = Node {
            id: "sidecar~10.0.0.1~a.b~b.svc.cluster.local".to_owned(),
            metadata: metadata.as_object().expect("an object was written").clone(),
            ..Node::default()
        };
        let proto = node.to_proto();
        assert_eq!(proto.user_agent_name, "hermesh-xds");
        assert_eq!(proto.locality, None);
        assert_eq!(proto.client_features, CLIENT_FEATURES);
        let fields = proto.metadata.expect("metadata was given").fields;
        assert_eq!(fields["GENERATOR"].kind, Some(Kind::StringValue("grpc".to_owned())));
        assert!(matches!(fields["DEEP"].kind, Some(Kind::StructValue(_))));
    }
}
