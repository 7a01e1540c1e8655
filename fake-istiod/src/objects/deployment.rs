//! `apps/v1 Deployment`.

use serde::Deserialize;

use super::{IntOrString, Labels, Metadata, PodSpec, numbers};

/// `apps/v1 Deployment`: so many pods of one template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Deployment {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: DeploymentSpec,
    /// What is.
    #[serde(skip)]
    pub status: DeploymentStatus,
}

/// A Deployment's spec.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeploymentSpec {
    /// How many pods.
    #[serde(deserialize_with = "numbers::count")]
    pub replicas: u32,
    /// Which pods are its own.
    pub selector: LabelSelector,
    /// What a pod looks like.
    pub template: PodTemplate,
    /// How pods of an older template are replaced.
    pub strategy: Strategy,
    /// Whether no other template is rolled out.
    pub paused: bool,
    /// How long a pod must be ready to count as available.
    #[serde(deserialize_with = "numbers::count")]
    pub min_ready_seconds: u32,
}

impl Default for DeploymentSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            selector: LabelSelector::default(),
            template: PodTemplate::default(),
            strategy: Strategy::default(),
            paused: false,
            min_ready_seconds: 0,
        }
    }
}

/// A Deployment's selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// The labels a pod must have.
    pub match_labels: Labels,
}

/// What a Deployment's pods look like. Of the metadata only labels and annotations count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodTemplate {
    /// Labels and annotations.
    pub metadata: Metadata,
    /// What runs.
    pub spec: PodSpec,
}

/// How pods of an older template are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Strategy {
    /// Step by step, or all at once.
    #[serde(rename = "type")]
    pub strategy_type: StrategyType,
    /// The limits of `RollingUpdate`.
    pub rolling_update: Option<RollingUpdate>,
}

/// The ways to replace pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum StrategyType {
    #[default]
    RollingUpdate,
    Recreate,
}

/// The limits of a rolling update; 25 % each if absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdate {
    /// How many pods may be missing meanwhile, a number or a percentage.
    pub max_unavailable: Option<IntOrString>,
    /// How many pods there may be beyond `replicas` meanwhile, a number or a percentage.
    pub max_surge: Option<IntOrString>,
}

/// A Deployment's state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeploymentStatus {
    /// The generation of the spec this is the state of.
    pub observed_generation: u64,
    /// Pods.
    pub replicas: u32,
    /// Pods of the current template.
    pub updated_replicas: u32,
    /// Pods that are ready.
    pub ready_replicas: u32,
    /// Pods that have been ready long enough.
    pub available_replicas: u32,
}
