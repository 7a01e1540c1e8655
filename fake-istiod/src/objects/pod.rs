//! `v1 Pod`: its containers, and what the kubelet says about them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Deserializer};

use super::growing::growing;
use super::{Labels, Lifecycle, Metadata, Probe, Protocol, Volume, numbers};

/// `v1 Pod`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// Name, namespace, labels and annotations.
    pub metadata: Metadata,
    /// What runs.
    pub spec: PodSpec,
    /// What is.
    #[serde(skip)]
    pub status: PodStatus,
}

impl Pod {
    /// The name that its containers see as theirs.
    #[must_use]
    pub fn hostname(&self) -> &str {
        if self.spec.hostname.is_empty() { &self.metadata.name } else { &self.spec.hostname }
    }

    /// The readiness gates that are not met.
    pub fn closed_gates(&self) -> impl Iterator<Item = &str> {
        let is_met = |gate: &&str| self.status.conditions.get(*gate) == Some(&true);
        let gates = self.spec.readiness_gates.iter().map(|gate| gate.condition_type.as_str());
        gates.filter(move |gate| !is_met(gate))
    }

    /// The numbers of the container ports with this name.
    #[must_use]
    pub fn named_port(&self, name: &str) -> Option<u16> {
        let ports = self.spec.containers.iter().flat_map(|container| &container.ports);
        ports.filter(|port| port.name.as_deref() == Some(name)).map(|port| port.container_port).next()
    }
}

growing! {
    /// What runs in a pod.
    #[derive(Clone, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "camelCase", default, remote = "Self")]
    pub struct PodSpec {
        /// The containers, in the order in which they are started.
        pub containers: Vec<Container>,
        /// What they can mount.
        pub volumes: Vec<Volume>,
        /// The pod's identity; `default` if empty.
        pub service_account_name: String,
        /// Whether containers that end are started again.
        pub restart_policy: RestartPolicy,
        /// How long containers may take to end after SIGTERM.
        pub termination_grace_period_seconds: u64 = 30,
        /// The node the pod is on.
        pub node_name: Option<String>,
    }
    later {
        /// What is started before them: one after the other, each when the one before it has ended with success, or has
        /// come up if it is a sidecar.
        pub init_containers: Vec<Container>,
        /// Conditions that have to be met beside all containers being ready.
        pub readiness_gates: Vec<ReadinessGate>,
        /// The name that containers see as theirs; the pod's if empty.
        pub hostname: String,
        /// The headless Service under whose name the pod has the name `hostname`.
        pub subdomain: String,
        /// The labels of the nodes that it may run on.
        pub node_selector: Labels,
        /// What it bears of its node.
        pub tolerations: Vec<Toleration>,
        /// The old name of `service_account_name`, to which it is moved.
        service_account: String,
    }
}

impl<'de> Deserialize<'de> for PodSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not this function but the one that serde derives.
        let mut spec = Self::deserialize(deserializer)?;
        // As the API server takes them: it fills in both, and the newer field wins.
        let old = std::mem::take(&mut spec.service_account);
        if spec.service_account_name.is_empty() {
            spec.service_account_name = old;
        }
        Ok(spec)
    }
}

impl PodSpec {
    /// The name of the pod's service account.
    #[must_use]
    pub fn service_account(&self) -> &str {
        if self.service_account_name.is_empty() { "default" } else { &self.service_account_name }
    }
}

/// Which taints of its node a pod bears, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Toleration {
    /// The taint's key; all of them if empty.
    pub key: String,
    /// `Exists`, or `Equal` for taints with that value.
    pub operator: Option<String>,
    /// The taint's value.
    pub value: String,
    /// The taint's effect, such as `NoExecute`; all of them if empty.
    pub effect: String,
    /// How long it bears a taint that evicts others; for ever if not given.
    pub toleration_seconds: Option<i64>,
}

impl Toleration {
    /// Whether it bears the taint `key`, which has no value, with its effect `effect`.
    #[must_use]
    pub fn bears(&self, key: &str, effect: &str) -> bool {
        let exists = self.operator.as_deref() == Some("Exists");
        let of_key = self.key == key || (self.key.is_empty() && exists);
        of_key && (exists || self.value.is_empty()) && (self.effect.is_empty() || self.effect == effect)
    }
}

/// A condition that has to be met before the pod is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessGate {
    /// The condition's type, such as `example.com/registered`.
    pub condition_type: String,
}

/// Whether containers that end are started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum RestartPolicy {
    #[default]
    Always,
    OnFailure,
    Never,
}

growing! {
    /// One container.
    #[derive(Clone, PartialEq, Eq, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    pub struct Container {
        /// Its name, unique in the pod.
        pub name: String,
        /// Its image.
        pub image: String,
        /// Replaces the image's entry point.
        pub command: Vec<String>,
        /// The arguments.
        pub args: Vec<String>,
        /// The environment.
        pub env: Vec<EnvVar>,
        /// The ports it declares; it may serve others.
        pub ports: Vec<ContainerPort>,
        /// When it may have traffic.
        pub readiness_probe: Option<Probe>,
        /// When it must be restarted.
        pub liveness_probe: Option<Probe>,
        /// What holds the other two back until it succeeds.
        pub startup_probe: Option<Probe>,
        /// What runs after its start and before its end.
        pub lifecycle: Lifecycle,
        /// The volumes it sees.
        pub volume_mounts: Vec<VolumeMount>,
    }
    later {
        /// Makes a sidecar of an init container.
        pub restart_policy: Option<ContainerRestartPolicy>,
        /// What injection has it ask of its node. Manifests say it without effect, and it is not read from them.
        #[serde(skip)]
        pub resources: Resources,
    }
}

impl Container {
    /// Whether an init container runs beside the containers after it, and always starts again.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.restart_policy == Some(ContainerRestartPolicy::Always)
    }
}

/// Amounts such as `100m` and `128Mi`, by the names of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// What a container asks for.
    pub requests: BTreeMap<String, String>,
    /// What it gets at most.
    pub limits: BTreeMap<String, String>,
}

/// A restart policy of one container's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename = "restartPolicy")]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum ContainerRestartPolicy {
    Always,
}

/// One environment variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Its value, in which `$(NAME)` stands for an earlier variable.
    pub value: Option<String>,
    /// Where its value comes from.
    pub value_from: Option<EnvVarSource>,
}

impl EnvVar {
    /// A variable with a fixed value.
    #[must_use]
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), value: Some(value.into()), value_from: None }
    }

    /// A variable that takes its value from a field of the pod, such as `status.podIP`.
    #[must_use]
    pub fn from_field(name: impl Into<String>, field_path: impl Into<String>) -> Self {
        let field_ref = Some(FieldReference { field_path: field_path.into() });
        Self { name: name.into(), value: None, value_from: Some(EnvVarSource { field_ref, config_map_key_ref: None }) }
    }
}

/// Where an environment variable's value comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EnvVarSource {
    /// A field of the pod.
    pub field_ref: Option<FieldReference>,
    /// A key of a ConfigMap.
    pub config_map_key_ref: Option<ConfigMapKeyReference>,
}

/// A field of the pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FieldReference {
    /// The field's path, such as `status.podIP` or `metadata.labels['app']`.
    pub field_path: String,
}

/// A key of a ConfigMap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConfigMapKeyReference {
    /// The ConfigMap's name.
    pub name: String,
    /// The key.
    pub key: String,
    /// Whether the container starts without it.
    pub optional: bool,
}

/// A port that a container declares.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// A name that Services and probes can use.
    pub name: Option<String>,
    /// The port's number.
    #[serde(deserialize_with = "numbers::port")]
    pub container_port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
}

/// A volume in a container's file system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeMount {
    /// The volume's name.
    pub name: String,
    /// Where it appears.
    pub mount_path: String,
    /// Whether the container may only read it.
    pub read_only: bool,
}

/// A pod's state, as the kubelet reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodStatus {
    /// How far the pod is.
    pub phase: PodPhase,
    /// A word for why it is not further.
    pub reason: Option<String>,
    /// What it waits for, in a sentence.
    pub message: Option<String>,
    /// Its address, once it has one.
    pub pod_ip: Option<IpAddr>,
    /// Its node's address.
    pub host_ip: Option<IpAddr>,
    /// Whether the init containers have done their work once (condition `Initialized`).
    pub initialized: bool,
    /// Whether all containers are ready, sidecars among them, and the readiness gates met (condition `Ready`).
    pub ready: bool,
    /// Since when it is ready, in whole seconds since the Unix epoch.
    pub ready_since: Option<u64>,
    /// The conditions that others than the kubelet keep, and whether they are met.
    pub conditions: BTreeMap<String, bool>,
    /// When the pod was started, in whole seconds since the Unix epoch.
    pub start_time: Option<u64>,
    /// One entry for each init container, in the order of the spec.
    pub init_containers: Vec<ContainerStatus>,
    /// One entry for each container, in the order of the spec.
    pub containers: Vec<ContainerStatus>,
}

/// How far a pod is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum PodPhase {
    #[default]
    Pending,
    Running,
    Succeeded,
    Failed,
}

/// A container's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerStatus {
    /// The container's name.
    pub name: String,
    /// Whether it passes its readiness probe. Of an init container that is no sidecar, whether it has done its work.
    pub ready: bool,
    /// Whether it passed its startup probe and its `postStart` hook.
    pub started: bool,
    /// How often it was restarted.
    pub restart_count: u32,
    /// What it does now.
    pub state: ContainerState,
    /// How the run before this one ended, if there was one.
    pub last_state: Option<ContainerState>,
}

/// What a container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// It does not run yet.
    Waiting {
        /// A word for why, such as `CrashLoopBackOff`.
        reason: String,
    },
    /// It runs.
    Running,
    /// It has ended.
    Terminated {
        /// Its exit code.
        exit_code: i32,
        /// A word for why, such as `Completed` or `Error`.
        reason: String,
    },
}
