//! When a probe is due, and what a run of results makes of a container.
//!
//! Source: kubernetes `pkg/kubelet/prober/worker.go`. No timers and no sockets here: the caller asks
//! [`Prober::due`] at every tick and tells [`Prober::result`] what came of it.

use std::time::Duration;

use tokio::time::Instant;

/// The numbers of a probe, with the API server's defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) initial_delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) success_threshold: u32,
    pub(crate) failure_threshold: u32,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            initial_delay: Duration::ZERO,
            period: Duration::from_secs(10),
            timeout: Duration::from_secs(1),
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// Holds back the other two until the container has come up.
    Startup,
    /// Fails: the container is killed and restarted.
    Liveness,
    /// Decides whether the container counts as ready.
    Readiness,
}

/// What the results so far mean, once it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Enough successes in a row.
    Passing,
    /// Enough failures in a row.
    Failing,
}

/// One probe of one run of one container.
#[derive(Debug)]
pub(crate) struct Prober {
    purpose: Purpose,
    timing: Timing,
    started: Instant,
    /// What the verdict is; readiness begins failing, liveness passing, startup unknown.
    verdict: Option<Verdict>,
    run: Option<(bool, u32)>,
}

impl Prober {
    pub(crate) fn new(purpose: Purpose, timing: Timing, started: Instant) -> Self {
        let verdict = match purpose {
            Purpose::Startup => None,
            Purpose::Liveness => Some(Verdict::Passing),
            Purpose::Readiness => Some(Verdict::Failing),
        };
        Self { purpose, timing, started, verdict, run: None }
    }

    /// Whether a tick at `now` probes. `startup_passed` is true too where there is no startup probe.
    pub(crate) fn due(&self, now: Instant, startup_passed: bool) -> bool {
        // The kubelet compares whole seconds.
        let age = Duration::from_secs((now - self.started).as_secs());
        match self.purpose {
            Purpose::Startup => self.verdict.is_none() && age >= self.timing.initial_delay,
            // Once failed, the container is being killed: nothing is left to find out.
            Purpose::Liveness => {
                startup_passed && self.verdict == Some(Verdict::Passing) && age >= self.timing.initial_delay
            }
            Purpose::Readiness => startup_passed && age >= self.timing.initial_delay,
        }
    }

    /// Takes a result; answers with the verdict if it is a new one.
    pub(crate) fn result(&mut self, success: bool) -> Option<Verdict> {
        let count = match self.run {
            Some((same, count)) if same == success => count.saturating_add(1),
            _ => 1,
        };
        self.run = Some((success, count));
        let (threshold, verdict) = if success {
            (self.timing.success_threshold, Verdict::Passing)
        } else {
            (self.timing.failure_threshold, Verdict::Failing)
        };
        if count < threshold || self.verdict == Some(verdict) {
            return None;
        }
        self.verdict = Some(verdict);
        Some(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prober(purpose: Purpose, success_threshold: u32, failure_threshold: u32) -> Prober {
        let timing = Timing { success_threshold, failure_threshold, ..Timing::default() };
        Prober::new(purpose, timing, Instant::now())
    }

    fn verdicts(mut prober: Prober, results: &str) -> String {
        let letter = |success| match prober.result(success) {
            Some(Verdict::Passing) => 'P',
            Some(Verdict::Failing) => 'F',
            None => '.',
        };
        results.chars().map(|result| result == '+').map(letter).collect()
    }

    #[test]
    fn a_verdict_changes_after_a_threshold_of_equal_results() {
        use Purpose::{Liveness, Readiness, Startup};
        for (purpose, success, failure, results, expected) in [
            (Readiness, 1, 3, "+", "P"),
            (Readiness, 1, 3, "---", "..."),
            (Readiness, 1, 3, "+--+---+", "P.....FP"),
            (Readiness, 2, 1, "+-++", "...P"),
            (Liveness, 1, 3, "+--+---", "......F"),
            (Startup, 1, 3, "--+", "..P"),
            (Startup, 1, 3, "---", "..F"),
        ] {
            assert_eq!(verdicts(prober(purpose, success, failure), results), expected, "{purpose:?} {results}");
        }
    }

    #[test]
    fn the_initial_delay_counts_whole_seconds_since_the_container_started() {
        let timing = Timing { initial_delay: Duration::from_secs(2), ..Timing::default() };
        let started = Instant::now();
        let prober = Prober::new(Purpose::Readiness, timing, started);
        assert!(!prober.due(started + Duration::from_millis(1999), true));
        assert!(prober.due(started + Duration::from_millis(2000), true));
    }

    #[test]
    fn readiness_and_liveness_wait_for_startup_and_startup_ends_with_its_verdict() {
        let now = Instant::now();
        for purpose in [Purpose::Readiness, Purpose::Liveness] {
            let prober = Prober::new(purpose, Timing::default(), now);
            assert!(!prober.due(now, false));
            assert!(prober.due(now, true));
        }
        let mut startup = Prober::new(Purpose::Startup, Timing::default(), now);
        assert!(startup.due(now, false));
        startup.result(true);
        assert!(!startup.due(now, false));
    }

    #[test]
    fn a_container_whose_liveness_failed_is_probed_no_more() {
        let now = Instant::now();
        let mut liveness = prober(Purpose::Liveness, 1, 1);
        liveness.result(false);
        assert!(!liveness.due(now + Duration::from_secs(60), true));
    }
}
