//! How long the pull of an image takes, and how long the kubelet waits before it tries again: ImagePullBackOff.
//!
//! Source: kubernetes `pkg/kubelet/images/image_manager.go` (`EnsureImageExists`) and `pkg/kubelet/kubelet.go`
//! (`imageBackOffPeriod`, `MaxImageBackOff`).

use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::cluster::{ISTIO_NAMESPACE, ISTIOD};
use crate::image::Pull;

/// Bounds on how long the first pull of an image takes, in milliseconds, unless somebody says.
const FIRST_PULL_MS: (u64, u64) = (400, 1500);
/// Bounds on how long it takes to see that the image is there.
const LATER_PULL_MS: (u64, u64) = (20, 200);

/// The wait after the first failure.
const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
const MAX: Duration = Duration::from_secs(300);

/// A pull under way.
pub(super) struct Pulling {
    pub(super) takes: Duration,
    /// Whether somebody wants it to take so long.
    pub(super) is_slow: bool,
}

impl Shared {
    /// How long until `image` is there for a container of a workload: some seconds the first time on a node, a look at
    /// the registry afterwards. Whoever wants what is being pulled waits for that.
    pub(super) fn pull(&self, node: usize, image: &str, container: &str, workload: (&str, &str)) -> Pulling {
        let slow = self.said(node, image, workload).and_then(Pull::takes_ms);
        let mut draws = self.world.runtime().draws(&format!("pull/{container}"));
        let now = Instant::now();
        let mut state = self.lock();
        let pulled = &mut state.nodes[node].pulled;
        let (takes, is_slow) = match (pulled.get(image), slow) {
            (Some(there), _) => {
                let left = there.saturating_duration_since(now);
                let (low, high) = LATER_PULL_MS;
                (left + Duration::from_millis(draws.between(low, high)), !left.is_zero())
            }
            (None, Some((low, high))) => {
                let takes = Duration::from_millis(draws.between(low, high));
                pulled.insert(image.to_owned(), now + takes);
                (takes, true)
            }
            (None, None) => {
                pulled.insert(image.to_owned(), now);
                let (low, high) = FIRST_PULL_MS;
                (Duration::from_millis(draws.between(low, high)), false)
            }
        };
        Pulling { takes, is_slow }
    }

    /// Whether the pull of an image that the node does not have is one of those that are to fail; it counts then.
    pub(super) fn pull_fails(&self, node: usize, image: &str, workload: (&str, &str)) -> bool {
        let wanted = self.said(node, image, workload).map_or(0, Pull::failures);
        let mut state = self.lock();
        let failed = state.nodes[node].failed_pulls.entry(image.to_owned()).or_default();
        let fails = *failed < wanted;
        *failed += u32::from(fails);
        fails
    }

    /// What is said of the pull of an image for a workload. istiod runs before a mesh is there to be tested.
    fn said(&self, node: usize, image: &str, workload: (&str, &str)) -> Option<&Pull> {
        let name = self.node_name(node);
        let mut pulls = self.pulls.iter().filter(|_| workload != (ISTIO_NAMESPACE, ISTIOD));
        pulls.find(|pull| pull.fits(image, &name, workload))
    }
}

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
