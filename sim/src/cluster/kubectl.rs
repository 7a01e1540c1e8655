//! What `kubectl get pods` prints.
//!
//! Source: kubernetes `pkg/printers/internalversion/printers.go` (`printPod`) and `apimachinery/pkg/util/duration`.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_istiod::objects::{ContainerState, Pod, PodPhase};

use crate::mesh::ContainerExit;

/// The column READY: `2/2`.
pub(crate) fn ready(pod: &Pod) -> String {
    let ready = pod.status.containers.iter().filter(|container| container.ready).count();
    format!("{ready}/{}", pod.spec.containers.len())
}

/// The column STATUS.
pub(crate) fn status(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let mut reason = pod.status.reason.clone().unwrap_or_else(|| format!("{:?}", pod.status.phase));
    let mut running = false;
    // From the last to the first: the first container that has something to say says it.
    for container in pod.status.containers.iter().rev() {
        match &container.state {
            ContainerState::Waiting { reason: why } => reason.clone_from(why),
            ContainerState::Terminated { exit_code, reason: why } if why.is_empty() => {
                reason = format!("ExitCode:{exit_code}");
            }
            ContainerState::Terminated { reason: why, .. } => reason.clone_from(why),
            ContainerState::Running => running |= container.ready,
        }
    }
    match reason.as_str() {
        "Completed" if running && pod.status.ready => "Running".to_owned(),
        "Completed" if running => "NotReady".to_owned(),
        _ => reason,
    }
}

/// How each container's last run ended, of those that have ended: what `kubectl describe pod` shows.
pub(crate) fn exits(pod: &Pod) -> BTreeMap<String, ContainerExit> {
    let ended = |state: &ContainerState| match state {
        ContainerState::Terminated { exit_code, reason } => {
            Some(ContainerExit { code: *exit_code, reason: reason.clone() })
        }
        _ => None,
    };
    let exits = pod.status.containers.iter().filter_map(|container| {
        let exit = ended(&container.state).or_else(|| container.last_state.as_ref().and_then(ended));
        Some((container.name.clone(), exit?))
    });
    exits.collect()
}

/// A pod in a message about what it lacks: `web-0 is 1/2 CrashLoopBackOff (app: Error, exit code 3)`.
pub(crate) fn described(pod: &Pod) -> String {
    let (name, ready, status) = (&pod.metadata.name, ready(pod), status(pod));
    let not_ready = pod.status.containers.iter().filter(|container| !container.ready).map(|container| &container.name);
    let exits = exits(pod);
    let ended = not_ready.filter_map(|name| exits.get(name).map(|exit| format!("{name}: {exit}")));
    match ended.collect::<Vec<_>>().join(", ") {
        ended if ended.is_empty() => format!("{name} is {ready} {status}"),
        ended => format!("{name} is {ready} {status} ({ended})"),
    }
}

/// The column RESTARTS.
pub(crate) fn restarts(pod: &Pod) -> u32 {
    pod.status.containers.iter().map(|container| container.restart_count).sum()
}

/// How far a pod is, from its containers. `restarts` tells whether those that ended will run again.
///
/// Source: kubernetes `pkg/kubelet/kubelet_pods.go` (`getPhase`).
pub(crate) fn phase(containers: &[hermesh_istiod::objects::ContainerStatus], restarts: bool) -> PodPhase {
    let fresh = |state: &ContainerState, count| matches!(state, ContainerState::Waiting { .. }) && count == 0;
    let mut ended = containers.iter().filter_map(|container| match &container.state {
        ContainerState::Terminated { exit_code, .. } => Some(*exit_code),
        _ => None,
    });
    let all_ended = ended.clone().count() == containers.len();
    if containers.iter().any(|container| fresh(&container.state, container.restart_count)) {
        PodPhase::Pending
    } else if all_ended && !restarts {
        if ended.all(|code| code == 0) { PodPhase::Succeeded } else { PodPhase::Failed }
    } else {
        PodPhase::Running
    }
}

/// A span of time as kubectl shows ages: `58s`, `2m14s`, `10m`, `3h5m`, `2d`.
pub(crate) fn human_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let with_rest = |whole: u64, unit: &str, rest: u64, rest_unit: &str| match rest {
        0 => format!("{whole}{unit}"),
        rest => format!("{whole}{unit}{rest}{rest_unit}"),
    };
    match () {
        () if seconds < 120 => format!("{seconds}s"),
        () if minutes < 10 => with_rest(minutes, "m", seconds % 60, "s"),
        () if hours < 3 => format!("{minutes}m"),
        () if hours < 8 => with_rest(hours, "h", minutes % 60, "m"),
        () if hours < 48 => format!("{hours}h"),
        () if days < 8 => with_rest(days, "d", hours % 24, "h"),
        () => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{Container, ContainerStatus};

    use super::*;

    fn container(state: ContainerState, ready: bool, restart_count: u32) -> ContainerStatus {
        ContainerStatus { name: "app".to_owned(), ready, started: ready, restart_count, state, last_state: None }
    }

    fn waiting(reason: &str) -> ContainerState {
        ContainerState::Waiting { reason: reason.to_owned() }
    }

    fn ended(exit_code: i32) -> ContainerState {
        let reason = if exit_code == 0 { "Completed" } else { "Error" };
        ContainerState::Terminated { exit_code, reason: reason.to_owned() }
    }

    #[test]
    fn columns_tell_what_the_containers_do() {
        use ContainerState::Running;
        for (containers, expected) in [
            (vec![container(waiting("ContainerCreating"), false, 0); 2], "0/2 ContainerCreating 0"),
            (
                vec![container(Running, true, 0), container(waiting("ContainerCreating"), false, 0)],
                "1/2 ContainerCreating 0",
            ),
            (vec![container(Running, true, 0), container(Running, false, 0)], "1/2 Running 0"),
            (vec![container(Running, true, 1), container(Running, true, 2)], "2/2 Running 3"),
            (
                vec![container(waiting("CrashLoopBackOff"), false, 3), container(Running, true, 0)],
                "1/2 CrashLoopBackOff 3",
            ),
            (vec![container(ended(1), false, 0), container(ended(0), false, 0)], "0/2 Error 0"),
            (vec![container(ended(0), false, 0), container(Running, true, 0)], "1/2 NotReady 0"),
        ] {
            let mut pod = Pod::default();
            pod.spec.containers = vec![Container::default(); containers.len()];
            pod.status.phase = phase(&containers, true);
            pod.status.containers = containers;
            assert_eq!(format!("{} {} {}", ready(&pod), status(&pod), restarts(&pod)), expected);
        }
    }

    #[test]
    fn how_a_container_ended_is_told_while_it_waits_for_its_next_run() {
        let mut pod = Pod::default();
        pod.metadata.name = "web-0".to_owned();
        pod.spec.containers = vec![Container::default()];
        pod.status.containers = vec![container(ended(3), false, 0)];
        assert_eq!(described(&pod), "web-0 is 0/1 Error (app: Error, exit code 3)");
        let waits =
            ContainerStatus { last_state: Some(ended(255)), ..container(waiting("CrashLoopBackOff"), false, 2) };
        pod.status.containers = vec![waits];
        assert_eq!(described(&pod), "web-0 is 0/1 CrashLoopBackOff (app: Error, exit code 255)");
        pod.status.containers = vec![container(waiting("ContainerCreating"), false, 0)];
        assert_eq!(described(&pod), "web-0 is 0/1 ContainerCreating");
    }

    #[test]
    fn the_phase_follows_from_the_containers() {
        use ContainerState::Running;
        let phases = |containers: &[ContainerStatus]| (phase(containers, true), phase(containers, false));
        let fresh = container(waiting("ContainerCreating"), false, 0);
        assert_eq!(phases(&[container(Running, true, 0), fresh]), (PodPhase::Pending, PodPhase::Pending));
        assert_eq!(phases(&[container(ended(0), false, 0)]), (PodPhase::Running, PodPhase::Succeeded));
        assert_eq!(phases(&[container(ended(0), false, 0), container(ended(3), false, 0)]).1, PodPhase::Failed);
        assert_eq!(phases(&[container(waiting("CrashLoopBackOff"), false, 1)]), (PodPhase::Running, PodPhase::Running));
    }

    #[test]
    fn ages_are_written_as_kubectl_writes_them() {
        for (seconds, expected) in [
            (0, "0s"),
            (58, "58s"),
            (119, "119s"),
            (120, "2m"),
            (134, "2m14s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (11_100, "3h5m"),
            (28_800, "8h"),
            (172_800, "2d"),
            (176_400, "2d1h"),
            (691_200, "8d"),
        ] {
            assert_eq!(human_duration(Duration::from_secs(seconds)), expected, "{seconds} s");
        }
    }
}
