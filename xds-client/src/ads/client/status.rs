//! What a client knows of each resource, for the client status discovery service (gRFC A40).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{AdsClient, ResourceState};
use crate::resource::ResourceType;

/// One watched resource.
#[derive(Clone, Debug, PartialEq)]
pub struct ResourceStatus {
    /// Its type.
    pub resource_type: ResourceType,
    /// Its name.
    pub name: String,
    /// How it stands.
    pub client_status: ClientStatus,
    /// The version of the copy in use; empty without one.
    pub version: Arc<str>,
    /// When that came: wall time since 1970.
    pub last_updated: Option<Duration>,
    /// The copy in use as it came: a message of its type.
    pub raw: Option<Bytes>,
    /// Why the last copy was rejected, if it was.
    pub error: Option<ErrorState>,
}

/// `envoy.admin.v3.ClientResourceStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientStatus {
    /// Asked for and not yet sent.
    Requested,
    /// Deleted or not sent in time.
    DoesNotExist,
    /// In use.
    Acked,
    /// The last copy was rejected; an earlier one may be in use.
    Nacked,
}

/// A rejected copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorState {
    /// What is wrong with it.
    pub message: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// When it came: wall time since 1970.
    pub at: Duration,
}

impl AdsClient {
    /// All watched resources, ordered by type and name.
    #[must_use]
    pub fn status(&self) -> Vec<ResourceStatus> {
        let mut all = Vec::new();
        for (resource_type, state) in &self.types {
            all.extend(state.resources.iter().map(|(name, resource)| ResourceStatus {
                resource_type: *resource_type,
                name: name.clone(),
                client_status: client_status(resource),
                version: resource.cached.as_ref().map_or_else(|| "".into(), |cached| Arc::clone(&cached.version)),
                last_updated: resource.cached.as_ref().map(|cached| cached.at),
                raw: resource.cached.as_ref().map(|cached| cached.raw.clone()),
                error: resource.rejected.clone(),
            }));
        }
        all
    }
}

fn client_status(resource: &ResourceState) -> ClientStatus {
    if resource.rejected.is_some() {
        ClientStatus::Nacked
    } else if resource.cached.is_some() {
        ClientStatus::Acked
    } else if resource.missing {
        ClientStatus::DoesNotExist
    } else {
        ClientStatus::Requested
    }
}
