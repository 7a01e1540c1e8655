//! Connections: what the process at each end and the host's task hand each other.

use std::io::{self, ErrorKind, IoSlice};
use std::task::{Context, Poll, Waker};

use bytes::{Buf as _, Bytes, BytesMut};
use hermesh_runtime::{Address, Level, Trail};
use sha2::{Digest as _, Sha256};
use tokio::io::ReadBuf;

use super::super::PodId;
use super::super::events;
use super::super::net::{Cause, Owner, Side, WINDOW, WRITABLE};
use super::super::slab::Key;
use super::Net;
use super::connect::{Destination, Opening};

/// A connection, from the call to `connect` until both ends are closed and no task has to do with it.
pub(super) struct Conn {
    /// Names it in the trace.
    pub(super) number: u64,
    /// The client's end and the server's.
    pub(super) ends: [End; 2],
    pub(super) destination: Destination,
    pub(super) opening: Option<Opening>,
    /// The listener that holds it for `accept`.
    pub(super) listener: Option<Key>,
    /// The event of the connect, then of the first close.
    pub(super) event: Cause,
    pub(super) close_recorded: bool,
    pub(super) trail: Trail,
    /// Tasks of hosts that have to do with it.
    pub(super) tasks: u8,
}

pub(super) struct End {
    pub(super) pod: Option<PodId>,
    pub(super) owner: Option<Owner>,
    pub(super) address: Address,
    pub(super) half: Half,
}

/// What the kernel holds for one end, besides what turmoil does.
#[derive(Default)]
pub(super) struct Half {
    received: Bytes,
    reader: Option<Waker>,
    writer: Option<Waker>,
    fin_received: bool,
    /// RST arrived behind all that was received.
    reset: bool,
    /// RST arrived: nothing can be sent any more.
    broken: bool,
    error: Option<ErrorKind>,

    outgoing: BytesMut,
    /// Bytes written that the other end has not read.
    unread: usize,
    /// The process wrote until there was no room, and waits for some more than a byte's.
    blocked: bool,
    /// The process sends no more, and whether turmoil knows.
    finished: bool,
    fin_sent: bool,
    /// Segments are being held.
    stalled: bool,
    /// The process has closed its socket, or never had it.
    pub(super) closed: bool,
    /// What it wrote last is not sent: the process left data unread, or the power failed.
    cut_off: bool,
    /// The host's task.
    pub(super) task: Option<Waker>,
}

/// What a host's task is to send.
pub(super) enum Outgoing {
    Data(Bytes),
    Fin,
    /// The end is closed, and all it wrote was taken.
    Closed,
    Nothing,
}

impl End {
    pub(super) fn is_open_to(&self, owner: u32) -> bool {
        !self.half.closed && self.owner.as_ref().is_some_and(|of| of.number == owner)
    }
}

impl Half {
    /// An end nobody has yet.
    pub(super) fn unopened() -> Self {
        Self { closed: true, ..Self::default() }
    }
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
        let half = &mut conn.ends[side.index()].half;
        if half.closed {
            return Poll::Ready(Err(ErrorKind::NotConnected.into()));
        }
        let read = half.received.len().min(buffer.remaining());
        if read > 0 {
            buffer.put_slice(&half.received[..read]);
            half.received.advance(read);
            let task = if half.received.is_empty() { half.task.take() } else { None };
            let peer = &mut conn.ends[side.other().index()].half;
            peer.unread = peer.unread.saturating_sub(read);
            peer.blocked &= peer.unread > WRITABLE;
            let writer = if peer.blocked { None } else { peer.writer.take() };
            self.wake(writer);
            self.wake_host(task);
            return Poll::Ready(Ok(()));
        }
        if half.fin_received || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if half.reset {
            return Poll::Ready(half.error.take().map_or(Ok(()), |error| Err(error.into())));
        }
        half.reader = Some(context.waker().clone());
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
        let half = &mut conn.ends[side.index()].half;
        if half.broken {
            return Poll::Ready(Err(half.error.take().unwrap_or(ErrorKind::BrokenPipe).into()));
        }
        if half.closed || half.finished {
            return Poll::Ready(Err(ErrorKind::BrokenPipe.into()));
        }
        let len: usize = buffers.iter().map(|buffer| buffer.len()).sum();
        let room = len.min(WINDOW - half.unread);
        if (room == 0 || half.blocked) && len > 0 {
            half.blocked = true;
            half.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        half.unread += room;
        let mut left = room;
        for buffer in buffers {
            let taken = buffer.len().min(left);
            half.outgoing.extend_from_slice(&buffer[..taken]);
            left -= taken;
        }
        let task = half.task.take();
        self.wake_host(task);
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
        half.finished = true;
        let task = half.task.take();
        self.wake_host(task);
        Ok(())
    }

    /// Closes a socket; whether by FIN or by RST, turmoil decides by what was left unread.
    pub(in super::super) fn close(&mut self, key: Key, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else {
            return;
        };
        let peer = conn.ends[side.other().index()].address.clone();
        let end = &mut conn.ends[side.index()];
        if end.half.closed {
            return;
        }
        let (cause, silent) = end.owner.as_ref().map_or((None, false), |owner| self.endings.of(owner.number));
        let half = &mut end.half;
        half.closed = true;
        let abort = !half.received.is_empty();
        if silent || abort {
            half.cut_off = true;
            half.outgoing.clear();
        }
        (half.reader, half.writer) = (None, None);
        let task = half.task.take();
        if !silent
            && !half.reset
            && !conn.close_recorded
            && let Some(owner) = &end.owner
        {
            conn.close_recorded = true;
            let event = events::NetClosed { conn: conn.number, peer, abort };
            conn.event = self.recorder.emit(&owner.at, cause.or(conn.event), event).or(conn.event);
        }
        self.wake_host(task);
        self.remove_if_over(key);
    }

    /// Forgets a connection that is nobody's any more.
    pub(super) fn remove_if_over(&mut self, key: Key) {
        let is_over = |conn: &Conn| conn.tasks == 0 && conn.ends.iter().all(|end| end.half.closed);
        if !self.conns.get(key).is_some_and(is_over) {
            return;
        }
        let conn = self.conns.remove(key).expect("it was just seen");
        if let Some(timer) = conn.opening.and_then(|opening| opening.timer) {
            self.clock.unset_timer(timer);
        }
        if let (Some(pod), Address::Tcp(local)) = (conn.ends[0].pod, &conn.ends[0].address) {
            self.pods[pod.index()].ports.release(local.port());
        }
    }
}

/// What hosts do. A connection is not forgotten before their tasks have left it.
impl Net {
    fn conn(&mut self, key: Key) -> &mut Conn {
        self.conns.get_mut(key).expect("a connection lives while a host's task has to do with it")
    }

    fn half(&mut self, key: Key, side: Side) -> &mut Half {
        &mut self.conn(key).ends[side.index()].half
    }

    /// The task of this end is to be woken by what the process does.
    pub(super) fn watch(&mut self, key: Key, side: Side, context: &Context<'_>) {
        self.clock.stir();
        self.half(key, side).task = Some(context.waker().clone());
    }

    /// What to send next.
    pub(super) fn outgoing(&mut self, key: Key, side: Side, len_max: usize) -> Outgoing {
        let half = self.half(key, side);
        if !half.outgoing.is_empty() && !half.broken {
            let len = half.outgoing.len().min(len_max);
            return Outgoing::Data(half.outgoing.split_to(len).freeze());
        }
        if half.closed {
            return Outgoing::Closed;
        }
        if half.finished && !std::mem::replace(&mut half.fin_sent, true) {
            return Outgoing::Fin;
        }
        Outgoing::Nothing
    }

    /// Turmoil took a segment.
    pub(super) fn sent(&mut self, key: Key, side: Side) {
        let conn = self.conn(key);
        let [Some(from), Some(to)] = [side, side.other()].map(|side| conn.ends[side.index()].pod) else {
            return;
        };
        let number = conn.number;
        let Some(cause) = self.broken(from, to) else {
            return;
        };
        let conn = self.conn(key);
        let to = conn.ends[side.other().index()].address.clone();
        let end = &mut conn.ends[side.index()];
        if std::mem::replace(&mut end.half.stalled, true) {
            return;
        }
        let (trail, owner) = (conn.trail.clone(), end.owner.clone());
        let stalled =
            owner.and_then(|owner| self.recorder.emit(&owner.at, cause, events::NetStalled { conn: number, to }));
        trail.set_trouble(stalled.or(cause));
    }

    /// What was held between two pods is on its way again.
    pub(super) fn unstall(&mut self, a: PodId, b: PodId) {
        let keys: Vec<Key> = self.conns.iter().map(|(key, _)| key).collect();
        for key in keys {
            let conn = self.conn(key);
            let pods = [conn.ends[0].pod, conn.ends[1].pod];
            if pods != [Some(a), Some(b)] && pods != [Some(b), Some(a)] {
                continue;
            }
            let stalled = conn.ends.each_mut().map(|end| std::mem::take(&mut end.half.stalled));
            if stalled.contains(&true) && !conn.close_recorded {
                conn.trail.set_trouble(None);
            }
        }
    }

    /// Whether a closed end that turmoil takes nothing from is to be let go of.
    pub(super) fn gives_up(&mut self, key: Key, side: Side) -> bool {
        let end = &self.conn(key).ends[side.index()];
        let (closed, cut_off, pod) = (end.half.closed, end.half.cut_off, end.pod);
        closed && (cut_off || pod.is_some_and(|pod| self.is_removed(pod)))
    }

    pub(super) fn has_unread(&mut self, key: Key, side: Side) -> bool {
        !self.half(key, side).received.is_empty()
    }

    /// Data arrived.
    pub(super) fn on_data(&mut self, key: Key, side: Side, data: Bytes) {
        self.segments += 1;
        let conn = self.conn(key);
        let (number, from) = (conn.number, conn.ends[side.other().index()].address.clone());
        let end = &mut conn.ends[side.index()];
        let (owner, reader) = (end.owner.clone(), end.half.reader.take());
        if self.recorder.records(Level::Wire)
            && let Some(owner) = owner
        {
            let digest = Sha256::digest(&data)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
            let event = events::NetData { conn: number, from, len: data.len(), digest };
            self.recorder.emit(&owner.at, None, event);
        }
        self.half(key, side).received = data;
        self.wake(reader);
    }

    /// FIN arrived.
    pub(super) fn on_fin(&mut self, key: Key, side: Side) {
        let conn = self.conn(key);
        if conn.close_recorded {
            conn.trail.set_trouble(conn.event);
        }
        let half = self.half(key, side);
        half.fin_received = true;
        let reader = half.reader.take();
        self.wake(reader);
    }

    /// RST arrived, and everything before it was read.
    pub(super) fn on_reset(&mut self, key: Key, side: Side) {
        self.half(key, side).reset = true;
        self.broken_pipe(key, side);
    }

    /// RST arrived.
    pub(super) fn broken_pipe(&mut self, key: Key, side: Side) {
        let conn = self.conn(key);
        let (number, cause) = (conn.number, conn.event);
        let peer = conn.ends[side.other().index()].address.clone();
        let end = &mut conn.ends[side.index()];
        let half = &mut end.half;
        let wakers = [half.reader.take(), half.writer.take()];
        if !half.closed && !std::mem::replace(&mut half.broken, true) {
            // As in `tcp_reset`: who has seen FIN learns it when writing only.
            half.error = Some(if half.fin_received { ErrorKind::BrokenPipe } else { ErrorKind::ConnectionReset });
            let (owner, trail) = (end.owner.clone(), conn.trail.clone());
            let event = events::NetReset { conn: number, peer };
            let reset = owner.and_then(|owner| self.recorder.emit(&owner.at, cause, event));
            trail.set_trouble(reset.or(cause));
        }
        self.wakes.extend(wakers.into_iter().flatten());
    }

    /// A task of a host is done with the connection.
    pub(super) fn leave(&mut self, key: Key) {
        self.clock.stir();
        self.conn(key).tasks -= 1;
        self.remove_if_over(key);
    }
}
