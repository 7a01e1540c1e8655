//! One container of a pod, over all its runs.

use std::sync::Arc;

use hermesh_istiod::objects::{Container, ContainerState, ContainerStatus};
use hermesh_runtime::{EventId, TaskGuard};
use tokio::time::Instant;

use crate::cluster::kubelet::backoff::Backoff;
use crate::engine::ContainerId;

/// One container of the pod, over all its runs.
pub(super) struct Slot {
    pub(super) container: Arc<Container>,
    /// `namespace/pod/container`.
    pub(super) name: String,
    pub(super) state: ContainerState,
    /// How the run before ended.
    pub(super) last_state: Option<ContainerState>,
    pub(super) run: Option<Run>,
    pub(super) backoff: Backoff,
    /// When the last run ended, and what recorded it.
    pub(super) finished: Option<(Instant, Option<EventId>)>,
    pub(super) restarts: u32,
    /// Whether it is to be started, now or after backing off.
    pub(super) wanted: bool,
    pub(super) ready: bool,
    pub(super) started: bool,
}

pub(super) struct Run {
    pub(super) id: ContainerId,
    /// Probes end with the run.
    pub(super) probes: Vec<TaskGuard>,
}

impl Slot {
    /// A container of the pod `path` that is to be started.
    pub(super) fn new(path: &str, container: &Container) -> Self {
        Self {
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
        }
    }

    /// When it may start again; `None` before its first run.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.finished.map(|(finished, _)| self.backoff.next_start(finished))
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
