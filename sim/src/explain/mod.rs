//! Why something happened: the events of the trace that led to it, in sentences.
//!
//! [`causes`] walks back from an event along the causes that the trace has. Two of them are not on that line and are
//! added: what the server said of a connection that failed at its client, and the pushes that gave a client the
//! configuration it used. Both lead on to the step that applied an object.

mod sentence;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::trace::{Recorded, Trace};
use sentence::Sentences;

/// How many lines tell a story; of a longer one the middle is left out.
const LINES_MAX: usize = 20;

/// How long after its client a server may notice that a connection failed.
const PEER_LATE_US: u64 = 1_000_000;

/// Kinds of objects whose change is worth telling about any configuration that was made from them.
const RULES: [&str; 3] = ["DestinationRule ", "PeerAuthentication ", "VirtualService "];

/// What led to the event `seq`, the earliest first, a line an event.
pub(crate) fn causes(trace: &Trace, seq: u64) -> Vec<String> {
    let mut story = Story { trace, seqs: BTreeSet::new() };
    story.tell(seq);
    story.lines()
}

/// How the process `at` (or a container of the pod `at`) came to the configuration it last had in use for `target`.
pub(crate) fn configuration(trace: &Trace, at: &str, target: &str) -> Vec<String> {
    let mut events = trace.events().iter().rev();
    let applied = events.find(|event| {
        event.kind == "config.applied" && event.is_at(at) && text(&fields(event), "target") == Some(target)
    });
    applied.map(|applied| causes(trace, applied.seq)).unwrap_or_default()
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

struct Story<'t> {
    trace: &'t Trace,
    seqs: BTreeSet<u64>,
}

impl<'t> Story<'t> {
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
                    if let Some(rejection) = self.rejection(event) {
                        self.tell(rejection);
                    }
                }
                "config.applied" => {
                    let pushes = self.pushes(event);
                    pushes.into_iter().for_each(|push| self.tell(push));
                    // The last response brought endpoints, as a rule; where they came from matters if there are none.
                    if !lacks_endpoints(event) {
                        return;
                    }
                }
                // What nobody's rules made is as it always was.
                "listener.applied" if self.push_of(event).is_some_and(|push| !has_rules(push)) => return,
                "rpc.finished" if fields(event).get("attempts").and_then(Value::as_u64) == Some(0) => {
                    if let Some(request) = self.unanswered(event) {
                        self.tell(request);
                    }
                }
                _ => {}
            }
            next = event.cause.and_then(|cause| trace.get(cause));
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
        let own = before.iter().filter(|event| event.kind.starts_with("xds.") && event.at == finished.at);
        let own: Vec<(&Recorded, Map<String, Value>)> =
            own.map(|event| (event, fields(event))).filter(|(_, told)| told.get("client") == Some(&target)).collect();
        let came = |kind: Option<&str>, name: &str| {
            let mut responses =
                own.iter().filter(|(event, told)| event.kind == "xds.response" && text(told, "type") == kind);
            responses.any(|(_, told)| texts(told, "resources").any(|resource| resource == name))
        };
        let mut requests = own.iter().rev().filter(|(event, _)| event.kind == "xds.request");
        let waiting = requests.find(|(_, told)| texts(told, "names").any(|name| !came(text(told, "type"), name)));
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
            let Some(sentence) = sentences.of(event) else { continue };
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

fn lacks_endpoints(applied: &Recorded) -> bool {
    let config = fields(applied);
    let mut clusters = config.get("clusters").and_then(Value::as_array).into_iter().flatten();
    clusters.any(|cluster| cluster.get("endpoints").and_then(Value::as_u64) == Some(0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use hermesh_runtime::{AnyEvent, Level};

    use super::*;
    use crate::trace::Header;

    hermesh_runtime::event! {
        /// Something broke.
        Broke = "test.broke" { what: String, detail: Option<String>, }
    }

    fn trace() -> Trace {
        let header = Header {
            format: Header::FORMAT,
            version: "0.0.0",
            seed: 1,
            scenario: None,
            profile: "istio".into(),
            epoch_s: 0,
            level: Level::Info,
        };
        Trace::new(header, true)
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

    #[test]
    fn of_a_long_story_the_middle_is_left_out() {
        let mut trace = trace();
        let last = (0..50).fold(None, |cause, ms| Some(record(&mut trace, ms, cause, "again")));
        let lines = causes(&trace, last.unwrap());
        assert_eq!(lines.len(), LINES_MAX);
        assert!(lines.iter().any(|line| line.ends_with("(31 more events)")), "{lines:?}");
    }
}
