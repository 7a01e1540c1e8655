//! Changing objects that are there: scaling, labelling, patching, and rolling out anew.

use hermesh_istiod::objects::{Object, ObjectKey};
use hermesh_istiod::yaml::{Diagnostic, Location, Position, nearest, parse};

use super::events::ObjectChanged;
use super::{Applied, ApplyError, Mesh, ObjectName, TargetError};
use crate::cluster::ApplyOutcome;
use crate::cluster::patch::{self, Patch};

/// Changes of objects. Workloads are named as everywhere, `web` or `shop/web`, and other objects with their kind as on
/// kubectl's command line: `deployment/web`, `shop/service/web`, `namespace/shop`.
impl Mesh {
    /// Has a Deployment or StatefulSet run so many pods, as `kubectl scale --replicas` does.
    ///
    /// # Panics
    /// If there is no such workload, or no room for its pods.
    #[track_caller]
    pub fn scale(&mut self, workload: &str, replicas: u32) -> &mut Self {
        let result = self.try_scale(workload, replicas);
        self.must("scale", result);
        self
    }

    /// [`scale`](Self::scale) without panics.
    ///
    /// # Errors
    /// If there is no such workload, or no room for its pods.
    pub fn try_scale(&mut self, workload: &str, replicas: u32) -> Result<Applied, ApplyError> {
        self.change_workload("scale", workload, &Patch::replicas("scale", "", replicas.into(), Position::START))
    }

    /// Gives an object a label, or takes one away, as `kubectl label --overwrite` does:
    /// `mesh.label("namespace/shop", "istio-injection", "disabled")`, or `None` in place of a value.
    ///
    /// # Panics
    /// If there is no such object, or if the API server would refuse the label.
    #[track_caller]
    pub fn label<'v>(&mut self, object: &str, key: &str, value: impl Into<Option<&'v str>>) -> &mut Self {
        let result = self.try_label(object, key, value);
        self.must("label", result);
        self
    }

    /// [`label`](Self::label) without panics.
    ///
    /// # Errors
    /// If there is no such object, or if the API server would refuse the label.
    pub fn try_label<'v>(
        &mut self,
        object: &str,
        key: &str,
        value: impl Into<Option<&'v str>>,
    ) -> Result<Applied, ApplyError> {
        let name: ObjectName = object.parse().map_err(ApplyError::Name)?;
        self.change_object("label", &name, &Patch::labels("label", "", patch::texts(&[(key, value.into())])))
    }

    /// Changes an object by a JSON merge patch (RFC 7386) in YAML or JSON, as `kubectl patch --type merge` does:
    /// mappings are merged, `null` removes a field, and lists are replaced as a whole.
    ///
    /// # Panics
    /// If there is no such object, or if the API server would refuse what becomes of it.
    #[track_caller]
    pub fn patch(&mut self, object: &str, patch: &str) -> &mut Self {
        let result = self.try_patch(object, patch);
        self.must("patch", result);
        self
    }

    /// [`patch`](Self::patch) without panics.
    ///
    /// # Errors
    /// If there is no such object, or if the API server would refuse what becomes of it: with positions in the patch.
    pub fn try_patch(&mut self, object: &str, patch: &str) -> Result<Applied, ApplyError> {
        let name: ObjectName = object.parse().map_err(ApplyError::Name)?;
        let documents = parse("patch", patch).map_err(ApplyError::Refused)?;
        if let Some(second) = documents.get(1) {
            let place = Location::in_file("patch").at(second.root.position);
            let message = "a second document; a patch is one";
            return Err(ApplyError::Refused(vec![Diagnostic::error("two-documents", place, message)]));
        }
        let root = documents.into_iter().next().map(|document| document.root);
        let Some(tree) = root.filter(|root| root.entries().is_some()) else {
            let message = "expected a mapping, such as `spec: {replicas: 3}`";
            return Err(ApplyError::Refused(vec![Diagnostic::error(
                "wrong-type",
                Location::in_file("patch"),
                message,
            )]));
        };
        self.change_object("patch", &name, &Patch::new("patch", "", tree))
    }

    /// Has a Deployment or StatefulSet replace all its pods by new ones, as `kubectl rollout restart` does.
    ///
    /// # Panics
    /// If there is no such workload.
    #[track_caller]
    pub fn rollout_restart(&mut self, workload: &str) -> &mut Self {
        let result = self.try_rollout_restart(workload);
        self.must("rollout_restart", result);
        self
    }

    /// [`rollout_restart`](Self::rollout_restart) without panics.
    ///
    /// # Errors
    /// If there is no such workload.
    pub fn try_rollout_restart(&mut self, workload: &str) -> Result<Applied, ApplyError> {
        let restart = Patch::restart("rollout restart", "", self.world().wall(), Position::START);
        self.restart_workload(workload, &restart)
    }

    /// Rolls a workload out anew by `restart`, which has the time.
    pub(crate) fn restart_workload(&mut self, workload: &str, restart: &Patch) -> Result<Applied, ApplyError> {
        let applied = self.change_workload("rollout restart", workload, restart)?;
        match applied.objects.as_slice() {
            [(key, ApplyOutcome::Unchanged)] => Err(ApplyError::RestartedJustNow(key.clone())),
            _ => Ok(applied),
        }
    }

    /// Changes a Deployment or StatefulSet.
    pub(crate) fn change_workload(
        &mut self,
        what: &'static str,
        workload: &str,
        patch: &Patch,
    ) -> Result<Applied, ApplyError> {
        let keys = self.workload(workload)?;
        match keys.into_iter().find(patch::is_scalable) {
            Some(key) => {
                let result = self.change(what, &key, patch);
                self.note_rejection(what, result)
            }
            None => Err(ApplyError::NotScalable(self.workload(workload)?.remove(0))),
        }
    }

    /// Changes an object of any kind.
    pub(crate) fn change_object(
        &mut self,
        what: &'static str,
        name: &ObjectName,
        patch: &Patch,
    ) -> Result<Applied, ApplyError> {
        let result = self.change(what, &name.key(&self.namespace), patch);
        self.note_rejection(what, result)
    }

    fn change(&mut self, what: &'static str, key: &ObjectKey, patch: &Patch) -> Result<Applied, ApplyError> {
        let there = self.cluster.store.get(key).ok_or_else(|| self.no_such(key))?;
        let (object, notes) = patch.change(&there).map_err(ApplyError::Refused)?;
        let mut review = self.cluster.review(std::slice::from_ref(&object));
        patch.locate(&mut review.errors);
        if !review.errors.is_empty() {
            return Err(ApplyError::Refused(review.errors));
        }
        patch.locate(&mut review.notes);
        let event = ObjectChanged { what, object: key.to_string(), patch: patch.json() };
        let cause = self.world().emit("mesh", self.cause, event).or(self.cause);
        let cluster = self.cluster.clone();
        let outcome = self.at_once(|| cluster.put(object, cause))?;
        let mut applied = Applied { objects: vec![(key.clone(), outcome)], notes };
        applied.notes.extend(review.notes);
        applied.notes.extend(self.dangling.follow(&self.cluster));
        Ok(applied)
    }

    /// What would be refused of an object that `patch` made, whatever else is there. `namespaces` are those so far.
    pub(crate) fn refusals_of_change(
        &self,
        object: &Object,
        patch: &Patch,
        namespaces: &mut Vec<Object>,
    ) -> Vec<Diagnostic> {
        let mut errors = self.refusals_among(std::slice::from_ref(object), namespaces);
        patch.locate(&mut errors);
        errors
    }

    fn no_such(&self, key: &ObjectKey) -> ApplyError {
        let known = self.cluster.store.keys(key.kind);
        let known: Vec<&str> =
            known.iter().filter(|other| other.namespace == key.namespace).map(|other| other.name.as_str()).collect();
        let nearest = nearest(&key.name, known).map(str::to_owned);
        TargetError::Unknown { what: key.kind.name(), name: key.name.clone(), nearest }.into()
    }
}
