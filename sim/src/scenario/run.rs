//! Plays a scenario with a seed and tells, step by step, what came of it.

use hermesh_istiod::yaml::{Diagnostic, Location};
use hermesh_runtime::Level;

use super::file::{Action, Step};
use super::outcome::Run;
use super::play::{Numbers, Player};
use super::{InputError, Scenario};
use crate::engine::Network;
use crate::mesh::{Fault, Mesh, StartError, WaitError, mesh};

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
        if let Some(nodes) = &self.file.mesh.nodes {
            builder = builder.nodes(nodes.clone());
        }
        for pulled in &self.file.mesh.pulls {
            builder = builder.pull(pulled.pull(self.namespace()));
        }
        if let Some(latency) = &self.file.mesh.latency {
            builder = builder.latency(latency.value.0.clone());
        }
        for (workload, containers) in &self.file.mesh.delays {
            for (container, by) in containers {
                builder = builder.start_delay(workload.value.to_string(), &container.value, by.value.0.clone());
            }
        }
        let mesh = builder.try_start().map_err(|error| self.not_started(error))?;
        self.refuse(&mesh)?;
        let mut player = Player::new(self, *options, mesh);
        let (steps, verdict) = player.play()?;
        let mesh = player.into_mesh();
        let simulated = mesh.now();
        let trace = mesh.finish();
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
        let mut namespaces = Vec::new();
        let mut errors: Vec<Diagnostic> = Vec::new();
        if let Some(own) = &self.own {
            errors.extend(mesh.refusals(own.clone(), &mut namespaces));
        }
        let taken = |step: &&Step| step.rejection().is_none();
        for (index, step) in self.file.all_steps().enumerate().filter(|(_, step)| taken(step)) {
            if let (Some(Action::Apply(_)), Some(manifests)) = (step.action(), self.manifests.get(&index)) {
                errors.extend(mesh.refusals(manifests.clone(), &mut namespaces));
            }
            for (object, patch) in self.changed.get(&index).into_iter().flatten() {
                errors.extend(mesh.refusals_of_change(object, patch, &mut namespaces));
            }
        }
        let mut told: Vec<Diagnostic> = Vec::new();
        for error in errors {
            if !told.contains(&error) {
                told.push(error);
            }
        }
        told
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
