//! What every object has: its name, labels and history.

use std::sync::Arc;

use serde::Deserialize;

use super::{Kind, Labels, ObjectKey};
use crate::yaml::{Location, Node};

/// An object's metadata. What the API server fills in is not read from YAML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The name, unique for its kind and namespace.
    pub name: String,
    /// The namespace; empty for a Namespace or a Node.
    pub namespace: String,
    /// Labels, which selectors look at.
    pub labels: Labels,
    /// Annotations, which they do not.
    pub annotations: Labels,
    /// A name for this incarnation of the object.
    #[serde(skip)]
    pub uid: String,
    /// Grows with every change in the cluster.
    #[serde(skip)]
    pub resource_version: u64,
    /// Grows with every change of the spec.
    #[serde(skip)]
    pub generation: u64,
    /// When the object was first applied, in whole seconds since the Unix epoch.
    #[serde(skip)]
    pub creation_timestamp: Option<u64>,
    /// When its deletion was asked for, in whole seconds since the Unix epoch.
    #[serde(skip)]
    pub deletion_timestamp: Option<u64>,
    /// The object whose controller made this one.
    #[serde(skip)]
    pub owner: Option<OwnerReference>,
    /// Where the object was written.
    #[serde(skip)]
    pub origin: Origin,
    /// What was written there.
    #[serde(skip)]
    pub written: Written,
}

impl Metadata {
    /// Metadata with a name alone.
    #[must_use]
    pub fn named(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), ..Self::default() }
    }

    /// The key of an object of `kind` with this metadata.
    #[must_use]
    pub fn key(&self, kind: Kind) -> ObjectKey {
        ObjectKey::new(kind, &self.namespace, &self.name)
    }

    /// What Istio sorts by wherever the older object wins: creation time, then name, then namespace.
    #[must_use]
    pub fn age(&self) -> (u64, &str, &str) {
        (self.creation_timestamp.unwrap_or(0), &self.name, &self.namespace)
    }
}

/// The object whose controller made another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerReference {
    /// The owner's kind.
    pub kind: Kind,
    /// The owner's name, in the same namespace.
    pub name: String,
    /// The owner's incarnation.
    pub uid: String,
}

/// Where an object was written, if it came from a file. All origins are equal: moving an object in its file is no
/// change.
#[derive(Clone, Debug, Default)]
pub struct Origin(pub Option<Location>);

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Origin {}

/// What was written of an object, if it came from a file. All are equal: what counts of it has been read.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// What the last manifest says; kubectl keeps it in an annotation.
    pub applied: Option<Arc<Node>>,
    /// That, with all that others have changed since.
    pub live: Option<Arc<Node>>,
}

impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}
