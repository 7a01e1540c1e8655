//! What came of the calls of a step, counted: by the caller's own events where it keeps them, else by what ForwardEcho
//! tells.

use std::collections::BTreeMap;
use std::time::Duration;

use super::figures::Figures;
use super::forwarded::Forwarded;
use super::outcome::Batch;
use super::words::code_name;
use crate::mesh::{Answer, CallReport, Calls};

/// What came of the calls of one step, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// How many calls there were to be.
    pub(super) total: u64,
    /// How many answers each workload gave. Of batches without xDS of which a call failed nothing is known, since
    /// ForwardEcho drops their output.
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
    /// How many answers each pod gave.
    pub(super) pods: BTreeMap<String, u64>,
    /// How many answers each version gave.
    pub(super) versions: BTreeMap<String, u64>,
    /// How many calls took so many attempts, of those that channels with xDS tell of.
    pub(super) attempts: BTreeMap<u32, u64>,
    /// How long those of them took that succeeded, from the fastest to the slowest.
    pub(super) took: Vec<Duration>,
    /// How long those took that failed.
    pub(super) took_failing: Vec<Duration>,
}

impl Seen {
    /// Counts what came of all batches, as far as `figures` and others ask; `told` are the calls of one as its channel
    /// tells of them.
    pub(super) fn count(
        total: u64,
        batches: &[Batch],
        figures: Option<&Figures>,
        told: impl Fn(&CallReport) -> Calls,
    ) -> Self {
        let mut seen = Self { total, ..Self::default() };
        for Batch { report, url, .. } in batches {
            let forwarded = report.failure.as_ref().map(|failure| Forwarded::read(&failure.message));
            match forwarded {
                None => report.answers.iter().for_each(|answer| seen.answer(answer)),
                Some(forwarded) if !url.starts_with("xds:") => {
                    seen.by_text(u64::from(report.count), url, &forwarded);
                }
                Some(forwarded) => {
                    let calls = told(report);
                    seen.by_channel(&calls, u64::from(report.count), &forwarded, figures);
                    seen.measure(&calls, figures);
                    continue;
                }
            }
            if url.starts_with("xds:") && figures.is_some_and(Figures::are_of_channels) {
                seen.measure(&told(report), figures);
            }
        }
        seen.sort();
        seen
    }

    /// Counts the calls of a load, as far as `figures` and others ask.
    pub(super) fn of(calls: &Calls, figures: &Figures) -> Self {
        let mut seen = Self { total: calls.len() as u64, ..Self::default() };
        seen.by_events(calls, Some(figures));
        seen.measure(calls, Some(figures));
        seen.sort();
        seen
    }

    fn measure(&mut self, calls: &Calls, figures: Option<&Figures>) {
        let Some(figures) = figures else { return };
        if figures.attempts.is_some() {
            add(&mut self.attempts, calls.attempts());
        }
        if figures.latency.is_some() {
            self.took.extend(calls.answered().map(|call| call.took));
            self.took_failing.extend(calls.errors().map(|call| call.took));
        }
    }

    fn sort(&mut self) {
        self.took.sort_unstable();
        self.took_failing.sort_unstable();
    }

    /// How many calls were answered, and it is known by whom.
    pub(super) fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// How many calls ended with which code.
    pub(super) fn codes(&self) -> BTreeMap<String, u64> {
        let mut codes = BTreeMap::new();
        for ((code, _), calls) in &self.failures {
            *codes.entry(code.clone()).or_default() += calls;
        }
        if self.succeeded > 0 {
            codes.insert(code_name(tonic::Code::Ok).to_owned(), self.succeeded);
        }
        codes
    }

    /// How many of the calls that failed did so because of what.
    pub(super) fn causes(&self) -> BTreeMap<String, u64> {
        let mut causes = BTreeMap::new();
        for ((_, cause), calls) in &self.failures {
            *causes.entry(cause.clone().unwrap_or_else(|| "unknown".to_owned())).or_default() += calls;
        }
        causes
    }

    /// How many calls have no end that anybody tells of.
    pub(super) fn untold(&self) -> u64 {
        self.total.saturating_sub(self.succeeded + self.failed())
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
        *self.pods.entry(answer.hostname.clone()).or_default() += 1;
        *self.versions.entry(answer.version.clone()).or_default() += 1;
        match http_error(&answer.output) {
            Some(status) => self.fail(format!("HTTP status {status}"), None, 1),
            None => self.succeeded += 1,
        }
    }

    /// A channel with xDS tells of each of its calls.
    fn by_channel(&mut self, calls: &Calls, count: u64, forwarded: &Forwarded, figures: Option<&Figures>) {
        self.by_events(calls, figures);
        // What no channel knows of did not leave ForwardEcho, which then ends with UNKNOWN.
        let failed = match forwarded {
            Forwarded::Errors { failed, .. } => *failed,
            Forwarded::NotSent if calls.is_empty() => count,
            Forwarded::NotSent | Forwarded::TimedOut { .. } => 0,
        };
        self.fail(unknown(), None, failed.saturating_sub(calls.errors().count() as u64));
    }

    fn by_events(&mut self, calls: &Calls, figures: Option<&Figures>) {
        self.succeeded += calls.answered().count() as u64;
        for ((code, cause), count) in calls.failures() {
            self.fail(code, cause, count);
        }
        add(&mut self.answers, calls.workloads());
        let Some(figures) = figures else { return };
        if figures.pods.is_some() {
            add(&mut self.pods, calls.pods());
        }
        if figures.versions.is_some() {
            add(&mut self.versions, calls.versions());
        }
        if figures.caller.is_some() || figures.callers.is_some() {
            add(&mut self.callers, calls.callers());
        }
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

    /// Why there is nobody to speak of who has answered.
    pub(super) fn nobody(&self) -> String {
        match (self.total, self.succeeded) {
            (0, _) => "no call was sent".to_owned(),
            (_, 0) => format!("no call was answered: {}", self.outcome()),
            _ => self.outcome(),
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

fn add<K: Ord>(sum: &mut BTreeMap<K, u64>, counts: BTreeMap<K, u64>) {
    for (key, count) in counts {
        *sum.entry(key).or_default() += count;
    }
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
