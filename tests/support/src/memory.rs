//! A network in memory, on which everything works while the clock stands still.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hermesh_runtime::{Address, Listener, Stream};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::mpsc;

use crate::Network;

/// What the two ends of a connection hold back before the writer has to wait.
const BUFFER_BYTES: usize = 1000;

/// A network of one process. Connections come from `10.0.0.1:40000`; no name has an address.
#[derive(Default)]
pub struct InMemory {
    listeners: Mutex<BTreeMap<Address, Queue>>,
    silent_names: bool,
}

impl InMemory {
    /// One whose name server never answers.
    #[must_use]
    pub fn with_silent_names() -> Self {
        Self { silent_names: true, ..Self::default() }
    }
}

type Queue = mpsc::UnboundedSender<Box<dyn Stream>>;

impl Network for InMemory {
    fn connect(&self, to: Address) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
        let queue = self.listeners.lock().unwrap().get(&to).cloned();
        Box::pin(async move {
            let (ours, theirs) = tokio::io::duplex(BUFFER_BYTES);
            let from = Address::from(SocketAddr::from(([10, 0, 0, 1], 40_000)));
            let theirs = Pipe { stream: theirs, local: to.clone(), peer: from.clone() };
            let accepted = queue.and_then(|queue| queue.send(Box::new(theirs)).ok());
            accepted.ok_or(io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(Pipe { stream: ours, local: from, peer: to }) as Box<dyn Stream>)
        })
    }

    fn listen(&self, at: Address) -> BoxFuture<'static, io::Result<Box<dyn Listener>>> {
        let (sender, queue) = mpsc::unbounded_channel();
        self.listeners.lock().unwrap().insert(at.clone(), sender);
        Box::pin(async move { Ok(Box::new(Bound { at, queue }) as Box<dyn Listener>) })
    }

    fn resolve(&self, _host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        match self.silent_names {
            true => Box::pin(std::future::pending()),
            false => Box::pin(std::future::ready(Err(io::ErrorKind::NotFound.into()))),
        }
    }
}

struct Bound {
    at: Address,
    queue: mpsc::UnboundedReceiver<Box<dyn Stream>>,
}

impl Listener for Bound {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async { self.queue.recv().await.ok_or_else(|| io::ErrorKind::NotConnected.into()) })
    }

    fn local_address(&self) -> Address {
        self.at.clone()
    }
}

struct Pipe {
    stream: DuplexStream,
    local: Address,
    peer: Address,
}

impl Stream for Pipe {
    fn local_address(&self) -> Address {
        self.local.clone()
    }

    fn peer_address(&self) -> Address {
        self.peer.clone()
    }
}

impl AsyncRead for Pipe {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
