//! gRPC's connection backoff (`connection-backoff.md`), as grpc-go's subchannels and xDS clients carry it out.

use std::time::Duration;

use crate::Draws;

const FIRST: Duration = Duration::from_secs(1);
const MULTIPLIER: f64 = 1.6;
const JITTER: f64 = 0.2;
const MAX: Duration = Duration::from_secs(120);

/// Growing delays between attempts: the first exactly 1 s, then 1.6 s, 2.56 s, up to 120 s, each of these up to 20 %
/// shorter or longer by chance. The jitter comes last, so a delay may reach 144 s.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The delay after the next failure. The first since the beginning or a [`reset`](Self::reset) takes no draw, the
    /// others take one each.
    pub fn next_delay(&mut self, draws: &mut Draws) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return FIRST;
        }
        // 1.6^11 s exceeds the longest; the clamp keeps the power finite after years of failure.
        let delay = FIRST.as_secs_f64() * MULTIPLIER.powi(failures.min(64) as i32);
        let delay = delay.min(MAX.as_secs_f64());
        Duration::from_secs_f64(delay * (1.0 + JITTER * (2.0 * draws.fraction() - 1.0)))
    }

    /// After success the delays begin anew; the draws go on.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_exactly_a_second_to_at_most_144() {
        let mut longest = Duration::ZERO;
        for seed in 0..200 {
            let mut draws = Draws::new(seed, "test", 0);
            let mut backoff = Backoff::default();
            assert_eq!(backoff.next_delay(&mut draws), Duration::from_secs(1));
            let mut base = 1.6_f64;
            for _ in 0..100 {
                let delay = backoff.next_delay(&mut draws);
                assert!((base * 0.8..=base * 1.2).contains(&delay.as_secs_f64()), "{delay:?} for {base}");
                base = (base * 1.6).min(120.0);
                longest = longest.max(delay);
            }
            backoff.reset();
            assert_eq!(backoff.next_delay(&mut draws), Duration::from_secs(1));
        }
        assert!(longest > Duration::from_secs(140), "jitter comes after the cap: {longest:?}");
    }
}
