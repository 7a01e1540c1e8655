//! `ring_hash_experimental` (gRFC A42, A61, A76): RPCs of one hash go to one endpoint, and few move when endpoints come
//! and go.
//!
//! An endpoint is connected when the first RPC wants it. Where a ring says which, and whether it is to be had.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::pick_first::{EndpointState, PickFirst};
use super::subchannels::Subchannels;
use super::{LocalityConfig, Outcome, Pick, Picker, SubchannelId};
use crate::cause::Failure;
use crate::credentials::Security;
use crate::routing::xx_hash64;
use crate::subchannel::ConnectivityState;

/// No ring is larger, whatever the control plane says (gRFC A42, `GRPC_RING_HASH_CAP`).
const RING_SIZE_CAP: u64 = 4096;

/// The endpoints of one priority; which locality they are of matters for their weights alone.
#[derive(Debug)]
pub(super) struct RingHash {
    sizes: (u64, u64),
    endpoints: Vec<Endpoint>,
    ring: Arc<[Entry]>,
}

#[derive(Debug)]
struct Endpoint {
    pick_first: PickFirst,
    /// Whether it is to be connected.
    is_wanted: bool,
    was_ready: bool,
}

/// A place on the ring and the endpoint that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    hash: u64,
    endpoint: usize,
}

/// What an RPC finds at an endpoint.
#[derive(Clone, Debug)]
enum View {
    Ready(SubchannelId),
    Connecting,
    /// With the subchannel to ask for.
    Idle(SubchannelId),
    Failing(Failure),
}

impl RingHash {
    pub(super) fn new(min_size: u64, max_size: u64) -> Self {
        let sizes = (min_size.min(RING_SIZE_CAP), max_size.min(RING_SIZE_CAP));
        Self { sizes, endpoints: Vec::new(), ring: Arc::default() }
    }

    pub(super) fn update(&mut self, localities: &[LocalityConfig], security: &Security, all: &mut Subchannels) {
        let mut old = std::mem::take(&mut self.endpoints);
        let mut shares = Vec::new();
        let localities_weigh: f64 = localities.iter().map(|locality| f64::from(locality.weight)).sum();
        for locality in localities {
            let endpoints_weigh: f64 = locality.endpoints.iter().map(|endpoint| f64::from(endpoint.weight)).sum();
            for endpoint in &locality.endpoints {
                let ids: Vec<_> = endpoint.addresses.iter().map(|address| all.obtain(address, security)).collect();
                let kept = old.iter().position(|child| child.pick_first.subchannels() == ids);
                let kept = kept.map(|index| old.swap_remove(index));
                self.endpoints.push(kept.unwrap_or_else(|| Endpoint {
                    pick_first: PickFirst::new(ids),
                    is_wanted: false,
                    was_ready: false,
                }));
                let key = endpoint.hash_key.clone().unwrap_or_else(|| endpoint.addresses[0].to_string());
                let share =
                    f64::from(locality.weight) / localities_weigh * f64::from(endpoint.weight) / endpoints_weigh;
                shares.push((key, share));
            }
        }
        self.ring = ring(&shares, self.sizes);
    }

    pub(super) fn subchannels(&self) -> impl Iterator<Item = SubchannelId> {
        self.endpoints.iter().flat_map(|endpoint| endpoint.pick_first.subchannels().iter().copied())
    }

    /// An RPC wants the endpoint with this subchannel.
    pub(super) fn connect(&mut self, id: SubchannelId) {
        for endpoint in &mut self.endpoints {
            endpoint.is_wanted |= endpoint.pick_first.subchannels().contains(&id);
        }
    }

    pub(super) fn settle(&mut self, all: &Subchannels, wanted: &mut BTreeSet<SubchannelId>) -> Outcome {
        let mut views: Vec<View> = self.endpoints.iter_mut().map(|endpoint| endpoint.settle(all, wanted)).collect();
        let count = |test: fn(&View) -> bool| views.iter().filter(|view| test(view)).count();
        let (ready, connecting) = (count(View::is_ready), count(View::is_connecting));
        let (idle, failing) = (count(View::is_idle), count(View::is_failing));
        let state = match () {
            () if views.is_empty() => return Outcome::no_endpoints("no children to pick from"),
            () if ready > 0 => ConnectivityState::Ready,
            () if failing >= 2 => ConnectivityState::TransientFailure,
            () if connecting > 0 || (failing == 1 && views.len() > 1) => ConnectivityState::Connecting,
            () if idle > 0 => ConnectivityState::Idle,
            () => ConnectivityState::TransientFailure,
        };
        // So that a lower priority's turn ends without an RPC that tries this one.
        let recovers = matches!(state, ConnectivityState::Connecting | ConnectivityState::TransientFailure);
        if recovers
            && connecting == 0
            && let Some(next) = views.iter().position(View::is_idle)
        {
            self.endpoints[next].is_wanted = true;
            views[next] = self.endpoints[next].settle(all, wanted);
        }
        Outcome { state, picker: Picker::RingHash(Arc::new(Ring { entries: self.ring.clone(), views })) }
    }
}

impl Endpoint {
    fn settle(&mut self, all: &Subchannels, wanted: &mut BTreeSet<SubchannelId>) -> View {
        let is_ready = self.pick_first.is_ready(all);
        // Whoever lost a connection waits for the next RPC.
        self.is_wanted &= is_ready || !self.was_ready;
        self.was_ready = is_ready;
        if !is_ready && !self.is_wanted {
            return View::Idle(self.pick_first.subchannels()[0]);
        }
        match self.pick_first.settle(all, wanted) {
            EndpointState::Ready(id) => View::Ready(id),
            EndpointState::Connecting => View::Connecting,
            EndpointState::Failing(_, failure) => View::Failing(failure),
        }
    }
}

impl View {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Ready(_))
    }

    fn is_connecting(&self) -> bool {
        matches!(self, Self::Connecting)
    }

    fn is_idle(&self) -> bool {
        matches!(self, Self::Idle(_))
    }

    fn is_failing(&self) -> bool {
        matches!(self, Self::Failing(_))
    }
}

/// Each endpoint as often as it weighs, between `sizes` entries in all if that can be; sorted by hash.
fn ring(shares: &[(String, f64)], (min_size, max_size): (u64, u64)) -> Arc<[Entry]> {
    let mut order: Vec<usize> = (0..shares.len()).collect();
    order.sort_by(|a, b| shares[*a].0.cmp(&shares[*b].0));
    let least = shares.iter().map(|(_, share)| *share).fold(f64::INFINITY, f64::min);
    #[expect(clippy::cast_precision_loss, reason = "both are at most 4096")]
    let scale = ((least * min_size as f64).ceil() / least).min(max_size as f64);
    let mut entries = Vec::new();
    let (mut current, mut target) = (0.0, 0.0);
    for endpoint in order {
        let (key, share) = &shares[endpoint];
        target += scale * share;
        let mut index = 0;
        while current < target {
            entries.push(Entry { hash: xx_hash64(format!("{key}_{index}").as_bytes()), endpoint });
            index += 1;
            current += 1.0;
        }
    }
    entries.sort_by_key(|entry| entry.hash);
    entries.into()
}

/// The ring, and what is at each endpoint.
#[derive(Debug)]
pub struct Ring {
    entries: Arc<[Entry]>,
    views: Vec<View>,
}

impl Ring {
    /// The first endpoint from `hash` on that does not fail.
    pub(super) fn pick(&self, hash: u64) -> Pick {
        let start = self.entries.partition_point(|entry| entry.hash < hash);
        let around = self.entries[start..].iter().chain(&self.entries[..start]);
        let mut first_failure = None;
        for entry in around {
            match &self.views[entry.endpoint] {
                View::Ready(id) => return Pick::Subchannel(*id),
                View::Connecting => return Pick::Queue,
                View::Idle(id) => return Pick::Connect(*id),
                View::Failing(failure) => first_failure = first_failure.or(Some(failure)),
            }
        }
        first_failure.map_or(Pick::Queue, |failure| Pick::Fail(failure.clone()))
    }

    pub(super) fn len(&self) -> usize {
        self.views.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(shares: &[f64], sizes: (u64, u64)) -> Vec<usize> {
        let keys: Vec<(String, f64)> =
            shares.iter().enumerate().map(|(index, share)| (format!("10.0.0.{index}:80"), *share)).collect();
        let ring = ring(&keys, sizes);
        assert!(ring.is_sorted_by_key(|entry| entry.hash));
        (0..shares.len()).map(|endpoint| ring.iter().filter(|entry| entry.endpoint == endpoint).count()).collect()
    }

    #[test]
    fn endpoints_stand_on_the_ring_as_often_as_they_weigh() {
        for (shares, sizes, expected) in [
            (&[0.5, 0.5][..], (1024, 4096), &[512, 512][..]),
            (&[0.25, 0.75], (8, 4096), &[2, 6]),
            // Rounded up, so that the lightest has whole entries.
            (&[0.1, 0.9], (15, 4096), &[2, 18]),
            (&[0.1, 0.9], (1000, 10), &[1, 9]),
            (&[1.0], (1, 4096), &[1]),
        ] {
            assert_eq!(counts(shares, sizes), expected, "{shares:?} {sizes:?}");
        }
    }

    #[test]
    fn the_ring_does_not_depend_on_the_order_of_endpoints() {
        let shares = |names: [&str; 3]| names.map(|name| (name.to_owned(), 1.0 / 3.0));
        let named = |names: [&str; 3]| -> Vec<(u64, String)> {
            ring(&shares(names), (100, 4096))
                .iter()
                .map(|entry| (entry.hash, names[entry.endpoint].to_owned()))
                .collect()
        };
        assert_eq!(named(["a", "b", "c"]), named(["c", "a", "b"]));
    }
}
