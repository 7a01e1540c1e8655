//! The Kubernetes API as far as a mesh sees it: objects with resource versions, and watches over them.
//!
//! Each watcher has one stream per kind. Changes of one kind arrive in order; those of different kinds overtake each
//! other, since every delivery takes its own drawn time. That is all Kubernetes promises, and no more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hermesh_istiod::objects::{Kind, Object, ObjectKey, Written};
use hermesh_runtime::{Draws, EventId};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::events::{Entered, ObjectApplied, ObjectDeleted, SlicePods, WatchDelivered};
use crate::engine::World;
use crate::signal::{Listener, Signal};

/// How long a change takes to reach a watcher, in milliseconds.
const DELIVERY_MS: RangeInclusive<u64> = 1..=20;

/// The store; clones share it.
#[derive(Clone)]
pub(crate) struct Store {
    world: World,
    inner: Arc<Mutex<Inner>>,
    /// Raised by every change and by every delivery of one.
    changes: Signal,
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<ObjectKey, Stored>,
    version: u64,
    watches: Vec<Weak<Queue>>,
    /// How many watches each watcher has had: a restarted one draws afresh.
    incarnations: BTreeMap<String, u64>,
    /// How many objects of a name have gone: the next one is another, and has a UID of its own. Names of objects with
    /// an owner are drawn and do not come again, but for those of StatefulSets.
    gone: BTreeMap<ObjectKey, u64>,
}

struct Stored {
    object: Object,
    /// The event that recorded this state.
    event: Option<EventId>,
    /// What a user's manifest says of it, where that is kept.
    manifest: Option<Object>,
}

/// What an apply did, in kubectl's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ApplyOutcome {
    /// The object is new.
    Created,
    /// It was there and differed.
    Configured,
    /// It was there and the same.
    Unchanged,
}

impl ApplyOutcome {
    /// `created`, `configured` or `unchanged`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

impl Store {
    pub(crate) fn new(world: World) -> Self {
        Self { world, inner: Arc::default(), changes: Signal::default() }
    }

    /// Creates or replaces an object. What the API server gave it - UID, creation time - stays.
    pub(crate) fn apply(&self, mut object: Object, cause: Option<EventId>) -> ApplyOutcome {
        let key = object.key();
        let mut inner = self.lock();
        let old = inner.objects.get(&key).map(|stored| &stored.object);
        let outcome = match old {
            Some(old) => {
                let given = old.metadata();
                let metadata = object.metadata_mut();
                metadata.uid.clone_from(&given.uid);
                metadata.creation_timestamp = given.creation_timestamp;
                metadata.resource_version = given.resource_version;
                metadata.generation = given.generation;
                metadata.deletion_timestamp = given.deletion_timestamp;
                metadata.owner.clone_from(&given.owner);
                if *old == object { ApplyOutcome::Unchanged } else { ApplyOutcome::Configured }
            }
            None => {
                let metadata = object.metadata_mut();
                let path = match inner.gone.get(&key) {
                    None => format!("uid/{key}"),
                    Some(before) => format!("uid/{key}#{before}"),
                };
                metadata.uid = uid(&mut self.world.runtime().draws(&path));
                // Kubernetes keeps whole seconds: two objects applied within one are equally old.
                metadata.creation_timestamp = Some(self.world.wall().as_secs());
                ApplyOutcome::Created
            }
        };
        if outcome == ApplyOutcome::Unchanged {
            inner.keep_written(&key, &object.metadata().written);
        } else {
            inner.put(&self.world, object, outcome, cause);
            self.changes.raise();
        }
        outcome
    }

    /// Changes an object that is there. Nothing happens if `change` leaves it as it is.
    pub(crate) fn modify(&self, key: &ObjectKey, cause: Option<EventId>, change: impl FnOnce(&mut Object)) -> bool {
        let mut inner = self.lock();
        let Some(stored) = inner.objects.get(key) else { return false };
        let mut object = stored.object.clone();
        change(&mut object);
        if object == stored.object {
            return false;
        }
        inner.put(&self.world, object, ApplyOutcome::Configured, cause);
        self.changes.raise();
        true
    }

    /// Keeps, as long as the object is there, what a user's manifest says of it: kubectl does so in an annotation. The
    /// answer is what was kept before.
    pub(crate) fn keep_manifest(&self, manifest: Object) -> Option<Object> {
        self.lock().objects.get_mut(&manifest.key())?.manifest.replace(manifest)
    }

    /// Keeps what was written of an object that is there.
    pub(crate) fn keep_written(&self, key: &ObjectKey, written: &Written) {
        self.lock().keep_written(key, written);
    }

    /// What was kept of an object's manifest.
    pub(crate) fn manifest(&self, key: &ObjectKey) -> Option<Object> {
        self.lock().objects.get(key)?.manifest.clone()
    }

    /// Removes an object.
    pub(crate) fn delete(&self, key: &ObjectKey, cause: Option<EventId>) -> bool {
        let mut inner = self.lock();
        let Some(stored) = inner.objects.remove(key) else { return false };
        let owner = stored.object.metadata().owner.as_ref();
        if owner.is_none_or(|owner| owner.kind == Kind::StatefulSet) {
            *inner.gone.entry(key.clone()).or_default() += 1;
        }
        inner.version += 1;
        let deleted = ObjectDeleted { object: key.to_string(), resource_version: inner.version };
        let event = self.world.emit("cluster", cause, deleted);
        inner.tell(key.kind, &Change::Deleted(key.clone()), event);
        self.changes.raise();
        true
    }

    pub(crate) fn get(&self, key: &ObjectKey) -> Option<Object> {
        self.lock().objects.get(key).map(|stored| stored.object.clone())
    }

    pub(crate) fn contains(&self, key: &ObjectKey) -> bool {
        self.lock().objects.contains_key(key)
    }

    /// All objects of a kind, by namespace and name.
    pub(crate) fn list(&self, kind: Kind) -> Vec<Object> {
        self.lock().of_kind(kind).map(|(_, stored)| stored.object.clone()).collect()
    }

    /// All objects of a kind in one namespace, by name.
    pub(crate) fn list_in(&self, kind: Kind, namespace: &str) -> Vec<Object> {
        let inner = self.lock();
        let from = inner.objects.range(ObjectKey::new(kind, namespace, "")..);
        let there = from.take_while(|(key, _)| key.kind == kind && key.namespace == namespace);
        there.map(|(_, stored)| stored.object.clone()).collect()
    }

    /// All keys of a kind.
    pub(crate) fn keys(&self, kind: Kind) -> Vec<ObjectKey> {
        self.lock().of_kind(kind).map(|(key, _)| key.clone()).collect()
    }

    /// Everything in one namespace.
    pub(crate) fn keys_in(&self, namespace: &str) -> Vec<ObjectKey> {
        self.lock().objects.keys().filter(|key| key.namespace == namespace).cloned().collect()
    }

    /// Watches `kinds`: first all there are, then [`Change::Synced`], then every change. `watcher` names the draws.
    pub(crate) fn watch(&self, watcher: &str, kinds: &[Kind]) -> Watch {
        let mut inner = self.lock();
        let incarnation = inner.incarnations.entry(watcher.to_owned()).or_default();
        let run = *incarnation;
        *incarnation += 1;
        let draws = |kind: &Kind| self.world.runtime().draws(&format!("watch/{watcher}/{run}/{kind}"));
        let streams = kinds.iter().map(|kind| (*kind, Stream { draws: draws(kind), last: Instant::now() })).collect();
        let queue = Arc::new(Queue {
            watcher: watcher.to_owned(),
            state: Mutex::new(State { streams, pending: BTreeMap::new(), next: 0 }),
            wake: Notify::new(),
        });
        for kind in kinds {
            for (_, stored) in inner.of_kind(*kind) {
                queue.push(*kind, Change::Applied(stored.object.clone()), stored.event);
            }
            queue.push(*kind, Change::Synced(*kind), None);
        }
        inner.watches.retain(|watch| watch.strong_count() > 0);
        inner.watches.push(Arc::downgrade(&queue));
        Watch { world: self.world.clone(), queue, changes: self.changes.clone() }
    }

    /// Wakes whoever waits for the store to change, or for a change to be delivered.
    pub(crate) fn changes(&self) -> Listener {
        self.changes.listen()
    }

    /// Wakes whoever waits for the store to change: something has that is beside it.
    pub(crate) fn touch(&self) {
        self.changes.raise();
    }

    /// Changes on their way to watchers.
    pub(crate) fn undelivered(&self) -> usize {
        let watches: Vec<_> = self.lock().watches.iter().filter_map(Weak::upgrade).collect();
        watches.iter().map(|queue| queue.lock().pending.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Keys are ordered by kind first.
    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ObjectKey, &Stored)> {
        self.objects.range(ObjectKey::new(kind, "", "")..).take_while(move |(key, _)| key.kind == kind)
    }

    fn keep_written(&mut self, key: &ObjectKey, written: &Written) {
        if let Some(stored) = self.objects.get_mut(key).filter(|_| written.live.is_some()) {
            stored.object.metadata_mut().written.clone_from(written);
        }
    }

    fn put(&mut self, world: &World, mut object: Object, outcome: ApplyOutcome, cause: Option<EventId>) {
        self.version += 1;
        object.metadata_mut().resource_version = self.version;
        let key = object.key();
        let endpoints = match &object {
            Object::EndpointSlice(slice) => Some(SlicePods::of(slice)),
            _ => None,
        };
        let workload = match &object {
            Object::Pod(pod) if outcome == ApplyOutcome::Created => {
                let owner = pod.metadata.owner.as_ref().map(|owner| &owner.name);
                Some(owner.unwrap_or(&pod.metadata.name).clone())
            }
            _ => None,
        };
        let selector = match &object {
            Object::Service(service) => Some(service.spec.selector.clone()).filter(|selector| !selector.is_empty()),
            _ => None,
        };
        let entry = match &object {
            Object::WorkloadEntry(entry) => Some(Entered::of(entry)),
            _ => None,
        };
        let (object_name, resource_version, change) = (key.to_string(), self.version, outcome.as_str());
        let applied =
            ObjectApplied { object: object_name, resource_version, change, endpoints, workload, selector, entry };
        let event = world.emit("cluster", cause, applied);
        self.tell(key.kind, &Change::Applied(object.clone()), event);
        let manifest = self.objects.get_mut(&key).and_then(|stored| stored.manifest.take());
        self.objects.insert(key, Stored { object, event, manifest });
    }

    fn tell(&mut self, kind: Kind, change: &Change, event: Option<EventId>) {
        for queue in self.watches.iter().filter_map(Weak::upgrade) {
            queue.push(kind, change.clone(), event);
        }
    }
}

/// One change, as a watcher sees it.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    Applied(Object),
    Deleted(ObjectKey),
    /// All that was there when the watch began has been told.
    Synced(Kind),
}

/// A change and the event that recorded it.
#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) change: Change,
    pub(crate) cause: Option<EventId>,
}

/// The receiving end of a watch; dropping it ends the watch.
pub(crate) struct Watch {
    world: World,
    queue: Arc<Queue>,
    changes: Signal,
}

struct Queue {
    watcher: String,
    state: Mutex<State>,
    wake: Notify,
}

struct State {
    streams: BTreeMap<Kind, Stream>,
    /// By arrival; the number keeps those of one instant in order.
    pending: BTreeMap<(Instant, u64), Delivery>,
    next: u64,
}

struct Stream {
    draws: Draws,
    /// Nothing arrives before what was sent earlier.
    last: Instant,
}

impl Queue {
    fn push(&self, kind: Kind, change: Change, cause: Option<EventId>) {
        let mut state = self.lock();
        let Some(stream) = state.streams.get_mut(&kind) else { return };
        let delay = Duration::from_millis(stream.draws.between(*DELIVERY_MS.start(), *DELIVERY_MS.end()));
        stream.last = stream.last.max(Instant::now() + delay);
        let at = stream.last;
        let number = state.next;
        state.next += 1;
        state.pending.insert((at, number), Delivery { change, cause });
        drop(state);
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The next change.
    pub(crate) async fn next(&mut self) -> Delivery {
        loop {
            let first = self.queue.lock().pending.keys().next().copied();
            match first {
                Some(first) if first.0 <= Instant::now() => {
                    let delivery = self.queue.lock().pending.remove(&first).expect("only this watch takes");
                    self.tell(&delivery);
                    self.changes.raise();
                    return delivery;
                }
                Some((at, _)) => {
                    tokio::select! {
                        biased;
                        () = self.queue.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.queue.wake.notified().await,
            }
        }
    }

    fn tell(&self, delivery: &Delivery) {
        let (object, resource_version) = match &delivery.change {
            Change::Applied(object) => (object.key().to_string(), object.metadata().resource_version),
            Change::Deleted(key) => (key.to_string(), 0),
            Change::Synced(_) => return,
        };
        let watcher = self.queue.watcher.clone();
        self.world.emit("cluster", delivery.cause, WatchDelivered { watcher, object, resource_version });
    }
}

/// A random UUID (version 4) from the seed.
fn uid(draws: &mut Draws) -> String {
    let mut bytes = [0; 16];
    draws.fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::objects::{ConfigMap, Metadata, ServiceAccount};
    use hermesh_runtime::Level;

    use super::*;
    use crate::engine::{Config, Simulation};

    const KINDS: [Kind; 2] = [Kind::ServiceAccount, Kind::ConfigMap];

    fn account(name: &str) -> Object {
        ServiceAccount { metadata: Metadata::named("shop", name) }.into()
    }

    fn config_map(name: &str, value: &str) -> Object {
        let data = [("key".to_owned(), value.to_owned())].into();
        ConfigMap { metadata: Metadata::named("shop", name), data, immutable: false }.into()
    }

    fn describe(delivery: &Delivery) -> String {
        match &delivery.change {
            Change::Applied(object) => format!("{} {}", object.kind(), object.metadata().resource_version),
            Change::Deleted(key) => format!("{} deleted", key.kind),
            Change::Synced(kind) => format!("{kind} synced"),
        }
    }

    /// Applies `count` objects of either kind, 1 ms apart, to a store that is watched, and tells what arrived.
    fn watched(seed: u64, count: usize) -> Vec<String> {
        let mut simulation = Simulation::new(Config { level: Level::Debug, ..Config::new(seed) });
        let world = simulation.world().clone();
        let run = async {
            let store = Store::new(world);
            store.apply(account("first"), None);
            let mut watch = store.watch("test", &KINDS);
            for number in 0..count {
                store.apply(account(&format!("a{number}")), None);
                store.apply(config_map(&format!("c{number}"), ""), None);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let mut arrived = Vec::new();
            while store.undelivered() > 0 {
                arrived.push(describe(&watch.next().await));
            }
            arrived
        };
        simulation.block_on(run).expect("changes arrive by timers")
    }

    #[test]
    fn changes_of_one_kind_arrive_in_order_and_after_the_list() {
        for seed in 0..50 {
            let arrived = watched(seed, 10);
            assert_eq!(arrived.len(), 1 + 2 + 20, "{arrived:?}");
            for kind in KINDS {
                let own: Vec<&String> = arrived.iter().filter(|line| line.starts_with(kind.name())).collect();
                let listed = usize::from(kind == Kind::ServiceAccount);
                assert_eq!(*own[listed], format!("{kind} synced"), "{own:?}");
                let version = |line: &&&String| line.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
                let versions: Vec<u64> = own.iter().filter_map(|line| version(&line)).collect();
                assert!(versions.is_sorted(), "{versions:?}");
            }
        }
    }

    #[test]
    fn changes_of_different_kinds_overtake_each_other_as_the_seed_decides() {
        let version = |line: &String| line.rsplit(' ').next().and_then(|word| word.parse::<u64>().ok());
        let versions = |seed| watched(seed, 10).iter().filter_map(version).collect::<Vec<_>>();
        assert!((0..10).any(|seed| !versions(seed).is_sorted()));
        assert_eq!(versions(3), versions(3));
        assert!((0..10).any(|seed| versions(seed) != versions(3)));
    }

    #[test]
    fn applying_the_same_again_changes_nothing_and_what_the_server_gave_stays() {
        let mut simulation = Simulation::new(Config::new(1));
        let world = simulation.world().clone();
        let run = async {
            let store = Store::new(world);
            assert_eq!(store.apply(config_map("a", "1"), None), ApplyOutcome::Created);
            let created = store.get(&config_map("a", "").key()).expect("it was applied");
            tokio::time::sleep(Duration::from_millis(1500)).await;
            assert_eq!(store.apply(config_map("a", "1"), None), ApplyOutcome::Unchanged);
            assert_eq!(store.apply(config_map("a", "2"), None), ApplyOutcome::Configured);
            let changed = store.get(&created.key()).expect("it was applied");
            let given = |object: &Object| (object.metadata().uid.clone(), object.metadata().creation_timestamp);
            assert_eq!(given(&created), given(&changed));
            assert!(changed.metadata().resource_version > created.metadata().resource_version);
            assert!(store.delete(&created.key(), None));
            assert!(!store.delete(&created.key(), None));
            store.apply(config_map("a", "2"), None);
            let again = store.get(&created.key()).expect("it was applied");
            assert_eq!(again.metadata().creation_timestamp, created.metadata().creation_timestamp.map(|at| at + 1));
            assert_ne!(again.metadata().uid, created.metadata().uid, "it is another object of the same name");
        };
        simulation.block_on(run).expect("one timer is all it waits for");
    }

    #[test]
    fn a_manifest_is_kept_as_long_as_its_object_is_there() {
        let mut simulation = Simulation::new(Config::new(1));
        let world = simulation.world().clone();
        let run = async {
            let store = Store::new(world);
            let (first, second) = (config_map("a", "1"), config_map("a", "2"));
            assert_eq!(store.keep_manifest(first.clone()), None, "there is no such object");
            store.apply(first.clone(), None);
            assert_eq!(store.keep_manifest(first.clone()), None);
            store.apply(second.clone(), None);
            assert_eq!(store.keep_manifest(second.clone()), Some(first.clone()));
            assert_eq!(store.manifest(&first.key()), Some(second));
            store.delete(&first.key(), None);
            store.apply(first.clone(), None);
            assert_eq!(store.manifest(&first.key()), None);
        };
        simulation.block_on(run).expect("it waits for nothing");
    }

    #[test]
    fn a_uid_is_a_random_uuid() {
        let made = uid(&mut Draws::new(7, "uid", 0));
        assert_eq!(made.len(), 36);
        assert_eq!(made.as_bytes()[14], b'4');
        assert!(matches!(made.as_bytes()[19], b'8' | b'9' | b'a' | b'b'));
    }
}
