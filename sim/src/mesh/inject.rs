//! Resources that a test gives clients in the place of istiod's own.

use std::fmt;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::google::protobuf::Any;
use hermesh_istiod::push::gate::{self, Injection};
use hermesh_xds::ResourceType;
use prost::Message as _;

use super::{DisturbError, Mesh, Responses};
use crate::protojson;

/// A listener, route configuration, cluster, or the endpoints of one, as its bytes.
///
/// It is made from a message of `envoy-types`, or from the bytes of one that was recorded ([`Resource::new`]). Of a
/// message with protobuf maps in it the bytes differ from run to run if a map has several entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    resource_type: ResourceType,
    name: String,
    body: Any,
}

/// Why something is no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResourceError {
    /// Clients of gRPC do not ask for this type.
    #[error("{:?} is no type of resource; expected {}", .0, type_urls())]
    Type(String),
    /// The bytes are not those of a message of the type.
    #[error("no {resource_type}: {error}")]
    Bytes {
        /// The type's short name.
        resource_type: &'static str,
        /// What is wrong with them.
        error: prost::DecodeError,
    },
    /// Nobody could ask for it.
    #[error("the {0} resource has no name")]
    NoName(&'static str),
}

fn type_urls() -> String {
    ResourceType::ALL.map(ResourceType::type_url).join(", ")
}

impl Resource {
    /// A resource as it is on the wire. Whether clients accept it is their business.
    ///
    /// # Errors
    /// If it is of none of the four types, does not decode, or has no name.
    pub fn new(body: Any) -> Result<Self, ResourceError> {
        let resource_type =
            ResourceType::from_type_url(&body.type_url).ok_or_else(|| ResourceError::Type(body.type_url.clone()))?;
        let bytes = &*body.value;
        let name = match resource_type {
            ResourceType::Listener => Listener::decode(bytes).map(|listener| listener.name),
            ResourceType::RouteConfiguration => RouteConfiguration::decode(bytes).map(|routes| routes.name),
            ResourceType::Cluster => Cluster::decode(bytes).map(|cluster| cluster.name),
            ResourceType::Endpoints => ClusterLoadAssignment::decode(bytes).map(|endpoints| endpoints.cluster_name),
        };
        let resource_type_name = resource_type.short();
        let name = name.map_err(|error| ResourceError::Bytes { resource_type: resource_type_name, error })?;
        if name.is_empty() {
            return Err(ResourceError::NoName(resource_type_name));
        }
        Ok(Self { resource_type, name, body })
    }

    /// Its type.
    #[must_use]
    pub fn resource_type(&self) -> ResourceType {
        self.resource_type
    }

    /// The name by which clients ask for it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its bytes, with their type.
    #[must_use]
    pub fn body(&self) -> &Any {
        &self.body
    }

    /// It in protobuf's JSON mapping, with `@type`, as [`read`](Self::read) takes it. A message in it whose type is not
    /// known has its bytes in base64, and fields that are not known are left out.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        protojson::write(&self.body)
    }
}

/// As [`Resource::to_json`] has it.
impl serde::Serialize for Resource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// `CDS outbound|7070||echo.shop.svc.cluster.local`
impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.resource_type.short(), self.name)
    }
}

macro_rules! resources {
    ($($message:ident $name:ident => $resource_type:ident)*) => {$(
        impl From<$message> for Resource {
            fn from(message: $message) -> Self {
                let resource_type = ResourceType::$resource_type;
                let body = Any { type_url: resource_type.type_url().to_owned(), value: message.encode_to_vec() };
                Self { resource_type, name: message.$name, body }
            }
        }
    )*};
}

resources! {
    Listener name => Listener
    RouteConfiguration name => RouteConfiguration
    Cluster name => Cluster
    ClusterLoadAssignment cluster_name => Endpoints
}

/// Resources of your own in the place of istiod's. They outlive streams, pods and istiod, as what is done to
/// [`Responses`] does.
impl Mesh {
    /// Gives the clients of a workload or pod a resource in the place of istiod's own of that type and name, or beside
    /// those that istiod has. It goes out at once to those who have asked for it, and to others when they ask. A client
    /// that rejects it goes on with what it had ([`client_config`](Self::client_config) shows that), and
    /// [`try_wait_converged`](Self::try_wait_converged) has its words.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn inject(&mut self, to: &str, resource: impl Into<Resource>) -> &mut Self {
        let result = self.try_inject(to, resource);
        self.must("inject", result);
        self
    }

    /// [`inject`](Self::inject) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_inject(&mut self, to: &str, resource: impl Into<Resource>) -> Result<(), DisturbError> {
        self.try_inject_all(to, &[resource.into()])
    }

    /// [`inject`](Self::inject) of several resources at one moment, such as those of a dump ([`Resource::open`]).
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn inject_all(&mut self, to: &str, resources: &[Resource]) -> &mut Self {
        let result = self.try_inject_all(to, resources);
        self.must("inject_all", result);
        self
    }

    /// [`inject_all`](Self::inject_all) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_inject_all(&mut self, to: &str, resources: &[Resource]) -> Result<(), DisturbError> {
        let pods = self.clients_of(to)?;
        let cause = self.disturb("inject", resources.iter().map(|resource| format!("{resource} to {to}")).collect());
        let injection = |Resource { resource_type, name, body }: &Resource| {
            let (name, body, to) = (name.clone(), body.clone(), Some(pods.clone()));
            Injection { resource_type: *resource_type, name, body, to, cause }
        };
        let injections: Vec<Injection> = resources.iter().map(injection).collect();
        let gate = self.cluster.gate().clone();
        self.at_once(|| injections.into_iter().for_each(|injection| gate.inject(injection)))?;
        Ok(())
    }

    /// Takes back what was injected into these responses: istiod's own go out again. `to` names what
    /// [`inject`](Self::inject) did; without it all that was injected is meant.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn eject(&mut self, responses: Responses) -> &mut Self {
        let result = self.try_eject(&responses);
        self.must("eject", result);
        self
    }

    /// [`eject`](Self::eject) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_eject(&mut self, responses: &Responses) -> Result<(), DisturbError> {
        let to = responses.to.as_deref().map(|to| self.clients_of(to)).transpose()?;
        let cause = self.disturb("eject", vec![responses.described()]);
        let (gate, types) = (self.cluster.gate().clone(), responses.types.clone());
        self.at_once(|| gate.eject(&gate::Responses { types, to }, cause))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_resource_says_why() {
        let any = |type_url: &str, value: &[u8]| Any { type_url: type_url.to_owned(), value: value.to_vec() };
        let cluster = ResourceType::Cluster.type_url();
        let told = |any| Resource::new(any).unwrap_err().to_string();
        assert!(
            told(any("type.googleapis.com/a.B", b"")).starts_with("\"type.googleapis.com/a.B\" is no type of resource")
        );
        assert!(told(any(cluster, b"\xff")).starts_with("no CDS: "));
        assert_eq!(told(any(cluster, b"")), "the CDS resource has no name");
        let named = Cluster { name: "a".to_owned(), ..Cluster::default() };
        let resource = Resource::from(named.clone());
        assert_eq!(Resource::new(any(cluster, &named.encode_to_vec())), Ok(resource.clone()));
        assert_eq!((resource.name(), resource.resource_type()), ("a", ResourceType::Cluster));
    }
}
