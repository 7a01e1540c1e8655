//! Binding, listening, connecting and accepting.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::task::{Context, Poll, Waker};

use hermesh_runtime::{Address, Trail};

use super::super::PodId;
use super::super::events;
use super::super::network;
use super::super::slab::Key;
use super::super::world::Route;
use super::queue::Event;
use super::transfer::{Half, SECOND, Segment, Side};
use super::{Cause, Net, Owner, unnamed};

/// Linux's `net.core.somaxconn`, for which Go and the OS runtime ask in `listen(2)`.
pub(in super::super) const BACKLOG: usize = 4096;

/// `net.ipv4.tcp_syn_retries`; with the first timeout of 1 s doubling each time, the kernel gives up after 127 s.
pub(in super::super) const SYN_RETRIES: u32 = 6;

/// Linux's `TCP_TIMEWAIT_LEN`.
const TIME_WAIT: u64 = 60 * SECOND;

/// A connection, from the call to `connect` until both ends are closed.
pub(super) struct Conn {
    /// Names it in the trace.
    pub(super) number: u64,
    /// The client's end and the server's.
    pub(super) ends: [End; 2],
    pub(super) local: bool,
    destination: Destination,
    opening: Option<Opening>,
    /// The listener that holds or will hold it for `accept`.
    pub(super) listener: Option<Key>,
    /// The event of the connect, then of the first close.
    pub(super) event: Cause,
    pub(super) close_recorded: bool,
    /// What both ends can learn of it.
    pub(super) trail: Trail,
}

/// Where the client's packets go.
#[derive(Clone, Copy)]
enum Destination {
    /// After address translation.
    Tcp(SocketAddr),
    /// The socket with this number.
    Unix(u64),
}

impl Conn {
    pub(super) fn is_unix(&self) -> bool {
        matches!(self.destination, Destination::Unix(_))
    }

    /// Whether its handshake is not over.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.is_some() || self.ends[0].half.opens()
    }
}

pub(super) struct End {
    pub(super) pod: Option<PodId>,
    /// The link to the other end's pod, once the server's is known; a connection within a pod has none.
    pub(super) link: Option<usize>,
    pub(super) owner: Option<Owner>,
    pub(super) address: Address,
    pub(super) half: Half,
}

impl End {
    /// Whether a process with this number has it open.
    pub(super) fn is_open_to(&self, owner: u32) -> bool {
        !self.half.closed && self.owner.as_ref().is_some_and(|of| of.number == owner)
    }
}

/// The client's side of a handshake.
struct Opening {
    since: u64,
    retries: u32,
    error: Option<ErrorKind>,
    /// What the last SYN was lost to.
    lost: Cause,
    waker: Option<Waker>,
}

pub(super) struct Listener {
    pub(super) owner: Owner,
    place: Place,
    accepted: VecDeque<Key>,
    /// Connections whose handshake is not over.
    opening: usize,
    waker: Option<Waker>,
}

enum Place {
    Tcp { pod: PodId, port: u16, address: Option<IpAddr>, ephemeral: bool },
    Unix { socket: u64, path: PathBuf },
}

/// A connection handed to a server.
pub(in super::super) struct Accepted {
    pub(in super::super) conn: Key,
    pub(in super::super) local: Address,
    pub(in super::super) peer: Address,
    pub(in super::super) trail: Trail,
}

/// Listening.
impl Net {
    pub(in super::super) fn listen_tcp(
        &mut self,
        owner: Owner,
        pod_id: PodId,
        at: SocketAddr,
    ) -> io::Result<(Key, SocketAddr)> {
        let now = self.now();
        let pod = &mut self.pods[pod_id.index()];
        let ip = at.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && !pod.addresses.contains(&ip) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let address = if ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED) { None } else { Some(ip) };
        let ephemeral = at.port() == 0;
        let port = if ephemeral { pod.take_port()? } else { at.port() };
        let conflicts = |other: Option<IpAddr>| match (address, other) {
            // A dual-stack wildcard takes the port in both families.
            (None, _) | (_, None) => true,
            (Some(a), Some(b)) => a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified())),
        };
        if pod.listeners.keys().any(|&(other, address)| other == port && conflicts(address)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        // Outgoing connections have not SO_REUSEADDR, unlike listeners and what they accept.
        if pod.time_wait.get(&port).is_some_and(|(ip, until)| !ephemeral && *until > now && conflicts(Some(*ip))) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let outgoing = |conn: &Conn| {
            let from = conn.ends[0].address.tcp().filter(|_| conn.ends[0].pod == Some(pod_id));
            from.is_some_and(|from| from.port() == port && conflicts(Some(from.ip())))
        };
        if !ephemeral && pod.ports.is_taken(port) && self.conns.iter().any(|(_, conn)| outgoing(conn)) {
            return Err(ErrorKind::AddrInUse.into());
        }
        let place = Place::Tcp { pod: pod_id, port, address, ephemeral };
        let key = self.listeners.insert(Listener::new(owner, place));
        self.pods[pod_id.index()].listeners.insert((port, address), key);
        Ok((key, SocketAddr::new(ip, port)))
    }

    /// Listens at the file `path` of the socket with this number, which replaces `before`.
    pub(in super::super) fn listen_unix(
        &mut self,
        owner: Owner,
        socket: u64,
        path: PathBuf,
        before: Option<u64>,
    ) -> Key {
        if let Some(before) = before {
            self.closed_unix.remove(&before);
        }
        let key = self.listeners.insert(Listener::new(owner, Place::Unix { socket, path }));
        self.unix.insert(socket, key);
        key
    }

    pub(in super::super) fn poll_accept(&mut self, key: Key, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(listener) = self.listeners.get_mut(key) else {
            return Poll::Ready(Err(ErrorKind::InvalidInput.into()));
        };
        let Some(conn) = listener.accepted.pop_front() else {
            listener.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let local = match &listener.place {
            Place::Unix { path, .. } => Address::Unix(path.clone()),
            Place::Tcp { .. } => self.conns.get(conn).expect(QUEUED).ends[1].address.clone(),
        };
        let accepted = self.conns.get_mut(conn).expect(QUEUED);
        accepted.listener = None;
        let (peer, trail) = (accepted.ends[0].address.clone(), accepted.trail.clone());
        Poll::Ready(Ok(Accepted { conn, local, peer, trail }))
    }

    /// Closes a listener; connections nobody accepted are reset.
    pub(in super::super) fn close_listener(&mut self, key: Key) {
        let Some(listener) = self.listeners.remove(key) else {
            return;
        };
        let (cause, _) = self.endings.of(listener.owner.number);
        match listener.place {
            Place::Tcp { pod, port, address, ephemeral } => {
                let pod = &mut self.pods[pod.index()];
                pod.listeners.remove(&(port, address));
                if ephemeral {
                    pod.ports.release(port);
                }
                pod.closed_ports.insert(port, cause);
            }
            Place::Unix { socket, .. } => {
                self.unix.remove(&socket);
                self.closed_unix.insert(socket, cause);
            }
        }
        for conn in listener.accepted {
            self.close(conn, Side::Server);
        }
    }

    /// Whose end closed the listener of a Unix socket.
    pub(in super::super) fn unix_closed_by(&self, socket: u64) -> Cause {
        self.closed_unix.get(&socket).copied().flatten()
    }

    fn listener_at(&self, pod: PodId, to: SocketAddr) -> Option<Key> {
        let listeners = &self.pods[pod.index()].listeners;
        let wildcard = match to.ip() {
            IpAddr::V4(_) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            IpAddr::V6(_) => None,
        };
        [Some(to.ip()), wildcard, None].into_iter().find_map(|address| listeners.get(&(to.port(), address)).copied())
    }
}

/// Connecting.
impl Net {
    /// Begins to connect; answers with the connection, its local address and its peer's.
    pub(in super::super) fn connect_tcp(
        &mut self,
        owner: Owner,
        from: PodId,
        to: SocketAddr,
        route: Route,
        trail: Trail,
    ) -> io::Result<(Key, SocketAddr, SocketAddr)> {
        let pod = &mut self.pods[from.index()];
        let (source, to) = network::ends(&pod.addresses, to)?;
        let local = SocketAddr::new(source, pod.take_port()?);
        let destination = route.destination(to);
        let server = if to.ip().is_loopback() { Some(from) } else { self.pod_at(destination.ip()) };
        let now = self.now();
        let backend = (destination != to).then_some(Address::Tcp(destination));
        let key =
            self.open(now, owner, from, server, local.into(), to.into(), backend, Destination::Tcp(destination), trail);
        if route == Route::Refuse {
            self.queue.push(now, Event::Refused(key));
        } else {
            self.send_syn(now, key);
        }
        Ok((key, local, to))
    }

    /// Begins to connect to the Unix socket with this number.
    pub(in super::super) fn connect_unix(
        &mut self,
        owner: Owner,
        from: PodId,
        socket: u64,
        path: PathBuf,
        trail: Trail,
    ) -> io::Result<Key> {
        let now = self.now();
        let listener = self.unix.get(&socket).copied();
        if listener.and_then(|key| self.listeners.get(key)).is_some_and(Listener::is_full) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let key = self.open(
            now,
            owner,
            from,
            Some(from),
            unnamed(),
            Address::Unix(path),
            None,
            Destination::Unix(socket),
            trail,
        );
        match listener {
            Some(listener) => {
                self.conns.get_mut(key).expect(OPENED).listener = Some(listener);
                self.queue.push(now, Event::Syn(key));
            }
            None => self.queue.push(now, Event::Refused(key)),
        }
        Ok(key)
    }

    #[expect(clippy::too_many_arguments, reason = "two ends with three properties each")]
    fn open(
        &mut self,
        now: u64,
        owner: Owner,
        from: PodId,
        server: Option<PodId>,
        local: Address,
        to: Address,
        backend: Option<Address>,
        destination: Destination,
        trail: Trail,
    ) -> Key {
        self.conns_made += 1;
        let number = self.conns_made;
        let connect = events::NetConnect { conn: number, from: local.clone(), to: to.clone(), backend };
        let event = self.recorder.emit(&owner.at, trail.cause(), connect).or_else(|| trail.cause());
        trail.set_opened(event);
        self.conns.insert(Conn {
            number,
            ends: [
                End { pod: Some(from), link: None, owner: Some(owner), address: local, half: Half::default() },
                End { pod: server, link: None, owner: None, address: to, half: Half::unopened() },
            ],
            local: server == Some(from),
            destination,
            opening: Some(Opening { since: now, retries: 0, error: None, lost: None, waker: None }),
            listener: None,
            event,
            close_recorded: false,
            trail,
        })
    }

    pub(in super::super) fn poll_connect(
        &mut self,
        key: Key,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), ErrorKind>> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Poll::Ready(Err(ErrorKind::NotConnected));
        };
        match &mut conn.opening {
            None => Poll::Ready(Ok(())),
            Some(Opening { error: Some(error), .. }) => Poll::Ready(Err(*error)),
            Some(opening) => {
                opening.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    fn send_syn(&mut self, now: u64, key: Key) {
        let conn = self.conns.get(key).expect(OPENED);
        let (from, to) = (conn.ends[0].pod.expect(CLIENT), conn.ends[1].pod);
        let at = match to {
            Some(to) => self.arrival(now, from, to),
            // It travels to nobody.
            None => now + self.latency.1,
        };
        self.queue.push(at, Event::Syn(key));
    }

    /// Which way the packets of a handshake go: the client's pod and, if anybody has the address, the server's.
    pub(super) fn route(&self, key: Key) -> Option<(PodId, PodId)> {
        let conn = self.conns.get(key)?;
        let (Some(from), Destination::Tcp(to)) = (conn.ends[0].pod, conn.destination) else { return None };
        if conn.local || to.ip().is_loopback() {
            return None;
        }
        Some((from, self.pod_at(to.ip())?))
    }

    /// The client's kernel gives up on a handshake whose packets wait on their way.
    pub(super) fn await_handshake(&mut self, key: Key) {
        if let Some(Conn { opening: Some(opening), .. }) = self.conns.get(key) {
            let at = opening.since + ((1 << (SYN_RETRIES + 1)) - 1) * SECOND;
            self.queue.push(at, Event::ConnectTimeout(key));
        }
    }

    /// The SYN or its answer is lost to `lost`: the client's kernel sends it again after 1, 3, 7, 15, 31 and 63 s.
    fn syn_lost(&mut self, key: Key, lost: Cause) {
        let now = self.now();
        let conn = self.conns.get_mut(key).expect(OPENED);
        let opening = conn.opening.as_mut().expect(OPENED);
        opening.lost = lost.or(opening.lost);
        conn.trail.set_trouble(opening.lost);
        opening.retries += 1;
        let due = |retries: u32| opening.since + ((1 << retries) - 1) * SECOND;
        if opening.retries > SYN_RETRIES {
            let at = due(SYN_RETRIES + 1);
            self.queue.push(at, Event::ConnectTimeout(key));
        } else {
            let at = due(opening.retries).max(now);
            self.send_syn(at, key);
        }
    }

    pub(super) fn on_syn(&mut self, at: u64, key: Key) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        if conn.ends[0].half.closed {
            // Nobody waits for the answer any more.
            self.remove(key);
            return;
        }
        let Some(from) = conn.ends[0].pod else { unreachable!("{CLIENT}") };
        // It succeeded, or the kernel has given up on it meanwhile.
        if conn.opening.as_ref().is_none_or(|opening| opening.error.is_some()) {
            return;
        }
        let Destination::Tcp(to) = conn.destination else {
            return self.on_unix_syn(at, key);
        };
        // Who has the address may have changed since the last attempt.
        let server = if to.ip().is_loopback() { Some(from) } else { self.pod_at(to.ip()) };
        let Some(server) = server else {
            let lost = conn.ends[1].pod.and_then(|pod| self.pods[pod.index()].removed).flatten();
            return self.syn_lost(key, lost);
        };
        if let Some(lost) = self.loses(from, server) {
            return self.syn_lost(key, lost);
        }
        let links = (server != from).then(|| (self.link(from, server), self.link(server, from)));
        let back = links.map_or(at, |(_, back)| self.arrival_on(at, back));
        let Some(listener_key) = self.listener_at(server, to) else {
            self.conns.get_mut(key).expect(OPENED).ends[1].pod = Some(server);
            self.queue.push(back, Event::Refused(key));
            return;
        };
        let listener = self.listeners.get_mut(listener_key).expect(BOUND);
        let conn = self.conns.get_mut(key).expect(OPENED);
        let again = conn.listener == Some(listener_key);
        if !again {
            if listener.is_full() {
                return self.syn_lost(key, None);
            }
            listener.opening += 1;
            conn.listener = Some(listener_key);
            let (forth, back) = links.unzip();
            conn.ends[0].link = forth;
            conn.ends[1] = End {
                pod: Some(server),
                link: back,
                owner: Some(listener.owner.clone()),
                address: to.into(),
                half: Half::default(),
            };
            conn.local = server == from;
        }
        self.queue.push(back, Event::SynAck(key));
    }

    fn on_unix_syn(&mut self, at: u64, key: Key) {
        let conn = self.conns.get_mut(key).expect(OPENED);
        let Some(listener) = conn.listener.and_then(|listener| self.listeners.get_mut(listener)) else {
            self.queue.push(at, Event::Refused(key));
            return;
        };
        listener.opening += 1;
        conn.ends[1].owner = Some(listener.owner.clone());
        conn.ends[1].half = Half::default();
        self.queue.push(at, Event::SynAck(key));
    }

    pub(super) fn on_syn_ack(&mut self, at: u64, key: Key) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        if conn.ends[0].half.closed {
            // The client gave up meanwhile: its kernel answers with RST.
            let listener = conn.listener;
            if let Some(listener) = listener.and_then(|listener| self.listeners.get_mut(listener)) {
                listener.opening -= 1;
            }
            self.remove(key);
            return;
        }
        if conn.opening.as_ref().is_some_and(|opening| opening.error.is_some()) {
            // Its kernel gave up, and its process has not seen that yet.
            let conn = self.conns.get_mut(key).expect(OPENED);
            conn.ends[1].half.closed = true;
            let listener = conn.listener.take();
            if let Some(listener) = listener.and_then(|listener| self.listeners.get_mut(listener)) {
                listener.opening -= 1;
            }
            return;
        }
        let (client, server) = (conn.ends[0].pod.expect(CLIENT), conn.ends[1].pod.expect("a server answered"));
        let (local, opening) = (conn.local, conn.opening.is_some());
        if !local && let Some(lost) = self.loses(server, client) {
            if opening {
                self.syn_lost(key, lost);
            }
            return;
        }
        let conn = self.conns.get_mut(key).expect(OPENED);
        let Some(opening) = conn.opening.take() else {
            return;
        };
        conn.trail.set_trouble(None);
        self.wake(opening.waker);
        self.send(at, key, Side::Client, Segment::Open);
    }

    /// The last packet of the handshake arrived: `accept` can have the connection.
    pub(super) fn on_open(&mut self, key: Key) {
        let conn = self.conns.get_mut(key).expect(OPENED);
        let Some(listener) = conn.listener.and_then(|listener| self.listeners.get_mut(listener)) else {
            // The listener closed meanwhile.
            self.close(key, Side::Server);
            return;
        };
        listener.opening -= 1;
        listener.accepted.push_back(key);
        let waker = listener.waker.take();
        self.wake(waker);
    }

    pub(super) fn on_refused(&mut self, _at: u64, key: Key) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let (client, server, local) = (conn.ends[0].pod.expect(CLIENT), conn.ends[1].pod, conn.local);
        if let Some(server) = server
            && !local
            && let Some(lost) = self.loses(server, client)
        {
            return self.syn_lost(key, lost);
        }
        let conn = self.conns.get(key).expect(OPENED);
        let to = conn.ends[1].address.clone();
        let closed_by = match conn.destination {
            Destination::Tcp(to) => {
                server.and_then(|server| self.pods[server.index()].closed_ports.get(&to.port()).copied()?)
            }
            Destination::Unix(socket) => self.unix_closed_by(socket),
        };
        let event = events::NetRefused { conn: conn.number, to };
        self.fail_connect(key, ErrorKind::ConnectionRefused, closed_by, event);
    }

    pub(super) fn on_connect_timeout(&mut self, key: Key) {
        let Some(Conn { opening: Some(opening), number, ends, .. }) = self.conns.get(key) else {
            return;
        };
        let event = events::NetTimeout { conn: *number, to: ends[1].address.clone(), while_connecting: true };
        self.fail_connect(key, ErrorKind::TimedOut, opening.lost, event);
    }

    fn fail_connect(&mut self, key: Key, error: ErrorKind, cause: Cause, event: impl hermesh_runtime::Event) {
        let conn = self.conns.get_mut(key).expect(OPENED);
        let Some(opening) = conn.opening.as_mut().filter(|opening| opening.error.is_none()) else {
            return;
        };
        let cause = cause.or(conn.event);
        let owner = conn.ends[0].owner.as_ref();
        let event = owner.and_then(|owner| self.recorder.emit(&owner.at, cause, event));
        conn.trail.set_trouble(event.or(cause));
        opening.error = Some(error);
        let waker = opening.waker.take();
        self.wake(waker);
    }

    /// The client drops the attempt, failed or not.
    pub(in super::super) fn abandon(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        if conn.opening.is_none() {
            // It succeeded, but nobody took note.
            return self.close(key, Side::Client);
        }
        conn.ends[0].half.closed = true;
        if conn.ends[1].half.closed {
            self.remove(key);
        }
    }

    /// Forgets a connection both ends of which are closed.
    pub(super) fn remove(&mut self, key: Key) {
        if let Some(conn) = self.conns.remove(key)
            && let (Some(pod), Address::Tcp(local)) = (conn.ends[0].pod, &conn.ends[0].address)
        {
            let until = self.now() + TIME_WAIT;
            let pod = &mut self.pods[pod.index()];
            pod.ports.release(local.port());
            let [client, server] = conn.ends.each_ref().map(|end| &end.half);
            if client.closes_first && !client.dead && !server.dead {
                pod.time_wait.insert(local.port(), (local.ip(), until));
            }
        }
    }
}

impl super::Pod {
    /// An ephemeral port nobody in the pod uses.
    fn take_port(&mut self) -> io::Result<u16> {
        let listeners = &self.listeners;
        self.ports.take(|port| listeners.keys().any(|&(other, _)| other == port))
    }
}

impl Listener {
    fn new(owner: Owner, place: Place) -> Self {
        Self { owner, place, accepted: VecDeque::new(), opening: 0, waker: None }
    }

    /// As in `sk_acceptq_is_full`, by which a queue takes one more than the backlog.
    fn is_full(&self) -> bool {
        self.accepted.len() + self.opening > BACKLOG
    }
}

const OPENED: &str = "a connection lives until both ends are closed";
const QUEUED: &str = "a connection waiting for `accept` has its server's end open";
const CLIENT: &str = "the client's end is in a pod from the start";
const BOUND: &str = "a port table lists live listeners";
