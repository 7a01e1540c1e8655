//! What becomes of objects step by step, as far as it can be told before the first one: what patches make of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hermesh_istiod::objects::{Kind, Object, ObjectKey};
use hermesh_istiod::yaml::{Diagnostic, listed, nearest};

use super::changing::{Change, Subject};
use super::check::StepObjects;
use super::file::{Action, File};
use super::inventory::Objects;
use super::nodes;
use super::read::{Place, Problems};
use super::rejection::is_limit;
use crate::cluster::patch::{Patch, apply_over, is_scalable};
use crate::cluster::{ISTIO_NAMESPACE, ISTIOD, NodeSpec, WORKLOADS, immutable_fields, installed};

/// What a step that changes objects makes of them, and by what.
pub(super) type Changed = Vec<(Object, Patch)>;

/// What is known before the first step.
pub(super) struct Followed {
    /// What the steps that change objects make of them, by the number of the step.
    pub changed: BTreeMap<usize, Changed>,
    /// What manifests change of objects that are there, and nobody may change.
    pub clashes: Vec<Diagnostic>,
}

/// Follows the objects through all steps. `objects` gets what is there after the steps that change something.
pub(super) fn follow(file: &File, own: &Objects, objects: &mut StepObjects, problems: &Problems) -> Followed {
    let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str());
    let mut installed = installed(file.mesh.istio.value);
    installed.extend(nodes::of(&file.mesh).iter().map(NodeSpec::object));
    let mut follower = Follower {
        namespace,
        there: installed.iter().map(|object| (object.key(), object.clone())).collect(),
        ever: installed.iter().map(Object::key).collect(),
        broken: BTreeSet::new(),
        more: false,
        clashes: Vec::new(),
        problems,
    };
    for objects in std::iter::once(own).chain(objects.values()) {
        follower.ever.extend(objects.named().map(Object::key));
    }
    follower.apply(&mut own.clone());
    let mut changed = BTreeMap::new();
    for (index, step) in file.all_steps().enumerate() {
        match step.action() {
            Some(Action::Apply(_)) => {
                if let Some(objects) = objects.get_mut(&index) {
                    follower.apply(objects);
                }
            }
            Some(Action::Delete(_)) => objects.get(&index).into_iter().for_each(|objects| follower.delete(objects)),
            Some(Action::Change(changes)) => {
                let rejection = step.rejection();
                if let (Some(rejection), [_, _, ..]) = (rejection, changes) {
                    let message = "several objects are changed here, one after the other; expect a rejection of one";
                    problems.error(&rejection.place, "contradiction", message);
                }
                let made: Changed =
                    changes.iter().filter_map(|change| follower.change(change, rejection.is_some())).collect();
                let whole = made.iter().map(|(object, _)| object.clone()).collect();
                let patches = made.iter().map(|(object, patch)| (object.key(), patch.clone())).collect();
                objects.insert(index, Objects { whole, patches, ..Objects::default() });
                changed.insert(index, made);
            }
            _ => {}
        }
    }
    Followed { changed, clashes: follower.clashes }
}

struct Follower<'a> {
    namespace: &'a str,
    there: BTreeMap<ObjectKey, Object>,
    /// All that any step applies.
    ever: BTreeSet<ObjectKey>,
    /// Objects of which not everything could be read.
    broken: BTreeSet<ObjectKey>,
    /// Whether there is more, of which nothing is known.
    more: bool,
    clashes: Vec<Diagnostic>,
    problems: &'a Problems,
}

impl Follower<'_> {
    fn apply(&mut self, objects: &mut Objects) {
        self.more |= objects.more;
        self.broken.extend(objects.broken.iter().map(Object::key));
        for object in &mut objects.whole {
            let key = object.key();
            // What both cannot come to, the step itself is told.
            if let Some(there) = self.there.get(&key) {
                if let Ok(merged) = apply_over(there, object.clone()) {
                    *object = merged;
                }
                if !self.more {
                    self.clashes.extend(immutable_fields(there, object));
                }
            }
            self.broken.remove(&key);
            self.there.insert(key, object.clone());
        }
    }

    fn delete(&mut self, objects: &Objects) {
        for key in objects.named().map(Object::key) {
            self.there.remove(&key);
            if key.kind == Kind::Namespace {
                self.there.retain(|other, _| other.namespace != key.name);
            }
        }
    }

    /// What a change makes of its object; `None` if that is not known, or has been complained of.
    fn change(&mut self, change: &Change, is_rejected: bool) -> Option<(Object, Patch)> {
        let place = &change.subject.place;
        let key = match &change.subject.value {
            Subject::Object(name) => name.key(self.namespace),
            Subject::Workload(target) => {
                let namespace = target.namespace.as_deref().unwrap_or(self.namespace);
                let istiods = (target.namespace.is_none() && target.workload == ISTIOD).then_some(ISTIO_NAMESPACE);
                let kinds = WORKLOADS.into_iter().chain([Kind::Pod]);
                let keys = [Some(namespace), istiods].into_iter().flatten().flat_map(|namespace| {
                    kinds.clone().map(move |kind| ObjectKey::new(kind, namespace, &target.workload))
                });
                // That there is no such workload, the inventory complains.
                let key = keys.into_iter().find(|key| self.there.contains_key(key))?;
                if !is_scalable(&key) {
                    let kind = key.kind;
                    let message = format!(
                        "`{}` is a {kind}: only a Deployment or a StatefulSet has replicas and is rolled out",
                        target.workload
                    );
                    self.problems.error(place, "not-scalable", message);
                    return None;
                }
                key
            }
        };
        let Some(object) = self.there.get(&key) else {
            self.complain(place, &key);
            return None;
        };
        let patch = change.patch(Duration::ZERO);
        match patch.change(object) {
            Ok(_) if is_rejected => None,
            Ok((changed, notes)) => {
                notes.into_iter().for_each(|note| self.problems.add(note));
                self.there.insert(key, changed.clone());
                Some((changed, patch))
            }
            Err(errors) => {
                let told = errors.into_iter().filter(|error| !is_rejected || is_limit(error));
                told.for_each(|error| self.problems.add(error));
                None
            }
        }
    }

    fn complain(&self, place: &Place, key: &ObjectKey) {
        if self.more || self.broken.contains(key) {
            return;
        }
        let ObjectKey { kind, namespace, name } = key;
        let place_of = match namespace.as_str() {
            "" => String::new(),
            namespace => format!(" in namespace {namespace}"),
        };
        let beside = || self.ever.iter().filter(|other| other.namespace == *namespace);
        let names: Vec<&str> = beside().filter(|other| other.kind == *kind).map(|other| other.name.as_str()).collect();
        let other_kind = beside().find(|other| other.name == *name);
        let message = if self.ever.contains(key) {
            format!("{kind} `{name}` is not there at this step")
        } else if let Some(near) = nearest(name, names.iter().copied()) {
            format!("no {kind} `{name}`{place_of}; did you mean `{near}`?")
        } else if let Some(other) = other_kind {
            let word = other.kind.name().to_lowercase();
            format!("no {kind} `{name}`{place_of}; did you mean `{word}/{name}`?")
        } else if names.is_empty() {
            format!("no {kind} `{name}`{place_of}; no manifest has one there")
        } else {
            format!("no {kind} `{name}`{place_of}; the manifests have {}", listed(&names))
        };
        self.problems.error(place, "unknown-object", message);
    }
}
