//! The one door to the network, whichever it is.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hermesh_runtime::{EventId, Trail};
use tokio::io::ReadBuf;

use super::PodId;
use super::endings::Endings;
use super::fault::{LinkFault, NotShown};
use super::net::{Accepted, Latency, Net, Owner, Side};
use super::slab::Key;
use super::turmoil;
use super::world::Route;

/// Who carries what containers send each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Network {
    /// Hermesh's own network, which behaves as Linux does.
    #[default]
    Simulated,
    /// The network of the crate [turmoil](https://docs.rs/turmoil), which others have written: an independent judge of
    /// the first. It is slower, and some of what it does differs; `docs/network.md` tells.
    Turmoil,
}

impl Network {
    /// Its name on the command line and in traces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Simulated => "simulated",
            Self::Turmoil => "turmoil",
        }
    }

    /// How much longer a packet may be under way than the latency says, between the containers of one pod as well.
    pub(crate) fn delay(self) -> Duration {
        match self {
            Self::Simulated => Duration::ZERO,
            // It waits for the step that sends it, and latencies end with a step.
            Self::Turmoil => Duration::from_nanos(3 * turmoil::STEP),
        }
    }
}

/// The network of one simulation: sockets, pods, the links between them and their faults.
pub(super) enum AnyNet {
    Simulated(Net),
    Turmoil(turmoil::Net),
}

/// What every network does, in one place.
macro_rules! networks {
    ($($(#[$doc:meta])* fn $name:ident(&mut self $(, $argument:ident: $type:ty)*) $(-> $result:ty)?;)*) => {
        impl AnyNet {
            $($(#[$doc])*
            pub(super) fn $name(&mut self $(, $argument: $type)*) $(-> $result)? {
                match self {
                    Self::Simulated(net) => net.$name($($argument),*),
                    Self::Turmoil(net) => net.$name($($argument),*),
                }
            })*
        }
    };
}

// Listening.
networks! {
    /// Listens at an address of the pod, the wildcard or the loopback address; answers with the port it got.
    fn listen_tcp(&mut self, owner: Owner, pod: PodId, at: SocketAddr) -> io::Result<(Key, SocketAddr)>;
    /// Whose end closed the listener of a Unix socket.
    fn unix_closed_by(&mut self, socket: u64) -> Option<EventId>;
    fn poll_accept(&mut self, listener: Key, context: &mut Context<'_>) -> Poll<io::Result<Accepted>>;
    /// Closes a listener, and with it the connections nobody accepted.
    fn close_listener(&mut self, listener: Key);
}

// Connecting.
networks! {
    /// Begins to connect; answers with the connection, its local address and its peer's.
    fn connect_tcp(
        &mut self, owner: Owner, from: PodId, to: SocketAddr, route: Route, trail: Trail
    ) -> io::Result<(Key, SocketAddr, SocketAddr)>;
    /// Begins to connect to the Unix socket with this number.
    fn connect_unix(
        &mut self, owner: Owner, from: PodId, socket: u64, path: PathBuf, trail: Trail
    ) -> io::Result<Key>;
    fn poll_connect(&mut self, conn: Key, context: &mut Context<'_>) -> Poll<Result<(), io::ErrorKind>>;
    /// The client drops the attempt, failed or not.
    fn abandon(&mut self, conn: Key);
}

// Established connections.
networks! {
    fn poll_read(
        &mut self, conn: Key, side: Side, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>
    ) -> Poll<io::Result<()>>;
    fn poll_write(
        &mut self, conn: Key, side: Side, context: &mut Context<'_>, buffers: &[IoSlice<'_>]
    ) -> Poll<io::Result<usize>>;
    fn shutdown(&mut self, conn: Key, side: Side) -> io::Result<()>;
    /// Closes a socket, as the end of its process does.
    fn close(&mut self, conn: Key, side: Side);
}

// Pods and processes.
networks! {
    /// Frees the addresses of a pod whose processes have ended.
    fn remove_pod(&mut self, pod: PodId, cause: Option<EventId>);
    fn is_removed(&mut self, pod: PodId) -> bool;
    fn addresses(&mut self, pod: PodId) -> Vec<IpAddr>;
    fn listeners_of(&mut self, owner: u32) -> Vec<Key>;
    /// The ends of connections that `owner` has open.
    fn open_ends_of(&mut self, owner: u32) -> Vec<(Key, Side)>;
}

// Links and faults.
networks! {
    fn partition(&mut self, a: PodId, b: PodId, cause: Option<EventId>) -> Option<EventId>;
    fn heal(&mut self, a: PodId, b: PodId, cause: Option<EventId>) -> Option<EventId>;
    fn isolate(&mut self, pod: PodId, cause: Option<EventId>) -> Option<EventId>;
    fn rejoin(&mut self, pod: PodId, cause: Option<EventId>) -> Option<EventId>;
    fn power_off(&mut self, pod: PodId, cause: Option<EventId>) -> Option<EventId>;
    fn power_on(&mut self, pod: PodId, cause: Option<EventId>) -> Option<EventId>;
    fn is_off(&mut self, pod: PodId) -> bool;
}

// Time.
networks! {
    /// When something next arrives, in nanoseconds.
    fn next_at(&mut self) -> Option<u64>;
    /// Handles what has arrived by `now`.
    fn advance(&mut self, now: u64);
    /// How many packets and timers were handled so far.
    fn packets(&mut self) -> u64;
}

/// Where the two differ in what they need or can tell.
impl AnyNet {
    /// # Panics
    /// If another pod has one of the addresses.
    pub(super) fn add_pod(
        &mut self,
        name: Arc<str>,
        incarnation: u64,
        addresses: Vec<IpAddr>,
        cause: Option<EventId>,
    ) -> PodId {
        match self {
            Self::Simulated(net) => net.add_pod(name, incarnation, addresses, cause),
            Self::Turmoil(net) => net.add_pod(name, addresses, cause),
        }
    }

    /// Listens at the file `path` of the socket with this number, which replaces `before`.
    pub(super) fn listen_unix(
        &mut self,
        owner: Owner,
        pod: PodId,
        socket: u64,
        path: PathBuf,
        before: Option<u64>,
    ) -> io::Result<Key> {
        match self {
            Self::Simulated(net) => Ok(net.listen_unix(owner, socket, path, before)),
            Self::Turmoil(net) => net.listen_unix(owner, pod, socket, path, before),
        }
    }

    /// Sets how long packets from one pod to another take; whether it can.
    pub(super) fn set_latency(&mut self, from: PodId, to: PodId, latency: Latency) -> bool {
        match self {
            Self::Simulated(net) => {
                net.set_latency(from, to, latency);
                true
            }
            Self::Turmoil(_) => false,
        }
    }

    /// Breaks the way from one pod to another, if it can.
    pub(super) fn impair(
        &mut self,
        from: PodId,
        to: PodId,
        fault: &LinkFault,
        cause: Option<EventId>,
    ) -> Result<Option<EventId>, NotShown> {
        match self {
            Self::Simulated(net) => Ok(net.impair(from, to, fault, cause)),
            Self::Turmoil(_) => Err(NotShown::fault(fault)),
        }
    }

    /// Holds the link between two pods, in both directions.
    pub(super) fn hold(&mut self, a: PodId, b: PodId, cause: Option<EventId>) -> Option<EventId> {
        match self {
            Self::Simulated(net) => {
                let held = net.impair(a, b, &LinkFault::Jammed, cause);
                net.impair(b, a, &LinkFault::Jammed, cause).or(held)
            }
            Self::Turmoil(net) => net.hold(a, b, cause),
        }
    }

    /// Whether one direction of a link can be held and released.
    pub(super) fn has_ways(&self) -> Result<(), NotShown> {
        match self {
            Self::Simulated(_) => Ok(()),
            Self::Turmoil(_) => Err(NotShown::fault(&LinkFault::Jammed)),
        }
    }

    /// Ends one kind of fault of the way from a pod to another. Turmoil knows two, both of both ways.
    pub(super) fn mend(
        &mut self,
        from: PodId,
        to: PodId,
        fault: &LinkFault,
        cause: Option<EventId>,
    ) -> Option<EventId> {
        match self {
            Self::Simulated(net) => net.mend(from, to, fault, cause),
            Self::Turmoil(net) => net.mend(from, to, fault, cause),
        }
    }

    /// Ends whatever is wrong with the links of a pod.
    pub(super) fn mend_all(&mut self, pod: PodId, cause: Option<EventId>) {
        match self {
            Self::Simulated(net) => net.mend_all(pod, cause),
            Self::Turmoil(net) => net.mend_all(pod, cause),
        }
    }

    /// Sends RST to both ends of all connections between two pods, if it can; answers with their number.
    pub(super) fn reset(&mut self, a: PodId, b: PodId, cause: Option<EventId>) -> Result<usize, NotShown> {
        match self {
            Self::Simulated(net) => Ok(net.reset(a, b, cause)),
            Self::Turmoil(_) => Err(NotShown::RESET),
        }
    }

    /// Ready once a listener takes connections.
    pub(super) fn poll_listening(&mut self, listener: Key, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Simulated(_) => Poll::Ready(Ok(())),
            Self::Turmoil(net) => net.poll_listening(listener, context),
        }
    }

    /// Whether something is to be handled at `now` by [`advance`](Self::advance).
    pub(super) fn has_arrived(&self, now: u64) -> bool {
        match self {
            Self::Simulated(net) => net.next_at().is_some_and(|at| at <= now),
            Self::Turmoil(net) => net.has_arrived(now),
        }
    }

    /// The processes that end.
    pub(super) fn endings(&mut self) -> &mut Endings {
        match self {
            Self::Simulated(net) => &mut net.endings,
            Self::Turmoil(net) => &mut net.endings,
        }
    }

    /// Closes what a process did not close by dropping it, such as what it had lent to others.
    pub(super) fn close_all_of(&mut self, owner: u32) {
        for listener in self.listeners_of(owner) {
            self.close_listener(listener);
        }
        for (conn, side) in self.open_ends_of(owner) {
            self.close(conn, side);
        }
    }

    /// Who is to be woken once the network is no longer locked.
    pub(super) fn wakes(&mut self) -> &mut Vec<Waker> {
        match self {
            Self::Simulated(net) => &mut net.wakes,
            Self::Turmoil(net) => &mut net.wakes,
        }
    }
}

/// Where a connection to `to` comes from in a pod with these addresses, and where it really leads: Linux takes the
/// wildcard address for the loopback one.
///
/// # Errors
/// If the pod has no address of that family.
pub(super) fn ends(addresses: &[IpAddr], to: SocketAddr) -> io::Result<(IpAddr, SocketAddr)> {
    let ip = match to.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let source = match ip {
        IpAddr::V4(ip) if ip.is_loopback() => Ipv4Addr::LOCALHOST.into(),
        ip if ip.is_loopback() || addresses.contains(&ip) => ip,
        ip => {
            let same_family = addresses.iter().find(|address| address.is_ipv4() == ip.is_ipv4());
            *same_family.ok_or(io::ErrorKind::NetworkUnreachable)?
        }
    };
    Ok((source, SocketAddr::new(ip, to.port())))
}
