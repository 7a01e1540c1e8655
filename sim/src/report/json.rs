//! The report programs read: one JSON object for a whole command, documented in `docs/report.md`.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::junit;
use crate::mesh::Calls;
use crate::scenario::{Outcome, Run, StepReport, Verdict};

/// The format's name and version.
pub const FORMAT: &str = "hermesh.report/1";

/// All runs of a command.
#[derive(Clone, Debug, Default)]
pub struct Report {
    runs: Vec<Value>,
    faults: Vec<String>,
    diagnostics: Vec<Value>,
    failed: bool,
}

impl Report {
    /// Adds a run that took `wall`.
    pub fn add(&mut self, run: &Run, wall: Duration) {
        self.extend([Entry::new(run, wall)]);
    }

    /// Adds runs that were made ready before.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        for Entry { value, failed } in entries {
            self.failed |= failed;
            self.runs.push(value);
        }
    }

    /// Adds a run that Hermesh itself ended.
    pub fn add_fault(&mut self, message: impl Into<String>) {
        self.faults.push(message.into());
    }

    /// Adds what is wrong with the input.
    pub fn add_diagnostics(&mut self, diagnostics: impl IntoIterator<Item = Value>) {
        self.diagnostics.extend(diagnostics);
    }

    /// All runs as JUnit XML: a suite for each, with a case for each step up to the first that failed.
    #[must_use]
    pub fn to_junit(&self) -> String {
        junit::junit(&self.runs, &self.faults)
    }

    /// The one object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let verdict = if !self.faults.is_empty() {
            "fault"
        } else if self.failed {
            "failed"
        } else if !self.diagnostics.is_empty() {
            "not-understood"
        } else {
            "held"
        };
        json!({
            "format": FORMAT,
            "version": env!("CARGO_PKG_VERSION"),
            "verdict": verdict,
            "runs": self.runs,
            "faults": self.faults,
            "diagnostics": self.diagnostics,
        })
    }
}

/// What a report says of one run: much smaller than the run with its trace.
#[derive(Clone, Debug)]
pub struct Entry {
    value: Value,
    failed: bool,
}

impl Entry {
    /// A run that took `wall`.
    #[must_use]
    pub fn new(run: &Run, wall: Duration) -> Self {
        let value = json!({
            "scenario": run.scenario,
            "path": run.path,
            "istio": run.istio,
            "profile": run.profile,
            "seed": run.seed,
            "network": run.network.name(),
            "verdict": run.verdict,
            "verified": false,
            "simulated_ms": millis(run.simulated),
            "wall_ms": millis(wall),
            "trace": {"events": run.trace.len(), "digest": run.trace.digest_hex()},
            "steps": run.steps.iter().map(step).collect::<Vec<_>>(),
        });
        Self { value, failed: run.verdict == Verdict::Failed }
    }

    /// The same run, compared with the snapshot in the file `path`: how they differ, if they do.
    #[must_use]
    pub fn compared(mut self, path: &str, difference: Option<&str>) -> Self {
        self.failed |= difference.is_some();
        self.value["snapshot"] = json!({"path": path, "difference": difference});
        self
    }

    /// The same run, of which a second one wrote the same trace.
    #[must_use]
    pub fn verified(mut self) -> Self {
        self.value["verified"] = true.into();
        self
    }
}

fn step(step: &StepReport) -> Value {
    let mut value = json!({
        "number": step.number,
        "name": step.name,
        "action": step.action,
        "step": step.step,
        "began_ms": millis(step.began),
        "ended_ms": millis(step.ended),
        "verdict": if step.failure.is_some() { Verdict::Failed } else { Verdict::Held },
    });
    let fields = value.as_object_mut().expect("json! made an object");
    match &step.outcome {
        Outcome::Words(words) => fields.insert("outcome".to_owned(), words.as_str().into()),
        Outcome::Pods(pods) => fields.insert("pods".to_owned(), plain(pods)),
        Outcome::Table(table) => fields.insert("table".to_owned(), plain(table)),
        Outcome::Config(config) | Outcome::Resources(config) => fields.insert("config".to_owned(), plain(config)),
        Outcome::Calls(batches) => {
            let calls = batches.iter().map(|batch| plain(&batch.report)).collect::<Vec<_>>();
            fields.insert("calls".to_owned(), calls.into())
        }
        Outcome::Load(calls) => fields.insert("load".to_owned(), load(calls)),
    };
    fields.insert("checks".to_owned(), plain(&step.checks));
    fields.insert("notes".to_owned(), plain(&step.notes));
    fields.insert("failure".to_owned(), plain(&step.failure));
    value
}

/// The failed calls of a load that a report shows one by one.
const FAILED_CALLS_MAX: usize = 100;

fn load(calls: &Calls) -> Value {
    let micros = |quantile| calls.latency(quantile).map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    json!({
        "calls": calls.len(),
        "answers": calls.workloads(),
        "errors": calls.errors().count(),
        "latency_us": {"p50": micros(0.5), "p99": micros(0.99), "max": micros(1.0)},
        "failed": plain(&calls.errors().take(FAILED_CALLS_MAX).collect::<Vec<_>>()),
    })
}

fn plain(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("reports hold plain data, which always has a JSON form")
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
