//! `v1 Node`: a machine that pods run on. Its labels tell where that is.

use serde::Deserialize;

use super::Metadata;

/// The label with a node's region.
pub const REGION_LABEL: &str = "topology.kubernetes.io/region";
/// The label with a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
/// The label with what Istio tells apart within a zone.
pub const SUB_ZONE_LABEL: &str = "topology.istio.io/subzone";

/// `v1 Node`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Node {
    /// Name and labels.
    pub metadata: Metadata,
    /// What is.
    #[serde(skip)]
    pub status: NodeStatus,
}

/// What the cluster knows of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Whether its kubelet is heard of: the condition `Ready`.
    pub ready: bool,
}
