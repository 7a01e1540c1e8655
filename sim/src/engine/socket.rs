//! Streams and listeners over the simulated network.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hermesh_runtime::{Address, Listener, Stream, Trail};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::net::{Accepted, Side};
use super::scope::Scope;
use super::slab::Key;
use super::world::{Route, World};

pub(super) async fn connect(scope: &Arc<Scope>, to: Address, trail: Trail) -> io::Result<Box<dyn Stream>> {
    let Some(pod) = &scope.pod else {
        return Err(ErrorKind::NetworkUnreachable.into());
    };
    let world = &scope.world;
    let (owner, id) = (scope.owner.clone(), pod.id);
    let (conn, local, peer) = match &to {
        Address::Tcp(address) => {
            let address = *address;
            let route = world.router().map_or(Route::Direct, |router| router(&pod.name, address));
            let (conn, local, peer) = world.net(|net| net.connect_tcp(owner, id, address, route, trail.clone()))?;
            (conn, Address::Tcp(local), Address::Tcp(peer))
        }
        Address::Unix(path) => {
            let socket = scope.files.socket(path).inspect_err(|_| {
                let removed = scope.files.removed_socket(path);
                trail.set_trouble(removed.and_then(|socket| world.net(|net| net.unix_closed_by(socket))));
            })?;
            let conn = world.net(|net| net.connect_unix(owner, id, socket, path.clone(), trail.clone()))?;
            (conn, Address::Unix(Default::default()), to)
        }
    };
    let mut attempt = Attempt { world: world.clone(), conn: Some(conn) };
    poll_fn(|context| world.net(|net| net.poll_connect(conn, context))).await?;
    attempt.conn = None;
    Ok(Box::new(Socket { world: world.clone(), conn, side: Side::Client, local, peer, trail }))
}

pub(super) async fn listen(scope: &Arc<Scope>, at: Address) -> io::Result<Box<dyn Listener>> {
    let Some(pod) = &scope.pod else {
        return Err(ErrorKind::NetworkUnreachable.into());
    };
    let world = scope.world.clone();
    let owner = scope.owner.clone();
    let (key, local) = match at {
        Address::Tcp(address) => {
            let (key, local) = world.net(|net| net.listen_tcp(owner, pod.id, address))?;
            (key, Address::Tcp(local))
        }
        Address::Unix(path) => {
            let socket = world.next_socket();
            let before = scope.files.bind_socket(&path, socket)?;
            (world.net(|net| net.listen_unix(owner, pod.id, socket, path.clone(), before))?, Address::Unix(path))
        }
    };
    let bound = Bound { world, key, local };
    poll_fn(|context| bound.world.net(|net| net.poll_listening(key, context))).await?;
    Ok(Box::new(bound))
}

/// A connect under way; dropping it gives up.
struct Attempt {
    world: World,
    conn: Option<Key>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(conn) = self.conn {
            self.world.net(|net| net.abandon(conn));
        }
    }
}

struct Bound {
    world: World,
    key: Key,
    local: Address,
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let Accepted { conn, local, peer, trail } =
                poll_fn(|context| self.world.net(|net| net.poll_accept(self.key, context))).await?;
            let socket = Socket { world: self.world.clone(), conn, side: Side::Server, local, peer, trail };
            Ok(Box::new(socket) as Box<dyn Stream>)
        })
    }

    fn local_address(&self) -> Address {
        self.local.clone()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.world.net(|net| net.close_listener(self.key));
    }
}

struct Socket {
    world: World,
    conn: Key,
    side: Side,
    local: Address,
    peer: Address,
    trail: Trail,
}

impl Stream for Socket {
    fn local_address(&self) -> Address {
        self.local.clone()
    }

    fn peer_address(&self) -> Address {
        self.peer.clone()
    }

    fn trail(&self) -> Trail {
        self.trail.clone()
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.world.net(|net| net.poll_read(self.conn, self.side, context, buffer))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.world.net(|net| net.poll_write(self.conn, self.side, context, data))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.world.net(|net| net.shutdown(self.conn, self.side)))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.world.net(|net| net.close(self.conn, self.side));
    }
}
