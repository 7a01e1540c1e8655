//! One pod's life: volumes, network, containers in order, and the end of it all.
//!
//! Source: kubernetes `pkg/kubelet/kuberuntime/kuberuntime_manager.go` (`SyncPod`) and `kuberuntime_container.go`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_istiod::objects::{
    Container, ContainerState, ContainerStatus, LifecycleHandler, Object, ObjectKey, Pod, PodStatus, RestartPolicy,
    VolumeSource,
};
use hermesh_runtime::{EventId, TaskGuard};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::backoff::Backoff;
use super::environment::{self, Facts};
use super::probe::{Purpose, Verdict};
use super::{Crash, Inside, NODE, Shared, probes, stand_in, volumes};
use crate::cluster::events::{ContainerBackedOff, HookFinished, ImageMissing, ImagePulled, PodStatusChanged, PodWaits};
use crate::cluster::kubectl;
use crate::engine::{ContainerId, ContainerSpec, ExitReason, ExitStatus, Mount, PodId, PodSpec, Volume};
use crate::image::{Process, Program};
use crate::mesh::Fault;

/// How long a container runtime takes to make a container, in milliseconds.
const CREATE_MS: (u64, u64) = (20, 120);
/// The time a hook by HTTP may take.
const HOOK_TIMEOUT: Duration = Duration::from_secs(30);
/// `ConfigMap`s are looked at once a minute, at a time of the pod's own, in milliseconds.
const CONFIGURATION_MS: (u64, u64) = (1_000, 60_000);

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Message {
    /// The pod is to end: it was deleted at this wall time, in seconds.
    Delete { at: u64, grace: Duration, cause: Option<EventId> },
    /// A container is to be stopped gently; it starts again.
    Restart { container: String, cause: Option<EventId> },
    /// A container ended.
    Exited { index: usize, id: ContainerId, status: ExitStatus },
    /// A run of probes changed what a container is taken for.
    Probe { index: usize, id: ContainerId, purpose: Purpose, verdict: Verdict, cause: Option<EventId> },
}

/// The pod is being deleted: whatever was going on ends here.
struct Deleted;

pub(super) struct Worker {
    shared: Arc<Shared>,
    key: ObjectKey,
    pod: Pod,
    inbox: mpsc::UnboundedReceiver<Message>,
    messages: mpsc::UnboundedSender<Message>,
    added: Instant,
    net: Option<(PodId, IpAddr)>,
    volumes: BTreeMap<String, Volume>,
    /// Names the state of the volumes.
    version: u64,
    slots: Vec<Slot>,
    deletion: Option<(Instant, Option<EventId>)>,
    cause: Option<EventId>,
    shown: Option<(String, String, u32)>,
}

/// One container of the pod, over all its runs.
struct Slot {
    container: Arc<Container>,
    /// `namespace/pod/container`.
    name: String,
    state: ContainerState,
    /// How the run before ended.
    last_state: Option<ContainerState>,
    run: Option<Run>,
    backoff: Backoff,
    /// When the last run ended, and what recorded it.
    finished: Option<(Instant, Option<EventId>)>,
    restarts: u32,
    /// Whether it is to be started, now or after backing off.
    wanted: bool,
    ready: bool,
    started: bool,
}

struct Run {
    id: ContainerId,
    /// Probes end with the run.
    probes: Vec<TaskGuard>,
}

impl Worker {
    pub(super) fn new(
        shared: Arc<Shared>,
        pod: Pod,
        inbox: mpsc::UnboundedReceiver<Message>,
        messages: mpsc::UnboundedSender<Message>,
        cause: Option<EventId>,
    ) -> Self {
        let path = format!("{}/{}", pod.metadata.namespace, pod.metadata.name);
        let slot = |container: &Container| Slot {
            container: Arc::new(container.clone()),
            name: format!("{path}/{}", container.name),
            state: ContainerState::Waiting { reason: "ContainerCreating".to_owned() },
            last_state: None,
            run: None,
            backoff: Backoff::default(),
            finished: None,
            restarts: 0,
            wanted: true,
            ready: false,
            started: false,
        };
        let slots = pod.spec.containers.iter().map(slot).collect();
        Self {
            shared,
            key: pod.key(),
            pod,
            inbox,
            messages,
            added: Instant::now(),
            net: None,
            volumes: BTreeMap::new(),
            version: 0,
            slots,
            deletion: None,
            cause,
            shown: None,
        }
    }

    pub(super) async fn run(mut self) {
        // An error means that the pod is being deleted, which is where this leads anyway.
        if self.set_up().await.is_ok() {
            let _ = self.keep_running().await;
        }
        self.shut_down().await;
    }

    /// Address and volumes, before the first container.
    async fn set_up(&mut self) -> Result<(), Deleted> {
        let address = self.shared.take_address();
        let spec = PodSpec::new(self.path(), [address]);
        let net = self.shared.world.add_pod(spec, self.cause);
        self.net = Some((net, address));
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.net = Some(net);
        }
        self.publish(self.cause);
        let mut configuration = self.shared.configuration.listen();
        while let Err(reason) = self.fill_volumes() {
            let waits = PodWaits { pod: self.path(), reason };
            self.cause = self.emit(self.cause, waits);
            self.meanwhile(configuration.raised()).await?;
        }
        Ok(())
    }

    fn fill_volumes(&mut self) -> Result<(), String> {
        self.version += 1;
        let facts = facts(&self.pod, self.net, self.shared.host_ip);
        volumes::fill(&mut self.volumes, &facts, &self.shared.store, &self.shared.tokens, self.version)
    }

    async fn keep_running(&mut self) -> Result<(), Deleted> {
        let mut refresh = self.next_refresh();
        let mut configuration = self.shared.configuration.listen();
        let mut look: Option<Instant> = None;
        let sources: Vec<VolumeSource> = self.pod.spec.volumes.iter().map(|volume| volume.source.clone()).collect();
        let has_config = sources.iter().any(|source| !matches!(source, VolumeSource::EmptyDir(_)));
        loop {
            if let Some(index) = self.due(Instant::now()) {
                self.start(index).await?;
                continue;
            }
            let next_start = self.next_start();
            tokio::select! {
                biased;
                message = self.inbox.recv() => {
                    let message = message.expect("the worker holds a sender of its own");
                    self.handle(message)?;
                }
                () = configuration.raised(), if has_config && look.is_none() => {
                    let delay = self.draw("configuration", CONFIGURATION_MS);
                    look = Some(Instant::now() + delay);
                }
                () = at(look), if look.is_some() => {
                    look = None;
                    self.update_volumes();
                }
                () = at(refresh), if refresh.is_some() => {
                    self.update_volumes();
                    refresh = self.next_refresh();
                }
                () = at(next_start), if next_start.is_some() => {}
            }
        }
    }

    /// Files stay as they are where something they need is gone.
    fn update_volumes(&mut self) {
        if let Err(reason) = self.fill_volumes() {
            let waits = PodWaits { pod: self.path(), reason };
            self.emit(None, waits);
        }
    }

    fn next_refresh(&self) -> Option<Instant> {
        let sources = self.pod.spec.volumes.iter().map(|volume| volume.source.clone());
        volumes::token_refresh(sources).map(|life| Instant::now() + life)
    }

    /// The first container, in order, that is to be started now.
    fn due(&self, now: Instant) -> Option<usize> {
        self.slots.iter().position(|slot| slot.wanted && slot.next_start().is_none_or(|at| at <= now))
    }

    fn next_start(&self) -> Option<Instant> {
        self.slots.iter().filter(|slot| slot.wanted).filter_map(Slot::next_start).min()
    }

    /// Starts one container and sees it through its postStart hook; the next one waits for that.
    async fn start(&mut self, index: usize) -> Result<(), Deleted> {
        let slot = &mut self.slots[index];
        slot.wanted = false;
        let (name, image) = (slot.name.clone(), slot.container.image.clone());
        let cause = slot.finished.map_or(self.cause, |(_, event)| event);
        let Some(program) = self.shared.images.find(&image).cloned() else {
            let event = self.emit(cause, ImageMissing { container: name, image });
            self.slots[index].enter(ContainerState::Waiting { reason: "ImagePullBackOff".to_owned() });
            self.publish(event);
            return Ok(());
        };
        if self.slots[index].finished.is_some() {
            self.slots[index].restarts += 1;
        }
        let pull = self.shared.pull_delay(&image, &format!("{name}/{}", self.slots[index].restarts));
        self.meanwhile(tokio::time::sleep(pull)).await?;
        let pulled = self.emit(cause, ImagePulled { container: name.clone(), image });
        let create = self.draw(&format!("create/{name}/{}", self.slots[index].restarts), CREATE_MS);
        self.meanwhile(tokio::time::sleep(create)).await?;

        let spec = match self.spec(index, &program) {
            Ok(spec) => spec,
            Err(reason) => {
                let event = self.emit(pulled.or(cause), PodWaits { pod: name, reason });
                self.slots[index].enter(ContainerState::Waiting { reason: "CreateContainerConfigError".to_owned() });
                self.publish(event);
                return Ok(());
            }
        };
        let (net, pod_ip) = self.net.expect("volumes come after the network");
        let now = Instant::now();
        if let Some((finished, _)) = self.slots[index].finished {
            self.slots[index].backoff.restarted(finished, now);
        }
        let inside = Inside { env: spec.env.clone(), mounts: spec.mounts.clone() };
        let id = self.shared.world.start(net, spec, pulled.or(cause));
        self.watch_exit(index, id);
        let slot = &mut self.slots[index];
        slot.run = Some(Run { id, probes: Vec::new() });
        slot.enter(ContainerState::Running);
        let container = Arc::clone(&slot.container);
        if let Some(handle) = self.shared.lock().pods.get_mut(&self.key) {
            handle.running.insert(container.name.clone(), id);
            handle.inside.insert(container.name.clone(), inside);
        }
        if let Some(hook) = &container.lifecycle.post_start {
            self.publish(pulled.or(cause));
            let run = self.hook(id, &container, hook.clone());
            let result = self.meanwhile(run).await?;
            let error = result.as_ref().err().cloned();
            let event = self.emit(pulled.or(cause), HookFinished { container: name, hook: "postStart", error });
            if result.is_err() {
                self.stop(index, Duration::ZERO, event);
                return Ok(());
            }
        }
        // It may have ended during its hook.
        if self.slots[index].run.as_ref().is_none_or(|run| run.id != id) {
            return Ok(());
        }
        let target = probes::Target {
            world: self.shared.world.clone(),
            node: self.shared.node.clone(),
            pod_ip,
            name: self.slots[index].name.clone(),
            index,
            id,
            container,
            added: self.added,
            started: now,
            messages: self.messages.clone(),
        };
        let slot = &mut self.slots[index];
        slot.started = slot.container.startup_probe.is_none();
        slot.ready = slot.started && slot.container.readiness_probe.is_none();
        if let Some(run) = &mut slot.run {
            run.probes = probes::start(&target);
        }
        self.publish(pulled.or(cause));
        Ok(())
    }

    fn spec(&self, index: usize, program: &Program) -> Result<ContainerSpec, String> {
        let container = &self.slots[index].container;
        let (store, namespace) = (&self.shared.store, &self.pod.metadata.namespace);
        let config_map =
            |name: &str, key: &str| volumes::find_config_map(store, namespace, name)?.data.get(key).cloned();
        let facts = facts(&self.pod, self.net, self.shared.host_ip);
        let env = environment::variables(container, &facts, config_map)?;
        let ports: Arc<[_]> = stand_in::ports(&self.pod, container, store).into();
        let version = self.pod.metadata.labels.get("version").map(|version| version.as_str().into());
        let program = program.clone();
        let mut spec =
            ContainerSpec::new(&*container.name, move |runtime| program.run(Process::new(runtime, ports, version)));
        spec.args = environment::arguments(container, &env);
        spec.env = env;
        for mount in &container.volume_mounts {
            let volume = self.volumes.get(&mount.name);
            let volume = volume.ok_or_else(|| format!("volumeMounts: volume \"{}\" does not exist", mount.name))?;
            spec.mounts.push(Mount { path: mount.mount_path.clone().into(), volume: volume.clone() });
        }
        Ok(spec)
    }

    fn watch_exit(&self, index: usize, id: ContainerId) {
        let (exited, messages) = (self.shared.world.exited(id), self.messages.clone());
        self.shared.world.runtime().spawn("kubelet.exit", async move {
            let status = exited.await;
            // A worker that is gone has removed the pod already.
            let _ = messages.send(Message::Exited { index, id, status });
        });
    }

    fn hook(
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

    /// Waits for `future` and goes on listening to what the pod is told.
    async fn meanwhile<T>(&mut self, future: impl Future<Output = T>) -> Result<T, Deleted> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                message = self.inbox.recv() => {
                    let message = message.expect("the worker holds a sender of its own");
                    self.handle(message)?;
                }
                result = &mut future => return Ok(result),
            }
        }
    }

    fn handle(&mut self, message: Message) -> Result<(), Deleted> {
        match message {
            Message::Delete { at, grace, cause } => {
                if self.deletion.is_none() {
                    self.deletion = Some((Instant::now() + grace, cause));
                    self.pod.metadata.deletion_timestamp = Some(at);
                    self.publish(cause);
                }
                return Err(Deleted);
            }
            Message::Restart { container, cause } => {
                if let Some(index) = self.slots.iter().position(|slot| slot.container.name == container) {
                    self.stop(index, self.grace(), cause);
                }
            }
            Message::Exited { index, id, status } => self.exited(index, id, status),
            Message::Probe { index, id, purpose, verdict, cause } => self.probed(index, id, purpose, verdict, cause),
        }
        Ok(())
    }

    fn exited(&mut self, index: usize, id: ContainerId, status: ExitStatus) {
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
    fn want_again(&mut self, index: usize, status: &ExitStatus) {
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
    fn note_crash(&self, index: usize, status: &ExitStatus) {
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

    fn probed(&mut self, index: usize, id: ContainerId, purpose: Purpose, verdict: Verdict, cause: Option<EventId>) {
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

    /// SIGTERM after the preStop hook, SIGKILL when `grace` is over.
    fn stop(&self, index: usize, grace: Duration, cause: Option<EventId>) {
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

    async fn shut_down(mut self) {
        let (deadline, cause) = self.deletion.unwrap_or_else(|| (Instant::now(), None));
        let grace = deadline.saturating_duration_since(Instant::now());
        for index in 0..self.slots.len() {
            self.stop(index, grace, cause);
        }
        while self.slots.iter().any(|slot| slot.run.is_some()) {
            let message = self.inbox.recv().await.expect("the worker holds a sender of its own");
            // A second deletion has nothing to add.
            let _ = self.handle(message);
        }
        if let Some((net, address)) = self.net.take() {
            self.shared.world.remove_pod(net, cause);
            self.shared.release_address(address);
        }
        self.shared.lock().pods.remove(&self.key);
        self.shared.store.delete(&self.key, cause);
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.pod.spec.termination_grace_period_seconds)
    }

    /// Writes the pod's status into the store, if it is another than before.
    fn publish(&mut self, cause: Option<EventId>) {
        let containers: Vec<ContainerStatus> = self.slots.iter().map(Slot::status).collect();
        // One that ended and is to start again has not come to its end.
        let wanted = || self.slots.iter().any(|slot| slot.wanted);
        let restarts = self.pod.spec.restart_policy == RestartPolicy::Always || wanted();
        let start_time = self.pod.status.start_time.or_else(|| Some(self.shared.world.wall().as_secs()));
        let status = PodStatus {
            phase: kubectl::phase(&containers, restarts),
            reason: None,
            pod_ip: self.net.map(|(_, address)| address),
            host_ip: Some(self.shared.host_ip),
            ready: containers.iter().all(|container| container.ready),
            start_time,
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
        self.shared.store.modify(&self.key, event, |object| {
            if let Object::Pod(pod) = object {
                let pod = Arc::make_mut(pod);
                pod.status = status;
                pod.spec.node_name.get_or_insert_with(|| NODE.to_owned());
            }
        });
    }

    fn path(&self) -> String {
        format!("{}/{}", self.key.namespace, self.key.name)
    }

    fn emit<E: hermesh_runtime::Event>(&self, cause: Option<EventId>, event: E) -> Option<EventId> {
        self.shared.world.emit(&format!("node/{NODE}"), cause, event).or(cause)
    }

    fn draw(&self, what: &str, (low, high): (u64, u64)) -> Duration {
        let mut draws = self.shared.world.runtime().draws(&format!("kubelet/{}/{what}", self.path()));
        Duration::from_millis(draws.between(low, high))
    }
}

impl Slot {
    /// When it may start again; `None` before its first run.
    fn next_start(&self) -> Option<Instant> {
        self.finished.map(|(finished, _)| self.backoff.next_start(finished))
    }

    fn enter(&mut self, state: ContainerState) {
        let left = std::mem::replace(&mut self.state, state);
        if let ContainerState::Terminated { .. } = left {
            self.last_state = Some(left);
        }
    }

    fn status(&self) -> ContainerStatus {
        ContainerStatus {
            name: self.container.name.clone(),
            ready: self.ready,
            started: self.started,
            restart_count: self.restarts,
            state: self.state.clone(),
            last_state: self.last_state.clone(),
        }
    }
}

fn facts(pod: &Pod, net: Option<(PodId, IpAddr)>, host_ip: IpAddr) -> Facts<'_> {
    Facts { pod, pod_ip: net.map_or(host_ip, |(_, address)| address), host_ip, node: NODE }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
