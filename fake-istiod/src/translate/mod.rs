//! From a snapshot, a node and names to the resources istiod would send, as plain functions.
//!
//! Source: Istio `pilot/pkg/networking/grpcgen` and what it calls. What no name stands for is told apart by type, as
//! istiod does: unknown listeners and clusters are left out, unknown route configurations have no virtual hosts, and
//! unknown endpoints are an empty load assignment.

mod authorization_policy;
mod cds;
mod dangling;
mod describe;
mod eds;
mod fault;
mod hash;
mod lds;
mod locality;
mod name;
mod name_filter;
mod peer_authentication;
mod proto;
mod rds;
mod retry;
mod route;
mod tls;

use std::collections::BTreeSet;

use envoy_types::pb::google::protobuf::Any;
use hermesh_xds::ResourceType;

pub use dangling::dangling;
pub use describe::describe;
pub use name::{ClusterName, INBOUND_LISTENER_PREFIX};
pub use peer_authentication::ServerMode;

use crate::node::Node;
use crate::objects::ObjectKey;
use crate::snapshot::Snapshot;

/// One resource and the objects that made it what it is.
#[derive(Clone, Debug)]
pub struct Resource {
    /// The name it was asked for by.
    pub name: String,
    /// The resource.
    pub body: Any,
    /// The objects it was made from.
    pub from: BTreeSet<ObjectKey>,
}

/// The resources of one type for `names`; what no names mean depends on the type.
#[must_use]
pub fn resources(
    snapshot: &Snapshot,
    node: &Node,
    resource_type: ResourceType,
    names: &BTreeSet<String>,
) -> Vec<Resource> {
    match resource_type {
        ResourceType::Listener => lds::listeners(snapshot, node, names),
        ResourceType::RouteConfiguration => rds::route_configurations(snapshot, node, names),
        ResourceType::Cluster => cds::clusters(snapshot, node, names),
        ResourceType::Endpoints => eds::load_assignments(snapshot, node, names),
    }
}

/// The listeners for `names`: client listeners under the spelling that was asked for, server listeners under their
/// address. No names are all Services on all ports.
#[must_use]
pub fn listeners(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<(String, Any)> {
    bodies(resources(snapshot, node, ResourceType::Listener, names))
}

/// The route configurations for `names`; those that are no names of clusters are left out.
#[must_use]
pub fn route_configurations(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<(String, Any)> {
    bodies(resources(snapshot, node, ResourceType::RouteConfiguration, names))
}

/// The clusters for `names`; those whose Service, port or subset is unknown are left out.
#[must_use]
pub fn clusters(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<(String, Any)> {
    bodies(resources(snapshot, node, ResourceType::Cluster, names))
}

/// The load assignments for `names`, one for each.
#[must_use]
pub fn endpoints(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<(String, Any)> {
    bodies(resources(snapshot, node, ResourceType::Endpoints, names))
}

/// The objects that make a resource what it is; none if there is no such resource.
#[must_use]
pub fn why(snapshot: &Snapshot, node: &Node, resource_type: ResourceType, name: &str) -> BTreeSet<ObjectKey> {
    let resources = resources(snapshot, node, resource_type, &BTreeSet::from([name.to_owned()]));
    resources.into_iter().find(|resource| resource.name == name).map(|resource| resource.from).unwrap_or_default()
}

fn bodies(resources: Vec<Resource>) -> Vec<(String, Any)> {
    resources.into_iter().map(|resource| (resource.name, resource.body)).collect()
}
