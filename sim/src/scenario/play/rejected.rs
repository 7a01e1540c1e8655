//! Steps whose doing is expected to be rejected.

use hermesh_istiod::yaml::Diagnostic;

use super::super::changing;
use super::super::file::{Action, Step};
use super::super::outcome::{Outcome, StepReport};
use super::super::rejection::{Rejection, is_limit};
use super::super::settle::settle;
use super::objects::counted;
use super::{Player, list, missed};
use crate::mesh::{ApplyError, Fault};

impl Player<'_> {
    /// Tries what is expected to be rejected. If it is not, it is done all the same, and the step fails.
    pub(super) fn rejected(
        &mut self,
        number: usize,
        index: usize,
        step: &Step,
        rejection: &Rejection,
        notes: Vec<Diagnostic>,
    ) -> Result<StepReport, Fault> {
        let (began, name) = (self.mesh.now(), step.name.as_ref().map(|name| name.value.clone()));
        let (said, done) = match step.action() {
            Some(Action::Change(changes)) => (changing::describe(changes), self.change_all(changes)),
            Some(Action::Apply(paths)) => {
                (format!("apply {}", list(paths)), self.mesh.try_apply(self.scenario.manifests[&index].clone()))
            }
            _ => unreachable!("the reader takes `rejected` of what changes objects only"),
        };
        let check = match done {
            Ok(applied) => rejection.accepted(&counted(&applied)),
            Err(ApplyError::Refused(reasons)) if !reasons.iter().any(is_limit) => rejection.judge(&reasons),
            other => {
                let done = settle(other, "the cluster decides")?.map(|applied| Outcome::Words(counted(&applied)));
                let report = self.report(number, name, began, said, done, &step.verb_place);
                return Ok(StepReport { step: step.written.clone(), notes, ..report });
            }
        };
        let words = if check.held { "rejected" } else { "" };
        let checks = vec![check];
        let failure = missed(&checks, Vec::new).map(|trouble| self.failure(trouble, &rejection.place));
        let report = self.report(number, name, began, said, Ok(Outcome::Words(words.to_owned())), &step.verb_place);
        Ok(StepReport { step: step.written.clone(), checks, notes, failure, ..report })
    }
}
