//! [`Trace`], the append-only log, and its form as JSON Lines.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use hermesh_runtime::{AnyEvent, Event, EventId, Level};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Keys of the envelope, which no event may use for a field of its own.
const ENVELOPE: [&str; 5] = ["t_us", "seq", "at", "kind", "cause"];

/// The first line of a trace: of what the rest is a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Header {
    /// Always [`Header::FORMAT`].
    pub format: &'static str,
    /// The version of Hermesh that ran.
    pub version: &'static str,
    /// The seed of all random choices.
    pub seed: u64,
    /// SHA-256 over the scenario and its manifests, in hex, if a scenario ran.
    pub scenario: Option<String>,
    /// The fidelity profile, such as `istio`.
    pub profile: String,
    /// Who carried the packets, if not Hermesh's own network: `turmoil`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<&'static str>,
    /// Wall time at `t_us` 0, in seconds since 1970-01-01T00:00:00Z.
    pub epoch_s: u64,
    /// The level up to which events are recorded.
    pub level: Level,
}

impl Header {
    /// Name and version of the format; the number grows when a reader of the old one would misread the new one.
    pub const FORMAT: &'static str = "hermesh.trace/1";

    /// That of a run of which a test has to know no more than the level.
    #[cfg(test)]
    pub(crate) fn of_test(level: Level) -> Self {
        Self {
            format: Self::FORMAT,
            version: "0.0.0",
            seed: 1,
            scenario: None,
            profile: "istio".to_owned(),
            network: None,
            epoch_s: 0,
            level,
        }
    }
}

/// One event and what the trace knows about it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Simulated time since the start of the run, in microseconds.
    pub t_us: u64,
    /// Position in the run, from 1.
    pub seq: u64,
    /// Where it happened: `namespace/pod/container`, or a part of the simulator such as `cluster`.
    pub at: Arc<str>,
    /// What happened, such as `net.refused`.
    pub kind: &'static str,
    /// The earlier event this follows from.
    pub cause: Option<u64>,
    /// The event itself.
    pub event: Arc<dyn AnyEvent>,
}

impl Recorded {
    /// The event, if it is an `E`.
    #[must_use]
    pub fn get<E: Event>(&self) -> Option<&E> {
        self.event.as_any().downcast_ref()
    }

    /// Whether it happened at `place` or in a part of it: `shop/web-0` holds `shop/web-0/app` but not `shop/web-01`.
    #[must_use]
    pub fn is_at(&self, place: &str) -> bool {
        self.at.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The name by which others give this event as their cause.
    #[must_use]
    pub fn id(&self) -> EventId {
        event_id(self.seq)
    }

    /// The line the trace has for it on disk, without the line feed.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut line = Vec::new();
        write_line(&mut line, self.t_us, self.seq, &self.at, self.cause, &*self.event);
        line.pop();
        String::from_utf8(line).expect("serde_json writes UTF-8")
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_json())
    }
}

/// An append-only log of events with simulated time.
///
/// The digest covers every recorded event even where events are not kept, so that two long runs can be compared without
/// holding either.
#[derive(Clone)]
pub struct Trace {
    header: Header,
    keep_events: bool,
    events: Vec<Recorded>,
    next_seq: u64,
    digest: Sha256,
    line: Vec<u8>,
    checked_kinds: BTreeSet<&'static str>,
}

impl Trace {
    /// An empty trace that records events up to the header's level.
    #[must_use]
    pub fn new(header: Header, keep_events: bool) -> Self {
        Self {
            header,
            keep_events,
            events: Vec::new(),
            next_seq: 1,
            digest: Sha256::new(),
            line: Vec::new(),
            checked_kinds: BTreeSet::new(),
        }
    }

    /// Of what this trace is a function.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether events of `level` are recorded.
    #[must_use]
    pub fn records(&self, level: Level) -> bool {
        level <= self.header.level
    }

    /// The events in order; empty if they are not kept.
    #[must_use]
    pub fn events(&self) -> &[Recorded] {
        &self.events
    }

    /// How many events were recorded, kept or not.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.next_seq - 1
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The event with this sequence number, if events are kept.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<&Recorded> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    /// The events of type `E`, in order.
    pub fn of<E: Event>(&self) -> impl Iterator<Item = (&Recorded, &E)> {
        self.events.iter().filter_map(|recorded| Some((recorded, recorded.get::<E>()?)))
    }

    /// The event, its cause, the cause of that, and so on.
    pub fn causes(&self, seq: u64) -> impl Iterator<Item = &Recorded> {
        std::iter::successors(self.get(seq), |recorded| self.get(recorded.cause?))
    }

    /// SHA-256 over the lines of all events so far. The header is left out: two runs with different headers and equal
    /// digests did the same.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest.clone().finalize().into()
    }

    /// [`digest`](Self::digest) in hex.
    #[must_use]
    pub fn digest_hex(&self) -> String {
        self.digest().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Appends an event, unless its level is not recorded.
    ///
    /// # Panics
    /// If the event has a field named like one of the envelope's: its line would hold that key twice.
    pub fn record(
        &mut self,
        now: Duration,
        at: &Arc<str>,
        cause: Option<EventId>,
        event: impl Into<Arc<dyn AnyEvent>>,
    ) -> Option<EventId> {
        let event = event.into();
        if !self.records(event.level()) {
            return None;
        }
        let kind = event.kind();
        if self.checked_kinds.insert(kind) {
            check_fields(&*event);
        }
        let seq = self.next_seq;
        self.next_seq += 1;
        let cause = cause.map(EventId::seq);
        let t_us = u64::try_from(now.as_micros()).expect("a run is shorter than 500 000 years");
        self.line.clear();
        write_line(&mut self.line, t_us, seq, at, cause, &*event);
        self.digest.update(&self.line);
        if self.keep_events {
            self.events.push(Recorded { t_us, seq, at: Arc::clone(at), kind, cause, event });
        }
        Some(event_id(seq))
    }

    /// Writes the header and the kept events, one JSON object a line.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_json_lines(&self, out: &mut impl io::Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.header)?;
        out.write_all(b"\n")?;
        let mut line = Vec::new();
        for recorded in &self.events {
            line.clear();
            write_line(&mut line, recorded.t_us, recorded.seq, &recorded.at, recorded.cause, &*recorded.event);
            out.write_all(&line)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").field("header", &self.header).field("len", &self.len()).finish_non_exhaustive()
    }
}

fn event_id(seq: u64) -> EventId {
    EventId::new(NonZeroU64::new(seq).expect("events are numbered from 1"))
}

fn check_fields(event: &dyn AnyEvent) {
    let mut json = Vec::new();
    event.write_json(&mut json);
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&json)
        .unwrap_or_else(|error| panic!("event `{}` is no JSON object: {error}", event.kind()));
    for name in ENVELOPE {
        let kind = event.kind();
        assert!(!fields.contains_key(name), "event `{kind}` has a field `{name}`, a name every event's envelope uses");
    }
}

fn write_line(line: &mut Vec<u8>, t_us: u64, seq: u64, at: &str, cause: Option<u64>, event: &dyn AnyEvent) {
    use io::Write as _;
    let infallible = "writing to memory does not fail";
    write!(line, r#"{{"t_us":{t_us},"seq":{seq},"at":"#).expect(infallible);
    serde_json::to_writer(&mut *line, at).expect(infallible);
    write!(line, r#","kind":"{}""#, event.kind()).expect(infallible);
    if let Some(cause) = cause {
        write!(line, r#","cause":{cause}"#).expect(infallible);
    }
    let fields = line.len();
    event.write_json(line);
    if line[fields..] == *b"{}" {
        line.truncate(fields);
        line.push(b'}');
    } else {
        line[fields] = b',';
    }
    line.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    hermesh_runtime::event! {
        /// Happens in tests.
        Tested = "test.happened" { name: String, }
        /// Carries bytes.
        Carried = "test.carried" @ Wire { len: u64, }
        /// Has nothing to say.
        Silent = "test.silent" {}
        /// Breaks the envelope.
        Broken = "test.broken" { seq: u64, }
    }

    fn trace(level: Level, keep_events: bool) -> Trace {
        let header = Header { seed: 7, epoch_s: 1_700_000_000, ..Header::of_test(level) };
        Trace::new(header, keep_events)
    }

    fn record<E: Event>(trace: &mut Trace, ms: u64, cause: Option<EventId>, event: E) -> Option<EventId> {
        trace.record(Duration::from_millis(ms), &"ns/pod/app".into(), cause, Arc::new(event) as Arc<dyn AnyEvent>)
    }

    #[test]
    fn a_place_holds_its_parts_and_no_namesakes() {
        let mut trace = trace(Level::Info, true);
        record(&mut trace, 0, None, Silent {});
        let event = &trace.events()[0];
        assert!(["ns", "ns/pod", "ns/pod/app"].iter().all(|place| event.is_at(place)));
        assert!(["ns/po", "ns/pod/ap", "pod"].iter().all(|place| !event.is_at(place)));
    }

    #[test]
    fn lines_have_envelope_then_fields() {
        let mut trace = trace(Level::Info, true);
        let first = record(&mut trace, 0, None, Tested { name: "a\"b".into() });
        record(&mut trace, 2, first, Silent {});
        let mut out = Vec::new();
        trace.write_json_lines(&mut out).unwrap();
        let expected = concat!(
            r#"{"format":"hermesh.trace/1","version":"0.0.0","seed":7,"scenario":null,"profile":"istio","#,
            r#""epoch_s":1700000000,"level":"info"}"#,
            "\n",
            r#"{"t_us":0,"seq":1,"at":"ns/pod/app","kind":"test.happened","name":"a\"b"}"#,
            "\n",
            r#"{"t_us":2000,"seq":2,"at":"ns/pod/app","kind":"test.silent","cause":1}"#,
            "\n",
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(trace.causes(2).map(|recorded| recorded.seq).collect::<Vec<_>>(), [2, 1]);
    }

    #[test]
    fn the_digest_does_not_need_the_events() {
        let (mut kept, mut dropped) = (trace(Level::Info, true), trace(Level::Info, false));
        for trace in [&mut kept, &mut dropped] {
            record(trace, 1, None, Tested { name: "x".into() });
        }
        assert_eq!(kept.digest(), dropped.digest());
        assert_eq!((kept.events().len(), dropped.events().len(), dropped.len()), (1, 0, 1));
    }

    #[test]
    fn what_is_below_the_level_leaves_no_mark() {
        let mut trace = trace(Level::Debug, true);
        assert_eq!(record(&mut trace, 1, None, Carried { len: 3 }), None);
        assert!(trace.is_empty());
    }

    #[test]
    #[should_panic(expected = "event `test.broken` has a field `seq`")]
    fn an_event_cannot_shadow_the_envelope() {
        record(&mut trace(Level::Info, true), 0, None, Broken { seq: 1 });
    }
}
