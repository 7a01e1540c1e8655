//! `v1 Service`.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer, de};

use super::{Labels, Metadata, numbers};

/// `v1 Service`: a name and an address for the pods its selector finds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: ServiceSpec,
}

/// A Service's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// How the Service is reached.
    #[serde(rename = "type")]
    pub service_type: ServiceType,
    /// The labels of its pods; without any, endpoints are managed by hand.
    pub selector: Labels,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// Its address; the cluster assigns one if there is none.
    #[serde(rename = "clusterIP", deserialize_with = "cluster_ip")]
    pub cluster_ip: Option<ClusterIp>,
    /// Whether pods count as endpoints' ready addresses before they are ready.
    pub publish_not_ready_addresses: bool,
}

impl Service {
    /// Whether the Service has no address of its own (`clusterIP: None`).
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.spec.cluster_ip == Some(ClusterIp::None)
    }
}

/// How a Service is reached. From inside the mesh all of them are a cluster address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
    ExternalName,
}

/// A Service's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterIp {
    /// `None`: a headless Service.
    None,
    /// A virtual address.
    Address(IpAddr),
}

impl ClusterIp {
    /// The address, unless headless.
    #[must_use]
    pub fn address(self) -> Option<IpAddr> {
        match self {
            Self::None => None,
            Self::Address(address) => Some(address),
        }
    }
}

/// Reads an optional address; an empty one is as good as none.
fn cluster_ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ClusterIp>, D::Error> {
    match Option::<String>::deserialize(deserializer)?.as_deref() {
        None | Some("") => Ok(None),
        Some("None") => Ok(Some(ClusterIp::None)),
        Some(text) => match text.parse() {
            Ok(address) => Ok(Some(ClusterIp::Address(address))),
            Err(_) => Err(de::Error::custom(format!("expected `None` or an IP address, found {text:?}"))),
        },
    }
}

/// One port of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// The port's name, which several ports must have and whose prefix names the protocol (`grpc-web`).
    pub name: Option<String>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The application protocol, stronger than the name's prefix.
    pub app_protocol: Option<String>,
    /// The port of the Service.
    #[serde(deserialize_with = "numbers::port")]
    pub port: u16,
    /// The port of the pod, or its name; the Service's port if there is none.
    pub target_port: Option<IntOrString>,
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename = "protocol")]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum Protocol {
    #[default]
    TCP,
    UDP,
    SCTP,
}

/// A number or a name, as Kubernetes has it for ports and rollout limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    /// A number.
    Int(i32),
    /// A name, or a percentage.
    String(String),
}

impl From<u16> for IntOrString {
    fn from(port: u16) -> Self {
        Self::Int(port.into())
    }
}

impl fmt::Display for IntOrString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(number) => number.fmt(f),
            Self::String(text) => text.fmt(f),
        }
    }
}

impl<'de> Deserialize<'de> for IntOrString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = IntOrString;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or a name")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<IntOrString, E> {
                i32::try_from(number).map(IntOrString::Int).map_err(|_| E::custom(format!("{number} is out of range")))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<IntOrString, E> {
                i32::try_from(number).map(IntOrString::Int).map_err(|_| E::custom(format!("{number} is out of range")))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IntOrString, E> {
                Ok(IntOrString::String(text.to_owned()))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
