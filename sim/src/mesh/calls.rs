//! What became of the RPCs of a load, as the trace tells.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use hermesh_runtime::{Address, EventId};
use hermesh_xds::RpcFinished;
use hermesh_xds::cause::Cause;
use serde::Serialize;
use tonic::Code;

use super::call::{code, code_name, code_text};
use super::events::MachineBooted;
use super::pods::qualified;
use crate::cluster::events::ObjectApplied;
use crate::engine::PodAdded;
use crate::trace::{Recorded, Trace};

/// RPCs in the order in which they were sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calls(Vec<LoadedCall>);

/// One RPC of a load.
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
    pub workload: Option<String>,
    /// How many attempts were made.
    pub attempts: u32,
    /// The event that tells of it: from there `cause` leads back in the trace.
    pub event: u64,
}

impl LoadedCall {
    /// Whether it was answered with OK.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}

impl Calls {
    /// The RPCs of the process `at` after the event `since`, as seen from the namespace `own`.
    pub(super) fn of(trace: &Trace, at: &str, since: Option<EventId>, own: &str) -> Self {
        let since = since.map_or(0, EventId::seq);
        let mut pods = Pods { own, by_address: BTreeMap::new(), workloads: BTreeMap::new() };
        let mut calls = Vec::new();
        for event in trace.events() {
            pods.learn(event);
            if event.seq > since
                && *event.at == *at
                && let Some(rpc) = event.get::<RpcFinished>()
            {
                calls.push(pods.call(event, rpc));
            }
        }
        calls.sort_by_key(|call| call.sent);
        Self(calls)
    }

    /// Those that were sent within this time.
    #[must_use]
    pub fn during(&self, time: Range<Duration>) -> Self {
        Self(self.0.iter().filter(|call| time.contains(&call.sent)).cloned().collect())
    }

    /// Each of them.
    pub fn iter(&self) -> std::slice::Iter<'_, LoadedCall> {
        self.0.iter()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that failed.
    pub fn errors(&self) -> impl Iterator<Item = &LoadedCall> {
        self.iter().filter(|call| !call.is_ok())
    }

    /// How many failed with which code and cause, as scenarios write them.
    pub(crate) fn failures(&self) -> BTreeMap<(String, Option<String>), u64> {
        let mut failures = BTreeMap::new();
        for call in self.errors() {
            *failures.entry((call.code_text(), call.cause_text())).or_default() += 1;
        }
        failures
    }

    /// How many each workload answered with OK.
    #[must_use]
    pub fn workloads(&self) -> BTreeMap<String, u64> {
        let mut workloads = BTreeMap::new();
        for workload in self.iter().filter(|call| call.is_ok()).filter_map(|call| call.workload.clone()) {
            *workloads.entry(workload).or_default() += 1;
        }
        workloads
    }

    /// The time within which this part, from 0 to 1, of the calls that succeeded ended; none if none did.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Option<Duration> {
        let mut took: Vec<Duration> = self.iter().filter(|call| call.is_ok()).map(|call| call.took).collect();
        took.sort_unstable();
        // The nearest rank: a time that one of them really took.
        let rank = (quantile.clamp(0.0, 1.0) * took.len() as f64).ceil() as usize;
        took.get(rank.max(1) - 1).copied()
    }

    /// From when on all of them did as `did` says: when the first of those was sent. None if the last one did not.
    #[must_use]
    pub fn since_when(&self, did: impl Fn(&LoadedCall) -> bool) -> Option<Duration> {
        self.0.iter().rev().take_while(|call| did(call)).last().map(|call| call.sent)
    }

    /// # Panics
    /// If there are none, or if one failed: with each of those.
    #[track_caller]
    pub fn assert_no_errors(&self) -> &Self {
        assert!(!self.is_empty(), "no call has ended");
        let lines: Vec<String> = self.errors().map(LoadedCall::line).collect();
        assert!(lines.is_empty(), "{} of {} calls failed:\n{}", lines.len(), self.len(), lines.join("\n"));
        self
    }

    /// # Panics
    /// If there are none, or if another workload than this answered one, or if one failed.
    #[track_caller]
    pub fn assert_all_to(&self, workload: &str) -> &Self {
        self.assert_no_errors();
        let workloads = self.workloads();
        assert!(workloads.len() == 1 && workloads.contains_key(workload), "expected all to {workload}: {workloads:?}");
        self
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
    /// The code as specifications write it.
    pub(crate) fn code_text(&self) -> String {
        code_text(self.code)
    }

    /// The cause as scenarios write it.
    pub(crate) fn cause_text(&self) -> Option<String> {
        let cause = serde_json::to_value(self.cause?).ok()?;
        cause.as_str().map(str::to_owned)
    }

    fn line(&self) -> String {
        let cause = self.cause_text().map(|cause| format!(" ({cause})"));
        let to = self.workload.as_ref().map(|workload| format!(" to {workload}")).unwrap_or_default();
        let (sent, code, cause) = (self.sent.as_secs_f64(), self.code_text(), cause.unwrap_or_default());
        format!("{sent:>10.3}s  {code}{cause}{to}: {}", self.message)
    }
}

/// Whose address is whose, at the moment that was reached.
struct Pods<'a> {
    /// The namespace that names leave out.
    own: &'a str,
    /// `namespace/name` by address.
    by_address: BTreeMap<IpAddr, String>,
    /// By `namespace/name`.
    workloads: BTreeMap<String, String>,
}

impl Pods<'_> {
    fn learn(&mut self, event: &Recorded) {
        if let Some(added) = event.get::<PodAdded>() {
            self.by_address.extend(added.addresses.iter().map(|address| (*address, added.pod.clone())));
        } else if let Some(MachineBooted { machine, .. }) = event.get()
            && let Some((namespace, name)) = machine.split_once('/')
        {
            self.workloads.insert(machine.clone(), qualified(namespace, name, self.own));
        } else if let Some(ObjectApplied { object, workload: Some(workload), .. }) = event.get()
            && let Some(pod) = object.strip_prefix("Pod ")
        {
            let namespace = pod.split('/').next().unwrap_or_default();
            self.workloads.insert(pod.to_owned(), qualified(namespace, workload, self.own));
        }
    }

    fn workload(&self, endpoint: &Address) -> String {
        let pod = endpoint.tcp().and_then(|address| self.by_address.get(&address.ip()));
        pod.and_then(|pod| self.workloads.get(pod)).cloned().unwrap_or_else(|| endpoint.to_string())
    }

    fn call(&self, event: &Recorded, rpc: &RpcFinished) -> LoadedCall {
        let took = Duration::from_micros(rpc.took_us);
        LoadedCall {
            sent: Duration::from_micros(event.t_us).saturating_sub(took),
            took,
            code: code(&rpc.code).unwrap_or(Code::Unknown),
            message: rpc.message.clone(),
            cause: rpc.cause_kind,
            workload: rpc.endpoint.as_ref().map(|endpoint| self.workload(endpoint)),
            attempts: rpc.attempts,
            event: event.seq,
        }
    }
}

fn micros<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(time.as_micros())
}
