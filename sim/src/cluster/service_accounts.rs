//! Pods whose ServiceAccount is not there: nobody can make them, and their controller tries again.
//!
//! Source: kubernetes `plugin/pkg/admission/serviceaccount/admission.go`; the waits are those of the controllers' work
//! queues, client-go `util/workqueue/default_rate_limiters.go` and `pkg/controller/job/job_controller.go`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey, Pod};
use hermesh_runtime::EventId;
use tokio::sync::Notify;

use super::deployments::HASH_LABEL;
use super::events::PodForbidden;
use super::kubectl::human_duration;
use super::namespaces::DEFAULT_ACCOUNT;
use super::store::Store;
use crate::engine::World;

/// Lets pods be made whose account is there, and has the controllers of the others try again; clones share it.
#[derive(Clone)]
pub(crate) struct ServiceAccounts {
    world: World,
    store: Store,
    /// By workload.
    missing: Arc<Mutex<BTreeMap<ObjectKey, Missing>>>,
    /// Told of each that is new there.
    added: Arc<Notify>,
}

/// What the pods of a workload wait for.
struct Missing {
    account: ObjectKey,
    /// The event that tells of it.
    told: Option<EventId>,
    item: Item,
    /// How long the controller waits before its next try, and when that is, in simulated time.
    wait: Duration,
    next: Duration,
}

/// What a work queue takes for one and the same: the UID of a workload, and of a Deployment the template as well, which
/// has a ReplicaSet of its own.
#[derive(PartialEq, Eq)]
struct Item {
    uid: String,
    template: Option<String>,
}

impl ServiceAccounts {
    pub(crate) fn new(world: &World, store: &Store) -> Self {
        Self { world: world.clone(), store: store.clone(), missing: Arc::default(), added: Arc::default() }
    }

    /// Whether a pod of `workload` may be made; if not it is told of once, and its controller tries again in time.
    pub(super) fn admit(&self, pod: &Pod, workload: &ObjectKey, uid: &str, cause: Option<EventId>) -> bool {
        let account = of(pod);
        if is_there(&account, &self.store) {
            return true;
        }
        let item = Item { uid: uid.to_owned(), template: pod.metadata.labels.get(HASH_LABEL).cloned() };
        let mut missing = self.lock();
        let known = missing.get(workload).filter(|known| known.item == item);
        if known.is_none_or(|known| known.account != account) {
            let (wait, next) = known.map_or_else(
                || {
                    let (first, _) = waits(workload.kind);
                    (first, self.world.now() + first)
                },
                |known| (known.wait, known.next),
            );
            let (name, error) = (format!("{}/{}", pod.metadata.namespace, pod.metadata.name), not_found(&account));
            let told = self.world.emit("cluster", cause, PodForbidden { pod: name, error });
            missing.insert(workload.clone(), Missing { account, told, item, wait, next });
            self.added.notify_one();
        }
        false
    }

    /// A workload has all the pods that its controller wants to make.
    pub(super) fn settled(&self, workload: &ObjectKey) {
        self.lock().remove(workload);
    }

    /// Why no pod of `workload` can be made, if it is for want of its account.
    pub(super) fn refusal(&self, workload: &ObjectKey) -> Option<String> {
        let missing = self.lock();
        let missing = missing.get(workload).filter(|missing| self.is_of(missing, workload))?;
        let why = not_found(&missing.account);
        if !is_there(&missing.account, &self.store) {
            return Some(why);
        }
        let left = missing.next.saturating_sub(self.world.now());
        Some(format!("{why}; it is there now, and the next try is due in {}", human_duration(left)))
    }

    /// Has the controllers try again, each when its work queue would.
    pub(crate) async fn run(self, reconcile: impl Fn(&ObjectKey, Option<EventId>)) {
        loop {
            let next = self.lock().values().map(|missing| missing.next).min();
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep(at.saturating_sub(self.world.now())).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.added.notified() => {}
                () = due => self.due().into_iter().for_each(|(workload, told)| reconcile(&workload, told)),
            }
        }
    }

    /// The workloads for whose controllers it is time, with the events that told of them.
    fn due(&self) -> Vec<(ObjectKey, Option<EventId>)> {
        let now = self.world.now();
        let mut missing = self.lock();
        missing.retain(|workload, missing| self.is_of(missing, workload));
        let mut due = Vec::new();
        for (workload, missing) in missing.iter_mut().filter(|(_, missing)| missing.next <= now) {
            let (_, longest) = waits(workload.kind);
            missing.wait = longest.min(2 * missing.wait);
            missing.next = now + missing.wait;
            due.push((workload.clone(), missing.told));
        }
        due
    }

    /// Whether it is about this very workload, which may have gone, or come again.
    fn is_of(&self, missing: &Missing, workload: &ObjectKey) -> bool {
        self.store.get(workload).is_some_and(|there| there.metadata().uid == missing.item.uid)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Missing>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account of a pod.
pub(super) fn of(pod: &Pod) -> ObjectKey {
    ObjectKey::new(Kind::ServiceAccount, &pod.metadata.namespace, pod.spec.service_account())
}

/// Whether pods can have an account. `default` comes with its namespace, and in a cluster comes back when it is
/// deleted: it is never missed.
pub(super) fn is_there(account: &ObjectKey, store: &Store) -> bool {
    account.name == DEFAULT_ACCOUNT || store.contains(account)
}

/// That an account is not there, in the API server's words.
pub(super) fn not_found(account: &ObjectKey) -> String {
    let ObjectKey { namespace, name, .. } = account;
    format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found")
}

/// A work queue's first wait and its longest; each is twice the one before.
fn waits(kind: Kind) -> (Duration, Duration) {
    match kind {
        Kind::Job => (Duration::from_secs(1), Duration::from_mins(1)),
        _ => (Duration::from_millis(5), Duration::from_secs(1000)),
    }
}
