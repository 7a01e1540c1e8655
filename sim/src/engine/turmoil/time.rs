//! When turmoil must step, and what else falls due.

use std::collections::BTreeMap;

use super::super::net::Latency;
use super::super::slab::Key;
use super::Net;

/// How long one step of turmoil is, in nanoseconds: the resolution of all timers.
pub(in super::super) const STEP: u64 = 1_000_000;

/// Turmoil's clock beside ours, and a queue of timers.
///
/// Turmoil need not step while nothing is under way in it. Whatever gets under way there is sent by a task of a host,
/// or by turmoil itself in answer to such a segment (RST); it arrives after the greatest latency at the latest, or is
/// held, and wakes a task. So once no task has run for the time of two segments and of the steps between, the next
/// thing to happen is brought about by us. Until then turmoil's clock may stand still: it measures latencies only.
pub(super) struct Clock {
    stepped_at: Option<u64>,
    /// Steps since something last stirred.
    quiet: u64,
    patience: u64,
    timers: BTreeMap<Timer, Key>,
    timers_set: u64,
}

/// When a timer is due, and its number.
pub(super) type Timer = (u64, u64);

impl Clock {
    pub(super) fn new((_, slowest): Latency) -> Self {
        // A segment waits for the step that sends it, and one more for the task it wakes.
        let patience = 2 * slowest.div_ceil(STEP) + 4;
        Self { stepped_at: None, quiet: patience, patience, timers: BTreeMap::new(), timers_set: 0 }
    }

    /// Something happens in turmoil, or is to happen there.
    pub(super) fn stir(&mut self) {
        self.quiet = 0;
    }

    fn is_busy(&self) -> bool {
        self.quiet < self.patience
    }

    pub(super) fn set_timer(&mut self, at: u64, conn: Key) -> Timer {
        self.timers_set += 1;
        let timer = (at, self.timers_set);
        self.timers.insert(timer, conn);
        timer
    }

    pub(super) fn unset_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }
}

impl Net {
    /// Whether turmoil must step before time passes.
    pub(in super::super) fn is_step_due(&self, now: u64) -> bool {
        self.clock.is_busy() && self.clock.stepped_at.is_none_or(|stepped| stepped < now)
    }

    /// Turmoil has stepped.
    pub(super) fn stepped(&mut self, now: u64) {
        self.clock.stepped_at = Some(now);
        self.clock.quiet += 1;
    }

    /// When turmoil next steps or a timer is due, in nanoseconds.
    pub(in super::super) fn next_at(&self) -> Option<u64> {
        let step = self.clock.stepped_at.map_or(0, |stepped| stepped + STEP);
        let step = self.clock.is_busy().then_some(step);
        let timer = self.clock.timers.first_key_value().map(|((at, _), _)| *at);
        step.into_iter().chain(timer).min()
    }

    /// Handles the timers due by `now`.
    pub(in super::super) fn advance(&mut self, now: u64) {
        while let Some(entry) = self.clock.timers.first_entry()
            && entry.key().0 <= now
        {
            let conn = entry.remove();
            self.on_timer(conn);
        }
    }

    pub(in super::super) fn has_arrived(&self, now: u64) -> bool {
        self.clock.timers.first_key_value().is_some_and(|((at, _), _)| *at <= now)
    }
}
