//! The kinds of object that have a typed form, and how one object is identified.

use std::fmt;

use serde::{Serialize, Serializer};

/// A kind of object that Hermesh models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is the kind it is named after")]
pub enum Kind {
    Namespace,
    Node,
    ServiceAccount,
    ConfigMap,
    Service,
    EndpointSlice,
    Pod,
    Deployment,
    StatefulSet,
    Job,
    ServiceEntry,
    WorkloadEntry,
    WorkloadGroup,
    ProxyConfig,
    DestinationRule,
    VirtualService,
    PeerAuthentication,
    AuthorizationPolicy,
}

impl Kind {
    /// All kinds, in the order in which they can be applied.
    pub const ALL: [Self; 18] = [
        Self::Namespace,
        Self::Node,
        Self::ServiceAccount,
        Self::ConfigMap,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::Job,
        Self::ServiceEntry,
        Self::WorkloadEntry,
        Self::WorkloadGroup,
        Self::ProxyConfig,
        Self::DestinationRule,
        Self::VirtualService,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
    ];

    /// The kind's name, as in `kind: DestinationRule`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Node => "Node",
            Self::ServiceAccount => "ServiceAccount",
            Self::ConfigMap => "ConfigMap",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::Job => "Job",
            Self::ServiceEntry => "ServiceEntry",
            Self::WorkloadEntry => "WorkloadEntry",
            Self::WorkloadGroup => "WorkloadGroup",
            Self::ProxyConfig => "ProxyConfig",
            Self::DestinationRule => "DestinationRule",
            Self::VirtualService => "VirtualService",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
        }
    }

    /// The versions under which the API server knows the kind, the preferred one first.
    #[must_use]
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Namespace | Self::Node | Self::ServiceAccount => &["v1"],
            Self::ConfigMap | Self::Service | Self::Pod => &["v1"],
            Self::EndpointSlice => &["discovery.k8s.io/v1"],
            Self::Deployment | Self::StatefulSet => &["apps/v1"],
            Self::Job => &["batch/v1"],
            Self::ProxyConfig => &["networking.istio.io/v1beta1"],
            Self::DestinationRule
            | Self::VirtualService
            | Self::ServiceEntry
            | Self::WorkloadEntry
            | Self::WorkloadGroup => {
                &["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"]
            }
            Self::PeerAuthentication | Self::AuthorizationPolicy => {
                &["security.istio.io/v1", "security.istio.io/v1beta1"]
            }
        }
    }

    /// Whether objects of this kind live in a namespace.
    #[must_use]
    pub fn is_namespaced(self) -> bool {
        !matches!(self, Self::Namespace | Self::Node)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What identifies one object. Displayed as `DestinationRule echo-grpc/echo-mtls`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The object's kind.
    pub kind: Kind,
    /// The object's namespace; empty for a Namespace or a Node.
    pub namespace: String,
    /// The object's name.
    pub name: String,
}

impl ObjectKey {
    /// The key of the object `namespace/name`.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { kind, namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{} {}", self.kind, self.name)
        } else {
            write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
        }
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
