//! Istio's PeerAuthentication: whether servers want mutual TLS.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Metadata, WorkloadSelector};

/// `security.istio.io PeerAuthentication`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: PeerAuthenticationSpec,
}

/// A PeerAuthentication's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthenticationSpec {
    /// The workloads it is for; without one, the namespace, or the mesh if that is the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// What servers want.
    pub mtls: MutualTls,
    /// What single ports of a workload want.
    pub port_level_mtls: BTreeMap<u32, MutualTls>,
}

/// What a server wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// Whether it is TLS.
    pub mode: MtlsMode,
}

/// Whether a server wants mutual TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "mtls mode", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MtlsMode {
    /// As the next wider policy says.
    #[default]
    Unset,
    /// No.
    Disable,
    /// Both; plaintext for a gRPC server, which cannot do both.
    Permissive,
    /// Yes.
    Strict,
}
