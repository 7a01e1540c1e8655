//! Whether istiod has said all it has to say, and who has not answered yet.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_xds::ResourceType;
use tokio::sync::watch;

/// A handle to what an istiod is doing; cheap to clone. It goes on answering after istiod ended, with the last state.
#[derive(Clone, Debug)]
pub struct IstiodStatus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    undelivered: Arc<AtomicUsize>,
    changes: watch::Sender<u64>,
}

/// What an [`IstiodStatus`] knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct State {
    /// All kinds have been listed and the first push is prepared: streams are served.
    pub ready: bool,
    /// The version of the last push.
    pub version: Option<String>,
    /// A watch event waits for its push.
    pub debouncing: bool,
    /// Where the ports are, once they listen.
    pub addresses: Addresses,
    /// The streams that are open, by number.
    pub connections: BTreeMap<u64, ConnectionStatus>,
}

/// The addresses an istiod serves at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Addresses {
    /// xDS without TLS.
    pub plaintext: Option<SocketAddr>,
    /// xDS and certificate service with TLS.
    pub tls: Option<SocketAddr>,
    /// `/ready`.
    pub readiness: Option<SocketAddr>,
    /// `/ready` and `/version`.
    pub monitoring: Option<SocketAddr>,
}

/// One ADS stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// The node's ID.
    pub node: String,
    /// A push waits for its turn.
    pub push_pending: bool,
    /// The last response of each type.
    pub last: BTreeMap<ResourceType, LastResponse>,
}

/// The last response of one type on one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastResponse {
    /// Its version.
    pub version: String,
    /// Its nonce.
    pub nonce: String,
    /// What the client said to it.
    pub verdict: Verdict,
}

/// What a client said to a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Pending,
    /// ACK.
    Accepted,
    /// NACK, with its message.
    Rejected(String),
}

/// What keeps a mesh from having converged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unsettled {
    /// istiod has not prepared its first push.
    NotReady,
    /// Watch events that istiod has not read.
    WatchEvents(usize),
    /// Watch events whose push is still debounced.
    Debounce,
    /// A node that a push has not reached.
    Push {
        /// The node's ID.
        node: String,
    },
    /// A node that has not answered its last response.
    Response {
        /// The node's ID.
        node: String,
        /// The type of the response.
        resource_type: ResourceType,
        /// Its version.
        version: String,
    },
}

impl IstiodStatus {
    pub(crate) fn new(undelivered: Arc<AtomicUsize>) -> Self {
        let shared = Shared { state: Mutex::default(), undelivered, changes: watch::Sender::new(0) };
        Self { shared: Arc::new(shared) }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.lock().clone()
    }

    /// Whether nothing is under way: no watch event unread, no debounce or push pending, no response unanswered.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.unsettled().is_empty()
    }

    /// What is under way, in order.
    #[must_use]
    pub fn unsettled(&self) -> Vec<Unsettled> {
        let mut unsettled = Vec::new();
        let state = self.lock();
        if !state.ready {
            unsettled.push(Unsettled::NotReady);
        }
        match self.shared.undelivered.load(Ordering::Acquire) {
            0 => {}
            count => unsettled.push(Unsettled::WatchEvents(count)),
        }
        if state.debouncing {
            unsettled.push(Unsettled::Debounce);
        }
        for connection in state.connections.values() {
            let node = || connection.node.clone();
            if connection.push_pending {
                unsettled.push(Unsettled::Push { node: node() });
            }
            for (resource_type, last) in &connection.last {
                if last.verdict == Verdict::Pending {
                    let version = last.version.clone();
                    unsettled.push(Unsettled::Response { node: node(), resource_type: *resource_type, version });
                }
            }
        }
        unsettled
    }

    /// Ends when the state is another than when this was called. Watch events that arrive are no change until read.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, mut changes) = (Arc::clone(&self.shared), self.shared.changes.subscribe());
        async move {
            // Never an error: `shared` keeps the sender alive.
            let _ = changes.changed().await;
            drop(shared);
        }
    }

    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut State) -> T) -> T {
        let answer = update(&mut self.lock());
        self.shared.changes.send_modify(|count| *count += 1);
        answer
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("istiod has not listed all kinds"),
            Self::WatchEvents(count) => write!(f, "istiod has not read {count} watch events"),
            Self::Debounce => f.write_str("istiod debounces a push"),
            Self::Push { node } => write!(f, "node {node}: a push waits for its turn"),
            Self::Response { node, resource_type, version } => {
                write!(f, "node {node}: no ACK or NACK of {} {version}", resource_type.short())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(verdict: Verdict) -> ConnectionStatus {
        let last = LastResponse { version: "v1".to_owned(), nonce: "n".to_owned(), verdict };
        ConnectionStatus {
            node: "sidecar~10.0.0.1~a.b~c".to_owned(),
            push_pending: false,
            last: [(ResourceType::Cluster, last)].into(),
        }
    }

    #[test]
    fn whatever_is_under_way_is_named() {
        let undelivered = Arc::new(AtomicUsize::new(2));
        let status = IstiodStatus::new(Arc::clone(&undelivered));
        assert_eq!(status.unsettled(), [Unsettled::NotReady, Unsettled::WatchEvents(2)]);
        undelivered.store(0, Ordering::Release);
        status.update(|state| {
            state.ready = true;
            state.debouncing = true;
            state.connections.insert(1, connection(Verdict::Pending));
        });
        let told: Vec<String> = status.unsettled().iter().map(ToString::to_string).collect();
        assert_eq!(told, ["istiod debounces a push", "node sidecar~10.0.0.1~a.b~c: no ACK or NACK of CDS v1"]);
    }

    #[test]
    fn a_rejection_is_an_answer() {
        let status = IstiodStatus::new(Arc::default());
        status.update(|state| {
            state.ready = true;
            state.connections.insert(1, connection(Verdict::Rejected("no".to_owned())));
            state.connections.insert(2, connection(Verdict::Accepted));
        });
        assert!(status.is_quiescent());
    }

    #[tokio::test]
    async fn a_change_wakes_who_waits_for_it() {
        let status = IstiodStatus::new(Arc::default());
        let changed = status.changed();
        tokio::pin!(changed);
        assert!(futures::poll!(&mut changed).is_pending());
        status.update(|state| state.ready = true);
        changed.await;
    }
}
