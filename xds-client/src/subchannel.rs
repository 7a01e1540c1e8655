//! One connection to one address, kept up: the connectivity state machine of gRPC's connection back-off document and
//! gRFC A6's numbers.
//!
//! [`Subchannel`] is the state machine alone: it dials nothing and reads no clock. IDLE goes to CONNECTING when
//! someone asks; CONNECTING to READY once the peer's HTTP/2 SETTINGS came, else to TRANSIENT_FAILURE, which lasts for
//! the back-off and ends in IDLE; READY to IDLE when the connection ends or the peer sends GOAWAY.

use std::time::Duration;

use hermesh_runtime::Draws;
use hermesh_runtime::backoff::Backoff;
use serde::Serialize;
use tokio::time::Instant;

/// What is known of a way to the server. The order is of no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConnectivityState {
    /// Not connected and not trying.
    Idle,
    /// Trying.
    Connecting,
    /// Connected.
    Ready,
    /// Failed, and waiting before the next try.
    TransientFailure,
}

/// The state machine of one subchannel.
#[derive(Clone, Debug)]
pub struct Subchannel {
    state: ConnectivityState,
    backoff: Backoff,
    /// The wait that follows if the attempt under way fails.
    wait: Duration,
    /// When TRANSIENT_FAILURE ends.
    until: Option<Instant>,
}

impl Default for Subchannel {
    fn default() -> Self {
        Self { state: ConnectivityState::Idle, backoff: Backoff::default(), wait: Duration::ZERO, until: None }
    }
}

impl Subchannel {
    /// Where it is now.
    #[must_use]
    pub fn state(&self) -> ConnectivityState {
        self.state
    }

    /// Someone wants a connection. If that starts an attempt, the answer is how long it may take: TCP, TLS and the
    /// peer's SETTINGS together.
    pub fn connect(&mut self, draws: &mut Draws) -> Option<Duration> {
        if self.state != ConnectivityState::Idle {
            return None;
        }
        self.state = ConnectivityState::Connecting;
        self.wait = self.backoff.next_delay(draws);
        Some(MIN_CONNECT_TIMEOUT.max(self.wait))
    }

    /// The attempt succeeded.
    pub fn connected(&mut self) {
        debug_assert_eq!(self.state, ConnectivityState::Connecting);
        self.state = ConnectivityState::Ready;
        self.backoff.reset();
    }

    /// The attempt failed; the answer is when the next one may start.
    pub fn failed(&mut self, now: Instant) -> Instant {
        debug_assert_eq!(self.state, ConnectivityState::Connecting);
        self.state = ConnectivityState::TransientFailure;
        let until = now + self.wait;
        self.until = Some(until);
        until
    }

    /// The connection ended or is about to.
    pub fn lost(&mut self) {
        debug_assert_eq!(self.state, ConnectivityState::Ready);
        self.state = ConnectivityState::Idle;
    }

    /// Time passed; tells whether the back-off is over, and with it TRANSIENT_FAILURE.
    pub fn tick(&mut self, now: Instant) -> bool {
        let over = self.state == ConnectivityState::TransientFailure && self.until.is_some_and(|until| until <= now);
        if over {
            self.state = ConnectivityState::Idle;
            self.until = None;
        }
        over
    }
}

/// An attempt may take at least this long, however short the back-off.
pub const MIN_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use ConnectivityState::{Connecting, Idle, Ready, TransientFailure};

    fn draws() -> Draws {
        Draws::new(1, "test", 0)
    }

    #[test]
    fn a_refused_address_is_tried_again_after_one_second_and_then_ever_later() {
        let mut draws = draws();
        let mut subchannel = Subchannel::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..14 {
            assert!(subchannel.connect(&mut draws).is_some());
            let until = subchannel.failed(now);
            assert_eq!(subchannel.state(), TransientFailure);
            assert!(!subchannel.tick(until - Duration::from_millis(1)));
            assert!(subchannel.tick(until));
            assert_eq!(subchannel.state(), Idle);
            waits.push((until - now).as_secs_f64());
            now = until;
        }
        assert_eq!(waits[0], 1.0);
        for (failures, wait) in waits.iter().enumerate().skip(1) {
            let step = 1.6f64.powi(failures as i32).min(120.0);
            assert!((0.8 * step..=1.2 * step).contains(wait), "wait {failures} was {wait}");
        }
        assert!(waits[13] >= 96.0);
    }

    #[test]
    fn a_connection_made_resets_the_backoff() {
        let mut draws = draws();
        let mut subchannel = Subchannel::default();
        let now = Instant::now();
        for _ in 0..3 {
            subchannel.connect(&mut draws);
            let until = subchannel.failed(now);
            subchannel.tick(until);
        }
        subchannel.connect(&mut draws);
        subchannel.connected();
        assert_eq!(subchannel.state(), Ready);
        subchannel.lost();
        assert_eq!(subchannel.state(), Idle);
        subchannel.connect(&mut draws);
        assert_eq!(subchannel.failed(now), now + Duration::from_secs(1));
    }

    #[test]
    fn an_attempt_may_take_twenty_seconds_or_as_long_as_the_backoff() {
        let mut draws = draws();
        let mut subchannel = Subchannel::default();
        let mut longest = Duration::ZERO;
        for attempt in 0..12 {
            let limit = subchannel.connect(&mut draws).unwrap();
            assert!(limit >= MIN_CONNECT_TIMEOUT);
            assert!(attempt > 3 || limit == MIN_CONNECT_TIMEOUT);
            longest = longest.max(limit);
            let until = subchannel.failed(Instant::now());
            subchannel.tick(until);
        }
        assert!(longest > Duration::from_secs(60));
    }

    #[test]
    fn asking_twice_makes_one_attempt() {
        let mut draws = draws();
        let mut subchannel = Subchannel::default();
        assert!(subchannel.connect(&mut draws).is_some());
        assert!(subchannel.connect(&mut draws).is_none());
        assert_eq!(subchannel.state(), Connecting);
    }

    proptest! {
        #[test]
        fn no_wait_exceeds_144_seconds(seed: u64, failures in 1u32..200) {
            let mut draws = Draws::new(seed, "test", 0);
            let mut backoff = Backoff::default();
            for _ in 0..failures {
                prop_assert!(backoff.next_delay(&mut draws) <= Duration::from_secs(144));
            }
        }
    }
}
