//! What requests are hashed by, where a DestinationRule wants those that are alike to go to one endpoint.
//!
//! Source: Istio `pilot/pkg/networking/core/route/route.go` (`consistentHashToHashPolicy`).

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::route::v3 as route;
use route::route_action::hash_policy::{ConnectionProperties, Cookie, Header, PolicySpecifier, QueryParameter};
use route::route_action::{ClusterSpecifier, HashPolicy};

use super::ClusterName;
use crate::node::Node;
use crate::objects::{ConsistentHash, ObjectKey};
use crate::snapshot::{Snapshot, full_host};

/// The policy of a destination; `port` is the one that its VirtualService names, if it does.
pub(super) fn policy(
    snapshot: &Snapshot,
    node: &Node,
    host: &str,
    subset: Option<&str>,
    port: Option<u16>,
) -> Option<HashPolicy> {
    let host = full_host(host, node.namespace(), snapshot.mesh());
    let service = snapshot.service(&host, node.namespace())?;
    let rule = snapshot.destination_rule(node, service)?;
    let subset = subset.and_then(|subset| rule.subset(subset));
    // No port is number 0.
    let policy = rule.policy(port.unwrap_or_default(), subset);
    policy.load_balancer?.consistent_hash.as_ref().and_then(from_rule)
}

/// The DestinationRules that have routes hash what they do.
pub(super) fn rules_behind(snapshot: &Snapshot, node: &Node, routes: &[route::Route]) -> BTreeSet<ObjectKey> {
    let actions = routes.iter().filter_map(|route| match &route.action {
        Some(route::route::Action::Route(action)) if !action.hash_policy.is_empty() => Some(action),
        _ => None,
    });
    let names = actions.flat_map(|action| match &action.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![name],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => weighted.clusters.iter().map(|it| &it.name).collect(),
        _ => Vec::new(),
    });
    let rules = names.filter_map(|name| {
        let service = snapshot.service(&ClusterName::parse(name)?.host, node.namespace())?;
        snapshot.destination_rule(node, service)
    });
    rules.flat_map(|rule| rule.from().iter().cloned()).collect()
}

fn from_rule(hash: &ConsistentHash) -> Option<HashPolicy> {
    let specifier = if let Some(name) = &hash.http_header_name {
        PolicySpecifier::Header(Header { header_name: name.clone(), ..Header::default() })
    } else if let Some(cookie) = &hash.http_cookie {
        PolicySpecifier::Cookie(Cookie { name: cookie.name.clone(), path: cookie.path.clone(), ..Cookie::default() })
    } else if hash.use_source_ip {
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
    } else {
        let name = hash.http_query_parameter_name.clone()?;
        PolicySpecifier::QueryParameter(QueryParameter { name })
    };
    Some(HashPolicy { policy_specifier: Some(specifier), ..HashPolicy::default() })
}
