//! Localities in DestinationRules: which of them take whose traffic, and when others step in.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Which localities take the traffic of which clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLbSetting {
    /// Shares of the traffic, by where it comes from; the first that fits counts.
    pub distribute: Vec<LocalityDistribute>,
    /// Which region steps in for which.
    pub failover: Vec<LocalityFailover>,
    /// Labels, or `label=value`, by which endpoints are preferred: the more of them in order equal the client's, the
    /// sooner.
    pub failover_priority: Vec<String>,
    /// Whether localities matter at all; they do if absent.
    pub enabled: Option<bool>,
}

/// How the traffic from one locality is spread.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LocalityDistribute {
    /// `region/zone/subzone`; `*` stands for any, and so does what is left out.
    pub from: String,
    /// Shares in percent by locality, written likewise; those that are not named get none.
    pub to: BTreeMap<String, u32>,
}

/// The region that steps in for another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct LocalityFailover {
    /// The client's region.
    pub from: String,
    /// The region that comes before all others then.
    pub to: String,
}

/// When endpoints are taken out for failing; gRPC clients are told nothing of that, but with it localities fail over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// Unless 0, endpoints that are not ready are not even sent.
    pub min_health_percent: i32,
}
