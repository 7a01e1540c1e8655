//! How a container starts: its image, its environment and files, its postStart hook, its probes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hermesh_istiod::objects::{Container, ContainerState, Pod};
use hermesh_runtime::{EventId, Runtime};
use tokio::time::Instant;

use super::slot::{FailedPull, Misconfigured, Run};
use super::{Interrupted, Message, Worker};
use crate::cluster::events::{
    HookFinished, ImageBackedOff, ImageMissing, ImagePulled, ImagePulling, PodWaits, ProgramDelayed,
};
use crate::cluster::injection::grpc_simple;
use crate::cluster::kubelet::environment::{self, Facts};
use crate::cluster::kubelet::order::Role;
use crate::cluster::kubelet::{Inside, probes, stand_in, volumes};
use crate::cluster::members;
use crate::engine::{ContainerId, ContainerSpec, Exit, Mount, PodId};
use crate::image::{Part, Process, Program};

/// What a program exits with that SIGTERM ends and that does nothing about it.
const TERMINATED: i32 = 143;
/// How long a container runtime takes to make a container, in milliseconds.
const CREATE_MS: (u64, u64) = (20, 120);
/// How long a registry takes to refuse an image, in milliseconds.
const REFUSED_MS: (u64, u64) = (50, 500);
/// How long the kubelet waits before it looks at a pod again of which it could not make a container, in milliseconds
/// (`backOffPeriod`, and up to half of that more).
const SYNC_AGAIN_MS: (u64, u64) = (10_000, 15_000);
/// The kubelet hears of changes of a pod about once a second and looks at it then, in milliseconds.
const LOOK_MS: (u64, u64) = (500, 1_500);

impl Worker {
    /// Starts one container and sees it through its postStart hook; the next one waits for that.
    pub(super) async fn start(&mut self, index: usize) -> Result<(), Interrupted> {
        let slot = &mut self.slots[index];
        slot.wanted = false;
        let (name, image) = (slot.name.clone(), slot.container.image.clone());
        let pull_failed = slot.pull.take().map(|pull| pull.event);
        let lacked = slot.misconfigured.take();
        let failed = pull_failed.or_else(|| lacked.as_ref().map(|lacked| lacked.event));
        let cause = failed.or_else(|| slot.ended.map(|ended| ended.event)).unwrap_or(self.cause);
        let program = match self.program(index) {
            Ok(program) => program,
            Err(error) => return self.fail_to_pull(index, error, cause).await,
        };
        // It is told once what a container lacks.
        if let Some(Misconfigured { reason, event, .. }) = lacked
            && self.spec(index, &program).is_err_and(|lacks| lacks == reason)
        {
            self.sync_again(index, reason, event);
            return Ok(());
        }
        let restarts = self.slots[index].restarts + u32::from(self.slots[index].ended.is_some());
        let run = format!("{name}/{restarts}");
        let workload = members::workload(&self.pod);
        let pull = self.shared.pull(self.node(), &image, &run, (&self.key.namespace, workload));
        let cause = if pull.is_slow {
            let takes_ms = u64::try_from(pull.takes.as_millis()).unwrap_or(u64::MAX);
            self.emit(cause, ImagePulling { container: name.clone(), image: image.clone(), takes_ms })
        } else {
            cause
        };
        self.meanwhile(tokio::time::sleep(pull.takes)).await?;
        let pulled = self.emit(cause, ImagePulled { container: name.clone(), image });
        let create = self.draw(&format!("create/{name}/{restarts}"), CREATE_MS);
        self.meanwhile(tokio::time::sleep(create)).await?;
        if self.over {
            return Ok(());
        }

        // One that loses its power before this has not been started again.
        self.slots[index].restarts = restarts;
        let spec = match self.spec(index, &program) {
            Ok(spec) => spec,
            Err(reason) => {
                let event = self.emit(pulled.or(cause), PodWaits { pod: name, reason: reason.clone() });
                self.slots[index].enter(ContainerState::Waiting { reason: "CreateContainerConfigError".to_owned() });
                self.sync_again(index, reason, event);
                self.publish(event);
                return Ok(());
            }
        };
        let (net, pod_ip) = self.net.expect("volumes come after the network");
        let now = Instant::now();
        if let Some(ended) = self.slots[index].ended {
            self.slots[index].backoff.restarted(ended.at, now);
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
                // It ends like any other container, and the next one waits for that.
                self.stop(index, self.grace(), event);
                let exited = self.shared.world.exited(id);
                self.meanwhile(exited).await?;
                return Ok(());
            }
        }
        // It may have ended during its hook.
        if self.slots[index].run.as_ref().is_none_or(|run| run.id != id) {
            return Ok(());
        }
        let target = probes::Target {
            world: self.shared.world.clone(),
            node: self.shared.node_runtime(self.node()),
            at: self.at_node(),
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

    /// Has a container be looked at again that lacks something.
    fn sync_again(&mut self, index: usize, reason: String, event: Option<EventId>) {
        self.config_failures += 1;
        let wait = self.draw(&format!("sync#{}", self.config_failures), SYNC_AGAIN_MS);
        let slot = &mut self.slots[index];
        slot.wanted = !self.over;
        slot.misconfigured = Some(Misconfigured { reason, retry: Instant::now() + wait, event });
    }

    /// What plays a container, if the node has its image or can pull it.
    fn program(&self, index: usize) -> Result<Program, String> {
        let image = &self.slots[index].container.image;
        let program = self.played_by(index).ok_or_else(|| format!("nothing plays the image {image}"))?;
        let there = self.shared.lock().nodes[self.node()].pulled.contains_key(image);
        if there {
            return Ok(program);
        }
        let workload = (self.key.namespace.as_str(), members::workload(&self.pod));
        match self.shared.images.registry().refuses(image) {
            Some(error) => Err(error),
            None if self.shared.pull_fails(self.node(), image, workload) => {
                Err(format!("the registry does not answer for the image {image}"))
            }
            None => Ok(program),
        }
    }

    /// What plays a container. There is no shell in the images: what injection has one do is built in.
    pub(super) fn played_by(&self, index: usize) -> Option<Program> {
        let container = &self.slots[index].container;
        grpc_simple::shell_of(container).or_else(|| self.shared.images.find(&container.image).cloned())
    }

    /// An image that cannot be pulled is tried again later; the other containers do not wait for that.
    async fn fail_to_pull(&mut self, index: usize, error: String, cause: Option<EventId>) -> Result<(), Interrupted> {
        let slot = &self.slots[index];
        let (container, image) = (slot.name.clone(), slot.container.image.clone());
        self.pull_failures += 1;
        let mut draws = self.shared.world.runtime().draws(&format!("pull/{container}#{}", self.pull_failures));
        let mut draw = |(low, high)| Duration::from_millis(draws.between(low, high));
        let (answer, look) = (draw(REFUSED_MS), draw(LOOK_MS));
        self.meanwhile(tokio::time::sleep(answer)).await?;
        let wait = self.pulls.entry(image.clone()).or_default().failed();
        let event = self.emit(cause, ImageMissing { container, image, error });
        let now = Instant::now();
        let slot = &mut self.slots[index];
        slot.wanted = !self.over;
        slot.pull = Some(FailedPull { look: Some(now + look), retry: now + wait, event });
        slot.enter(ContainerState::Waiting { reason: "ErrImagePull".to_owned() });
        self.publish(event);
        Ok(())
    }

    /// When the kubelet looks next at a container whose image it could not pull.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.slots.iter().filter_map(|slot| slot.pull.and_then(|pull| pull.look)).min()
    }

    /// Looks at those containers: they back off.
    pub(super) fn look_at_pulls(&mut self) {
        let now = Instant::now();
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            let Some(pull) = &mut slot.pull else { continue };
            if pull.look.is_none_or(|look| look > now) {
                continue;
            }
            pull.look = None;
            let (cause, wait_ms) = (pull.event, u64::try_from((pull.retry - now).as_millis()).unwrap_or(u64::MAX));
            slot.enter(ContainerState::Waiting { reason: "ImagePullBackOff".to_owned() });
            let (container, image) = (slot.name.clone(), slot.container.image.clone());
            let event = self.emit(cause, ImageBackedOff { container, image, wait_ms });
            self.publish(event);
        }
    }

    pub(super) fn spec(&self, index: usize, program: &Program) -> Result<ContainerSpec, String> {
        let container = &self.slots[index].container;
        let (store, namespace) = (&self.shared.store, &self.pod.metadata.namespace);
        let config_map = |name: &str| volumes::find_config_map(store, namespace, name);
        let node = self.node_name();
        let facts = facts(&self.pod, self.net, self.host_ip(), &node);
        let env = environment::variables(container, &facts, config_map)?;
        let role = self.slots[index].role;
        let ports: Arc<[_]> = stand_in::ports(&self.pod, role, container, store).into();
        let part = match role {
            Role::Init => Part::Task,
            Role::Main if stand_in::is_task(&self.pod) => Part::Task,
            Role::Sidecar | Role::Main => Part::Server,
        };
        let version = self.pod.metadata.labels.get("version").map(|version| version.as_str().into());
        let program = program.clone();
        let delay = self.delay(container);
        let mut spec = ContainerSpec::new(&*container.name, move |runtime| async move {
            if let Some(by) = delay
                && !waits(&runtime, by).await
            {
                return Exit::code(TERMINATED);
            }
            program.run(Process::new(runtime, ports, version).playing(part)).await
        });
        spec.args = environment::arguments(container, &env);
        spec.env = env;
        for mount in &container.volume_mounts {
            let volume = self.volumes.get(&mount.name);
            let volume = volume.ok_or_else(|| format!("volumeMounts: volume \"{}\" does not exist", mount.name))?;
            spec.mounts.push(Mount { path: mount.mount_path.clone().into(), volume: volume.clone() });
        }
        Ok(spec)
    }

    /// How long a container takes before its program starts, if somebody wants it to.
    fn delay(&self, container: &Container) -> Option<Duration> {
        let (namespace, workload) = (&self.pod.metadata.namespace, members::workload(&self.pod));
        let delays = self.shared.delays.iter().rev();
        let mut delays = delays.filter(|delay| delay.container == container.name);
        let delay = delays.find(|delay| delay.namespace == *namespace && delay.workload == workload)?;
        let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let restarts = self.slots.iter().find(|slot| slot.container.name == container.name)?.restarts;
        let bounds = (ms(delay.by.start()), ms(delay.by.end()));
        Some(self.draw(&format!("delay/{}/{restarts}", container.name), bounds))
    }

    pub(super) fn watch_exit(&self, index: usize, id: ContainerId) {
        let (exited, messages) = (self.shared.world.exited(id), self.messages.clone());
        self.shared.world.runtime().spawn("kubelet.exit", async move {
            let status = exited.await;
            // A worker that is gone has removed the pod already.
            let _ = messages.send(Message::Exited { index, id, status });
        });
    }
}

/// Waits before a program starts; answers whether nobody has ended it meanwhile.
async fn waits(runtime: &Runtime, by: Duration) -> bool {
    runtime.emit(ProgramDelayed { by_ms: u64::try_from(by.as_millis()).unwrap_or(u64::MAX) });
    tokio::select! {
        biased;
        () = runtime.terminated() => false,
        () = tokio::time::sleep(by) => true,
    }
}

pub(super) fn facts<'a>(pod: &'a Pod, net: Option<(PodId, IpAddr)>, host_ip: IpAddr, node: &'a str) -> Facts<'a> {
    Facts { pod, pod_ip: net.map_or(host_ip, |(_, address)| address), host_ip, node }
}
