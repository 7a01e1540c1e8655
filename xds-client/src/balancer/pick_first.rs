//! `pick_first` below a petiole policy (gRFC A61): one endpoint, its addresses tried in order.
//!
//! The next address is tried when the one before failed; the 250 ms head start that gRFC A61 gives to parallel
//! attempts ("happy eyeballs") is not implemented.

use super::subchannels::Subchannels;
use super::{SubchannelId, SubchannelState};
use crate::cause::Failure;
use std::collections::BTreeSet;

/// The addresses of one endpoint and how far the pass over them came.
#[derive(Debug)]
pub(super) struct PickFirst {
    subchannels: Vec<SubchannelId>,
    /// The address being tried; past the end once all failed.
    current: usize,
}

/// What one endpoint is good for.
#[derive(Debug)]
pub(super) enum EndpointState {
    Ready(SubchannelId),
    Connecting,
    /// With the number of the failure, by which the latest is found.
    Failing(u64, Failure),
}

impl PickFirst {
    pub(super) fn new(subchannels: Vec<SubchannelId>) -> Self {
        debug_assert!(!subchannels.is_empty(), "an endpoint has at least one address");
        Self { subchannels, current: 0 }
    }

    pub(super) fn subchannels(&self) -> &[SubchannelId] {
        &self.subchannels
    }

    pub(super) fn is_ready(&self, all: &Subchannels) -> bool {
        self.subchannels.iter().any(|id| all[*id].state == SubchannelState::Ready)
    }

    pub(super) fn settle(&mut self, all: &Subchannels, wanted: &mut BTreeSet<SubchannelId>) -> EndpointState {
        if let Some(ready) = self.subchannels.iter().find(|id| all[**id].state == SubchannelState::Ready) {
            self.current = 0;
            return EndpointState::Ready(*ready);
        }
        while let Some(id) = self.subchannels.get(self.current) {
            if all[*id].failing.is_none() {
                wanted.insert(*id);
                return EndpointState::Connecting;
            }
            self.current += 1;
        }
        // The first pass is over. Each address is now retried as its own back-off ends.
        wanted.extend(&self.subchannels);
        let failure = self.subchannels.iter().filter_map(|id| all[*id].failing.clone()).max_by_key(|(at, _)| *at);
        match failure {
            Some((at, failure)) => EndpointState::Failing(at, failure),
            // A connection shared with another cluster was READY in between: start over.
            None => {
                self.current = 0;
                EndpointState::Connecting
            }
        }
    }
}
