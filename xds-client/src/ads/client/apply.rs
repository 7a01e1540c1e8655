//! What a response, a timer or a failure does to the cache and its watchers (gRFC A46, A53, A57, A88).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::google::protobuf::Any;
use tokio::time::Instant;

use super::{
    Action, AdsClient, Cached, ErrorState, Request, ResourceState, WatchError, WatchErrorKind, WatchEvent, WatchId,
};
use crate::resource::{DecodeError, Decoded, Resource, ResourceType, Validation, decode_unwrapped, unwrap};

/// A response whose resources have been read.
pub(super) struct Parsed<'a> {
    /// By name; the last one of a name counts.
    outcomes: BTreeMap<String, Outcome<'a>>,
    /// The text of the NACK, if anything is wrong.
    pub(super) error: Option<String>,
}

/// A resource and its bytes, or what is wrong with it.
type Outcome<'a> = Result<(Resource, Cow<'a, Any>), DecodeError>;

/// When a response came: the wall time as well, for those who ask for the status later.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) version: &'a str,
    pub(super) wall: Duration,
}

pub(super) fn parse<'a>(resource_type: ResourceType, resources: &'a [Any], validation: &Validation) -> Parsed<'a> {
    let mut outcomes = BTreeMap::new();
    let mut unnamed = Vec::new();
    for any in resources {
        let any = match unwrap(any) {
            Ok(any) => any,
            Err(error) => {
                unnamed.push(error.to_string());
                continue;
            }
        };
        match decode_unwrapped(resource_type, &any, validation) {
            Decoded::Named { name, outcome } => {
                outcomes.insert(name, outcome.map(|resource| (resource, any)));
            }
            Decoded::Unnamed(error) => unnamed.push(error.to_string()),
        }
    }
    let invalid: Vec<String> = outcomes
        .iter()
        .filter_map(|(name, outcome)| outcome.as_ref().err().map(|error| format!("resource {name:?}: {error}")))
        .collect();
    let error = (!unnamed.is_empty() || !invalid.is_empty()).then(|| {
        let unnamed = match unnamed.as_slice() {
            [] => String::new(),
            errors => format!("top level errors: {} ", errors.join(";\n")),
        };
        let text = format!("error parsing {:?} response: {unnamed}{}", resource_type.title(), invalid.join(";\n"));
        text.trim_end().to_owned()
    });
    Parsed { outcomes, error }
}

impl AdsClient {
    pub(super) fn apply(&mut self, arrival: Arrival<'_>, resource_type: ResourceType, parsed: Parsed<'_>) {
        let (version, at): (Arc<str>, _) = (arrival.version.into(), arrival.wall);
        let ignore_deletion = self.config.ignore_resource_deletion;
        let node_id = Arc::clone(&self.node_id);
        let Some(state) = self.types.get_mut(&resource_type) else { return };
        let mut outcomes = parsed.outcomes;
        for (name, resource) in &mut state.resources {
            let event = match outcomes.remove(name) {
                Some(Ok((update, any))) => resource.accept(update, raw(any), &version, at),
                Some(Err(error)) => {
                    let error = ErrorState { message: error.to_string().into(), version: Arc::clone(&version), at };
                    resource.reject(&node_id, error)
                }
                None if resource_type.is_full_state() && !ignore_deletion && resource.cached.is_some() => {
                    Some(resource.remove(&node_id, resource_type, name))
                }
                None => None,
            };
            if let Some(event) = event {
                notify(&mut self.actions, resource, &event);
            }
        }
    }

    /// Gives up on resources that were not sent in time.
    pub(super) fn expire(&mut self, now: Instant) {
        for (resource_type, state) in &mut self.types {
            for (name, resource) in &mut state.resources {
                if let Request::Requested { deadline } = resource.request
                    && deadline <= now
                {
                    let event = resource.remove(&self.node_id, *resource_type, name);
                    resource.request = Request::TimedOut;
                    notify(&mut self.actions, resource, &event);
                }
            }
        }
    }

    pub(super) fn tell_all_of_failure(&mut self, status: &tonic::Status) {
        let reason = match status.code() {
            // The end of a stream as grpc-go reports it.
            tonic::Code::Ok => "EOF".to_owned(),
            code => format!("rpc error: code = {code:?} desc = {}", status.message()),
        };
        let error = WatchError {
            kind: WatchErrorKind::Connection,
            node_id: Arc::clone(&self.node_id),
            message: format!("xds: error received from xDS stream: {reason}").into(),
        };
        for resource in self.types.values().flat_map(|state| state.resources.values()) {
            notify(&mut self.actions, resource, &resource.error_event(error.clone()));
        }
    }

    /// Tells a new watcher what earlier ones have been told: the resource first, then what is wrong with it.
    pub(super) fn tell_what_is_known(&mut self, watch: WatchId, resource_type: ResourceType, name: &str) {
        let Some(resource) = self.types.get(&resource_type).and_then(|state| state.resources.get(name)) else { return };
        let update = resource.cached.as_ref().map(Cached::event);
        let rejected = resource.rejected.as_ref().map(|error| resource.rejection(&self.node_id, error));
        let missing = resource.missing.then(|| WatchEvent::ResourceError(missing(&self.node_id, resource_type, name)));
        let events = update.into_iter().chain(rejected).chain(missing);
        self.actions.extend(events.map(|event| Action::Notify { watch, event }));
    }
}

/// The bytes of a resource, apart from those of its response.
fn raw(any: Cow<'_, Any>) -> Bytes {
    match any {
        Cow::Borrowed(any) => Bytes::copy_from_slice(&any.value),
        Cow::Owned(any) => any.value.into(),
    }
}

impl ResourceState {
    /// Watchers hear of a resource that differs from the cached one or that follows an error. grpc-go compares bytes;
    /// comparing what they mean spares watchers an update that differs in the order of a map.
    fn accept(&mut self, resource: Resource, raw: Bytes, version: &Arc<str>, at: Duration) -> Option<WatchEvent> {
        let recovered = self.rejected.take().is_some();
        let changed = self.cached.as_ref().is_none_or(|cached| cached.resource != resource);
        self.request = Request::Received;
        self.missing = false;
        let cached = self.cached.insert(Cached { resource, raw, version: Arc::clone(version), at });
        (changed || recovered).then(|| cached.event())
    }

    /// Watchers hear of an error once, until it changes.
    fn reject(&mut self, node_id: &Arc<str>, error: ErrorState) -> Option<WatchEvent> {
        self.request = Request::Received;
        self.missing = false;
        let repeated = self.rejected.as_ref().is_some_and(|before| before.message == error.message);
        let event = (!repeated).then(|| self.rejection(node_id, &error));
        self.rejected = Some(error);
        event
    }

    fn remove(&mut self, node_id: &Arc<str>, resource_type: ResourceType, name: &str) -> WatchEvent {
        self.cached = None;
        self.rejected = None;
        self.missing = true;
        WatchEvent::ResourceError(missing(node_id, resource_type, name))
    }

    fn rejection(&self, node_id: &Arc<str>, error: &ErrorState) -> WatchEvent {
        self.error_event(WatchError {
            kind: WatchErrorKind::Invalid,
            node_id: Arc::clone(node_id),
            message: Arc::clone(&error.message),
        })
    }

    /// With a good copy at hand an error is only something to know.
    fn error_event(&self, error: WatchError) -> WatchEvent {
        match self.cached {
            Some(_) => WatchEvent::AmbientError(error),
            None => WatchEvent::ResourceError(error),
        }
    }
}

impl Cached {
    fn event(&self) -> WatchEvent {
        WatchEvent::Update { resource: self.resource.clone(), version: Arc::clone(&self.version) }
    }
}

fn missing(node_id: &Arc<str>, resource_type: ResourceType, name: &str) -> WatchError {
    WatchError {
        kind: WatchErrorKind::DoesNotExist,
        node_id: Arc::clone(node_id),
        message: format!("xds: resource {name:?} of type {:?} has been removed", resource_type.title()).into(),
    }
}

fn notify(actions: &mut std::collections::VecDeque<Action>, resource: &ResourceState, event: &WatchEvent) {
    actions.extend(resource.watches.iter().map(|watch| Action::Notify { watch: *watch, event: event.clone() }));
}
