//! How responses leave for a client: at once and as istiod made them, unless the [`Gate`] has rules about them.

use std::collections::BTreeMap;
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryResponse;
use hermesh_runtime::latest::Reader;
use hermesh_runtime::{Draws, EventId};
use hermesh_xds::ResourceType;
use hermesh_xds::ads::server::{PUSH_ORDER, Subscription};
use tokio::time::Instant;
use tonic::Status;

use super::super::Way;
use super::super::gate::{Gate, Rules};
use super::super::outbox::{Fate, Outbox};
use super::{Connection, Why};
use crate::translate;

hermesh_runtime::event! {
    /// A response is kept back. Its cause is who wants it so.
    Held = "xds.held" {
        stream: u64,
        node: String,
        #[serde(rename = "type")]
        resource_type: &'static str,
        version: String,
        nonce: String,
        /// `hold`, `delay` or `reorder`.
        by: &'static str,
    }

    /// A response leaves that was kept back. Its cause is its push.
    Released = "xds.released" {
        stream: u64,
        node: String,
        #[serde(rename = "type")]
        resource_type: &'static str,
        version: String,
        nonce: String,
        waited_ms: u64,
    }

    /// A response is lost on its way, and istiod knows nothing of it. Its cause is who wants it so.
    Dropped = "xds.dropped" {
        stream: u64,
        node: String,
        #[serde(rename = "type")]
        resource_type: &'static str,
        version: String,
        nonce: String,
    }
}

/// A response, and the event of its push.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) response: DiscoveryResponse,
    pub(super) event: Option<EventId>,
}

/// What has been made and has not left yet.
pub(super) struct Leaving {
    /// Namespace and name of the stream's pod.
    pod: (String, String),
    gate: Option<(Gate, Reader<Rules>)>,
    /// The numbers of what is injected, as far as the client has been told of it.
    injected: BTreeMap<ResourceType, Vec<u64>>,
    outbox: Outbox<Made>,
    /// When the next response may leave by itself.
    next_turn: Option<Instant>,
    /// Taken when a delay is drawn for the first time.
    draws: Option<Draws>,
}

impl Leaving {
    pub(super) fn new(gate: Option<Gate>, pod: &(String, String)) -> Self {
        let gate = gate.map(|gate| (gate.clone(), gate.reader()));
        let (outbox, injected) = (Outbox::of(pod.clone()), BTreeMap::new());
        let mut leaving = Self { pod: pod.clone(), gate, injected, outbox, next_turn: None, draws: None };
        // Whoever asks gets what is injected by now.
        leaving.renewed();
        leaving
    }

    /// The types of which something else is injected than the last time, in the order in which to push them.
    fn renewed(&mut self) -> Vec<ResourceType> {
        let Self { pod, gate: Some((_, rules)), injected, .. } = self else { return Vec::new() };
        let numbers = |resource_type| {
            rules.peek(|rules| rules.injections(resource_type, pod).map(|(number, _)| number).collect::<Vec<_>>())
        };
        let mut renewed = Vec::new();
        for resource_type in PUSH_ORDER {
            let now = numbers(resource_type);
            if injected.get(&resource_type).is_none_or(|before| *before != now) {
                injected.insert(resource_type, now);
                renewed.push(resource_type);
            }
        }
        renewed
    }

    /// Puts what is injected in the place of istiod's own; answers with its names. Unless `whole` is asked for, only
    /// what goes out anyway.
    pub(super) fn inject(
        &self,
        resource_type: ResourceType,
        subscription: &Subscription,
        whole: bool,
        resources: &mut Vec<translate::Resource>,
    ) -> Vec<String> {
        let Some((_, rules)) = &self.gate else { return Vec::new() };
        rules.peek(|rules| {
            let mut names = Vec::new();
            for (_, injection) in rules.injections(resource_type, &self.pod) {
                let (name, body) = (injection.name.clone(), injection.body.clone());
                let own = resources.iter().position(|resource| resource.name == name);
                let injected = translate::Resource { name: name.clone(), body, from: [].into() };
                match own {
                    Some(own) => resources[own] = injected,
                    None if whole && subscription.contains(&name) => resources.push(injected),
                    None => continue,
                }
                names.push(name);
            }
            names.dedup();
            names
        })
    }

    /// Who changed last what is injected.
    pub(super) fn injected_by(&self) -> Option<EventId> {
        self.gate.as_ref().and_then(|(_, rules)| rules.peek(Rules::injected_by))
    }

    pub(super) fn add(&mut self, resource_type: ResourceType, made: Made) {
        self.outbox.add(resource_type, made, Instant::now());
    }

    /// Ends when responses that wait may leave, or others are to be made. Safe to drop while it waits.
    pub(super) async fn turn(&mut self) {
        let Some((_, rules)) = &mut self.gate else { return std::future::pending().await };
        let next_turn = if self.outbox.is_empty() { None } else { self.next_turn };
        let time = async {
            match next_turn {
                Some(next) => tokio::time::sleep_until(next).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = rules.changed() => {}
            () = time => {}
        }
    }
}

impl Connection {
    /// Sends anew what has been injected or taken back.
    pub(super) async fn renew(&mut self) -> Result<(), Status> {
        let renewed = self.leaving.renewed();
        let Some(context) = self.entry.hub.context() else { return Ok(()) };
        for resource_type in renewed {
            self.respond(&context, resource_type, Why::Injected).await?;
        }
        Ok(())
    }

    /// Sends what may leave, and tells of what may not.
    pub(super) async fn leave(&mut self) -> Result<(), Status> {
        loop {
            let now = Instant::now();
            // Not counted as seen: what is injected is looked at another time.
            let rules = match &self.leaving.gate {
                Some((_, reader)) => reader.peek(Rules::clone),
                None => Rules::default(),
            };
            let (rt, stream, draws) = (&self.rt, self.entry.id, &mut self.leaving.draws);
            let mut draw = |low, high| {
                let draws = draws.get_or_insert_with(|| rt.draws(&format!("istiod/delay/{stream}")));
                draws.between(low, high)
            };
            match self.leaving.outbox.next(&rules, now, &mut draw) {
                Some(Fate::Leaves { response: made, resource_type, waited }) => {
                    let Made { response, event } = made;
                    let sent = match waited {
                        Some(waited) => {
                            let released = self.released(resource_type, &response, event, waited);
                            self.rt.sent(&response.nonce, released);
                            released
                        }
                        None => event,
                    };
                    // Of those that wait none can have been answered.
                    self.sent.insert(resource_type, sent);
                    let gone = |_| Status::cancelled("the client closed the stream");
                    self.responses.send(Ok(Box::new(response))).await.map_err(gone)?;
                }
                Some(Fate::Dropped { response: made, resource_type, by }) => {
                    if let Some((gate, _)) = &self.leaving.gate {
                        gate.dropped(by);
                    }
                    self.dropped(resource_type, &made.response, rules.get(by).and_then(|rule| rule.cause));
                }
                None => {
                    self.held(&rules);
                    self.leaving.next_turn = self.leaving.outbox.next_turn(&rules, now);
                    return Ok(());
                }
            }
        }
    }

    fn released(
        &self,
        resource_type: ResourceType,
        response: &DiscoveryResponse,
        push: Option<EventId>,
        waited: Duration,
    ) -> Option<EventId> {
        self.came(resource_type, &response.nonce, Way::Sent);
        let event = Released {
            stream: self.entry.id,
            node: self.id.clone(),
            resource_type: resource_type.short(),
            version: response.version_info.clone(),
            nonce: response.nonce.clone(),
            waited_ms: u64::try_from(waited.as_millis()).unwrap_or(u64::MAX),
        };
        self.rt.emit_because(push, event)
    }

    fn dropped(&self, resource_type: ResourceType, response: &DiscoveryResponse, cause: Option<EventId>) {
        self.came(resource_type, &response.nonce, Way::Dropped);
        let event = Dropped {
            stream: self.entry.id,
            node: self.id.clone(),
            resource_type: resource_type.short(),
            version: response.version_info.clone(),
            nonce: response.nonce.clone(),
        };
        self.rt.emit_because(cause, event);
    }

    fn held(&mut self, rules: &Rules) {
        let held = self.leaving.outbox.untold().filter_map(|waiting| {
            let Made { response, .. } = &waiting.response;
            let rule = rules.get(waiting.by?)?;
            Some((waiting.resource_type, response.version_info.clone(), response.nonce.clone(), rule))
        });
        let held: Vec<_> = held.collect();
        for (resource_type, version, nonce, rule) in held {
            let by = rule.deed.name();
            self.came(resource_type, &nonce, Way::Kept(by));
            let event = Held {
                stream: self.entry.id,
                node: self.id.clone(),
                resource_type: resource_type.short(),
                version,
                nonce,
                by,
            };
            self.rt.emit_because(rule.cause, event);
        }
    }

    /// Notes how far a response has come, if it is the last one of its type.
    fn came(&self, resource_type: ResourceType, nonce: &str, way: Way) {
        self.entry.update(|connection| {
            let last = connection.last.get_mut(&resource_type);
            if let Some(last) = last.filter(|last| last.nonce == nonce) {
                last.way = way;
            }
        });
    }
}
