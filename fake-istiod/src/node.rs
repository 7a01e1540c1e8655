//! Who asks: the node ID and metadata of the first request on a stream.
//!
//! Source: Istio `pkg/model/proxy.go` and `pilot/pkg/model/context.go` (`ParseServiceNodeWithMetadata`). The texts of
//! the errors are istiod's, since agents and people look for them.

use std::net::IpAddr;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind as ValueKind};
use hermesh_xds::resource::Locality;
use serde::Deserialize;

use crate::objects::Labels;

/// A proxyless gRPC workload, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    id: String,
    pod_name: String,
    id_namespace: String,
    dns_domain: String,
    addresses: Vec<IpAddr>,
    locality: Locality,
    metadata: Metadata,
}

/// The parts of the metadata that istiod reads for a gRPC node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Metadata {
    namespace: Option<String>,
    service_account: Option<String>,
    labels: Labels,
    pod_ports: Vec<PodPort>,
    auto_register_group: Option<String>,
    network: Option<String>,
}

/// An entry of `POD_PORTS`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct PodPort {
    #[serde(default)]
    name: String,
    #[serde(rename = "containerPort", default)]
    container_port: u16,
}

/// Why a node cannot be served; istiod answers INVALID_ARGUMENT with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The ID has not four parts.
    #[error("missing parts in the service node {id:?}")]
    MissingParts {
        /// The ID.
        id: String,
    },
    /// The ID's first part is no node type.
    #[error(
        "invalid node type (valid types: sidecar, router, waypoint, ztunnel, agentgateway) in the service node {id:?}"
    )]
    InvalidType {
        /// The ID.
        id: String,
    },
    /// Neither metadata nor ID has an address.
    #[error("no valid IP address in the service node id or metadata")]
    NoAddress,
    /// A metadata field has the wrong JSON type.
    #[error("node metadata {field}: expected {expected}")]
    InvalidMetadata {
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// The node is no proxyless gRPC client or server, the only kind served here.
    #[error("node metadata GENERATOR: expected \"grpc\", found {found:?}; only proxyless gRPC is served here")]
    NotProxylessGrpc {
        /// What it says instead.
        found: String,
    },
}

impl Node {
    /// Reads the node of a stream's first request.
    ///
    /// # Errors
    ///
    /// See [`NodeError`].
    pub fn parse(node: &core::Node) -> Result<Self, NodeError> {
        let id = node.id.clone();
        let fields = node.metadata.clone().unwrap_or_default();
        let parts: Vec<&str> = node.id.split('~').collect();
        let [node_type, address, pod, dns_domain] = parts[..] else { return Err(NodeError::MissingParts { id }) };
        if !matches!(node_type, "sidecar" | "router" | "waypoint" | "ztunnel" | "agentgateway") {
            return Err(NodeError::InvalidType { id });
        }
        let metadata = Metadata::read(&fields)?;
        let addresses = match instance_addresses(&fields)? {
            Some(addresses) => addresses,
            None => vec![address.parse().map_err(|_| NodeError::NoAddress)?],
        };
        let generator = string(&fields, "GENERATOR")?.unwrap_or_default();
        if generator != "grpc" {
            return Err(NodeError::NotProxylessGrpc { found: generator });
        }
        // A pod's name may have dots, a namespace's has none.
        let (pod_name, id_namespace) = pod.rsplit_once('.').unwrap_or((pod, ""));
        let core::Locality { region, zone, sub_zone } = node.locality.clone().unwrap_or_default();
        Ok(Self {
            pod_name: pod_name.to_owned(),
            id_namespace: id_namespace.to_owned(),
            dns_domain: dns_domain.to_owned(),
            id,
            addresses,
            locality: Locality { region, zone, sub_zone },
            metadata,
        })
    }

    /// The ID as the node gave it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The name of its pod.
    #[must_use]
    pub fn pod_name(&self) -> &str {
        &self.pod_name
    }

    /// The namespace in its ID, which is the pod's.
    #[must_use]
    pub fn pod_namespace(&self) -> &str {
        &self.id_namespace
    }

    /// The domain under which it looks up short names, such as `echo-grpc.svc.cluster.local`.
    #[must_use]
    pub fn dns_domain(&self) -> &str {
        &self.dns_domain
    }

    /// Its addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// Where it says it is.
    #[must_use]
    pub fn locality(&self) -> &Locality {
        &self.locality
    }

    /// The namespace whose rules apply: `NAMESPACE`, else the first of several labels of the DNS domain.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match (&self.metadata.namespace, self.dns_domain.split_once('.')) {
            (Some(namespace), _) => namespace,
            (None, Some((first, _))) => first,
            (None, None) => "",
        }
    }

    /// `NAMESPACE` alone; short names with a namespace need it.
    #[must_use]
    pub fn metadata_namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    /// `SERVICE_ACCOUNT`.
    #[must_use]
    pub fn service_account(&self) -> Option<&str> {
        self.metadata.service_account.as_deref()
    }

    /// `AUTO_REGISTER_GROUP`: the WorkloadGroup that a workload outside of the cluster is of.
    #[must_use]
    pub fn auto_register_group(&self) -> Option<&str> {
        self.metadata.auto_register_group.as_deref()
    }

    /// `NETWORK`.
    #[must_use]
    pub fn network(&self) -> Option<&str> {
        self.metadata.network.as_deref()
    }

    /// Where it says it is, if it says so.
    #[must_use]
    pub fn own_locality(&self) -> Option<&Locality> {
        Some(&self.locality).filter(|locality| **locality != Locality::default())
    }

    /// `LABELS`; the cluster's own record of the pod is better, where there is one.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.metadata.labels
    }

    /// The number of the container port with this name, by `POD_PORTS`.
    #[must_use]
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.metadata.pod_ports.iter().find(|port| port.name == name).map(|port| port.container_port)
    }
}

impl Metadata {
    fn read(fields: &Struct) -> Result<Self, NodeError> {
        let labels = match kind(fields, "LABELS") {
            None => Labels::new(),
            Some(ValueKind::StructValue(labels)) => {
                let wrong = NodeError::InvalidMetadata { field: "LABELS", expected: "a map of strings" };
                let text = |(key, value): (&String, &Value)| match &value.kind {
                    Some(ValueKind::StringValue(text)) => Some((key.clone(), text.clone())),
                    _ => None,
                };
                labels.fields.iter().map(text).collect::<Option<Labels>>().ok_or(wrong)?
            }
            Some(_) => return Err(NodeError::InvalidMetadata { field: "LABELS", expected: "a map of strings" }),
        };
        let wrong = |_| NodeError::InvalidMetadata { field: "POD_PORTS", expected: "a JSON list of ports in a string" };
        let pod_ports = match string(fields, "POD_PORTS")?.filter(|ports| !ports.is_empty()) {
            Some(ports) => serde_json::from_str(&ports).map_err(wrong)?,
            None => Vec::new(),
        };
        let namespace = string(fields, "NAMESPACE")?.filter(|namespace| !namespace.is_empty());
        Ok(Self {
            namespace,
            service_account: string(fields, "SERVICE_ACCOUNT")?,
            labels,
            pod_ports,
            auto_register_group: string(fields, "AUTO_REGISTER_GROUP")?,
            network: string(fields, "NETWORK")?.filter(|network| !network.is_empty()),
        })
    }
}

fn kind<'a>(fields: &'a Struct, field: &str) -> Option<&'a ValueKind> {
    fields.fields.get(field)?.kind.as_ref().filter(|kind| !matches!(kind, ValueKind::NullValue(_)))
}

fn string(fields: &Struct, field: &'static str) -> Result<Option<String>, NodeError> {
    match kind(fields, field) {
        None => Ok(None),
        Some(ValueKind::StringValue(text)) => Ok(Some(text.clone())),
        Some(_) => Err(NodeError::InvalidMetadata { field, expected: "a string" }),
    }
}

/// `INSTANCE_IPS`, if it is there and every one of its addresses is valid.
fn instance_addresses(fields: &Struct) -> Result<Option<Vec<IpAddr>>, NodeError> {
    let Some(text) = string(fields, "INSTANCE_IPS")? else { return Ok(None) };
    Ok(text.split(',').map(|address| address.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Value {
        Value { kind: Some(ValueKind::StringValue(value.to_owned())) }
    }

    fn node(id: &str, fields: &[(&str, Value)]) -> Result<Node, NodeError> {
        let generator = [("GENERATOR", text("grpc"))];
        let fields = generator.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Node::parse(&core::Node { id: id.to_owned(), metadata: Some(Struct { fields }), ..core::Node::default() })
    }

    const ID: &str = "sidecar~10.0.0.1~echo-v1-abc.echo-grpc~echo-grpc.svc.cluster.local";

    #[test]
    fn the_id_names_pod_namespace_and_domain() {
        let node = node(ID, &[]).unwrap();
        assert_eq!((node.pod_name(), node.pod_namespace()), ("echo-v1-abc", "echo-grpc"));
        assert_eq!(node.dns_domain(), "echo-grpc.svc.cluster.local");
        assert_eq!(node.addresses(), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn the_name_of_a_pod_may_have_dots() {
        let node = node("sidecar~10.0.0.1~web.a.shop~shop.svc.cluster.local", &[]).unwrap();
        assert_eq!((node.pod_name(), node.pod_namespace()), ("web.a", "shop"));
    }

    #[test]
    fn the_namespace_is_the_metadata_s_else_the_domain_s_first_label() {
        assert_eq!(node(ID, &[("NAMESPACE", text("other"))]).unwrap().namespace(), "other");
        assert_eq!(node(ID, &[]).unwrap().namespace(), "echo-grpc");
        assert_eq!(node("sidecar~10.0.0.1~a.b~cluster.local", &[]).unwrap().namespace(), "cluster");
        assert_eq!(node("sidecar~10.0.0.1~a.b~local", &[]).unwrap().namespace(), "");
    }

    #[test]
    fn instance_ips_count_if_all_are_valid() {
        let ips = |ips: &str| node(ID, &[("INSTANCE_IPS", text(ips))]).unwrap().addresses().len();
        assert_eq!(ips("10.1.1.1,2001:db8::1"), 2);
        assert_eq!(ips("10.1.1.1,nonsense"), 1);
    }

    #[test]
    fn pod_ports_name_numbers() {
        let ports = r#"[{"name":"grpc","containerPort":17070,"protocol":"TCP"},{"containerPort":8080}]"#;
        let node = node(ID, &[("POD_PORTS", text(ports))]).unwrap();
        assert_eq!(node.named_port("grpc"), Some(17070));
        assert_eq!(node.named_port("http"), None);
    }

    #[test]
    fn what_istiod_would_refuse_is_refused_with_its_words() {
        let number = Value { kind: Some(ValueKind::NumberValue(1.0)) };
        for (id, fields, error) in [
            ("", vec![], "missing parts in the service node \"\""),
            ("sidecar~10.0.0.1~a.b", vec![], "missing parts in the service node"),
            ("a~b~c~d~e", vec![], "missing parts in the service node"),
            ("envoy~10.0.0.1~a.b~c", vec![], "invalid node type"),
            ("sidecar~nonsense~a.b~c", vec![], "no valid IP address in the service node id or metadata"),
            (ID, vec![("NAMESPACE", number.clone())], "node metadata NAMESPACE: expected a string"),
            (ID, vec![("LABELS", text("app=echo"))], "node metadata LABELS: expected a map of strings"),
            (ID, vec![("POD_PORTS", text("nonsense"))], "node metadata POD_PORTS: expected a JSON list"),
            (ID, vec![("GENERATOR", text("api"))], "only proxyless gRPC is served here"),
        ] {
            let found = node(id, &fields).unwrap_err().to_string();
            assert!(found.contains(error), "{id}: {found}");
        }
    }
}
