//! Applying and deleting objects.

use hermesh_istiod::objects::{Kind, Object, ObjectKey, load};
use hermesh_istiod::yaml::Diagnostic;

use super::events::{ApplyStarted, DeleteStarted, Rejected};
use super::{ApplyError, Fault, IntoManifests, Manifests, Mesh};
use crate::cluster::{ApplyOutcome, locate, patch};

/// What an apply did.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Applied {
    /// The objects in the order in which they were applied, and what became of each.
    pub objects: Vec<(ObjectKey, ApplyOutcome)>,
    /// What has no effect here, or another than written, and routes and rules for hosts and subsets that do not exist
    /// once everything is applied. Of those each is noted once, until it is mended.
    pub notes: Vec<Diagnostic>,
}

/// What a delete did.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Deleted {
    /// The objects that were there.
    pub objects: Vec<ObjectKey>,
    /// Those that were not.
    pub absent: Vec<ObjectKey>,
}

/// Codes of what is refused because of what is there already.
const DECIDED_BY_OTHERS: [&str; 6] =
    ["address-taken", "forbidden", "immutable", "name-taken", "namespace-not-found", "owned"];

/// Objects.
impl Mesh {
    /// Applies manifests as `kubectl apply -f` does; [`IntoManifests`] tells what can be given.
    ///
    /// # Panics
    /// If anything in them is refused; then nothing of them is applied.
    #[track_caller]
    pub fn apply(&mut self, manifests: impl IntoManifests) -> &mut Self {
        let result = self.try_apply(manifests);
        self.must("apply", result);
        self
    }

    /// [`apply`](Self::apply) without panics.
    ///
    /// # Errors
    /// Everything that is refused, with positions.
    pub fn try_apply(&mut self, manifests: impl IntoManifests) -> Result<Applied, ApplyError> {
        let result = self.apply_all(manifests);
        self.note_rejection("apply", result)
    }

    /// Has the trace tell of what is refused.
    pub(super) fn note_rejection<T>(&self, what: &'static str, result: Result<T, ApplyError>) -> Result<T, ApplyError> {
        if let Err(ApplyError::Refused(reasons)) = &result {
            let reasons = reasons.iter().map(ToString::to_string).collect();
            self.world().emit("mesh", self.cause, Rejected { what, reasons });
        }
        result
    }

    fn apply_all(&mut self, manifests: impl IntoManifests) -> Result<Applied, ApplyError> {
        let mut loaded = self.read(manifests)?;
        let store = self.cluster.store.clone();
        let mut clashes = Vec::new();
        let merged = loaded.objects.into_iter().filter_map(|object| match store.get(&object.key()) {
            Some(there) => patch::apply_over(&there, object).map_err(|errors| clashes.extend(errors)).ok(),
            None => Some(object),
        });
        loaded.objects = merged.collect();
        if !clashes.is_empty() {
            return Err(ApplyError::Refused(clashes));
        }
        let mut review = self.cluster.review(&loaded.objects);
        for manifest in loaded.manifests.iter() {
            locate(&mut review.errors, &manifest.name, &manifest.text);
            locate(&mut review.notes, &manifest.name, &manifest.text);
        }
        if !review.errors.is_empty() {
            return Err(ApplyError::Refused(review.errors));
        }
        let cause = self.world().emit("mesh", self.cause, ApplyStarted { files: loaded.files() }).or(self.cause);
        let mut applied = Applied { objects: Vec::new(), notes: loaded.notes };
        applied.notes.extend(review.notes);
        let cluster = self.cluster.clone();
        let put = |object: Object| (object.key(), cluster.put(object, cause));
        applied.objects = self.at_once(|| loaded.objects.into_iter().map(put).collect())?;
        applied.notes.extend(self.dangling.follow(&self.cluster));
        Ok(applied)
    }

    /// What [`try_apply`](Self::try_apply) would refuse of manifests whatever else is there: everything but what
    /// other objects decide. `namespaces` are those applied before; those of the manifests are added.
    pub(crate) fn refusals(&self, manifests: impl IntoManifests, namespaces: &mut Vec<Object>) -> Vec<Diagnostic> {
        let Ok(loaded) = self.read(manifests) else { return Vec::new() };
        let mut errors = self.refusals_among(&loaded.objects, namespaces);
        for manifest in loaded.manifests.iter() {
            locate(&mut errors, &manifest.name, &manifest.text);
        }
        errors
    }

    /// As [`refusals`](Self::refusals), of objects that were read.
    pub(super) fn refusals_among(&self, objects: &[Object], namespaces: &mut Vec<Object>) -> Vec<Diagnostic> {
        let all: Vec<Object> = namespaces.iter().chain(objects).cloned().collect();
        namespaces.extend(objects.iter().filter(|object| object.kind() == Kind::Namespace).cloned());
        let mut errors = self.cluster.review(&all).errors;
        errors.retain(|error| !DECIDED_BY_OTHERS.contains(&error.code));
        errors
    }

    /// Deletes what manifests name, as `kubectl delete -f` does. Pods end gracefully while time passes.
    ///
    /// # Panics
    /// If the manifests are refused, or if one of their objects is not there.
    #[track_caller]
    pub fn delete(&mut self, manifests: impl IntoManifests) -> &mut Self {
        let result = self.try_delete(manifests);
        let deleted = self.must("delete", result);
        let absent: Vec<String> = deleted.absent.iter().map(ToString::to_string).collect();
        assert!(absent.is_empty(), "delete: not found: {}", absent.join(", "));
        self
    }

    /// [`delete`](Self::delete) without panics.
    ///
    /// # Errors
    /// If the manifests are refused.
    pub fn try_delete(&mut self, manifests: impl IntoManifests) -> Result<Deleted, ApplyError> {
        let loaded = self.read(manifests)?;
        let keys: Vec<ObjectKey> = loaded.objects.iter().map(Object::key).collect();
        Ok(self.try_delete_objects(&keys)?)
    }

    /// Deletes objects by kind, namespace and name.
    ///
    /// # Errors
    /// See [`Fault`].
    pub fn try_delete_objects(&mut self, keys: &[ObjectKey]) -> Result<Deleted, Fault> {
        let objects = keys.iter().map(ToString::to_string).collect();
        let cause = self.world().emit("mesh", self.cause, DeleteStarted { objects }).or(self.cause);
        let cluster = self.cluster.clone();
        self.at_once(|| {
            let (there, absent) = keys.iter().cloned().partition(|key| cluster.remove(key, cause));
            Deleted { objects: there, absent }
        })
    }

    fn read(&self, manifests: impl IntoManifests) -> Result<Read, ApplyError> {
        let mut read = Read { manifests: manifests.into_manifests()?, ..Read::default() };
        let mut errors = Vec::new();
        for manifest in read.manifests.iter() {
            let loaded = load(&manifest.name, &manifest.text, &self.namespace);
            read.objects.extend(loaded.objects);
            read.notes.extend(loaded.notes);
            errors.extend(loaded.errors);
        }
        if errors.is_empty() { Ok(read) } else { Err(ApplyError::Refused(errors)) }
    }
}

#[derive(Default)]
struct Read {
    manifests: Manifests,
    objects: Vec<Object>,
    notes: Vec<Diagnostic>,
}

impl Read {
    fn files(&self) -> Vec<String> {
        self.manifests.iter().map(|manifest| manifest.name.clone()).collect()
    }
}
