//! What a client's locality makes of a load assignment: weights that are distributed, and priorities that fail over.
//!
//! Source: Istio `pilot/pkg/networking/core/loadbalancer/loadbalancer.go` (`ApplyLocalityLoadBalancer`). Priorities are
//! given only where outlier detection is asked for; the clients have none, so that a priority is left when none of its
//! endpoints can be reached.

use std::collections::{BTreeMap, BTreeSet};

use hermesh_xds::resource::Locality;

use crate::objects::{
    Labels, LocalityDistribute, LocalityFailover, LocalityLbSetting, REGION_LABEL, SUB_ZONE_LABEL, ZONE_LABEL,
};
use crate::snapshot::WorkloadEndpoint;

/// The label whose value is the same for everybody here.
const CLUSTER: (&str, &str) = ("topology.istio.io/cluster", "Kubernetes");

/// Endpoints of one locality at one priority.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) locality: Locality,
    pub(super) weight: u32,
    pub(super) priority: u32,
    pub(super) endpoints: Vec<WorkloadEndpoint>,
}

/// Where a client is, and its labels.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) locality: Locality,
    pub(super) labels: Labels,
}

/// Groups by locality, each with the weights of its endpoints.
pub(super) fn groups(endpoints: Vec<WorkloadEndpoint>) -> Vec<Group> {
    let mut groups: BTreeMap<Locality, Vec<WorkloadEndpoint>> = BTreeMap::new();
    for endpoint in endpoints {
        groups.entry(endpoint.locality.clone()).or_default().push(endpoint);
    }
    groups.into_iter().map(|(locality, endpoints)| Group::new(locality, 0, endpoints)).collect()
}

/// What the setting makes of groups for a client there.
pub(super) fn apply(
    groups: Vec<Group>,
    client: &Place,
    setting: Option<&LocalityLbSetting>,
    fails_over: bool,
) -> Vec<Group> {
    let usual = LocalityLbSetting::default();
    // The mesh's own setting says that localities matter, and no more.
    let setting = setting.unwrap_or(&usual);
    if setting.enabled == Some(false) {
        return groups;
    }
    if !setting.distribute.is_empty() {
        return distribute(groups, &client.locality, &setting.distribute);
    }
    if !fails_over {
        return groups;
    }
    if setting.failover_priority.is_empty() {
        return by_failover(groups, &client.locality, &setting.failover);
    }
    let groups = by_labels(groups, client, &setting.failover_priority);
    if setting.failover.is_empty() { groups } else { by_failover(groups, &client.locality, &setting.failover) }
}

impl Group {
    fn new(locality: Locality, priority: u32, endpoints: Vec<WorkloadEndpoint>) -> Self {
        let weight = endpoints.iter().fold(0, |sum: u32, endpoint| sum.saturating_add(endpoint.weight()));
        Self { locality, weight, priority, endpoints }
    }
}

/// Shares by the first entry for the client's locality. Localities without a share keep their place and lose their
/// endpoints. One that several names cover goes with the first of them.
fn distribute(mut groups: Vec<Group>, client: &Locality, entries: &[LocalityDistribute]) -> Vec<Group> {
    let Some(entry) = entries.iter().find(|entry| covers(&entry.from, client)) else { return groups };
    let mut left: BTreeSet<usize> = (0..groups.len()).collect();
    for (name, share) in &entry.to {
        let named: Vec<usize> = left.iter().copied().filter(|index| covers(name, &groups[*index].locality)).collect();
        let total: u64 = named.iter().map(|index| u64::from(groups[*index].weight)).sum();
        for index in named {
            left.remove(&index);
            let share = (u64::from(groups[index].weight) * u64::from(*share)).div_ceil(total.max(1));
            if share > 0 {
                groups[index].weight = u32::try_from(share).unwrap_or(u32::MAX);
            }
        }
    }
    left.into_iter().for_each(|index| groups[index].endpoints.clear());
    groups
}

/// Whether `region/zone/subzone` of a rule covers a locality.
fn covers(rule: &str, locality: &Locality) -> bool {
    let mut parts = rule.splitn(3, '/');
    let mut next = || parts.next().unwrap_or_default();
    let (region, zone, sub_zone) = (next(), next(), next());
    (region == "*" || region == locality.region)
        && (matches!(zone, "*" | "") || zone == locality.zone)
        && (matches!(sub_zone, "*" | "") || sub_zone == locality.sub_zone)
}

/// The nearer, the sooner. Of other regions the one that is to step in comes before the rest.
fn by_failover(mut groups: Vec<Group>, client: &Locality, failover: &[LocalityFailover]) -> Vec<Group> {
    for group in &mut groups {
        let there = &group.locality;
        let steps_in =
            || failover.iter().find(|entry| entry.from == client.region).is_none_or(|it| it.to == there.region);
        let distance = if there == client {
            0
        } else if there.region == client.region {
            if there.zone == client.zone { 1 } else { 2 }
        } else if steps_in() {
            3
        } else {
            4
        };
        // What labels have said counts more.
        group.priority = group.priority * 5 + distance;
    }
    without_gaps(groups)
}

/// The more of the labels in order an endpoint shares with the client, the sooner.
fn by_labels(groups: Vec<Group>, client: &Place, wanted: &[String]) -> Vec<Group> {
    let own = augmented(&client.labels, &client.locality);
    let wanted: Vec<(&str, Option<&str>)> = wanted
        .iter()
        .map(|label| match label.split_once('=') {
            Some((label, value)) => (label, Some(value)),
            None => (label.as_str(), own.get(label).map(String::as_str)),
        })
        .collect();
    let mut split = Vec::new();
    for group in groups {
        let mut by_priority: BTreeMap<u32, Vec<WorkloadEndpoint>> = BTreeMap::new();
        for endpoint in group.endpoints {
            let nobody = Labels::new();
            let labels = endpoint.workload.as_ref().map_or(&nobody, |workload| workload.labels());
            let labels = augmented(labels, &group.locality);
            let equal = |(label, value): &&(&str, Option<&str>)| {
                value.unwrap_or_default() == labels.get(*label).map(String::as_str).unwrap_or_default()
            };
            let priority = wanted.len() - wanted.iter().take_while(equal).count();
            by_priority.entry(u32::try_from(priority).unwrap_or(u32::MAX)).or_default().push(endpoint);
        }
        let parts = by_priority.into_iter();
        split.extend(parts.map(|(priority, endpoints)| Group::new(group.locality.clone(), priority, endpoints)));
    }
    without_gaps(split)
}

/// Labels with those that istiod adds for where a workload is.
fn augmented(labels: &Labels, locality: &Locality) -> Labels {
    let mut labels = labels.clone();
    let places = [(REGION_LABEL, &locality.region), (ZONE_LABEL, &locality.zone), (SUB_ZONE_LABEL, &locality.sub_zone)];
    let places = places.into_iter().filter(|(_, name)| !name.is_empty());
    labels.extend(places.map(|(label, name)| (label.to_owned(), name.clone())));
    labels.insert(CLUSTER.0.to_owned(), CLUSTER.1.to_owned());
    labels
}

/// Priorities from 0 in the order they have.
fn without_gaps(mut groups: Vec<Group>) -> Vec<Group> {
    let given: BTreeSet<u32> = groups.iter().map(|group| group.priority).collect();
    let ranks: BTreeMap<u32, u32> = given.into_iter().zip(0..).collect();
    groups.iter_mut().for_each(|group| group.priority = ranks[&group.priority]);
    groups
}
