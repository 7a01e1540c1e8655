//! Load assignments: the endpoints of a Service's port, or of a subset of it.
//!
//! Source: Istio `pilot/pkg/xds/endpoints/endpoint_builder.go`. Of an endpoint's metadata only `istio.workload` is
//! sent; gRPC reads none of it.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::{HealthStatus, Locality};
use envoy_types::pb::envoy::config::endpoint::v3 as endpoint;

use super::locality::{self, Group, Place};
use super::{ClusterName, Resource, proto};
use crate::node::Node;
use crate::objects::{Labels, selects};
use crate::snapshot::{Snapshot, Workload, WorkloadEndpoint};

pub(super) fn load_assignments(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<Resource> {
    names.iter().map(|name| load_assignment(snapshot, node, name)).collect()
}

fn load_assignment(snapshot: &Snapshot, node: &Node, name: &str) -> Resource {
    let mut from = BTreeSet::new();
    let mut groups = Vec::new();
    let cluster = ClusterName::parse(name);
    let service = cluster.as_ref().and_then(|cluster| snapshot.service(&cluster.host, node.namespace()));
    if let (Some(cluster), Some(service)) = (&cluster, service) {
        from.insert(service.key());
        let rule = snapshot.destination_rule(node, service);
        // An unknown subset, or one without labels, is everybody; no cluster names it.
        let subset = rule.filter(|_| !cluster.subset.is_empty()).and_then(|rule| rule.subset(&cluster.subset));
        let labels = subset.map(|subset| subset.labels.clone()).unwrap_or_default();
        let policy = rule.map(|rule| rule.policy(cluster.port, subset)).unwrap_or_default();
        let localities = policy.load_balancer.and_then(|balancer| balancer.locality_lb_setting.as_ref());
        let outliers = policy.outlier_detection;
        if !cluster.subset.is_empty() || localities.is_some() || outliers.is_some() {
            from.extend(rule.into_iter().flat_map(|rule| rule.from().iter().cloned()));
        }
        let keeps_unready = outliers.is_none_or(|outliers| outliers.min_health_percent <= 0);
        let nobody = Labels::new();
        let mut endpoints = snapshot.endpoints(service, cluster.port);
        endpoints.retain(|endpoint| selects(&labels, endpoint.workload.as_ref().map_or(&nobody, Workload::labels)));
        for endpoint in &endpoints {
            from.insert(endpoint.from.clone());
            from.extend(endpoint.workload.as_ref().map(Workload::key));
        }
        endpoints.retain(|endpoint| endpoint.is_ready || keeps_unready);
        let client = Place { locality: snapshot.locality(node), labels: snapshot.labels(node).clone() };
        groups = locality::apply(locality::groups(endpoints), &client, localities, outliers.is_some());
    }
    let body = endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: groups.into_iter().map(locality_endpoints).collect(),
        ..endpoint::ClusterLoadAssignment::default()
    };
    Resource { name: name.to_owned(), body: proto::any(&body), from }
}

fn locality_endpoints(group: Group) -> endpoint::LocalityLbEndpoints {
    let hermesh_xds::resource::Locality { region, zone, sub_zone } = group.locality;
    endpoint::LocalityLbEndpoints {
        locality: Some(Locality { region, zone, sub_zone }),
        load_balancing_weight: Some(proto::uint32(group.weight)),
        lb_endpoints: group.endpoints.iter().map(lb_endpoint).collect(),
        priority: group.priority,
        ..endpoint::LocalityLbEndpoints::default()
    }
}

fn lb_endpoint(endpoint: &WorkloadEndpoint) -> endpoint::LbEndpoint {
    let health = if endpoint.is_ready { HealthStatus::Healthy } else { HealthStatus::Unhealthy };
    let address = proto::address(endpoint.address.to_string(), endpoint.port);
    endpoint::LbEndpoint {
        health_status: health.into(),
        load_balancing_weight: Some(proto::uint32(endpoint.weight())),
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
    let namespace = workload.namespace();
    format!("{};{namespace};{name};{revision};Kubernetes", workload.name())
}
