//! The endpoints of a cluster by locality and priority, from EDS (gRFC A27, A56, A61, A76).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::address::Address;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::endpoint::v3 as proto;
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::google::protobuf::value::Kind;

use crate::resource::DecodeError;
use crate::resource::route::fraction_per_million;

/// `envoy.config.endpoint.v3.ClusterLoadAssignment`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The resource's name, its `cluster_name`.
    pub name: String,
    /// In the order of the resource. Priorities run from 0 without a gap; localities of weight 0 are left out.
    pub localities: Vec<LocalityEndpoints>,
    /// Shares of the RPCs to fail on purpose.
    pub drops: Vec<DropOverload>,
}

/// The endpoints of one locality at one priority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalityEndpoints {
    /// Where.
    pub id: Locality,
    /// Share of the priority's traffic, in proportion to its siblings; at least 1.
    pub weight: u32,
    /// 0 is used first.
    pub priority: u32,
    /// Those to use: health status HEALTHY or UNKNOWN.
    pub endpoints: Vec<Endpoint>,
    /// Those to leave alone; kept only to explain why they get no traffic.
    pub unhealthy: Vec<Endpoint>,
}

/// `envoy.config.core.v3.Locality`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// Such as `eu-west-1`.
    pub region: String,
    /// Such as `eu-west-1a`.
    pub zone: String,
    /// Such as a rack.
    pub sub_zone: String,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Other addresses of the same backend (A61).
    pub additional_addresses: Vec<SocketAddr>,
    /// What health checks say.
    pub health: HealthStatus,
    /// Share of the locality's traffic, in proportion to its siblings; at least 1.
    pub weight: u32,
    /// The endpoint's `hostname` (A81); empty if unset.
    pub hostname: String,
    /// The metadata `envoy.lb`'s `hash_key` (A76).
    pub hash_key: Option<String>,
}

/// `envoy.config.core.v3.HealthStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are the protocol's own")]
pub enum HealthStatus {
    Unknown,
    Healthy,
    Unhealthy,
    Draining,
    Timeout,
    Degraded,
}

impl HealthStatus {
    /// Whether gRPC sends RPCs to endpoints of this status.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Unknown | Self::Healthy)
    }
}

/// A share of RPCs that fail with UNAVAILABLE without being sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropOverload {
    /// A label for load reports.
    pub category: String,
    /// Of a million RPCs, how many; at most 1 000 000.
    pub per_million: u32,
}

impl fmt::Display for Locality {
    /// `region/zone/sub_zone`, as Kubernetes and Istio write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.region, self.zone, self.sub_zone)
    }
}

pub(super) fn from_proto(proto: &proto::ClusterLoadAssignment) -> Result<Endpoints, DecodeError> {
    let drops = read_drops(proto)?;
    let mut localities = Vec::new();
    let mut seen = BTreeSet::new();
    let mut addresses = BTreeSet::new();
    let mut weights: BTreeMap<u32, u64> = BTreeMap::new();
    for group in &proto.endpoints {
        let Some(locality) = &group.locality else {
            return Err(DecodeError::new("EDS response contains a locality without ID"));
        };
        let weight = group.load_balancing_weight.map_or(0, |weight| weight.value);
        if weight == 0 {
            continue;
        }
        let sum = weights.entry(group.priority).or_default();
        *sum += u64::from(weight);
        if *sum > u64::from(u32::MAX) {
            return Err(DecodeError::new(format!(
                "sum of weights of localities at priority {} exceeds the maximum of {}",
                group.priority,
                u32::MAX
            )));
        }
        let core::Locality { region, zone, sub_zone } = locality.clone();
        let id = Locality { region, zone, sub_zone };
        if !seen.insert((group.priority, id.clone())) {
            return Err(DecodeError::new(format!("duplicate locality {id} with the same priority {}", group.priority)));
        }
        let (endpoints, unhealthy): (Vec<_>, Vec<_>) =
            read_endpoints(group, &mut addresses)?.into_iter().partition(|endpoint| endpoint.health.is_usable());
        localities.push(LocalityEndpoints { id, weight, priority: group.priority, endpoints, unhealthy });
    }
    for (expected, priority) in (0..).zip(weights.keys()) {
        if expected != *priority {
            return Err(DecodeError::new(format!("priority {expected} missing (with different priorities received)")));
        }
    }
    Ok(Endpoints { name: proto.cluster_name.clone(), localities, drops })
}

fn read_drops(proto: &proto::ClusterLoadAssignment) -> Result<Vec<DropOverload>, DecodeError> {
    let overloads = proto.policy.iter().flat_map(|policy| &policy.drop_overloads);
    overloads
        .map(|overload| {
            let percentage = overload.drop_percentage.unwrap_or_default();
            if !(0..=2).contains(&percentage.denominator) {
                return Err(DecodeError::new(format!(
                    "drop_overload {:?} has unsupported denominator {}",
                    overload.category, percentage.denominator
                )));
            }
            let per_million = fraction_per_million(&percentage).min(1_000_000);
            Ok(DropOverload { category: overload.category.clone(), per_million })
        })
        .collect()
}

fn read_endpoints(
    group: &proto::LocalityLbEndpoints,
    addresses: &mut BTreeSet<SocketAddr>,
) -> Result<Vec<Endpoint>, DecodeError> {
    let mut sum = 0;
    let mut endpoints = Vec::new();
    for lb_endpoint in &group.lb_endpoints {
        let weight = match &lb_endpoint.load_balancing_weight {
            Some(weight) if weight.value == 0 => {
                return Err(DecodeError::new("EDS response contains an endpoint with zero weight"));
            }
            Some(weight) => weight.value,
            None => 1,
        };
        sum += u64::from(weight);
        if sum > u64::from(u32::MAX) {
            return Err(DecodeError::new(format!(
                "sum of weights of endpoints in a locality exceeds the maximum of {}",
                u32::MAX
            )));
        }
        let Some(HostIdentifier::Endpoint(endpoint)) = &lb_endpoint.host_identifier else {
            return Err(DecodeError::new("EDS response contains an endpoint without `endpoint`"));
        };
        let address = read_address(endpoint.address.as_ref())?;
        let additional_addresses = endpoint
            .additional_addresses
            .iter()
            .map(|additional| read_address(additional.address.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        for address in std::iter::once(&address).chain(&additional_addresses) {
            if !addresses.insert(*address) {
                return Err(DecodeError::new(format!("duplicate endpoint with the same address {address}")));
            }
        }
        endpoints.push(Endpoint {
            address,
            additional_addresses,
            health: read_health(lb_endpoint.health_status),
            weight,
            hostname: endpoint.hostname.clone(),
            hash_key: lb_endpoint.metadata.as_ref().and_then(read_hash_key),
        });
    }
    Ok(endpoints)
}

/// grpc-go accepts what has no socket address and later fails to connect to `:0`, and dials host names; an endpoint
/// here is an IP address and a port, as the API requires of EDS.
fn read_address(proto: Option<&core::Address>) -> Result<SocketAddr, DecodeError> {
    let Some(Address::SocketAddress(socket)) = proto.and_then(|proto| proto.address.as_ref()) else {
        return Err(DecodeError::new("EDS response contains an endpoint without socket_address"));
    };
    let ip: IpAddr = socket.address.parse().map_err(|_| {
        DecodeError::new(format!("endpoint address {:?} is not an IP address, as EDS requires", socket.address))
    })?;
    match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => match u16::try_from(port) {
            Ok(port) => Ok(SocketAddr::new(ip, port)),
            Err(_) => Err(DecodeError::new(format!("endpoint {ip} has port {port}, which is above 65535"))),
        },
        _ => Err(DecodeError::new(format!("endpoint {ip} has no port_value"))),
    }
}

fn read_health(number: i32) -> HealthStatus {
    match core::HealthStatus::try_from(number) {
        Ok(core::HealthStatus::Unknown) => HealthStatus::Unknown,
        Ok(core::HealthStatus::Healthy) => HealthStatus::Healthy,
        Ok(core::HealthStatus::Draining) => HealthStatus::Draining,
        Ok(core::HealthStatus::Timeout) => HealthStatus::Timeout,
        Ok(core::HealthStatus::Degraded) => HealthStatus::Degraded,
        // A status from the future: whatever it means, it is not HEALTHY.
        Ok(core::HealthStatus::Unhealthy) | Err(_) => HealthStatus::Unhealthy,
    }
}

fn read_hash_key(metadata: &core::Metadata) -> Option<String> {
    let value = metadata.filter_metadata.get("envoy.lb")?.fields.get("hash_key")?;
    match &value.kind {
        Some(Kind::StringValue(key)) => Some(key.clone()),
        _ => None,
    }
}
