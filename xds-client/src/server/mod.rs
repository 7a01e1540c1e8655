//! [`XdsServer`]: a gRPC server whose listeners, transport security and routes come from a control plane (gRFC A36).
//!
//! A listening socket is NOT_SERVING until the control plane has told of it: connections are accepted and closed at
//! once, so that clients see a reset and no hang. Once SERVING, each connection takes the filter chain that its
//! addresses select. A changed listener counts for new connections; old ones get GOAWAY, and their RPCs finish.
//! Certificates that are renewed in their files change nothing but the handshakes to come.

mod authorization;
mod filter_chain;
mod listener;
mod service;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use hermesh_runtime::http2::Keepalive;
use hermesh_runtime::server::{Drain, Routed, Router, ServeOptions};
use hermesh_runtime::{Address, Listener, Runtime};
use serde::Serialize;
use tonic::body::Body;
use tonic::codegen::StdError;
use tower_layer::Layer;
use tower_service::Service;

use crate::bootstrap::BootstrapError;
use crate::client::{SERVER_KEY, XdsClientPool};
use crate::credentials::ServerCredentials;
pub use authorization::{RpcAllowed, RpcAudited, RpcDenied};
pub use filter_chain::find_filter_chain;
pub use listener::{AppliedChains, ConnectionTurnedAway, ListenerApplied, ServingModeChanged};
use listener::{ListenerTask, OnServingMode};

/// Whether a listening socket serves (gRFC A36).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ServingMode {
    /// Connections are served.
    Serving,
    /// Connections are closed as soon as they are accepted. Holds the reason.
    NotServing(String),
}

/// A gRPC server that a control plane configures.
///
/// ```no_run
/// # async fn example<S>(svc: S) -> Result<(), hermesh_xds::XdsServerError>
/// # where S: tower_service::Service<http::Request<tonic::body::Body>, Response = http::Response<tonic::body::Body>,
/// #     Error = std::convert::Infallible> + tonic::server::NamedService + Clone + Send + Sync + 'static,
/// #     S::Future: Send + 'static {
/// use hermesh_xds::{ServerCredentials, XdsServer};
///
/// let rt = hermesh_runtime::os::runtime();
/// XdsServer::new(&rt)
///     .credentials(ServerCredentials::xds_with_fallback())
///     .add_service(svc)
///     .serve("0.0.0.0:7070".parse().expect("an address"))
///     .await
/// # }
/// ```
#[derive(Clone)]
pub struct XdsServer {
    rt: Runtime,
    pool: XdsClientPool,
    credentials: ServerCredentials,
    router: Router,
    options: ServeOptions,
    on_serving_mode: OnServingMode,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum XdsServerError {
    /// There is no usable bootstrap.
    #[error("xDS client creation failed: {0}")]
    Bootstrap(#[from] BootstrapError),
    /// The bootstrap does not say what a server's listener is called.
    #[error("missing server_listener_resource_name_template in the bootstrap configuration; a server needs it")]
    NoTemplate,
    /// The address cannot be listened on, or the listening socket failed.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: Address,
        /// What the kernel says.
        error: io::Error,
    },
    /// The socket is none that a control plane could name.
    #[error("xds: XdsServer expects a listener with a TCP address, got {0}")]
    NotTcp(Address),
}

impl XdsServer {
    /// A server of nothing, with xDS credentials that fall back to plaintext.
    #[must_use]
    pub fn new(rt: &Runtime) -> Self {
        Self {
            rt: rt.clone(),
            pool: XdsClientPool::new(rt),
            credentials: ServerCredentials::xds_with_fallback(),
            router: Router::new(),
            options: ServeOptions::default(),
            on_serving_mode: Arc::new(|_, _| {}),
        }
    }

    /// Shares the servers' xDS client of `pool`.
    #[must_use]
    pub fn pool(self, pool: &XdsClientPool) -> Self {
        Self { pool: pool.clone(), ..self }
    }

    /// How connections are secured.
    #[must_use]
    pub fn credentials(self, credentials: ServerCredentials) -> Self {
        Self { credentials, ..self }
    }

    /// Serves a service that tonic generated, also `with_interceptor` or in a layer of its own; see
    /// [`Router::add_service`].
    #[must_use]
    pub fn add_service<S, B>(self, service: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
            + tonic::server::NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self { router: self.router.add_service(service), ..self }
    }

    /// Puts each of the services added so far into `layer`; see [`Router::layer`]. It sees the RPCs that the control
    /// plane's configuration admits.
    #[must_use]
    pub fn layer<L, B>(self, layer: L) -> Self
    where
        L: Layer<Routed>,
        L::Service: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <L::Service as Service<http::Request<Body>>>::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        Self { router: self.router.layer(layer), ..self }
    }

    /// Serves all services of `router` instead of those added so far.
    #[must_use]
    pub fn router(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// Pings clients.
    #[must_use]
    pub fn keepalive(mut self, keepalive: Keepalive) -> Self {
        self.options.keepalive = Some(keepalive);
        self
    }

    /// Calls `f` when a listening socket begins to serve, and whenever it is told why it does not. Calls never overlap;
    /// SERVING is told once at a time. The next response of the control plane waits until `f` returns (gRFC A27's flow
    /// control), and so do new connections: what takes long belongs into a task.
    #[must_use]
    pub fn on_serving_mode(self, f: impl Fn(SocketAddr, &ServingMode) + Send + Sync + 'static) -> Self {
        Self { on_serving_mode: Arc::new(f), ..self }
    }

    /// Serves on `address` until the listening socket fails. The control plane may be out of reach: that is told by
    /// the serving mode. Dropping the future closes the socket and leaves the connections to themselves.
    ///
    /// # Errors
    /// If the bootstrap or the address is unusable.
    pub async fn serve(self, address: SocketAddr) -> Result<(), XdsServerError> {
        self.serve_until(address, Drain::never()).await
    }

    /// Serves on `address` until told to drain; then RPCs in flight finish, and no new ones are taken.
    ///
    /// # Errors
    /// As for [`serve`](Self::serve).
    pub async fn serve_until(self, address: SocketAddr, drain: Drain) -> Result<(), XdsServerError> {
        let listener = self.rt.listen(address.into()).await;
        let listener = listener.map_err(|error| XdsServerError::Listen { address: address.into(), error })?;
        self.serve_on(listener, drain).await
    }

    /// Serves on a socket that listens already.
    ///
    /// # Errors
    /// As for [`serve`](Self::serve), and if it is no TCP socket.
    pub async fn serve_on(self, listener: Box<dyn Listener>, drain: Drain) -> Result<(), XdsServerError> {
        let bootstrap = self.pool.bootstrap().await?;
        let Address::Tcp(address) = listener.local_address() else {
            return Err(XdsServerError::NotTcp(listener.local_address()));
        };
        let name = bootstrap.server_listener_name(&address.to_string()).ok_or(XdsServerError::NoTemplate)?;
        let client = self.pool.client(SERVER_KEY, &bootstrap);
        let error = ListenerTask::new(self, client, address, name).run(listener, drain).await;
        error.map_err(|error| XdsServerError::Listen { address: address.into(), error })
    }
}

impl fmt::Debug for XdsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("XdsServer").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}
