//! How long the kubelet waits before it tries again to pull an image: ImagePullBackOff.
//!
//! Source: kubernetes `pkg/kubelet/images/image_manager.go` (`EnsureImageExists`) and `pkg/kubelet/kubelet.go`
//! (`imageBackOffPeriod`, `MaxImageBackOff`).

use std::time::Duration;

/// The wait after the first failure.
const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
const MAX: Duration = Duration::from_secs(300);

/// The record of one image in one pod.
#[derive(Debug, Default)]
pub(crate) struct PullBackoff {
    last: Option<Duration>,
}

impl PullBackoff {
    /// Notes that a pull failed; answers how long the next one waits.
    pub(crate) fn failed(&mut self) -> Duration {
        let wait = self.last.map_or(INITIAL, |last| (last * 2).min(MAX));
        self.last = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_from_ten_seconds_up_to_five_minutes() {
        let mut backoff = PullBackoff::default();
        let waits: Vec<u64> = (0..8).map(|_| backoff.failed().as_secs()).collect();
        assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300, 300]);
    }
}
