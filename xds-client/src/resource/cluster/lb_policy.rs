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
}

/// A valid policy.
#[derive(Clone, Copy, Debug)]
enum Named {
    /// There is a balancer for it.
    Known(LbPolicy),
    /// gRPC knows it, this client does not: its name.
    Missing(&'static str),
}

const RING_HASH: Named = Named::Missing("RING_HASH (gRFC A42)");
const LEAST_REQUEST: Named = Named::Missing("LEAST_REQUEST (gRFC A48)");

/// `load_balancing_policy` overrides `lb_policy`, which must be valid all the same.
pub(super) fn read(proto: &proto::Cluster, unsupported: &mut Vec<String>) -> Result<LbPolicy, DecodeError> {
    let field = read_field(proto)?;
    match (&proto.load_balancing_policy, field) {
        (Some(list), _) => read_list(list, 0, unsupported),
        (None, Named::Known(policy)) => Ok(policy),
        (None, Named::Missing(name)) => Err(DecodeError::new(format!(
            "cluster {:?}: lb_policy {name} is not implemented by this client; use ROUND_ROBIN",
            proto.name
        ))),
    }
}

/// The older field.
fn read_field(proto: &proto::Cluster) -> Result<Named, DecodeError> {
    use proto::cluster::{LbPolicy as Number, ring_hash_lb_config::HashFunction};
    match Number::try_from(proto.lb_policy) {
        Ok(Number::RoundRobin) => Ok(Named::Known(LbPolicy::RoundRobin)),
        Ok(Number::RingHash) => {
            let config = match &proto.lb_config {
                Some(LbConfig::RingHashLbConfig(config)) => *config,
                _ => proto::cluster::RingHashLbConfig::default(),
            };
            if config.hash_function != HashFunction::XxHash as i32 {
                return Err(unsupported_hash());
            }
            check_ring(config.minimum_ring_size.map(|it| it.value), config.maximum_ring_size.map(|it| it.value))?;
            Ok(RING_HASH)
        }
        Ok(Number::LeastRequest) => {
            if let Some(LbConfig::LeastRequestLbConfig(config)) = &proto.lb_config {
                check_choices(config.choice_count.map(|it| it.value))?;
            }
            Ok(LEAST_REQUEST)
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
            check_ring(config.minimum_ring_size.map(|it| it.value), config.maximum_ring_size.map(|it| it.value))?;
            RING_HASH
        }
        "least_request.v3.LeastRequest" => {
            let config: policies::least_request::v3::LeastRequest = parse("LeastRequest", any)?;
            check_choices(config.choice_count.map(|it| it.value))?;
            LEAST_REQUEST
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
fn check_ring(min: Option<u64>, max: Option<u64>) -> Result<(), DecodeError> {
    let (min, max) = (min.unwrap_or(DEFAULT_MIN_RING_SIZE), max.unwrap_or(MAX_RING_SIZE));
    if min > MAX_RING_SIZE || max > MAX_RING_SIZE {
        return Err(DecodeError::new(format!("ring_hash sizes must not exceed {MAX_RING_SIZE}")));
    }
    if min > max {
        return Err(DecodeError::new(format!("ring_hash minimum_ring_size {min} is above maximum_ring_size {max}")));
    }
    Ok(())
}

fn check_choices(count: Option<u32>) -> Result<(), DecodeError> {
    match count {
        Some(count) if count < 2 => Err(DecodeError::new(format!("least_request choice_count {count} is below 2"))),
        _ => Ok(()),
    }
}

fn unsupported_hash() -> DecodeError {
    DecodeError::new("unsupported ring_hash hash function, want XX_HASH")
}
