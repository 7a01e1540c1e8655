//! `call`, and what is expected of it.

use std::fmt::Write as _;

use hermesh_istiod::yaml::Diagnostic;
use tonic::Code;

use super::super::expect::{self, Check, Outcomes};
use super::super::file::{self, Step};
use super::super::outcome::{Batch, Outcome, StepReport};
use super::super::seen::Seen;
use super::super::settle::{Trouble, settle};
use super::super::target::Target;
use super::super::words::code_name;
use super::{Player, missed};
use crate::explain;
use crate::mesh::{Call, CallFailure, CallReport, Calls, Fault, LoadedCall, TRY_AGAIN};
use crate::report::{compact, precise, seconds};

/// The answers of a call that are shown one by one; of more only the counts are.
const ANSWERS_SHOWN_MAX: usize = 10;

impl Player<'_> {
    pub(super) fn call(&mut self, call: &file::Call) -> Result<Result<Vec<Batch>, Trouble>, Fault> {
        let mut batches = Vec::new();
        for url in &call.url {
            let mut asked = Call::new(call.from.value.to_string(), url.value.clone());
            asked.count = u32::try_from(call.count()).expect("the reader bounds the count");
            asked.qps = call.qps.as_ref().map(|qps| u32::try_from(qps.value).expect("the reader bounds the rate"));
            asked.headers = call.headers.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
            asked.message = call.message.clone().unwrap_or_default();
            asked.timeout = call.timeout.as_ref().map(|timeout| timeout.value.0);
            asked.new_connection_per_request = call.new_connection_per_request;
            match settle(self.mesh.try_call(&asked), "the call is made")? {
                Ok(CallReport { from, failure: Some(failure), .. }) if failure.code != Code::Unknown => {
                    let why = failure.event.map(|event| self.mesh.with_trace(|trace| explain::causes(trace, event)));
                    return Ok(Err(not_forwarded(&from, &failure, why.unwrap_or_default())));
                }
                Ok(report) => {
                    let lines = shown(&report, call.grep.as_ref().map_or("Hostname", |grep| grep.value.as_str()));
                    batches.push(Batch { url: url.value.clone(), lines, report });
                }
                Err(trouble) => return Ok(Err(trouble)),
            }
        }
        Ok(Ok(batches))
    }

    /// Makes the calls of a step, again and again if what is expected of them has time, and judges the last ones.
    pub(super) fn called(
        &mut self,
        number: usize,
        step: &Step,
        call: &file::Call,
        notes: Vec<Diagnostic>,
    ) -> Result<StepReport, Fault> {
        let (began, said) = (self.mesh.now(), describe(call));
        let within = step.expect_of_call().and_then(|expect| expect.within.as_ref()).map(|within| within.value);
        let name = step.name.as_ref().map(|name| name.value.clone());
        let mut tries = 0;
        loop {
            tries += 1;
            let next = self.mesh.now() + TRY_AGAIN;
            let made = self.call(call)?;
            let next = next.max(self.mesh.now());
            let mut checks = made.as_ref().map(|batches| self.checks(step, call, batches)).unwrap_or_default();
            let hold = made.is_ok() && checks.iter().all(|check| check.held);
            if !hold && within.is_some_and(|within| next <= began + within.0) {
                self.mesh.try_run_for(next - self.mesh.now())?;
                continue;
            }
            if let Some(within) = within {
                let took = compact(self.mesh.now() - began);
                for check in &mut checks {
                    let _ = write!(check.expected, " within {within}");
                    let _ = write!(check.seen, ", at try {tries} after {took}");
                }
            }
            let place = step.expect_of_call().map_or(&step.verb_place, |expect| &expect.place);
            let report = match made {
                Ok(batches) => {
                    let failure =
                        missed(&checks, || self.why(&batches, &checks)).map(|trouble| self.failure(trouble, place));
                    let report = self.report(number, name, began, said, Ok(Outcome::Calls(batches)), place);
                    StepReport { failure, ..report }
                }
                Err(trouble) => self.report(number, name, began, said, Err(trouble), &step.verb_place),
            };
            return Ok(StepReport { step: step.written.clone(), checks, notes, ..report });
        }
    }

    fn checks(&self, step: &Step, call: &file::Call, batches: &[Batch]) -> Vec<Check> {
        let Some(expect) = step.expect_of_call() else { return Vec::new() };
        let seen = Seen::count(call.total(), batches, Some(&expect.figures), |report| self.mesh.calls(report));
        expect::judge(&Outcomes::from(expect), &seen, |target: &Target, name: &str| self.same(target, name))
    }

    /// What made the slowest of these calls slow, of `url` from a process or pod: its way, and what the caller was told
    /// to do.
    pub(super) fn slowest(&self, calls: &Calls, from: &str, url: &str) -> Option<Vec<String>> {
        let longest = |a: &&LoadedCall, b: &&LoadedCall| a.took.cmp(&b.took).then(b.sent.cmp(&a.sent));
        let call = calls.answered().max_by(longest).or_else(|| calls.errors().max_by(longest))?;
        let to = call.pod.as_ref().map(|pod| format!(" to {pod}")).unwrap_or_default();
        let attempts = if call.attempts == 1 { "1 attempt".to_owned() } else { format!("{} attempts", call.attempts) };
        let (sent, took) = (seconds(call.sent), precise(call.took));
        let mut lines = vec![format!("the slowest call was sent at {sent}{to} and took {took}, in {attempts}")];
        self.mesh.with_trace(|trace| {
            if let Some(server) = &call.pod {
                lines.extend(explain::between(trace, call.event, pod(from), server));
            }
            lines.extend(explain::configuration(trace, from, url));
        });
        Some(lines)
    }

    /// What led to a failed call, or else what the caller was told to do.
    fn why(&self, batches: &[Batch], checks: &[Check]) -> Vec<String> {
        let slow = |Batch { report, url, .. }: &Batch| self.slowest(&self.mesh.calls(report), &report.from, url);
        if let Some(lines) = late(checks).then(|| batches.iter().find_map(slow)).flatten() {
            return lines;
        }
        let failed = batches.iter().find_map(|batch| batch.report.failure.as_ref());
        match failed {
            Some(failure) => match failure.event {
                Some(event) => self.mesh.with_trace(|trace| explain::causes(trace, event)),
                None => {
                    let broken = self.mesh.with_trace(explain::broken);
                    std::iter::once(failure.message.clone()).chain(broken).collect()
                }
            },
            None => batches
                .last()
                .map(|Batch { report, url, .. }| {
                    self.mesh.with_trace(|trace| explain::configuration(trace, &report.from, url))
                })
                .unwrap_or_default(),
        }
    }
}

/// Whether calls took another time than they were to, and all else was as expected. A latency that is missed as calls
/// failed is of no quantile.
pub(super) fn late(checks: &[Check]) -> bool {
    let mut missed = checks.iter().filter(|check| !check.held).peekable();
    missed.peek().is_some() && missed.all(|check| check.check == "latency" && check.of.is_some())
}

/// The pod, `namespace/name`, of a process there or of itself.
fn pod(at: &str) -> &str {
    at.rsplit_once('/').filter(|(pod, _)| pod.contains('/')).map_or(at, |(pod, _)| pod)
}

/// ForwardEcho ends all that fails with UNKNOWN; any other code says that it was not asked, or could not answer.
fn not_forwarded(from: &str, failure: &CallFailure, mut why: Vec<String>) -> Trouble {
    let CallFailure { code, message, .. } = failure;
    let hint = match code {
        Code::OutOfRange => "ForwardEcho answers in one message, of which gRPC takes 4 MiB: make fewer calls in a step",
        Code::Unavailable => {
            "calls are made by ForwardEcho on the pod's port 17171: its image must be `echo` or `stand-in`, and run"
        }
        _ => "calls are made by ForwardEcho on port 17171; something else answers there",
    };
    let seen = format!("{from} could not be asked to call: {}: {message}", code_name(*code));
    why.push(hint.to_owned());
    Trouble { expected: "the call is made".to_owned(), seen, why }
}

fn describe(call: &file::Call) -> String {
    let urls: Vec<&str> = call.url.iter().map(|url| url.value.as_str()).collect();
    let mut said = format!("call {} -> {}", call.from.value, urls.join(", "));
    if call.count() > 1 {
        said.push_str(&format!(", {} calls", call.count()));
    }
    if let Some(qps) = &call.qps {
        said.push_str(&format!(" at {}/s", qps.value));
    }
    said
}

/// The lines of a batch that the article would show: what `grep` finds, or what grpcurl says of an error.
fn shown(report: &CallReport, grep: &str) -> Vec<String> {
    if let Some(failure) = &report.failure {
        let code = format!("{:?}", failure.code);
        return vec!["ERROR:".to_owned(), format!("Code: {code}"), format!("Message: {}", failure.message)];
    }
    if report.answers.len() > ANSWERS_SHOWN_MAX {
        return Vec::new();
    }
    report.grep(grep).into_iter().map(str::to_owned).collect()
}
