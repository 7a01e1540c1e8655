//! Which pods of a ReplicaSet go when it has too many.
//!
//! Source: kubernetes `pkg/controller/replicaset/replica_set.go` (`getPodsToDelete`) and
//! `pkg/controller/controller_utils.go` (`ActivePodsWithRanks`).

use std::cmp::Reverse;
use std::time::Duration;

use hermesh_istiod::objects::{Pod, PodPhase};

/// Pods that cost little to lose say so in this annotation.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// A pod of a ReplicaSet, and its place in its Deployment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) ordinal: u32,
    /// How many pods of the Deployment run on its node.
    pub(crate) neighbours: usize,
}

/// As many as are too many, from the one that is missed least: without a node, pending, unready, of a low deletion
/// cost, beside many others on its node, ready for a short time, often restarted, young. Times of readiness count by
/// their order of magnitude; where Kubernetes goes by UID then, which is chance, the place in the Deployment decides.
pub(crate) fn surplus<'a>(mut candidates: Vec<Candidate<'a>>, count: usize, now: Duration) -> Vec<&'a Pod> {
    candidates.sort_by_key(|candidate| {
        let Candidate { pod, ordinal, neighbours } = *candidate;
        let status = &pod.status;
        let ready_for = status.ready_since.map(|since| magnitude(now.saturating_sub(Duration::from_secs(since))));
        let least_missed = (
            pod.spec.node_name.is_some(),
            status.phase != PodPhase::Pending,
            status.ready,
            deletion_cost(pod),
            Reverse(neighbours),
        );
        (least_missed, ready_for, Reverse(restarts(pod)), Reverse(pod.metadata.creation_timestamp), Reverse(ordinal))
    });
    candidates.into_iter().take(count).map(|candidate| candidate.pod).collect()
}

fn magnitude(time: Duration) -> Option<u32> {
    time.as_nanos().checked_ilog2()
}

fn deletion_cost(pod: &Pod) -> i32 {
    pod.metadata.annotations.get(DELETION_COST).and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

/// Of the container that was restarted most often, then of the sidecar.
fn restarts(pod: &Pod) -> (u32, u32) {
    let most = |counts: &mut dyn Iterator<Item = u32>| counts.max().unwrap_or(0);
    let status = &pod.status;
    (
        most(&mut status.containers.iter().map(|container| container.restart_count)),
        most(&mut status.init_containers.iter().map(|container| container.restart_count)),
    )
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{ContainerState, ContainerStatus};

    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    /// A pod that runs, and has been ready for 100 s.
    fn pod(name: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.name = name.to_owned();
        pod.metadata.creation_timestamp = Some(800);
        pod.spec.node_name = Some("node".to_owned());
        pod.status.phase = PodPhase::Running;
        (pod.status.ready, pod.status.ready_since) = (true, Some(900));
        pod
    }

    fn restarted(restart_count: u32) -> ContainerStatus {
        let state = ContainerState::Waiting { reason: String::new() };
        ContainerStatus { name: "app".to_owned(), ready: true, started: true, restart_count, state, last_state: None }
    }

    fn first(pods: &[(&Pod, usize)]) -> String {
        let candidates = pods.iter().zip(0..);
        let candidates =
            candidates.map(|(&(pod, neighbours), ordinal)| Candidate { pod, ordinal, neighbours }).collect();
        surplus(candidates, 1, NOW)[0].metadata.name.clone()
    }

    /// Each of these is missed less than any after it, whichever place it has.
    #[test]
    fn of_two_the_one_that_is_missed_less_goes() {
        let with = |name: &str, change: fn(&mut Pod)| {
            let mut pod = pod(name);
            change(&mut pod);
            pod
        };
        let unready = |pod: &mut Pod| (pod.status.ready, pod.status.ready_since) = (false, None);
        let cheap = |pod: &mut Pod| {
            pod.metadata.annotations.insert(DELETION_COST.to_owned(), "-1".to_owned());
        };
        let pods = [
            (with("without a node", |pod| pod.spec.node_name = None), 1),
            (with("pending", |pod| pod.status.phase = PodPhase::Pending), 1),
            (with("unready", unready), 1),
            (with("cheap", cheap), 1),
            (with("beside two others", |_| {}), 3),
            (with("ready for a second", |pod| pod.status.ready_since = Some(999)), 1),
            (with("restarted twice", |pod| pod.status.containers = vec![restarted(2)]), 1),
            (with("with a restarted sidecar", |pod| pod.status.init_containers = vec![restarted(1)]), 1),
            (with("young", |pod| pod.metadata.creation_timestamp = Some(850)), 1),
            (with("of nothing special", |_| {}), 1),
        ];
        for (index, (pod, rank)) in pods.iter().enumerate() {
            for (other, other_rank) in &pods[index + 1..] {
                let name = &pod.metadata.name;
                assert_eq!(first(&[(pod, *rank), (other, *other_rank)]), *name, "{}", other.metadata.name);
                assert_eq!(first(&[(other, *other_rank), (pod, *rank)]), *name, "{}", other.metadata.name);
            }
        }
    }

    #[test]
    fn of_equal_ones_the_last_goes() {
        assert_eq!(first(&[(&pod("a"), 1), (&pod("b"), 1)]), "b");
    }
}
