//! `apply` and `delete`.

use std::collections::BTreeMap;

use hermesh_istiod::yaml::Diagnostic;

use super::super::settle::{Trouble, settle};
use super::Player;
use crate::mesh::{Applied, Deleted, Fault, Manifests};

impl Player<'_> {
    pub(super) fn apply(&mut self, manifests: &Manifests) -> Result<(Result<String, Trouble>, Vec<Diagnostic>), Fault> {
        let applied = settle(self.mesh.try_apply(manifests.clone()), "the objects are applied")?;
        Ok(match applied {
            Ok(Applied { objects, notes, .. }) => {
                let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
                for (_, outcome) in &objects {
                    *counts.entry(outcome.as_str()).or_default() += 1;
                }
                let counts: Vec<String> = counts.into_iter().map(|(what, count)| format!("{count} {what}")).collect();
                (Ok(counts.join(", ")), notes)
            }
            Err(trouble) => (Err(trouble), Vec::new()),
        })
    }

    pub(super) fn delete(&mut self, manifests: &Manifests) -> Result<Result<String, Trouble>, Fault> {
        let deleted = settle(self.mesh.try_delete(manifests.clone()), "the objects are deleted")?;
        Ok(deleted.map(|Deleted { objects, absent, .. }| match absent.len() {
            0 => format!("{} deleted", objects.len()),
            absent => format!("{} deleted, {absent} not there", objects.len()),
        }))
    }
}
