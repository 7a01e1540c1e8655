//! The client's end: subscriptions, ACK and NACK, the cache, does-not-exist timers and backoff for one management
//! server.
//!
//! gRFC A27, A40, A46, A53, A57, A88 as grpc-go carries them out. [`AdsClient`] has no stream. Tell it what happens
//! ([`on_stream_open`](AdsClient::on_stream_open), [`on_response`](AdsClient::on_response), ...), then do what
//! [`poll_action`](AdsClient::poll_action) says until it says nothing more, and call
//! [`on_timeout`](AdsClient::on_timeout) at [`next_timeout`](AdsClient::next_timeout). For gRFC A27's flow control the
//! shell reads the next response only when all actions are done and all watchers are done with what they were told of
//! the last one; so a slow watcher slows the server down, and its queue holds one response's news at most. Starting
//! and ending watches, ACKs and timers do not wait for watchers.

mod apply;
mod status;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::rpc;
use hermesh_runtime::Draws;
use hermesh_runtime::backoff::Backoff;
use tokio::time::Instant;

use crate::bootstrap::Node;
use crate::resource::{Resource, ResourceType, Validation, canonical_name};

pub use status::{ClientStatus, ErrorState, ResourceStatus};

/// How long a server has to send a resource before it counts as missing (gRFC A27).
pub const DOES_NOT_EXIST_TIMEOUT: Duration = Duration::from_secs(15);

/// Names one watch of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatchId(u64);

/// What the shell around an [`AdsClient`] must do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(clippy::large_enum_variant, reason = "one action is in hand at a time, and requests are the common kind")]
pub enum Action {
    /// Connect if need be and open a stream; then say `on_stream_open`, or `on_stream_closed` if that fails.
    OpenStream,
    /// Nobody watches anything any more: give up the stream and the connection, whatever their state.
    CloseStream,
    /// Write this to the stream.
    Send(DiscoveryRequest),
    /// Tell the watcher.
    Notify {
        /// Which one.
        watch: WatchId,
        /// What.
        event: WatchEvent,
    },
}

/// What a watcher is told about its resource.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// It is there, or has changed.
    Update {
        /// The whole of it.
        resource: Resource,
        /// The version of the response it came with.
        version: Arc<str>,
    },
    /// It is unusable: what the watcher had of it must go.
    ResourceError(WatchError),
    /// Something is wrong, but what the watcher has of it stays in use.
    AmbientError(WatchError),
}

/// What is wrong with a watched resource. The text starts with the node's id, as grpc-go's does.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("[xDS node id: {node_id}]: {message}")]
pub struct WatchError {
    /// Why.
    pub kind: WatchErrorKind,
    /// The node's id in the bootstrap.
    pub node_id: Arc<str>,
    /// In words.
    pub message: Arc<str>,
}

/// Why a watched resource is in error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchErrorKind {
    /// The server deleted it or did not send it in time.
    DoesNotExist,
    /// The server sent it, but it is invalid.
    Invalid,
    /// The server cannot be reached, or ended the stream without an answer.
    Connection,
}

/// The settings of an [`AdsClient`].
#[derive(Clone, Debug)]
pub struct Config {
    /// The node sent with the first request of every stream.
    pub node: Node,
    /// What validation must know.
    pub validation: Validation,
    /// Whether a deleted listener or cluster stays in use (gRFC A53).
    pub ignore_resource_deletion: bool,
}

/// The client of one management server.
#[derive(Debug)]
pub struct AdsClient {
    config: Config,
    node_id: Arc<str>,
    stream: Stream,
    backoff: Backoff,
    draws: Draws,
    types: BTreeMap<ResourceType, TypeState>,
    watches: BTreeMap<WatchId, (ResourceType, String)>,
    next_watch: u64,
    actions: VecDeque<Action>,
}

/// Where the stream stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    /// Nothing is watched.
    Idle,
    /// `OpenStream` was asked for.
    Opening,
    Open {
        /// Whether the node has been sent.
        introduced: bool,
        /// Whether a response has come.
        answered: bool,
    },
    /// The last attempt failed.
    Waiting { until: Instant },
}

/// What is known of one type. It outlives its last subscription, but not the connection.
#[derive(Debug, Default)]
struct TypeState {
    /// The last one accepted; survives the stream.
    version: String,
    /// The last one received on this stream.
    nonce: String,
    resources: BTreeMap<String, ResourceState>,
}

/// What is known of one resource with at least one watch.
#[derive(Debug, Default)]
struct ResourceState {
    watches: BTreeSet<WatchId>,
    request: Request,
    cached: Option<Cached>,
    /// Why the last copy was rejected, until a good one comes.
    rejected: Option<ErrorState>,
    /// Deleted, or not sent in time.
    missing: bool,
}

#[derive(Clone, Debug)]
struct Cached {
    resource: Resource,
    /// As it came, without a wrapper.
    raw: Bytes,
    version: Arc<str>,
    /// When it came, by the wall clock.
    at: Duration,
}

/// How far the request for a resource has got (gRFC A27, does-not-exist timer).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Request {
    #[default]
    Started,
    Requested {
        deadline: Instant,
    },
    Received,
    TimedOut,
}

impl AdsClient {
    /// A client that watches nothing yet. `draws` decides the jitter of its backoff.
    #[must_use]
    pub fn new(config: Config, draws: Draws) -> Self {
        Self {
            node_id: config.node.id.as_str().into(),
            config,
            stream: Stream::Idle,
            backoff: Backoff::default(),
            draws,
            types: BTreeMap::new(),
            watches: BTreeMap::new(),
            next_watch: 0,
            actions: VecDeque::new(),
        }
    }

    /// Starts a watch. What the cache knows comes at once, by [`Action::Notify`].
    pub fn watch(&mut self, now: Instant, resource_type: ResourceType, name: &str) -> WatchId {
        let watch = WatchId(self.next_watch);
        self.next_watch += 1;
        let name = canonical_name(name).into_owned();
        self.watches.insert(watch, (resource_type, name.clone()));
        let resources = &mut self.types.entry(resource_type).or_default().resources;
        if let Some(state) = resources.get_mut(&name) {
            state.watches.insert(watch);
            self.tell_what_is_known(watch, resource_type, &name);
            return watch;
        }
        resources.insert(name, ResourceState { watches: BTreeSet::from([watch]), ..ResourceState::default() });
        match self.stream {
            Stream::Idle => self.open(),
            Stream::Open { .. } => self.send(now, resource_type, None),
            Stream::Opening | Stream::Waiting { .. } => {}
        }
        watch
    }

    /// Ends a watch; nothing more is told to it.
    pub fn unwatch(&mut self, now: Instant, watch: WatchId) {
        let Some((resource_type, name)) = self.watches.remove(&watch) else {
            return;
        };
        self.actions.retain(|action| !matches!(action, Action::Notify { watch: told, .. } if *told == watch));
        let resources = &mut self.types.get_mut(&resource_type).expect("a watch has a type").resources;
        let state = resources.get_mut(&name).expect("a watch has a resource");
        state.watches.remove(&watch);
        if !state.watches.is_empty() {
            return;
        }
        resources.remove(&name);
        if self.watches.is_empty() {
            self.close();
        } else if let Stream::Open { .. } = self.stream {
            self.send(now, resource_type, None);
        }
    }

    /// The stream is open: requests can be written.
    pub fn on_stream_open(&mut self, now: Instant) {
        if self.stream != Stream::Opening {
            return;
        }
        self.stream = Stream::Open { introduced: false, answered: false };
        for resource_type in ResourceType::ALL {
            let Some(state) = self.types.get_mut(&resource_type) else { continue };
            state.nonce.clear();
            if !state.resources.is_empty() {
                self.send(now, resource_type, None);
            }
        }
    }

    /// The stream brought a response, at wall time `wall` since 1970.
    pub fn on_response(&mut self, now: Instant, wall: Duration, response: &DiscoveryResponse) {
        let Stream::Open { answered, .. } = &mut self.stream else {
            return;
        };
        *answered = true;
        // What was not asked for gets neither ACK nor NACK.
        let Some(resource_type) = ResourceType::from_type_url(&response.type_url) else { return };
        let Some(state) = self.types.get_mut(&resource_type) else { return };
        state.nonce.clone_from(&response.nonce);
        let parsed = apply::parse(resource_type, &response.resources, &self.config.validation);
        if parsed.error.is_none() {
            state.version.clone_from(&response.version_info);
        }
        self.send(now, resource_type, parsed.error.clone());
        self.apply(apply::Arrival { version: &response.version_info, wall }, resource_type, parsed);
    }

    /// The stream ended, or could not be opened. A clean end has status OK.
    ///
    /// Once there has been a response, an ending stream is nothing unusual: nobody is told, and the next one is opened
    /// at once (gRFC A57).
    pub fn on_stream_closed(&mut self, now: Instant, status: &tonic::Status) {
        let answered = match self.stream {
            Stream::Open { answered, .. } => answered,
            Stream::Opening => false,
            Stream::Idle | Stream::Waiting { .. } => return,
        };
        self.actions.retain(|action| !matches!(action, Action::Send(_)));
        for resource in self.types.values_mut().flat_map(|state| state.resources.values_mut()) {
            if let Request::Requested { .. } = resource.request {
                resource.request = Request::Started;
            }
        }
        if answered {
            self.backoff.reset();
            self.open();
        } else {
            self.stream = Stream::Waiting { until: now + self.backoff.next_delay(&mut self.draws) };
            self.tell_all_of_failure(status);
        }
    }

    /// Time has come to [`next_timeout`](Self::next_timeout).
    pub fn on_timeout(&mut self, now: Instant) {
        if let Stream::Waiting { until } = self.stream
            && until <= now
        {
            self.open();
        }
        self.expire(now);
    }

    /// When to call [`on_timeout`](Self::on_timeout) next.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        let reconnect = match self.stream {
            Stream::Waiting { until } => Some(until),
            _ => None,
        };
        let deadlines = self.types.values().flat_map(|state| state.resources.values()).filter_map(|resource| {
            match resource.request {
                Request::Requested { deadline } => Some(deadline),
                _ => None,
            }
        });
        reconnect.into_iter().chain(deadlines).min()
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn open(&mut self) {
        self.stream = Stream::Opening;
        self.actions.push_back(Action::OpenStream);
    }

    /// Forgets everything, versions too: the next watch starts afresh.
    fn close(&mut self) {
        self.types.clear();
        self.backoff.reset();
        // What the shell has not done yet about the old stream need not be done.
        self.actions.retain(|action| matches!(action, Action::CloseStream));
        if self.stream != Stream::Idle {
            self.stream = Stream::Idle;
            self.actions.push_back(Action::CloseStream);
        }
    }

    /// Sends all names of a type, with an error as a NACK of the last response.
    fn send(&mut self, now: Instant, resource_type: ResourceType, error: Option<String>) {
        let Stream::Open { introduced, .. } = &mut self.stream else {
            return;
        };
        let node = (!*introduced).then(|| self.config.node.to_proto());
        *introduced = true;
        let state = self.types.get_mut(&resource_type).expect("only known types are sent");
        for resource in state.resources.values_mut() {
            if resource.request == Request::Started {
                resource.request = Request::Requested { deadline: now + DOES_NOT_EXIST_TIMEOUT };
            }
        }
        self.actions.push_back(Action::Send(DiscoveryRequest {
            version_info: state.version.clone(),
            node,
            resource_names: state.resources.keys().cloned().collect(),
            type_url: resource_type.type_url().to_owned(),
            response_nonce: state.nonce.clone(),
            error_detail: error.map(|message| rpc::Status {
                code: tonic::Code::InvalidArgument as i32,
                message,
                details: Vec::new(),
            }),
            ..DiscoveryRequest::default()
        }));
    }
}
