//! `round_robin` (gRFC A61's form): READY endpoints in turn, the others kept connecting.

use std::collections::BTreeSet;
use std::sync::Arc;

use hermesh_runtime::Draws;

use super::pick_first::{EndpointState, PickFirst};
use super::picker::RoundRobin as Turn;
use super::subchannels::Subchannels;
use super::{EndpointConfig, Outcome, Picker, SubchannelId};
use crate::cause::Failure;
use crate::credentials::Security;
use crate::subchannel::ConnectivityState;

/// The endpoints of one locality.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    endpoints: Vec<PickFirst>,
    turn: Option<Arc<Turn>>,
}

impl RoundRobin {
    pub(super) fn update(&mut self, endpoints: &[EndpointConfig], security: &Security, all: &mut Subchannels) {
        let mut old = std::mem::take(&mut self.endpoints);
        for endpoint in endpoints {
            let ids: Vec<_> = endpoint.addresses.iter().map(|address| all.obtain(address, security)).collect();
            // An endpoint that stays keeps its place in the pass over its addresses.
            let kept = old.iter().position(|child| child.subchannels() == ids).map(|index| old.swap_remove(index));
            self.endpoints.push(kept.unwrap_or_else(|| PickFirst::new(ids)));
        }
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.endpoints.iter().flat_map(|endpoint| endpoint.subchannels().iter().copied())
    }

    pub(super) fn settle(
        &mut self,
        all: &Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) -> (Outcome, u64) {
        let mut ready = Vec::new();
        let mut connecting = false;
        let mut latest: Option<(u64, Failure)> = None;
        for endpoint in &mut self.endpoints {
            match endpoint.settle(all, wanted) {
                EndpointState::Ready(id) => ready.push(id),
                EndpointState::Connecting => connecting = true,
                EndpointState::Failing(at, failure) => {
                    if latest.as_ref().is_none_or(|(other, _)| *other < at) {
                        latest = Some((at, failure));
                    }
                }
            }
        }
        if !ready.is_empty() {
            return (Outcome { state: ConnectivityState::Ready, picker: self.turn(ready, draws) }, 0);
        }
        self.turn = None;
        match latest {
            _ if connecting => (Outcome::connecting(), 0),
            Some((at, failure)) => (Outcome::failing(failure), at),
            None => (Outcome::no_endpoints("no children to pick from"), 0),
        }
    }

    /// Keeps the turn while the same endpoints are READY: an unrelated update must not make the split uneven.
    fn turn(&mut self, ready: Vec<SubchannelId>, draws: &mut Draws) -> Picker {
        let turn = match self.turn.take() {
            Some(turn) if turn.ready() == ready => turn,
            _ => Arc::new(Turn::new(ready, draws)),
        };
        self.turn = Some(turn.clone());
        Picker::RoundRobin(turn)
    }
}
