//! What a Job does next: make pods, delete some, or be done.
//!
//! Source: kubernetes `pkg/controller/job/job_controller.go` (`syncJob`, `manageJob`, `pastBackoffLimitOnFailure`,
//! `pastActiveDeadline`) and `backoff_utils.go`, and
//! `pkg/controller/ttlafterfinished/ttlafterfinished_controller.go`.

use std::time::Duration;

use hermesh_istiod::objects::{Job, JobOutcome, JobSpec, RestartPolicy};

/// The wait after the first failure in a row.
const INITIAL: Duration = Duration::from_secs(10);
/// The longest wait.
const MAX: Duration = Duration::from_secs(600);

/// How a Job's pods fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Those that have not come to their end.
    pub(crate) active: u32,
    pub(crate) succeeded: u32,
    pub(crate) failed: u32,
    /// How often containers of active pods were started again.
    pub(crate) restarts: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    Finish(JobOutcome),
    Run { create: u32, delete: u32 },
}

/// What follows from how the pods fare, and from whether the Job has been at work for too long.
pub(crate) fn next(spec: &JobSpec, tally: &Tally, is_too_long: bool) -> Next {
    let given_up = |reason: &str| Next::Finish(JobOutcome::Failed { reason: reason.to_owned() });
    if is_given_up(spec, tally) {
        return given_up("BackoffLimitExceeded");
    }
    if is_too_long {
        return given_up("DeadlineExceeded");
    }
    let done = match spec.completions() {
        Some(completions) => tally.succeeded >= completions,
        None => tally.succeeded > 0 && tally.active == 0,
    };
    if done {
        return Next::Finish(JobOutcome::Complete);
    }
    let wanted = match spec.completions() {
        _ if spec.suspend => 0,
        Some(completions) => spec.parallelism().min(completions - tally.succeeded),
        // One has found that there is no more to do: the others come to the same end.
        None if tally.succeeded > 0 => tally.active,
        None => spec.parallelism(),
    };
    Next::Run { create: wanted.saturating_sub(tally.active), delete: tally.active.saturating_sub(wanted) }
}

fn is_given_up(spec: &JobSpec, tally: &Tally) -> bool {
    let on_failure = spec.template.spec.restart_policy == RestartPolicy::OnFailure;
    // With OnFailure the kubelet tries again, and its tries count.
    let restarts = on_failure && tally.restarts > 0 && tally.restarts >= spec.backoff_limit;
    tally.failed > spec.backoff_limit || restarts
}

/// When a Job has been at work, or at its end, for as long as its spec allows, since the Unix epoch. The time of a
/// suspended one does not pass, and begins anew afterwards.
pub(crate) fn limit(Job { spec, status, .. }: &Job) -> Option<Duration> {
    let (since, seconds) = match status.end_time {
        Some(end) => (end, spec.ttl_seconds_after_finished?),
        None if spec.suspend => return None,
        None => (status.start_time?, spec.active_deadline_seconds?),
    };
    Some(Duration::from_secs(since + u64::from(seconds)))
}

/// How long after the last of so many failures in a row the next pod is made.
pub(crate) fn backoff(failures: u32) -> Duration {
    match failures {
        0 => Duration::ZERO,
        // More than seven doublings exceed the bound anyway.
        failures => (INITIAL * 2_u32.pow((failures - 1).min(7))).min(MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(parallelism: Option<u32>, completions: Option<u32>, backoff_limit: u32) -> JobSpec {
        let mut spec = JobSpec { parallelism, completions, backoff_limit, ..JobSpec::default() };
        spec.template.spec.restart_policy = RestartPolicy::Never;
        spec
    }

    fn words(spec: &JobSpec, (active, succeeded, failed): (u32, u32, u32)) -> String {
        match next(spec, &Tally { active, succeeded, failed, restarts: 0 }, false) {
            Next::Finish(JobOutcome::Complete) => "complete".to_owned(),
            Next::Finish(JobOutcome::Failed { reason }) => reason,
            Next::Run { create, delete } => format!("+{create} -{delete}"),
        }
    }

    #[test]
    fn so_many_pods_run_at_a_time_until_so_many_have_succeeded() {
        for (parallelism, completions, tally, expected) in [
            (None, None, (0, 0, 0), "+1 -0"),
            (None, None, (1, 0, 0), "+0 -0"),
            (None, None, (0, 1, 0), "complete"),
            (None, Some(3), (0, 1, 0), "+1 -0"),
            (Some(2), Some(3), (0, 0, 0), "+2 -0"),
            (Some(2), Some(3), (1, 1, 0), "+1 -0"),
            (Some(2), Some(3), (1, 2, 0), "+0 -0"),
            (Some(2), Some(3), (0, 3, 0), "complete"),
            (Some(1), Some(3), (2, 0, 0), "+0 -1"),
            (None, Some(0), (0, 0, 0), "complete"),
            (Some(0), Some(2), (0, 0, 0), "+0 -0"),
            // Without a number of completions the first success ends it, and the others are not replaced.
            (Some(2), None, (1, 0, 0), "+1 -0"),
            (Some(2), None, (1, 1, 0), "+0 -0"),
            (Some(2), None, (0, 1, 0), "complete"),
            // A failure is made up for.
            (None, None, (0, 0, 1), "+1 -0"),
            (None, None, (0, 0, 6), "+1 -0"),
            (None, None, (0, 0, 7), "BackoffLimitExceeded"),
        ] {
            let spec = spec(parallelism, completions, 6);
            assert_eq!(words(&spec, tally), expected, "{parallelism:?} {completions:?} {tally:?}");
        }
    }

    #[test]
    fn with_on_failure_the_restarts_of_containers_count_against_the_limit() {
        for (limit, restarts, given_up) in [(0, 0, false), (0, 1, true), (3, 2, false), (3, 3, true)] {
            let mut spec = spec(None, None, limit);
            let tally = Tally { active: 1, restarts, ..Tally::default() };
            assert!(matches!(next(&spec, &tally, false), Next::Run { .. }), "Never: {limit} {restarts}");
            spec.template.spec.restart_policy = RestartPolicy::OnFailure;
            assert_eq!(
                matches!(next(&spec, &tally, false), Next::Finish(_)),
                given_up,
                "OnFailure: {limit} {restarts}"
            );
        }
    }

    #[test]
    fn a_job_at_work_for_too_long_is_given_up() {
        let expected = Next::Finish(JobOutcome::Failed { reason: "DeadlineExceeded".to_owned() });
        assert_eq!(next(&spec(None, None, 6), &Tally { active: 1, ..Tally::default() }, true), expected);
    }

    #[test]
    fn work_has_a_deadline_and_what_has_ended_a_time_to_live() {
        let mut job = Job { spec: spec(None, None, 6), ..Job::default() };
        job.status.start_time = Some(100);
        assert_eq!(limit(&job), None);
        job.spec.active_deadline_seconds = Some(20);
        assert_eq!(limit(&job), Some(Duration::from_secs(120)));
        job.spec.suspend = true;
        assert_eq!(limit(&job), None);
        job.status.end_time = Some(110);
        assert_eq!(limit(&job), None);
        job.spec.ttl_seconds_after_finished = Some(0);
        assert_eq!(limit(&job), Some(Duration::from_secs(110)));
    }

    #[test]
    fn a_suspended_job_has_no_pods() {
        let suspended = JobSpec { suspend: true, ..spec(Some(2), Some(3), 6) };
        assert_eq!(words(&suspended, (2, 1, 0)), "+0 -2");
        assert_eq!(words(&suspended, (0, 3, 0)), "complete");
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_wait_from_ten_seconds_up_to_ten_minutes() {
        assert_eq!([0, 1, 2, 3, 6, 7, 8, 90].map(|n| backoff(n).as_secs()), [0, 10, 20, 40, 320, 600, 600, 600]);
    }
}
