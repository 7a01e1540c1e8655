//! Whether istiod has said all it has to say, and who has not answered yet.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hermesh_runtime::latest::Latest;
use hermesh_xds::ResourceType;
use serde::Serialize;

/// A handle to what an istiod is doing; cheap to clone. It goes on answering after istiod ended, with the last state.
#[derive(Clone, Debug)]
pub struct IstiodStatus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Latest<State>,
    undelivered: Arc<AtomicUsize>,
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
    /// All ports listen.
    pub listening: bool,
    /// Where the ports are, once they listen.
    pub addresses: Addresses,
    /// The streams that are open, by number.
    pub connections: BTreeMap<u64, ConnectionStatus>,
}

/// The addresses an istiod serves at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Addresses {
    /// xDS without TLS.
    pub plaintext: Option<SocketAddr>,
    /// xDS and certificate service with TLS.
    pub tls: Option<SocketAddr>,
    /// `/ready`.
    pub readiness: Option<SocketAddr>,
    /// `/ready`, `/version` and `/debug/syncz`.
    pub monitoring: Option<SocketAddr>,
}

/// One ADS stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionStatus {
    /// The node's ID.
    pub node: String,
    /// Namespace and name of the node's pod.
    pub pod: (String, String),
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
    /// How far it has come.
    pub way: Way,
}

/// How far a response has come, as far as istiod's side goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It has left.
    Sent,
    /// A [`Gate`](super::Gate)'s rule keeps it back; what that does is called so.
    Kept(&'static str),
    /// A [`Gate`](super::Gate)'s rule has dropped it.
    Dropped,
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
    /// A node whose last response is kept back.
    Kept {
        /// The node's ID.
        node: String,
        /// The type of the response.
        resource_type: ResourceType,
        /// Its version.
        version: String,
        /// What keeps it: `hold`, `delay` or `reorder`.
        by: &'static str,
    },
    /// A node whose last response was dropped on its way.
    Dropped {
        /// The node's ID.
        node: String,
        /// The type of the response.
        resource_type: ResourceType,
        /// Its version.
        version: String,
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
        Self { shared: Arc::new(Shared { state: Latest::new(State::default()), undelivered }) }
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.state.look(State::clone)
    }

    /// Whether nothing is under way: no watch event unread, no debounce or push pending, no response unanswered.
    #[must_use]
    pub fn is_quiescent(&self) -> bool {
        self.unsettled().is_empty()
    }

    /// What is under way, in order.
    #[must_use]
    pub fn unsettled(&self) -> Vec<Unsettled> {
        let undelivered = self.shared.undelivered.load(Ordering::Acquire);
        self.shared.state.look(|state| state.unsettled(undelivered))
    }

    /// Ends when the state is another than when this was called. Watch events are a change when the last is read.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut state = self.shared.state.reader();
        async move { state.changed().await }
    }

    /// The last watch event is read, whether it changes anything or not.
    pub(crate) fn all_read(&self) {
        self.shared.state.modify(|_| ());
    }

    pub(crate) fn update<T>(&self, update: impl FnOnce(&mut State) -> T) -> T {
        self.shared.state.modify(update)
    }
}

impl State {
    fn unsettled(&self, undelivered: usize) -> Vec<Unsettled> {
        let mut unsettled = Vec::new();
        if !self.ready {
            unsettled.push(Unsettled::NotReady);
        }
        if undelivered > 0 {
            unsettled.push(Unsettled::WatchEvents(undelivered));
        }
        if self.debouncing {
            unsettled.push(Unsettled::Debounce);
        }
        for connection in self.connections.values() {
            let node = || connection.node.clone();
            if connection.push_pending {
                unsettled.push(Unsettled::Push { node: node() });
            }
            for (resource_type, last) in &connection.last {
                if last.verdict == Verdict::Pending {
                    let (node, resource_type, version) = (node(), *resource_type, last.version.clone());
                    unsettled.push(match last.way {
                        Way::Sent => Unsettled::Response { node, resource_type, version },
                        Way::Kept(by) => Unsettled::Kept { node, resource_type, version, by },
                        Way::Dropped => Unsettled::Dropped { node, resource_type, version },
                    });
                }
            }
        }
        unsettled
    }
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotReady => f.write_str("istiod has not listed all kinds"),
            Self::WatchEvents(count) => write!(f, "istiod has not read {count} watch events"),
            Self::Debounce => f.write_str("istiod debounces a push"),
            Self::Push { node } => write!(f, "node {node}: a push waits for its turn"),
            Self::Kept { node, resource_type, version, by } => {
                write!(f, "node {node}: {} {version} is kept back by a `{by}`", resource_type.short())
            }
            Self::Dropped { node, resource_type, version } => {
                write!(f, "node {node}: {} {version} was dropped on its way by a `drop`", resource_type.short())
            }
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
        let last = LastResponse { version: "v1".to_owned(), nonce: "n".to_owned(), verdict, way: Way::Sent };
        ConnectionStatus {
            node: "sidecar~10.0.0.1~a.b~c".to_owned(),
            pod: ("b".to_owned(), "a".to_owned()),
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

    #[test]
    fn a_change_wakes_those_who_wait_for_it_in_the_order_in_which_they_began_to() {
        use futures::stream::{FuturesUnordered, StreamExt as _};
        let status = IstiodStatus::new(Arc::default());
        let waiters = (0..50).map(|number| {
            let changed = status.changed();
            async move {
                changed.await;
                number
            }
        });
        let mut waiters: FuturesUnordered<_> = waiters.collect();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiters.poll_next_unpin(&mut context).is_pending());
        status.update(|state| state.ready = true);
        let mut woken = Vec::new();
        while let std::task::Poll::Ready(Some(number)) = waiters.poll_next_unpin(&mut context) {
            woken.push(number);
        }
        assert_eq!(woken, (0..50).collect::<Vec<_>>());
    }
}
