//! gRPC's connection backoff (gRFC A6 and `connection-backoff.md`).

use std::time::Duration;

use crate::Draws;

const INITIAL: Duration = Duration::from_secs(1);
const MULTIPLIER: f64 = 1.6;
const JITTER: f64 = 0.2;
const MAX: Duration = Duration::from_secs(120);

/// Growing delays between connection attempts: 1 s, 1.6 s, 2.56 s, up to 120 s, each 20 % shorter or longer by
/// chance. A delay counts from the beginning of the failed attempt.
#[derive(Clone, Debug)]
pub struct Backoff {
    draws: Draws,
    base: Duration,
}

impl Backoff {
    /// Takes one draw for every delay.
    #[must_use]
    pub fn new(draws: Draws) -> Self {
        Self { draws, base: INITIAL }
    }

    /// The delay after the next failure. The first one counts from the first failure since [`reset`](Self::reset).
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.base.mul_f64(1.0 + JITTER * (2.0 * self.draws.fraction() - 1.0));
        self.base = self.base.mul_f64(MULTIPLIER).min(MAX);
        delay
    }

    /// After success the delays begin anew; the draws go on.
    pub fn reset(&mut self) {
        self.base = INITIAL;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_two_minutes_and_stay_within_their_jitter() {
        let mut backoff = Backoff::new(Draws::new(1, "test", 0));
        let mut base = 1.0_f64;
        for _ in 0..20 {
            let delay = backoff.next_delay().as_secs_f64();
            assert!((base * 0.8..=base * 1.2).contains(&delay), "{delay} for {base}");
            base = (base * 1.6).min(120.0);
        }
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(1200));
    }
}
