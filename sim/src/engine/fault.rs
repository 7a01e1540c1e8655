//! [`LinkFault`]: what can be wrong with the way from one pod to another.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hermesh_runtime::AnyEvent;

use super::events;

/// What [`LinkFault::lost`] counts of.
pub(super) const LOSS_WHOLE: u64 = 100_000;

/// What can be wrong with the way from one pod to another. Each kind stands beside the others until the link is healed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LinkFault {
    /// No packet arrives. What the other pod sends does: but the ACKs of that are lost, and its kernel gives up after
    /// 924.6 s.
    Cut,
    /// Each packet takes longer by a time drawn from the range.
    Slow(RangeInclusive<Duration>),
    /// This share of all packets is lost, from 0 to 1. As TCP shows it, nothing is missing: what was lost, and all
    /// behind it, arrives when it is retransmitted; a SYN that was lost is sent again after 1 s, 3 s, 7 s and so on.
    Lossy(f64),
    /// Packets wait, and arrive all at once, in order, when the link is released or healed.
    Jammed,
}

impl LinkFault {
    /// What the trace calls it when it is over.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Slow(_) => "slow",
            Self::Lossy(_) => "lossy",
            Self::Jammed => "jam",
        }
    }

    /// How many of [`LOSS_WHOLE`] packets are lost.
    pub(super) fn lost(&self) -> u64 {
        match self {
            Self::Lossy(share) => (share.clamp(0.0, 1.0) * LOSS_WHOLE as f64).round() as u64,
            _ => 0,
        }
    }

    pub(super) fn event(&self, from: String, to: String) -> Arc<dyn AnyEvent> {
        let us = |time: &Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        match self {
            Self::Cut => Arc::new(events::NetBlocked { from, to }),
            Self::Slow(latency) => {
                Arc::new(events::NetSlowed { from, to, least_us: us(latency.start()), most_us: us(latency.end()) })
            }
            Self::Lossy(_) => {
                let loss_percent = self.lost() as f64 * 100.0 / LOSS_WHOLE as f64;
                Arc::new(events::NetLossy { from, to, loss_percent })
            }
            Self::Jammed => Arc::new(events::NetJammed { from, to }),
        }
    }
}

/// Why a fault cannot be: the network cannot show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be shown on turmoil's network: {why}; use the simulated network")]
pub struct NotShown {
    /// What was asked for.
    pub what: &'static str,
    /// What that network does instead.
    pub why: &'static str,
}

impl NotShown {
    pub(super) fn fault(fault: &LinkFault) -> Self {
        let (what, why) = match fault {
            LinkFault::Cut => ("a partition of one direction", "it would lose what was sent for ever"),
            LinkFault::Slow(_) => ("a link that is slow in one direction", "its links have one latency for both"),
            LinkFault::Lossy(_) => ("a lossy link", "it would lose what was sent for ever"),
            LinkFault::Jammed => ("a link that is held in one direction", "its links are held in both"),
        };
        Self { what, why }
    }

    pub(super) const RESET: Self = Self { what: "a reset", why: "only its hosts can end a connection" };
}
