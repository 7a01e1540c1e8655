//! When to replace a certificate, and how long to wait before asking again.
//!
//! Istio's `security/pkg/nodeagent/cache`, `rotateTime`: a certificate is replaced when a share of its life is left,
//! give or take a little, so that a mesh that started at once does not rotate at once.

use std::time::Duration;

use hermesh_runtime::Draws;

/// When certificates are replaced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RotationPolicy {
    /// The share of the life that is left then (`SECRET_GRACE_PERIOD_RATIO`).
    pub grace_ratio: f64,
    /// How much the ratio varies either way (`SECRET_GRACE_PERIOD_RATIO_JITTER`).
    pub jitter: f64,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self { grace_ratio: 0.5, jitter: 0.01 }
    }
}

impl RotationPolicy {
    /// When to replace a certificate that came at `received` and is valid until `not_after`, both since 1970. Takes one
    /// draw.
    #[must_use]
    pub fn due(&self, received: Duration, not_after: Duration, draws: &mut Draws) -> Duration {
        let shift = self.jitter * (2.0 * draws.fraction() - 1.0);
        let ratio = (self.grace_ratio + shift).clamp(0.0, 1.0);
        let life = not_after.saturating_sub(received);
        not_after.saturating_sub(life.mul_f64(ratio)).max(received)
    }
}

/// Waits that grow by half, between half and one and a half times the mean, up to a minute, for ever: the loop around
/// Istio's secret generation.
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(500);
    const FACTOR: f64 = 1.5;
    const SPREAD: f64 = 0.5;
    const LONGEST: Duration = Duration::from_secs(60);

    /// The first wait is about half a second.
    #[must_use]
    pub fn new() -> Self {
        Self { next: Self::FIRST }
    }

    /// How long to wait now. Takes one draw.
    pub fn wait(&mut self, draws: &mut Draws) -> Duration {
        let spread = 1.0 - Self::SPREAD + 2.0 * Self::SPREAD * draws.fraction();
        let wait = self.next.mul_f64(spread);
        self.next = self.next.mul_f64(Self::FACTOR).min(Self::LONGEST);
        wait.min(Self::LONGEST)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// The waits between the attempts of one certificate call: 100, 200, 400 and 800 ms, each up to a tenth shorter or
/// longer.
pub fn retry_waits(draws: &mut Draws) -> [Duration; 4] {
    [100, 200, 400, 800].map(|ms| Duration::from_millis(ms).mul_f64(0.9 + 0.2 * draws.fraction()))
}

/// Whether another attempt of the same certificate call may succeed. Istio also lists CANCELLED and DEADLINE_EXCEEDED,
/// which its retry library never retries.
#[must_use]
pub fn is_retriable(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(code, Code::ResourceExhausted | Code::Aborted | Code::Internal | Code::Unavailable)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn draws() -> Draws {
        Draws::new(1, "rotation", 0)
    }

    #[test]
    fn the_ratio_says_how_much_of_the_life_is_left() {
        let now = MINUTE * 1000;
        for (life, ratio, expected) in [(60, 0.5, 30), (60, 0.25, 45), (60, 0.75, 15), (60, 1.0, 0), (60, 0.0, 60)] {
            let policy = RotationPolicy { grace_ratio: ratio, jitter: 0.0 };
            let due = policy.due(now, now + MINUTE * life, &mut draws());
            assert_eq!(due - now, MINUTE * expected, "{ratio}");
        }
    }

    #[test]
    fn an_expired_certificate_is_due_at_once() {
        let policy = RotationPolicy::default();
        assert_eq!(policy.due(MINUTE * 10, MINUTE * 9, &mut draws()), MINUTE * 10);
    }

    #[test]
    fn jitter_stays_in_its_range_and_uses_it() {
        let mut draws = draws();
        for (ratio, jitter, low, high) in [(1.0, 0.5, 0, 30), (0.5, 0.5, 0, 60), (0.0, 0.5, 30, 60)] {
            let policy = RotationPolicy { grace_ratio: ratio, jitter };
            let all: Vec<Duration> = (0..1000).map(|_| policy.due(MINUTE, MINUTE * 61, &mut draws) - MINUTE).collect();
            let (least, most) = (all.iter().min().unwrap(), all.iter().max().unwrap());
            assert!(*least >= MINUTE * low && *most <= MINUTE * high, "{ratio}: {least:?} to {most:?}");
            assert!(*most - *least > MINUTE * 25, "{ratio}: {least:?} to {most:?}");
        }
    }

    #[test]
    fn a_day_long_certificate_rotates_around_noon() {
        let due = RotationPolicy::default().due(Duration::ZERO, MINUTE * 1440, &mut draws());
        assert!(due.abs_diff(MINUTE * 720) <= Duration::from_secs(864), "{due:?}");
    }

    #[test]
    fn waits_grow_up_to_a_minute() {
        let (mut backoff, mut draws) = (Backoff::new(), draws());
        let first = backoff.wait(&mut draws);
        assert!((Duration::from_millis(250)..=Duration::from_millis(750)).contains(&first), "{first:?}");
        for _ in 0..100 {
            backoff.wait(&mut draws);
        }
        let last = backoff.wait(&mut draws);
        assert!((MINUTE / 2..=MINUTE).contains(&last), "{last:?}");
    }
}
