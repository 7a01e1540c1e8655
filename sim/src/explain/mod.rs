//! Why something happened: the events of the trace that led to it, in sentences.
//!
//! [`causes`] walks back from an event along the causes that the trace has. What is not on that line is added: what the
//! server said of a connection that failed at its client, the pushes that gave a client the configuration it used, the
//! pods that its endpoints lack, and what stands between it and istiod while it waits. All of it leads on to the step
//! that did it.

mod certificates;
mod endpoints;
mod faults;
mod machines;
mod sentence;
mod streams;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::trace::{Recorded, Trace};
use endpoints::{Endpoints, Late};
use faults::Fault;
use hermesh_xds::{ClusterPriority, ConfigApplied};
use sentence::Sentences;

/// How many lines tell a story; of a longer one the middle is left out.
const LINES_MAX: usize = 20;

/// How long after its client a server may notice that a connection failed.
const PEER_LATE_US: u64 = 1_000_000;

/// Kinds of objects whose change is worth telling about any configuration that was made from them.
const RULES: [&str; 4] = ["AuthorizationPolicy ", "DestinationRule ", "PeerAuthentication ", "VirtualService "];

/// What led to the event `seq`, the earliest first, a line an event.
pub(crate) fn causes(trace: &Trace, seq: u64) -> Vec<String> {
    let mut story = Story::new(trace);
    story.tell(seq);
    story.lines()
}

/// What is broken by now, and what led there.
pub(crate) fn broken(trace: &Trace) -> Vec<String> {
    let mut story = Story::new(trace);
    faults::standing(trace.events()).iter().for_each(|fault| story.tell(fault.event.seq));
    story.lines()
}

/// What is broken by now and keeps one of `pods`, `namespace/name`, from becoming ready: their own faults and istiod's,
/// and what lies between.
pub(crate) fn broken_for(trace: &Trace, pods: &BTreeSet<String>) -> Vec<String> {
    let mut story = Story::new(trace);
    let istiods = faults::istiods(trace.events());
    let faults = faults::standing(trace.events());
    // A workload may have no pod yet: without istiod it gets none.
    let concerned =
        |fault: &Fault<'_>| pods.iter().map(String::as_str).chain([""]).any(|pod| fault.concerns(pod, &istiods));
    faults.iter().filter(|fault| concerned(fault)).for_each(|fault| story.tell(fault.event.seq));
    story.lines()
}

/// How the process `at` (or a container of the pod `at`) came to call `target` the way it does: the configuration that
/// it last had in use, the pods that are missing there, and the connections that its last calls did not wait for.
pub(crate) fn configuration(trace: &Trace, at: &str, target: &str) -> Vec<String> {
    let mut story = Story::new(trace);
    if let Some(applied) = applied(trace, target, |event| event.is_at(at)) {
        story.tell(applied.seq);
        story.tell_unready(applied);
        story.tell_priorities(at, target);
    }
    for late in endpoints::late(trace.events(), at, target) {
        story.tell_late(late);
    }
    let pod = at.rsplit_once('/').filter(|(pod, _)| pod.contains('/')).map_or(at, |(pod, _)| pod);
    faults::on_the_way(trace.events(), pod).iter().for_each(|event| story.tell(event.seq));
    story.lines()
}

/// What stood between the pods `client` and `server`, `namespace/name`, when the event `seq` happened.
pub(crate) fn between(trace: &Trace, seq: u64, client: &str, server: &str) -> Vec<String> {
    let mut story = Story::new(trace);
    let events = trace.events();
    let before = usize::try_from(seq).ok().and_then(|seq| events.get(..seq)).unwrap_or(events);
    let servers = BTreeSet::from([server]);
    let faults = faults::standing(before);
    let of_the_way = faults.iter().filter(|fault| fault.is_of_the_world() && fault.concerns(client, &servers));
    of_the_way.for_each(|fault| story.tell(fault.event.seq));
    story.lines()
}

/// How a client came to use the configuration that it took into use by the event `applied`, and which priorities of it.
pub(crate) fn in_use(trace: &Trace, applied: &Recorded, target: &str) -> Vec<String> {
    let mut story = Story::new(trace);
    story.tell(applied.seq);
    story.tell_priorities(&applied.at, target);
    story.lines()
}

/// The last configuration for `target` that one of those who are `here` took into use.
pub(crate) fn applied<'t>(trace: &'t Trace, target: &str, here: impl Fn(&Recorded) -> bool) -> Option<&'t Recorded> {
    let applied = |event: &&Recorded| event.get::<ConfigApplied>().is_some_and(|applied| *applied.target == *target);
    trace.events().iter().rev().find(|event| applied(event) && here(event))
}

/// An event's own fields, as the trace shows them.
fn fields(event: &Recorded) -> Map<String, Value> {
    let mut json = Vec::new();
    event.event.write_json(&mut json);
    serde_json::from_slice(&json).unwrap_or_default()
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name)?.as_str()
}

fn texts<'f>(fields: &'f Map<String, Value>, name: &str) -> impl Iterator<Item = &'f str> {
    fields.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The number of an event's xDS client in its process.
fn client_ordinal(fields: &Map<String, Value>) -> Option<u64> {
    fields.get("client_ordinal")?.as_u64()
}

struct Story<'t> {
    trace: &'t Trace,
    seqs: BTreeSet<u64>,
    /// By the event that it is told at.
    late: BTreeMap<u64, Late<'t>>,
}

impl<'t> Story<'t> {
    fn new(trace: &'t Trace) -> Self {
        Self { trace, seqs: BTreeSet::new(), late: BTreeMap::new() }
    }

    /// Adds an event and what led to it.
    fn tell(&mut self, seq: u64) {
        let trace = self.trace;
        let mut next = trace.get(seq);
        while let Some(event) = next {
            if !self.seqs.insert(event.seq) {
                return;
            }
            match event.kind {
                "conn.failed" => {
                    let rejection = self.rejection(event);
                    if !self.tell_certificates(event, rejection)
                        && let Some(rejection) = rejection
                    {
                        self.tell(rejection);
                    }
                }
                "config.applied" => {
                    let pushes = self.pushes(event);
                    pushes.into_iter().for_each(|push| self.tell(push));
                    self.tell_rejected(event);
                    // The last response brought endpoints, as a rule; where they came from matters if there are none.
                    if !self.tell_missing(event) {
                        return;
                    }
                }
                "config.failed" => self.tell_rejected(event),
                // Else it is how its agent came to be there.
                "agent.health" if self.tell_unhealthy(event) => return,
                "istiod.workload.disconnected" if self.tell_disconnected(event) => return,
                "istiod.workload.cleaned-up" if event.cause.is_none() => drop(self.tell_disconnected(event)),
                // Whatever istiod's own reason was, this is the test's.
                "xds.push" if self.tell_injected(event) => return,
                "xds.released" => {
                    let held = self.held(event);
                    held.into_iter().for_each(|held| self.tell(held));
                }
                // What nobody's rules made is as it always was.
                "listener.applied" if self.push_of(event).is_some_and(|push| !has_rules(push)) => return,
                "rpc.finished" => {
                    self.tell_on_the_way(event);
                    let finished = fields(event);
                    if finished.get("attempts").and_then(Value::as_u64) == Some(0) {
                        self.tell_unanswered(event);
                    }
                    if text(&finished, "cause_kind") == Some("deadline") {
                        self.tell_in_the_way(event);
                    }
                }
                _ => self.tell_behind(event),
            }
            next = event.cause.and_then(|cause| trace.get(cause));
        }
    }

    /// Adds why a certificate is out of its time that ended a handshake, and what the server said of it; answers
    /// whether anything is known. That the server asks for certificates is then as it should be.
    fn tell_certificates(&mut self, failed: &Recorded, rejection: Option<u64>) -> bool {
        let rejection = rejection.and_then(|rejection| self.trace.get(rejection));
        let is_out_of_time = |event: &Recorded| text(&fields(event), "error").is_some_and(certificates::is_out_of_time);
        if !is_out_of_time(failed) && !rejection.is_some_and(is_out_of_time) {
            return false;
        }
        let server = text(&fields(failed), "address").and_then(|to| sentence::pod_at(self.trace, failed, to));
        let client = failed.at.rsplit_once('/').map_or(&*failed.at, |(pod, _)| pod);
        let pods: BTreeSet<&str> = server.as_deref().into_iter().chain([client]).collect();
        let Some((before, _)) = self.split(failed) else { return false };
        let trouble = certificates::trouble(before, &pods);
        trouble.iter().for_each(|event| self.tell(event.seq));
        if !trouble.is_empty() {
            self.seqs.extend(rejection.map(|event| event.seq));
        }
        !trouble.is_empty()
    }

    /// Adds what is behind an event of an agent, or of an application's certificates.
    fn tell_behind(&mut self, event: &Recorded) {
        let kinds = certificates::behind(event);
        let Some((before, _)) = self.split(event).filter(|_| !kinds.is_empty()) else { return };
        let pod = event.at.rsplit_once('/').map_or(&*event.at, |(pod, _)| pod);
        let trouble = certificates::trouble(before, &[pod].into());
        let behind = trouble.iter().filter(|event| kinds.contains(&event.kind));
        behind.for_each(|event| self.tell(event.seq));
    }

    /// Adds why an agent finds its application not healthy; answers whether anything is known.
    fn tell_unhealthy(&mut self, health: &Recorded) -> bool {
        let Some((before, _)) = self.split(health).filter(|_| text(&fields(health), "message").is_some()) else {
            return false;
        };
        let machine = health.at.rsplit_once('/').map_or(&*health.at, |(machine, _)| machine);
        let behind = machines::of_health(before, machine);
        behind.iter().for_each(|event| self.tell(event.seq));
        !behind.is_empty()
    }

    /// Adds why the workload of a WorkloadEntry lost istiod; answers whether anything is known.
    fn tell_disconnected(&mut self, disconnected: &Recorded) -> bool {
        let Some((before, _)) = self.split(disconnected) else { return false };
        let told = fields(disconnected);
        let Some(machine) = text(&told, "entry").and_then(|entry| machines::behind(before, entry)) else {
            return false;
        };
        let behind = machines::of_connection(before, &machine);
        behind.iter().for_each(|event| self.tell(event.seq));
        !behind.is_empty()
    }

    /// Adds why an RPC found no server to be sent to.
    fn tell_unanswered(&mut self, finished: &Recorded) {
        if let Some(request) = self.unanswered(finished) {
            self.tell(request);
        }
        if text(&fields(finished), "cause_kind") == Some("deadline") {
            self.tell_cut_off(finished);
        }
    }

    /// Adds the responses that had not reached the client of an RPC because somebody kept or dropped them.
    fn tell_on_the_way(&mut self, finished: &Recorded) {
        let Some((before, _)) = self.split(finished) else { return };
        let client = finished.at.rsplit_once('/').map_or(&*finished.at, |(pod, _)| pod);
        faults::on_the_way(before, client).iter().for_each(|event| self.tell(event.seq));
    }

    /// Adds who injected resources of a response; answers whether anybody did.
    fn tell_injected(&mut self, push: &Recorded) -> bool {
        let Some((before, _)) = self.split(push) else { return false };
        let told = fields(push);
        let resources = texts(&told, "from").filter_map(|from| from.strip_prefix("injected "));
        let prefixes: Vec<String> = resources.map(|resource| format!("{resource} to ")).collect();
        let mut injections: Vec<u64> = Vec::new();
        for prefix in &prefixes {
            let injects = |event: &&Recorded| {
                let told = fields(event);
                text(&told, "what") == Some("inject")
                    && texts(&told, "targets").any(|target| target.starts_with(prefix.as_str()))
            };
            let mut disturbed = before.iter().rev().filter(|event| event.kind == "mesh.disturbed");
            injections.extend(disturbed.find(injects).map(|event| event.seq));
        }
        injections.iter().for_each(|injection| self.tell(*injection));
        !injections.is_empty()
    }

    /// Adds what the client of a configuration rejects, and so is no part of it.
    fn tell_rejected(&mut self, config: &Recorded) {
        let Some((before, _)) = self.split(config) else { return };
        let client = client_ordinal(&fields(config));
        let rejects = |event: &Recorded| event.at == config.at && client_ordinal(&fields(event)) == client;
        let faults = faults::standing(before).into_iter().map(|fault| fault.event);
        let nacks = faults.filter(|event| event.kind == "xds.nack" && rejects(event));
        nacks.for_each(|nack| self.tell(nack.seq));
    }

    /// When and why a response was kept back that left at last.
    fn held(&self, released: &Recorded) -> Vec<u64> {
        let Some((before, _)) = self.split(released) else { return Vec::new() };
        let nonce = fields(released).get("nonce").cloned();
        let held =
            before.iter().filter(|event| event.kind == "xds.held" && fields(event).get("nonce") == nonce.as_ref());
        held.map(|event| event.seq).collect()
    }

    /// Adds why clusters of a configuration have no endpoint; answers whether any has none.
    fn tell_missing(&mut self, applied: &Recorded) -> bool {
        let is_empty = |cluster: &Map<String, Value>| cluster.get("endpoints").and_then(Value::as_u64) == Some(0);
        let services = endpoints::services(&fields(applied), is_empty);
        let Some((before, _)) = self.split(applied) else { return false };
        for service in &services {
            let endpoints = Endpoints::of(before, service);
            if endpoints.lost.is_empty() {
                endpoints.last.into_iter().for_each(|event| self.tell(event.seq));
            } else {
                endpoints.lost.values().for_each(|event| self.tell(event.seq));
            }
        }
        !services.is_empty()
    }

    /// Adds why pods behind the Services of a configuration are not among its endpoints.
    fn tell_unready(&mut self, applied: &Recorded) {
        let Some((before, _)) = self.split(applied) else { return };
        for service in endpoints::services(&fields(applied), |_| true) {
            let Endpoints { lost, unready, .. } = Endpoints::of(before, &service);
            let missing = lost.iter().filter(|(pod, _)| unready.contains(*pod));
            missing.for_each(|(_, event)| self.tell(event.seq));
        }
    }

    /// Adds which priorities the clusters of a target are used by, and what led to it.
    fn tell_priorities(&mut self, at: &str, target: &str) {
        let mut last: BTreeMap<&str, &Recorded> = BTreeMap::new();
        for event in self.trace.events().iter().filter(|event| event.is_at(at)) {
            if let Some(told) = event.get::<ClusterPriority>().filter(|told| *told.target == *target) {
                last.insert(&told.cluster, event);
            }
        }
        last.into_values().for_each(|event| self.tell(event.seq));
    }

    /// Adds a connection that calls did not wait for, and why it failed if it did.
    fn tell_late(&mut self, late: Late<'t>) {
        if late.state.as_deref() == Some("TRANSIENT_FAILURE") {
            return self.tell(late.event.seq);
        }
        if late.state.as_deref() == Some("CONNECTING") {
            let pod = sentence::pod_at(self.trace, late.event, &late.address);
            let client = late.event.at.rsplit_once('/').map_or(&*late.event.at, |(pod, _)| pod);
            let faults = faults::standing(self.trace.events());
            let between = faults.iter().filter(|fault| fault.concerns(client, &pod.as_deref().into_iter().collect()));
            between.for_each(|fault| self.tell(fault.event.seq));
        }
        self.seqs.insert(late.event.seq);
        self.late.insert(late.event.seq, late);
    }

    /// Adds what stands between a client and istiod.
    fn tell_cut_off(&mut self, finished: &Recorded) {
        let Some((before, _)) = self.split(finished) else { return };
        let client = finished.at.rsplit_once('/').map_or(&*finished.at, |(pod, _)| pod);
        let istiods = faults::istiods(before);
        let faults = faults::standing(before);
        let between = faults.iter().filter(|fault| fault.concerns(client, &istiods));
        between.for_each(|fault| self.tell(fault.event.seq));
    }

    /// Adds what stood between a client and the endpoint of an RPC that took too long, or if it found none in time,
    /// those that it might have found.
    fn tell_in_the_way(&mut self, finished: &Recorded) {
        let told = fields(finished);
        let Some((before, _)) = self.split(finished) else { return };
        let endpoint = text(&told, "endpoint").and_then(|to| sentence::pod_at(self.trace, finished, to));
        let service = text(&told, "cluster").and_then(endpoints::service);
        let servers: BTreeSet<String> = match (endpoint, service) {
            (Some(pod), _) => [pod].into(),
            (None, Some(service)) => {
                let ready = Endpoints::of(before, &service).ready;
                ready.into_iter().map(|name| machines::behind(before, &name).unwrap_or(name)).collect()
            }
            (None, None) => return,
        };
        let servers: BTreeSet<&str> = servers.iter().map(String::as_str).collect();
        let took_us = told.get("took_us").and_then(Value::as_u64).unwrap_or_default();
        let began = before.partition_point(|event| event.t_us + took_us < finished.t_us);
        let client = finished.at.rsplit_once('/').map_or(&*finished.at, |(pod, _)| pod);
        for faults in [faults::standing(&before[..began]), faults::standing(before)] {
            let between = faults.iter().filter(|fault| fault.is_of_the_world() && fault.concerns(client, &servers));
            between.for_each(|fault| self.tell(fault.event.seq));
        }
    }

    /// What the server said of a connection that failed at its client.
    fn rejection(&self, failed: &Recorded) -> Option<u64> {
        let address = fields(failed).get("address")?.clone();
        let (before, after) = self.split(failed)?;
        let (index, from) = before.iter().enumerate().rev().find_map(|(index, event)| {
            if event.kind != "net.connect" || event.at != failed.at {
                return None;
            }
            let connect = fields(event);
            let to = connect.get("backend").filter(|backend| !backend.is_null()).or_else(|| connect.get("to"));
            (to == Some(&address)).then(|| (index, connect.get("from").cloned()))
        })?;
        let said = before[index..].iter().chain(after).take_while(|event| event.t_us <= failed.t_us + PEER_LATE_US);
        let mut rejections = said.filter(|event| matches!(event.kind, "conn.rejected" | "server.turned_away"));
        rejections.find(|event| fields(event).get("peer") == from.as_ref()).map(|event| event.seq)
    }

    /// The pushes of what a configuration consists of, as far as somebody's rules made it what it is.
    fn pushes(&self, applied: &Recorded) -> Vec<u64> {
        let Some((before, _)) = self.split(applied) else { return Vec::new() };
        let config = fields(applied);
        let mut wanted: BTreeSet<(&str, String)> = BTreeSet::new();
        for (kind, field) in [("LDS", "listener"), ("RDS", "route_configuration")] {
            wanted.extend(text(&config, field).map(|name| (kind, name.to_owned())));
        }
        for cluster in config.get("clusters").and_then(Value::as_array).into_iter().flatten() {
            wanted.extend(cluster.get("name").and_then(Value::as_str).map(|name| ("CDS", name.to_owned())));
        }
        let mut pushes = Vec::new();
        for event in before.iter().rev().filter(|event| event.kind == "xds.response" && event.at == applied.at) {
            if wanted.is_empty() {
                break;
            }
            let response = fields(event);
            let Some(kind) = text(&response, "type") else { continue };
            let names: BTreeSet<&str> = texts(&response, "resources").collect();
            let brought = wanted.len();
            wanted.retain(|(wanted, name)| *wanted != kind || !names.contains(name.as_str()));
            if wanted.len() < brought
                && let Some(push) = self.push_of(event)
                && has_rules(push)
            {
                pushes.push(event.seq);
            }
        }
        pushes
    }

    /// The push that a response came from.
    fn push_of(&self, response: &Recorded) -> Option<&'t Recorded> {
        self.trace.causes(response.seq).find(|event| event.kind == "xds.push")
    }

    /// The last request of an RPC's channel for something that never came.
    fn unanswered(&self, finished: &Recorded) -> Option<u64> {
        let (before, _) = self.split(finished)?;
        let target = fields(finished).get("target")?.clone();
        // Its causes tell its client, if it has heard anything at all; else it is one of those that go by its target.
        let heard = self.trace.causes(finished.seq).filter(|event| event.at == finished.at);
        let ordinal = heard.filter_map(|event| client_ordinal(&fields(event))).next();
        let own = before.iter().rev().filter(|event| event.at == finished.at);
        let own =
            own.take_while(|event| event.kind != "container.started").filter(|event| event.kind.starts_with("xds."));
        let own: Vec<(&Recorded, Map<String, Value>)> = own
            .map(|event| (event, fields(event)))
            .filter(|(_, told)| {
                told.get("client") == Some(&target) && (ordinal.is_none() || client_ordinal(told) == ordinal)
            })
            .collect();
        let of_client = |kind: &'static str, client: Option<u64>| {
            own.iter().filter(move |(event, told)| event.kind == kind && client_ordinal(told) == client)
        };
        let came = |request: &Map<String, Value>, name: &str| {
            let mut responses = of_client("xds.response", client_ordinal(request));
            responses.any(|(_, told)| {
                text(told, "type") == text(request, "type") && texts(told, "resources").any(|resource| resource == name)
            })
        };
        let mut requests = own.iter().filter(|(event, told)| {
            event.kind == "xds.request" && of_client("xds.client.closed", client_ordinal(told)).next().is_none()
        });
        let waiting = requests.find(|(_, told)| texts(told, "names").any(|name| !came(told, name)));
        waiting.map(|(request, _)| request.seq)
    }

    /// What was recorded before an event, and what since.
    fn split(&self, event: &Recorded) -> Option<(&'t [Recorded], &'t [Recorded])> {
        self.trace.events().split_at_checked(usize::try_from(event.seq - 1).ok()?)
    }

    fn lines(&self) -> Vec<String> {
        let sentences = Sentences::new(self.trace);
        let mut lines: Vec<String> = Vec::new();
        for event in self.seqs.iter().filter_map(|seq| self.trace.get(*seq)) {
            let sentence = match self.late.get(&event.seq) {
                Some(late) => Some(sentences.late(late)),
                None => sentences.of(event),
            };
            let Some(sentence) = sentence else { continue };
            let line = format!("{:>4}.{:03}s  {sentence}", event.t_us / 1_000_000, event.t_us / 1_000 % 1_000);
            if lines.last() != Some(&line) {
                lines.push(line);
            }
        }
        if lines.len() > LINES_MAX {
            let left_out = lines.len() - LINES_MAX + 1;
            let gap = format!("           ({left_out} more events)");
            lines.splice(LINES_MAX / 2..LINES_MAX / 2 + left_out, [gap]);
        }
        lines
    }
}

fn has_rules(push: &Recorded) -> bool {
    texts(&fields(push), "from").any(|object| RULES.iter().any(|rule| object.starts_with(rule)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hermesh_runtime::{AnyEvent, Level};

    use hermesh_xds::RpcFinished;
    use hermesh_xds::client::{ClientClosed, XdsRequest, XdsResponse};

    use super::*;
    use crate::engine::ContainerStarted;
    use crate::trace::Header;

    hermesh_runtime::event! {
        /// Something broke.
        Broke = "test.broke" { what: String, detail: Option<String>, }
    }

    fn trace() -> Trace {
        Trace::new(Header::of_test(Level::Info), true)
    }

    fn record(trace: &mut Trace, ms: u64, cause: Option<u64>, what: &str) -> u64 {
        let event: Arc<dyn AnyEvent> = Arc::new(Broke { what: what.into(), detail: None });
        let cause = cause.and_then(|cause| trace.get(cause)).map(Recorded::id);
        trace.record(Duration::from_millis(ms), &"ns/pod/app".into(), cause, event).expect("it is recorded").seq()
    }

    #[test]
    fn causes_read_from_the_earliest_to_the_failure() {
        let mut trace = trace();
        let first = record(&mut trace, 1_500, None, "cable");
        record(&mut trace, 1_600, None, "nothing to do with it");
        let last = record(&mut trace, 2_000, Some(first), &"x".repeat(200));
        let expected = [
            "   1.500s  pod/app: test.broke what=cable".to_owned(),
            format!("   2.000s  pod/app: test.broke what={}...", "x".repeat(160)),
        ];
        assert_eq!(causes(&trace, last), expected);
    }

    fn request(client_ordinal: u64, name: &str) -> Arc<dyn AnyEvent> {
        let (client, r#type, names) = ("xds:///web:80".into(), "LDS".into(), vec![name.to_owned()]);
        let (version, nonce) = (String::new(), String::new());
        Arc::new(XdsRequest { client, client_ordinal, r#type, version, nonce, names, error: None })
    }

    #[test]
    fn what_came_to_one_client_another_of_its_name_still_waits_for() {
        let mut trace = trace();
        let mut tell = |at: &str, event: Arc<dyn AnyEvent>| {
            trace.record(Duration::ZERO, &at.into(), None, event).expect("it is recorded").seq()
        };
        tell("ns/pod/app", request(7, "of the run before"));
        tell("ns/pod/app", Arc::new(ContainerStarted { args: Vec::new(), incarnation: 1 }));
        tell("ns/pod/app", request(0, "web:80"));
        let response = XdsResponse {
            client: "xds:///web:80".into(),
            client_ordinal: 0,
            r#type: "LDS".into(),
            version: "1".into(),
            nonce: "1".into(),
            resources: vec!["web:80".into()],
        };
        tell("ns/pod/app", Arc::new(response));
        let waits = tell("ns/pod/app", request(1, "web:80"));
        tell("ns/pod/app", request(2, "web:80"));
        let closed = ClientClosed { client: "xds:///web:80".into(), client_ordinal: 2, server: "unix:///xds".into() };
        tell("ns/pod/app", Arc::new(closed));
        let finished = RpcFinished {
            target: "xds:///web:80".into(),
            method: "/web/Get".into(),
            code: "DeadlineExceeded".into(),
            message: String::new(),
            cluster: None,
            endpoint: None,
            attempts: 0,
            cause_kind: None,
            took_us: 0,
        };
        let finished = tell("ns/pod/app", Arc::new(finished));
        let story = Story::new(&trace);
        assert_eq!(story.unanswered(trace.get(finished).unwrap()), Some(waits));
    }

    #[test]
    fn of_a_long_story_the_middle_is_left_out() {
        let mut trace = trace();
        let last = (0..50).fold(None, |cause, ms| Some(record(&mut trace, ms, cause, "again")));
        let lines = causes(&trace, last.unwrap());
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines.iter().any(|line| line.ends_with("(31 more events)")), "{lines:?}");
    }
}
