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
/// How deep policies may hold policies (gRFC A52).
const MAX_DEPTH: usize = 16;

/// How the endpoints of a cluster are picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LbPolicy {
    /// A locality by weight, then its endpoints in turn.
    RoundRobin,
    /// By the RPC's hash, on a ring of so many entries (gRFC A42).
    RingHash {
        /// At least, if it can be.
        min_size: u64,
        /// At most.
        max_size: u64,
    },
    /// The endpoint with the fewest RPCs of some that are drawn at random (gRFC A48).
    LeastRequest {
        /// How many are drawn; at least 2.
        choice_count: u32,
    },
}

/// A valid policy.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// There is a balancer for it.
    Known(LbPolicy),
    /// gRPC knows it, this client does not: its name.
    Missing(&'static str),
}

/// How many endpoints are drawn if the server does not say (gRFC A48).
const DEFAULT_CHOICES: u32 = 2;

/// `load_balancing_policy` overrides `lb_policy`, which must be valid all the same.
pub(super) fn read(proto: &proto::Cluster, unsupported: &mut Vec<String>) -> Result<LbPolicy, DecodeError> {
    let field = read_field(proto)?;
    match &proto.load_balancing_policy {
        Some(list) => read_list(list, 0, unsupported),
        None => Ok(field),
    }
}

/// The older field.
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
            let (min, max) = (config.minimum_ring_size, config.maximum_ring_size);
            read_ring(min.map(|it| it.value), max.map(|it| it.value))
        }
        Ok(Number::LeastRequest) => {
            let choice_count = match &proto.lb_config {
                Some(LbConfig::LeastRequestLbConfig(config)) => config.choice_count,
                _ => None,
            };
            read_choices(choice_count.map(|it| it.value))
        }
        other => Err(DecodeError::new(format!(
            "unexpected lbPolicy {}; gRPC knows ROUND_ROBIN, RING_HASH and LEAST_REQUEST",
            other.map_or("unknown", |policy| policy.as_str_name())
        ))),
    }
}

/// The first policy of the list that this client implements. One that gRPC would have taken before it is told in
/// `unsupported`, or in the error if there is no other.
fn read_list(
    list: &proto::LoadBalancingPolicy,
    depth: usize,
    unsupported: &mut Vec<String>,
) -> Result<LbPolicy, DecodeError> {
    if depth >= MAX_DEPTH {
        return Err(DecodeError::new(format!("load_balancing_policy exceeds max depth of {MAX_DEPTH}")));
    }
    let mut missing = Vec::new();
    for policy in &list.policies {
        let Some(any) = policy.typed_extension_config.as_ref().and_then(|it| it.typed_config.as_ref()) else {
            continue;
        };
        match read_extension(any, depth, unsupported)? {
            Some(Named::Known(policy)) => {
                let passed_over = |name| format!("load_balancing_policy {name}: passed over for the next of the list");
                unsupported.extend(missing.into_iter().map(passed_over));
                return Ok(policy);
            }
            Some(Named::Missing(name)) => missing.push(name),
            None => {}
        }
    }
    let found = match missing.as_slice() {
        [] => String::new(),
        names => format!(": {} not implemented by this client; use wrr_locality over round_robin", names.join(", ")),
    };
    Err(DecodeError::new(format!("no supported policy found in load_balancing_policy{found}")))
}

/// `None` for what gRPC does not know.
fn read_extension(any: &Any, depth: usize, unsupported: &mut Vec<String>) -> Result<Option<Named>, DecodeError> {
    let Some(name) = any.type_url.strip_prefix("type.googleapis.com/envoy.extensions.load_balancing_policies.") else {
        return Ok(None);
    };
    let policy = match name {
        "round_robin.v3.RoundRobin" => {
            if depth == 0 {
                unsupported.push("round_robin without wrr_locality: localities keep their weights".to_owned());
            }
            Named::Known(LbPolicy::RoundRobin)
        }
        "wrr_locality.v3.WrrLocality" => {
            let wrr: policies::wrr_locality::v3::WrrLocality = parse("WrrLocality", any)?;
            let Some(child) = wrr.endpoint_picking_policy else {
                return Err(DecodeError::new("wrr_locality has no endpoint_picking_policy"));
            };
            Named::Known(read_list(&child, depth + 1, unsupported)?)
        }
        "ring_hash.v3.RingHash" => {
            let config: policies::ring_hash::v3::RingHash = parse("RingHash", any)?;
            if ![HashFunction::DefaultHash as i32, HashFunction::XxHash as i32].contains(&config.hash_function) {
                return Err(unsupported_hash());
            }
            let (min, max) = (config.minimum_ring_size, config.maximum_ring_size);
            let ring = read_ring(min.map(|it| it.value), max.map(|it| it.value))?;
            if depth == 0 { Named::Known(ring) } else { Named::Missing("ring_hash below wrr_locality") }
        }
        "least_request.v3.LeastRequest" => {
            let config: policies::least_request::v3::LeastRequest = parse("LeastRequest", any)?;
            let least = read_choices(config.choice_count.map(|it| it.value))?;
            if depth == 0 { Named::Known(least) } else { Named::Missing("least_request below wrr_locality") }
        }
        "pick_first.v3.PickFirst" => Named::Missing("pick_first (gRFC A62)"),
        "client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin" => {
            Named::Missing("client_side_weighted_round_robin (gRFC A58)")
        }
        _ => return Ok(None),
    };
    Ok(Some(policy))
}

/// grpc-go accepts such sizes here and then fails the cluster; gRFC A42 rejects them.
fn read_ring(min: Option<u64>, max: Option<u64>) -> Result<LbPolicy, DecodeError> {
    let (min, max) = (min.unwrap_or(DEFAULT_MIN_RING_SIZE), max.unwrap_or(MAX_RING_SIZE));
    if min > MAX_RING_SIZE || max > MAX_RING_SIZE {
        return Err(DecodeError::new(format!("ring_hash sizes must not exceed {MAX_RING_SIZE}")));
    }
    if min > max {
        return Err(DecodeError::new(format!("ring_hash minimum_ring_size {min} is above maximum_ring_size {max}")));
    }
    Ok(LbPolicy::RingHash { min_size: min, max_size: max })
}

fn read_choices(count: Option<u32>) -> Result<LbPolicy, DecodeError> {
    match count.unwrap_or(DEFAULT_CHOICES) {
        count if count < 2 => Err(DecodeError::new(format!("least_request choice_count {count} is below 2"))),
        choice_count => Ok(LbPolicy::LeastRequest { choice_count }),
    }
}

fn unsupported_hash() -> DecodeError {
    DecodeError::new("unsupported ring_hash hash function, want XX_HASH")
}
