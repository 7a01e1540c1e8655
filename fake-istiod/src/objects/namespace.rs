//! Namespace, ServiceAccount and ConfigMap.

use serde::Deserialize;

use super::{Labels, Metadata};

/// `v1 Namespace`. Its labels decide on sidecar injection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Namespace {
    /// Name and labels.
    pub metadata: Metadata,
}

/// `v1 ServiceAccount`: the identity that a pod's certificate names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceAccount {
    /// Name and namespace.
    pub metadata: Metadata,
}

/// `v1 ConfigMap`: files for a volume, values for environment variables.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMap {
    /// Name and namespace.
    pub metadata: Metadata,
    /// Text by key.
    pub data: Labels,
    /// Whether the text never changes.
    pub immutable: bool,
}
