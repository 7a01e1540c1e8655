//! The controller that makes pods of Deployments.
//!
//! Kubernetes has ReplicaSets in between; nothing a mesh sees depends on them but the hash in a pod's name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_istiod::objects::{Deployment, Kind, Labels, Metadata, Object, ObjectKey, OwnerReference, Pod};
use hermesh_runtime::EventId;

use super::events::InjectionNoted;
use super::injection::{self, Injected, InjectionError};
use super::names;
use super::rollout::{Member, plan};
use super::store::{Change, Store, Watch};
use crate::engine::World;

const HASH_LABEL: &str = "pod-template-hash";

/// The controller; clones share it.
#[derive(Clone)]
pub(crate) struct Deployments {
    world: World,
    store: Store,
    values: Arc<injection::Values>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    members: BTreeMap<ObjectKey, Membership>,
    /// How many pods each place of each Deployment has had: every one draws its name afresh.
    incarnations: BTreeMap<(ObjectKey, u32), u64>,
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

    pub(crate) fn new(world: &World, store: &Store, values: injection::Values) -> Self {
        Self { world: world.clone(), store: store.clone(), values: Arc::new(values), state: Arc::default() }
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

    /// What injection would make of the pods of a Deployment, or of a pod of its own. The namespace's labels are those
    /// in the store unless others are about to be applied.
    pub(crate) fn inject(
        &self,
        pod: Pod,
        deployment: Option<&str>,
        namespace_labels: Option<&Labels>,
    ) -> Result<Injected, InjectionError> {
        let namespace = pod.metadata.namespace.clone();
        let stored = || self.store.get(&ObjectKey::new(Kind::Namespace, "", &namespace));
        let labels = match namespace_labels {
            Some(labels) => labels.clone(),
            None => stored().map(|object| object.metadata().labels.clone()).unwrap_or_default(),
        };
        let request =
            injection::Request { namespace: &namespace, namespace_labels: &labels, deployment, values: &self.values };
        injection::inject(pod, &request)
    }

    /// Why a Deployment is not rolled out and ready; `None` if it is.
    pub(crate) fn unready(&self, key: &ObjectKey) -> Option<String> {
        let Some(Object::Deployment(deployment)) = self.store.get(key) else {
            return Some(format!("{}: there is no such Deployment", key.name));
        };
        let members = self.members(&deployment, &hash(&deployment));
        let replicas = deployment.spec.replicas as usize;
        let current = || members.iter().filter(|member| member.current && !member.terminating);
        let ready = current().filter(|member| member.ready).count();
        let old = members.iter().filter(|member| !member.current && !member.terminating).count();
        if ready >= replicas && current().count() == replicas && old == 0 {
            return None;
        }
        let mut why = format!("{}: {ready} of {replicas} pods are ready", key.name);
        for member in current().filter(|member| !member.ready) {
            if let Some(Object::Pod(pod)) = self.store.get(&pod_key(key, &member.name)) {
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
        let Some(Object::Deployment(deployment)) = self.store.get(key) else { return false };
        let members = self.members(&deployment, &hash(&deployment));
        for member in members.into_iter().filter(|member| !member.terminating) {
            delete_pod(&self.world, &self.store, &pod_key(key, &member.name), cause);
        }
        self.store.delete(key, cause)
    }

    fn pod_changed(&self, pod: &ObjectKey, cause: Option<EventId>) {
        if let Some(membership) = self.membership(pod) {
            self.reconcile(&membership.deployment, cause);
        }
    }

    fn reconcile(&self, key: &ObjectKey, cause: Option<EventId>) {
        let Some(Object::Deployment(deployment)) = self.store.get(key) else { return };
        let hash = hash(&deployment);
        let plan = plan(&deployment.spec, &self.members(&deployment, &hash));
        for name in plan.delete {
            delete_pod(&self.world, &self.store, &pod_key(key, &name), cause);
        }
        for ordinal in plan.create {
            self.create(&deployment, &hash, ordinal, cause);
        }
    }

    /// The pods of this very Deployment: those of one that had its name before belong to nobody any more.
    fn members(&self, deployment: &Deployment, hash: &str) -> Vec<Member> {
        let (key, uid) = (deployment.key(), &deployment.metadata.uid);
        let state = self.lock();
        let of_name = state.members.iter().filter(|(_, membership)| membership.deployment == key);
        let own = of_name.filter(|(_, membership)| membership.uid == *uid);
        let member = |(pod, membership): (&ObjectKey, &Membership)| match self.store.get(pod) {
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

    fn create(&self, deployment: &Arc<Deployment>, hash: &str, ordinal: u32, cause: Option<EventId>) {
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
        let mut draws = self.world.runtime().draws(&path);
        let mut pod = template_pod(deployment);
        let is_taken = |name: &str| self.store.contains(&pod_key(&key, name));
        pod.metadata.name = names::pod_name(&key.name, hash, &mut draws, is_taken);
        pod.metadata.labels.insert(HASH_LABEL.to_owned(), hash.to_owned());
        pod.metadata.owner = Some(OwnerReference {
            kind: Kind::Deployment,
            name: key.name.clone(),
            uid: deployment.metadata.uid.clone(),
        });
        let name = format!("{}/{}", key.namespace, pod.metadata.name);
        let injected = match self.inject(pod, Some(&key.name), None) {
            Ok(injected) => injected,
            Err(error) => {
                // The API server refuses the pod; a changed template is the next chance.
                self.world.emit("cluster", cause, InjectionNoted { pod: name, note: error.to_string() });
                return;
            }
        };
        for note in injected.notes {
            self.world.emit("cluster", cause, InjectionNoted { pod: name.clone(), note });
        }
        let pod_key = injected.pod.key();
        let membership =
            Membership { deployment: key, ordinal, uid: deployment.metadata.uid.clone(), hash: hash.to_owned() };
        self.lock().members.insert(pod_key, membership);
        self.store.apply(injected.pod.into(), cause);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The pod that a Deployment's template describes, without a name.
pub(crate) fn template_pod(deployment: &Deployment) -> Pod {
    let template = &deployment.spec.template;
    let metadata = Metadata {
        namespace: deployment.metadata.namespace.clone(),
        labels: template.metadata.labels.clone(),
        annotations: template.metadata.annotations.clone(),
        ..Metadata::default()
    };
    Pod { metadata, spec: template.spec.clone(), ..Pod::default() }
}

/// Asks the kubelet to end a pod.
pub(crate) fn delete_pod(world: &World, store: &Store, pod: &ObjectKey, cause: Option<EventId>) {
    let now = world.wall().as_secs();
    store.modify(pod, cause, |object| {
        object.metadata_mut().deletion_timestamp.get_or_insert(now);
    });
}

fn pod_key(deployment: &ObjectKey, name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Pod, &deployment.namespace, name)
}

/// Where the template stands in its file is no part of it.
fn hash(deployment: &Deployment) -> String {
    let template = &deployment.spec.template;
    let text = format!("{:?} {:?} {:?}", template.metadata.labels, template.metadata.annotations, template.spec);
    names::template_hash(text.as_bytes())
}
