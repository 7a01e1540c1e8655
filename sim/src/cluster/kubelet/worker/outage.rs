//! A pod and its node: how it gets one, and what becomes of it when that loses power.
//!
//! Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_manager.go` (`computePodActions`): after a reboot the
//! sandbox is gone, and the pod gets another one, with another address, in which all begins anew.

use std::net::IpAddr;
use std::sync::Arc;

use hermesh_istiod::objects::ContainerState;
use hermesh_runtime::EventId;
use tokio::time::Instant;

use super::slot::Ended;
use super::{Interrupted, Message, Worker};
use crate::cluster::events::{PodScheduled, PodWaits};
use crate::cluster::kubelet::backoff::Backoff;
use crate::cluster::kubelet::order::{self, Role};

/// The exit code of containers of which the container runtime only knows that they are gone, and what it calls that.
const UNKNOWN: (i32, &str) = (255, "Unknown");

impl Worker {
    /// Waits for a node that takes the pod, and for that to have power.
    pub(super) async fn bind(&mut self) -> Result<(), Interrupted> {
        let mut changes = self.shared.nodes_changed.listen();
        while self.node.is_none() {
            match self.shared.schedule(&self.pod) {
                Ok(node) => self.assign(node),
                Err(reason) => {
                    let waits = PodWaits { pod: self.path(), reason };
                    self.cause = self.shared.world.emit("cluster", self.cause, waits).or(self.cause);
                    self.meanwhile(changes.raised()).await?;
                }
            }
        }
        if self.shared.is_on(self.node()) { Ok(()) } else { Err(Interrupted::PowerOff) }
    }

    fn assign(&mut self, node: usize) {
        self.node = Some(node);
        let scheduled = PodScheduled { pod: self.path(), node: self.node_name().to_string() };
        self.cause = self.shared.world.emit("cluster", self.cause, scheduled).or(self.cause);
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.node = Some(node);
        }
    }

    /// Nothing runs and nobody tells of it, until the node has power again. Then the kubelet finds that all containers
    /// are gone.
    pub(super) async fn outage(&mut self) {
        for run in self.slots.iter_mut().filter_map(|slot| slot.run.as_mut()) {
            run.probes.clear();
        }
        let cause = loop {
            match self.inbox.recv().await.expect("the worker holds a sender of its own") {
                Message::PowerOn { cause } => break cause,
                Message::Delete { at, grace, cause } if self.deletion.is_none() => {
                    self.deletion = Some((Instant::now() + grace, cause));
                    self.pod.metadata.deletion_timestamp = Some(at);
                }
                Message::Forget { cause } => {
                    self.deletion = Some((Instant::now(), cause));
                    self.slots.iter_mut().for_each(|slot| slot.run = None);
                    return;
                }
                Message::Conditions { conditions, .. } => self.pod.status.conditions = conditions,
                Message::Tokens { tokens, cause } => self.set_tokens(tokens, cause),
                _ => {}
            }
        };
        self.cause = cause;
        for index in 0..self.slots.len() {
            self.find_gone(index, cause);
        }
        if self.deletion.is_none() {
            self.end_if_over(cause);
        }
        if self.deletion.is_none() && !self.over {
            self.leave_network(cause);
        }
        self.publish(cause);
    }

    /// The sandbox is gone, and its address with it: the next one gets another. What was wrong with its links is over
    /// with them, and the node that has begun anew has the right time.
    fn leave_network(&mut self, cause: Option<EventId>) {
        let Some((net, address)) = self.net.take() else { return };
        let world = &self.shared.world;
        world.remove_pod(net, cause);
        world.mend_all(net, cause);
        if world.clock_skew(net) != 0 {
            world.set_clock_skew(net, 0, cause);
        }
        self.left.push(address);
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.net = None;
        }
    }

    /// What is known of a container after a reboot: if it ran, that it does not any more.
    fn find_gone(&mut self, index: usize, cause: Option<EventId>) {
        let (code, reason) = UNKNOWN;
        let (policy, stays) = (self.pod.spec.restart_policy, self.deletion.is_some() || self.over);
        let slot = &mut self.slots[index];
        let began = slot.run.is_some() || slot.ended.is_some();
        if slot.run.take().is_some() {
            slot.ended = Some(Ended { at: Instant::now(), code, event: cause });
            slot.enter(ContainerState::Terminated { exit_code: code, reason: reason.to_owned() });
        }
        // The kubelet that has just started knows of no earlier failures.
        (slot.ready, slot.started, slot.backoff) = (false, false, Backoff::default());
        (slot.pull, slot.misconfigured) = (None, None);
        let again = |ended: Ended| slot.role == Role::Init || order::starts_again(slot.role, policy, ended.code);
        slot.wanted = !stays && slot.ended.is_none_or(again);
        if slot.wanted {
            // In a new sandbox everything comes in its order, init containers first.
            slot.ended = None;
            slot.restarts += u32::from(began);
        }
    }

    /// Whether the pod has a node that has power.
    pub(super) fn has_power(&self) -> bool {
        self.node.is_some_and(|node| self.shared.is_on(node))
    }

    /// The node. A pod has one before anything else.
    pub(super) fn node(&self) -> usize {
        self.node.expect("a pod gets a node first")
    }

    pub(super) fn node_name(&self) -> Arc<str> {
        self.shared.node_name(self.node())
    }

    pub(super) fn host_ip(&self) -> IpAddr {
        self.shared.node_ip(self.node())
    }

    /// The node, as the trace names it.
    pub(super) fn at_node(&self) -> String {
        format!("node/{}", self.node_name())
    }
}
