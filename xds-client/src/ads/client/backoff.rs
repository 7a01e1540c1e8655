//! Pauses between attempts to open a stream (gRPC connection backoff, as grpc-go's xDS client uses it).

use std::time::Duration;

use hermesh_runtime::Draws;

/// The first pause, without jitter.
const BASE: Duration = Duration::from_secs(1);
/// Growth from one pause to the next.
const FACTOR: f64 = 1.6;
/// No pause is longer before jitter.
const MAX: Duration = Duration::from_secs(120);
/// Jitter is applied last, so that a pause may reach 144 s.
const JITTER: f64 = 0.2;

#[derive(Debug)]
pub(super) struct Backoff {
    draws: Draws,
    failures: i32,
}

impl Backoff {
    pub(super) fn new(draws: Draws) -> Self {
        Self { draws, failures: 0 }
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure and says how long to wait after it.
    pub(super) fn next_pause(&mut self) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return BASE;
        }
        let pause = (BASE.as_secs_f64() * FACTOR.powi(failures)).min(MAX.as_secs_f64());
        Duration::from_secs_f64(pause * (1.0 + JITTER * (2.0 * self.draws.fraction() - 1.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // own-10
    #[test]
    fn pauses_grow_from_exactly_a_second_to_at_most_144() {
        let mut longest = Duration::ZERO;
        for seed in 0..200 {
            let mut backoff = Backoff::new(Draws::new(seed, "backoff", 0));
            assert_eq!(backoff.next_pause(), Duration::from_secs(1));
            let second = backoff.next_pause().as_secs_f64();
            assert!((1.28..=1.92).contains(&second), "{second}");
            let tenth = (3..=12).map(|_| backoff.next_pause()).last().unwrap_or_default();
            assert!(tenth >= Duration::from_secs(96) && tenth <= Duration::from_secs(144), "{tenth:?}");
            longest = longest.max(tenth);
            backoff.reset();
            assert_eq!(backoff.next_pause(), Duration::from_secs(1));
        }
        assert!(longest > Duration::from_secs(120), "jitter comes after the cap: {longest:?}");
    }
}
