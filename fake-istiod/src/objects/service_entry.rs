//! Istio's ServiceEntry: a host that is no Kubernetes Service, and who is behind it.

use std::fmt;

use serde::Deserialize;

use super::{Labels, Metadata, WorkloadEntrySpec, numbers};

/// `networking.istio.io ServiceEntry`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: ServiceEntrySpec,
}

/// A ServiceEntry's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// Its names, each a service of its own.
    pub hosts: Vec<String>,
    /// Virtual addresses, or ranges of them.
    pub addresses: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServiceEntryPort>,
    /// Whether it is part of the mesh; gRPC clients are told nothing of that.
    pub location: MeshLocation,
    /// How clients find who is behind it.
    pub resolution: Resolution,
    /// Who is behind it.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// Instead of `endpoints`, the labels of WorkloadEntries and pods of the namespace.
    pub workload_selector: Option<EntrySelector>,
    /// The namespaces whose clients see it: names, `.` or `*`; all if empty.
    pub export_to: Vec<String>,
    /// Identities that its servers may prove besides those of its endpoints' service accounts.
    pub subject_alt_names: Vec<String>,
}

/// One port of a ServiceEntry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryPort {
    /// The port that clients name.
    #[serde(deserialize_with = "numbers::port")]
    pub number: u32,
    /// What it carries, such as `GRPC`; found out if empty.
    pub protocol: String,
    /// Its name, by which endpoints say where they serve it.
    pub name: String,
    /// Where endpoints serve it that do not say; `number` if 0.
    #[serde(deserialize_with = "numbers::port")]
    pub target_port: u32,
}

/// Whether a host is part of the mesh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "location", rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "Istio's own names")]
pub enum MeshLocation {
    #[default]
    MeshExternal,
    MeshInternal,
}

/// How clients find who is behind a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "resolution", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// The connection's own address counts, which a gRPC client does not have.
    #[default]
    None,
    /// The addresses of its endpoints.
    Static,
    /// By DNS; istiod sends gRPC clients no endpoints then.
    Dns,
    /// By DNS, all addresses as one endpoint; istiod sends gRPC clients none.
    DnsRoundRobin,
}

impl Resolution {
    /// Whether proxies would ask DNS.
    #[must_use]
    pub fn is_dns(self) -> bool {
        matches!(self, Self::Dns | Self::DnsRoundRobin)
    }
}

impl fmt::Display for Resolution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "NONE",
            Self::Static => "STATIC",
            Self::Dns => "DNS",
            Self::DnsRoundRobin => "DNS_ROUND_ROBIN",
        })
    }
}

/// Labels that WorkloadEntries and pods must have; with none it is all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EntrySelector {
    /// The labels.
    pub labels: Labels,
}
