//! A run as a text to keep beside its scenario: what came of each step, and every configuration that was in use.
//!
//! It has what a reviewer judges and leaves out what changes without a meaning: times, versions, addresses and the
//! drawn part of pods' names. The same run gives the same text.

mod config;
mod names;
mod rules;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hermesh_xds::client::XdsNack;
use hermesh_xds::server::ListenerApplied;
use hermesh_xds::{ConfigApplied, ConfigFailed};

use crate::engine::Network;
use crate::mesh::{CallFailure, Calls, code_text};
use crate::scenario::{Batch, Outcome, Run, ScenarioStep, StepReport};
use crate::trace::Recorded;
use names::Names;

/// The text of a run.
#[must_use]
pub fn snapshot(run: &Run) -> String {
    let mut text = format!("# {} - Istio {}, profile {}, seed {}", run.scenario, run.istio, run.profile, run.seed);
    match run.network {
        Network::Simulated => {}
        network => text.push_str(&format!(", network {}", network.name())),
    }
    text.push('\n');
    let mut page = Page { text, names: Names::of(&run.trace), told: BTreeMap::new() };
    let mut entries = entries(run);
    let first = entries.next().unwrap_or_default();
    let mut steps = run.steps.iter();
    // The objects of the scenario's own file come before all steps.
    if let Some(own) = run.steps.first().filter(|step| step.number == 0) {
        steps.next();
        page.step(own);
    }
    page.configurations(first);
    for (step, events) in steps.zip(entries) {
        page.step(step);
        page.configurations(events);
    }
    page.text
}

/// The events before the first entry of the scenario, then those of each.
fn entries(run: &Run) -> impl Iterator<Item = &[Recorded]> {
    let mut rest = run.trace.events();
    let begins = |event: &Recorded| event.get::<ScenarioStep>().is_some();
    let mut over = false;
    std::iter::from_fn(move || {
        if over {
            return None;
        }
        let own = usize::from(rest.first().is_some_and(begins));
        let end = rest[own..].iter().position(begins).map(|end| own + end);
        let (entry, later) = rest.split_at(end.unwrap_or(rest.len()));
        (rest, over) = (later, end.is_none());
        Some(entry)
    })
}

struct Page {
    text: String,
    names: Names,
    /// What was told of whom last: by process, with its namespace, and by what of it.
    told: BTreeMap<(String, String), String>,
}

/// The columns of tables that tell times and drawn addresses.
const DRAWN: [&str; 3] = ["AGE", "DURATION", "CLUSTER-IP"];

impl Page {
    fn step(&mut self, step: &StepReport) {
        if let Some(name) = &step.name {
            self.line(0, format_args!(""));
            self.line(0, format_args!("step {}: {name}", step.number));
        }
        match &step.outcome {
            // How long it took.
            Outcome::Words(_) if step.step.get("wait").is_some() => self.line(1, format_args!("{}", step.action)),
            Outcome::Words(words) if words.is_empty() => self.line(1, format_args!("{}", step.action)),
            Outcome::Words(words) => self.line(1, format_args!("{}: {words}", step.action)),
            _ => self.line(1, format_args!("{}", step.action)),
        }
        match &step.outcome {
            Outcome::Words(_) => {}
            Outcome::Pods(table) => {
                for row in &table.rows {
                    let pod = self.names.pod(&format!("{}/{}", row.namespace, row.name));
                    self.line(2, format_args!("{pod} {} {} restarts {}", row.ready, row.status, row.restarts));
                }
            }
            Outcome::Table(table) => {
                for row in &table.rows {
                    let cells = table.headings.iter().zip(row).filter(|(heading, _)| !DRAWN.contains(heading));
                    let cells: Vec<String> = cells.map(|(_, cell)| self.names.within(cell)).collect();
                    self.line(2, format_args!("{}", cells.join(" ")));
                }
            }
            Outcome::Config(config) | Outcome::Resources(config) => {
                for resource in &config.0 {
                    let process = self.names.process(&resource.process);
                    let error = resource.error.as_ref().map(|error| format!(": {}", self.names.within(error)));
                    let (client, kind, name) = (&resource.client, resource.resource_type, &resource.name);
                    let (status, error) = (resource.status, error.unwrap_or_default());
                    self.line(2, format_args!("{process} {client} {kind} {} {status}{error}", self.names.within(name)));
                }
            }
            Outcome::Calls(batches) => batches.iter().for_each(|batch| self.batch(batch)),
            Outcome::Load(calls) => self.load(calls),
        }
        for check in &step.checks {
            let held = if check.held { "held" } else { "FAILED" };
            let of = check.of.as_ref().map(|of| format!(" {of}")).unwrap_or_default();
            self.line(2, format_args!("{held} {}{of}: {}", check.check, check.expected));
        }
        for note in &step.notes {
            let field = note.location.field.as_ref().map(|field| format!("{field}: ")).unwrap_or_default();
            self.line(2, format_args!("{}: {field}{}", note.severity, note.message));
        }
    }

    fn batch(&mut self, batch: &Batch) {
        let report = &batch.report;
        match &report.failure {
            None => {
                let answers = list(&report.workloads);
                self.line(2, format_args!("{} of {} answered: {answers}", report.answers.len(), report.count));
            }
            Some(failure) => self.line(2, format_args!("failed: {}", failure_text(failure))),
        }
    }

    fn load(&mut self, calls: &Calls) {
        self.line(2, format_args!("{} calls, answered: {}", calls.len(), list(&calls.workloads())));
        for ((code, cause), count) in &calls.failures() {
            let cause = cause.as_ref().map(|cause| format!(" ({cause})")).unwrap_or_default();
            self.line(2, format_args!("{count} failed with {code}{cause}"));
        }
    }

    /// What came into use in an entry, of each channel and server the last, if it is another than before.
    fn configurations(&mut self, events: &[Recorded]) {
        let mut last: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
        for event in events {
            let (of, text) = if let Some(applied) = event.get::<ConfigApplied>() {
                (applied.target.to_string(), config::of_channel(&applied.digest.config, &self.names))
            } else if let Some(failed) = event.get::<ConfigFailed>() {
                (failed.target.to_string(), format!("none: {}\n", self.names.within(&failed.error)))
            } else if let Some(applied) = event.get::<ListenerApplied>() {
                let text = config::of_server(&applied.filter_chains.0, &self.names);
                (format!("server {}", applied.address.port()), text)
            } else if let Some(nack) = event.get::<XdsNack>() {
                let text = format!("{}\n", self.names.within(&nack.error));
                (format!("{} rejects {}", nack.client, nack.r#type), text)
            } else {
                continue;
            };
            let process = self.names.process(&event.at);
            last.insert((self.names.full_process(&event.at), of), (process, text));
        }
        for (key, (process, text)) in last {
            if self.told.get(&key) == Some(&text) {
                continue;
            }
            self.line(2, format_args!("{process} {}", key.1));
            text.lines().for_each(|line| self.line(3, format_args!("{line}")));
            self.told.insert(key, text);
        }
    }

    fn line(&mut self, depth: usize, line: std::fmt::Arguments<'_>) {
        let infallible = "writing to a String cannot fail";
        write!(self.text, "{:width$}", "", width = 2 * depth).expect(infallible);
        writeln!(self.text, "{line}").expect(infallible);
    }
}

/// `UNAVAILABLE (tls-handshake)`
fn failure_text(failure: &CallFailure) -> String {
    let code = code_text(failure.request_code.unwrap_or(failure.code));
    let cause = failure.cause.and_then(|cause| serde_json::to_value(cause).ok());
    match cause.as_ref().and_then(serde_json::Value::as_str) {
        Some(cause) => format!("{code} ({cause})"),
        None => code,
    }
}

fn list(workloads: &BTreeMap<String, u64>) -> String {
    let answers: Vec<String> = workloads.iter().map(|(workload, count)| format!("{workload} {count}")).collect();
    if answers.is_empty() { "none".to_owned() } else { answers.join(", ") }
}
