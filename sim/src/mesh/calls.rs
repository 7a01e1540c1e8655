//! What became of RPCs, as the trace tells.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hermesh_xds::RpcFinished;
use hermesh_xds::cause::Cause;
use serde::{Serialize, Serializer};
use tonic::Code;

use super::call::{code, code_name, code_text};
use super::peers::{Peers, Server};
use crate::trace::{Recorded, Trace};

/// RPCs in the order in which they were sent.
///
/// Those of a window ([`during`](Self::during)) and copies share the RPCs with the whole.
#[derive(Clone, Default)]
pub struct Calls {
    all: Arc<[LoadedCall]>,
    part: Range<usize>,
}

/// One RPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LoadedCall {
    /// When it was sent, since the start of the mesh.
    #[serde(rename = "sent_us", serialize_with = "micros")]
    pub sent: Duration,
    /// How long it took.
    #[serde(rename = "took_us", serialize_with = "micros")]
    pub took: Duration,
    /// What it ended with.
    #[serde(serialize_with = "code_name")]
    pub code: Code,
    /// The status message.
    pub message: String,
    /// Why it failed, unless it succeeded.
    pub cause: Option<Cause>,
    /// The workload that it was sent to, with its namespace if that is not the mesh's; none if it did not come so far.
    /// An address that is no pod's stands for itself.
    pub workload: Option<Arc<str>>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The event that tells of it: from there `cause` leads back in the trace.
    pub event: u64,
    /// The pod that it was sent to, `namespace/name`.
    pub pod: Option<Arc<str>>,
    /// Which version answered, if the echo application did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Arc<str>>,
    /// Whom the server that answered took the caller for: a SPIFFE identity; none without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<Arc<str>>,
}

impl LoadedCall {
    /// Whether it was answered with OK.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}

impl Calls {
    /// The RPCs whose ends `chosen` picks out, as seen from the namespace `own`.
    pub(super) fn of(trace: &Trace, own: &str, chosen: impl Fn(&Recorded, &RpcFinished) -> bool) -> Self {
        let mut peers = Peers::new(trace, own);
        let mut calls = Vec::new();
        for event in trace.events() {
            match event.get::<RpcFinished>() {
                Some(rpc) if chosen(event, rpc) => calls.push(LoadedCall::new(event, rpc, peers.server(event, rpc))),
                Some(_) => {}
                None => peers.learn(event),
            }
        }
        calls.sort_by_key(|call| call.sent);
        Self { part: 0..calls.len(), all: calls.into() }
    }

    /// Those that were sent within this time.
    #[must_use]
    pub fn during(&self, time: Range<Duration>) -> Self {
        let before = |end: Duration| self.part.start + self.as_slice().partition_point(|call| call.sent < end);
        let first = before(time.start);
        Self { all: Arc::clone(&self.all), part: first..before(time.end).max(first) }
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, LoadedCall> {
        self.as_slice().iter()
    }

    /// All of them.
    #[must_use]
    pub fn as_slice(&self) -> &[LoadedCall] {
        &self.all[self.part.clone()]
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.part.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.part.is_empty()
    }

    /// Those that succeeded.
    pub fn answered(&self) -> impl Iterator<Item = &LoadedCall> {
        self.iter().filter(|call| call.is_ok())
    }

    /// Those that failed.
    pub fn errors(&self) -> impl Iterator<Item = &LoadedCall> {
        self.iter().filter(|call| !call.is_ok())
    }

    /// How many failed with which code and cause, as scenarios write them.
    pub(crate) fn failures(&self) -> BTreeMap<(String, Option<String>), u64> {
        let mut kinds: Vec<(&LoadedCall, u64)> = Vec::new();
        for call in self.errors() {
            match kinds.iter_mut().find(|(kind, _)| (kind.code, kind.cause) == (call.code, call.cause)) {
                Some((_, calls)) => *calls += 1,
                None => kinds.push((call, 1)),
            }
        }
        kinds.into_iter().map(|(call, calls)| ((call.code_text(), call.cause_text()), calls)).collect()
    }

    /// How many ended with which code, as specifications write them: `OK`, `UNAVAILABLE`.
    #[must_use]
    pub fn codes(&self) -> BTreeMap<String, u64> {
        let mut codes: BTreeMap<i32, u64> = BTreeMap::new();
        self.iter().for_each(|call| *codes.entry(call.code.into()).or_default() += 1);
        codes.into_iter().map(|(code, calls)| (code_text(code.into()), calls)).collect()
    }

    /// How many failed because of what.
    #[must_use]
    pub fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for ((_, cause), calls) in self.failures() {
            *causes.entry(cause.unwrap_or_else(|| "unknown".to_owned())).or_default() += calls;
        }
        causes
    }

    /// How many took so many attempts.
    #[must_use]
    pub fn attempts(&self) -> BTreeMap<u32, u64> {
        count(self.iter().map(|call| call.attempts))
    }

    /// How many each workload answered with OK.
    #[must_use]
    pub fn workloads(&self) -> BTreeMap<String, u64> {
        named(self.answered().filter_map(|call| call.workload.as_deref()))
    }

    /// How many each pod answered with OK.
    #[must_use]
    pub fn pods(&self) -> BTreeMap<String, u64> {
        named(self.answered().filter_map(|call| call.pod.as_deref()))
    }

    /// How many each version of the echo application answered with OK.
    #[must_use]
    pub fn versions(&self) -> BTreeMap<String, u64> {
        named(self.answered().filter_map(|call| call.version.as_deref()))
    }

    /// How many were answered with OK by servers that took the caller for whom; none for nobody.
    #[must_use]
    pub fn callers(&self) -> BTreeMap<Option<String>, u64> {
        let callers = count(self.answered().map(|call| call.caller.as_deref()));
        callers.into_iter().map(|(caller, calls)| (caller.map(str::to_owned), calls)).collect()
    }

    /// The time within which this part, from 0 to 1, of the calls that succeeded ended; none if none did.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Option<Duration> {
        let mut took: Vec<Duration> = self.answered().map(|call| call.took).collect();
        took.sort_unstable();
        // The nearest rank: a time that one of them really took.
        let rank = (quantile.clamp(0.0, 1.0) * took.len() as f64).ceil() as usize;
        took.get(rank.max(1) - 1).copied()
    }

    /// From when on all of them did as `did` says: when the first of those was sent. None if the last one did not.
    #[must_use]
    pub fn since_when(&self, did: impl Fn(&LoadedCall) -> bool) -> Option<Duration> {
        self.iter().rev().take_while(|call| did(call)).last().map(|call| call.sent)
    }
}

fn count<K: Ord>(keys: impl Iterator<Item = K>) -> BTreeMap<K, u64> {
    let mut counts = BTreeMap::new();
    keys.for_each(|key| *counts.entry(key).or_default() += 1);
    counts
}

fn named<'c>(names: impl Iterator<Item = &'c str>) -> BTreeMap<String, u64> {
    count(names).into_iter().map(|(name, calls)| (name.to_owned(), calls)).collect()
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Calls").field(&self.as_slice()).finish()
    }
}

impl PartialEq for Calls {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for Calls {}

impl Serialize for Calls {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_slice().serialize(serializer)
    }
}

impl<'a> IntoIterator for &'a Calls {
    type Item = &'a LoadedCall;
    type IntoIter = std::slice::Iter<'a, LoadedCall>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl LoadedCall {
    fn new(event: &Recorded, rpc: &RpcFinished, server: Server) -> Self {
        let took = Duration::from_micros(rpc.took_us);
        let code = code(&rpc.code).unwrap_or(Code::Unknown);
        let answered = code == Code::Ok;
        Self {
            sent: Duration::from_micros(event.t_us).saturating_sub(took),
            took,
            code,
            message: rpc.message.clone(),
            cause: rpc.cause_kind,
            workload: server.workload,
            attempts: rpc.attempts,
            event: event.seq,
            pod: server.pod,
            version: server.version.filter(|_| answered),
            caller: server.caller.filter(|_| answered),
        }
    }

    /// The code as specifications write it.
    pub(crate) fn code_text(&self) -> String {
        code_text(self.code)
    }

    /// The cause as scenarios write it.
    pub(crate) fn cause_text(&self) -> Option<String> {
        let cause = serde_json::to_value(self.cause?).ok()?;
        cause.as_str().map(str::to_owned)
    }

    /// What a test that fails says of it.
    pub(super) fn line(&self) -> String {
        let cause = self.cause_text().map(|cause| format!(" ({cause})"));
        let to = self.workload.as_ref().map(|workload| format!(" to {workload}")).unwrap_or_default();
        let (sent, code, cause) = (self.sent.as_secs_f64(), self.code_text(), cause.unwrap_or_default());
        format!("{sent:>10.3}s  {code}{cause}{to}: {}", self.message)
    }
}

fn micros<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(time.as_micros())
}
