//! Carries out the steps, in the order of the file, and tells what came of each.

mod calls;
mod disturb;
mod links;
mod loads;
mod machines;
mod nodes;
mod objects;
mod rejected;
mod trouble;
mod waits;
mod xds;

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_istiod::yaml::{Diagnostic, Position};

use super::expect::Check;
use super::explain::Failure;
use super::file::{Action, Get, Moment, Step};
use super::outcome::{Outcome, StepReport, Verdict};
use super::read::{At, Place};
use super::run::RunOptions;
use super::settle::Trouble;
use super::target::Target;
use super::{Scenario, changing, together};
use crate::explain;
use crate::mesh::{Fault, Mesh, RunningLoad};

hermesh_runtime::event! {
    /// A step of the scenario begins.
    ScenarioStep = "scenario.step" {
        /// The number of the step it is part of.
        number: usize,
        /// Its name, if it has one.
        name: Option<String>,
        /// Where its verb stands in the scenario.
        line: u32,
    }
}

/// Numbers steps: each named entry begins one, and so does each that none with a name precedes.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    last: usize,
    named: bool,
}

impl Numbers {
    fn next(&mut self, step: &Step) -> usize {
        self.named |= step.name.is_some();
        if step.name.is_some() || !self.named {
            self.last += 1;
        }
        self.last
    }

    pub(super) fn total(steps: &[Step]) -> usize {
        let mut numbers = Self::default();
        steps.iter().map(|step| numbers.next(step)).last().unwrap_or_default()
    }
}

/// What came of a step.
type Done = Result<Outcome, Trouble>;

/// What a step did, in words, and what came of it.
type Played = Result<(String, Done), Fault>;

/// A run under way.
pub(super) struct Player<'a> {
    scenario: &'a Scenario,
    options: RunOptions,
    mesh: Mesh,
    numbers: Numbers,
    /// Those under way, by name.
    loads: BTreeMap<String, RunningLoad>,
    /// How many panics of users' images were reported.
    crashes: usize,
}

impl<'a> Player<'a> {
    pub(super) fn new(scenario: &'a Scenario, options: RunOptions, mesh: Mesh) -> Self {
        Self { scenario, options, mesh, numbers: Numbers::default(), loads: BTreeMap::new(), crashes: 0 }
    }

    /// The mesh as the steps have left it.
    pub(super) fn into_mesh(self) -> Mesh {
        self.mesh
    }

    pub(super) fn play(&mut self) -> Result<(Vec<StepReport>, Verdict), Fault> {
        let mut reports = Vec::new();
        if let Some(own) = &self.scenario.own {
            let began = self.mesh.now();
            let (outcome, notes) = self.apply(own)?;
            let done = outcome.map(Outcome::Words);
            let place = Place { position: Position::START, path: "steps".to_owned() };
            let report = self.report(0, None, began, "objects of this file".to_owned(), done, &place);
            reports.push(StepReport { notes, ..report });
        }
        let mut index = 0;
        for step in &self.scenario.file.steps {
            if failed(&reports) {
                break;
            }
            let number = self.numbers.next(step);
            let mut report = self.step(number, index, step, &reports)?;
            if report.failure.is_none() {
                report.failure = self.crash(step);
            }
            reports.push(report);
            if let Some(Action::Together(moments)) = step.action() {
                let own = reports.len() - 1;
                self.together(number, index, moments, &mut reports)?;
                reports[own].ended = self.mesh.now();
            }
            index += step.with_moments().count();
        }
        let verdict = if failed(&reports) { Verdict::Failed } else { Verdict::Held };
        Ok((reports, verdict))
    }

    /// Does each thing at its time, as a step of its own in the report.
    fn together(
        &mut self,
        number: usize,
        index: usize,
        moments: &[Moment],
        reports: &mut Vec<StepReport>,
    ) -> Result<(), Fault> {
        let began = self.mesh.now();
        let runtime = self.mesh.world().runtime();
        let draws = |moment: usize| runtime.draws(&format!("scenario/{index}/together/{moment}"));
        for (at, own) in together::schedule(moments, draws) {
            self.mesh.try_run_for((began + at).saturating_sub(self.mesh.now()))?;
            let step = &moments[own].step;
            let mut report = self.step(number, index + 1 + own, step, reports)?;
            if report.failure.is_none() {
                report.failure = self.crash(step);
            }
            reports.push(report);
            if failed(reports) {
                break;
            }
        }
        Ok(())
    }

    /// A user's image that panicked since the last step.
    fn crash(&mut self, step: &Step) -> Option<Failure> {
        let crashes = self.mesh.crashes();
        let crash = crashes.get(self.crashes)?;
        self.crashes = crashes.len();
        let why = crash.event.map(|event| self.mesh.with_trace(|trace| explain::causes(trace, event)));
        let trouble = Trouble {
            expected: "no image panics".to_owned(),
            seen: format!("container {} panicked: {}", crash.container, crash.message),
            why: why.unwrap_or_default(),
        };
        Some(self.failure(trouble, &step.verb_place))
    }

    fn step(&mut self, number: usize, index: usize, step: &Step, reports: &[StepReport]) -> Result<StepReport, Fault> {
        let began = self.mesh.now();
        let event = ScenarioStep {
            number,
            name: step.name.as_ref().map(|name| name.value.clone()),
            line: step.verb_place.position.line,
        };
        let event = self.mesh.world().emit("scenario", None, event);
        self.mesh.because(event);
        let action = step.action().expect("a step that was read without mistakes does something");
        let name = step.name.as_ref().map(|name| name.value.clone());
        let mut notes = self.scenario.notes_at(&step.place, index);
        if let Some(rejection) = step.rejection() {
            return self.rejected(number, index, step, rejection, notes);
        }
        let lasting = step.r#for.as_ref().map(|time| time.value.0);
        let (said, done) = match action {
            Action::Apply(paths) => {
                let (outcome, remarks) = self.apply(&self.scenario.manifests[&index])?;
                notes.extend(remarks);
                (format!("apply {}", list(paths)), words(outcome))
            }
            Action::Delete(paths) => {
                let outcome = self.delete(&self.scenario.manifests[&index])?;
                (format!("delete {}", list(paths)), words(outcome))
            }
            Action::Change(changes) => {
                let (outcome, remarks) = self.change(changes)?;
                notes.extend(remarks);
                (changing::describe(changes), words(outcome))
            }
            Action::Wait(wait) => self.wait(wait)?,
            Action::Get(Get::Pods) => ("get pods".to_owned(), Ok(Outcome::Pods(self.mesh.get_pods()))),
            Action::Get(Get::Table(listed)) => {
                (format!("get {}", listed.name()), Ok(Outcome::Table(self.mesh.get(*listed))))
            }
            Action::Get(Get::Config { of, json }) if step.expect_of_config().is_empty() => self.config(of, *json)?,
            Action::Get(Get::Config { of, json }) => return self.judged_config(number, step, (of, *json), notes),
            Action::Call(call) => return self.called(number, step, call, notes),
            Action::Load(load) => self.load(load)?,
            Action::Together(moments) => (together::describe(moments), words(Ok(String::new()))),
            Action::Stop(load) => return self.stop(number, step, &load.value, began, reports),
            Action::Kill(targets) => self.kill(targets)?,
            Action::Restart(targets) => self.restart(targets)?,
            Action::Pause(targets) => self.pause(targets, lasting)?,
            Action::Resume(targets) => self.resume(targets)?,
            Action::Power(power) => self.power(power)?,
            Action::Link(deed) => self.link(deed, lasting)?,
            Action::Trouble(deed) => self.trouble(deed, lasting)?,
            Action::Machine(deed) => self.machine(deed)?,
            Action::Inject(inject) => self.inject(index, inject)?,
            Action::Xds(deed) => self.xds(deed)?,
        };
        let report = self.report(number, name, began, said, done, &step.verb_place);
        Ok(StepReport { step: step.written.clone(), notes, ..report })
    }

    fn report(
        &self,
        number: usize,
        name: Option<String>,
        began: Duration,
        action: String,
        done: Done,
        place: &Place,
    ) -> StepReport {
        let (outcome, failure) = match done {
            Ok(outcome) => (outcome, None),
            Err(trouble) => (Outcome::Words("failed".to_owned()), Some(self.failure(trouble, place))),
        };
        let ended = self.mesh.now();
        let (checks, notes, step) = (Vec::new(), Vec::new(), serde_json::Value::Null);
        StepReport { number, name, began, ended, action, step, outcome, checks, notes, failure }
    }

    fn failure(&self, trouble: Trouble, place: &Place) -> Failure {
        let Trouble { expected, seen, why } = trouble;
        let again = self.scenario.again(&self.options);
        Failure { place: format!("{}:{}", self.scenario.path, place.position), expected, seen, why, again }
    }

    /// Whether an answer's workload is the one that a target means.
    fn same(&self, target: &Target, name: &str) -> bool {
        let namespace = target.namespace.as_deref().unwrap_or_else(|| self.scenario.namespace());
        match name.split_once('/') {
            Some((of, workload)) => of == namespace && workload == target.workload,
            None => namespace == self.scenario.namespace() && name == target.workload,
        }
    }
}

impl Scenario {
    /// The remarks about one step itself.
    fn notes_at(&self, place: &Place, index: usize) -> Vec<Diagnostic> {
        let path = if place.path.is_empty() { format!("steps[{index}]") } else { place.path.clone() };
        let about = |note: &&Diagnostic| {
            let field = note.location.field.as_deref().unwrap_or_default();
            *note.location.file == *self.path
                && field.strip_prefix(path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.notes.iter().filter(about).cloned().collect()
    }
}

/// An outcome that is told in words.
fn words(outcome: Result<String, Trouble>) -> Done {
    outcome.map(Outcome::Words)
}

/// What the checks that did not hold come to, if there are any.
fn missed(checks: &[Check], why: impl FnOnce() -> Vec<String>) -> Option<Trouble> {
    let missed: Vec<&Check> = checks.iter().filter(|check| !check.held).collect();
    let all = |part: fn(&Check) -> &str| {
        let mut parts: Vec<&str> = missed.iter().map(|check| part(check)).collect();
        parts.dedup();
        parts.join("; ")
    };
    let (expected, seen) = (all(|check| &check.expected), all(|check| &check.seen));
    (!missed.is_empty()).then(|| Trouble { expected, seen, why: why() })
}

/// Whether the last step did not do what it should.
fn failed(reports: &[StepReport]) -> bool {
    reports.last().is_some_and(|report| report.failure.is_some())
}

fn list<T: std::fmt::Display>(items: &[At<T>]) -> String {
    items.iter().map(|item| item.value.to_string()).collect::<Vec<_>>().join(", ")
}
