//! Established connections: data, back pressure, half-close, reset, loss and retransmission.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use hermesh_runtime::Level;
use sha2::{Digest as _, Sha256};
use tokio::io::ReadBuf;

use super::super::PodId;
use super::super::events;
use super::super::slab::Key;
use super::connect::Conn;
use super::queue::Event;
use super::{Cause, Net};

pub(in super::super) const SECOND: u64 = 1_000_000_000;

/// What the kernel takes from a writer beyond what the reader has read: both ends' buffers.
pub(in super::super) const WINDOW: usize = 256 * 1024;

/// A writer that was held up goes on when a third of it is free (`sk_stream_is_writeable`).
pub(in super::super) const WRITABLE: usize = WINDOW / 3 * 2;

/// The least retransmission timeout (`TCP_RTO_MIN`).
const RTO_MIN: u64 = SECOND / 5;

/// The greatest retransmission timeout (`TCP_RTO_MAX`).
const RTO_MAX: u64 = 120 * SECOND;

/// `net.ipv4.tcp_retries2`: with these timeouts the kernel gives up after 924.6 s.
const RETRIES: u32 = 15;

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(in super::super) const BOTH: [Self; 2] = [Self::Client, Self::Server];

    pub(in super::super) fn index(self) -> usize {
        self as usize
    }

    pub(in super::super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// What the kernel holds for one end.
#[derive(Default)]
pub(super) struct Half {
    received: VecDeque<Bytes>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    fin_received: bool,
    fin_sent: bool,
    /// FIN was sent before the peer's came: at its end this half is in TIME-WAIT.
    pub(super) closes_first: bool,
    /// The process has closed its socket, or never had it.
    pub(super) closed: bool,
    /// The power failed: the kernel knows nothing of it any more.
    vanished: bool,
    /// RST was sent or received, or the kernel gave up.
    pub(super) dead: bool,
    error: Option<ErrorKind>,

    /// Sent and not yet arrived, in order.
    in_flight: VecDeque<Segment>,
    /// How many of them have met a broken path.
    stuck: u32,
    stall: Option<Stall>,
    /// Since something arrived whose ACK cannot.
    unacknowledged: Option<Stall>,
    last_arrival: u64,
    /// Bytes sent and not yet read.
    unread: usize,
    blocked: bool,
}

/// A retransmission timer.
#[derive(Clone, Copy)]
struct Stall {
    retries: u32,
    timeout: u64,
}

pub(super) enum Segment {
    /// The last packet of the handshake.
    Open,
    Data(Bytes),
    Fin,
    /// The reader has room again.
    Window,
}

/// What sockets do.
impl Net {
    pub(in super::super) fn poll_read(
        &mut self,
        key: Key,
        side: Side,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        let unix = conn.is_unix();
        let half = &mut conn.ends[side.index()].half;
        if half.closed {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        let mut read = 0;
        while buffer.remaining() > 0
            && let Some(chunk) = half.received.front_mut()
        {
            let len = chunk.len().min(buffer.remaining());
            buffer.put_slice(&chunk.split_to(len));
            read += len;
            if chunk.is_empty() {
                half.received.pop_front();
            }
        }
        if read > 0 || buffer.remaining() == 0 {
            let peer = &mut conn.ends[side.other().index()].half;
            peer.unread -= read;
            if peer.blocked && peer.unread <= WRITABLE {
                peer.blocked = false;
                let now = self.now();
                self.send(now, key, side, Segment::Window);
            }
            return Poll::Ready(Ok(()));
        }
        // A reader who has seen FIN is told of nothing that came later, except on a Unix socket.
        if half.fin_received && !unix {
            return Poll::Ready(Ok(()));
        }
        if half.dead {
            return Poll::Ready(half.error.take().map_or(Ok(()), |error| Err(error.into())));
        }
        if half.fin_received {
            return Poll::Ready(Ok(()));
        }
        remember(&mut half.reader, context);
        Poll::Pending
    }

    pub(in super::super) fn poll_write(
        &mut self,
        key: Key,
        side: Side,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        };
        // A Unix socket knows at once that its peer is gone; its error is kept for the reader.
        if conn.is_unix() && conn.ends[side.other().index()].half.closed {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let half = &mut conn.ends[side.index()].half;
        if half.dead {
            return Poll::Ready(Err(half.error.take().unwrap_or(ErrorKind::BrokenPipe).into()));
        }
        if half.closed || half.fin_sent {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let len: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        if len == 0 {
            return Poll::Ready(Ok(0));
        }
        let room = len.min(WINDOW - half.unread);
        if room == 0 || half.blocked {
            half.blocked = true;
            remember(&mut half.writer, context);
            return Poll::Pending;
        }
        half.unread += room;
        let mut data = BytesMut::with_capacity(room);
        for buffer in buffers {
            let len = buffer.len().min(room - data.len());
            data.extend_from_slice(&buffer[..len]);
        }
        let now = self.now();
        self.send(now, key, side, Segment::Data(data.freeze()));
        Poll::Ready(Ok(room))
    }

    pub(in super::super) fn shutdown(&mut self, key: Key, side: Side) -> io::Result<()> {
        let Some(conn) = self.conns.get_mut(key) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let half = &mut conn.ends[side.index()].half;
        if half.closed {
            return Err(ErrorKind::NotConnected.into());
        }
        // The kernel says ENOTCONN after a reset, which tokio takes for done.
        if !half.fin_sent && !half.dead {
            half.fin_sent = true;
            half.closes_first = !half.fin_received;
            let now = self.now();
            self.send(now, key, side, Segment::Fin);
        }
        Ok(())
    }

    /// Closes a socket: FIN, or RST if the process leaves data unread or never accepted the connection.
    pub(in super::super) fn close(&mut self, key: Key, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let unix = conn.is_unix();
        let [client, server] = &mut conn.ends;
        let (end, peer) = match side {
            Side::Client => (client, server),
            Side::Server => (server, client),
        };
        if end.half.closed {
            return;
        }
        let (cause, silent) = end.owner.as_ref().map_or((None, false), |owner| self.endings.of(owner.number));
        let unaccepted = side == Side::Server && conn.listener.is_some();
        let half = &mut end.half;
        half.closed = true;
        let abort = unaccepted || !half.received.is_empty();
        half.received = VecDeque::new();
        (half.reader, half.writer) = (None, None);
        if unix {
            self.wakes.extend(peer.half.writer.take());
        }
        if silent {
            half.vanished = true;
        } else if !half.dead {
            if !conn.close_recorded
                && let Some(owner) = &end.owner
            {
                conn.close_recorded = true;
                let event = events::NetClosed { conn: conn.number, peer: peer.address.clone(), abort };
                conn.event = self.recorder.emit(&owner.at, cause.or(conn.event), event).or(conn.event);
            }
            let now = self.recorder.now();
            if abort {
                half.dead = true;
                self.send_reset(now, key, side);
            } else if !half.fin_sent {
                half.fin_sent = true;
                half.closes_first = !half.fin_received;
                self.send(now, key, side, Segment::Fin);
            }
        }
        self.remove_if_closed(key);
    }

    fn remove_if_closed(&mut self, key: Key) {
        if self.conns.get(key).is_some_and(|conn| conn.ends.iter().all(|end| end.half.closed)) {
            self.remove(key);
        }
    }
}

/// What packets do.
impl Net {
    /// Puts a segment on its way behind those sent before.
    pub(super) fn send(&mut self, now: u64, key: Key, from: Side, segment: Segment) {
        let at = self.arrival_from(now, key, from);
        let half = &mut self.conns.get_mut(key).expect(SENDING).ends[from.index()].half;
        let at = at.max(half.last_arrival);
        half.last_arrival = at;
        half.in_flight.push_back(segment);
        self.queue.push(at, Event::Arrive(key, from));
    }

    /// RST overtakes nothing that is on its way and waits for nothing that is stuck.
    fn send_reset(&mut self, now: u64, key: Key, from: Side) {
        let at = self.arrival_from(now, key, from);
        let half = &self.conns.get(key).expect(SENDING).ends[from.index()].half;
        let at = at.max(half.last_arrival);
        self.queue.push(at, Event::Reset(key, from.other()));
    }

    fn arrival_from(&mut self, now: u64, key: Key, from: Side) -> u64 {
        match self.conns.get(key).expect(SENDING).ends[from.index()].link {
            Some(link) => self.arrival_on(now, link),
            None => now,
        }
    }

    /// Why what this end sends is lost, if it is.
    pub(super) fn lost(&self, key: Key, from: Side) -> Option<Cause> {
        let conn = self.conns.get(key)?;
        let (from, to) = (&conn.ends[from.index()], &conn.ends[from.other().index()]);
        let (Some(from_pod), Some(to_pod)) = (from.pod, to.pod) else {
            return None;
        };
        self.broken_on(from_pod, to_pod, from.link).or_else(|| {
            let removed = self.pods[to_pod.index()].removed?;
            // Whoever has the address now answers with RST, see `deliver`.
            let taken = to.address.tcp().is_some_and(|address| self.pod_at(address.ip()).is_some());
            if taken || conn.local { None } else { Some(removed) }
        })
    }

    pub(super) fn on_arrive(&mut self, at: u64, key: Key, from: Side) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let half = &mut conn.ends[from.index()].half;
        if half.vanished || half.in_flight.is_empty() {
            return;
        }
        if half.stall.is_some() {
            half.stuck += 1;
            return;
        }
        if let Some(cause) = self.drops(key, from) {
            let conn = self.conns.get_mut(key).expect(SENDING);
            let end = &mut conn.ends[from.index()];
            end.half.stuck = 1;
            end.half.stall = Some(Stall { retries: 0, timeout: RTO_MIN });
            self.queue.push(at + RTO_MIN, Event::Retransmit(key, from));
            let owner = end.owner.as_ref().filter(|_| self.recorder.records(Level::Debug)).cloned();
            let stalled = owner.and_then(|owner| {
                let to = conn.ends[from.other().index()].address.clone();
                self.recorder.emit(&owner.at, cause, events::NetStalled { conn: conn.number, to })
            });
            conn.trail.set_trouble(stalled.or(cause));
            return;
        }
        self.deliver_next(at, key, from);
    }

    pub(super) fn on_retransmit(&mut self, at: u64, key: Key, from: Side) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let half = &conn.ends[from.index()].half;
        let gone = conn.ends[from.index()].pod.is_some_and(|pod| self.is_removed(pod));
        if half.vanished || half.dead || half.stall.is_none() || gone {
            return;
        }
        match self.lost(key, from) {
            Some(cause) => self.back_off(at, key, from, cause),
            None => {
                let at = self.arrival_from(at, key, from);
                let conn = self.conns.get_mut(key).expect(SENDING);
                let end = &mut conn.ends[from.index()];
                let at = at.max(end.half.last_arrival);
                end.half.last_arrival = at;
                self.queue.push(at, Event::Redeliver(key, from));
                if self.recorder.records(Level::Debug)
                    && let Some(owner) = &end.owner
                {
                    let (at, segments) = (owner.at.clone(), end.half.stuck);
                    let to = conn.ends[from.other().index()].address.clone();
                    let event = events::NetRetransmitted { conn: conn.number, to, segments };
                    self.recorder.emit(&at, conn.event, event);
                }
            }
        }
    }

    pub(super) fn on_redeliver(&mut self, at: u64, key: Key, from: Side) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let half = &conn.ends[from.index()].half;
        if half.vanished || half.dead || half.stall.is_none() {
            return;
        }
        if let Some(cause) = self.drops(key, from) {
            return self.back_off(at, key, from, cause);
        }
        let conn = self.conns.get_mut(key).expect(SENDING);
        if conn.ends[from.other().index()].half.stall.is_none() && !conn.close_recorded {
            conn.trail.set_trouble(None);
        }
        let half = &mut conn.ends[from.index()].half;
        half.stall = None;
        for _ in 0..std::mem::take(&mut half.stuck) {
            self.deliver_next(at, key, from);
        }
    }

    fn back_off(&mut self, at: u64, key: Key, from: Side, cause: Cause) {
        let half = &mut self.conns.get_mut(key).expect(SENDING).ends[from.index()].half;
        let stall = half.stall.as_mut().expect("only what stalls backs off");
        stall.retries += 1;
        stall.timeout = (stall.timeout * 2).min(RTO_MAX);
        let Stall { retries, timeout } = *stall;
        if retries <= RETRIES {
            self.queue.push(at + timeout, Event::Retransmit(key, from));
            return;
        }
        self.give_up(key, from, cause);
    }

    /// The kernel of this end gives up on the other.
    fn give_up(&mut self, key: Key, from: Side, cause: Cause) {
        let conn = self.conns.get_mut(key).expect(SENDING);
        let peer = conn.ends[from.other().index()].address.clone();
        let end = &mut conn.ends[from.index()];
        end.half.die(ErrorKind::TimedOut);
        let wakers = [end.half.reader.take(), end.half.writer.take()];
        if let Some(owner) = &end.owner {
            let event = events::NetTimeout { conn: conn.number, to: peer, while_connecting: false };
            let cause = cause.or(conn.event);
            conn.trail.set_trouble(self.recorder.emit(&owner.at, cause, event).or(cause));
        }
        self.wakes.extend(wakers.into_iter().flatten());
    }

    /// What this end has sent arrives, or waits on its way, and its ACK does not arrive: the kernel retransmits, and
    /// gives up in the end.
    pub(super) fn await_ack(&mut self, at: u64, key: Key, from: Side) {
        if self.withheld_ack(key, from).is_none() {
            return;
        }
        let half = &mut self.conns.get_mut(key).expect(SENDING).ends[from.index()].half;
        if half.unacknowledged.is_none() {
            half.unacknowledged = Some(Stall { retries: 0, timeout: RTO_MIN });
            self.queue.push(at + RTO_MIN, Event::Unacknowledged(key, from));
        }
    }

    pub(super) fn on_unacknowledged(&mut self, at: u64, key: Key, from: Side) {
        let Some(conn) = self.conns.get(key) else {
            return;
        };
        let end = &conn.ends[from.index()];
        let half = &end.half;
        let gone = end.pod.is_some_and(|pod| self.is_removed(pod));
        if half.vanished || half.dead || half.closed || gone {
            return;
        }
        let withheld = self.withheld_ack(key, from);
        let half = &mut self.conns.get_mut(key).expect(SENDING).ends[from.index()].half;
        let (Some(cause), Some(timer)) = (withheld, &mut half.unacknowledged) else {
            half.unacknowledged = None;
            return;
        };
        timer.retries += 1;
        timer.timeout = (timer.timeout * 2).min(RTO_MAX);
        let Stall { retries, timeout } = *timer;
        if retries > RETRIES {
            return self.give_up(key, from, cause);
        }
        self.queue.push(at + timeout, Event::Unacknowledged(key, from));
    }

    /// RST arrives at both ends of all connections between two pods, as a firewall sends it that forgets them.
    pub(in super::super) fn reset(&mut self, a: PodId, b: PodId, cause: Cause) -> usize {
        let between = |conn: &Conn| {
            let pods = conn.ends.each_ref().map(|end| end.pod);
            !conn.is_unix() && !conn.is_opening() && (pods == [Some(a), Some(b)] || pods == [Some(b), Some(a)])
        };
        // What was reset at this instant may not have been forgotten yet.
        let lives = |conn: &Conn| conn.ends.iter().any(|end| !end.half.closed && !end.half.dead);
        let chosen = self.conns.iter().filter(|(_, conn)| between(conn) && lives(conn));
        let keys: Vec<Key> = chosen.map(|(key, _)| key).collect();
        for key in &keys {
            for side in Side::BOTH {
                self.take_reset(*key, side, cause);
            }
        }
        keys.len()
    }

    /// Hands the next segment of `from` to the other end.
    fn deliver_next(&mut self, at: u64, key: Key, from: Side) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let Some(segment) = conn.ends[from.index()].half.in_flight.pop_front() else {
            return;
        };
        let sender = &conn.ends[from.index()];
        let wire = match &segment {
            Segment::Data(data) if self.recorder.records(Level::Wire) => Some(events::NetData {
                conn: conn.number,
                from: sender.address.clone(),
                len: data.len(),
                digest: Sha256::digest(data)[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
            }),
            _ => None,
        };
        let receiver = &mut conn.ends[from.other().index()];
        let half = &mut receiver.half;
        if half.closed {
            // A socket that closed in order takes the peer's FIN; any other packet has no socket to go to. Where an RST
            // was lost, the next one tells the peer.
            if matches!(segment, Segment::Data(_)) || (half.vanished && !matches!(segment, Segment::Window)) {
                self.send_reset(at, key, from.other());
            }
            return;
        }
        if half.dead {
            return;
        }
        if let (Some(event), Some(owner)) = (wire, &receiver.owner) {
            self.recorder.emit(&owner.at, None, event);
        }
        let waker = match segment {
            Segment::Open => return self.on_open(key),
            Segment::Data(data) => {
                half.received.push_back(data);
                let waker = half.reader.take();
                self.await_ack(at, key, from);
                waker
            }
            Segment::Fin => {
                half.fin_received = true;
                if conn.close_recorded {
                    conn.trail.set_trouble(conn.event);
                }
                half.reader.take()
            }
            Segment::Window => half.writer.take(),
        };
        self.wake(waker);
    }

    pub(super) fn on_reset(&mut self, key: Key, to: Side) {
        if self.drops(key, to.other()).is_some() {
            return;
        }
        let cause = self.conns.get(key).and_then(|conn| conn.event);
        self.take_reset(key, to, cause);
    }

    fn take_reset(&mut self, key: Key, to: Side, cause: Cause) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let unix = conn.is_unix();
        let peer = conn.ends[to.other().index()].address.clone();
        let end = &mut conn.ends[to.index()];
        let half = &mut end.half;
        if half.closed || half.dead {
            return;
        }
        // As in `tcp_reset`: who has seen FIN learns it when writing only.
        let late = half.fin_received && !unix;
        half.die(if late { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
        let wakers = [half.reader.take(), half.writer.take()];
        if let Some(owner) = &end.owner {
            let reset = self.recorder.emit(&owner.at, cause, events::NetReset { conn: conn.number, peer });
            conn.trail.set_trouble(reset.or(cause));
        }
        self.wakes.extend(wakers.into_iter().flatten());
    }
}

impl Half {
    /// An end nobody has yet.
    pub(super) fn unopened() -> Self {
        Self { closed: true, ..Self::default() }
    }

    /// Whether the last packet of the handshake is under way.
    pub(super) fn opens(&self) -> bool {
        matches!(self.in_flight.front(), Some(Segment::Open))
    }

    /// Nothing is sent or received any more; what has been received can still be read.
    fn die(&mut self, error: ErrorKind) {
        self.dead = true;
        self.error = Some(error);
        self.in_flight = VecDeque::new();
        self.stall = None;
        self.unacknowledged = None;
        self.stuck = 0;
    }
}

fn remember(place: &mut Option<Waker>, context: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(context.waker()),
        None => *place = Some(context.waker().clone()),
    }
}

const SENDING: &str = "an end that sends belongs to a connection";
