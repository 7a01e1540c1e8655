//! The controller that makes pods of Jobs.
//!
//! Source: kubernetes `pkg/controller/job/job_controller.go`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_istiod::objects::{Job, JobOutcome, JobStatus, Kind, Object, ObjectKey, Pod, PodPhase};
use hermesh_runtime::EventId;
use tokio::time::Instant;

use super::completions::{Next, Tally, backoff, limit, next};
use super::events::JobFinished;
use super::pods::{self, Pods};
use super::store::{Change, Watch};
use super::{kubectl, names};

/// The controller; clones share it.
#[derive(Clone)]
pub(crate) struct Jobs {
    pods: Pods,
    records: Arc<Mutex<BTreeMap<ObjectKey, Record>>>,
}

/// What the controller remembers of a Job's pods, also of those that are gone.
#[derive(Default)]
struct Record {
    /// The Job's UID: another one may have its name later.
    uid: String,
    pods: BTreeMap<String, Known>,
    /// How many pods Jobs of this name have had: every one draws its name afresh.
    made: u64,
    failures_in_row: u32,
    last_failure: Option<Instant>,
    /// When the next pod may be made, or its time is over.
    due: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    /// Its number among the Job's pods.
    ordinal: u32,
    fate: Fate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Active,
    Succeeded,
    Failed,
    /// The Job had no use for it any more.
    Withdrawn,
}

impl Jobs {
    pub(crate) const WATCHED: [Kind; 2] = [Kind::Pod, Kind::Job];

    pub(crate) fn new(pods: &Pods) -> Self {
        Self { pods: pods.clone(), records: Arc::default() }
    }

    /// Follows the store for good.
    pub(crate) async fn run(self, mut watch: Watch) {
        loop {
            let next = self.lock().iter().filter_map(|(key, record)| Some((record.due?, key.clone()))).min();
            let due = async {
                match &next {
                    Some((at, _)) => tokio::time::sleep_until(*at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                delivery = watch.next() => match delivery.change {
                    Change::Applied(Object::Job(job)) => self.reconcile(&job.key(), delivery.cause),
                    Change::Applied(Object::Pod(pod)) => self.pod_changed(&pod.key(), delivery.cause),
                    Change::Deleted(key) if key.kind == Kind::Pod => self.pod_changed(&key, delivery.cause),
                    _ => {}
                },
                () = due => {
                    if let Some((_, key)) = next {
                        self.reconcile(&key, None);
                    }
                }
            }
        }
    }

    /// A pod's number among those that its Job has made.
    pub(crate) fn ordinal(&self, pod: &Pod) -> Option<u32> {
        let owner = pod.metadata.owner.as_ref().filter(|owner| owner.kind == Kind::Job)?;
        let key = ObjectKey::new(Kind::Job, &pod.metadata.namespace, &owner.name);
        Some(self.lock().get(&key)?.pods.get(&pod.metadata.name)?.ordinal)
    }

    /// Why a Job is neither complete nor at work with all its pods ready; `None` if it is.
    pub(crate) fn unready(&self, key: &ObjectKey) -> Option<String> {
        let Some(job) = self.stored(key) else { return Some(format!("{}: there is no such Job", key.name)) };
        let name = &key.name;
        let pods = self.pods.of(key, &job.metadata.uid);
        let is_active = |pod: &&Arc<Pod>| fate(pod) == Fate::Active;
        let described = |pods: Vec<&Arc<Pod>>| -> String {
            pods.into_iter().map(|pod| format!(", {}", kubectl::described(pod))).collect()
        };
        match &job.status.outcome {
            Some(JobOutcome::Complete) => return None,
            Some(JobOutcome::Failed { reason }) => {
                let failed = pods.iter().filter(|pod| fate(pod) == Fate::Failed).collect();
                return Some(format!("{name}: the Job has failed: {reason}{}", described(failed)));
            }
            None => {}
        }
        let active: Vec<&Arc<Pod>> = pods.iter().filter(is_active).collect();
        let tally = Tally {
            active: count(active.len()),
            succeeded: job.status.succeeded,
            failed: job.status.failed,
            restarts: 0,
        };
        let unready: Vec<&Arc<Pod>> = active.iter().filter(|pod| !pod.status.ready).copied().collect();
        let has_all = job.spec.suspend || next(&job.spec, &tally, false) == Next::Run { create: 0, delete: 0 };
        if has_all && unready.is_empty() {
            return None;
        }
        let Tally { active, succeeded, failed, .. } = tally;
        let numbers = format!("{active} pods run, {succeeded} have succeeded, {failed} have failed");
        Some(format!("{name}: {numbers}{}{}", self.pods.refusal(key), described(unready)))
    }

    /// Deletes a Job, and its pods with it.
    pub(crate) fn delete(&self, key: &ObjectKey, cause: Option<EventId>) -> bool {
        let Some(job) = self.stored(key) else { return false };
        for pod in self.pods.of(key, &job.metadata.uid) {
            self.pods.delete(&pod.key(), cause);
        }
        if let Some(record) = self.lock().get_mut(key) {
            record.due = None;
        }
        self.pods.store.delete(key, cause)
    }

    fn pod_changed(&self, pod: &ObjectKey, cause: Option<EventId>) {
        let holds = |record: &Record| record.pods.contains_key(&pod.name);
        let records = self.lock();
        let of_namespace = records.iter().filter(|(key, _)| key.namespace == pod.namespace);
        let key = of_namespace.filter(|(_, record)| holds(record)).map(|(key, _)| key.clone()).next();
        drop(records);
        if let Some(key) = key {
            self.reconcile(&key, cause);
        }
    }

    fn stored(&self, key: &ObjectKey) -> Option<Arc<Job>> {
        match self.pods.store.get(key) {
            Some(Object::Job(job)) => Some(job),
            _ => None,
        }
    }

    pub(super) fn reconcile(&self, key: &ObjectKey, cause: Option<EventId>) {
        let Some(job) = self.stored(key) else { return };
        let tally = self.tally(&job);
        let is_over = self.is_over(&job);
        if job.status.outcome.is_some() {
            if is_over {
                self.delete(key, cause);
            }
            return;
        }
        let outcome = match next(&job.spec, &tally, is_over) {
            Next::Finish(outcome) => {
                self.withdraw(&job, u32::MAX, cause);
                let reason = match &outcome {
                    JobOutcome::Complete => None,
                    JobOutcome::Failed { reason } => Some(reason.clone()),
                };
                let (succeeded, failed) = (tally.succeeded, tally.failed);
                let name = format!("{}/{}", key.namespace, key.name);
                self.pods.world.emit("cluster", cause, JobFinished { job: name, succeeded, failed, reason });
                Some(outcome)
            }
            Next::Run { create, delete } => {
                self.withdraw(&job, delete, cause);
                // Where one cannot be made, no other is tried.
                if self.may_create(key, create) && (0..create).all(|_| self.create(&job, cause)) {
                    self.pods.settled(key);
                }
                None
            }
        };
        let active = if outcome.is_some() { 0 } else { count(self.active(key).len()) };
        let (succeeded, failed) = (tally.succeeded, tally.failed);
        let now = self.pods.world.wall().as_secs();
        let start_time = if job.spec.suspend { None } else { job.status.start_time.or(Some(now)) };
        let end_time = outcome.is_some().then_some(now);
        let status = JobStatus { active, succeeded, failed, outcome, start_time, end_time };
        self.pods.store.modify(key, cause, |object| {
            if let Object::Job(job) = object {
                Arc::make_mut(job).status = status;
            }
        });
    }

    /// Whether its time is over; if not, when it will be is noted.
    fn is_over(&self, job: &Job) -> bool {
        let (limit, now) = (limit(job), self.pods.world.wall());
        let due = limit.filter(|at| *at > now).map(|at| Instant::now() + (at - now));
        self.lock().entry(job.key()).or_default().due = due;
        limit.is_some() && due.is_none()
    }

    /// Counts the Job's pods. Each counts once as succeeded or failed, and goes on to do so when it is gone.
    fn tally(&self, job: &Job) -> Tally {
        let (key, uid) = (job.key(), &job.metadata.uid);
        let there: BTreeMap<String, Arc<Pod>> =
            self.pods.of(&key, uid).into_iter().map(|pod| (pod.metadata.name.clone(), pod)).collect();
        let mut records = self.lock();
        let record = records.entry(key).or_default();
        if record.uid != *uid {
            *record = Record { uid: uid.clone(), made: record.made, ..Record::default() };
        }
        let mut tally = Tally::default();
        for (name, known) in &mut record.pods {
            let now = there.get(name).map_or(Fate::Failed, fate);
            if known.fate == Fate::Active && now != Fate::Active {
                known.fate = now;
                let failed = now == Fate::Failed;
                record.failures_in_row = if failed { record.failures_in_row + 1 } else { 0 };
                if failed {
                    record.last_failure = Some(Instant::now());
                }
            }
            match known.fate {
                Fate::Active => {
                    tally.active += 1;
                    tally.restarts += there.get(name).map_or(0, |pod| restarts(pod));
                }
                Fate::Succeeded => tally.succeeded += 1,
                Fate::Failed => tally.failed += 1,
                Fate::Withdrawn => {}
            }
        }
        tally
    }

    /// Whether it is time for new pods; if not, when it will be is noted.
    fn may_create(&self, key: &ObjectKey, count: u32) -> bool {
        let mut records = self.lock();
        let Some(record) = records.get_mut(key) else { return false };
        let at = record.last_failure.map(|failure| failure + backoff(record.failures_in_row));
        let retry = at.filter(|at| count > 0 && *at > Instant::now());
        record.due = [record.due, retry].into_iter().flatten().min();
        retry.is_none()
    }

    /// Whether the pod was made.
    fn create(&self, job: &Job, cause: Option<EventId>) -> bool {
        let key = job.key();
        let made = {
            let mut records = self.lock();
            let record = records.entry(key.clone()).or_default();
            record.made += 1;
            record.made - 1
        };
        let mut draws = self.pods.world.runtime().draws(&format!("job/{}/{}/{made}", key.namespace, key.name));
        let mut pod = pods::of_template(&key.namespace, &job.spec.template);
        let is_taken = |name: &str| self.pods.store.contains(&pods::key(&key, name));
        let name = names::free(&key.name, &mut draws, is_taken);
        let uid = &job.metadata.uid;
        for (label, value) in [("job-name", &key.name), ("controller-uid", uid)] {
            pod.metadata.labels.insert(label.to_owned(), value.clone());
            pod.metadata.labels.insert(format!("batch.kubernetes.io/{label}"), value.clone());
        }
        pod.metadata.name.clone_from(&name);
        let made = self.pods.create(pod, &key, uid, cause).is_some();
        if let Some(record) = self.lock().get_mut(&key).filter(|_| made) {
            let ordinal = count(record.pods.len());
            record.pods.insert(name, Known { ordinal, fate: Fate::Active });
        }
        made
    }

    /// Deletes active pods for which the Job has no use any more, the youngest first.
    fn withdraw(&self, job: &Job, count: u32, cause: Option<EventId>) {
        let key = job.key();
        let mut active = self.active(&key);
        active.reverse();
        active.truncate(count as usize);
        for (_, name) in active {
            if let Some(known) = self.lock().get_mut(&key).and_then(|record| record.pods.get_mut(&name)) {
                known.fate = Fate::Withdrawn;
            }
            self.pods.delete(&pods::key(&key, &name), cause);
        }
    }

    /// The active pods with their ordinals, the oldest first.
    fn active(&self, key: &ObjectKey) -> Vec<(u32, String)> {
        let records = self.lock();
        let known = records.get(key).into_iter().flat_map(|record| &record.pods);
        let active = known.filter(|(_, known)| known.fate == Fate::Active);
        let mut active: Vec<(u32, String)> = active.map(|(name, known)| (known.ordinal, name.clone())).collect();
        active.sort();
        active
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What became of a pod; one that was deleted before it had succeeded has failed.
fn fate(pod: &Arc<Pod>) -> Fate {
    match pod.status.phase {
        PodPhase::Succeeded => Fate::Succeeded,
        PodPhase::Failed => Fate::Failed,
        _ if pod.metadata.deletion_timestamp.is_some() => Fate::Failed,
        _ => Fate::Active,
    }
}

fn restarts(pod: &Pod) -> u32 {
    let containers = pod.status.init_containers.iter().chain(&pod.status.containers);
    containers.map(|container| container.restart_count).sum()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
