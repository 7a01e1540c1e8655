//! The controller that makes pods of Deployments.
//!
//! Kubernetes has ReplicaSets in between; nothing a mesh sees depends on them but the hash in a pod's name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_istiod::objects::{Deployment, Kind, Object, ObjectKey};
use hermesh_runtime::EventId;

use super::names;
use super::pods::{self, Pods};
use super::rollout::{Member, plan};
use super::store::{Change, Watch};

pub(super) const HASH_LABEL: &str = "pod-template-hash";

/// The controller; clones share it.
#[derive(Clone)]
pub(crate) struct Deployments {
    pods: Pods,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<ObjectKey, Membership>,
    /// How many pods each place of each Deployment has had: every one draws its name afresh.
    incarnations: BTreeMap<(ObjectKey, u32), u64>,
    /// The hash of each Deployment's template, and the resource version it was made of.
    hashes: BTreeMap<ObjectKey, (u64, Arc<str>)>,
}

/// A pod's place in its Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) deployment: ObjectKey,
    pub(crate) ordinal: u32,
    /// The Deployment's UID: another one may have its name later.
    uid: String,
    hash: String,
}

impl Deployments {
    pub(crate) const WATCHED: [Kind; 3] = [Kind::Namespace, Kind::Pod, Kind::Deployment];

    pub(crate) fn new(pods: &Pods) -> Self {
        Self { pods: pods.clone(), state: Arc::default() }
    }

    /// Follows the store for good.
    pub(crate) async fn run(self, mut watch: Watch) {
        loop {
            let delivery = watch.next().await;
            match delivery.change {
                Change::Applied(Object::Deployment(deployment)) => self.reconcile(&deployment.key(), delivery.cause),
                Change::Applied(Object::Pod(pod)) => self.pod_changed(&pod.key(), delivery.cause),
                Change::Deleted(key) if key.kind == Kind::Pod => {
                    let gone = self.lock().members.remove(&key);
                    if let Some(membership) = gone {
                        self.reconcile(&membership.deployment, delivery.cause);
                    }
                }
                _ => {}
            }
        }
    }

    /// The Deployment that a pod belongs to, and its place there.
    pub(crate) fn membership(&self, pod: &ObjectKey) -> Option<Membership> {
        self.lock().members.get(pod).cloned()
    }

    /// How many of a Deployment's pods are ready, and how many of its current template.
    pub(crate) fn counts(&self, deployment: &Deployment) -> (usize, usize) {
        let members = self.members(deployment, &self.hash(deployment));
        let active = || members.iter().filter(|member| !member.terminating);
        (active().filter(|member| member.ready).count(), active().filter(|member| member.current).count())
    }

    /// Why a Deployment is not rolled out and ready; `None` if it is.
    pub(crate) fn unready(&self, key: &ObjectKey) -> Option<String> {
        let Some(Object::Deployment(deployment)) = self.pods.store.get(key) else {
            return Some(format!("{}: there is no such Deployment", key.name));
        };
        let members = self.members(&deployment, &self.hash(&deployment));
        let replicas = deployment.spec.replicas as usize;
        let current = || members.iter().filter(|member| member.current && !member.terminating);
        let ready = current().filter(|member| member.ready).count();
        let old = members.iter().filter(|member| !member.current && !member.terminating).count();
        if ready >= replicas && current().count() == replicas && old == 0 {
            return None;
        }
        let mut why = format!("{}: {ready} of {replicas} pods are ready{}", key.name, self.pods.refusal(key));
        for member in current().filter(|member| !member.ready) {
            if let Some(Object::Pod(pod)) = self.pods.store.get(&pods::key(key, &member.name)) {
                why.push_str(&format!(", {}", super::kubectl::described(&pod)));
            }
        }
        if old > 0 {
            why.push_str(&format!(", {old} of an older template are left"));
        }
        Some(why)
    }

    /// Deletes a Deployment. Its pods end with it, as after `kubectl delete`; a cluster's garbage collector takes a
    /// moment to mark them.
    pub(crate) fn delete(&self, key: &ObjectKey, cause: Option<EventId>) -> bool {
        let Some(Object::Deployment(deployment)) = self.pods.store.get(key) else { return false };
        let members = self.members(&deployment, &self.hash(&deployment));
        for member in members.into_iter().filter(|member| !member.terminating) {
            self.pods.delete(&pods::key(key, &member.name), cause);
        }
        self.lock().hashes.remove(key);
        self.pods.store.delete(key, cause)
    }

    fn pod_changed(&self, pod: &ObjectKey, cause: Option<EventId>) {
        if let Some(membership) = self.membership(pod) {
            self.reconcile(&membership.deployment, cause);
        }
    }

    pub(super) fn reconcile(&self, key: &ObjectKey, cause: Option<EventId>) {
        let Some(Object::Deployment(deployment)) = self.pods.store.get(key) else { return };
        let hash = self.hash(&deployment);
        let plan = plan(&deployment.spec, &self.members(&deployment, &hash));
        for name in plan.delete {
            self.pods.delete(&pods::key(key, &name), cause);
        }
        // Where one cannot be made, no other is tried.
        if plan.create.into_iter().all(|ordinal| self.create(&deployment, &hash, ordinal, cause)) {
            self.pods.settled(key);
        }
    }

    /// The pods of this very Deployment: those of one that had its name before belong to nobody any more.
    fn members(&self, deployment: &Deployment, hash: &str) -> Vec<Member> {
        let uid = &deployment.metadata.uid;
        let state = self.lock();
        let own = state.members.iter().filter(|(_, membership)| membership.uid == *uid);
        let member = |(pod, membership): (&ObjectKey, &Membership)| match self.pods.store.get(pod) {
            Some(Object::Pod(found)) => Some(Member {
                name: pod.name.clone(),
                ordinal: membership.ordinal,
                current: membership.hash == hash,
                ready: found.status.ready,
                terminating: found.metadata.deletion_timestamp.is_some(),
            }),
            _ => None,
        };
        let mut members: Vec<Member> = own.filter_map(member).collect();
        members.sort_by_key(|member| member.ordinal);
        members
    }

    /// Whether the pod was made.
    fn create(&self, deployment: &Arc<Deployment>, hash: &str, ordinal: u32, cause: Option<EventId>) -> bool {
        let key = deployment.key();
        let incarnation = {
            let mut state = self.lock();
            let count = state.incarnations.entry((key.clone(), ordinal)).or_default();
            let incarnation = *count;
            *count += 1;
            incarnation
        };
        let path = format!("pod/{}/{}/{ordinal}", key.namespace, key.name);
        let path = if incarnation == 0 { path } else { format!("{path}#{incarnation}") };
        let mut draws = self.pods.world.runtime().draws(&path);
        let mut pod = pods::of_template(&key.namespace, &deployment.spec.template);
        let is_taken = |name: &str| self.pods.store.contains(&pods::key(&key, name));
        pod.metadata.name = names::pod_name(&key.name, hash, &mut draws, is_taken);
        pod.metadata.labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
        let uid = &deployment.metadata.uid;
        let member = pods::key(&key, &pod.metadata.name);
        let membership = Membership { deployment: key.clone(), ordinal, uid: uid.clone(), hash: hash.to_owned() };
        self.lock().members.insert(member.clone(), membership);
        let made = self.pods.create(pod, &key, uid, cause).is_some();
        if !made {
            self.lock().members.remove(&member);
        }
        made
    }

    fn hash(&self, deployment: &Deployment) -> Arc<str> {
        let (key, version) = (deployment.key(), deployment.metadata.resource_version);
        if let Some((of, hash)) = self.lock().hashes.get(&key)
            && *of == version
        {
            return Arc::clone(hash);
        }
        let hash: Arc<str> = pods::template_hash(&deployment.spec.template).into();
        self.lock().hashes.insert(key, (version, Arc::clone(&hash)));
        hash
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
