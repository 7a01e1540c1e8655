//! Plays a scenario with a seed and tells, step by step, what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hermesh_istiod::yaml::{Diagnostic, Location};
use hermesh_runtime::{EventId, Level};
use tonic::Code;

use super::expect::{self, Check};
use super::explain::Failure;
use super::file::{self, Action, Heal, Moment, Step, Wait};
use super::outcome::{Batch, Outcome, Run, StepReport, Verdict};
use super::read::{At, Place};
use super::seen::Seen;
use super::settle::{Trouble, settle, settle_wait};
use super::target::Target;
use super::words::code_name;
use super::{InputError, Scenario, stop, together, traffic};
use crate::cluster::ISTIO_NAMESPACE;
use crate::engine::Network;
use crate::explain;
use crate::mesh::{
    Applied, Call, CallFailure, CallReport, Deleted, DisturbError, Fault, Load, Manifests, Mesh, RunningLoad,
    StartError, WaitError, mesh,
};
use crate::report::compact;

/// The answers of a call that are shown one by one; of more only the counts are.
const ANSWERS_SHOWN_MAX: usize = 10;

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

/// What a run is a function of, besides the scenario.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RunOptions {
    /// The seed of all random choices.
    pub seed: u64,
    /// Which events the trace has.
    pub level: Level,
    /// Who carries the packets.
    pub network: Network,
}

impl RunOptions {
    /// This seed, and the events that explanations need.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self { seed, level: Level::Info, network: Network::default() }
    }

    /// The same with events down to `level` in the trace.
    #[must_use]
    pub fn level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// The same on this network.
    #[must_use]
    pub fn network(self, network: Network) -> Self {
        Self { network, ..self }
    }
}

/// Why a run says nothing about the scenario: the mesh did not start, or broke.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// It cannot start as the scenario has it, or an admission webhook would refuse one of its objects.
    #[error(transparent)]
    Setting(InputError),
    /// It did not start.
    #[error(transparent)]
    Start(StartError),
    /// It could not go on.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Scenario {
    /// Plays the scenario. Whether its expectations held, the answer tells.
    ///
    /// # Errors
    /// If the mesh cannot start as the scenario has it, or if Hermesh itself is at fault.
    pub fn run(&self, options: &RunOptions) -> Result<Run, RunError> {
        let mut builder = mesh()
            .istio(self.file.mesh.istio.value)
            .images(self.images.clone())
            .namespace(self.namespace())
            .seed(options.seed)
            .level(options.level)
            .network(options.network)
            .scenario_digest(self.digest.clone());
        if let Some(latency) = &self.file.mesh.latency {
            builder = builder.latency(latency.value.0.clone());
        }
        let mesh = builder.try_start().map_err(|error| self.not_started(error))?;
        self.refuse(&mesh)?;
        let (numbers, loads) = (Numbers::default(), BTreeMap::new());
        let mut player = Player { scenario: self, options: *options, mesh, numbers, loads, crashes: 0 };
        let (steps, verdict) = player.play()?;
        let simulated = player.mesh.now();
        let trace = player.mesh.finish();
        Ok(Run {
            scenario: self.name().to_owned(),
            path: self.path.clone(),
            about: self.file.about.as_ref().map(|about| about.value.clone()),
            istio: self.file.mesh.istio.value,
            profile: trace.header().profile.clone(),
            seed: options.seed,
            network: options.network,
            verdict,
            steps,
            total: Numbers::total(&self.file.steps),
            simulated,
            trace,
        })
    }

    /// Finds what would be refused when its step comes, before any step is carried out.
    fn refuse(&self, mesh: &Mesh) -> Result<(), RunError> {
        let diagnostics = self.refused.get_or_init(|| self.refusals(mesh));
        if diagnostics.is_empty() {
            return Ok(());
        }
        Err(RunError::Setting(InputError { diagnostics: diagnostics.clone(), sources: self.sources.clone() }))
    }

    fn refusals(&self, mesh: &Mesh) -> Vec<Diagnostic> {
        let applied =
            self.file.all_steps().enumerate().filter(|(_, step)| matches!(step.action(), Some(Action::Apply(_))));
        let steps = applied.filter_map(|(index, _)| self.manifests.get(&index));
        let mut diagnostics: Vec<Diagnostic> = Vec::new();
        let mut namespaces = Vec::new();
        let errors = self.own.iter().chain(steps);
        for error in errors.flat_map(|manifests| mesh.refusals(manifests.clone(), &mut namespaces)) {
            if !diagnostics.contains(&error) {
                diagnostics.push(error);
            }
        }
        diagnostics
    }

    /// What the scenario's own settings brought about is its author's to mend.
    fn not_started(&self, error: StartError) -> RunError {
        let place = match &error {
            StartError::Fault(_) | StartError::Istiod(WaitError::Fault(_)) => None,
            StartError::UnknownIstio { .. } => Some(&self.file.mesh.istio.place),
            _ => self.file.mesh.latency.as_ref().map(|latency| &latency.place),
        };
        let Some(place) = place else { return RunError::Start(error) };
        let location = Location::in_file(&self.path).at(place.position).field(place.path.clone());
        let message = format!("the mesh does not start with this: {error}");
        let diagnostics = vec![Diagnostic::error("not-started", location, message)];
        RunError::Setting(InputError { diagnostics, sources: self.sources.clone() })
    }
}

/// Numbers steps: each named entry begins one, and so does each that none with a name precedes.
#[derive(Debug, Default)]
struct Numbers {
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

    fn total(steps: &[Step]) -> usize {
        let mut numbers = Self::default();
        steps.iter().map(|step| numbers.next(step)).last().unwrap_or_default()
    }
}

type Done = Result<Outcome, Trouble>;

struct Player<'a> {
    scenario: &'a Scenario,
    options: RunOptions,
    mesh: Mesh,
    numbers: Numbers,
    /// Those under way, by name.
    loads: BTreeMap<String, RunningLoad>,
    /// How many panics of users' images were reported.
    crashes: usize,
}

impl Player<'_> {
    fn play(&mut self) -> Result<(Vec<StepReport>, Verdict), Fault> {
        let mut reports = Vec::new();
        if let Some(own) = &self.scenario.own {
            let began = self.mesh.now();
            let (outcome, notes) = self.apply(own)?;
            let done = outcome.map(Outcome::Words);
            let place = Place { position: hermesh_istiod::yaml::Position::START, path: "steps".to_owned() };
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
        let words = |outcome: Result<String, Trouble>| outcome.map(Outcome::Words);
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
            Action::Wait(wait) => {
                let (said, outcome) = self.wait(wait)?;
                (said, words(outcome))
            }
            Action::Get(file::Get::Pods) => ("get pods".to_owned(), Ok(Outcome::Pods(self.mesh.get_pods()))),
            Action::Call(call) => {
                let said = describe_call(call);
                match self.call(call)? {
                    Ok(batches) => return Ok(self.judged(number, step, began, said, batches, notes)),
                    Err(trouble) => (said, Err(trouble)),
                }
            }
            Action::Load(load) => {
                let said = format!("load {}: {} -> {}", load.name.value, load.from.value, load.url.value);
                let outcome = self.load(load)?.map(|()| format!("{} calls a second", load.qps));
                (said, words(outcome))
            }
            Action::Together(moments) => {
                let things =
                    if moments.len() == 1 { "one thing".to_owned() } else { format!("{} things", moments.len()) };
                (format!("together: {things}"), Ok(Outcome::Words(String::new())))
            }
            Action::Stop(load) => return self.stop(number, step, &load.value, began, reports),
            Action::Kill(targets) => {
                let outcome = self.each(targets, "is killed", Mesh::try_kill)?;
                (format!("kill {}", list(targets)), words(outcome))
            }
            Action::Restart(targets) => {
                let outcome = self.each(targets, "restarts", Mesh::try_restart)?;
                (format!("restart {}", list(targets)), words(outcome))
            }
            Action::Partition([a, b]) => {
                let (a, b) = (a.value.to_string(), b.value.to_string());
                let outcome = settle(self.mesh.try_partition(&a, &b), "no packet passes between them")?;
                let said = format!("partition {a} from {b}");
                (said, words(outcome.map(|_| String::new())))
            }
            Action::Heal(Heal::All) => {
                let outcome = settle(self.mesh.try_heal_all(), "packets pass everywhere again")?;
                ("heal all".to_owned(), words(outcome.map(|_| String::new())))
            }
            Action::Heal(Heal::Pair(pair)) => {
                let [a, b] = &**pair;
                let healed = self.mesh.try_heal(&a.value.to_string(), &b.value.to_string());
                let outcome = settle(healed, "packets pass between them again")?;
                (format!("heal {} and {}", a.value, b.value), words(outcome.map(|_| String::new())))
            }
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

    fn apply(&mut self, manifests: &Manifests) -> Result<(Result<String, Trouble>, Vec<Diagnostic>), Fault> {
        let applied = settle(self.mesh.try_apply(manifests.clone()), "the objects are applied")?;
        Ok(match applied {
            Ok(Applied { objects, notes, .. }) => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for (_, outcome) in &objects {
                    *counts.entry(outcome.as_str()).or_default() += 1;
                }
                let counts: Vec<String> = counts.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
                (Ok(counts.join(", ")), notes)
            }
            Err(trouble) => (Err(trouble), Vec::new()),
        })
    }

    fn delete(&mut self, manifests: &Manifests) -> Result<Result<String, Trouble>, Fault> {
        let deleted = settle(self.mesh.try_delete(manifests.clone()), "the objects are deleted")?;
        Ok(deleted.map(|Deleted { objects, absent, .. }| match absent.len() {
            0 => format!("{} deleted", objects.len()),
            absent => format!("{} deleted, {absent} not there", objects.len()),
        }))
    }

    fn wait(&mut self, wait: &Wait) -> Result<(String, Result<String, Trouble>), Fault> {
        let began = self.mesh.now();
        let (said, outcome) = match wait {
            Wait::Time(time) => {
                let passed = self.mesh.try_run_for(time.value.0);
                return Ok((format!("wait {}", time.value), settle(passed, "time passes")?.map(|_| String::new())));
            }
            Wait::Ready { workloads: None, within } => {
                let waited = self.mesh.try_wait_ready(&[], within.0);
                ("wait for all pods to be ready".to_owned(), settle_wait(waited, "all pods are ready", *within)?)
            }
            Wait::Ready { workloads: Some(workloads), within } => {
                let names: Vec<String> = workloads.iter().map(|target| target.value.to_string()).collect();
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let waited = self.mesh.try_wait_ready(&names, within.0);
                let names = names.join(", ");
                let expected = format!("{names} ready");
                (format!("wait for {names} to be ready"), settle_wait(waited, &expected, *within)?)
            }
            Wait::Converged { within } => {
                let waited = self.mesh.try_wait_converged(within.0);
                ("wait for all to converge".to_owned(), settle_wait(waited, "what was applied is in use", *within)?)
            }
        };
        let outcome = outcome.map_err(|mut trouble| {
            let pods = match wait {
                Wait::Ready { workloads: Some(workloads), .. } => Some(self.pods(workloads)),
                _ => None,
            };
            trouble.why.extend(self.mesh.with_trace(|trace| match &pods {
                Some(pods) => explain::broken_for(trace, pods),
                None => explain::broken(trace),
            }));
            trouble
        });
        let took = compact(self.mesh.now() - began);
        Ok((said, outcome.map(|()| format!("after {took}"))))
    }

    /// The pods of these workloads, `namespace/name`.
    fn pods(&self, workloads: &[At<Target>]) -> BTreeSet<String> {
        let mut pods = BTreeSet::new();
        for At { value: Target { namespace, workload, .. }, .. } in workloads {
            let own = namespace.as_deref().unwrap_or_else(|| self.scenario.namespace());
            // As everywhere, what the own namespace does not have is istiod's.
            let places = [Some(own), namespace.is_none().then_some(ISTIO_NAMESPACE)];
            let rows = places.into_iter().flatten().map(|place| self.mesh.get_pods_in(place).0);
            let mut meant = rows.map(|mut rows| {
                rows.retain(|row| row.workload == *workload || row.name == *workload);
                rows
            });
            let meant = meant.find(|rows| !rows.is_empty()).unwrap_or_default();
            pods.extend(meant.iter().map(|row| format!("{}/{}", row.namespace, row.name)));
        }
        pods
    }

    fn each<T>(
        &mut self,
        targets: &[At<Target>],
        expected: &str,
        act: impl Fn(&mut Mesh, &str) -> Result<T, DisturbError>,
    ) -> Result<Result<String, Trouble>, Fault> {
        for target in targets {
            let name = target.value.to_string();
            if let Err(trouble) = settle(act(&mut self.mesh, &name), &format!("{name} {expected}"))? {
                return Ok(Err(trouble));
            }
        }
        Ok(Ok(String::new()))
    }

    fn call(&mut self, call: &file::Call) -> Result<Result<Vec<Batch>, Trouble>, Fault> {
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

    fn load(&mut self, load: &traffic::Load) -> Result<Result<(), Trouble>, Fault> {
        let mut asked = Load::new(load.from.value.to_string(), load.url.value.clone()).name(&load.name.value);
        asked.qps = u32::try_from(load.qps).expect("the reader bounds the rate");
        asked.headers = load.headers.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
        asked.message = load.message.clone().unwrap_or_default();
        if let Some(timeout) = &load.timeout {
            asked.timeout = timeout.value.0;
        }
        let begun = settle(self.mesh.try_load(asked), "the load begins")?;
        Ok(begun.map(|running| {
            self.loads.insert(load.name.value.clone(), running);
        }))
    }

    /// Stops a load and judges what came of it.
    fn stop(
        &mut self,
        number: usize,
        step: &Step,
        load: &str,
        began: Duration,
        reports: &[StepReport],
    ) -> Result<StepReport, Fault> {
        let running = self.loads.remove(load).expect("the reader knows which loads are under way");
        let calls = self.mesh.try_stop(&running)?;
        let ended = running.ended();
        let same = |target: &Target, name: &str| self.same(target, name);
        let judged: Vec<_> =
            step.expect_of_load().iter().map(|expect| stop::judge(expect, &calls, reports, same)).collect();
        let failure = match ended {
            Some(seen) => {
                let expected = "the load goes on until it is stopped".to_owned();
                let cause = running.ended_by().map(EventId::seq);
                let why = cause.map(|event| self.mesh.with_trace(|trace| explain::causes(trace, event)));
                let why = why.unwrap_or_default();
                Some(self.failure(Trouble { expected, seen, why }, &step.verb_place))
            }
            None => judged.iter().find_map(|judged| {
                let why = || match judged.calls.errors().next() {
                    Some(call) => self.mesh.with_trace(|trace| explain::causes(trace, call.event)),
                    None => self.mesh.with_trace(|trace| explain::configuration(trace, running.pod(), running.url())),
                };
                missed(&judged.checks, why).map(|trouble| self.failure(trouble, judged.place))
            }),
        };
        let checks = judged.into_iter().flat_map(|judged| judged.checks).collect();
        let name = step.name.as_ref().map(|name| name.value.clone());
        let done = Ok(Outcome::Load(calls));
        let report = self.report(number, name, began, format!("stop {load}"), done, &step.verb_place);
        Ok(StepReport { step: step.written.clone(), checks, failure, ..report })
    }

    fn judged(
        &self,
        number: usize,
        step: &Step,
        began: Duration,
        said: String,
        batches: Vec<Batch>,
        notes: Vec<Diagnostic>,
    ) -> StepReport {
        let total = step.call.as_ref().map_or(0, file::Call::total);
        let seen = self.mesh.with_trace(|trace| Seen::count(trace, total, &batches));
        let same = |target: &Target, name: &str| self.same(target, name);
        let expect = step.expect_of_call();
        let checks = expect.map(|expect| expect::judge(expect, &seen, same)).unwrap_or_default();
        let place = expect.map_or(&step.verb_place, |expect| &expect.place);
        let failure = missed(&checks, || self.why(&batches)).map(|trouble| self.failure(trouble, place));
        let name = step.name.as_ref().map(|name| name.value.clone());
        let ended = self.mesh.now();
        StepReport {
            number,
            name,
            began,
            ended,
            action: said,
            step: step.written.clone(),
            outcome: Outcome::Calls(batches),
            checks,
            notes,
            failure,
        }
    }

    /// What led to a failed call, or else what the caller was told to do.
    fn why(&self, batches: &[Batch]) -> Vec<String> {
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

fn describe_call(call: &file::Call) -> String {
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

fn list<T: std::fmt::Display>(items: &[At<T>]) -> String {
    items.iter().map(|item| item.value.to_string()).collect::<Vec<_>>().join(", ")
}
