//! From changed objects to responses on every stream.
//!
//! Istio's `pilot/pkg/xds`: [`Debounce`] gathers changes, a `PushContext` is one version of the whole configuration,
//! and each stream takes its pushes one at a time, merging those it could not keep up with. [`IstiodStatus`] tells from
//! outside how far all that is.

mod connection;
mod debounce;
pub mod gate;
mod outbox;
mod registration;
mod status;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_runtime::{EventId, Runtime};
use tokio::sync::{Notify, Semaphore};

use crate::objects::ObjectKey;
use crate::snapshot::Snapshot;

pub(crate) use connection::DiscoveryService;
pub use connection::{ConnectionClosed, ConnectionOpened, ConnectionRefused, Dropped, Held, Nacked, Pushed, Released};
pub use debounce::{Debounce, DebounceTimes};
pub use gate::Gate;
pub(crate) use registration::Registrations;
pub use registration::{CleanedUp, Disconnected, Registered, Write, Writer};
pub use status::{Addresses, ConnectionStatus, IstiodStatus, LastResponse, State, Unsettled, Verdict, Way};

hermesh_runtime::event! {
    /// A new version of the configuration is on its way to every stream. Its cause is the last watch event in it.
    PushStarted = "istiod.push.started" {
        version: String,
        /// How many streams it goes to.
        connections: usize,
        /// The events of all watch events in it.
        causes: Vec<u64>,
        /// The services whose endpoints may differ, as `namespace/name`, or as hosts
        /// if they are no Services of Kubernetes; `*` for all.
        services: Vec<String>,
    }

    /// Every stream has been sent what a push has for it, or is gone.
    PushFinished = "istiod.push.finished" {
        version: String,
    }
}

/// A service: namespace and name, or of a host that is no Kubernetes Service nothing and the host.
pub(crate) type ServiceName = (String, String);

/// One version of the configuration.
#[derive(Debug)]
pub(crate) struct PushContext {
    pub(crate) version: String,
    pub(crate) snapshot: Snapshot,
    /// The event of each object's last change.
    pub(crate) changes: Arc<BTreeMap<ObjectKey, EventId>>,
    pub(crate) event: Option<EventId>,
}

/// What changed since the push before: which endpoints have to be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Update {
    /// Every stream gets a push; else only those of [`pods`](Self::pods).
    pub(crate) everyone: bool,
    /// Endpoints of all services may differ.
    pub(crate) all_endpoints: bool,
    /// Endpoints of these services may differ.
    pub(crate) services: BTreeSet<ServiceName>,
    /// These pods, by namespace and name, are not what they were: their own streams get everything.
    pub(crate) pods: BTreeSet<(String, String)>,
    /// The watch events in it.
    pub(crate) causes: Vec<EventId>,
}

impl Update {
    /// Adds a later update.
    pub(crate) fn merge(&mut self, later: Self) {
        self.everyone |= later.everyone;
        self.all_endpoints |= later.all_endpoints;
        self.services.extend(later.services);
        self.pods.extend(later.pods);
        self.causes.extend(later.causes);
    }

    /// Whether the endpoints of `service` have to be sent to the pod `namespace/name`.
    pub(crate) fn concerns(&self, service: Option<&ServiceName>, pod: &(String, String)) -> bool {
        self.all_endpoints || self.pods.contains(pod) || service.is_some_and(|service| self.services.contains(service))
    }
}

/// A push that waits for its stream's turn.
#[derive(Debug)]
struct Pending {
    context: Arc<PushContext>,
    update: Update,
    unfinished: Vec<Arc<Unfinished>>,
}

/// Tells of a push's end when the last stream lets go of it.
#[derive(Debug)]
struct Unfinished {
    rt: Runtime,
    version: String,
    event: Option<EventId>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.rt.emit_because(self.event, PushFinished { version: std::mem::take(&mut self.version) });
    }
}

/// All open streams, and the configuration they are served from.
#[derive(Clone)]
pub(crate) struct Hub {
    rt: Runtime,
    status: IstiodStatus,
    shared: Arc<Mutex<Shared>>,
    /// How many streams may prepare responses at once.
    permits: Arc<Semaphore>,
    /// What is done to responses before they leave.
    gate: Option<Gate>,
}

#[derive(Default)]
struct Shared {
    context: Option<Arc<PushContext>>,
    streams: BTreeMap<u64, Stream>,
    last_stream: u64,
    pushes: u64,
}

#[derive(Default)]
struct Stream {
    /// Namespace and name of the node's pod.
    pod: (String, String),
    pending: Option<Pending>,
    wake: Arc<Notify>,
}

impl Hub {
    pub(crate) fn new(rt: &Runtime, status: IstiodStatus, concurrency: usize, gate: Option<Gate>) -> Self {
        let permits = Arc::new(Semaphore::new(concurrency.max(1)));
        Self { rt: rt.clone(), status, shared: Arc::default(), permits, gate }
    }

    /// The configuration that new requests are answered from; none before the first push.
    pub(crate) fn context(&self) -> Option<Arc<PushContext>> {
        self.shared().context.clone()
    }

    /// Makes `snapshot` the configuration and queues it for every stream.
    pub(crate) fn push(&self, snapshot: Snapshot, changes: Arc<BTreeMap<ObjectKey, EventId>>, update: &Update) {
        let mut shared = self.shared();
        shared.pushes += 1;
        let version = format!("{}/{}", rfc3339(self.rt.wall()), shared.pushes);
        let services = if update.all_endpoints {
            vec!["*".to_owned()]
        } else {
            let name = |(namespace, name): &ServiceName| match namespace.as_str() {
                "" => name.clone(),
                namespace => format!("{namespace}/{name}"),
            };
            update.services.iter().map(name).collect()
        };
        let reached = |stream: &Stream| update.everyone || update.pods.contains(&stream.pod);
        let event = PushStarted {
            version: version.clone(),
            connections: shared.streams.values().filter(|stream| reached(stream)).count(),
            causes: update.causes.iter().map(|cause| cause.seq()).collect(),
            services,
        };
        let event = self.rt.emit_because(update.causes.last().copied(), event);
        let context = Arc::new(PushContext { version: version.clone(), snapshot, changes, event });
        let unfinished = Arc::new(Unfinished { rt: self.rt.clone(), version: version.clone(), event });
        shared.context = Some(Arc::clone(&context));
        let mut reached_ids = Vec::new();
        for (id, stream) in shared.streams.iter_mut().filter(|(_, stream)| reached(stream)) {
            reached_ids.push(*id);
            let unfinished = Arc::clone(&unfinished);
            match &mut stream.pending {
                Some(pending) => {
                    pending.context = Arc::clone(&context);
                    pending.update.merge(update.clone());
                    pending.unfinished.push(unfinished);
                }
                pending @ None => {
                    let (context, update) = (Arc::clone(&context), update.clone());
                    *pending = Some(Pending { context, update, unfinished: vec![unfinished] });
                }
            }
            stream.wake.notify_one();
        }
        self.status.update(|state| {
            state.ready = true;
            state.version = Some(version);
            for id in reached_ids {
                state.connections.get_mut(&id).expect("a stream enters and leaves both at once").push_pending = true;
            }
        });
    }

    /// Enters a stream of `node`; what it is told comes through [`Entry::next_push`].
    fn enter(&self, node: &str, pod: &(String, String)) -> Entry {
        let mut shared = self.shared();
        shared.last_stream += 1;
        let stream = Stream { pod: pod.clone(), ..Stream::default() };
        let entry = Entry { hub: self.clone(), id: shared.last_stream, wake: Arc::clone(&stream.wake) };
        shared.streams.insert(entry.id, stream);
        let connection =
            ConnectionStatus { node: node.to_owned(), pod: pod.clone(), push_pending: false, last: BTreeMap::new() };
        self.status.update(|state| state.connections.insert(entry.id, connection));
        entry
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream's place in the [`Hub`], given up when dropped.
struct Entry {
    hub: Hub,
    id: u64,
    wake: Arc<Notify>,
}

impl Entry {
    /// The next push for this stream. Safe to drop while it waits.
    async fn next_push(&self) -> Pending {
        loop {
            let pending = self.hub.shared().streams.get_mut(&self.id).and_then(|stream| stream.pending.take());
            match pending {
                Some(pending) => return pending,
                None => self.wake.notified().await,
            }
        }
    }

    /// The push that [`next_push`](Self::next_push) gave is sent, unless the next waits already.
    fn pushed(&self) {
        let another = self.hub.shared().streams.get(&self.id).is_some_and(|stream| stream.pending.is_some());
        self.update(|connection| connection.push_pending = another);
    }

    fn update(&self, update: impl FnOnce(&mut ConnectionStatus)) {
        self.hub.status.update(|state| state.connections.get_mut(&self.id).map(update));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let gone = self.hub.shared().streams.remove(&self.id);
        self.hub.status.update(|state| state.connections.remove(&self.id));
        // Outside the lock: a push may end here, and says so.
        drop(gone);
    }
}

/// `2026-11-22T16:35:15Z`, as Go's `time.RFC3339` writes UTC.
fn rfc3339(since_1970: std::time::Duration) -> String {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    let at = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    let (date, clock) = (at.date(), at.time());
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year(),
        u8::from(date.month()),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_read_as_go_writes_them() {
        assert_eq!(rfc3339(std::time::Duration::from_millis(1_795_365_315_999)), "2026-11-22T16:35:15Z");
    }

    #[test]
    fn an_update_concerns_what_it_names() {
        let service = |name: &str| ("ns".to_owned(), name.to_owned());
        let pod = service("pod");
        let mut update = Update { services: [service("a")].into(), ..Update::default() };
        assert!(update.concerns(Some(&service("a")), &pod));
        assert!(!update.concerns(Some(&service("b")), &pod));
        assert!(!update.concerns(None, &pod));
        update.merge(Update { pods: [pod.clone()].into(), ..Update::default() });
        assert!(update.concerns(None, &pod), "a pod that changed itself gets everything");
    }
}
