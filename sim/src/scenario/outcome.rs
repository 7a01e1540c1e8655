//! What a run comes to: plain values that reports are made of.

use std::time::Duration;

use hermesh_istiod::yaml::Diagnostic;
use serde::Serialize;

use super::expect::Check;
use super::explain::Failure;
use crate::engine::Network;
use crate::mesh::{CallReport, Calls, ClientConfig, PodTable, Table};
use crate::trace::Trace;

/// A run that went to its end, or to the first step that failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The scenario's name.
    pub scenario: String,
    /// Where it was read from.
    pub path: String,
    /// What it is about.
    pub about: Option<String>,
    /// Whose istiod, agent, injection and echo application were played.
    pub istio: &'static str,
    /// The fidelity profile.
    pub profile: String,
    /// The seed.
    pub seed: u64,
    /// Who carried the packets.
    pub network: Network,
    /// Whether every expectation held.
    pub verdict: Verdict,
    /// What was done, in order; steps after a failure are missing.
    pub steps: Vec<StepReport>,
    /// How many steps the scenario has. A step without a name is part of the named one before it.
    pub total: usize,
    /// Simulated time from start to end.
    pub simulated: Duration,
    /// All that happened.
    pub trace: Trace,
}

/// What a run comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every step was carried out and every expectation held.
    Held,
    /// One did not.
    Failed,
}

/// One entry of `steps` and what came of it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StepReport {
    /// The number of the step it is part of, from 1.
    pub number: usize,
    /// Its name, unless it is part of the step before it.
    pub name: Option<String>,
    /// Simulated time when it began.
    pub began: Duration,
    /// Simulated time when it ended.
    pub ended: Duration,
    /// What was done: `apply namespace.yaml, grpc-echo.yaml`.
    pub action: String,
    /// The entry as the scenario has it, as JSON; null for objects of the scenario's own file.
    pub step: serde_json::Value,
    /// What came of it, in a few words.
    pub outcome: Outcome,
    /// The expectations, each with what was seen.
    pub checks: Vec<Check>,
    /// Remarks about what was applied, and about the step itself.
    pub notes: Vec<Diagnostic>,
    /// What went wrong.
    pub failure: Option<Failure>,
}

/// What came of a step.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// A few words say it.
    Words(String),
    /// `get pods`
    Pods(PodTable),
    /// `get nodes` and the like
    Table(Table),
    /// `get: {config: ...}`
    Config(ClientConfig),
    /// `get: {config: ..., output: json}`
    Resources(ClientConfig),
    /// The calls, one batch for each URL.
    Calls(Vec<Batch>),
    /// The calls of a load that was stopped.
    Load(Calls),
}

/// A batch of calls to one URL.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Batch {
    /// Whom to call.
    pub url: String,
    /// The lines of output that the step shows: what `grep` finds, or ForwardEcho's error.
    pub lines: Vec<String>,
    /// Everything else.
    pub report: CallReport,
}
