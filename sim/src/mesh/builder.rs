//! How a mesh is set up.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::future::Future;
use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh_runtime::Level;

use super::clients::Clients;
use super::dangling::Dangling;
use super::disturb::{BrokenLinks, Endings};
use super::nodes::{self, Nodes};
use super::{Fault, Mesh, PATIENCE, Repeat, StartError};
use crate::cluster::kubelet::StartDelay;
use crate::cluster::{Cluster, ISTIOD, NodeSpec, Setup};
use crate::engine::{Config, Exit, Network, Simulation};
use crate::image::{Images, Process, Pull};

/// What decides the seed of a mesh that is not told one.
pub(super) const SEED_VARIABLE: &str = "HERMESH_SEED";

/// No packet takes longer than this.
pub(super) const LATENCY_MAX: Duration = Duration::from_secs(60 * 60);

/// The Istio releases whose behaviour is played.
pub const ISTIO_VERSIONS: [&str; 1] = ["1.32"];

/// A mesh with Istio 1.32, built-in images and seed 1, until told otherwise.
#[must_use]
pub fn mesh() -> MeshBuilder {
    MeshBuilder::default()
}

/// What a mesh is to be like.
#[derive(Clone, Debug)]
pub struct MeshBuilder {
    istio: String,
    images: Images,
    seed: Option<u64>,
    namespace: String,
    latency: Option<RangeInclusive<Duration>>,
    /// By workload, perhaps with its namespace, and container.
    delays: Vec<(String, String, RangeInclusive<Duration>)>,
    network: Network,
    nodes: Option<Vec<NodeSpec>>,
    pulls: Vec<Pull>,
    level: Level,
    scenario_digest: Option<String>,
}

impl Default for MeshBuilder {
    fn default() -> Self {
        Self {
            istio: ISTIO_VERSIONS[0].to_owned(),
            images: Images::new(),
            seed: None,
            namespace: "default".to_owned(),
            latency: None,
            delays: Vec::new(),
            network: Network::default(),
            nodes: None,
            pulls: Vec::new(),
            level: Level::Debug,
            scenario_digest: None,
        }
    }
}

impl MeshBuilder {
    /// Plays this release of Istio.
    #[must_use]
    pub fn istio(mut self, version: impl Into<String>) -> Self {
        self.istio = version.into();
        self
    }

    /// Plays images whose name matches `glob` by a function; see [`Images::add`].
    #[must_use]
    pub fn image<F>(mut self, glob: impl Into<String>, main: impl Fn(Process) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output: Into<Exit>> + Send + 'static,
    {
        self.images = self.images.add(glob, main);
        self
    }

    /// Plays these images instead of those named so far.
    #[must_use]
    pub fn images(mut self, images: Images) -> Self {
        self.images = images;
        self
    }

    /// Decides all random choices. Without it the variable `HERMESH_SEED` does, and without that it is 1: tests that
    /// are to be run with other seeds leave it out.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The namespace of objects and workloads that name none, like `kubectl -n`.
    #[must_use]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// How long packets take between pods; each is drawn.
    #[must_use]
    pub fn latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        self.latency = Some(latency);
        self
    }

    /// How long a container of a workload, `web`, or `shop/web` in another namespace, takes before its program starts:
    /// drawn for each start. The container runs meanwhile, and others go on without it; probes fail.
    #[must_use]
    pub fn start_delay(
        mut self,
        workload: impl Into<String>,
        container: impl Into<String>,
        by: RangeInclusive<Duration>,
    ) -> Self {
        self.delays.push((workload.into(), container.into(), by));
        self
    }

    /// Who carries packets between pods; Hermesh's own simulated network unless set.
    #[must_use]
    pub fn network(mut self, network: Network) -> Self {
        self.network = network;
        self
    }

    /// The nodes that pods run on; one, called `node-1`, unless set. Pods go to the node with the fewest, among those
    /// that they select; what they select has no effect unless nodes are set.
    #[must_use]
    pub fn nodes(mut self, nodes: impl Into<Nodes>) -> Self {
        self.nodes = Some(nodes.into().0);
        self
    }

    /// Says how long the pull of an image takes, beside what was said so far; else it is 0.4 s to 1.5 s.
    #[must_use]
    pub fn pull(mut self, pull: Pull) -> Self {
        self.pulls.push(pull);
        self
    }

    /// Records events up to this level; [`Level::Debug`] unless set.
    #[must_use]
    pub fn level(mut self, level: Level) -> Self {
        self.level = level;
        self
    }

    /// What the trace's header says of the scenario.
    pub(crate) fn scenario_digest(mut self, digest: String) -> Self {
        self.scenario_digest = Some(digest);
        self
    }

    /// Starts the cluster and waits until istiod is ready.
    ///
    /// # Panics
    /// See [`try_start`](Self::try_start).
    #[must_use]
    #[track_caller]
    pub fn start(self) -> Mesh {
        match self.try_start() {
            Ok(mesh) => mesh,
            Err(error) => panic!("start: {error}"),
        }
    }

    /// [`start`](Self::start) without panics.
    ///
    /// # Errors
    /// If the release is unknown, the latency or the variable `HERMESH_SEED` makes no sense, or istiod does not come
    /// up.
    pub fn try_start(self) -> Result<Mesh, StartError> {
        if !ISTIO_VERSIONS.contains(&self.istio.as_str()) {
            return Err(StartError::UnknownIstio { asked: self.istio });
        }
        let seed = match self.seed {
            Some(seed) => seed,
            None => seed_of(environment(SEED_VARIABLE))?,
        };
        let choosy = self.nodes.is_some();
        let nodes = self.nodes.unwrap_or_else(|| NodeSpec::numbered(1));
        nodes::check(&nodes)?;
        let mut config = Config::new(seed);
        if let Some(latency) = self.latency {
            let (from, to) = (*latency.start(), *latency.end());
            if from > to {
                return Err(StartError::Latency { from, to });
            }
            if to > LATENCY_MAX {
                return Err(StartError::LongLatency { asked: to });
            }
            config.latency = latency;
        }
        if let Some((_, _, by)) = self.delays.iter().find(|(_, _, by)| by.is_empty()) {
            return Err(StartError::Delay { from: *by.start(), to: *by.end() });
        }
        config.level = self.level;
        config.scenario_digest = self.scenario_digest;
        config.network = self.network;
        // There and back through the agent, and a little more.
        let quiet = (*config.latency.end() + self.network.delay()) * 4 + Duration::from_millis(5);
        let mut simulation = Simulation::new(config);
        let delays = self.delays.into_iter().map(|(workload, container, by)| {
            let (namespace, workload) = workload.split_once('/').unwrap_or((&self.namespace, &workload));
            StartDelay { namespace: namespace.to_owned(), workload: workload.to_owned(), container, by }
        });
        let (images, delays) = (self.images, delays.collect());
        let setup = Setup { images, istio: self.istio, delays, nodes, choosy, pulls: self.pulls };
        let world = simulation.world().clone();
        let cluster = simulation
            .block_on(async { Cluster::start(&world, setup) })
            .map_err(|error| StartError::Fault(Fault::from(error)))?;
        let mut mesh = Mesh {
            simulation,
            cluster,
            namespace: self.namespace,
            cause: None,
            quiet,
            clients: Clients::default(),
            loads: BTreeMap::new(),
            broken_links: BrokenLinks::default(),
            skewed: BTreeSet::new(),
            tokens_kept: BTreeSet::new(),
            disks: BTreeSet::new(),
            endings: Endings::default(),
            dangling: Dangling::default(),
            _repeat: Repeat { world, by_variable: self.seed.is_none() },
        };
        mesh.try_wait_ready(&[ISTIOD], PATIENCE)?;
        Ok(mesh)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the seed is asked of the machine that runs the test, not of a container"
)]
fn environment(name: &str) -> Result<String, VarError> {
    std::env::var(name)
}

fn seed_of(variable: Result<String, VarError>) -> Result<u64, StartError> {
    let found = match variable {
        Err(VarError::NotPresent) => return Ok(1),
        Err(VarError::NotUnicode(text)) => text.to_string_lossy().into_owned(),
        Ok(text) => match text.parse() {
            Ok(seed) => return Ok(seed),
            Err(_) => text,
        },
    };
    Err(StartError::Seed { found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_is_a_seed_or_an_error_that_says_so() {
        let seed = |text: &str| seed_of(Ok(text.to_owned())).map_err(|error| error.to_string());
        assert_eq!(seed("42"), Ok(42));
        assert_eq!(seed_of(Err(VarError::NotPresent)).ok(), Some(1));
        let expected = "HERMESH_SEED=\"abc\": expected a whole number from 0 to 18446744073709551615";
        assert_eq!(seed("abc"), Err(expected.to_owned()));
        assert!(seed("").is_err() && seed("-1").is_err() && seed("1.5").is_err());
    }

    #[test]
    fn a_latency_that_nobody_would_wait_for_is_refused() {
        let error = mesh().latency(Duration::ZERO..=Duration::MAX).try_start().unwrap_err();
        assert!(error.to_string().starts_with("latency: the longest, "), "{error}");
    }
}
