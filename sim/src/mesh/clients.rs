//! The xDS clients of a mesh, as the trace tells of them: whether they have their streams, what they wait for, and
//! whether they use what they got.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hermesh_xds::ads::client::DOES_NOT_EXIST_TIMEOUT;
use hermesh_xds::client::{ClientClosed, StreamClosed, StreamOpened, XdsRequest, XdsResponse};
use hermesh_xds::server::{ListenerApplied, ServingModeChanged};
use hermesh_xds::{ConfigApplied, ConfigFailed};

use super::converged::Until;
use crate::engine::{ContainerExited, ContainerKilled};
use crate::trace::{Recorded, Trace};

/// How long a client waits for a resource, and a tick of the clock in which it acts on that.
const GIVES_UP_AFTER: Duration = DOES_NOT_EXIST_TIMEOUT.saturating_add(Duration::from_millis(1));

/// What events call the client that the servers of a process share.
const SERVERS: &str = "#server";

/// The xDS clients that live, as far as the trace tells.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Events looked at so far.
    seen: usize,
    /// By container and the client's number there: several may have one key.
    clients: BTreeMap<(Arc<str>, u64), Client>,
}

#[derive(Debug, Default)]
struct Client {
    /// What messages call it: a channel's target, or `#server`.
    key: Arc<str>,
    /// Whether it has lost its stream.
    cut_off: bool,
    /// Whether it has a stream that an agent carries on.
    by_agent: bool,
    /// Whether it uses a configuration, or has said that it cannot.
    applied: bool,
    /// What it wants, by type and name.
    wanted: BTreeMap<String, BTreeMap<String, Answer>>,
}

/// How far the wish for a resource has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It is to be asked for once there is a stream again.
    Unasked,
    /// It was asked for; when the client gives up on it is known.
    Asked {
        until: Duration,
    },
    Given,
}

impl Clients {
    /// Takes in what has happened since the last time.
    pub(super) fn follow(&mut self, trace: &Trace) {
        let events = trace.events();
        for event in &events[self.seen.min(events.len())..] {
            self.event(event);
        }
        self.seen = events.len();
    }

    /// Who has not worked in what it got, or has no stream to get it by.
    pub(super) fn unsettled(&self, until: Until, now: Duration) -> Vec<String> {
        let lacks = |client: &Client| match until {
            Until::Told => client.lacks_stream(),
            Until::Used => client.lacks_stream().or_else(|| client.lacks(now)),
        };
        self.clients.iter().filter_map(|((at, _), client)| Some(format!("{at}: {}", lacks(client)?))).collect()
    }

    /// How many clients of each pod, `namespace/name`, have a stream to their agent.
    pub(super) fn streams_by_pod(&self) -> BTreeMap<&str, usize> {
        let mut streams = BTreeMap::new();
        for ((at, _), client) in &self.clients {
            if let Some((pod, _)) = at.rsplit_once('/').filter(|_| client.by_agent) {
                *streams.entry(pod).or_default() += 1;
            }
        }
        streams
    }

    /// When the next client gives up on what it waits for.
    pub(super) fn next_timeout(&self, now: Duration) -> Option<Duration> {
        let answers = self.clients.values().flat_map(|client| client.wanted.values().flat_map(BTreeMap::values));
        answers.filter_map(|answer| answer.due()).filter(|until| *until > now).min()
    }

    /// Whether any has no stream or no use yet for what it got: it may change that without a word to istiod.
    pub(super) fn any_silent(&self) -> bool {
        self.clients.values().any(|client| client.cut_off || !client.applied)
    }

    fn event(&mut self, event: &Recorded) {
        if event.get::<ContainerExited>().is_some() || event.get::<ContainerKilled>().is_some() {
            self.clients.retain(|(at, _), _| *at != event.at);
        } else if let Some(opened) = event.get::<StreamOpened>() {
            let client = self.client(event, opened.client_ordinal, &opened.client);
            client.cut_off = false;
            client.by_agent = opened.server.starts_with("unix:");
        } else if let Some(closed) = event.get::<StreamClosed>() {
            self.client(event, closed.client_ordinal, &closed.client).lose_stream();
        } else if let Some(closed) = event.get::<ClientClosed>() {
            self.clients.remove(&(Arc::clone(&event.at), closed.client_ordinal));
        } else if let Some(request) = event.get::<XdsRequest>() {
            let now = Duration::from_micros(event.t_us);
            self.client(event, request.client_ordinal, &request.client).ask(now, request);
        } else if let Some(response) = event.get::<XdsResponse>() {
            self.client(event, response.client_ordinal, &response.client).hear(response);
        } else if let Some(applied) = event.get::<ConfigApplied>() {
            self.apply(event, applied.client_ordinal);
        } else if let Some(failed) = event.get::<ConfigFailed>() {
            self.apply(event, failed.client_ordinal);
        } else if let Some(applied) = event.get::<ListenerApplied>() {
            self.apply(event, applied.client_ordinal);
        } else if let Some(changed) = event.get::<ServingModeChanged>() {
            self.apply(event, changed.client_ordinal);
        }
    }

    fn client(&mut self, event: &Recorded, ordinal: u64, key: &Arc<str>) -> &mut Client {
        let fresh = || Client { key: Arc::clone(key), ..Client::default() };
        self.clients.entry((Arc::clone(&event.at), ordinal)).or_insert_with(fresh)
    }

    /// Of several channels or servers that share a client one tells for all. One whose client has gone tells in vain.
    fn apply(&mut self, event: &Recorded, ordinal: u64) {
        if let Some(client) = self.clients.get_mut(&(Arc::clone(&event.at), ordinal)) {
            client.applied = true;
        }
    }
}

impl Client {
    fn lose_stream(&mut self) {
        self.cut_off = true;
        self.by_agent = false;
        for answer in self.wanted.values_mut().flat_map(BTreeMap::values_mut) {
            if let Answer::Asked { .. } = answer {
                *answer = Answer::Unasked;
            }
        }
    }

    fn ask(&mut self, now: Duration, request: &XdsRequest) {
        let until = now + GIVES_UP_AFTER;
        let before = self.wanted.remove(&request.r#type).unwrap_or_default();
        let names = request.names.iter().map(|name| match before.get(name) {
            None | Some(Answer::Unasked) => (name.clone(), Answer::Asked { until }),
            Some(answer) => (name.clone(), *answer),
        });
        self.wanted.insert(request.r#type.clone(), names.collect());
    }

    fn hear(&mut self, response: &XdsResponse) {
        let Some(wanted) = self.wanted.get_mut(&response.r#type) else { return };
        for name in &response.resources {
            if let Some(answer) = wanted.get_mut(name) {
                *answer = Answer::Given;
            }
        }
    }

    fn lacks_stream(&self) -> Option<String> {
        self.cut_off.then(|| format!("the xDS stream of {} is not open", name(&self.key)))
    }

    fn lacks(&self, now: Duration) -> Option<String> {
        let key = &self.key;
        let waits = self.wanted.iter().flat_map(|(kind, names)| names.iter().map(move |(name, it)| (kind, name, it)));
        for (kind, resource, answer) in waits {
            if answer.is_open(now) {
                return Some(format!("{} waits for {kind} {resource}", name(key)));
            }
        }
        let wants_something = self.wanted.values().any(|names| !names.is_empty());
        (wants_something && !self.applied).then(|| format!("{} has not put its configuration to use", name(key)))
    }
}

impl Answer {
    fn due(self) -> Option<Duration> {
        match self {
            Self::Asked { until } => Some(until),
            Self::Unasked | Self::Given => None,
        }
    }

    fn is_open(self, now: Duration) -> bool {
        match self {
            Self::Unasked => true,
            Self::Asked { until } => now < until,
            Self::Given => false,
        }
    }
}

/// A client as people know it.
fn name(key: &str) -> &str {
    if key == SERVERS { "its servers" } else { key }
}
