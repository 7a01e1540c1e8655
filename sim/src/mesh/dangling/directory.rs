//! What there is in a cluster that others refer to by name or by labels.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hermesh_istiod::objects::{ConfigMap, Kind, Labels, Object, ObjectKey, selects};

use crate::cluster::store::Store;

/// Labels that others than people set, and that no template has.
const SET_BY_OTHERS: [&str; 7] = [
    "apps.kubernetes.io/",
    "batch.kubernetes.io/",
    "controller-revision-hash",
    "pod-template-hash",
    "security.istio.io/",
    "service.istio.io/",
    "statefulset.kubernetes.io/",
];

/// What there is.
pub(super) struct Directory<'a> {
    store: &'a Store,
    /// The labels of workloads by their namespaces.
    workloads: BTreeMap<String, Labelled>,
}

/// Sets of labels, and which of them have a label.
#[derive(Default)]
struct Labelled {
    sets: Vec<Labels>,
    with: BTreeMap<(String, String), Vec<usize>>,
}

impl Labelled {
    fn add(&mut self, labels: &Labels) {
        for (key, value) in labels {
            self.with.entry((key.clone(), value.clone())).or_default().push(self.sets.len());
        }
        self.sets.push(labels.clone());
    }

    fn any(&self, selector: &Labels) -> bool {
        let Some((key, value)) = selector.first_key_value() else { return !self.sets.is_empty() };
        let with = self.with.get(&(key.clone(), value.clone()));
        with.into_iter().flatten().any(|index| selects(selector, &self.sets[*index]))
    }
}

impl<'a> Directory<'a> {
    pub(super) fn of(store: &'a Store) -> Self {
        let mut workloads: BTreeMap<String, Labelled> = BTreeMap::new();
        let kinds =
            [Kind::Deployment, Kind::StatefulSet, Kind::Job, Kind::Pod, Kind::WorkloadEntry, Kind::WorkloadGroup];
        for object in kinds.into_iter().flat_map(|kind| store.list(kind)) {
            // The template of a workload speaks for its pods.
            if let Some(labels) = labels_of(&object).filter(|_| object.metadata().owner.is_none()) {
                workloads.entry(object.metadata().namespace.clone()).or_default().add(&labels);
            }
        }
        Self { store, workloads }
    }

    pub(super) fn has(&self, kind: Kind, namespace: &str, name: &str) -> bool {
        self.store.contains(&ObjectKey::new(kind, namespace, name))
    }

    pub(super) fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Object> {
        self.store.get(&ObjectKey::new(kind, namespace, name))
    }

    pub(super) fn config_map(&self, namespace: &str, name: &str) -> Option<Arc<ConfigMap>> {
        match self.get(Kind::ConfigMap, namespace, name) {
            Some(Object::ConfigMap(map)) => Some(map),
            _ => None,
        }
    }

    /// The names of all objects of a kind in a namespace.
    pub(super) fn names(&self, kind: Kind, namespace: &str) -> BTreeSet<String> {
        self.store.list_in(kind, namespace).into_iter().map(|object| object.metadata().name.clone()).collect()
    }

    /// Whether a workload of the namespace, or of any without one, has all labels of `selector`.
    pub(super) fn selects(&self, namespace: Option<&str>, selector: &Labels) -> bool {
        let by_others = |key: &str| SET_BY_OTHERS.iter().any(|prefix| key.starts_with(prefix));
        let selector: Labels = selector
            .iter()
            .filter(|(key, _)| !by_others(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let of =
            |(own, labelled): (&String, &Labelled)| namespace.is_none_or(|it| it == own) && labelled.any(&selector);
        self.workloads.iter().any(of) || self.pods(namespace).any(|labels| selects(&selector, &labels))
    }

    /// The values that workloads have for a label.
    pub(super) fn values(&self, namespace: Option<&str>, key: &str) -> BTreeSet<&str> {
        let of = self.workloads.iter().filter(|(own, _)| namespace.is_none_or(|it| it == *own));
        let labels = of.flat_map(|(_, labelled)| labelled.with.keys());
        labels.filter(|(own, _)| own == key).map(|(_, value)| value.as_str()).collect()
    }

    /// The labels of pods, which somebody may have changed since they were made.
    fn pods(&self, namespace: Option<&str>) -> impl Iterator<Item = Labels> {
        let pods = match namespace {
            Some(namespace) => self.store.list_in(Kind::Pod, namespace),
            None => self.store.list(Kind::Pod),
        };
        pods.into_iter().map(|pod| pod.metadata().labels.clone())
    }
}

fn labels_of(object: &Object) -> Option<Labels> {
    let both = |one: &Labels, other: &Labels| one.iter().chain(other).map(|(k, v)| (k.clone(), v.clone())).collect();
    match object {
        Object::Pod(pod) => Some(pod.metadata.labels.clone()),
        Object::WorkloadEntry(entry) => Some(both(&entry.metadata.labels, &entry.spec.labels)),
        Object::WorkloadGroup(group) => {
            let template = group.spec.template.as_ref().map(|template| &template.labels);
            Some(both(&group.spec.metadata.labels, template.unwrap_or(&Labels::new())))
        }
        _ => object.pod_template().map(|template| template.metadata.labels.clone()),
    }
}
