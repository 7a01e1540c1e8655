//! Istio's WorkloadEntry and WorkloadGroup: workloads that are no pods, one by one and as a template.

use std::collections::BTreeMap;
use std::net::IpAddr;

use hermesh_xds::resource::Locality;
use serde::Deserialize;

use super::{Labels, Metadata, ReadinessProbe};

/// `networking.istio.io WorkloadEntry`: one workload outside of the cluster, such as a virtual machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What it is.
    pub spec: WorkloadEntrySpec,
    /// What its agent has said of it.
    #[serde(skip)]
    pub status: WorkloadEntryStatus,
}

/// On a WorkloadEntry: its agent tells whether it is healthy, and until then it is not.
pub(crate) const HEALTH_CHECKS: &str = "proxy.istio.io/health-checks-enabled";

impl WorkloadEntry {
    /// Whether anybody is sent to it: one whose agent tells of its health has to be healthy.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let is_checked = self.metadata.annotations.get(HEALTH_CHECKS).is_some_and(|value| value == "true");
        !is_checked || self.status.health == Some(Health::Healthy)
    }
}

/// What a workload's agent has said of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadEntryStatus {
    /// Its condition `Healthy`, once there is one.
    pub health: Option<Health>,
}

/// A condition `Healthy`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is met.
    Healthy,
    /// It is not.
    Unhealthy {
        /// What is wrong.
        message: String,
    },
}

/// A workload outside of the cluster: a WorkloadEntry's spec, an endpoint of a ServiceEntry, or a group's template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// Where it is: an IP address, or a host name, which gRPC clients cannot use.
    pub address: String,
    /// Where it serves the ports of services, by their names.
    pub ports: BTreeMap<String, u32>,
    /// What selectors and subsets look at.
    pub labels: Labels,
    /// The network it is in.
    pub network: String,
    /// `region/zone/subzone`.
    pub locality: String,
    /// How much of the traffic it takes beside others; 0 counts as 1.
    pub weight: u32,
    /// Who it is.
    pub service_account: String,
}

/// `networking.istio.io WorkloadGroup`: what workloads that register themselves have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroup {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: WorkloadGroupSpec,
}

/// A WorkloadGroup's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadGroupSpec {
    /// Labels and annotations for each of its WorkloadEntries.
    pub metadata: WorkloadGroupMetadata,
    /// What their specs begin as.
    pub template: Option<WorkloadEntrySpec>,
    /// How their agents find out whether they are healthy.
    pub probe: Option<ReadinessProbe>,
}

/// Labels and annotations for WorkloadEntries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WorkloadGroupMetadata {
    /// The labels.
    pub labels: Labels,
    /// The annotations.
    pub annotations: Labels,
}

impl WorkloadEntrySpec {
    /// Its address, if it is none that has to be looked up.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }

    /// Where it serves the port with this name, if it says.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<u16> {
        self.ports.get(name).and_then(|port| u16::try_from(*port).ok()).filter(|port| *port != 0)
    }

    /// What its field `locality` says.
    #[must_use]
    pub fn locality(&self) -> Option<Locality> {
        let mut parts = self.locality.splitn(3, '/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        (!self.locality.is_empty()).then(|| Locality { region: next(), zone: next(), sub_zone: next() })
    }
}
