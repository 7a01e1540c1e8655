//! Route configurations from the wire.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::route::v3 as proto;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use proto::route::Action;
use proto::route_action::ClusterSpecifier;
use proto::route_action::hash_policy::PolicySpecifier;
use regex::Regex;

use super::{
    HashPolicy, HashPolicyKind, MaxStreamDuration, Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost,
    WeightedCluster, retry,
};
use crate::resource::decode::duration;
use crate::resource::filter::read_overrides;
use crate::resource::{DecodeError, FilterOverrides, HeaderMatcher, PathMatcher};

/// The only filter state that gRPC hashes.
const CHANNEL_ID: &str = "io.grpc.channel_id";

/// Cluster specifier plugins by name. None is known to this crate, so what remains are those that may be passed over.
type OptionalPlugins = BTreeMap<String, ()>;

pub(in crate::resource) fn from_proto(proto: &proto::RouteConfiguration) -> Result<RouteConfiguration, DecodeError> {
    let plugins = read_plugins(&proto.cluster_specifier_plugins)?;
    let virtual_hosts = proto
        .virtual_hosts
        .iter()
        .map(|host| {
            read_virtual_host(host, &plugins)
                .map_err(|error| DecodeError::new(format!("virtual host {:?}: {error}", host.name)))
        })
        .collect::<Result<_, _>>()?;
    Ok(RouteConfiguration { name: proto.name.clone(), virtual_hosts })
}

/// A fraction in parts of a million, which may be more than a million. An unknown denominator means a million.
pub(in crate::resource) fn fraction_per_million(fraction: &FractionalPercent) -> u32 {
    let factor = match DenominatorType::try_from(fraction.denominator) {
        Ok(DenominatorType::Hundred) => 10_000,
        Ok(DenominatorType::TenThousand) => 100,
        Ok(DenominatorType::Million) | Err(_) => 1,
    };
    fraction.numerator.saturating_mul(factor)
}

fn read_plugins(protos: &[proto::ClusterSpecifierPlugin]) -> Result<OptionalPlugins, DecodeError> {
    let mut plugins = OptionalPlugins::new();
    for plugin in protos {
        let extension = plugin.extension.clone().unwrap_or_default();
        if !plugin.is_optional {
            let type_url = extension.typed_config.map(|any| any.type_url).unwrap_or_default();
            return Err(DecodeError::new(format!(
                "cluster specifier plugin {:?} of type {type_url:?} was not found",
                extension.name
            )));
        }
        plugins.insert(extension.name, ());
    }
    Ok(plugins)
}

fn read_virtual_host(proto: &proto::VirtualHost, plugins: &OptionalPlugins) -> Result<VirtualHost, DecodeError> {
    let mut routes = Vec::new();
    for route in &proto.routes {
        let read =
            read_route(route, plugins).map_err(|error| DecodeError::new(format!("route {:?}: {error}", route.name)))?;
        routes.extend(read);
    }
    let retry_policy = proto.retry_policy.as_ref().map(retry::read).transpose()?;
    let overrides = read_overrides(&proto.typed_per_filter_config)?;
    Ok(VirtualHost { name: proto.name.clone(), domains: proto.domains.clone(), routes, retry_policy, overrides })
}

/// `None` for a route that gRPC leaves out.
fn read_route(proto: &proto::Route, plugins: &OptionalPlugins) -> Result<Option<Route>, DecodeError> {
    let Some(route_match) = &proto.r#match else {
        return Err(DecodeError::new("route doesn't have a match"));
    };
    if !route_match.query_parameters.is_empty() {
        return Ok(None);
    }
    let matches = RouteMatch {
        path: PathMatcher::from_proto(route_match)?,
        headers: route_match.headers.iter().map(HeaderMatcher::from_proto).collect::<Result<_, _>>()?,
        per_million: route_match
            .runtime_fraction
            .as_ref()
            .map(|fraction| fraction_per_million(&fraction.default_value.unwrap_or_default())),
    };
    let action = match &proto.action {
        Some(Action::Route(action)) => match read_forward(action, plugins)? {
            Some(action) => action,
            None => return Ok(None),
        },
        Some(Action::NonForwardingAction(_)) => RouteAction::NonForwarding,
        Some(Action::Redirect(_)) => RouteAction::Unsupported("redirect"),
        Some(Action::DirectResponse(_)) => RouteAction::Unsupported("direct_response"),
        Some(Action::FilterAction(_)) => RouteAction::Unsupported("filter_action"),
        None => RouteAction::Unsupported("no action"),
    };
    let overrides = read_overrides(&proto.typed_per_filter_config)?;
    Ok(Some(Route { name: proto.name.clone(), matches, action, overrides }))
}

/// `None` for a route that gRPC leaves out; by then its hash policies have been checked, and nothing else.
fn read_forward(proto: &proto::RouteAction, plugins: &OptionalPlugins) -> Result<Option<RouteAction>, DecodeError> {
    let mut hash_policies = Vec::new();
    for policy in &proto.hash_policy {
        hash_policies.extend(read_hash_policy(policy)?);
    }
    let clusters = match &proto.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => {
            vec![WeightedCluster { name: name.clone(), weight: 1, overrides: FilterOverrides::new() }]
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => read_weighted_clusters(weighted)?,
        Some(ClusterSpecifier::ClusterSpecifierPlugin(name)) => {
            if plugins.contains_key(name) {
                return Ok(None);
            }
            return Err(DecodeError::new(format!(
                "route contains an action with an undeclared cluster specifier plugin {name:?}"
            )));
        }
        Some(ClusterSpecifier::ClusterHeader(_) | ClusterSpecifier::InlineClusterSpecifierPlugin(_)) | None => {
            return Ok(None);
        }
    };
    let max_stream_duration = match &proto.max_stream_duration {
        Some(max) => {
            let field = max.grpc_timeout_header_max.as_ref().or(max.max_stream_duration.as_ref());
            MaxStreamDuration(field.map(|max| duration("max_stream_duration", max)).transpose()?)
        }
        None => MaxStreamDuration(None),
    };
    let retry_policy = proto.retry_policy.as_ref().map(retry::read).transpose()?;
    Ok(Some(RouteAction::Forward { clusters, max_stream_duration, retry_policy, hash_policies }))
}

fn read_weighted_clusters(proto: &proto::WeightedCluster) -> Result<Vec<WeightedCluster>, DecodeError> {
    let mut clusters = Vec::new();
    let mut total = 0;
    for cluster in &proto.clusters {
        let weight = cluster.weight.map_or(0, |weight| weight.value);
        if weight == 0 {
            continue;
        }
        total += u64::from(weight);
        if total > u64::from(u32::MAX) {
            return Err(DecodeError::new(format!(
                "total weight of clusters in weighted_clusters exceeds the maximum of {}",
                u32::MAX
            )));
        }
        let overrides = read_overrides(&cluster.typed_per_filter_config)?;
        clusters.push(WeightedCluster { name: cluster.name.clone(), weight, overrides });
    }
    if clusters.is_empty() {
        return Err(DecodeError::new("weighted_clusters has no valid clusters: all weights are zero"));
    }
    Ok(clusters)
}

/// `None` for a policy that gRPC does not know.
fn read_hash_policy(proto: &proto::route_action::HashPolicy) -> Result<Option<HashPolicy>, DecodeError> {
    let kind = match &proto.policy_specifier {
        Some(PolicySpecifier::Header(header)) => {
            let rewrite = match &header.regex_rewrite {
                Some(rewrite) => {
                    let pattern = rewrite.pattern.as_ref().map(|it| it.regex.as_str()).unwrap_or_default();
                    let regex = Regex::new(pattern).map_err(|error| {
                        DecodeError::new(format!("hash policy: regex_rewrite {pattern:?} is not valid: {error}"))
                    })?;
                    Some((regex, rewrite.substitution.clone()))
                }
                None => None,
            };
            HashPolicyKind::Header { name: header.header_name.to_lowercase(), rewrite }
        }
        Some(PolicySpecifier::FilterState(state)) if state.key == CHANNEL_ID => HashPolicyKind::ChannelId,
        _ => return Ok(None),
    };
    Ok(Some(HashPolicy { kind, terminal: proto.terminal }))
}
