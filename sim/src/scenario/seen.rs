//! What came of the calls of a step, counted: by the caller's own events where it keeps them, else by what ForwardEcho
//! tells.

use std::collections::BTreeMap;

use hermesh_xds::RpcFinished;

use super::forwarded::Forwarded;
use super::outcome::Batch;
use super::words::{code_name, code_named};
use crate::mesh::{Answer, CallReport};
use crate::trace::{Recorded, Trace};

/// What came of the calls of one step, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many calls there were to be.
    pub(super) total: u64,
    /// How many answers each workload gave; empty for batches of which a call failed, whose output ForwardEcho drops.
    pub(super) answers: BTreeMap<String, u64>,
    /// How many calls succeeded, their answers known or not.
    pub(super) succeeded: u64,
    /// How many calls failed with which code and cause.
    pub(super) failures: BTreeMap<(String, Option<String>), u64>,
    /// How many calls failed in a way that nobody tells.
    pub(super) failed_somehow: u64,
    /// How many calls ended, well or not, in a way that nobody tells.
    pub(super) ended_somehow: u64,
    /// Whom the servers took the caller for.
    pub(super) callers: BTreeMap<Option<String>, u64>,
}

impl Seen {
    /// Counts what came of all batches.
    pub(super) fn count(trace: &Trace, total: u64, batches: &[Batch]) -> Self {
        let mut seen = Self { total, ..Self::default() };
        for Batch { report, url, .. } in batches {
            match &report.failure {
                None => report.answers.iter().for_each(|answer| seen.answer(answer)),
                Some(failure) => {
                    let forwarded = Forwarded::read(&failure.message);
                    if url.starts_with("xds:") {
                        seen.by_events(events(trace, report), report, &forwarded);
                    } else {
                        seen.by_text(u64::from(report.count), url, &forwarded);
                    }
                }
            }
        }
        seen
    }

    /// How many calls failed, and it is known how.
    pub(super) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Whether every call succeeded.
    pub(super) fn all_succeeded(&self) -> bool {
        self.succeeded == self.total && self.failures.is_empty() && self.failed_somehow == 0
    }

    fn answer(&mut self, answer: &Answer) {
        *self.answers.entry(answer.workload.clone()).or_default() += 1;
        *self.callers.entry(answer.caller.clone()).or_default() += 1;
        match http_error(&answer.output) {
            Some(status) => self.fail(format!("HTTP status {status}"), None, 1),
            None => self.succeeded += 1,
        }
    }

    /// A channel with xDS tells of each of its calls.
    fn by_events(&mut self, events: &[Recorded], report: &CallReport, forwarded: &Forwarded) {
        let finished = events
            .iter()
            .filter(|event| event.is_at(&report.from))
            .filter_map(|event| event.get::<RpcFinished>())
            .filter(|rpc| *rpc.target == *report.url);
        let (mut told, mut failed_by_channel) = (0, 0);
        for rpc in finished {
            told += 1;
            if rpc.code == "Ok" {
                self.succeeded += 1;
                continue;
            }
            failed_by_channel += 1;
            let cause = rpc.cause_kind.and_then(|cause| serde_json::to_value(cause).ok());
            let cause = cause.and_then(|cause| cause.as_str().map(str::to_owned));
            self.fail(code_named(&rpc.code).to_owned(), cause, 1);
        }
        // What no channel knows of did not leave ForwardEcho, which then ends with UNKNOWN.
        let failed = match forwarded {
            Forwarded::Errors { failed, .. } => *failed,
            Forwarded::NotSent if told == 0 => u64::from(report.count),
            Forwarded::NotSent | Forwarded::TimedOut { .. } => 0,
        };
        self.fail(unknown(), None, failed.saturating_sub(failed_by_channel));
    }

    /// Of calls without xDS, ForwardEcho tells how many failed and how the first of them did.
    fn by_text(&mut self, count: u64, url: &str, forwarded: &Forwarded) {
        match forwarded {
            // HTTP has no codes but the one with which ForwardEcho ends.
            Forwarded::Errors { failed, .. } if url.starts_with("http:") => {
                self.fail(unknown(), None, *failed);
                self.succeeded += count.saturating_sub(*failed);
            }
            Forwarded::Errors { failed, first } => {
                self.fail((*first).to_owned(), None, 1);
                self.failed_somehow += failed.saturating_sub(1);
                self.succeeded += count.saturating_sub(*failed);
            }
            Forwarded::TimedOut { ended } => self.ended_somehow += ended,
            Forwarded::NotSent => self.fail(unknown(), None, count),
        }
    }

    fn fail(&mut self, code: String, cause: Option<String>, calls: u64) {
        if calls > 0 {
            *self.failures.entry((code, cause)).or_default() += calls;
        }
    }

    /// `3 of 10 calls failed with UNAVAILABLE (tls-handshake), 7 succeeded`
    pub(super) fn outcome(&self) -> String {
        let total = self.total;
        if self.all_succeeded() {
            return match total {
                1 => "the call succeeded".to_owned(),
                _ => format!("all {total} calls succeeded"),
            };
        }
        let mut parts = Vec::new();
        for ((code, cause), count) in &self.failures {
            let cause = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            parts.push(match total {
                1 => format!("the call failed with {code}{cause}"),
                _ => format!("{count} of {total} calls failed with {code}{cause}"),
            });
        }
        if self.failed_somehow > 0 {
            parts.push(format!("{} failed, with what ForwardEcho does not tell", self.failed_somehow));
        }
        if self.ended_somehow > 0 {
            parts.push(format!("{} of {total} ended, how ForwardEcho does not tell", self.ended_somehow));
        }
        if self.succeeded > 0 {
            parts.push(format!("{} succeeded", self.succeeded));
        }
        let ended = self.succeeded + self.failed() + self.failed_somehow + self.ended_somehow;
        match (total, total.saturating_sub(ended)) {
            (_, 0) => {}
            (1, _) => parts.push("the call did not end in time".to_owned()),
            (_, unfinished) => parts.push(format!("{unfinished} did not end in time")),
        }
        parts.join(", ")
    }
}

fn unknown() -> String {
    code_name(tonic::Code::Unknown).to_owned()
}

/// What happened while the calls of a report were made.
fn events<'t>(trace: &'t Trace, report: &CallReport) -> &'t [Recorded] {
    let from_one = |seq: u64| usize::try_from(seq.saturating_sub(1)).unwrap_or(usize::MAX);
    trace.events().get(from_one(report.events.start)..from_one(report.events.end)).unwrap_or_default()
}

/// The status of an answer over HTTP, if it is that of an error.
fn http_error(output: &str) -> Option<u16> {
    // Lines of the answer's own body begin with `[0 body]`.
    let status = output.lines().find_map(|line| line.split_once("] StatusCode=").filter(|(at, _)| !at.contains(' ')));
    status.and_then(|(_, status)| status.parse().ok()).filter(|status| *status >= 400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: u64, url: &str, forwarded: &Forwarded) -> Seen {
        let mut seen = Seen { total: count, ..Seen::default() };
        seen.by_text(count, url, forwarded);
        seen
    }

    #[test]
    fn of_calls_without_xds_the_first_code_counts_once() {
        let one = told(1, "grpc://a:1", &Forwarded::Errors { failed: 1, first: "UNAVAILABLE" });
        assert_eq!(one.outcome(), "the call failed with UNAVAILABLE");
        let many = told(4, "grpc://a:1", &Forwarded::Errors { failed: 3, first: "UNAVAILABLE" });
        assert_eq!((many.failed(), many.succeeded), (1, 1));
        assert_eq!(
            many.outcome(),
            "1 of 4 calls failed with UNAVAILABLE, 2 failed, with what ForwardEcho does not tell, 1 succeeded"
        );
        assert!(!many.all_succeeded());
    }

    #[test]
    fn calls_over_http_fail_with_forward_echos_own_code() {
        let seen = told(3, "http://a", &Forwarded::Errors { failed: 2, first: "UNKNOWN" });
        assert_eq!(seen.outcome(), "2 of 3 calls failed with UNKNOWN, 1 succeeded");
        let seen = told(3, "http://a", &Forwarded::NotSent);
        assert_eq!(seen.outcome(), "3 of 3 calls failed with UNKNOWN");
    }

    #[test]
    fn a_batch_whose_time_is_up_tells_how_many_ended() {
        let seen = told(10, "grpc://a:1", &Forwarded::TimedOut { ended: 3 });
        assert_eq!(seen.outcome(), "3 of 10 ended, how ForwardEcho does not tell, 7 did not end in time");
        assert_eq!(told(1, "http://a", &Forwarded::TimedOut { ended: 0 }).outcome(), "the call did not end in time");
    }

    #[test]
    fn an_http_status_from_400_is_a_failure() {
        assert_eq!(http_error("[0] Url=http://a\n[0] StatusCode=503\n[0 body] StatusCode=200\n"), Some(503));
        assert_eq!(http_error("[0] StatusCode=204\n"), None);
        assert_eq!(http_error("[0 body] StatusCode=500\n"), None, "what the answer's text says is no status");
    }
}
