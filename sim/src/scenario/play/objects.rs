//! `apply` and `delete`.

use std::collections::BTreeMap;

use hermesh_istiod::yaml::Diagnostic;

use super::super::changing::{Change, Subject, What};
use super::super::settle::{Trouble, settle};
use super::Player;
use crate::mesh::{Applied, ApplyError, Deleted, Fault, Manifests};

/// `1 configured, 2 unchanged`
pub(super) fn counted(applied: &Applied) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (_, outcome) in &applied.objects {
        *counts.entry(outcome.as_str()).or_default() += 1;
    }
    counts.into_iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

impl Player<'_> {
    pub(super) fn apply(&mut self, manifests: &Manifests) -> Result<(Result<String, Trouble>, Vec<Diagnostic>), Fault> {
        let applied = settle(self.mesh.try_apply(manifests.clone()), "the objects are applied")?;
        Ok(match applied {
            Ok(applied) => (Ok(counted(&applied)), applied.notes),
            Err(trouble) => (Err(trouble), Vec::new()),
        })
    }

    /// `scale`, `label`, `patch` and `rollout`: one object after the other.
    pub(super) fn change(&mut self, changes: &[Change]) -> Result<(Result<String, Trouble>, Vec<Diagnostic>), Fault> {
        let changed = settle(self.change_all(changes), "the objects are changed")?;
        Ok(match changed {
            Ok(changed) => (Ok(counted(&changed)), changed.notes),
            Err(trouble) => (Err(trouble), Vec::new()),
        })
    }

    pub(super) fn change_all(&mut self, changes: &[Change]) -> Result<Applied, ApplyError> {
        let mut all = Applied::default();
        for change in changes {
            let patch = change.patch(self.mesh.world().wall());
            let verb = change.verb();
            let changed = match (&change.subject.value, &change.what) {
                (Subject::Object(name), _) => self.mesh.change_object(verb, name, &patch),
                (Subject::Workload(target), What::RolloutRestart) => {
                    self.mesh.restart_workload(&target.to_string(), &patch)
                }
                (Subject::Workload(target), _) => self.mesh.change_workload(verb, &target.to_string(), &patch),
            };
            let changed = changed?;
            all.objects.extend(changed.objects);
            all.notes.extend(changed.notes);
        }
        Ok(all)
    }

    pub(super) fn delete(&mut self, manifests: &Manifests) -> Result<Result<String, Trouble>, Fault> {
        let deleted = settle(self.mesh.try_delete(manifests.clone()), "the objects are deleted")?;
        Ok(deleted.map(|Deleted { objects, absent, .. }| match absent.len() {
            0 => format!("{} deleted", objects.len()),
            absent => format!("{} deleted, {absent} not there", objects.len()),
        }))
    }
}
