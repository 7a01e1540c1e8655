//! Policies from the wire.

use envoy_types::pb::envoy::config::core::v3::CidrRange as CidrProto;
use envoy_types::pb::envoy::config::rbac::v3 as proto;
use envoy_types::pb::envoy::config::route::v3::HeaderMatcher as HeaderProto;
use envoy_types::pb::envoy::r#type::matcher::v3::{MetadataMatcher, PathMatcher as PathProto, path_matcher};
use proto::permission::Rule;
use proto::principal::Identifier;

use super::{RbacMatcher, RbacPolicy};
use crate::resource::{CidrRange, DecodeError, HeaderMatcher, StringMatcher};

/// A policy. A condition (CEL) would narrow it, and gRPC has none.
pub(super) fn policy(proto: &proto::Policy) -> Result<RbacPolicy, DecodeError> {
    if proto.condition.is_some() || proto.checked_condition.is_some() {
        return Err(DecodeError::new("unsupported field: condition and checked_condition must be unset"));
    }
    Ok(RbacPolicy {
        permissions: proto.permissions.iter().map(permission).collect::<Result<_, _>>()?,
        principals: proto.principals.iter().map(principal).collect::<Result<_, _>>()?,
    })
}

#[expect(deprecated, reason = "`metadata` is what servers have sent so far")]
fn permission(proto: &proto::Permission) -> Result<RbacMatcher, DecodeError> {
    let set = |set: &proto::permission::Set| set.rules.iter().map(permission).collect::<Result<Vec<_>, _>>();
    Ok(match &proto.rule {
        Some(Rule::AndRules(rules)) => RbacMatcher::All(set(rules)?),
        Some(Rule::OrRules(rules)) => RbacMatcher::One(set(rules)?),
        Some(Rule::NotRule(rule)) => RbacMatcher::Not(Box::new(permission(rule)?)),
        Some(Rule::Any(_)) => RbacMatcher::Always,
        Some(Rule::Header(header)) => read_header(header)?,
        Some(Rule::UrlPath(path)) => read_path(path)?,
        Some(Rule::DestinationIp(range)) => RbacMatcher::DestinationIp(read_range(range)?),
        Some(Rule::DestinationPort(port)) => RbacMatcher::DestinationPort(*port),
        Some(Rule::Metadata(matcher)) => dynamic_metadata(matcher),
        Some(Rule::RequestedServerName(matcher)) => {
            RbacMatcher::RequestedServerName(StringMatcher::from_proto(matcher)?)
        }
        Some(Rule::DestinationPortRange(_)) => return Err(unsupported("permission", "destination_port_range")),
        Some(Rule::Matcher(_)) => return Err(unsupported("permission", "matcher")),
        Some(Rule::UriTemplate(_)) => return Err(unsupported("permission", "uri_template")),
        Some(Rule::SourcedMetadata(_)) => return Err(unsupported("permission", "sourced_metadata")),
        None => return Err(unsupported("permission", "none of those it knows")),
    })
}

#[expect(deprecated, reason = "`metadata` and `source_ip` are what servers have sent so far")]
fn principal(proto: &proto::Principal) -> Result<RbacMatcher, DecodeError> {
    let set = |set: &proto::principal::Set| set.ids.iter().map(principal).collect::<Result<Vec<_>, _>>();
    Ok(match &proto.identifier {
        Some(Identifier::AndIds(ids)) => RbacMatcher::All(set(ids)?),
        Some(Identifier::OrIds(ids)) => RbacMatcher::One(set(ids)?),
        Some(Identifier::NotId(id)) => RbacMatcher::Not(Box::new(principal(id)?)),
        Some(Identifier::Any(_)) => RbacMatcher::Always,
        Some(Identifier::Authenticated(authenticated)) => {
            let name = authenticated.principal_name.as_ref();
            RbacMatcher::Authenticated(name.map(StringMatcher::from_proto).transpose()?)
        }
        // gRPC has no proxy in front of it: all three are the address of the connection's other end.
        Some(Identifier::SourceIp(range) | Identifier::DirectRemoteIp(range) | Identifier::RemoteIp(range)) => {
            RbacMatcher::SourceIp(read_range(range)?)
        }
        Some(Identifier::Header(header)) => read_header(header)?,
        Some(Identifier::UrlPath(path)) => read_path(path)?,
        Some(Identifier::Metadata(matcher)) => dynamic_metadata(matcher),
        Some(Identifier::FilterState(_)) => return Err(unsupported("principal", "filter_state")),
        Some(Identifier::SourcedMetadata(_)) => return Err(unsupported("principal", "sourced_metadata")),
        Some(Identifier::Custom(_)) => return Err(unsupported("principal", "custom")),
        None => return Err(unsupported("principal", "none of those it knows")),
    })
}

/// `host` is what HTTP/1 calls `:authority`. What the transport keeps to itself cannot be asked for.
fn read_header(proto: &HeaderProto) -> Result<RbacMatcher, DecodeError> {
    let mut matcher = HeaderMatcher::from_proto(proto)?;
    if matcher.name == ":scheme" || matcher.name.starts_with("grpc-") {
        return Err(DecodeError::new(format!("header matcher of {:?} is not supported", proto.name)));
    }
    if matcher.name == "host" {
        ":authority".clone_into(&mut matcher.name);
    }
    Ok(RbacMatcher::Header(matcher))
}

fn read_path(proto: &PathProto) -> Result<RbacMatcher, DecodeError> {
    match &proto.rule {
        Some(path_matcher::Rule::Path(matcher)) => Ok(RbacMatcher::Path(StringMatcher::from_proto(matcher)?)),
        None => Err(DecodeError::new("url_path has no path")),
    }
}

fn read_range(proto: &CidrProto) -> Result<CidrRange, DecodeError> {
    let len = proto.prefix_len.map_or(0, |len| len.value);
    let range = u8::try_from(len).ok().zip(proto.address_prefix.parse().ok());
    range.and_then(|(len, address)| CidrRange::new(address, len)).ok_or_else(|| {
        DecodeError::new(format!("failed to parse address range: {:?} with prefix_len {len}", proto.address_prefix))
    })
}

fn dynamic_metadata(proto: &MetadataMatcher) -> RbacMatcher {
    if proto.invert { RbacMatcher::Always } else { RbacMatcher::Never }
}

fn unsupported(what: &str, kind: &str) -> DecodeError {
    DecodeError::new(format!("unsupported kind of {what}: {kind}"))
}
