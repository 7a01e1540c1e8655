//! The controller that makes pods of Deployments.
//!
//! Kubernetes has ReplicaSets in between, as objects. Here they are the controller's own: nothing a mesh sees depends
//! on them but how many pods of which template there are, and the hash in a pod's name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::objects::{Deployment, Kind, Object, ObjectKey, Pod};
use hermesh_runtime::EventId;
use tokio::time::Instant;

use super::pods::{self, Pods};
use super::replica_sets::{Candidate, surplus};
use super::rollout::{ReplicaSet, resize};
use super::store::{Change, Watch};
use super::{kubectl, names};

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
    /// The ReplicaSets of each Deployment, from the oldest to the latest.
    sets: BTreeMap<ObjectKey, Vec<Set>>,
    /// How many pods each place of each Deployment has had: every one draws its name afresh.
    incarnations: BTreeMap<(ObjectKey, u32), u64>,
    /// The hash of each Deployment's template, and the resource version it was made of.
    hashes: BTreeMap<ObjectKey, (u64, Arc<str>)>,
    /// When the next pod of each Deployment will have been ready for long enough.
    due: BTreeMap<ObjectKey, Instant>,
}

/// A pod's place in its Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) deployment: ObjectKey,
    pub(crate) ordinal: u32,
    /// The Deployment's UID: another one may have its name later.
    uid: String,
    hash: Arc<str>,
}

/// The pods of one template.
#[derive(Clone)]
struct Set {
    /// The Deployment as it was when it had this template.
    deployment: Arc<Deployment>,
    hash: Arc<str>,
    scale: ReplicaSet,
}

/// A pod of a Deployment.
struct Member {
    pod: Arc<Pod>,
    ordinal: u32,
    hash: Arc<str>,
}

impl Member {
    fn is_terminating(&self) -> bool {
        self.pod.metadata.deletion_timestamp.is_some()
    }

    fn is_ready(&self) -> bool {
        self.pod.status.ready
    }

    /// When it has been ready for long enough, if it is ready.
    ///
    /// Source: kubernetes `pkg/controller/replicaset/replica_set.go` (`updatePod`), which looks a second later than
    /// `minReadySeconds` say.
    fn available_at(&self, deployment: &Deployment) -> Option<Duration> {
        let since = self.pod.status.ready_since.filter(|_| self.is_ready())?;
        Some(Duration::from_secs(match deployment.spec.min_ready_seconds {
            0 => since,
            seconds => since + u64::from(seconds) + 1,
        }))
    }
}

/// How many of a Deployment's pods are ready, of its template, and ready for long enough.
pub(crate) struct Counts {
    pub(crate) ready: usize,
    pub(crate) updated: usize,
    pub(crate) available: usize,
}

impl Deployments {
    pub(crate) const WATCHED: [Kind; 3] = [Kind::Namespace, Kind::Pod, Kind::Deployment];

    pub(crate) fn new(pods: &Pods) -> Self {
        Self { pods: pods.clone(), state: Arc::default() }
    }

    /// Follows the store for good.
    pub(crate) async fn run(self, mut watch: Watch) {
        loop {
            let next = self.lock().due.iter().map(|(key, at)| (*at, key.clone())).min();
            let due = async {
                match &next {
                    Some((at, _)) => tokio::time::sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                delivery = watch.next() => match delivery.change {
                    Change::Applied(Object::Deployment(deployment)) => {
                        self.reconcile(&deployment.key(), delivery.cause);
                    }
                    Change::Applied(Object::Pod(pod)) => self.pod_changed(&pod.key(), delivery.cause),
                    Change::Deleted(key) if key.kind == Kind::Pod => {
                        let gone = self.lock().members.remove(&key);
                        if let Some(membership) = gone {
                            self.reconcile(&membership.deployment, delivery.cause);
                        }
                    }
                    _ => {}
                },
                () = due => {
                    if let Some((_, key)) = next {
                        self.reconcile(&key, None);
                        self.pods.store.touch();
                    }
                }
            }
        }
    }

    /// The Deployment that a pod belongs to, and its place there.
    pub(crate) fn membership(&self, pod: &ObjectKey) -> Option<Membership> {
        self.lock().members.get(pod).cloned()
    }

    /// What `kubectl get deployments` tells.
    pub(crate) fn counts(&self, deployment: &Deployment) -> Counts {
        let hash = self.hash(deployment);
        let members = self.members(deployment);
        let living = || members.iter().filter(|member| !member.is_terminating());
        Counts {
            ready: living().filter(|member| member.is_ready()).count(),
            updated: living().filter(|member| member.hash == hash).count(),
            available: living().filter(|member| self.is_available(member, deployment)).count(),
        }
    }

    /// Why a Deployment is not rolled out and available; `None` if it is.
    pub(crate) fn unready(&self, key: &ObjectKey) -> Option<String> {
        let Some(Object::Deployment(deployment)) = self.pods.store.get(key) else {
            return Some(format!("{}: there is no such Deployment", key.name));
        };
        let hash = self.hash(&deployment);
        let members = self.members(&deployment);
        let replicas = deployment.spec.replicas as usize;
        let living = || members.iter().filter(|member| !member.is_terminating());
        let current = || living().filter(|member| member.hash == hash);
        let ready = current().filter(|member| member.is_ready()).count();
        let available = current().filter(|member| self.is_available(member, &deployment)).count();
        let old = living().filter(|member| member.hash != hash).count();
        if available >= replicas && current().count() == replicas && old == 0 {
            return None;
        }
        let of = if old > 0 { " of its template" } else { "" };
        let mut why = format!("{}: {ready} of {replicas} pods{of} are ready{}", key.name, self.pods.refusal(key));
        if ready > available {
            let seconds = deployment.spec.min_ready_seconds;
            why.push_str(&format!(", {available} of them for {seconds}s, which minReadySeconds asks for"));
        }
        for member in current().filter(|member| !member.is_ready()) {
            why.push_str(&format!(", {}", kubectl::described(&member.pod)));
        }
        if old > 0 {
            why.push_str(&format!(", {old} of an older template are left"));
        }
        if deployment.spec.paused {
            why.push_str(", it is paused");
        }
        Some(why)
    }

    /// Deletes a Deployment. Its pods end with it, as after `kubectl delete`; a cluster's garbage collector takes a
    /// moment to mark them.
    pub(crate) fn delete(&self, key: &ObjectKey, cause: Option<EventId>) -> bool {
        let Some(Object::Deployment(deployment)) = self.pods.store.get(key) else { return false };
        for member in self.members(&deployment).into_iter().filter(|member| !member.is_terminating()) {
            self.pods.delete(&member.pod.key(), cause);
        }
        let mut state = self.lock();
        state.hashes.remove(key);
        state.sets.remove(key);
        state.due.remove(key);
        drop(state);
        self.pods.store.delete(key, cause)
    }

    fn pod_changed(&self, pod: &ObjectKey, cause: Option<EventId>) {
        if let Some(membership) = self.membership(pod) {
            self.reconcile(&membership.deployment, cause);
        }
    }

    pub(super) fn reconcile(&self, key: &ObjectKey, cause: Option<EventId>) {
        self.lock().due.remove(key);
        let Some(Object::Deployment(deployment)) = self.pods.store.get(key) else { return };
        let members = self.members(&deployment);
        let sets = self.resized(&deployment, &members);
        for set in &sets {
            self.trim(set, &members, cause);
        }
        // Where one cannot be made, no other is tried.
        if sets.iter().all(|set| self.fill(key, set, &members, cause)) {
            self.pods.settled(key);
        }
        let now = self.pods.world.wall();
        let living = members.iter().filter(|member| !member.is_terminating());
        let next = living.filter_map(|member| member.available_at(&deployment)).filter(|at| *at > now).min();
        if let Some(at) = next {
            self.lock().due.insert(key.clone(), Instant::now() + (at - now));
        }
    }

    /// A Deployment's ReplicaSets with the sizes that they are to have.
    fn resized(&self, deployment: &Arc<Deployment>, members: &[Member]) -> Vec<Set> {
        let hash = self.hash(deployment);
        let mut state = self.lock();
        let sets = state.sets.entry(deployment.key()).or_default();
        let mut new = sets.iter().position(|set| set.hash == hash);
        if new.is_none() && !deployment.spec.paused {
            new = Some(sets.len());
            let scale = ReplicaSet::new(&deployment.spec);
            sets.push(Set { deployment: Arc::clone(deployment), hash, scale });
        }
        let mut scales: Vec<ReplicaSet> = sets.iter().map(|set| self.observed(set, members, deployment)).collect();
        resize(&deployment.spec, &mut scales, new);
        for (set, scale) in sets.iter_mut().zip(scales) {
            set.scale = scale;
        }
        sets.clone()
    }

    fn observed(&self, set: &Set, members: &[Member], deployment: &Deployment) -> ReplicaSet {
        let own = || members.iter().filter(|member| member.hash == set.hash);
        let is_available = |member: &&Member| !member.is_terminating() && self.is_available(member, deployment);
        ReplicaSet { available: count(own().filter(is_available)), pods: count(own()), ..set.scale.clone() }
    }

    fn is_available(&self, member: &Member, deployment: &Deployment) -> bool {
        member.available_at(deployment).is_some_and(|at| at <= self.pods.world.wall())
    }

    /// Deletes pods that a ReplicaSet has too many.
    fn trim(&self, set: &Set, members: &[Member], cause: Option<EventId>) {
        let living = || members.iter().filter(|member| !member.is_terminating());
        let own = || living().filter(|member| member.hash == set.hash);
        let excess = own().count().saturating_sub(set.scale.size as usize);
        if excess == 0 {
            return;
        }
        let neighbours = |node: &Option<String>| living().filter(|other| other.pod.spec.node_name == *node).count();
        let candidates = own().map(|Member { pod, ordinal, .. }| {
            let neighbours = neighbours(&pod.spec.node_name);
            Candidate { pod, ordinal: *ordinal, neighbours }
        });
        for pod in surplus(candidates.collect(), excess, self.pods.world.wall()) {
            self.pods.delete(&pod.key(), cause);
        }
    }

    /// Makes the pods that a ReplicaSet lacks. Whether all of them could be made.
    fn fill(&self, key: &ObjectKey, set: &Set, members: &[Member], cause: Option<EventId>) -> bool {
        let own = || members.iter().filter(|member| !member.is_terminating() && member.hash == set.hash);
        let lacking = (set.scale.size as usize).saturating_sub(own().count());
        let is_free = |ordinal: &u32| own().all(|member| member.ordinal != *ordinal);
        (0..).filter(is_free).take(lacking).all(|ordinal| self.create(key, set, ordinal, cause))
    }

    /// The pods of this very Deployment: those of one that had its name before belong to nobody any more.
    fn members(&self, deployment: &Deployment) -> Vec<Member> {
        let uid = &deployment.metadata.uid;
        let state = self.lock();
        let own = state.members.iter().filter(|(_, membership)| membership.uid == *uid);
        let member = |(pod, membership): (&ObjectKey, &Membership)| match self.pods.store.get(pod) {
            Some(Object::Pod(pod)) => {
                Some(Member { pod, ordinal: membership.ordinal, hash: Arc::clone(&membership.hash) })
            }
            _ => None,
        };
        let mut members: Vec<Member> = own.filter_map(member).collect();
        members.sort_by_key(|member| member.ordinal);
        members
    }

    /// Whether the pod was made.
    fn create(&self, key: &ObjectKey, set: &Set, ordinal: u32, cause: Option<EventId>) -> bool {
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
        let Set { deployment, hash, .. } = set;
        let mut pod = pods::of_template(&key.namespace, &deployment.spec.template);
        let is_taken = |name: &str| self.pods.store.contains(&pods::key(key, name));
        pod.metadata.name = names::pod_name(&key.name, hash, &mut draws, is_taken);
        pod.metadata.labels.insert(HASH_LABEL.to_owned(), hash.to_string());
        let uid = &deployment.metadata.uid;
        let member = pods::key(key, &pod.metadata.name);
        let membership = Membership { deployment: key.clone(), ordinal, uid: uid.clone(), hash: Arc::clone(hash) };
        self.lock().members.insert(member.clone(), membership);
        let made = self.pods.create(pod, key, uid, cause).is_some();
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

fn count<'a>(members: impl Iterator<Item = &'a Member>) -> u32 {
    u32::try_from(members.count()).unwrap_or(u32::MAX)
}
