//! Breaking things: killed containers, restarts, cut links.

use std::collections::BTreeMap;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_runtime::EventId;

use super::events::Disturbed;
use super::{DisturbError, Mesh, TargetError};
use crate::engine::{ContainerId, PodId, World};

/// Disturbances. Targets are written `web` (all pods of a workload), `web/0` (one of them) or `web/0/istio-proxy` (one
/// container), with a namespace in front if it is another than the mesh's; `istiod` is found wherever it runs.
impl Mesh {
    /// SIGKILL. The kubelet starts what was killed again, as the restart policy says.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn kill(&mut self, target: &str) -> &mut Self {
        let result = self.try_kill(target);
        self.must("kill", result);
        self
    }

    /// [`kill`](Self::kill) without panics; answers with what was killed.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_kill(&mut self, target: &str) -> Result<Vec<String>, DisturbError> {
        let victims = self.running(target)?;
        let names: Vec<String> = victims.iter().map(Victim::name).collect();
        let cause = self.disturb("kill", names.clone());
        let world = self.world().clone();
        self.at_once(|| victims.iter().for_each(|victim| world.kill(victim.id, cause)))?;
        Ok(names)
    }

    /// Stops containers as gently as a deletion would, and lets the kubelet start them again.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn restart(&mut self, target: &str) -> &mut Self {
        let result = self.try_restart(target);
        self.must("restart", result);
        self
    }

    /// [`restart`](Self::restart) without panics; answers with what was restarted.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_restart(&mut self, target: &str) -> Result<Vec<String>, DisturbError> {
        let victims = self.running(target)?;
        let names: Vec<String> = victims.iter().map(Victim::name).collect();
        let cause = self.disturb("restart", names.clone());
        let kubelet = self.cluster.kubelet.clone();
        let restart = |victim: &Victim| kubelet.restart(&victim.pod, &victim.container, cause);
        self.at_once(|| victims.iter().for_each(restart))?;
        Ok(names)
    }

    /// Loses all packets between the pods of two targets, as they are now.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn partition(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_partition(a, b);
        self.must("partition", result);
        self
    }

    /// [`partition`](Self::partition) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_partition(&mut self, a: &str, b: &str) -> Result<(Vec<String>, Vec<String>), DisturbError> {
        let (names, pairs) = self.links("partition", a, b, |world, a, b, cause| world.partition(a, b, cause))?;
        self.cuts.extend(pairs);
        Ok(names)
    }

    /// Lets packets pass again; what waited is sent once more.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn heal(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_heal(a, b);
        self.must("heal", result);
        self
    }

    /// [`heal`](Self::heal) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_heal(&mut self, a: &str, b: &str) -> Result<(Vec<String>, Vec<String>), DisturbError> {
        let (names, pairs) = self.links("heal", a, b, |world, a, b, cause| world.heal(a, b, cause))?;
        for (a, b) in pairs {
            self.cuts.remove(&(a, b));
            self.cuts.remove(&(b, a));
        }
        Ok(names)
    }

    /// Lets packets pass again wherever [`partition`](Self::partition) has stopped them, whatever has become of the
    /// workloads; answers with the number of pairs of pods.
    ///
    /// # Errors
    /// If the simulation fails.
    pub fn try_heal_all(&mut self) -> Result<usize, DisturbError> {
        let cuts = std::mem::take(&mut self.cuts);
        let cause = self.disturb("heal", vec!["all".to_owned()]);
        let world = self.world().clone();
        self.at_once(|| {
            for (a, b) in &cuts {
                world.heal(*a, *b, cause);
            }
        })?;
        Ok(cuts.len())
    }

    fn links(
        &mut self,
        what: &'static str,
        a: &str,
        b: &str,
        act: impl Fn(&World, PodId, PodId, Option<EventId>) -> Option<EventId>,
    ) -> Result<(Sides, Vec<(PodId, PodId)>), DisturbError> {
        let (left, right) = (self.nets(a)?, self.nets(b)?);
        let names = |side: &BTreeMap<String, PodId>| side.keys().cloned().collect::<Vec<_>>();
        let cause = self.disturb(what, [names(&left), names(&right)].concat());
        let with_right = |a: &PodId| right.values().filter(|b| *b != a).map(|b| (*a, *b)).collect::<Vec<_>>();
        let pairs: Vec<(PodId, PodId)> = left.values().flat_map(with_right).collect();
        let world = self.world().clone();
        self.at_once(|| {
            for (a, b) in &pairs {
                act(&world, *a, *b, cause);
            }
        })?;
        Ok(((names(&left), names(&right)), pairs))
    }

    fn nets(&self, target: &str) -> Result<BTreeMap<String, PodId>, TargetError> {
        let pods = self.choose(target)?.pods;
        let nets = pods.iter().filter_map(|row| Some((format!("{}/{}", row.namespace, row.name), self.net(row)?)));
        let nets: BTreeMap<String, PodId> = nets.collect();
        if nets.is_empty() { Err(TargetError::NotRunning(target.to_owned())) } else { Ok(nets) }
    }

    fn running(&self, target: &str) -> Result<Vec<Victim>, TargetError> {
        let chosen = self.choose(target)?;
        let mut victims = Vec::new();
        for row in &chosen.pods {
            let pod = ObjectKey::new(Kind::Pod, &row.namespace, &row.name);
            for (container, id) in self.cluster.kubelet.running(&pod) {
                if chosen.container.as_ref().is_none_or(|only| *only == container) {
                    victims.push(Victim { pod: pod.clone(), container, id });
                }
            }
        }
        if victims.is_empty() { Err(TargetError::NotRunning(target.to_owned())) } else { Ok(victims) }
    }

    pub(super) fn disturb(&self, what: &'static str, targets: Vec<String>) -> Option<EventId> {
        self.world().emit("mesh", self.cause, Disturbed { what, targets }).or(self.cause)
    }
}

/// The names of the pods on either side.
type Sides = (Vec<String>, Vec<String>);

struct Victim {
    pod: ObjectKey,
    container: String,
    id: ContainerId,
}

impl Victim {
    fn name(&self) -> String {
        format!("{}/{}/{}", self.pod.namespace, self.pod.name, self.container)
    }
}
