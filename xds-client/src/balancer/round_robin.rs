//! `round_robin` (gRFC A61's form): READY endpoints in turn, the others kept connecting.

use std::collections::BTreeSet;
use std::sync::Arc;

use hermesh_runtime::Draws;

use super::endpoint_list::EndpointList;
use super::picker::RoundRobin as Turn;
use super::subchannels::Subchannels;
use super::{EndpointConfig, Outcome, Picker, SubchannelId};
use crate::credentials::Security;
use crate::subchannel::ConnectivityState;

/// The endpoints of one locality.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    endpoints: EndpointList,
    turn: Option<Arc<Turn>>,
}

impl RoundRobin {
    pub(super) fn update(&mut self, endpoints: &[EndpointConfig], security: &Security, all: &mut Subchannels) {
        self.endpoints.update(endpoints, security, all);
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.endpoints.subchannels()
    }

    /// With the number of the latest failure, if that is what it comes to.
    pub(super) fn settle(
        &mut self,
        all: &Subchannels,
        draws: &mut Draws,
        wanted: &mut BTreeSet<SubchannelId>,
    ) -> (Outcome, u64) {
        match self.endpoints.settle(all, wanted) {
            Ok(ready) => {
                let ready = ready.into_iter().map(|(_, id)| id).collect();
                (Outcome { state: ConnectivityState::Ready, picker: self.turn(ready, draws) }, 0)
            }
            Err(otherwise) => {
                self.turn = None;
                otherwise
            }
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
