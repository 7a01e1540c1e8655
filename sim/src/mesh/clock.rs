//! Wall clocks that are wrong.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_runtime::EventId;

use super::disturb::Ending;
use super::{DisturbError, Mesh};
use crate::cluster::kubelet::Kubelet;
use crate::engine::PodId;

/// By how much a clock may be wrong: ten years.
const SKEW_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Clocks of pods as they are now. Each pod has a wall clock of its own, as if it were alone on its node; monotonic
/// time, and so every timer, is not touched, and neither are the times of the trace. Where a node loses power its pods
/// get other networks afterwards, whose clocks are right.
impl Mesh {
    /// Steps the clock of a workload's pods, `web`, or of one of them, `web/0`, to a time ahead of the right one.
    ///
    /// # Panics
    /// If nothing of that name runs, or by more than ten years.
    #[track_caller]
    pub fn set_clock_ahead(&mut self, target: &str, by: Duration) -> &mut Self {
        let result = self.try_set_clock_ahead(target, by);
        self.must("set_clock_ahead", result);
        self
    }

    /// [`set_clock_ahead`](Self::set_clock_ahead) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs, or by more than ten years.
    pub fn try_set_clock_ahead(&mut self, target: &str, by: Duration) -> Result<Vec<String>, DisturbError> {
        self.skew(target, by, Duration::ZERO, None)
    }

    /// Steps the clock of pods to a time behind the right one.
    ///
    /// # Panics
    /// If nothing of that name runs, or by more than ten years.
    #[track_caller]
    pub fn set_clock_behind(&mut self, target: &str, by: Duration) -> &mut Self {
        let result = self.try_set_clock_behind(target, by);
        self.must("set_clock_behind", result);
        self
    }

    /// [`set_clock_behind`](Self::set_clock_behind) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs, or by more than ten years.
    pub fn try_set_clock_behind(&mut self, target: &str, by: Duration) -> Result<Vec<String>, DisturbError> {
        self.skew(target, Duration::ZERO, by, None)
    }

    /// Sets the clock of pods to the right time.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn set_clock_right(&mut self, target: &str) -> &mut Self {
        let result = self.try_set_clock_right(target);
        self.must("set_clock_right", result);
        self
    }

    /// [`set_clock_right`](Self::set_clock_right) without panics; answers with the pods.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_set_clock_right(&mut self, target: &str) -> Result<Vec<String>, DisturbError> {
        self.skew(target, Duration::ZERO, Duration::ZERO, None)
    }

    /// Steps clocks, for a time if that is given.
    pub(crate) fn skew(
        &mut self,
        target: &str,
        ahead: Duration,
        behind: Duration,
        lasting: Option<Duration>,
    ) -> Result<Vec<String>, DisturbError> {
        if let Some(by) = [ahead, behind].into_iter().find(|by| *by > SKEW_MAX) {
            return Err(DisturbError::Skew { by });
        }
        let nanos = |by: Duration| i64::try_from(by.as_nanos()).expect("ten years fit");
        let skew_ns = nanos(ahead) - nanos(behind);
        let pods: BTreeMap<String, PodId> = self.nets(target)?;
        let names: Vec<String> = pods.keys().cloned().collect();
        let cause = self.disturb(if skew_ns == 0 { "heal the clock of" } else { "set the clock of" }, names.clone());
        let kubelet = self.cluster.kubelet.clone();
        self.at_once(|| set(&kubelet, pods.values(), skew_ns, cause))?;
        for pod in pods.into_values() {
            let kubelet = kubelet.clone();
            if skew_ns == 0 {
                self.skewed.remove(&pod)
            } else {
                self.skewed.insert(pod)
            };
            self.ends(Ending::Clock(pod), lasting, move || set_right(&kubelet, pod, cause));
        }
        Ok(names)
    }

    /// Sets every clock to the right time.
    pub(super) fn set_all_clocks_right(&mut self, cause: Option<EventId>) {
        let mut skewed = std::mem::take(&mut self.skewed);
        skewed.retain(|pod| !self.world().is_removed(*pod));
        set(&self.cluster.kubelet, &skewed, 0, cause);
        skewed.into_iter().for_each(|pod| self.forget(&Ending::Clock(pod)));
    }
}

/// One that the power cycle of its node has not set right already.
fn set_right(kubelet: &Kubelet, pod: PodId, cause: Option<EventId>) {
    if kubelet.clock(pod) != 0 {
        kubelet.set_clock(pod, 0, cause);
    }
}

fn set<'p>(kubelet: &Kubelet, pods: impl IntoIterator<Item = &'p PodId>, skew_ns: i64, cause: Option<EventId>) {
    for pod in pods {
        kubelet.set_clock(*pod, skew_ns, cause);
    }
}
