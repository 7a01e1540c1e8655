//! What others than the kubelet say of pods: conditions that readiness gates ask for.

use hermesh_istiod::objects::{Kind, ObjectKey};

use super::{DisturbError, Mesh, PodRow};

impl Mesh {
    /// Sets a condition in the status of a workload's pods, `web`, or of one of them, `web/0`, as a controller of the
    /// user's does. A pod whose spec names it under `readinessGates` is ready only if it is met.
    ///
    /// # Panics
    /// If there is no such pod.
    #[track_caller]
    pub fn set_condition(&mut self, target: &str, condition: &str, met: bool) -> &mut Self {
        let result = self.try_set_condition(target, condition, met);
        self.must("set_condition", result);
        self
    }

    /// [`set_condition`](Self::set_condition) without panics; answers with the pods, as `namespace/name`.
    ///
    /// # Errors
    /// If there is no such pod.
    pub fn try_set_condition(&mut self, target: &str, condition: &str, met: bool) -> Result<Vec<String>, DisturbError> {
        let pods = self.choose(target)?.pods;
        let names: Vec<String> = pods.iter().map(|row| format!("{}/{}", row.namespace, row.name)).collect();
        let cause = self.disturb("condition", names.clone());
        let cluster = self.cluster.clone();
        let key = |row: &PodRow| ObjectKey::new(Kind::Pod, &row.namespace, &row.name);
        self.at_once(|| pods.iter().for_each(|row| cluster.set_condition(&key(row), condition, met, cause)))?;
        Ok(names)
    }
}
