//! Load assignments: the endpoints of a Service's port, or of a subset of it.
//!
//! Source: Istio `pilot/pkg/xds/endpoints/endpoint_builder.go`. Of an endpoint's metadata only `istio.workload` is
//! sent; gRPC reads none of it.

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;

use super::{ClusterName, Resource, proto};
use crate::node::Node;
use crate::objects::{Labels, selects};
use crate::snapshot::{Snapshot, Workload, WorkloadEndpoint};

pub(super) fn load_assignments(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<Resource> {
    names.iter().map(|name| load_assignment(snapshot, node, name)).collect()
}

fn load_assignment(snapshot: &Snapshot, node: &Node, name: &str) -> Resource {
    let mut from = BTreeSet::new();
    let mut localities: BTreeMap<(String, String, String), Vec<WorkloadEndpoint>> = BTreeMap::new();
    let cluster = ClusterName::parse(name);
    let service = cluster.as_ref().and_then(|cluster| snapshot.service(&cluster.host, node.namespace()));
    if let (Some(cluster), Some(service)) = (&cluster, service) {
        from.insert(service.key());
        // An unknown subset, or one without labels, is everybody; no cluster names it.
        let mut labels = Labels::new();
        if !cluster.subset.is_empty()
            && let Some(rule) = snapshot.destination_rule(node, service)
        {
            from.extend(rule.from().iter().cloned());
            labels = rule.subset(&cluster.subset).map(|subset| subset.labels.clone()).unwrap_or_default();
        }
        for endpoint in snapshot.endpoints(service, cluster.port) {
            let nobody = Labels::new();
            let workload = endpoint.workload.as_ref();
            if !selects(&labels, workload.map_or(&nobody, Workload::labels)) {
                continue;
            }
            from.insert(endpoint.slice.clone());
            from.extend(workload.map(|workload| workload.pod().key()));
            let (region, zone, sub_zone) = workload.map(Workload::locality).unwrap_or_default();
            let locality = (region.to_owned(), zone.to_owned(), sub_zone.to_owned());
            localities.entry(locality).or_default().push(endpoint);
        }
    }
    let body = endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: localities.into_iter().map(locality_endpoints).collect(),
        ..endpoint::ClusterLoadAssignment::default()
    };
    Resource { name: name.to_owned(), body: proto::any(&body), from }
}

fn locality_endpoints(
    ((region, zone, sub_zone), endpoints): ((String, String, String), Vec<WorkloadEndpoint>),
) -> endpoint::LocalityLbEndpoints {
    let weight = u32::try_from(endpoints.len()).unwrap_or(u32::MAX);
    endpoint::LocalityLbEndpoints {
        locality: Some(Locality { region, zone, sub_zone }),
        load_balancing_weight: Some(proto::uint32(weight)),
        lb_endpoints: endpoints.iter().map(lb_endpoint).collect(),
        ..endpoint::LocalityLbEndpoints::default()
    }
}

fn lb_endpoint(endpoint: &WorkloadEndpoint) -> endpoint::LbEndpoint {
    let health = if endpoint.is_ready { HealthStatus::Healthy } else { HealthStatus::Unhealthy };
    let address = proto::address(endpoint.address.to_string(), endpoint.port);
    endpoint::LbEndpoint {
        health_status: health.into(),
        load_balancing_weight: Some(proto::uint32(1)),
        metadata: endpoint
            .workload
            .as_ref()
            .map(|workload| proto::metadata("istio", "workload", description(workload))),
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint::Endpoint {
            address: Some(address),
            ..endpoint::Endpoint::default()
        })),
    }
}

/// `workload;namespace;canonicalName;canonicalRevision;clusterId`.
fn description(workload: &Workload) -> String {
    let label = |names: &[&str]| names.iter().find_map(|name| workload.labels().get(*name)).map(String::as_str);
    let name = label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let name = name.unwrap_or_else(|| workload.name());
    let revision = label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    let revision = revision.filter(|revision| *revision != "latest").unwrap_or_default();
    let namespace = &workload.pod().metadata.namespace;
    format!("{};{namespace};{name};{revision};Kubernetes", workload.name())
}
