//! In which order a pod's containers start, which of them start again, and when the pod has come to its end.
//!
//! Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_container.go` (`computeInitContainerActions`) and
//! `kuberuntime_manager.go` (`computePodActions`). No timers here: the caller asks again whenever a container moves.

use hermesh_istiod::objects::RestartPolicy;

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// An init container: it runs to its end before the next one starts.
    Init,
    /// An init container that always restarts: it runs beside all that come after it.
    Sidecar,
    /// An ordinary container.
    Main,
}

/// How far a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was never started.
    New,
    /// It runs, and has come up or not: its postStart hook is done and its startup probe has passed.
    Running { started: bool },
    /// Its last run has ended.
    Ended { code: i32 },
}

/// Whether those before it let the container at `index` start. Of all before it, the last init container decides: that
/// one let in turn all before it.
pub(crate) fn may_start(containers: &[(Role, Stage)], index: usize) -> bool {
    let (role, stage) = containers[index];
    let begun = |(other, stage): &(Role, Stage)| *other == Role::Main && *stage != Stage::New;
    if stage != Stage::New || (role == Role::Main && containers.iter().any(begun)) {
        return true;
    }
    let before = containers[..index].iter().rfind(|(role, _)| *role != Role::Main);
    before.is_none_or(|before| lets_pass(*before))
}

/// Whether all init containers have done what the ordinary ones wait for.
pub(crate) fn is_initialized(containers: &[(Role, Stage)]) -> bool {
    let first = containers.iter().position(|(role, _)| *role == Role::Main);
    first.is_none_or(|first| may_start(containers, first))
}

fn lets_pass((role, stage): (Role, Stage)) -> bool {
    match role {
        Role::Sidecar => stage == Stage::Running { started: true },
        Role::Init | Role::Main => stage == Stage::Ended { code: 0 },
    }
}

/// Whether a container starts again that has ended with `code`.
pub(crate) fn starts_again(role: Role, policy: RestartPolicy, code: i32) -> bool {
    match (role, policy) {
        (Role::Sidecar, _) | (Role::Main, RestartPolicy::Always) => true,
        (Role::Main | Role::Init, RestartPolicy::Never) => false,
        (Role::Main, RestartPolicy::OnFailure) | (Role::Init, _) => code != 0,
    }
}

/// Whether the pod has nothing left to do: all ordinary containers have ended for good, or an init container has
/// failed for good. Sidecars keep no pod alive.
pub(crate) fn is_over(containers: &[(Role, Stage)], policy: RestartPolicy) -> bool {
    let for_good = |role, code| !starts_again(role, policy, code);
    let mut mains = containers.iter().filter(|(role, _)| *role == Role::Main);
    let all_ended = mains.all(|(role, stage)| matches!(stage, Stage::Ended { code } if for_good(*role, *code)));
    let failed = |(role, stage): &(Role, Stage)| {
        *role == Role::Init && matches!(stage, Stage::Ended { code } if *code != 0 && for_good(*role, *code))
    };
    all_ended || containers.iter().any(failed)
}

/// Those that end before the container at `index` is told to, when the whole pod ends: a sidecar outlives whatever
/// started after it.
///
/// Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_termination_order.go`.
pub(crate) fn ends_after(roles: &[Role], index: usize) -> std::ops::Range<usize> {
    if roles[index] == Role::Sidecar { index + 1..roles.len() } else { 0..0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `i`, `s` and `m` for the roles; after it `-` for new, `r` for running, `u` for up, or the exit code.
    fn containers(text: &str) -> Vec<(Role, Stage)> {
        let container = |word: &str| {
            let role = match &word[..1] {
                "i" => Role::Init,
                "s" => Role::Sidecar,
                _ => Role::Main,
            };
            let stage = match &word[1..] {
                "-" => Stage::New,
                "r" => Stage::Running { started: false },
                "u" => Stage::Running { started: true },
                code => Stage::Ended { code: code.parse().expect("an exit code") },
            };
            (role, stage)
        };
        text.split_whitespace().map(container).collect()
    }

    /// The numbers of the new containers that may start.
    fn next(text: &str) -> Vec<usize> {
        let containers = containers(text);
        let new = |index: &usize| containers[*index].1 == Stage::New;
        (0..containers.len()).filter(new).filter(|index| may_start(&containers, *index)).collect()
    }

    #[test]
    fn an_init_container_starts_when_the_one_before_it_is_done() {
        for (text, expected) in [
            ("m- m-", &[0, 1][..]),
            ("i- i- m-", &[0]),
            ("ir i- m-", &[]),
            ("iu i- m-", &[]),
            ("i1 i- m-", &[]),
            ("i0 i- m-", &[1]),
            ("i0 i0 m- m-", &[2, 3]),
            ("i0 ir m-", &[]),
            // A sidecar runs on; the next one waits until it has come up.
            ("s- i- m-", &[0]),
            ("sr i- m-", &[]),
            ("su i- m-", &[1]),
            ("su i0 m-", &[2]),
            ("i0 su m-", &[2]),
            ("i0 sr m-", &[]),
            ("i0 s1 m-", &[]),
            ("i0 s0 m-", &[]),
            // Only the last one counts: the sidecar before it has come up once.
            ("s1 i0 m-", &[2]),
            // Once an ordinary container has been started, the others need none of the init containers.
            ("sr mu m-", &[2]),
        ] {
            assert_eq!(next(text), expected, "{text}");
        }
    }

    #[test]
    fn what_has_been_started_once_may_start_again_whatever_the_others_do() {
        let containers = containers("s1 i1 m1");
        assert!((0..3).all(|index| may_start(&containers, index)));
    }

    #[test]
    fn the_restart_policy_is_that_of_ordinary_containers_and_init_containers_have_their_own() {
        use RestartPolicy::{Always, Never, OnFailure};
        for (role, policy, after_success, after_failure) in [
            (Role::Main, Always, true, true),
            (Role::Main, OnFailure, false, true),
            (Role::Main, Never, false, false),
            (Role::Init, Always, false, true),
            (Role::Init, OnFailure, false, true),
            (Role::Init, Never, false, false),
            (Role::Sidecar, Always, true, true),
            (Role::Sidecar, OnFailure, true, true),
            (Role::Sidecar, Never, true, true),
        ] {
            let again = (starts_again(role, policy, 0), starts_again(role, policy, 3));
            assert_eq!(again, (after_success, after_failure), "{role:?} {policy:?}");
        }
    }

    #[test]
    fn a_pod_is_over_when_its_ordinary_containers_are_or_an_init_container_has_failed_for_good() {
        use RestartPolicy::{Always, Never, OnFailure};
        for (text, policy, expected) in [
            ("m0", Always, false),
            ("m0", OnFailure, true),
            ("m0", Never, true),
            ("m3", OnFailure, false),
            ("m3", Never, true),
            ("m0 mu", Never, false),
            ("m0 m3", Never, true),
            ("su m0", Never, true),
            ("su mu", Never, false),
            ("i3 m-", Never, true),
            ("i3 m-", OnFailure, false),
            ("i0 m-", Never, false),
            ("s3 m-", Never, false),
        ] {
            assert_eq!(is_over(&containers(text), policy), expected, "{text} {policy:?}");
        }
    }

    #[test]
    fn sidecars_outlive_what_started_after_them() {
        let roles = [Role::Sidecar, Role::Init, Role::Sidecar, Role::Main, Role::Main];
        let after = |index| ends_after(&roles, index).collect::<Vec<_>>();
        assert_eq!(after(0), [1, 2, 3, 4]);
        assert_eq!(after(2), [3, 4]);
        assert_eq!(after(1), [0; 0]);
        assert_eq!(after(4), [0; 0]);
    }
}
