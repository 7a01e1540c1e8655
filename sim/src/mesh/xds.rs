//! istiod's responses in the test's hand: held, released, dropped, delayed, reordered.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh_istiod::push::gate::{self, Deed, Pods, Rule};
use hermesh_xds::ResourceType;
use tokio::time::Instant;

use super::{DisturbError, Mesh, TargetError};

/// Responses of istiod: all of them, or those of some types, to the clients of a workload or a pod.
///
/// ```
/// use hermesh::{ResourceType, Responses};
///
/// let late_endpoints = Responses::of([ResourceType::Endpoints]).to("web");
/// let everything = Responses::all();
/// # let _ = (late_endpoints, everything);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Responses {
    pub(super) types: BTreeSet<ResourceType>,
    pub(super) to: Option<String>,
}

impl Responses {
    /// All responses to everybody.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// Those of these types to everybody.
    #[must_use]
    pub fn of(types: impl IntoIterator<Item = ResourceType>) -> Self {
        Self { types: types.into_iter().collect(), to: None }
    }

    /// Of these, those to the clients of a workload, `web`, or of one of its pods, `web/0`, with a namespace in front
    /// if it is another than the mesh's. Pods of the workload that are still to come are meant too.
    #[must_use]
    pub fn to(self, target: impl Into<String>) -> Self {
        Self { to: Some(target.into()), ..self }
    }

    /// `EDS to web`, for messages.
    pub(super) fn described(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types: Vec<&str> = self.types.iter().map(|one| one.short()).collect();
        let types = if types.is_empty() { "all".to_owned() } else { types.join(", ") };
        match &self.to {
            Some(to) => write!(f, "{types} to {to}"),
            None => f.write_str(&types),
        }
    }
}

/// What istiod's responses go through on their way. Rules about them outlive streams, pods and istiod; of those that
/// are about a response the latest decides. Targets are written as everywhere, without a container: the clients of a
/// pod are one node to istiod.
impl Mesh {
    /// Keeps responses back until they are [released](Self::release). They leave in order then.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn hold(&mut self, responses: Responses) -> &mut Self {
        let result = self.try_hold(&responses, None);
        self.must("hold", result);
        self
    }

    /// Keeps responses back, each until this time has passed.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn hold_for(&mut self, responses: Responses, time: Duration) -> &mut Self {
        let result = self.try_hold(&responses, Some(time));
        self.must("hold_for", result);
        self
    }

    /// [`hold`](Self::hold) and [`hold_for`](Self::hold_for) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_hold(&mut self, responses: &Responses, time: Option<Duration>) -> Result<(), DisturbError> {
        self.rule("hold", responses, |now| Deed::Hold { until: time.map(|time| now + time) })
    }

    /// Ends whatever is done to responses: those that wait leave now, in order, and others are not kept back any more.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn release(&mut self, responses: Responses) -> &mut Self {
        let result = self.try_release(&responses);
        self.must("release", result);
        self
    }

    /// [`release`](Self::release) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_release(&mut self, responses: &Responses) -> Result<(), DisturbError> {
        self.rule("release", responses, |_| Deed::Pass)
    }

    /// Loses responses, those that wait among them: the next `count` of them in all, or every one until they are
    /// [released](Self::release). istiod believes that it has sent them.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn drop_responses(&mut self, responses: Responses, count: impl Into<Option<u64>>) -> &mut Self {
        let result = self.try_drop_responses(&responses, count.into());
        self.must("drop_responses", result);
        self
    }

    /// [`drop_responses`](Self::drop_responses) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod.
    pub fn try_drop_responses(&mut self, responses: &Responses, count: Option<u64>) -> Result<(), DisturbError> {
        self.rule("drop", responses, |_| Deed::Drop { count })
    }

    /// Delays responses, each by a time that the seed draws, until they are [released](Self::release). On one stream
    /// those of one type do not overtake one another.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn delay(&mut self, responses: Responses, by: RangeInclusive<Duration>) -> &mut Self {
        let result = self.try_delay(&responses, by);
        self.must("delay", result);
        self
    }

    /// [`delay`](Self::delay) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod, or if the range is empty.
    pub fn try_delay(&mut self, responses: &Responses, by: RangeInclusive<Duration>) -> Result<(), DisturbError> {
        if by.is_empty() {
            return Err(DisturbError::Delay { from: *by.start(), to: *by.end() });
        }
        self.rule("delay", responses, |_| Deed::Delay { by })
    }

    /// Lets the next `count` responses on each stream wait for one another and leave in reverse order.
    ///
    /// # Panics
    /// If there is no such workload or pod.
    #[track_caller]
    pub fn reorder(&mut self, responses: Responses, count: usize) -> &mut Self {
        let result = self.try_reorder(&responses, count);
        self.must("reorder", result);
        self
    }

    /// [`reorder`](Self::reorder) without panics.
    ///
    /// # Errors
    /// If there is no such workload or pod, or if `count` is below 2.
    pub fn try_reorder(&mut self, responses: &Responses, count: usize) -> Result<(), DisturbError> {
        if count < 2 {
            return Err(DisturbError::Count(count));
        }
        self.rule("reorder", responses, |_| Deed::Reverse { count })
    }

    fn rule(
        &mut self,
        what: &'static str,
        responses: &Responses,
        deed: impl FnOnce(Instant) -> Deed,
    ) -> Result<(), DisturbError> {
        let to = responses.to.as_deref().map(|to| self.clients_of(to)).transpose()?;
        let cause = self.disturb(what, vec![responses.described()]);
        let (gate, types) = (self.cluster.gate().clone(), responses.types.clone());
        self.at_once(|| {
            let responses = gate::Responses { types, to };
            gate.set(Rule { responses, deed: deed(Instant::now()), cause });
        })?;
        Ok(())
    }

    /// The pods of a workload, or one of them by its ordinal, with those that are still to come.
    pub(super) fn clients_of(&self, target: &str) -> Result<Pods, TargetError> {
        let chosen = self.choose(target)?;
        if let Some(container) = chosen.container {
            return Err(TargetError::Container { target: target.to_owned(), container });
        }
        let row = chosen.pods.first().ok_or_else(|| TargetError::NotRunning(target.to_owned()))?;
        let last = target.rsplit('/').next().unwrap_or_default();
        if last == row.name {
            let own = (row.namespace.clone(), row.name.clone());
            let name = format!("pod {}/{}", own.0, own.1);
            return Ok(Pods::new(name, move |of, pod| (of, pod) == (&*own.0, &*own.1)));
        }
        let ordinal: Option<u32> = if target.contains('/') { last.parse().ok() } else { None };
        let (namespace, workload) = (row.namespace.clone(), row.workload.clone());
        let name = match ordinal {
            Some(ordinal) => format!("{namespace}/{workload}/{ordinal}"),
            None => format!("{namespace}/{workload}"),
        };
        let members = self.cluster.members();
        Ok(Pods::new(name, move |of, pod| {
            let member = members.of_name(of, pod).filter(|_| of == namespace);
            member.is_some_and(|it| it.workload == workload && ordinal.is_none_or(|ordinal| ordinal == it.ordinal))
        }))
    }
}
