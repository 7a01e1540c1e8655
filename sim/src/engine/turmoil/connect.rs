//! Connecting.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::task::{Context, Poll, Waker};

use hermesh_runtime::{Address, Trail};

use super::super::PodId;
use super::super::events;
use super::super::net::{Cause, Owner, SECOND, SYN_RETRIES, Side, unnamed};
use super::super::network;
use super::super::slab::Key;
use super::super::world::Route;
use super::conn::{Conn, End, Half};
use super::time::Timer;
use super::{Net, Order};

/// Where the client's packets go.
#[derive(Clone, Copy)]
pub(super) enum Destination {
    /// After address translation.
    Tcp(SocketAddr),
    /// The socket with this number.
    Unix(u64),
}

/// The client's side of a handshake.
pub(super) struct Opening {
    since: u64,
    /// Whether a SYN is under way in turmoil.
    under_way: bool,
    pub(super) error: Option<ErrorKind>,
    /// What keeps the SYN from its destination.
    lost: Cause,
    pub(super) waker: Option<Waker>,
    /// When the next SYN is due, or the attempt is given up.
    pub(super) timer: Option<Timer>,
    /// The host's task.
    task: Option<Waker>,
}

/// What processes do.
impl Net {
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
        let backend = (destination != to).then_some(Address::Tcp(destination));
        let key = self.open(owner, from, local.into(), to.into(), backend, Destination::Tcp(destination), trail);
        if route == Route::Refuse {
            self.on_refused(key);
        } else {
            self.send_syn(key);
        }
        Ok((key, local, to))
    }

    pub(in super::super) fn connect_unix(
        &mut self,
        owner: Owner,
        from: PodId,
        socket: u64,
        path: PathBuf,
        trail: Trail,
    ) -> io::Result<Key> {
        let listener = self.unix.get(&socket).and_then(|socket| self.listeners.get(socket.listener?));
        if listener.is_some_and(super::listen::Listener::is_full) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let key = self.open(owner, from, unnamed(), Address::Unix(path), None, Destination::Unix(socket), trail);
        self.send_syn(key);
        Ok(key)
    }

    #[expect(clippy::too_many_arguments, reason = "two ends with three properties each")]
    fn open(
        &mut self,
        owner: Owner,
        from: PodId,
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
        let since = self.now();
        self.conns.insert(Conn {
            number,
            ends: [
                End { pod: Some(from), owner: Some(owner), address: local, half: Half::default() },
                End { pod: None, owner: None, address: to, half: Half::unopened() },
            ],
            destination,
            opening: Some(Opening {
                since,
                under_way: false,
                error: None,
                lost: None,
                waker: None,
                timer: None,
                task: None,
            }),
            listener: None,
            event,
            close_recorded: false,
            trail,
            tasks: 0,
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

    pub(in super::super) fn abandon(&mut self, key: Key) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(opening) = &mut conn.opening else {
            // It succeeded, but nobody took note.
            return self.close(key, Side::Client);
        };
        conn.ends[0].half.closed = true;
        let tasks = [opening.task.take(), conn.ends[0].half.task.take()];
        for task in tasks {
            self.wake_host(task);
        }
        self.remove_if_over(key);
    }
}

/// The handshake.
impl Net {
    /// Has turmoil connect, if anybody is there to connect to.
    fn send_syn(&mut self, key: Key) {
        let conn = self.conns.get(key).expect(OPENED);
        let from = conn.ends[0].pod.expect(CLIENT);
        let (server, to) = match conn.destination {
            Destination::Unix(socket) => match self.unix.get(&socket) {
                Some(socket) if socket.pod == from && socket.port.is_some() => {
                    (from, (Ipv4Addr::LOCALHOST, socket.port.unwrap_or_default()).into())
                }
                // Its port is another socket's.
                _ => return self.on_refused(key),
            },
            Destination::Tcp(to) if to.ip().is_loopback() => (from, (Ipv4Addr::LOCALHOST, to.port()).into()),
            Destination::Tcp(to) => match self.pod_at(to.ip()) {
                Some(server) if !self.is_off(server) => (server, (self.pods[server.index()].host, to.port()).into()),
                nobody => return self.syn_lost(key, nobody),
            },
        };
        if let Destination::Tcp(to) = conn.destination
            && self.is_for_another_address(server, to)
        {
            return self.on_refused(key);
        }
        let broken = self.broken(from, server);
        let conn = self.conns.get_mut(key).expect(OPENED);
        conn.tasks += 1;
        conn.ends[1].pod = Some(server);
        let opening = conn.opening.as_mut().expect(OPENED);
        opening.under_way = true;
        if let Some(cause) = broken {
            opening.lost = cause;
            conn.trail.set_trouble(cause);
        }
        let give_up = opening.since + due_after(SYN_RETRIES + 1);
        opening.timer = Some(self.clock.set_timer(give_up, key));
        self.order(from, Order::Connect { conn: key, to });
    }

    /// Nobody has the address, or a pod that is off or was removed meanwhile: turmoil would refuse the connection, but
    /// the client's kernel sends another SYN.
    fn syn_lost(&mut self, key: Key, server: Option<PodId>) {
        let tried = self.conns.get(key).expect(OPENED).ends[1].pod;
        let server = server.or(tried).map(|pod| &self.pods[pod.index()]);
        let cause = server.and_then(|pod| pod.off.or(pod.removed)).flatten();
        let now = self.now();
        let conn = self.conns.get_mut(key).expect(OPENED);
        let opening = conn.opening.as_mut().expect(OPENED);
        opening.lost = cause.or(opening.lost);
        conn.trail.set_trouble(opening.lost);
        let next = (1..=SYN_RETRIES + 1).map(|retries| opening.since + due_after(retries)).find(|at| *at > now);
        opening.timer = Some(self.clock.set_timer(next.unwrap_or(now), key));
    }

    /// A pod is removed. Its host will not answer: turmoil would let clients wait for ever.
    pub(super) fn lose_syns_to(&mut self, server: PodId) {
        let is_lost = |conn: &Conn| {
            let [client, to] = &conn.ends;
            !client.half.closed && to.pod == Some(server) && conn.opening.as_ref().is_some_and(|it| it.under_way)
        };
        let lost: Vec<Key> = self.conns.iter().filter(|(_, conn)| is_lost(conn)).map(|(key, _)| key).collect();
        for key in lost {
            let opening = self.conns.get_mut(key).and_then(|conn| conn.opening.as_mut()).expect(OPENED);
            opening.under_way = false;
            let (task, timer) = (opening.task.take(), opening.timer.take());
            if let Some(timer) = timer {
                self.clock.unset_timer(timer);
            }
            self.wake_host(task);
            self.syn_lost(key, Some(server));
        }
    }

    /// A SYN is due, or it is time to give up.
    pub(super) fn on_timer(&mut self, key: Key) {
        let now = self.now();
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(opening) = conn.opening.as_mut().filter(|opening| opening.error.is_none()) else {
            return;
        };
        opening.timer = None;
        if now < opening.since + due_after(SYN_RETRIES + 1) {
            return self.send_syn(key);
        }
        let event = events::NetTimeout { conn: conn.number, to: conn.ends[1].address.clone(), while_connecting: true };
        let lost = opening.lost;
        self.fail_connect(key, ErrorKind::TimedOut, lost, event);
    }

    /// Turmoil refused the connection.
    pub(super) fn refused(&mut self, key: Key) {
        self.clock.stir();
        let conn = self.conns.get_mut(key).expect(OPENED);
        let server = conn.ends[1].pod.expect("it was sent to somebody");
        let Some(opening) = conn.opening.as_mut().filter(|opening| opening.under_way) else {
            return;
        };
        opening.under_way = false;
        if let Some(timer) = opening.timer.take() {
            self.clock.unset_timer(timer);
        }
        if opening.error.is_none() && (self.is_off(server) || self.is_removed(server)) {
            self.syn_lost(key, Some(server));
        } else {
            self.on_refused(key);
        }
    }

    fn on_refused(&mut self, key: Key) {
        let conn = self.conns.get(key).expect(OPENED);
        let closed_by = match (conn.destination, conn.ends[1].pod) {
            (Destination::Tcp(to), Some(server)) => {
                self.pods[server.index()].closed_ports.get(&to.port()).copied().flatten()
            }
            (Destination::Tcp(_), None) => None,
            (Destination::Unix(socket), _) => self.unix_closed_by(socket),
        };
        let event = events::NetRefused { conn: conn.number, to: conn.ends[1].address.clone() };
        self.fail_connect(key, ErrorKind::ConnectionRefused, closed_by, event);
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
        let (waker, task) = (opening.waker.take(), opening.task.take());
        self.wake(waker);
        self.wake_host(task);
    }

    /// Whether nobody waits for this SYN any more; if somebody does, the host's task is woken when not.
    pub(super) fn poll_abandoned(&mut self, key: Key, context: &Context<'_>) -> Poll<()> {
        self.clock.stir();
        let conn = self.conns.get_mut(key).expect(OPENED);
        match &mut conn.opening {
            Some(opening) if opening.under_way && opening.error.is_none() && !conn.ends[0].half.closed => {
                opening.task = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }
}

/// When a kernel sends its SYN for the n-th time again: after 1, 3, 7, 15, 31 and 63 s; after 127 s it gives up.
fn due_after(retries: u32) -> u64 {
    ((1 << retries) - 1) * SECOND
}

const OPENED: &str = "a connection lives until both ends are closed";
const CLIENT: &str = "the client's end is in a pod from the start";
