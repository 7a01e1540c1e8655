//! What runs in turmoil's hosts: hands bytes on between turmoil's sockets and ours.
//!
//! One future for a host polls all its tasks in the order they were woken, so that nothing depends on turmoil's
//! scheduler, and a panic in one ends the run.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use ::turmoil::net::{TcpListener, TcpStream};
use bytes::{Buf as _, Bytes};
use futures::future::LocalBoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::super::PodId;
use super::super::net::Side;
use super::super::slab::Key;
use super::super::world::World;
use super::Order;
use super::conn::Outgoing;
use super::listen::Room;

/// The largest segment that is sent.
const SEGMENT: usize = 64 * 1024;

/// A task, which ends with those that follow it.
struct Task(LocalBoxFuture<'static, Vec<Self>>);

impl Task {
    fn new(future: impl Future<Output = Vec<Self>> + 'static) -> Self {
        Self(Box::pin(future))
    }
}

impl Future for Task {
    type Output = Vec<Self>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Vec<Self>> {
        self.0.as_mut().poll(context)
    }
}

/// The software of a host: ends once its pod is removed and everything that was on its way out is gone.
pub(super) async fn run(world: World, pod: PodId) -> ::turmoil::Result {
    let mut tasks = FuturesUnordered::new();
    poll_fn(|context| {
        loop {
            while let Poll::Ready(order) = world.turmoil(|net| net.poll_order(pod, context)) {
                tasks.push(start(&world, pod, order));
            }
            match tasks.poll_next_unpin(context) {
                Poll::Ready(Some(following)) => tasks.extend(following),
                Poll::Ready(None) if world.turmoil(|net| net.is_removed(pod)) => return Poll::Ready(Ok(())),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

fn start(world: &World, pod: PodId, order: Order) -> Task {
    match order {
        Order::Listen { listener, at } => Task::new(listen(world.clone(), pod, listener, at)),
        Order::Connect { conn, to } => Task::new(connect(world.clone(), pod, conn, to)),
    }
}

async fn listen(world: World, pod: PodId, listener: Key, at: SocketAddr) -> Vec<Task> {
    if !world.turmoil(|net| net.is_wanted(listener)) {
        return Vec::new();
    }
    match TcpListener::bind(at).await {
        Ok(socket) => {
            world.turmoil(|net| net.listening(listener, Ok(())));
            vec![Task::new(accept(world, pod, listener, socket))]
        }
        Err(error) => {
            world.turmoil(|net| net.listening(listener, Err(error)));
            Vec::new()
        }
    }
}

/// Accepts one connection, as a kernel does before the process calls `accept`.
async fn accept(world: World, pod: PodId, listener: Key, socket: TcpListener) -> Vec<Task> {
    let accepted = {
        let mut accepting = pin!(socket.accept());
        poll_fn(|context| match world.turmoil(|net| net.poll_room(listener, context)) {
            Room::Closed => Poll::Ready(None),
            Room::Full => Poll::Pending,
            Room::Free => accepting.as_mut().poll(context).map(Some),
        })
        .await
    };
    let Some(accepted) = accepted else {
        return Vec::new();
    };
    let (stream, client) = accepted.expect("turmoil's `accept` waits until it can");
    let arrival = world.turmoil(|net| net.arrived(listener, pod, client));
    vec![Task::new(serve(world.clone(), arrival, stream)), Task::new(accept(world, pod, listener, socket))]
}

async fn serve(world: World, arrival: (PodId, u16), stream: TcpStream) -> Vec<Task> {
    let conn = poll_fn(|context| world.turmoil(|net| net.poll_paired(arrival, context))).await;
    pump(&world, conn, Side::Server, stream).await;
    world.turmoil(|net| net.leave(conn));
    Vec::new()
}

async fn connect(world: World, pod: PodId, conn: Key, to: SocketAddr) -> Vec<Task> {
    let connected = {
        let mut connecting = pin!(TcpStream::connect(to));
        poll_fn(|context| {
            if let Poll::Ready(connected) = connecting.as_mut().poll(context) {
                return Poll::Ready(Some(connected));
            }
            ready!(world.turmoil(|net| net.poll_abandoned(conn, context)));
            Poll::Ready(None)
        })
        .await
    };
    match connected {
        Some(Ok(stream)) => {
            let port = stream.local_addr().expect("turmoil's streams know their addresses").port();
            world.turmoil(|net| net.connected(conn, pod, port));
            pump(&world, conn, Side::Client, stream).await;
        }
        Some(Err(_refused)) => world.turmoil(|net| net.refused(conn)),
        None => {}
    }
    world.turmoil(|net| net.leave(conn));
    Vec::new()
}

/// Hands bytes on in both directions until our end is closed and all it wrote is sent. Dropping turmoil's stream then
/// closes it there: by RST if it holds a segment that the process has not read, by FIN if not.
async fn pump(world: &World, conn: Key, side: Side, stream: TcpStream) {
    let mut pump = Pump { world, conn, side, stream, unsent: Bytes::new(), given: 0, ended: false, space: Vec::new() };
    poll_fn(|context| pump.poll(context)).await;
}

struct Pump<'a> {
    world: &'a World,
    conn: Key,
    side: Side,
    stream: TcpStream,
    /// Taken from our end and refused by turmoil so far.
    unsent: Bytes,
    /// How much of turmoil's first segment our end was given. It stays in turmoil until the process has read it, so
    /// that turmoil knows what is unread when the socket closes.
    given: usize,
    /// Whether FIN or RST has arrived.
    ended: bool,
    space: Vec<u8>,
}

impl Pump<'_> {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (conn, side) = (self.conn, self.side);
        self.world.turmoil(|net| net.watch(conn, side, context));
        let closed = self.send(context);
        if closed.is_pending() && !self.ended {
            self.receive(context);
        }
        closed
    }

    fn send(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (conn, side) = (self.conn, self.side);
        loop {
            if self.unsent.is_empty() {
                match self.world.turmoil(|net| net.outgoing(conn, side, SEGMENT)) {
                    Outgoing::Data(data) => self.unsent = data,
                    Outgoing::Fin => {
                        let _reset_by_peer = Pin::new(&mut self.stream).poll_shutdown(context);
                        continue;
                    }
                    Outgoing::Closed => return Poll::Ready(()),
                    Outgoing::Nothing => return Poll::Pending,
                }
            }
            match Pin::new(&mut self.stream).poll_write(context, &self.unsent) {
                Poll::Ready(Ok(sent)) => {
                    self.unsent.advance(sent);
                    self.world.turmoil(|net| net.sent(conn, side));
                }
                Poll::Ready(Err(_)) => {
                    self.unsent.clear();
                    self.world.turmoil(|net| net.broken_pipe(conn, side));
                }
                Poll::Pending if self.world.turmoil(|net| net.gives_up(conn, side)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn receive(&mut self, context: &mut Context<'_>) {
        let (conn, side) = (self.conn, self.side);
        self.space.resize(SEGMENT, 0);
        loop {
            if self.given > 0 {
                if self.world.turmoil(|net| net.has_unread(conn, side)) {
                    return;
                }
                let mut read = ReadBuf::new(&mut self.space[..self.given]);
                let taken = Pin::new(&mut self.stream).poll_read(context, &mut read);
                assert!(taken.is_ready() && read.remaining() == 0, "turmoil has kept what was peeked at");
                self.given = 0;
            }
            let mut peeked = ReadBuf::new(&mut self.space);
            match self.stream.poll_peek(context, &mut peeked) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => {
                    self.ended = true;
                    return self.world.turmoil(|net| net.on_fin(conn, side));
                }
                Poll::Ready(Ok(given)) => {
                    self.given = given;
                    let data = Bytes::copy_from_slice(peeked.filled());
                    self.world.turmoil(|net| net.on_data(conn, side, data));
                }
                Poll::Ready(Err(_)) => {
                    self.ended = true;
                    return self.world.turmoil(|net| net.on_reset(conn, side));
                }
            }
        }
    }
}
