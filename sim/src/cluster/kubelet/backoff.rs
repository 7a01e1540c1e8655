//! How long the kubelet waits before it starts a crashed container again: CrashLoopBackOff.
//!
//! Source: kubernetes `client-go/util/flowcontrol/backoff.go` and `kuberuntime_manager.go` (`doBackOff`).

use std::time::Duration;

use tokio::time::Instant;

/// The wait before the second restart.
const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
const MAX: Duration = Duration::from_secs(300);
/// A container that ran this long since its last restart has a clean record again.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// The record of one container. The first crash restarts at once; each later one waits twice as long as the one
/// before it.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<(Instant, Duration)>,
}

impl Backoff {
    /// When the container that finished at `finished` may start again; `finished` itself means at once.
    pub(crate) fn next_start(&self, finished: Instant) -> Instant {
        match self.last {
            Some((updated, wait)) if finished.saturating_duration_since(updated) <= FORGET_AFTER => finished + wait,
            _ => finished,
        }
    }

    /// Notes that the container that finished at `finished` starts again `now`.
    pub(crate) fn restarted(&mut self, finished: Instant, now: Instant) {
        let wait = match self.last {
            Some((updated, wait)) if finished.saturating_duration_since(updated) <= FORGET_AFTER => (wait * 2).min(MAX),
            _ => INITIAL,
        };
        self.last = Some((now, wait));
    }
}

/// How long the kubelet waits before it sets up a pod's volumes again: each time twice as long.
///
/// Source: kubernetes `pkg/util/goroutinemap/exponentialbackoff`.
#[derive(Debug, Default)]
pub(crate) struct FillBackoff(Option<Duration>);

impl FillBackoff {
    /// The next wait.
    pub(crate) fn next(&mut self) -> Duration {
        let wait = self.0.map_or(Duration::from_millis(500), |wait| (wait * 2).min(Duration::from_secs(122)));
        self.0 = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(ran: &[u64]) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        ran.iter()
            .map(|seconds| {
                let finished = now + Duration::from_secs(*seconds);
                now = backoff.next_start(finished);
                backoff.restarted(finished, now);
                (now - finished).as_secs()
            })
            .collect()
    }

    #[test]
    fn the_first_crash_restarts_at_once_and_later_ones_wait_twice_as_long_up_to_five_minutes() {
        assert_eq!(waits(&[1; 9]), [0, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_clear_the_record() {
        assert_eq!(waits(&[1, 1, 1, 600, 1]), [0, 10, 20, 40, 80]);
        assert_eq!(waits(&[1, 1, 1, 601, 1]), [0, 10, 20, 0, 10]);
    }
}
