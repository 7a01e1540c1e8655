//! `least_request_experimental` (gRFC A48): of a few READY endpoints, drawn at random, the one with the fewest RPCs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hermesh_runtime::Draws;

use super::endpoint_list::EndpointList;
use super::subchannels::Subchannels;
use super::{LocalityConfig, Outcome, Pick, Picker, SubchannelId};
use crate::credentials::Security;
use crate::subchannel::ConnectivityState;

/// No more endpoints are drawn for an RPC, whatever the control plane says (gRFC A48).
const MAX_CHOICES: u32 = 10;

/// The endpoints of one priority; which locality they are of does not matter.
#[derive(Debug)]
pub(super) struct LeastRequest {
    choices: u32,
    endpoints: EndpointList,
    /// RPCs under way by the first subchannel of their endpoint; they outlive pickers.
    under_way: BTreeMap<SubchannelId, Arc<AtomicU32>>,
}

impl LeastRequest {
    pub(super) fn new(choice_count: u32) -> Self {
        Self { choices: choice_count.min(MAX_CHOICES), endpoints: EndpointList::default(), under_way: BTreeMap::new() }
    }

    pub(super) fn update(&mut self, localities: &[LocalityConfig], security: &Security, all: &mut Subchannels) {
        self.endpoints.update(localities.iter().flat_map(|locality| &locality.endpoints), security, all);
        let mut old = std::mem::take(&mut self.under_way);
        for endpoint in self.endpoints.iter() {
            let id = endpoint.subchannels()[0];
            self.under_way.insert(id, old.remove(&id).unwrap_or_default());
        }
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.endpoints.subchannels()
    }

    pub(super) fn settle(&mut self, all: &Subchannels, wanted: &mut BTreeSet<SubchannelId>) -> Outcome {
        let ready = match self.endpoints.settle(all, wanted) {
            Ok(ready) => ready,
            Err((outcome, _)) => return outcome,
        };
        let firsts: Vec<SubchannelId> = self.endpoints.iter().map(|endpoint| endpoint.subchannels()[0]).collect();
        let endpoints = ready.into_iter().map(|(index, id)| (id, self.under_way[&firsts[index]].clone())).collect();
        let picker = Picker::LeastRequest(Arc::new(Fewest { endpoints, choices: self.choices }));
        Outcome { state: ConnectivityState::Ready, picker }
    }
}

/// READY endpoints with the RPCs under way to each.
#[derive(Debug)]
pub struct Fewest {
    endpoints: Vec<(SubchannelId, Arc<AtomicU32>)>,
    choices: u32,
}

impl Fewest {
    /// One draw for each choice, with replacement; the first drawn wins a tie. A single endpoint takes none.
    pub(super) fn pick(&self, draws: &mut Draws) -> Pick {
        let total = self.endpoints.len() as u64;
        let drawn = (0..self.choices).map(|_| if total == 1 { 0 } else { draws.below(total) as usize });
        let fewest = drawn.min_by_key(|index| self.endpoints[*index].1.load(Ordering::Relaxed)).unwrap_or_default();
        let (id, under_way) = &self.endpoints[fewest];
        Pick::Counted(*id, under_way.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.endpoints.len()
    }
}
