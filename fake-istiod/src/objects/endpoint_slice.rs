//! `discovery.k8s.io/v1 EndpointSlice`.

use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de};

use super::{Metadata, Protocol, numbers};

/// The label that names a slice's Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// `discovery.k8s.io/v1 EndpointSlice`: the addresses behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// Name, namespace, and the label that names the Service.
    pub metadata: Metadata,
    /// The family of all addresses.
    pub address_type: AddressType,
    /// The addresses.
    pub endpoints: Vec<Endpoint>,
    /// The ports that every address serves.
    pub ports: Vec<EndpointPort>,
}

impl EndpointSlice {
    /// The name of the slice's Service.
    #[must_use]
    pub fn service_name(&self) -> Option<&str> {
        self.metadata.labels.get(SERVICE_NAME_LABEL).map(String::as_str)
    }
}

/// An address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum AddressType {
    #[default]
    IPv4,
    IPv6,
    FQDN,
}

/// One endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses; clients use the first.
    #[serde(deserialize_with = "addresses")]
    pub addresses: Vec<IpAddr>,
    /// The name under which DNS has it below its Service.
    pub hostname: Option<String>,
    /// Its state.
    pub conditions: EndpointConditions,
    /// The pod behind it.
    pub target_ref: Option<TargetReference>,
    /// The node it is on.
    pub node_name: Option<String>,
    /// The zone it is in.
    pub zone: Option<String>,
}

fn addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    struct Address(IpAddr);

    impl<'de> Deserialize<'de> for Address {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            let error = |_| de::Error::custom(format!("expected an IP address such as 10.0.0.1, found {text:?}"));
            text.parse().map(Self).map_err(error)
        }
    }

    Ok(Vec::<Address>::deserialize(deserializer)?.into_iter().map(|Address(address)| address).collect())
}

/// An endpoint's state; what is absent counts as Kubernetes says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// Wants traffic; absent means yes.
    pub ready: Option<bool>,
    /// Could take traffic, terminating or not; absent means as `ready`.
    pub serving: Option<bool>,
    /// Is being deleted; absent means no.
    pub terminating: Option<bool>,
}

/// The object behind an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetReference {
    /// Its kind, `Pod`.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its incarnation.
    pub uid: String,
}

/// One port of a slice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// The name of the Service's port; empty or absent for an unnamed one.
    pub name: Option<String>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The application protocol.
    pub app_protocol: Option<String>,
    /// The pod's port.
    #[serde(deserialize_with = "numbers::port")]
    pub port: u16,
}
