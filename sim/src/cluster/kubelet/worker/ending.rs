//! How a container ends: hooks and signals before, the restart policy after.

use std::net::SocketAddr;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use hermesh_istiod::objects::{Container, ContainerState, LifecycleHandler};
use hermesh_runtime::EventId;
use tokio::time::Instant;

use super::Worker;
use super::slot::Ended;
use crate::cluster::events::{ContainerBackedOff, HookFinished};
use crate::cluster::kubelet::order::{self, Role};
use crate::cluster::kubelet::probes;
use crate::engine::{ContainerId, ExitStatus};

/// The time a hook by HTTP may take.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// The time between SIGTERM and SIGKILL, however late it has become: `minimumGracePeriodInSeconds`.
const LEAST_GRACE: Duration = Duration::from_secs(2);

impl Worker {
    pub(super) fn exited(&mut self, index: usize, id: ContainerId, status: ExitStatus) {
        let slot = &mut self.slots[index];
        if slot.run.as_ref().is_none_or(|run| run.id != id) {
            return;
        }
        slot.run = None;
        slot.started = false;
        slot.ended = Some(Ended { at: Instant::now(), code: status.code, event: status.event });
        // An init container is called ready when it has done its work.
        slot.ready = slot.role == Role::Init && status.code == 0;
        let reason = if status.code == 0 { "Completed" } else { "Error" };
        slot.enter(ContainerState::Terminated { exit_code: status.code, reason: reason.to_owned() });
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.running.remove(&slot.container.name);
        }
        self.note_crash(index, &status);
        if self.deletion.is_none() && !self.over {
            self.want_again(index, &status);
            self.end_if_over(status.event);
        }
        self.publish(status.event);
    }

    /// Once its ordinary containers are done, whatever else runs in the pod ends.
    pub(super) fn end_if_over(&mut self, cause: Option<EventId>) {
        if !order::is_over(&self.stages(), self.pod.spec.restart_policy) {
            return;
        }
        self.over = true;
        for slot in &mut self.slots {
            slot.wanted = false;
            slot.pull = None;
        }
        self.stop_all(self.grace(), cause);
    }

    /// The restart policy's word, and the wait before it is done.
    fn want_again(&mut self, index: usize, status: &ExitStatus) {
        let slot = &mut self.slots[index];
        if !order::starts_again(slot.role, self.pod.spec.restart_policy, status.code) {
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

    /// A panic ends the run if it is Hermesh's, and is kept for the report if it is the user's. Whoever leaves the
    /// simulation ends the run.
    fn note_crash(&self, index: usize, status: &ExitStatus) {
        let built_in = self.played_by(index).is_some_and(|program| program.built_in);
        self.shared.note_crash(built_in, &self.slots[index].name, status);
    }

    /// Ends all that runs: sidecars last, in reverse order.
    pub(super) fn stop_all(&self, grace: Duration, cause: Option<EventId>) {
        let roles: Vec<Role> = self.slots.iter().map(|slot| slot.role).collect();
        for index in 0..self.slots.len() {
            let before = order::ends_after(&roles, index).filter_map(|before| self.slots[before].run.as_ref());
            let before = before.map(|run| self.shared.world.exited(run.id).map(drop)).collect::<Vec<_>>();
            self.stop_after(before, index, grace, cause);
        }
    }

    /// SIGTERM after the preStop hook, SIGKILL when `grace` is over.
    pub(super) fn stop(&self, index: usize, grace: Duration, cause: Option<EventId>) {
        self.stop_after(Vec::<std::future::Ready<()>>::new(), index, grace, cause);
    }

    /// [`stop`](Self::stop), with SIGTERM not until those `before` have ended. The hook does not wait for them.
    fn stop_after<F>(&self, before: Vec<F>, index: usize, grace: Duration, cause: Option<EventId>)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let slot = &self.slots[index];
        let Some(run) = &slot.run else { return };
        let (world, id) = (self.shared.world.clone(), run.id);
        let hook = slot.container.lifecycle.pre_stop.clone().map(|hook| self.hook(id, &slot.container, hook));
        let (name, at) = (slot.name.clone(), self.at_node());
        let exited = world.exited(id);
        self.shared.world.runtime().spawn("kubelet.stop", async move {
            let deadline = Instant::now() + grace;
            if let Some(hook) = hook {
                let result = tokio::time::timeout_at(deadline, hook).await;
                let error = match result {
                    Ok(result) => result.err(),
                    Err(_) => Some(format!("not done when the grace period of {} s was over", grace.as_secs())),
                };
                world.emit(&at, cause, HookFinished { container: name, hook: "preStop", error });
            }
            // Whoever did not end in time is killed meanwhile.
            let _ = tokio::time::timeout_at(deadline, futures::future::join_all(before)).await;
            world.terminate(id, cause);
            let least = if grace.is_zero() { Duration::ZERO } else { LEAST_GRACE };
            if tokio::time::timeout_at(deadline.max(Instant::now() + least), exited).await.is_err() {
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
                let (node, pod_ip) = (self.shared.node_runtime(self.node()), self.net.map(|(_, address)| address));
                Box::pin(async move {
                    let ip = pod_ip.ok_or_else(|| "the pod has no address".to_owned())?;
                    probes::http_get(&node, &action, SocketAddr::new(ip, port?), HOOK_TIMEOUT).await
                })
            }
        }
    }
}
