//! Clusters: how a client talks to a Service or a subset of it.
//!
//! Source: Istio `grpcgen/cds.go`.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::cluster::v3 as cluster;
use envoy_types::pb::google::protobuf::UInt64Value;

use super::{ClusterName, Resource, proto, tls};
use crate::node::Node;
use crate::objects::{ConnectionPool, LoadBalancer, SimpleLoadBalancer, TlsMode};
use crate::snapshot::Snapshot;

pub(super) fn clusters(snapshot: &Snapshot, node: &Node, names: &BTreeSet<String>) -> Vec<Resource> {
    names.iter().filter_map(|name| cluster(snapshot, node, name)).collect()
}

fn cluster(snapshot: &Snapshot, node: &Node, name: &str) -> Option<Resource> {
    let ClusterName { port, subset, host } = ClusterName::parse(name)?;
    let service = snapshot.service(&host, node.namespace())?;
    service.port(port)?;
    let rule = snapshot.destination_rule(node, service);
    let subset = match subset.as_str() {
        "" => None,
        // What a cluster without its subset's labels would mean, nobody can say: there is none.
        subset => Some(rule?.subset(subset)?),
    };
    let mut from = BTreeSet::from([service.key()]);
    from.extend(rule.into_iter().flat_map(|rule| rule.from().iter().cloned()));
    let policy = rule.map(|rule| rule.policy(port, subset)).unwrap_or_default();
    let encrypts = policy.tls.is_some_and(|tls| tls.mode == TlsMode::IstioMutual);
    let (lb_policy, lb_config) = policy.load_balancer.map(load_balancing).unwrap_or_default();
    let body = cluster::Cluster {
        name: name.to_owned(),
        alt_stat_name: format!("{name};"),
        cluster_discovery_type: Some(cluster::cluster::ClusterDiscoveryType::Type(
            cluster::cluster::DiscoveryType::Eds.into(),
        )),
        eds_cluster_config: Some(cluster::cluster::EdsClusterConfig {
            eds_config: Some(proto::ads()),
            service_name: name.to_owned(),
        }),
        lb_policy: lb_policy.into(),
        lb_config,
        circuit_breakers: policy.connection_pool.and_then(circuit_breakers),
        transport_socket: encrypts.then(|| tls::upstream(&snapshot.identities(service))),
        ..cluster::Cluster::default()
    };
    Some(Resource { name: name.to_owned(), body: proto::any(&body), from })
}

/// The one limit that istiod hands on to gRPC clients (gRFC A32); none unless the rule has it.
fn circuit_breakers(pool: &ConnectionPool) -> Option<cluster::CircuitBreakers> {
    let max = u32::try_from(pool.http?.http2_max_requests).ok().filter(|max| *max > 0)?;
    let thresholds =
        cluster::circuit_breakers::Thresholds { max_requests: Some(proto::uint32(max)), ..Default::default() };
    Some(cluster::CircuitBreakers { thresholds: vec![thresholds], ..cluster::CircuitBreakers::default() })
}

/// ROUND_ROBIN for whatever gRPC has no policy for, and for what is not said: sidecars get LEAST_REQUEST then. A ring
/// has 1024 entries at least unless `ringHash` says otherwise, or nothing.
fn load_balancing(balancer: &LoadBalancer) -> (cluster::cluster::LbPolicy, Option<cluster::cluster::LbConfig>) {
    use cluster::cluster::{LbConfig, LbPolicy, MaglevLbConfig, RingHashLbConfig};
    let size = |size: u64| (size != 0).then_some(UInt64Value { value: size });
    let ring = |minimum_ring_size| {
        let config = RingHashLbConfig { minimum_ring_size, ..RingHashLbConfig::default() };
        (LbPolicy::RingHash, Some(LbConfig::RingHashLbConfig(config)))
    };
    match &balancer.consistent_hash {
        Some(hash) => match (hash.ring_hash, hash.maglev) {
            (Some(own), _) => ring(size(own.minimum_ring_size)),
            (None, Some(maglev)) => {
                let config = MaglevLbConfig { table_size: size(maglev.table_size) };
                (LbPolicy::Maglev, Some(LbConfig::MaglevLbConfig(config)))
            }
            (None, None) => ring(size(hash.minimum_ring_size).or_else(|| size(1024))),
        },
        None if balancer.simple == SimpleLoadBalancer::LeastRequest => (LbPolicy::LeastRequest, None),
        None => (LbPolicy::RoundRobin, None),
    }
}
