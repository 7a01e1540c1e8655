//! One container of a pod, over all its runs.

use std::sync::Arc;

use hermesh_istiod::objects::{Container, ContainerState, ContainerStatus, PodSpec};
use hermesh_runtime::{EventId, TaskGuard};
use tokio::time::Instant;

use crate::cluster::kubelet::backoff::Backoff;
use crate::cluster::kubelet::order::{Role, Stage};
use crate::engine::ContainerId;

pub(super) struct Slot {
    pub(super) role: Role,
    pub(super) container: Arc<Container>,
    /// `namespace/pod/container`.
    pub(super) name: String,
    pub(super) state: ContainerState,
    /// How the run before ended.
    pub(super) last_state: Option<ContainerState>,
    pub(super) run: Option<Run>,
    pub(super) backoff: Backoff,
    /// How the last run ended.
    pub(super) ended: Option<Ended>,
    pub(super) restarts: u32,
    /// Whether it is to be started, now or after backing off.
    pub(super) wanted: bool,
    /// Why that waits: the last pull of its image failed.
    pub(super) pull: Option<FailedPull>,
    /// Likewise: something that its environment or its files need is not there.
    pub(super) misconfigured: Option<Misconfigured>,
    pub(super) ready: bool,
    pub(super) started: bool,
}

pub(super) struct Run {
    pub(super) id: ContainerId,
    /// Probes end with the run.
    pub(super) probes: Vec<TaskGuard>,
}

/// When a run ended, with which exit code, and what recorded it.
#[derive(Clone, Copy)]
pub(super) struct Ended {
    pub(super) at: Instant,
    pub(super) code: i32,
    pub(super) event: Option<EventId>,
}

/// A pull that failed, and what recorded it.
#[derive(Clone, Copy)]
pub(super) struct FailedPull {
    /// When the kubelet looks at the pod next and sees that it is too early to try again.
    pub(super) look: Option<Instant>,
    pub(super) retry: Instant,
    pub(super) event: Option<EventId>,
}

/// What a container lacks, when that is looked for again, and what recorded it.
pub(super) struct Misconfigured {
    pub(super) reason: String,
    pub(super) retry: Instant,
    pub(super) event: Option<EventId>,
}

impl Slot {
    /// The containers of the pod `path` in the order in which they start.
    pub(super) fn all(path: &str, spec: &PodSpec) -> Vec<Self> {
        let init = spec.init_containers.iter().map(|container| {
            let role = if container.is_sidecar() { Role::Sidecar } else { Role::Init };
            (role, container)
        });
        let mains = spec.containers.iter().map(|container| (Role::Main, container));
        let reason = if spec.init_containers.is_empty() { "ContainerCreating" } else { "PodInitializing" };
        init.chain(mains).map(|(role, container)| Self::new(path, role, container, reason)).collect()
    }

    fn new(path: &str, role: Role, container: &Container, reason: &str) -> Self {
        Self {
            role,
            container: Arc::new(container.clone()),
            name: format!("{path}/{}", container.name),
            state: ContainerState::Waiting { reason: reason.to_owned() },
            last_state: None,
            run: None,
            backoff: Backoff::default(),
            ended: None,
            restarts: 0,
            wanted: true,
            pull: None,
            misconfigured: None,
            ready: false,
            started: false,
        }
    }

    /// How far it is.
    pub(super) fn stage(&self) -> (Role, Stage) {
        let stage = match (&self.run, self.ended) {
            (Some(_), _) => Stage::Running { started: self.started },
            (None, Some(ended)) => Stage::Ended { code: ended.code },
            (None, None) => Stage::New,
        };
        (self.role, stage)
    }

    /// When it may start again; `None` before its first run.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let restart = self.ended.map(|ended| self.backoff.next_start(ended.at));
        restart.max(self.pull.map(|pull| pull.retry)).max(self.misconfigured.as_ref().map(|it| it.retry))
    }

    pub(super) fn enter(&mut self, state: ContainerState) {
        let left = std::mem::replace(&mut self.state, state);
        if let ContainerState::Terminated { .. } = left {
            self.last_state = Some(left);
        }
    }

    pub(super) fn status(&self) -> ContainerStatus {
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
