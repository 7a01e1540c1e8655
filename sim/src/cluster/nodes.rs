//! What the cluster makes of nodes that are not heard of any more: it takes them for not ready and their pods too, and
//! deletes those after a while.
//!
//! Source: kubernetes `pkg/controller/nodelifecycle/node_lifecycle_controller.go` (`monitorNodeHealth`),
//! `pkg/controller/tainteviction/taint_eviction.go`, `pkg/controller/podgc/gc_controller.go` (`gcOrphaned`), and for
//! the times their options and `plugin/pkg/admission/defaulttolerationseconds/admission.go`.

use std::sync::Arc;
use std::time::Duration;

use hermesh_istiod::objects::{Object, ObjectKey, Pod};
use hermesh_runtime::EventId;

use super::Cluster;
use super::events::{NodeNotReady, PodCollected, PodEvicted};
use super::kubelet::nodes::{key, with_ready};

/// `--node-monitor-grace-period` of kube-controller-manager, since 1.32; before, it was 40 s.
const GRACE: Duration = Duration::from_secs(50);
/// How long before its end a kubelet may have been heard of last, in milliseconds: it renews its lease every 10 s.
const LEASE_MS: u64 = 10_000;
/// How long after the grace period the controller may look, in milliseconds: `--node-monitor-period`.
const MONITOR_MS: u64 = 5_000;
/// The taint of nodes that are not heard of, and its effect.
const UNREACHABLE: (&str, &str) = ("node.kubernetes.io/unreachable", "NoExecute");
/// For how long pods bear that taint unless they say (`DefaultTolerationSeconds`).
const TOLERATION: Duration = Duration::from_secs(300);

/// How long a node has to be gone before its pods are collected (`quarantineTime` of the pod garbage collector).
const QUARANTINE: Duration = Duration::from_secs(40);
/// How long after a node went the collector may see it, and how long after the quarantine it may act, in milliseconds:
/// it looks every 20 s.
const COLLECTION_MS: u64 = 20_000;

impl Cluster {
    /// Turns off the power of a node that has it. Its pods vanish, and after a while the cluster learns of it.
    pub(crate) fn power_off(&self, node: usize, cause: Option<EventId>) {
        let number = self.kubelet.power_off(node, cause);
        let name = self.kubelet.nodes()[node].clone();
        let mut draws = self.world.runtime().draws(&format!("node/{name}/outage/{number}"));
        let (heard, looks) = (draws.between(0, LEASE_MS), draws.between(0, MONITOR_MS));
        let grace = GRACE - Duration::from_millis(heard) + Duration::from_millis(looks);
        let cluster = self.clone();
        self.world.runtime().spawn("nodes", async move {
            tokio::select! {
                biased;
                () = cluster.end_of_outage(node, number) => {}
                () = cluster.give_up(node, number, &name, grace) => {}
            }
        });
    }

    /// Turns it on again.
    pub(crate) fn power_on(&self, node: usize, cause: Option<EventId>) {
        self.kubelet.power_on(node, cause);
    }

    /// Lets go of the pods of a node that is none of the cluster's any more.
    pub(super) fn collect(&self, node: &str, uid: &str, cause: Option<EventId>) {
        let Some(index) = self.kubelet.nodes().iter().position(|name| name == node) else { return };
        let mut draws = self.world.runtime().draws(&format!("node/{node}/gone/{uid}"));
        let looks = draws.between(0, COLLECTION_MS) + draws.between(0, COLLECTION_MS);
        let (cluster, node) = (self.clone(), node.to_owned());
        self.world.runtime().spawn("podgc", async move {
            tokio::time::sleep(QUARANTINE + Duration::from_millis(looks)).await;
            if cluster.store.contains(&key(&node)) {
                return;
            }
            for pod in cluster.kubelet.pods_on(index) {
                let collected = PodCollected { pod: format!("{}/{}", pod.namespace, pod.name), node: node.clone() };
                let event = cluster.world.emit("cluster", cause, collected).or(cause);
                cluster.kubelet.forget(&pod, event);
            }
        });
    }

    async fn end_of_outage(&self, node: usize, number: u64) {
        let mut power = self.kubelet.power();
        while self.kubelet.outage(node, number).is_some() {
            power.raised().await;
        }
    }

    async fn give_up(&self, node: usize, number: u64, name: &str, grace: Duration) {
        tokio::time::sleep(grace).await;
        let Some(outage) = self.kubelet.outage(node, number) else { return };
        let lost = self.world.emit("cluster", outage, NodeNotReady { node: name.to_owned() }).or(outage);
        self.store.modify(&key(name), lost, |object| *object = with_ready(object.clone(), false));
        let mut pods: Vec<(Option<Duration>, ObjectKey)> = Vec::new();
        for pod in self.kubelet.pods_on(node) {
            self.store.modify(&pod, lost, |object| {
                if let Object::Pod(pod) = object {
                    let status = &mut Arc::make_mut(pod).status;
                    (status.ready, status.ready_since) = (false, None);
                }
            });
            if let Some(Object::Pod(found)) = self.store.get(&pod) {
                pods.push((patience(&found), pod));
            }
        }
        pods.sort();
        let began = tokio::time::Instant::now();
        for (patience, pod) in pods {
            let Some(patience) = patience else { continue };
            tokio::time::sleep_until(began + patience).await;
            self.evict(&pod, name, lost);
        }
    }

    fn evict(&self, pod: &ObjectKey, node: &str, cause: Option<EventId>) {
        let Some(object) = self.store.get(pod) else { return };
        if object.metadata().deletion_timestamp.is_none() {
            let evicted = PodEvicted { pod: format!("{}/{}", pod.namespace, pod.name), node: node.to_owned() };
            let event = self.world.emit("cluster", cause, evicted).or(cause);
            self.pods.delete(pod, event);
        }
    }
}

/// How long a pod stays on a node that is not heard of; `None` means for ever.
fn patience(pod: &Pod) -> Option<Duration> {
    let (taint, effect) = UNREACHABLE;
    let bears: Vec<_> = pod.spec.tolerations.iter().filter(|toleration| toleration.bears(taint, effect)).collect();
    if bears.is_empty() {
        return Some(TOLERATION);
    }
    let seconds = bears.iter().filter_map(|toleration| toleration.toleration_seconds).min()?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::Toleration;

    use super::*;

    #[test]
    fn a_pod_bears_the_loss_of_its_node_for_as_long_as_it_says() {
        let toleration = |key: &str, operator: Option<&str>, effect: &str, seconds: Option<i64>| Toleration {
            key: key.to_owned(),
            operator: operator.map(str::to_owned),
            effect: effect.to_owned(),
            toleration_seconds: seconds,
            ..Toleration::default()
        };
        let (taint, exists) = (UNREACHABLE.0, Some("Exists"));
        for (tolerations, expected) in [
            (vec![], Some(300)),
            (vec![toleration("dedicated", exists, "", None)], Some(300)),
            (vec![toleration(taint, exists, "NoSchedule", None)], Some(300)),
            (vec![toleration(taint, exists, "NoExecute", Some(30))], Some(30)),
            // The taint has no value, so that `Equal` without one matches it too.
            (vec![toleration(taint, None, "", Some(30))], Some(30)),
            (vec![toleration("", exists, "", None)], None),
            (vec![toleration("", None, "", None)], Some(300)),
            (vec![toleration("", exists, "", None), toleration(taint, exists, "", Some(7))], Some(7)),
            (vec![toleration(taint, exists, "", Some(-1))], Some(0)),
        ] {
            let mut pod = Pod::default();
            pod.spec.tolerations.clone_from(&tolerations);
            assert_eq!(patience(&pod), expected.map(Duration::from_secs), "{tolerations:?}");
        }
    }
}
