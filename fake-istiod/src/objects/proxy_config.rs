//! Istio's ProxyConfig: settings of the agents of a mesh, a namespace or a workload.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Metadata, WorkloadSelector};

/// `networking.istio.io ProxyConfig`. It counts when pods are injected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfig {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: ProxyConfigSpec,
}

/// A ProxyConfig's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyConfigSpec {
    /// The pods it is for; without one, those of the namespace, or of the mesh if that is the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// How many threads Envoy has.
    pub concurrency: Option<i32>,
    /// Environment of the agent, which becomes `proxyMetadata`.
    pub environment_variables: BTreeMap<String, String>,
    /// Which image the agent runs.
    pub image: Option<ProxyImage>,
}

/// Which image the agent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProxyImage {
    /// A variant such as `distroless`.
    pub image_type: String,
}

impl ProxyConfigSpec {
    /// The labels of the pods it is for; `None` if it is for all.
    #[must_use]
    pub fn labels(&self) -> Option<&super::Labels> {
        self.selector.as_ref().map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty())
    }
}
