//! Turmoil's part of the network.

use std::time::{Duration, UNIX_EPOCH};

use tokio::task::{JoinError, unconstrained};

use super::super::net::BACKLOG;
use super::super::ports::EPHEMERAL;
use super::super::simulation::Config;
use super::super::world::World as Cluster;
use super::faults::{Change, LinkState};
use super::host;
use super::time::STEP;

/// Turmoil's simulation, which lives on the thread of ours and runs when ours rests.
pub(in super::super) struct World {
    sim: ::turmoil::Sim<'static>,
}

impl World {
    pub(in super::super) fn new(config: &Config) -> Self {
        let sim = ::turmoil::Builder::new()
            .epoch(UNIX_EPOCH + config.epoch)
            .tick_duration(Duration::from_nanos(STEP))
            .min_message_latency(*config.latency.start())
            .max_message_latency(*config.latency.end())
            .ephemeral_ports(EPHEMERAL.0..=EPHEMERAL.1)
            // Of connections nobody accepts, beyond which turmoil panics, and of segments nobody reads.
            .tcp_capacity(BACKLOG)
            .rng_seed(config.seed)
            .build();
        Self { sim }
    }

    /// Lets a millisecond pass in turmoil. Not to be called within a tokio runtime: each of turmoil's hosts is one.
    ///
    /// # Panics
    /// As the hosts' tasks do, and if more than [`BACKLOG`] connections from other hosts wait where none are accepted.
    /// Within a host turmoil swallows that panic, and the client is refused.
    pub(in super::super) fn step(&mut self, cluster: &Cluster) {
        for change in cluster.turmoil(|net| std::mem::take(&mut net.changes)) {
            self.change(cluster, change);
        }
        if let Err(error) = self.sim.step() {
            match error.downcast::<JoinError>().map(|error| error.try_into_panic()) {
                Ok(Ok(panic)) => std::panic::resume_unwind(panic),
                other => panic!("a host of turmoil ended otherwise than by a panic: {other:?}"),
            }
        }
        cluster.turmoil(|net| net.stepped(net.now()));
    }

    fn change(&mut self, cluster: &Cluster, change: Change) {
        match change {
            Change::Host { pod, host } => {
                let cluster = cluster.clone();
                self.sim.host(host, move || unconstrained(host::run(cluster.clone(), pod)));
            }
            Change::Link { a, b, state: LinkState::Whole } => self.sim.release(a, b),
            Change::Link { a, b, state: LinkState::Held } => self.sim.hold(a, b),
            Change::Link { a, b, state: LinkState::Lost } => self.sim.partition(a, b),
        }
    }
}
