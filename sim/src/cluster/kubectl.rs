//! What `kubectl get pods` prints.
//!
//! Source: kubernetes `pkg/printers/internalversion/printers.go` (`printPod`) and `apimachinery/pkg/util/duration`.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_istiod::objects::{Container, ContainerState, ContainerStatus, Pod, PodPhase};

use crate::mesh::ContainerExit;

/// What the columns READY, STATUS and RESTARTS are made from.
struct Columns {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: u32,
}

/// The column READY: `2/2`.
pub(crate) fn ready(pod: &Pod) -> String {
    let Columns { ready, containers, .. } = columns(pod);
    format!("{ready}/{containers}")
}

/// The column STATUS.
pub(crate) fn status(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() { "Terminating".to_owned() } else { columns(pod).reason }
}

/// The column RESTARTS: while init containers are at work theirs, then those of sidecars and ordinary containers.
pub(crate) fn restarts(pod: &Pod) -> u32 {
    columns(pod).restarts
}

fn columns(pod: &Pod) -> Columns {
    let is_sidecar = |index: usize| pod.spec.init_containers.get(index).is_some_and(Container::is_sidecar);
    let init = &pod.status.init_containers;
    let sidecars = || (0..pod.spec.init_containers.len()).filter(|index| is_sidecar(*index));
    let mut columns = Columns {
        ready: 0,
        containers: pod.spec.containers.len() + sidecars().count(),
        reason: pod.status.reason.clone().unwrap_or_else(|| format!("{:?}", pod.status.phase)),
        restarts: 0,
    };
    let mut initializing = false;
    // The first init container that is not done says what is going on.
    for (index, container) in init.iter().enumerate() {
        columns.restarts += container.restart_count;
        columns.reason = match &container.state {
            ContainerState::Terminated { exit_code: 0, .. } => continue,
            _ if is_sidecar(index) && container.started => {
                columns.ready += usize::from(container.ready);
                continue;
            }
            ContainerState::Terminated { exit_code, reason } if reason.is_empty() => {
                format!("Init:ExitCode:{exit_code}")
            }
            ContainerState::Terminated { reason, .. } => format!("Init:{reason}"),
            ContainerState::Waiting { reason } if reason != "PodInitializing" => format!("Init:{reason}"),
            ContainerState::Waiting { .. } | ContainerState::Running => {
                format!("Init:{index}/{}", pod.spec.init_containers.len())
            }
        };
        initializing = true;
        break;
    }
    if initializing && !pod.status.initialized {
        return columns;
    }
    columns.restarts = sidecars().filter_map(|index| init.get(index)).map(|sidecar| sidecar.restart_count).sum();
    let mut running = false;
    // From the last to the first: the first container that has something to say says it.
    for container in pod.status.containers.iter().rev() {
        columns.restarts += container.restart_count;
        match &container.state {
            ContainerState::Waiting { reason } => columns.reason.clone_from(reason),
            ContainerState::Terminated { exit_code, reason } if reason.is_empty() => {
                columns.reason = format!("ExitCode:{exit_code}");
            }
            ContainerState::Terminated { reason, .. } => columns.reason.clone_from(reason),
            ContainerState::Running => {
                columns.ready += usize::from(container.ready);
                running |= container.ready;
            }
        }
    }
    if columns.reason == "Completed" && running {
        columns.reason = if pod.status.ready { "Running".to_owned() } else { "NotReady".to_owned() };
    }
    columns
}

/// How each container's last run ended, of those that have ended: what `kubectl describe pod` shows.
pub(crate) fn exits(pod: &Pod) -> BTreeMap<String, ContainerExit> {
    let ended = |state: &ContainerState| match state {
        ContainerState::Terminated { exit_code, reason } => {
            Some(ContainerExit { code: *exit_code, reason: reason.clone() })
        }
        _ => None,
    };
    let exits = all(pod).filter_map(|container| {
        let exit = ended(&container.state).or_else(|| container.last_state.as_ref().and_then(ended));
        Some((container.name.clone(), exit?))
    });
    exits.collect()
}

/// A pod in a message about what it lacks: `web-0 is 1/2 CrashLoopBackOff (app: Error, exit code 3)`.
pub(crate) fn described(pod: &Pod) -> String {
    let (name, ready, status) = (&pod.metadata.name, ready(pod), status(pod));
    let not_ready = all(pod).filter(|container| !container.ready).map(|container| &container.name);
    let exits = exits(pod);
    let ended = not_ready.filter_map(|name| exits.get(name).map(|exit| format!("{name}: {exit}")));
    let gates = pod.closed_gates().map(|gate| format!("readiness gate {gate} is not met"));
    // The kubelet says that all is well, and the cluster does not believe it any more.
    let lost = !pod.status.ready && all(pod).all(|container| container.ready) && all(pod).next().is_some();
    let node = pod.spec.node_name.as_ref().filter(|_| lost && pod.closed_gates().next().is_none());
    let lost = node.map(|node| format!("{node} is not heard of"));
    let waits = pod.status.message.clone();
    match ended.chain(gates).chain(lost).chain(waits).collect::<Vec<_>>().join(", ") {
        why if why.is_empty() => format!("{name} is {ready} {status}"),
        why => format!("{name} is {ready} {status} ({why})"),
    }
}

/// Init containers, then the others.
fn all(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.init_containers.iter().chain(&pod.status.containers)
}

/// How far a pod is, from its ordinary containers. `ended` tells whether it has nothing left to do and nothing runs.
///
/// Source: kubernetes `pkg/kubelet/kubelet_pods.go` (`getPhase`) and `pkg/kubelet/status/status_manager.go`
/// (`mergePodStatus`), which holds the last phase back while anything runs.
pub(crate) fn phase(containers: &[ContainerStatus], ended: bool) -> PodPhase {
    let fresh = |state: &ContainerState, count| matches!(state, ContainerState::Waiting { .. }) && count == 0;
    let succeeded = |state: &ContainerState| matches!(state, ContainerState::Terminated { exit_code: 0, .. });
    if ended {
        let all = containers.iter().all(|container| succeeded(&container.state));
        if all { PodPhase::Succeeded } else { PodPhase::Failed }
    } else if containers.iter().any(|container| fresh(&container.state, container.restart_count)) {
        PodPhase::Pending
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
    use hermesh_istiod::objects::ContainerRestartPolicy;

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
            pod.status.phase = phase(&containers, false);
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
        pod.status.message = Some("configmap \"a\" not found".to_owned());
        assert_eq!(described(&pod), "web-0 is 0/1 ContainerCreating (configmap \"a\" not found)");
    }

    /// A pod whose init containers are named by what they are, `i` or `s` for a sidecar, and whose one ordinary
    /// container is `main`.
    fn initialising(init: &[(char, ContainerStatus)], main: ContainerStatus, initialized: bool) -> Pod {
        let mut pod = Pod::default();
        for (role, status) in init {
            let restart_policy = (*role == 's').then_some(ContainerRestartPolicy::Always);
            pod.spec.init_containers.push(Container { restart_policy, ..Container::default() });
            pod.status.init_containers.push(status.clone());
        }
        pod.spec.containers = vec![Container::default()];
        pod.status.phase = phase(std::slice::from_ref(&main), false);
        pod.status.containers = vec![main];
        pod.status.initialized = initialized;
        pod
    }

    #[test]
    fn init_containers_are_shown_until_they_are_done_and_sidecars_count_as_containers() {
        use ContainerState::Running;
        let fresh = || container(waiting("PodInitializing"), false, 0);
        let up = || container(Running, true, 0);
        let done = || container(ended(0), true, 0);
        let coming = || container(Running, false, 0);
        for (init, main, initialized, expected) in [
            (vec![('i', fresh()), ('i', fresh())], fresh(), false, "0/1 Init:0/2 0"),
            (vec![('i', coming()), ('i', fresh())], fresh(), false, "0/1 Init:0/2 0"),
            (vec![('i', done()), ('i', coming())], fresh(), false, "0/1 Init:1/2 0"),
            (vec![('i', container(ended(3), false, 1)), ('i', fresh())], fresh(), false, "0/1 Init:Error 1"),
            (
                vec![('i', container(waiting("CrashLoopBackOff"), false, 2))],
                fresh(),
                false,
                "0/1 Init:CrashLoopBackOff 2",
            ),
            (vec![('i', container(waiting("ErrImagePull"), false, 0))], fresh(), false, "0/1 Init:ErrImagePull 0"),
            (vec![('i', container(ended(0), true, 4))], fresh(), true, "0/1 PodInitializing 0"),
            (vec![('i', container(ended(0), true, 4))], up(), true, "1/1 Running 0"),
            (vec![('s', coming()), ('i', fresh())], fresh(), false, "0/2 Init:0/2 0"),
            (vec![('s', up()), ('i', coming())], fresh(), false, "1/2 Init:1/2 0"),
            (vec![('s', container(Running, true, 3)), ('i', done())], up(), true, "2/2 Running 3"),
            // One that crashes later is shown as long as the others have nothing to say.
            (vec![('s', container(waiting("CrashLoopBackOff"), false, 3))], up(), true, "1/2 Init:CrashLoopBackOff 3"),
            (vec![('s', up())], container(ended(0), false, 0), true, "1/2 Completed 0"),
            (vec![('s', container(ended(137), false, 0))], container(ended(0), false, 0), true, "0/2 Completed 0"),
        ] {
            let mut pod = initialising(&init, main, initialized);
            for status in &mut pod.status.init_containers {
                // A sidecar counts once it has come up.
                status.started = status.ready;
            }
            assert_eq!(format!("{} {} {}", ready(&pod), status(&pod), restarts(&pod)), expected);
        }
    }

    #[test]
    fn the_phase_follows_from_the_containers() {
        use ContainerState::Running;
        let fresh = container(waiting("ContainerCreating"), false, 0);
        for (containers, ended, expected) in [
            (vec![container(Running, true, 0), fresh.clone()], false, PodPhase::Pending),
            (vec![container(ended(0), false, 0)], false, PodPhase::Running),
            (vec![container(ended(0), false, 0)], true, PodPhase::Succeeded),
            (vec![container(ended(0), false, 0), container(ended(3), false, 0)], true, PodPhase::Failed),
            (vec![container(waiting("CrashLoopBackOff"), false, 1)], false, PodPhase::Running),
            // An init container has failed for good.
            (vec![fresh], true, PodPhase::Failed),
        ] {
            assert_eq!(phase(&containers, ended), expected, "{containers:?}");
        }
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
