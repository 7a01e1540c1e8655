//! When to push: after a quiet moment, or when patience ends.
//!
//! Istio's `pilot/pkg/xds/discovery.go`, `debounce`: the first event starts the clock; a push is due after a quiet time
//! without events or a maximum time since the first, and no push is prepared while another is.

use std::time::Duration;

use tokio::time::Instant;

/// The two times of a [`Debounce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DebounceTimes {
    /// Without events for this long, a push is due (`PILOT_DEBOUNCE_AFTER`).
    pub quiet: Duration,
    /// This long after the first event a push is due in any case (`PILOT_DEBOUNCE_MAX`).
    pub max: Duration,
}

impl Default for DebounceTimes {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(100), max: Duration::from_secs(10) }
    }
}

/// Turns a stream of events into moments to push. Takes the time from its caller.
#[derive(Clone, Debug)]
pub struct Debounce {
    times: DebounceTimes,
    waiting: Option<Waiting>,
    pushing: bool,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: Instant,
    last: Instant,
}

impl Debounce {
    /// Nothing waits.
    #[must_use]
    pub fn new(times: DebounceTimes) -> Self {
        Self { times, waiting: None, pushing: false }
    }

    /// Something happened that wants a push.
    pub fn event(&mut self, now: Instant) {
        let first = self.waiting.map_or(now, |waiting| waiting.first);
        self.waiting = Some(Waiting { first, last: now });
    }

    /// When to call [`poll`](Self::poll) again, unless an event or the end of a push comes first.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.filter(|_| !self.pushing)?;
        Some((waiting.last + self.times.quiet).min(waiting.first + self.times.max))
    }

    /// Whether to push now. After a yes the caller pushes and then says [`pushed`](Self::pushed).
    pub fn poll(&mut self, now: Instant) -> bool {
        let due = self.deadline().is_some_and(|deadline| deadline <= now);
        if due {
            self.waiting = None;
            self.pushing = true;
        }
        due
    }

    /// The push that [`poll`](Self::poll) asked for is prepared.
    pub fn pushed(&mut self) {
        self.pushing = false;
    }

    /// Whether no event waits for its push and no push is being prepared.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.waiting.is_none() && !self.pushing
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUIET: u64 = 100;
    const MAX: u64 = 1000;

    fn debounce() -> (Debounce, Instant) {
        let times = DebounceTimes { quiet: Duration::from_millis(QUIET), max: Duration::from_millis(MAX) };
        (Debounce::new(times), Instant::now())
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_single_event_is_pushed_after_the_quiet_time() {
        let (mut debounce, start) = debounce();
        debounce.event(start);
        assert!(!debounce.poll(start + ms(QUIET - 1)));
        assert!(debounce.poll(start + ms(QUIET)));
        debounce.pushed();
        assert!(debounce.is_idle());
    }

    #[test]
    fn an_event_during_a_push_waits_for_its_end() {
        let (mut debounce, start) = debounce();
        debounce.event(start);
        assert!(debounce.poll(start + ms(QUIET)));
        debounce.event(start + ms(QUIET));
        assert_eq!(debounce.deadline(), None);
        assert!(!debounce.poll(start + ms(5 * QUIET)));
        debounce.pushed();
        assert!(debounce.poll(start + ms(5 * QUIET)));
    }

    proptest! {
        /// The model: walk millisecond by millisecond and compare with the definition, written down naively.
        #[test]
        fn pushes_come_when_the_definition_says(gaps in prop::collection::vec(0u64..150, 1..60)) {
            let (mut debounce, start) = debounce();
            let mut events = Vec::new();
            let mut at = 0;
            for gap in gaps {
                at += gap;
                events.push(at);
            }
            let mut unpushed: Vec<u64> = Vec::new();
            for now in 0..=at + MAX {
                for _ in events.iter().filter(|event| **event == now) {
                    unpushed.push(now);
                    debounce.event(start + ms(now));
                }
                let quiet = unpushed.last().is_some_and(|last| now - last >= QUIET);
                let impatient = unpushed.first().is_some_and(|first| now - first >= MAX);
                let expected = quiet || impatient;
                prop_assert_eq!(debounce.poll(start + ms(now)), expected, "at {} ms", now);
                if expected {
                    unpushed.clear();
                    debounce.pushed();
                }
                prop_assert_eq!(debounce.is_idle(), unpushed.is_empty());
            }
            prop_assert!(unpushed.is_empty(), "every event is pushed in the end");
        }
    }
}
