//! The controller that makes pods of StatefulSets.
//!
//! Kubernetes keeps older templates in ControllerRevisions; here the controller remembers the two that matter.
//!
//! Source: kubernetes `pkg/controller/statefulset`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_istiod::objects::{
    EmptyDirVolume, Kind, Object, ObjectKey, Pod, PodPhase, PodTemplate, StatefulSet, UpdateStrategyType, Volume,
    VolumeSource,
};
use hermesh_runtime::EventId;

use super::ordinals::{Member, keeps_older, plan};
use super::pods::{self, Pods};
use super::store::{Change, Watch};

/// The labels that a pod gets beside those of its template.
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";
const REVISION_LABEL: &str = "controller-revision-hash";

/// The controller; clones share it.
#[derive(Clone)]
pub(crate) struct StatefulSets {
    pods: Pods,
    revisions: Arc<Mutex<BTreeMap<ObjectKey, Revisions>>>,
}

/// The template that the pods had before an update, as long as one is under way.
struct Revisions {
    /// The StatefulSet's UID: another one may have its name later.
    uid: String,
    current: PodTemplate,
}

impl StatefulSets {
    pub(crate) const WATCHED: [Kind; 2] = [Kind::Pod, Kind::StatefulSet];

    pub(crate) fn new(pods: &Pods) -> Self {
        Self { pods: pods.clone(), revisions: Arc::default() }
    }

    /// Follows the store for good.
    pub(crate) async fn run(self, mut watch: Watch) {
        loop {
            let delivery = watch.next().await;
            match delivery.change {
                Change::Applied(Object::StatefulSet(set)) => self.reconcile(&set.key(), delivery.cause),
                Change::Applied(Object::Pod(pod)) => self.pod(&pod.key(), delivery.cause),
                Change::Deleted(key) if key.kind == Kind::Pod => self.pod(&key, delivery.cause),
                _ => {}
            }
        }
    }

    /// A pod's place is known by its name, whoever had that name before.
    fn pod(&self, pod: &ObjectKey, cause: Option<EventId>) {
        if let Some((name, _)) = pod.name.rsplit_once('-') {
            self.reconcile(&ObjectKey::new(Kind::StatefulSet, &pod.namespace, name), cause);
        }
    }

    pub(super) fn reconcile(&self, key: &ObjectKey, cause: Option<EventId>) {
        let Some(set) = self.stored(key) else { return };
        self.note_revision(&set);
        let plan = plan(&set.spec, &self.members(&set));
        for ordinal in plan.delete {
            self.pods.delete(&pods::key(key, &pod_name(key, ordinal)), cause);
        }
        // Where one cannot be made, no other is tried.
        if plan.create.into_iter().all(|ordinal| self.create(&set, ordinal, cause)) {
            self.pods.settled(key);
        }
    }

    /// Why not all pods are there, ready, and of the template that they should be of; `None` if they are.
    pub(crate) fn unready(&self, key: &ObjectKey) -> Option<String> {
        let Some(set) = self.stored(key) else {
            return Some(format!("{}: there is no such StatefulSet", key.name));
        };
        let members = self.members(&set);
        let wanted = set.spec.wanted();
        let updates = set.spec.update_strategy.strategy_type == UpdateStrategyType::RollingUpdate;
        let is_old = |member: &Member| updates && !member.current && !keeps_older(&set.spec, member.ordinal);
        let is_ready = |member: &Member| member.ready && !member.terminating && !is_old(member);
        let ready = members.iter().filter(|member| wanted.contains(&member.ordinal) && is_ready(member)).count();
        let surplus = members.iter().filter(|member| !wanted.contains(&member.ordinal)).count();
        if ready == wanted.len() && surplus == 0 {
            return None;
        }
        let refusal = self.pods.refusal(key);
        let mut why = format!("{}: {ready} of {} pods are ready{refusal}", key.name, wanted.len());
        for member in members.iter().filter(|member| wanted.contains(&member.ordinal) && !is_ready(member)) {
            let name = pod_name(key, member.ordinal);
            if is_old(member) && member.ready {
                why.push_str(&format!(", {name} is of an older template"));
            } else if let Some(Object::Pod(pod)) = self.pods.store.get(&pods::key(key, &name)) {
                why.push_str(&format!(", {}", super::kubectl::described(&pod)));
            }
        }
        if surplus > 0 {
            why.push_str(&format!(", {surplus} too many are left"));
        }
        Some(why)
    }

    /// Deletes a StatefulSet. Its pods end with it, all at once: whoever wants an order scales it down first.
    pub(crate) fn delete(&self, key: &ObjectKey, cause: Option<EventId>) -> bool {
        let Some(set) = self.stored(key) else { return false };
        for pod in self.pods.of(key, &set.metadata.uid) {
            self.pods.delete(&pod.key(), cause);
        }
        self.lock().remove(key);
        self.pods.store.delete(key, cause)
    }

    fn stored(&self, key: &ObjectKey) -> Option<Arc<StatefulSet>> {
        match self.pods.store.get(key) {
            Some(Object::StatefulSet(set)) => Some(set),
            _ => None,
        }
    }

    /// An update is over when every pod is ready and of the new template.
    fn note_revision(&self, set: &StatefulSet) {
        let (key, uid, template) = (set.key(), &set.metadata.uid, &set.spec.template);
        let members = self.members(set);
        let updated = members.len() == set.spec.wanted().len()
            && members.iter().all(|member| member.current && member.ready && !member.terminating);
        let mut revisions = self.lock();
        let known = revisions.get(&key).is_some_and(|revisions| revisions.uid == *uid);
        if !known || updated {
            revisions.insert(key, Revisions { uid: uid.clone(), current: template.clone() });
        }
    }

    fn members(&self, set: &StatefulSet) -> Vec<Member> {
        let key = set.key();
        let revision = revision(&key, &set.spec.template);
        let member = |pod: &Arc<Pod>| {
            let ordinal = ordinal(pod)?;
            Some(Member {
                ordinal,
                current: pod.metadata.labels.get(REVISION_LABEL) == Some(&revision),
                ready: pod.status.ready,
                terminating: pod.metadata.deletion_timestamp.is_some(),
                ended: matches!(pod.status.phase, PodPhase::Succeeded | PodPhase::Failed),
            })
        };
        let mut members: Vec<Member> = self.pods.of(&key, &set.metadata.uid).iter().filter_map(member).collect();
        members.sort_by_key(|member| member.ordinal);
        members
    }

    /// Whether the pod was made, or is once its name is free.
    fn create(&self, set: &StatefulSet, ordinal: u32, cause: Option<EventId>) -> bool {
        let key = set.key();
        let name = pod_name(&key, ordinal);
        // One of an earlier StatefulSet may still have the name; its end is the next chance.
        if self.pods.store.contains(&pods::key(&key, &name)) {
            return true;
        }
        let older = || self.lock().get(&key).map(|revisions| revisions.current.clone());
        let template =
            if keeps_older(&set.spec, ordinal) { older() } else { None }.unwrap_or_else(|| set.spec.template.clone());
        let mut pod = pods::of_template(&key.namespace, &template);
        let labels = &mut pod.metadata.labels;
        labels.insert(NAME_LABEL.to_owned(), name.clone());
        labels.insert(INDEX_LABEL.to_owned(), ordinal.to_string());
        labels.insert(REVISION_LABEL.to_owned(), revision(&key, &template));
        pod.spec.hostname.clone_from(&name);
        pod.spec.subdomain.clone_from(&set.spec.service_name);
        add_claims(&mut pod, set);
        pod.metadata.name = name;
        self.pods.create(pod, &key, &set.metadata.uid, cause).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Revisions>> {
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a pod of `set` the volumes that it claims, each in place of one of that name.
pub(crate) fn add_claims(pod: &mut Pod, set: &StatefulSet) {
    for claim in &set.spec.volume_claim_templates {
        let source = VolumeSource::EmptyDir(EmptyDirVolume::default());
        pod.spec.volumes.retain(|volume| volume.name != claim.metadata.name);
        pod.spec.volumes.push(Volume { name: claim.metadata.name.clone(), source });
    }
}

/// A pod's place in its StatefulSet.
pub(crate) fn ordinal(pod: &Pod) -> Option<u32> {
    pod.metadata.labels.get(INDEX_LABEL)?.parse().ok()
}

/// `web-0`.
fn pod_name(set: &ObjectKey, ordinal: u32) -> String {
    format!("{}-{ordinal}", set.name)
}

/// `web-69d6d96cb7`: what tells pods of one template from those of another.
fn revision(set: &ObjectKey, template: &PodTemplate) -> String {
    format!("{}-{}", set.name, pods::template_hash(template))
}
