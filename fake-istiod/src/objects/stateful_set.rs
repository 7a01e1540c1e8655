//! `apps/v1 StatefulSet`.

use serde::Deserialize;

use super::{LabelSelector, Metadata, PodTemplate, numbers};

/// `apps/v1 StatefulSet`: so many pods of one template, each with a name that stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSet {
    /// Name, namespace and labels.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: StatefulSetSpec,
}

/// A StatefulSet's spec.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatefulSetSpec {
    /// How many pods.
    #[serde(deserialize_with = "numbers::count")]
    pub replicas: u32,
    /// Which pods are its own.
    pub selector: LabelSelector,
    /// What a pod looks like.
    pub template: PodTemplate,
    /// The headless Service under whose name the pods have names of their own.
    pub service_name: String,
    /// Whether pods are made one after the other.
    pub pod_management_policy: PodManagementPolicy,
    /// How pods of an older template are replaced.
    pub update_strategy: UpdateStrategy,
    /// Which number the first pod has.
    pub ordinals: Ordinals,
    /// Volumes that each pod has of its own. Here they are empty in every new pod.
    pub volume_claim_templates: Vec<VolumeClaimTemplate>,
}

impl Default for StatefulSetSpec {
    fn default() -> Self {
        Self {
            replicas: 1,
            selector: LabelSelector::default(),
            template: PodTemplate::default(),
            service_name: String::new(),
            pod_management_policy: PodManagementPolicy::default(),
            update_strategy: UpdateStrategy::default(),
            ordinals: Ordinals::default(),
            volume_claim_templates: Vec::new(),
        }
    }
}

/// Whether pods are made one after the other, each when the one before it is ready, and deleted likewise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum PodManagementPolicy {
    #[default]
    OrderedReady,
    Parallel,
}

/// How pods of an older template are replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UpdateStrategy {
    /// By the controller, or by whoever deletes a pod.
    #[serde(rename = "type")]
    pub strategy_type: UpdateStrategyType,
    /// The limits of `RollingUpdate`.
    pub rolling_update: Option<RollingUpdateStatefulSet>,
}

/// The ways to replace pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum UpdateStrategyType {
    #[default]
    RollingUpdate,
    OnDelete,
}

/// The limits of a rolling update.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RollingUpdateStatefulSet {
    /// Pods with a lower ordinal keep the older template.
    #[serde(deserialize_with = "numbers::count")]
    pub partition: u32,
}

/// How pods are numbered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Ordinals {
    /// The number of the first pod.
    #[serde(deserialize_with = "numbers::count")]
    pub start: u32,
}

/// A volume that each pod has of its own, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeClaimTemplate {
    /// The volume's name.
    pub metadata: Metadata,
}

impl StatefulSetSpec {
    /// The ordinal below which pods keep the older template.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.update_strategy.rolling_update.as_ref().map_or(0, |rolling| rolling.partition)
    }

    /// The ordinals of the pods that are wanted.
    #[must_use]
    pub fn wanted(&self) -> std::ops::Range<u32> {
        let start = self.ordinals.start;
        start..start.saturating_add(self.replicas)
    }
}
