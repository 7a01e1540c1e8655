//! Pods whose ServiceAccount is not there: nobody can make them, and their controller tries again.
//!
//! Source: kubernetes `plugin/pkg/admission/serviceaccount/admission.go`; the waits are those of the controllers' work
//! queues, client-go `util/workqueue/default_rate_limiters.go` and `pkg/controller/job/job_controller.go`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::objects::{Kind, Object, ObjectKey, Pod};
use hermesh_runtime::EventId;
use tokio::time::Instant;

use super::events::PodForbidden;
use super::store::{Change, Store, Watch};
use crate::engine::World;

/// The account of pods that name none. It comes with its namespace, and comes back when it is deleted.
const DEFAULT_ACCOUNT: &str = "default";

/// Lets pods be made whose account is there, and remembers the others; clones share it.
#[derive(Clone)]
pub(crate) struct ServiceAccounts {
    world: World,
    store: Store,
    /// By workload.
    missing: Arc<Mutex<BTreeMap<ObjectKey, Missing>>>,
}

/// What the pods of a workload wait for.
struct Missing {
    /// The workload's UID: another one may have its name later.
    uid: String,
    account: ObjectKey,
    /// Since when its controller tries in vain.
    since: Instant,
}

impl ServiceAccounts {
    pub(crate) const WATCHED: [Kind; 1] = [Kind::ServiceAccount];

    pub(crate) fn new(world: &World, store: &Store) -> Self {
        Self { world: world.clone(), store: store.clone(), missing: Arc::default() }
    }

    /// Whether a pod of `workload` may be made; if not it is told of once.
    pub(super) fn admit(&self, pod: &Pod, workload: &ObjectKey, uid: &str, cause: Option<EventId>) -> bool {
        let account = of(pod);
        if is_there(&account, &self.store) {
            self.lock().remove(workload);
            return true;
        }
        let mut missing = self.lock();
        if missing.get(workload).is_none_or(|known| known.account != account || known.uid != uid) {
            let (name, error) = (format!("{}/{}", pod.metadata.namespace, pod.metadata.name), not_found(&account));
            self.world.emit("cluster", cause, PodForbidden { pod: name, error });
            missing.insert(workload.clone(), Missing { uid: uid.to_owned(), account, since: Instant::now() });
        }
        false
    }

    /// Why no pod of `workload` can be made, if it is for want of its account.
    pub(super) fn refusal(&self, workload: &ObjectKey) -> Option<String> {
        Some(not_found(&self.lock().get(workload)?.account))
    }

    /// Has the controllers try again when their work queues would, after an account has come.
    pub(crate) async fn run<R>(self, mut watch: Watch, reconcile: R)
    where
        R: Fn(&ObjectKey, Option<EventId>) + Clone + Send + 'static,
    {
        loop {
            let delivery = watch.next().await;
            let Change::Applied(Object::ServiceAccount(account)) = delivery.change else { continue };
            for (workload, wait) in self.waiting(&account.key()) {
                let reconcile = reconcile.clone();
                self.world.runtime().spawn("work-queue", async move {
                    tokio::time::sleep(wait).await;
                    reconcile(&workload, delivery.cause);
                });
            }
        }
    }

    /// The workloads that wait for `account`, and how long each goes on to.
    fn waiting(&self, account: &ObjectKey) -> Vec<(ObjectKey, Duration)> {
        let missing = self.lock();
        let theirs = missing.iter().filter(|(_, missing)| missing.account == *account);
        let wait = |(workload, missing): (&ObjectKey, &Missing)| {
            (workload.clone(), until_next_try(workload.kind, missing.since.elapsed()))
        };
        theirs.map(wait).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectKey, Missing>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The account of a pod.
pub(super) fn of(pod: &Pod) -> ObjectKey {
    ObjectKey::new(Kind::ServiceAccount, &pod.metadata.namespace, pod.spec.service_account())
}

/// Whether pods can have an account.
pub(super) fn is_there(account: &ObjectKey, store: &Store) -> bool {
    account.name == DEFAULT_ACCOUNT || store.contains(account)
}

/// That an account is not there, in the API server's words.
pub(super) fn not_found(account: &ObjectKey) -> String {
    let ObjectKey { namespace, name, .. } = account;
    format!("error looking up service account {namespace}/{name}: serviceaccount \"{name}\" not found")
}

/// How long until a controller tries again that has done so in vain for the time `tried`: each wait is twice the one
/// before.
fn until_next_try(kind: Kind, tried: Duration) -> Duration {
    let (mut wait, longest) = match kind {
        Kind::Job => (Duration::from_secs(1), Duration::from_mins(1)),
        _ => (Duration::from_millis(5), Duration::from_secs(1000)),
    };
    let mut at = wait;
    while at < tried {
        wait = longest.min(2 * wait);
        at += wait;
    }
    at - tried
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_work_queue_doubles_its_waits() {
        let table = [
            (Kind::Deployment, 0, 5),
            (Kind::Deployment, 5, 0),
            // 5 + 10 + 20 ms.
            (Kind::StatefulSet, 16, 19),
            // 5 ms * (2^11 - 1).
            (Kind::Deployment, 6_000, 4_235),
            // 17 waits are 655.355 s, the 18th is 655.36 s, and those after it 1000 s each.
            (Kind::Deployment, 655_356, 655_359),
            (Kind::Deployment, 1_310_716, 999_999),
            (Kind::Job, 0, 1_000),
            (Kind::Job, 2_000, 1_000),
            // 1 + 2 + 4 + 8 + 16 + 32 + 60 s.
            (Kind::Job, 64_000, 59_000),
        ];
        for (kind, tried, wait) in table {
            let wait = Duration::from_millis(wait);
            assert_eq!(until_next_try(kind, Duration::from_millis(tried)), wait, "{kind} after {tried} ms");
        }
    }
}
