//! From the wire to a [`Resource`], one `Any` at a time.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::{self, Any};
use prost::Message;

use crate::Bootstrap;
use crate::resource::{Resource, ResourceType, cluster, endpoints, listener, route};

/// The type URL of the wrapper that the node feature `xds.config.resource-in-sotw` invites.
const RESOURCE_WRAPPER: &str = "type.googleapis.com/envoy.service.discovery.v3.Resource";

/// What validation must know of the world around a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validation {
    /// Instance names of the bootstrap's certificate providers; a resource that names another is rejected.
    pub certificate_providers: BTreeSet<String>,
}

impl From<&Bootstrap> for Validation {
    fn from(bootstrap: &Bootstrap) -> Self {
        Self { certificate_providers: bootstrap.certificate_providers.keys().cloned().collect() }
    }
}

/// Why a resource was rejected, as the management server is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(String);

impl DecodeError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// What one `Any` turned out to be.
#[derive(Clone, Debug, PartialEq)]
pub enum Decoded {
    /// A resource whose name could be read.
    Named {
        /// The name, in [canonical form](crate::resource::canonical_name).
        name: String,
        /// The resource, or what is wrong with it.
        outcome: Result<Resource, DecodeError>,
    },
    /// Not even a name could be read: it makes the response fail, but no watcher can be told.
    Unnamed(DecodeError),
}

/// Reads and validates one resource of a response of type `expected`, unwrapping
/// `envoy.service.discovery.v3.Resource`.
#[must_use]
pub fn decode(expected: ResourceType, any: &Any, validation: &Validation) -> Decoded {
    match unwrap(any) {
        Ok(any) => decode_unwrapped(expected, &any, validation),
        Err(error) => Decoded::Unnamed(error),
    }
}

/// As [`decode`], for what [`unwrap`] has answered.
pub(crate) fn decode_unwrapped(expected: ResourceType, any: &Any, validation: &Validation) -> Decoded {
    match decode_named(expected, any, validation) {
        Ok((name, outcome)) => Decoded::Named { name: super::canonical_name(&name).into_owned(), outcome },
        Err(error) => Decoded::Unnamed(error),
    }
}

/// The resource itself, where an `envoy.service.discovery.v3.Resource` may be around it.
pub(crate) fn unwrap(any: &Any) -> Result<Cow<'_, Any>, DecodeError> {
    if any.type_url != RESOURCE_WRAPPER {
        return Ok(Cow::Borrowed(any));
    }
    let wrapper: discovery::Resource = parse("Resource wrapper", any)?;
    wrapper.resource.map(Cow::Owned).ok_or_else(|| DecodeError::new("Resource wrapper holds no resource"))
}

type Named = (String, Result<Resource, DecodeError>);

fn decode_named(expected: ResourceType, any: &Any, validation: &Validation) -> Result<Named, DecodeError> {
    if any.type_url != expected.type_url() {
        return Err(DecodeError::new(format!(
            "unexpected resource type: {:?}, want {:?}",
            any.type_url,
            expected.type_url()
        )));
    }
    let title = expected.title();
    let (name, outcome) = match expected {
        ResourceType::Listener => {
            let proto = parse(title, any)?;
            let outcome = listener::from_proto(&proto, validation).map(|it| Resource::Listener(Arc::new(it)));
            (proto.name, outcome)
        }
        ResourceType::RouteConfiguration => {
            let proto = parse(title, any)?;
            let outcome = route::from_proto(&proto).map(|it| Resource::RouteConfiguration(Arc::new(it)));
            (proto.name, outcome)
        }
        ResourceType::Cluster => {
            let proto = parse(title, any)?;
            let outcome = cluster::from_proto(&proto, validation).map(|it| Resource::Cluster(Arc::new(it)));
            (proto.name, outcome)
        }
        ResourceType::Endpoints => {
            let proto = parse(title, any)?;
            let outcome = endpoints::from_proto(&proto).map(|it| Resource::Endpoints(Arc::new(it)));
            (proto.cluster_name, outcome)
        }
    };
    if name.is_empty() {
        return Err(DecodeError::new(format!("empty resource name in {title}")));
    }
    Ok((name, outcome))
}

/// The message in `any`, whatever its type URL says.
pub(crate) fn parse<M: Message + Default>(what: &str, any: &Any) -> Result<M, DecodeError> {
    M::decode(any.value.as_slice()).map_err(|error| DecodeError::new(format!("failed to unmarshal {what}: {error}")))
}

/// The longest duration that protobuf's `Duration` may hold, about 10000 years; adding one to a clock never overflows.
const DURATION_SECONDS_MAX: u64 = 315_576_000_000;

/// A duration that is not negative.
pub(crate) fn duration(field: &str, proto: &protobuf::Duration) -> Result<Duration, DecodeError> {
    let parts = u64::try_from(proto.seconds).ok().zip(u32::try_from(proto.nanos).ok());
    match parts {
        Some((seconds, nanos)) if nanos < 1_000_000_000 && seconds <= DURATION_SECONDS_MAX => {
            Ok(Duration::new(seconds, nanos))
        }
        _ => Err(DecodeError::new(format!("{field} is negative or out of range"))),
    }
}
