//! Pickers: immutable answers to "which subchannel takes this RPC?".

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use hermesh_runtime::{Draws, EventId};

use super::SubchannelId;
use super::least_request::Fewest;
use super::ring_hash::Ring;
use crate::cause::Failure;

/// Chooses a subchannel for each RPC.
#[derive(Clone, Debug)]
pub enum Picker {
    /// No answer yet: RPCs wait for the next picker.
    Queue,
    /// RPCs fail.
    Fail(Failure),
    /// READY subchannels in turn.
    RoundRobin(Arc<RoundRobin>),
    /// One of several pickers, by weight.
    Weighted(Arc<Weighted>),
    /// READY subchannels, those with the fewest RPCs rather.
    LeastRequest(Arc<Fewest>),
    /// By the RPC's hash.
    RingHash(Arc<Ring>),
}

/// What a picker says of one RPC.
#[derive(Clone, Debug)]
pub enum Pick {
    /// Take this one.
    Subchannel(SubchannelId),
    /// Take this one, and count the RPC there while it is under way.
    Counted(SubchannelId, Arc<AtomicU32>),
    /// Have this one connect, and wait for the next picker.
    Connect(SubchannelId),
    /// Wait for the next picker.
    Queue,
    /// Fail, unless the RPC waits for ready.
    Fail(Failure),
}

impl Picker {
    /// Picks for one RPC with this hash. A weighted choice among several takes a draw, and so does each choice of
    /// `least_request`; nothing else does.
    pub fn pick(&self, hash: u64, draws: &mut Draws) -> Pick {
        match self {
            Self::Queue => Pick::Queue,
            Self::Fail(failure) => Pick::Fail(failure.clone()),
            Self::RoundRobin(round_robin) => Pick::Subchannel(round_robin.next()),
            Self::Weighted(weighted) => weighted.choose(draws).pick(hash, draws),
            Self::LeastRequest(fewest) => fewest.pick(draws),
            Self::RingHash(ring) => ring.pick(hash),
        }
    }
}

impl Picker {
    /// The same picker; if it fails RPCs for a reason that no event recorded, `event` is the reason's cause.
    pub(crate) fn because(self, event: Option<EventId>) -> Self {
        match self {
            Self::Fail(failure) if failure.event.is_none() => Self::Fail(failure.because(event)),
            other => other,
        }
    }
}

impl fmt::Display for Picker {
    /// In the words of an explanation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue => f.write_str("waiting for a connection"),
            Self::Fail(failure) => write!(f, "failing: {failure}"),
            Self::RoundRobin(turn) => write!(f, "round robin over {} ready", turn.ready.len()),
            Self::LeastRequest(fewest) => write!(f, "least requests of {} ready", fewest.len()),
            Self::RingHash(ring) => write!(f, "by hash, of {} endpoints", ring.len()),
            Self::Weighted(weighted) => write!(f, "one of {} localities by weight, in turn", weighted.children.len()),
        }
    }
}

/// Endpoints in turn. Clones of the picker share the turn.
#[derive(Debug)]
pub struct RoundRobin {
    ready: Vec<SubchannelId>,
    next: AtomicUsize,
}

impl RoundRobin {
    /// Over `ready`, which must not be empty, from a random start.
    pub(super) fn new(ready: Vec<SubchannelId>, draws: &mut Draws) -> Self {
        let start = draws.below(ready.len() as u64) as usize;
        Self { ready, next: AtomicUsize::new(start) }
    }

    pub(super) fn ready(&self) -> &[SubchannelId] {
        &self.ready
    }

    fn next(&self) -> SubchannelId {
        // Wraps after 2^64 RPCs; what order they then take is of no concern.
        self.ready[self.next.fetch_add(1, Ordering::Relaxed) % self.ready.len()]
    }
}

/// Children by weight.
#[derive(Debug)]
pub struct Weighted {
    /// Each child with the sum of the weights up to and including its own.
    children: Vec<(u64, Picker)>,
}

impl Weighted {
    /// Over `children`, at least one of which must have a weight.
    pub(super) fn new(children: impl IntoIterator<Item = (u32, Picker)>) -> Self {
        let children = children.into_iter().scan(0, |sum, (weight, picker)| {
            *sum += u64::from(weight);
            Some((*sum, picker))
        });
        Self { children: children.collect() }
    }

    fn choose(&self, draws: &mut Draws) -> &Picker {
        let total = self.children.last().map_or(0, |(sum, _)| *sum);
        let draw = draws.below(total);
        let index = self.children.partition_point(|(sum, _)| *sum <= draw);
        &self.children[index].1
    }
}
