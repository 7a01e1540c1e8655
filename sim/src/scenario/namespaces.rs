//! Whether the namespaces are there that objects are applied to.

use std::collections::BTreeSet;

use hermesh_istiod::objects::Object;
use hermesh_istiod::yaml::{Diagnostic, Location, nearest};

use super::check::StepObjects;
use super::file::{Action, File};
use super::inventory::Objects;
use super::read::Problems;

/// What a new cluster with Istio has.
const AT_FIRST: [&str; 3] = ["default", "istio-system", "kube-system"];

/// Reports objects whose namespace is not there when they are applied. Of the answer each says where the object is.
pub(super) fn check(file: &File, own: &Objects, objects: &StepObjects, problems: &Problems) -> Vec<Diagnostic> {
    let all = || std::iter::once(own).chain(objects.values());
    if all().any(|objects| objects.more) {
        return Vec::new();
    }
    let created = all().flat_map(Objects::named).filter_map(namespace);
    let mut namespaces = Namespaces {
        there: AT_FIRST.into(),
        ever: AT_FIRST.into_iter().chain(created).collect(),
        told: BTreeSet::new(),
    };
    let mut missing = namespaces.apply(own, file, problems);
    for (index, step) in file.all_steps().enumerate() {
        let Some(objects) = objects.get(&index) else { continue };
        match step.action() {
            Some(Action::Apply(_)) => missing.extend(namespaces.apply(objects, file, problems)),
            Some(Action::Delete(_)) => {
                for name in objects.named().filter_map(namespace) {
                    namespaces.there.remove(name);
                }
            }
            _ => {}
        }
    }
    missing
}

struct Namespaces<'a> {
    there: BTreeSet<&'a str>,
    ever: BTreeSet<&'a str>,
    /// Those that have been reported, and for which file: once is enough for all objects in it.
    told: BTreeSet<(String, &'a str)>,
}

impl<'a> Namespaces<'a> {
    fn apply(&mut self, objects: &'a Objects, file: &File, problems: &Problems) -> Vec<Diagnostic> {
        let mut missing = Vec::new();
        for object in objects.named() {
            if let Some(name) = namespace(object) {
                self.there.insert(name);
                continue;
            }
            let name = object.metadata().namespace.as_str();
            if self.there.contains(name) || !object.kind().is_namespaced() {
                continue;
            }
            let origin = object.metadata().origin.0.clone().unwrap_or_else(|| Location::in_file(""));
            if !self.told.insert((origin.file.to_string(), name)) {
                continue;
            }
            let scenario = file.namespace.as_ref().filter(|scenario| scenario.value == name);
            match scenario {
                Some(scenario) if !self.ever.contains(name) => {
                    problems.error(&scenario.place, "namespace-not-found", self.complaint(name));
                }
                _ => {
                    let location = origin.field("metadata.namespace");
                    missing.push(Diagnostic::error("namespace-not-found", location, self.complaint(name)));
                }
            }
        }
        missing
    }

    fn complaint(&self, name: &str) -> String {
        if self.ever.contains(name) {
            return format!(
                "namespace `{name}` is not there at this step; apply Namespace {name} before what is in it"
            );
        }
        match nearest(name, self.ever.iter().copied()) {
            Some(near) => format!("no manifest creates namespace `{name}`; did you mean `{near}`?"),
            None => format!("no manifest creates namespace `{name}`; apply a Namespace {name} first"),
        }
    }
}

fn namespace(object: &Object) -> Option<&str> {
    match object {
        Object::Namespace(namespace) => Some(&namespace.metadata.name),
        _ => None,
    }
}
