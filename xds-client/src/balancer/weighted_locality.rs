//! `xds_wrr_locality_experimental` over `weighted_target_experimental` (gRFC A52, A28): localities by weight.

use std::collections::BTreeSet;
use std::sync::Arc;

use hermesh_runtime::Draws;
use indexmap::IndexMap;

use super::picker::Weighted;
use super::round_robin::RoundRobin;
use super::subchannels::Subchannels;
use super::{LocalityConfig, Outcome, Picker, SubchannelId};
use crate::credentials::Security;
use crate::subchannel::ConnectivityState;

/// The localities of one priority.
#[derive(Debug, Default)]
pub(super) struct WeightedLocality {
    localities: IndexMap<String, Locality>,
}

#[derive(Debug, Default)]
struct Locality {
    weight: u32,
    round_robin: RoundRobin,
}

impl WeightedLocality {
    pub(super) fn update(&mut self, localities: &[LocalityConfig], security: &Security, all: &mut Subchannels) {
        let mut old = std::mem::take(&mut self.localities);
        for config in localities {
            let mut locality = old.shift_remove(&config.name).unwrap_or_default();
            locality.weight = config.weight;
            locality.round_robin.update(&config.endpoints, security, all);
            self.localities.insert(config.name.clone(), locality);
        }
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.localities.values().flat_map(|locality| locality.round_robin.subchannels())
    }

    pub(super) fn settle(
        &mut self,
        all: &Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) -> Outcome {
        let children: Vec<(u32, Outcome, u64)> = self
            .localities
            .values_mut()
            .map(|locality| {
                let (outcome, failed_at) = locality.round_robin.settle(all, draws, wanted);
                (locality.weight, outcome, failed_at)
            })
            .collect();
        let ready: Vec<(u32, Picker)> = children
            .iter()
            .filter(|(_, outcome, _)| outcome.state == ConnectivityState::Ready)
            .map(|(weight, outcome, _)| (*weight, outcome.picker.clone()))
            .collect();
        match ready.as_slice() {
            [] => {}
            [(_, only)] => return Outcome { state: ConnectivityState::Ready, picker: only.clone() },
            _ => {
                let picker = Picker::Weighted(Arc::new(Weighted::new(ready)));
                return Outcome { state: ConnectivityState::Ready, picker };
            }
        }
        if children.iter().any(|(_, outcome, _)| outcome.state == ConnectivityState::Connecting) {
            return Outcome::connecting();
        }
        let latest = children.into_iter().max_by_key(|(_, _, failed_at)| *failed_at);
        latest.map_or_else(
            || Outcome::no_endpoints("weighted-target: no targets to pick from"),
            |(_, outcome, _)| outcome,
        )
    }
}
