//! Listening and accepting.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::task::{Context, Poll, Waker};

use hermesh_runtime::Address;

use super::super::PodId;
use super::super::net::{Accepted, BACKLOG, Cause, Owner, Side};
use super::super::slab::Key;
use super::conn::Half;
use super::connect::Destination;
use super::{Net, Order};

/// Loopback ports that stand for Unix sockets: those above Linux's ephemeral ones.
const UNIX_PORTS: RangeInclusive<u16> = 61_000..=65_535;

pub(super) struct Listener {
    pub(super) owner: Owner,
    pub(super) pod: PodId,
    place: Place,
    /// What turmoil said to it.
    bound: Option<io::Result<()>>,
    accepted: VecDeque<Key>,
    waker: Option<Waker>,
    /// The host's task.
    task: Option<Waker>,
}

enum Place {
    Tcp { at: SocketAddr, ephemeral: bool },
    Unix { socket: u64, path: PathBuf, port: u16 },
}

/// What is known of a Unix socket by its number.
pub(super) struct UnixSocket {
    pub(super) pod: PodId,
    /// Its port on the loopback interface of the pod's host, until another socket takes it.
    pub(super) port: Option<u16>,
    pub(super) listener: Option<Key>,
    closed_by: Cause,
}

/// A connection that a host has accepted.
pub(super) struct Arrival {
    listener: Key,
    conn: Option<Key>,
    task: Option<Waker>,
}

/// Whether a listener can take another connection.
pub(super) enum Room {
    Free,
    Full,
    Closed,
}

/// What processes do.
impl Net {
    pub(in super::super) fn listen_tcp(
        &mut self,
        owner: Owner,
        pod_id: PodId,
        at: SocketAddr,
    ) -> io::Result<(Key, SocketAddr)> {
        let pod = &mut self.pods[pod_id.index()];
        let ip = at.ip();
        if !ip.is_unspecified() && !ip.is_loopback() && !pod.addresses.contains(&ip) {
            return Err(ErrorKind::AddrNotAvailable.into());
        }
        let ephemeral = at.port() == 0;
        if !ephemeral && pod.ports.is_taken(at.port()) && !pod.bound.contains(&at.port()) {
            // An outgoing connection has it, without SO_REUSEADDR.
            return Err(ErrorKind::AddrInUse.into());
        }
        let port = if ephemeral { pod.take_port()? } else { at.port() };
        pod.bound.push(port);
        // Turmoil binds no other addresses than these two.
        let ip_there = if ip.is_loopback() { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let local = SocketAddr::new(ip, port);
        let key = self.add_listener(owner, pod_id, Place::Tcp { at: local, ephemeral });
        self.order(pod_id, Order::Listen { listener: key, at: (ip_there, port).into() });
        Ok((key, local))
    }

    pub(in super::super) fn listen_unix(
        &mut self,
        owner: Owner,
        pod: PodId,
        socket: u64,
        path: PathBuf,
        before: Option<u64>,
    ) -> io::Result<Key> {
        if let Some(before) = before {
            self.unix.remove(&before);
        }
        let port = self.take_unix_port(pod)?;
        let key = self.add_listener(owner, pod, Place::Unix { socket, path, port });
        self.unix.insert(socket, UnixSocket { pod, port: Some(port), listener: Some(key), closed_by: None });
        self.order(pod, Order::Listen { listener: key, at: (Ipv4Addr::LOCALHOST, port).into() });
        Ok(key)
    }

    /// A port no listener has; of those that sockets of dead processes had, the one unused for longest.
    fn take_unix_port(&mut self, pod: PodId) -> io::Result<u16> {
        let of_pod = |socket: &&mut UnixSocket| socket.pod == pod;
        let had: Vec<u16> = self.unix.values_mut().filter(of_pod).filter_map(|socket| socket.port).collect();
        let bound = &mut self.pods[pod.index()].bound;
        let fresh = UNIX_PORTS.clone().find(|port| !had.contains(port) && !bound.contains(port));
        let port = match fresh {
            Some(port) => port,
            None => {
                let stale = self.unix.values_mut().filter(of_pod).find(|socket| socket.listener.is_none());
                stale.and_then(|socket| socket.port.take()).ok_or(ErrorKind::AddrNotAvailable)?
            }
        };
        bound.push(port);
        Ok(port)
    }

    /// Whether a listener has the port of this address, and not for this address. Turmoil, which knows only hosts,
    /// would take the connection.
    pub(super) fn is_for_another_address(&self, pod: PodId, to: SocketAddr) -> bool {
        let is_bound = |listener: &Listener| listener.pod == pod && matches!(listener.bound, Some(Ok(())));
        let mut bound = self.listeners.iter().filter(|(_, listener)| is_bound(listener));
        bound.any(|(_, listener)| match listener.place {
            Place::Tcp { at, .. } => at.port() == to.port() && !takes(at.ip(), to.ip()),
            Place::Unix { .. } => false,
        })
    }

    /// Whether a listener is still wanted.
    pub(super) fn is_wanted(&self, listener: Key) -> bool {
        self.listeners.get(listener).is_some()
    }

    fn add_listener(&mut self, owner: Owner, pod: PodId, place: Place) -> Key {
        let accepted = VecDeque::new();
        self.listeners.insert(Listener { owner, pod, place, bound: None, accepted, waker: None, task: None })
    }

    /// Ready once turmoil has taken note of the listener.
    pub(in super::super) fn poll_listening(&mut self, key: Key, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(listener) = self.listeners.get_mut(key) else {
            return Poll::Ready(Err(ErrorKind::InvalidInput.into()));
        };
        match listener.bound.take() {
            Some(Ok(())) => {
                listener.bound = Some(Ok(()));
                Poll::Ready(Ok(()))
            }
            Some(Err(error)) => Poll::Ready(Err(error)),
            None => {
                listener.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(in super::super) fn poll_accept(&mut self, key: Key, context: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        let Some(listener) = self.listeners.get_mut(key) else {
            return Poll::Ready(Err(ErrorKind::InvalidInput.into()));
        };
        let Some(key) = listener.accepted.pop_front() else {
            listener.waker = Some(context.waker().clone());
            return Poll::Pending;
        };
        let task = listener.task.take();
        let unix = match &listener.place {
            Place::Unix { path, .. } => Some(Address::Unix(path.clone())),
            Place::Tcp { .. } => None,
        };
        let conn = self.conns.get_mut(key).expect("a connection waiting for `accept` has its server's end open");
        conn.listener = None;
        let local = unix.unwrap_or_else(|| conn.ends[1].address.clone());
        let accepted = Accepted { conn: key, local, peer: conn.ends[0].address.clone(), trail: conn.trail.clone() };
        self.wake_host(task);
        Poll::Ready(Ok(accepted))
    }

    /// Closes a listener and the connections nobody accepted.
    pub(in super::super) fn close_listener(&mut self, key: Key) {
        let Some(listener) = self.listeners.remove(key) else {
            return;
        };
        let (cause, _) = self.endings.of(listener.owner.number);
        let pod = &mut self.pods[listener.pod.index()];
        let port = match listener.place {
            Place::Tcp { at, ephemeral } => {
                let port = at.port();
                if ephemeral {
                    pod.ports.release(port);
                }
                if !matches!(listener.bound, None | Some(Err(_))) {
                    pod.closed_ports.insert(port, cause);
                }
                port
            }
            Place::Unix { socket, port, .. } => {
                if let Some(socket) = self.unix.get_mut(&socket) {
                    (socket.listener, socket.closed_by) = (None, cause);
                }
                port
            }
        };
        if let Some(index) = pod.bound.iter().position(|bound| *bound == port) {
            pod.bound.swap_remove(index);
        }
        self.wake_host(listener.task);
        for conn in listener.accepted {
            self.close(conn, Side::Server);
        }
    }

    /// Whose end closed the listener of a Unix socket.
    pub(in super::super) fn unix_closed_by(&self, socket: u64) -> Cause {
        self.unix.get(&socket)?.closed_by
    }
}

/// What hosts do.
impl Net {
    /// What turmoil says to a listener.
    pub(super) fn listening(&mut self, key: Key, bound: io::Result<()>) {
        self.clock.stir();
        if let Some(listener) = self.listeners.get_mut(key) {
            listener.bound = Some(bound);
            let waker = listener.waker.take();
            self.wake(waker);
        }
    }

    /// Whether a host may accept one more connection; if not, its task is woken when it may.
    pub(super) fn poll_room(&mut self, key: Key, context: &Context<'_>) -> Room {
        self.clock.stir();
        let Some(listener) = self.listeners.get_mut(key) else {
            return Room::Closed;
        };
        listener.task = Some(context.waker().clone());
        if listener.is_full() { Room::Full } else { Room::Free }
    }

    /// A host accepted a connection of a client with this address in turmoil. Which one it is tells
    /// [`connected`](Self::connected).
    pub(super) fn arrived(&mut self, listener: Key, pod: PodId, client: SocketAddr) -> (PodId, u16) {
        let from = match client.ip() {
            ip if ip.is_loopback() => pod,
            ip => self.pod_of_host(ip).expect("turmoil's addresses are those of pods"),
        };
        let arrival = (from, client.port());
        self.arrivals.insert(arrival, Arrival { listener, conn: None, task: None });
        arrival
    }

    fn pod_of_host(&self, host: IpAddr) -> Option<PodId> {
        let index = self.pods.iter().position(|pod| host == pod.host)?;
        Some(PodId(index as u32))
    }

    /// The connection that arrived, once the client's host knows that it is connected.
    pub(super) fn poll_paired(&mut self, arrival: (PodId, u16), context: &Context<'_>) -> Poll<Key> {
        self.clock.stir();
        let waiting = self.arrivals.get_mut(&arrival).expect(ARRIVED);
        let Some(conn) = waiting.conn else {
            waiting.task = Some(context.waker().clone());
            return Poll::Pending;
        };
        self.arrivals.remove(&arrival);
        Poll::Ready(conn)
    }

    /// A client is connected; turmoil gave it this port.
    pub(super) fn connected(&mut self, key: Key, from: PodId, port: u16) {
        self.clock.stir();
        let arrival = self.arrivals.get_mut(&(from, port)).expect(ARRIVED);
        arrival.conn = Some(key);
        let (task, listener_key) = (arrival.task.take(), arrival.listener);
        let conn = self.conns.get_mut(key).expect("a connection lives while a host's task has to do with it");
        conn.tasks += 1;
        // One that was given up at this moment stays so.
        let opening = conn.opening.take_if(|opening| opening.error.is_none());
        if opening.is_some() {
            conn.trail.set_trouble(None);
        }
        if let Destination::Tcp(to) = conn.destination {
            conn.ends[1].address = to.into();
        }
        let accepting = match self.listeners.get_mut(listener_key) {
            Some(listener) => {
                let server = &mut conn.ends[1];
                (server.pod, server.owner) = (Some(listener.pod), Some(listener.owner.clone()));
                server.half = Half::default();
                conn.listener = Some(listener_key);
                listener.accepted.push_back(key);
                listener.waker.take()
            }
            // It closed meanwhile, and the host's task closes the connection.
            None => None,
        };
        if let Some(opening) = opening {
            if let Some(timer) = opening.timer {
                self.clock.unset_timer(timer);
            }
            self.wake(opening.waker);
        }
        self.wake(accepting);
        self.wake_host(task);
    }
}

impl Listener {
    pub(super) fn is_full(&self) -> bool {
        self.accepted.len() > BACKLOG
    }
}

/// Whether a socket bound to one address takes connections to another: the wildcard of IPv6 is that of both families.
fn takes(bound: IpAddr, to: IpAddr) -> bool {
    bound == to || (bound.is_unspecified() && (bound.is_ipv6() || to.is_ipv4()))
}

const ARRIVED: &str = "a host accepts before its client learns of it, and waits until it has";
