//! Endpoints that are all kept connected, as the policies want them that spread RPCs over whatever is READY.

use std::collections::BTreeSet;

use super::pick_first::{EndpointState, PickFirst};
use super::subchannels::Subchannels;
use super::{EndpointConfig, Outcome, SubchannelId};
use crate::cause::Failure;
use crate::credentials::Security;

/// A `pick_first` for each endpoint.
#[derive(Debug, Default)]
pub(super) struct EndpointList(Vec<PickFirst>);

impl EndpointList {
    pub(super) fn update<'a>(
        &mut self,
        endpoints: impl IntoIterator<Item = &'a EndpointConfig>,
        security: &Security,
        all: &mut Subchannels,
    ) {
        let mut old = std::mem::take(&mut self.0);
        for endpoint in endpoints {
            let ids: Vec<_> = endpoint.addresses.iter().map(|address| all.obtain(address, security)).collect();
            // An endpoint that stays keeps its place in the pass over its addresses.
            let kept = old.iter().position(|child| child.subchannels() == ids).map(|index| old.swap_remove(index));
            self.0.push(kept.unwrap_or_else(|| PickFirst::new(ids)));
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &PickFirst> {
        self.0.iter()
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.0.iter().flat_map(|endpoint| endpoint.subchannels().iter().copied())
    }

    /// The endpoints that are READY, each by its place in the list; else what they come to together, with the number
    /// of the latest failure.
    pub(super) fn settle(
        &mut self,
        all: &Subchannels,
        wanted: &mut BTreeSet<SubchannelId>,
    ) -> Result<Vec<(usize, SubchannelId)>, (Outcome, u64)> {
        let mut ready = Vec::new();
        let mut connecting = false;
        let mut latest: Option<(u64, Failure)> = None;
        for (index, endpoint) in self.0.iter_mut().enumerate() {
            match endpoint.settle(all, wanted) {
                EndpointState::Ready(id) => ready.push((index, id)),
                EndpointState::Connecting => connecting = true,
                EndpointState::Failing(at, failure) => {
                    if latest.as_ref().is_none_or(|(other, _)| *other < at) {
                        latest = Some((at, failure));
                    }
                }
            }
        }
        if !ready.is_empty() {
            return Ok(ready);
        }
        Err(match latest {
            _ if connecting => (Outcome::connecting(), 0),
            Some((at, failure)) => (Outcome::failing(failure), at),
            None => (Outcome::no_endpoints("no children to pick from"), 0),
        })
    }
}
