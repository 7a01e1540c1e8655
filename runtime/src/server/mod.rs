//! A gRPC server on the runtime: routing, deadlines, who is calling, and draining.
//!
//! [`Server`] serves a [`Router`] on a listener. Who has listeners and TLS of their own kind, such as an xDS server,
//! calls [`serve_connection`] for each connection.
//!
//! ```no_run
//! # use hermesh_runtime::server::{Router, Server, drain};
//! # async fn example(router: Router) -> std::io::Result<()> {
//! let rt = hermesh_runtime::os::runtime();
//! let listener = rt.listen("127.0.0.1:7070".parse().expect("an address")).await?;
//! let (handle, drained) = drain();
//! rt.spawn("drain on SIGTERM", {
//!     let rt = rt.clone();
//!     async move {
//!         rt.terminated().await;
//!         handle.drain();
//!     }
//! });
//! Server::new(&rt).router(router).serve(listener, drained).await
//! # }
//! ```

mod accept;
mod authority;
mod connection;
mod drain;
mod idle;
mod preface;
mod router;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

pub use accept::{AcceptFailed, Acceptor};
pub use connection::{ConnectionAccepted, ConnectionRejected, ServeError, ServeOptions, serve_connection};
pub use drain::{Drain, DrainHandle, drain};
pub use router::{Routed, Router};

pub(crate) use idle::Calls;
pub(crate) use preface::{Preface, Replayed, read_preface};

use crate::http2::Keepalive;
use crate::tls::{PeerCertificate, ServerTls};
use crate::{Address, EventId, Listener, Runtime, Stream, Trail};

/// The connection a request came on; among the request's extensions, also those of
/// [`http1::serve`](crate::http1::serve).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Our end.
    pub local: Address,
    /// The peer's end.
    pub peer: Address,
    /// Who the peer is; `None` without TLS and for anonymous clients.
    pub peer_certificate: Option<Arc<PeerCertificate>>,
    /// The [`ConnectionAccepted`] event, a cause for what follows; none on an HTTP port.
    pub event: Option<EventId>,
    /// What the trace knows of the connection.
    pub trail: Trail,
}

impl ConnectionInfo {
    /// That of a connection without TLS and without an event of its own.
    pub(crate) fn plain(stream: &dyn Stream) -> Self {
        Self {
            local: stream.local_address(),
            peer: stream.peer_address(),
            peer_certificate: None,
            event: None,
            trail: stream.trail(),
        }
    }
}

/// Serves a router on a listener.
#[derive(Clone)]
pub struct Server {
    rt: Runtime,
    router: Router,
    tls: Option<ServerTls>,
    options: ServeOptions,
}

impl Server {
    /// A server of nothing, in plain text.
    #[must_use]
    pub fn new(rt: &Runtime) -> Self {
        Self { rt: rt.clone(), router: Router::new(), tls: None, options: ServeOptions::default() }
    }

    /// What it serves.
    #[must_use]
    pub fn router(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// How it speaks TLS; plain text if `None`.
    #[must_use]
    pub fn tls(self, tls: Option<ServerTls>) -> Self {
        Self { tls, ..self }
    }

    /// Pings clients. A server always does so while idle, too.
    #[must_use]
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.options.keepalive = Some(keepalive);
        self
    }

    /// Sends GOAWAY on connections without a call for so long.
    #[must_use]
    pub fn max_idle(mut self, idle: Option<Duration>) -> Self {
        self.options.max_idle = idle;
        self
    }

    /// Takes connections until `drain` is told to drain; then closes the listener and waits for the calls in flight.
    /// Dropping the future closes the listener and leaves the connections to themselves.
    ///
    /// # Errors
    /// If the listener fails for good; see [`Acceptor`].
    pub async fn serve(self, listener: Box<dyn Listener>, drain: Drain) -> io::Result<()> {
        let mut acceptor = Acceptor::new(&self.rt, listener);
        let (connections, drained) = self::drain();
        loop {
            let stream = tokio::select! {
                biased;
                () = drain.wait() => break,
                accepted = acceptor.accept() => accepted?,
            };
            let (server, drained) = (self.clone(), drained.clone());
            self.rt.spawn("grpc server connection", async move {
                let Self { rt, router, tls, options } = server;
                // Both outcomes are events already.
                let _ = serve_connection(&rt, stream, tls.as_ref(), &options, router, drained).await;
            });
        }
        drop((acceptor, drained));
        connections.drain();
        connections.finished().await;
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { router, tls, options, .. } = self;
        f.debug_struct("Server").field("router", router).field("tls", tls).field("options", options).finish()
    }
}
