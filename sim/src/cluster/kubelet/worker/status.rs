//! What a worker says about its pod.

use std::sync::Arc;

use hermesh_istiod::objects::{ContainerStatus, Object, PodStatus};
use hermesh_runtime::EventId;

use super::Worker;
use super::slot::{Misconfigured, Slot};
use crate::cluster::events::PodStatusChanged;
use crate::cluster::kubectl;
use crate::cluster::kubelet::order::{self, Role};
use crate::cluster::kubelet::probe::{Purpose, Verdict};
use crate::engine::ContainerId;

impl Worker {
    pub(super) fn probed(
        &mut self,
        index: usize,
        id: ContainerId,
        purpose: Purpose,
        verdict: Verdict,
        cause: Option<EventId>,
    ) {
        let slot = &mut self.slots[index];
        if slot.run.as_ref().is_none_or(|run| run.id != id) {
            return;
        }
        match (purpose, verdict) {
            (Purpose::Startup, Verdict::Passing) => {
                slot.started = true;
                slot.ready = slot.container.readiness_probe.is_none();
            }
            (Purpose::Readiness, verdict) => slot.ready = verdict == Verdict::Passing,
            (Purpose::Startup | Purpose::Liveness, Verdict::Failing) => self.stop(index, self.grace(), cause),
            (Purpose::Liveness, Verdict::Passing) => {}
        }
        self.publish(cause);
    }

    /// What volumes and containers lack before they can be made.
    fn waits_for(&self) -> Option<String> {
        let containers = self.slots.iter().filter_map(|slot| {
            let Misconfigured { reason, .. } = slot.misconfigured.as_ref()?;
            Some(format!("{}: {reason}", slot.container.name))
        });
        let reasons: Vec<String> = self.unfilled.iter().cloned().chain(containers).collect();
        (!reasons.is_empty()).then(|| reasons.join(", "))
    }

    /// Writes the pod's status into the store, if it is another than before.
    pub(super) fn publish(&mut self, cause: Option<EventId>) {
        if self.node.is_none() {
            // No kubelet tells of it.
            return;
        }
        let stages = self.stages();
        let mains = self.slots.iter().position(|slot| slot.role == Role::Main).unwrap_or(self.slots.len());
        let (init, mains) = self.slots.split_at(mains);
        let containers: Vec<ContainerStatus> = mains.iter().map(Slot::status).collect();
        let sidecars = init.iter().filter(|slot| slot.role == Role::Sidecar);
        let ready = mains.iter().chain(sidecars).all(|slot| slot.ready) && self.pod.closed_gates().next().is_none();
        // As long as anything runs, the pod has not come to its end.
        let ended =
            order::is_over(&stages, self.pod.spec.restart_policy) && self.slots.iter().all(|slot| slot.run.is_none());
        let start_time = self.pod.status.start_time.or_else(|| Some(self.shared.world.wall().as_secs()));
        let status = PodStatus {
            phase: kubectl::phase(&containers, ended),
            reason: None,
            message: self.waits_for(),
            pod_ip: self.net.map(|(_, address)| address),
            host_ip: Some(self.host_ip()),
            initialized: self.pod.status.initialized || order::is_initialized(&stages),
            ready,
            ready_since: None,
            conditions: self.pod.status.conditions.clone(),
            start_time,
            init_containers: init.iter().map(Slot::status).collect(),
            containers,
        };
        self.pod.status = status.clone();
        let shown = (kubectl::ready(&self.pod), kubectl::status(&self.pod), kubectl::restarts(&self.pod));
        let mut event = cause;
        if self.shown.as_ref() != Some(&shown) {
            let (ready, status, restarts) = shown.clone();
            event = self.emit(cause, PodStatusChanged { pod: self.path(), ready, status, restarts }).or(cause);
            self.shown = Some(shown);
        }
        let node = self.node_name();
        let now = self.shared.world.wall().as_secs();
        self.shared.store.modify(&self.key, event, |object| {
            if let Object::Pod(pod) = object {
                let pod = Arc::make_mut(pod);
                let conditions = std::mem::take(&mut pod.status.conditions);
                let ready_since = status.ready.then(|| pod.status.ready_since.unwrap_or(now));
                pod.status = PodStatus { conditions, ready_since, ..status };
                pod.spec.node_name.get_or_insert_with(|| node.to_string());
            }
        });
    }
}
