//! `cds_experimental`: one cluster, and the change from one security configuration to another.
//!
//! Endpoints change in place. A changed security configuration means other subchannels: they are connected beside the
//! old ones and take over once they work, or fail, or the old ones stop working, as gRPC's graceful switch does. So
//! does another load balancing policy, though the subchannels may be the same.

use std::collections::BTreeSet;

use hermesh_runtime::Draws;
use tokio::time::Instant;

use super::priority::Priorities;
use super::subchannels::Subchannels;
use super::{ClusterConfig, LocalityConfig, Outcome, SubchannelId};
use crate::cause::{Cause, Failure};
use crate::subchannel::ConnectivityState;

/// One child of the cluster manager.
#[derive(Debug)]
pub(super) enum Cluster {
    /// The control plane's word on the cluster is an error.
    Failing(Outcome),
    /// The cluster is in use.
    Running { current: Priorities, pending: Option<Priorities> },
}

impl Default for Cluster {
    fn default() -> Self {
        Self::Failing(Outcome::failing(Failure::new(Cause::NoCluster, "cluster without configuration")))
    }
}

impl Cluster {
    pub(super) fn update(&mut self, config: Result<ClusterConfig, Failure>, all: &mut Subchannels) {
        let config = match config {
            Ok(config) => config,
            Err(failure) => {
                *self = Self::Failing(Outcome::failing(failure));
                return;
            }
        };
        if let Self::Failing(_) = self {
            let current = Priorities::new(config.security.clone(), config.lb_policy);
            *self = Self::Running { current, pending: None };
        }
        let Self::Running { current, pending } = self else { unreachable!("it was just made to run") };
        if current.is_for(&config) {
            *pending = None;
            current.update(&config.priorities, all);
        } else {
            let pending = match pending {
                Some(pending) if pending.is_for(&config) => pending,
                _ => pending.insert(Priorities::new(config.security.clone(), config.lb_policy)),
            };
            pending.update(&config.priorities, all);
        }
    }

    pub(super) fn connect(&mut self, id: SubchannelId) {
        if let Self::Running { current, .. } = self {
            current.connect(id);
        }
    }

    pub(super) fn settle(
        &mut self,
        now: Instant,
        all: &mut Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) {
        let Self::Running { current, pending } = self else { return };
        current.settle(now, all, draws, wanted);
        let Some(next) = pending else { return };
        next.settle(now, all, draws, wanted);
        let works_or_fails = next.outcome().state != ConnectivityState::Connecting;
        if works_or_fails || current.outcome().state != ConnectivityState::Ready {
            *current = pending.take().expect("it was just settled");
        }
    }

    pub(super) fn outcome(&self) -> &Outcome {
        match self {
            Self::Failing(outcome) => outcome,
            Self::Running { current, .. } => current.outcome(),
        }
    }

    /// The priority in use and its localities, if there are others.
    pub(super) fn priority(&self) -> Option<(usize, &[LocalityConfig])> {
        match self {
            Self::Failing(_) => None,
            Self::Running { current, .. } => current.chosen(),
        }
    }

    pub(super) fn subchannels(&self) -> BTreeSet<SubchannelId> {
        match self {
            Self::Failing(_) => BTreeSet::new(),
            Self::Running { current, pending } => {
                current.subchannels().chain(pending.iter().flat_map(Priorities::subchannels)).collect()
            }
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Failing(_) => None,
            Self::Running { current, pending } => {
                current.deadline().into_iter().chain(pending.as_ref().and_then(Priorities::deadline)).min()
            }
        }
    }
}
