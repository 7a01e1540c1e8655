//! The load balancing policy of a cluster, from `lb_policy` or `load_balancing_policy` (gRFC A42, A48, A52).

use envoy_types::pb::envoy::config::cluster::v3 as proto;
use envoy_types::pb::envoy::extensions::load_balancing_policies as policies;
use envoy_types::pb::google::protobuf::Any;
use policies::ring_hash::v3::ring_hash::HashFunction;

use super::LbConfig;
use crate::resource::DecodeError;
use crate::resource::decode::parse;

/// Largest ring that a server may ask for (gRFC A42).
const MAX_RING_SIZE: u64 = 8 * 1024 * 1024;
/// Smallest ring if the server does not say.
const DEFAULT_MIN_RING_SIZE: u64 = 1024;
/// How many endpoints LEAST_REQUEST compares if the server does not say (gRFC A48).
const DEFAULT_CHOICE_COUNT: u32 = 2;
/// How deep policies may hold policies (gRFC A52).
const MAX_DEPTH: usize = 16;

/// How the endpoints of a cluster are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LbPolicy {
    /// A locality by weight, then its endpoints in turn.
    RoundRobin,
    /// Consistent hashing over all endpoints of a priority (A42). Kept as data and listed in
    /// [`Cluster::unsupported`](super::Cluster::unsupported) until there is a balancer for it.
    RingHash {
        /// Fewest entries of the ring.
        min_ring_size: u64,
        /// Most entries of the ring.
        max_ring_size: u64,
    },
    /// The least loaded of a few random endpoints (A48). Kept as data and listed in
    /// [`Cluster::unsupported`](super::Cluster::unsupported) until there is a balancer for it.
    LeastRequest {
        /// How many endpoints to compare; at least 2.
        choice_count: u32,
    },
}

pub(super) fn read(proto: &proto::Cluster, unsupported: &mut Vec<String>) -> Result<LbPolicy, DecodeError> {
    let mut policy = read_field(proto)?;
    if let Some(list) = &proto.load_balancing_policy {
        policy = read_list(list, 0, unsupported)?;
    }
    match policy {
        LbPolicy::RoundRobin => {}
        LbPolicy::RingHash { .. } => unsupported.push("lb_policy RING_HASH: calls to this cluster fail".to_owned()),
        LbPolicy::LeastRequest { .. } => {
            unsupported.push("lb_policy LEAST_REQUEST: calls to this cluster fail".to_owned());
        }
    }
    Ok(policy)
}

/// The older field, which must be valid even if the newer one overrides it.
fn read_field(proto: &proto::Cluster) -> Result<LbPolicy, DecodeError> {
    use proto::cluster::{LbPolicy as Number, ring_hash_lb_config::HashFunction};
    match Number::try_from(proto.lb_policy) {
        Ok(Number::RoundRobin) => Ok(LbPolicy::RoundRobin),
        Ok(Number::RingHash) => {
            let config = match &proto.lb_config {
                Some(LbConfig::RingHashLbConfig(config)) => *config,
                _ => proto::cluster::RingHashLbConfig::default(),
            };
            if config.hash_function != HashFunction::XxHash as i32 {
                return Err(unsupported_hash());
            }
            ring_hash(config.minimum_ring_size.map(|it| it.value), config.maximum_ring_size.map(|it| it.value))
        }
        Ok(Number::LeastRequest) => least_request(match &proto.lb_config {
            Some(LbConfig::LeastRequestLbConfig(config)) => config.choice_count.map(|it| it.value),
            _ => None,
        }),
        other => Err(DecodeError::new(format!(
            "unexpected lbPolicy {}; gRPC knows ROUND_ROBIN, RING_HASH and LEAST_REQUEST",
            other.map_or("unknown", |policy| policy.as_str_name())
        ))),
    }
}

/// The first policy of the list that gRPC knows.
fn read_list(
    list: &proto::LoadBalancingPolicy,
    depth: usize,
    unsupported: &mut Vec<String>,
) -> Result<LbPolicy, DecodeError> {
    if depth >= MAX_DEPTH {
        return Err(DecodeError::new(format!("load_balancing_policy exceeds max depth of {MAX_DEPTH}")));
    }
    for policy in &list.policies {
        let Some(any) = policy.typed_extension_config.as_ref().and_then(|it| it.typed_config.as_ref()) else {
            continue;
        };
        if let Some(policy) = read_extension(any, depth, unsupported)? {
            return Ok(policy);
        }
    }
    Err(DecodeError::new("no supported policy found in load_balancing_policy"))
}

fn read_extension(any: &Any, depth: usize, unsupported: &mut Vec<String>) -> Result<Option<LbPolicy>, DecodeError> {
    let Some(name) = any.type_url.strip_prefix("type.googleapis.com/envoy.extensions.load_balancing_policies.") else {
        return Ok(None);
    };
    let policy = match name {
        "round_robin.v3.RoundRobin" => {
            if depth == 0 {
                unsupported.push("round_robin without wrr_locality: localities keep their weights".to_owned());
            }
            LbPolicy::RoundRobin
        }
        "wrr_locality.v3.WrrLocality" => {
            let wrr: policies::wrr_locality::v3::WrrLocality = parse("WrrLocality", any)?;
            let Some(child) = wrr.endpoint_picking_policy else {
                return Err(DecodeError::new("wrr_locality has no endpoint_picking_policy"));
            };
            match read_list(&child, depth + 1, unsupported)? {
                LbPolicy::RoundRobin => LbPolicy::RoundRobin,
                LbPolicy::RingHash { .. } | LbPolicy::LeastRequest { .. } => {
                    return Err(not_implemented("wrr_locality over a policy other than round_robin"));
                }
            }
        }
        "ring_hash.v3.RingHash" => {
            let config: policies::ring_hash::v3::RingHash = parse("RingHash", any)?;
            if ![HashFunction::DefaultHash as i32, HashFunction::XxHash as i32].contains(&config.hash_function) {
                return Err(unsupported_hash());
            }
            ring_hash(config.minimum_ring_size.map(|it| it.value), config.maximum_ring_size.map(|it| it.value))?
        }
        "least_request.v3.LeastRequest" => {
            let config: policies::least_request::v3::LeastRequest = parse("LeastRequest", any)?;
            least_request(config.choice_count.map(|it| it.value))?
        }
        "pick_first.v3.PickFirst" => return Err(not_implemented("pick_first")),
        "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin" => {
            return Err(not_implemented("client_side_weighted_round_robin"));
        }
        _ => return Ok(None),
    };
    Ok(Some(policy))
}

fn ring_hash(min: Option<u64>, max: Option<u64>) -> Result<LbPolicy, DecodeError> {
    let max_ring_size = max.unwrap_or(MAX_RING_SIZE);
    // grpc-go accepts these here and then fails the cluster; gRFC A42 rejects them.
    let min_ring_size = min.unwrap_or(DEFAULT_MIN_RING_SIZE);
    if min_ring_size > MAX_RING_SIZE || max_ring_size > MAX_RING_SIZE {
        return Err(DecodeError::new(format!("ring_hash sizes must not exceed {MAX_RING_SIZE}")));
    }
    if min_ring_size > max_ring_size {
        return Err(DecodeError::new(format!(
            "ring_hash minimum_ring_size {min_ring_size} is above maximum_ring_size {max_ring_size}"
        )));
    }
    Ok(LbPolicy::RingHash { min_ring_size, max_ring_size })
}

fn least_request(choice_count: Option<u32>) -> Result<LbPolicy, DecodeError> {
    let choice_count = choice_count.unwrap_or(DEFAULT_CHOICE_COUNT);
    if choice_count < 2 {
        return Err(DecodeError::new(format!("least_request choice_count {choice_count} is below 2")));
    }
    Ok(LbPolicy::LeastRequest { choice_count })
}

fn unsupported_hash() -> DecodeError {
    DecodeError::new("unsupported ring_hash hash function, want XX_HASH")
}

fn not_implemented(policy: &str) -> DecodeError {
    DecodeError::new(format!(
        "load_balancing_policy {policy} is not implemented by this client; use wrr_locality over round_robin"
    ))
}
