//! How a container ends: hooks and signals before, the restart policy after.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_istiod::objects::{Container, ContainerState, LifecycleHandler, RestartPolicy};
use hermesh_runtime::EventId;
use tokio::time::Instant;

use super::Worker;
use crate::cluster::events::{ContainerBackedOff, HookFinished};
use crate::cluster::kubelet::{Crash, NODE, probes};
use crate::engine::{ContainerId, ExitReason, ExitStatus};
use crate::mesh::Fault;

/// The time a hook by HTTP may take.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);

impl Worker {
    pub(super) fn exited(&mut self, index: usize, id: ContainerId, status: ExitStatus) {
        let slot = &mut self.slots[index];
        if slot.run.as_ref().is_none_or(|run| run.id != id) {
            return;
        }
        slot.run = None;
        slot.ready = false;
        slot.started = false;
        slot.finished = Some((Instant::now(), status.event));
        let reason = if status.code == 0 { "Completed" } else { "Error" };
        slot.enter(ContainerState::Terminated { exit_code: status.code, reason: reason.to_owned() });
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.running.remove(&slot.container.name);
        }
        self.note_crash(index, &status);
        if self.deletion.is_none() {
            self.want_again(index, &status);
        }
        self.publish(status.event);
    }

    /// The restart policy's word, and the wait before it is done.
    pub(super) fn want_again(&mut self, index: usize, status: &ExitStatus) {
        let again = match self.pod.spec.restart_policy {
            RestartPolicy::Always => true,
            RestartPolicy::OnFailure => status.code != 0,
            RestartPolicy::Never => false,
        };
        let slot = &mut self.slots[index];
        if !again {
            return;
        }
        slot.wanted = true;
        let now = Instant::now();
        if let Some(at) = slot.next_start().filter(|at| *at > now) {
            slot.enter(ContainerState::Waiting { reason: "CrashLoopBackOff".to_owned() });
            let wait_ms = u64::try_from((at - now).as_millis()).unwrap_or(u64::MAX);
            let container = slot.name.clone();
            self.emit(status.event, ContainerBackedOff { container, wait_ms });
        }
    }

    /// A panic ends the run if it is Hermesh's, and is kept for the report if it is the user's.
    pub(super) fn note_crash(&self, index: usize, status: &ExitStatus) {
        if !matches!(status.reason, ExitReason::Panicked | ExitReason::ForeignTask) {
            return;
        }
        let slot = &self.slots[index];
        let built_in = self.shared.images.find(&slot.container.image).is_some_and(|program| program.built_in);
        let (container, message) = (slot.name.clone(), status.message.clone().unwrap_or_default());
        let mut state = self.shared.lock();
        if built_in {
            state.fault.get_or_insert(Fault::Panic { container, message });
        } else {
            state.crashes.push(Crash { container, message, event: status.event.map(EventId::seq) });
        }
    }

    /// SIGTERM after the preStop hook, SIGKILL when `grace` is over.
    pub(super) fn stop(&self, index: usize, grace: Duration, cause: Option<EventId>) {
        let slot = &self.slots[index];
        let Some(run) = &slot.run else { return };
        let (world, id) = (self.shared.world.clone(), run.id);
        let hook = slot.container.lifecycle.pre_stop.clone().map(|hook| self.hook(id, &slot.container, hook));
        let (name, at) = (slot.name.clone(), format!("node/{NODE}"));
        let exited = world.exited(id);
        self.shared.world.runtime().spawn("kubelet.stop", async move {
            let gently = async {
                if let Some(hook) = hook {
                    let error = hook.await.err();
                    world.emit(&at, cause, HookFinished { container: name, hook: "preStop", error });
                }
                world.terminate(id, cause);
                exited.await
            };
            if tokio::time::timeout(grace, gently).await.is_err() {
                world.kill(id, cause);
            }
        });
    }

    pub(super) fn hook(
        &self,
        id: ContainerId,
        container: &Container,
        hook: LifecycleHandler,
    ) -> BoxFuture<'static, Result<(), String>> {
        match hook {
            LifecycleHandler::Exec(action) => {
                let world = self.shared.world.clone();
                Box::pin(async move { probes::in_container(&world, id, action.command).await })
            }
            LifecycleHandler::Sleep(action) => Box::pin(async move {
                tokio::time::sleep(Duration::from_secs(action.seconds)).await;
                Ok(())
            }),
            LifecycleHandler::HttpGet(action) => {
                let port = probes::port_number(&action.port, container);
                let (node, pod_ip) = (self.shared.node.clone(), self.net.map(|(_, address)| address));
                Box::pin(async move {
                    let ip = pod_ip.ok_or_else(|| "the pod has no address".to_owned())?;
                    probes::http_get(&node, &action, SocketAddr::new(ip, port?), HOOK_TIMEOUT).await
                })
            }
        }
    }
}
