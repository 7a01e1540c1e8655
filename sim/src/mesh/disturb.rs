//! Breaking things: killed, restarted and paused containers, links.

mod endings;
mod held;
mod links;

use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_runtime::EventId;

use super::events::Disturbed;
use super::{DisturbError, Mesh, TargetError};
use crate::engine::{ContainerId, World};

pub(super) use endings::{Ending, Endings};
pub(super) use links::BrokenLinks;
pub use links::SLOW_MAX;

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
        let cluster = self.cluster.clone();
        let restart = |victim: &Victim| cluster.restart(&victim.pod, &victim.container, cause);
        self.at_once(|| victims.iter().for_each(restart))?;
        Ok(names)
    }

    /// SIGSTOP: the processes of the target's containers do not run any more until they are resumed. Their sockets
    /// stay: the kernel takes connections and data for them as long as there is room. Calls and loads that are sent
    /// from the pod are processes of their own, and go on.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn pause(&mut self, target: &str) -> &mut Self {
        let result = self.try_pause(target);
        self.must("pause", result);
        self
    }

    /// [`pause`](Self::pause) without panics; answers with what was paused.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_pause(&mut self, target: &str) -> Result<Vec<String>, DisturbError> {
        self.pause_lasting(target, None)
    }

    /// [`pause`](Self::pause) for a time: then what is paused runs again. Time does not pass within this.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn pause_for(&mut self, target: &str, time: Duration) -> &mut Self {
        let result = self.try_pause_for(target, time);
        self.must("pause_for", result);
        self
    }

    /// [`pause_for`](Self::pause_for) without panics; answers with what was paused.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_pause_for(&mut self, target: &str, time: Duration) -> Result<Vec<String>, DisturbError> {
        self.pause_lasting(target, Some(time))
    }

    pub(crate) fn pause_lasting(
        &mut self,
        target: &str,
        lasting: Option<Duration>,
    ) -> Result<Vec<String>, DisturbError> {
        let (names, victims, cause) = self.signal("pause", target, World::pause)?;
        for id in victims {
            let world = self.world().clone();
            self.ends(Ending::Pause(id), lasting, move || world.resume(id, cause));
        }
        Ok(names)
    }

    /// SIGCONT: what is paused runs again. Its monotonic clock has gone on, and timers that were due fire now.
    ///
    /// # Panics
    /// If nothing of that name runs.
    #[track_caller]
    pub fn resume(&mut self, target: &str) -> &mut Self {
        let result = self.try_resume(target);
        self.must("resume", result);
        self
    }

    /// [`resume`](Self::resume) without panics; answers with the containers that run.
    ///
    /// # Errors
    /// If nothing of that name runs.
    pub fn try_resume(&mut self, target: &str) -> Result<Vec<String>, DisturbError> {
        let (names, victims, _) = self.signal("resume", target, World::resume)?;
        victims.into_iter().for_each(|id| self.forget(&Ending::Pause(id)));
        Ok(names)
    }

    fn signal(
        &mut self,
        what: &'static str,
        target: &str,
        act: impl Fn(&World, ContainerId, Option<EventId>) -> Option<EventId>,
    ) -> Result<Signalled, DisturbError> {
        let victims = self.running(target)?;
        let names: Vec<String> = victims.iter().map(Victim::name).collect();
        let cause = self.disturb(what, names.clone());
        let world = self.world().clone();
        self.at_once(|| {
            for victim in &victims {
                act(&world, victim.id, cause);
            }
        })?;
        Ok((names, victims.iter().map(|victim| victim.id).collect(), cause))
    }

    fn running(&self, target: &str) -> Result<Vec<Victim>, TargetError> {
        let chosen = self.choose(target)?;
        let mut victims = Vec::new();
        for row in &chosen.pods {
            let pod = ObjectKey::new(Kind::Pod, &row.namespace, &row.name);
            for (container, id) in self.cluster.running(&pod) {
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

/// The names of containers that were sent a signal, the containers, and the event of what was done.
type Signalled = (Vec<String>, Vec<ContainerId>, Option<EventId>);

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
