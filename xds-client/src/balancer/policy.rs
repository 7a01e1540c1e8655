//! The policy below one priority, as the cluster names it.

use std::collections::BTreeSet;

use hermesh_runtime::Draws;

use super::least_request::LeastRequest;
use super::ring_hash::RingHash;
use super::subchannels::Subchannels;
use super::weighted_locality::WeightedLocality;
use super::{LocalityConfig, Outcome, SubchannelId};
use crate::credentials::Security;
use crate::resource::LbPolicy;

/// The endpoints of one priority.
#[derive(Debug)]
pub(super) struct Policy {
    kind: Kind,
    localities: BTreeSet<String>,
}

#[derive(Debug)]
enum Kind {
    WeightedLocality(WeightedLocality),
    RingHash(RingHash),
    LeastRequest(LeastRequest),
}

impl Policy {
    pub(super) fn new(policy: LbPolicy) -> Self {
        let kind = match policy {
            LbPolicy::RoundRobin => Kind::WeightedLocality(WeightedLocality::default()),
            LbPolicy::RingHash { min_size, max_size } => Kind::RingHash(RingHash::new(min_size, max_size)),
            LbPolicy::LeastRequest { choice_count } => Kind::LeastRequest(LeastRequest::new(choice_count)),
        };
        Self { kind, localities: BTreeSet::new() }
    }

    pub(super) fn update(&mut self, localities: &[LocalityConfig], security: &Security, all: &mut Subchannels) {
        self.localities = localities.iter().map(|locality| locality.name.clone()).collect();
        match &mut self.kind {
            Kind::WeightedLocality(tree) => tree.update(localities, security, all),
            Kind::RingHash(ring) => ring.update(localities, security, all),
            Kind::LeastRequest(least) => least.update(localities, security, all),
        }
    }

    pub(super) fn has_any_of(&self, localities: &[LocalityConfig]) -> bool {
        localities.iter().any(|locality| self.localities.contains(&locality.name))
    }

    pub(super) fn subchannels(&self) -> Vec<SubchannelId> {
        match &self.kind {
            Kind::WeightedLocality(tree) => tree.subchannels().collect(),
            Kind::RingHash(ring) => ring.subchannels().collect(),
            Kind::LeastRequest(least) => least.subchannels().collect(),
        }
    }

    /// An RPC wants the endpoint with this subchannel; only policies that connect lazily care.
    pub(super) fn connect(&mut self, id: SubchannelId) {
        if let Kind::RingHash(ring) = &mut self.kind {
            ring.connect(id);
        }
    }

    pub(super) fn settle(
        &mut self,
        all: &Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) -> Outcome {
        match &mut self.kind {
            Kind::WeightedLocality(tree) => tree.settle(all, draws, wanted),
            Kind::RingHash(ring) => ring.settle(all, wanted),
            Kind::LeastRequest(least) => least.settle(all, wanted),
        }
    }
}
