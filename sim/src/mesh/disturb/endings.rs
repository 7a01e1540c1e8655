//! Faults that end by themselves after a time.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_runtime::TaskGuard;

use super::super::Mesh;
use crate::cluster::kubelet::OnePod;
use crate::engine::{ContainerId, PodId};

/// What a fault is of; there is one of each at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Ending {
    /// A container is paused.
    Pause(ContainerId),
    /// The way from one pod to another is broken in the way of this kind.
    Link(PodId, PodId, &'static str),
    /// A pod's clock is wrong.
    Clock(PodId),
    /// A pod's tokens are not replaced.
    Tokens(OnePod),
    /// A volume of a pod is full.
    Volume(OnePod, String),
}

/// The faults whose end is to come.
#[derive(Debug, Default)]
pub(in super::super) struct Endings(BTreeMap<Ending, TaskGuard>);

impl Mesh {
    /// Has a fault end after a time, if that is given. A fault takes the place of one of its kind, and of its end.
    pub(in super::super) fn ends<T>(
        &mut self,
        what: Ending,
        lasting: Option<Duration>,
        end: impl FnOnce() -> T + Send + 'static,
    ) {
        self.forget(&what);
        let Some(time) = lasting else { return };
        let task = self.world().runtime().spawn("fault-ends", async move {
            tokio::time::sleep(time).await;
            end();
        });
        self.endings.0.insert(what, task.abort_on_drop());
    }

    /// A fault has ended before its time.
    pub(in super::super) fn forget(&mut self, what: &Ending) {
        self.endings.0.remove(what);
    }

    /// As [`forget`](Self::forget), of all that `is_over` says so of.
    pub(in super::super) fn forget_all(&mut self, is_over: impl Fn(&Ending) -> bool) {
        self.endings.0.retain(|what, _| !is_over(what));
    }
}
