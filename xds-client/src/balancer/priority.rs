//! `priority_experimental` (gRFC A56): the first priority that works.
//!
//! Where grpc-go departs from the gRFC this follows the gRFC: if no priority can be chosen, the first that is
//! CONNECTING is used, else the last.

use std::collections::BTreeSet;
use std::time::Duration;

use hermesh_runtime::Draws;
use tokio::time::Instant;

use super::policy::Policy;
use super::subchannels::Subchannels;
use super::{ClusterConfig, LocalityConfig, Outcome, SubchannelId};
use crate::credentials::Security;
use crate::resource::LbPolicy;
use crate::subchannel::ConnectivityState;

/// How long a priority may be CONNECTING before the next one is tried (gRFC A56).
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a priority that is not needed keeps its connections (gRFC A56).
const RETENTION: Duration = Duration::from_secs(15 * 60);

/// The priorities of one cluster under one security configuration and one policy.
#[derive(Debug)]
pub(super) struct Priorities {
    security: Security,
    lb_policy: LbPolicy,
    children: Vec<Child>,
    /// The one in use.
    chosen: Option<usize>,
    outcome: Outcome,
}

#[derive(Debug, Default)]
struct Child {
    config: Vec<LocalityConfig>,
    /// Unless this priority was not needed yet, or not for long.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    tree: Policy,
    outcome: Outcome,
    failover_at: Option<Instant>,
    /// Whether it failed more recently than it was READY.
    failed: bool,
    /// Set while it is not needed.
    stop_at: Option<Instant>,
}

impl Priorities {
    pub(super) fn new(security: Security, lb_policy: LbPolicy) -> Self {
        Self { security, lb_policy, children: Vec::new(), chosen: None, outcome: Outcome::connecting() }
    }

    /// Whether a configuration changes nothing but localities and endpoints.
    pub(super) fn is_for(&self, config: &ClusterConfig) -> bool {
        self.security == config.security && self.lb_policy == config.lb_policy
    }

    pub(super) fn connect(&mut self, id: SubchannelId) {
        for running in self.children.iter_mut().filter_map(|child| child.running.as_mut()) {
            running.tree.connect(id);
        }
    }

    pub(super) fn update(&mut self, priorities: &[Vec<LocalityConfig>], all: &mut Subchannels) {
        let mut old: Vec<Option<Child>> = std::mem::take(&mut self.children).into_iter().map(Some).collect();
        for (index, localities) in priorities.iter().enumerate() {
            let mut child = take_related(&mut old, index, localities).unwrap_or_default();
            child.config.clone_from(localities);
            if let Some(running) = &mut child.running {
                running.tree.update(localities, &self.security, all);
            }
            self.children.push(child);
        }
    }

    pub(super) fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The priority in use and its localities, if there are others.
    pub(super) fn chosen(&self) -> Option<(usize, &[LocalityConfig])> {
        let chosen = self.chosen.filter(|_| self.children.len() > 1)?;
        Some((chosen, &self.children.get(chosen)?.config))
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.children.iter().filter_map(|child| child.running.as_ref()).flat_map(|running| running.tree.subchannels())
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let running = self.children.iter().filter_map(|child| child.running.as_ref());
        running.flat_map(|running| [running.failover_at, running.stop_at]).flatten().min()
    }

    pub(super) fn settle(
        &mut self,
        now: Instant,
        all: &mut Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) {
        for running in self.children.iter_mut().filter_map(|child| child.running.as_mut()) {
            running.settle(now, all, draws, wanted);
        }
        let chosen = self.choose(now, all, draws, wanted);
        for (index, child) in self.children.iter_mut().enumerate() {
            let Some(running) = &mut child.running else { continue };
            if chosen.is_some_and(|chosen| index > chosen) {
                if *running.stop_at.get_or_insert(now + RETENTION) <= now {
                    child.running = None;
                }
            } else {
                running.stop_at = None;
            }
        }
        self.chosen = chosen;
        self.outcome = match chosen.and_then(|chosen| self.children[chosen].running.as_ref()) {
            Some(running) => running.outcome.clone(),
            None => Outcome::no_endpoints("weighted-target: no targets to pick from"),
        };
    }

    fn choose(
        &mut self,
        now: Instant,
        all: &mut Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) -> Option<usize> {
        for (index, child) in self.children.iter_mut().enumerate() {
            let running = child.running.get_or_insert_with(|| {
                let mut tree = Policy::new(self.lb_policy);
                tree.update(&child.config, &self.security, all);
                let outcome = Outcome::connecting();
                let failover_at = Some(now + FAILOVER_TIMEOUT);
                let mut running = Running { tree, outcome, failover_at, failed: false, stop_at: None };
                running.settle(now, all, draws, wanted);
                running
            });
            match running.outcome.state {
                ConnectivityState::Ready | ConnectivityState::Idle => return Some(index),
                ConnectivityState::Connecting if running.failover_at.is_some() => return Some(index),
                ConnectivityState::Connecting | ConnectivityState::TransientFailure => {}
            }
        }
        let connecting = self.children.iter().position(|child| {
            child.running.as_ref().is_some_and(|child| child.outcome.state == ConnectivityState::Connecting)
        });
        connecting.or_else(|| self.children.len().checked_sub(1))
    }
}

impl Running {
    fn settle(&mut self, now: Instant, all: &Subchannels, draws: &mut Draws, wanted: &mut BTreeSet<SubchannelId>) {
        let before = self.outcome.state;
        self.outcome = self.tree.settle(all, draws, wanted);
        match self.outcome.state {
            ConnectivityState::Ready | ConnectivityState::Idle => {
                self.failover_at = None;
                self.failed = false;
            }
            ConnectivityState::TransientFailure => {
                self.failover_at = None;
                self.failed = true;
            }
            ConnectivityState::Connecting => {
                if before != ConnectivityState::Connecting && !self.failed {
                    self.failover_at = Some(now + FAILOVER_TIMEOUT);
                }
                if self.failover_at.is_some_and(|at| at <= now) {
                    self.failover_at = None;
                }
            }
        }
    }
}

/// The child that a priority continues: the one at its index if they share a locality, else any that had one of its
/// localities, so that a locality which moves between priorities keeps its connections.
fn take_related(old: &mut [Option<Child>], index: usize, localities: &[LocalityConfig]) -> Option<Child> {
    let related = |child: &Option<Child>| {
        child.as_ref().and_then(|child| child.running.as_ref()).is_some_and(|child| child.tree.has_any_of(localities))
    };
    let found = old.get(index).is_some_and(&related).then_some(index).or_else(|| old.iter().position(related))?;
    old[found].take()
}
