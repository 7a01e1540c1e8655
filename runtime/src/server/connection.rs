//! One connection of a server, from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::authority::Authorities;
use super::idle::{Call, Calls};
use super::{ConnectionInfo, Drain, Preface, Replayed, read_preface};
use crate::http2::{Io, Keepalive, ServeSettings, Stage, serve};
use crate::tls::{self, PeerCertificate, ServerTls};
use crate::{Address, EventId, Runtime, Stream};

/// grpc-go gives a client this long for its TLS handshake and HTTP/2 preface (`ConnectionTimeout`).
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(120);

/// How to serve a connection.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// No pings if `None`. [`Keepalive::while_idle`] is always on at this end.
    pub keepalive: Option<Keepalive>,
    /// The time without a call after which GOAWAY is sent; forever if `None`.
    pub max_idle: Option<Duration>,
    /// How long the client may take for TLS and its HTTP/2 preface; 120 s unless set.
    pub handshake_deadline: Duration,
    /// How many calls may be in flight at once; any number if `None`, as in gRPC.
    pub max_concurrent_streams: Option<u32>,
    /// Why connections are served as they are: the cause of [`ConnectionRejected`], and of [`ConnectionAccepted`] where
    /// the network knows none.
    pub cause: Option<EventId>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        let handshake_deadline = HANDSHAKE_DEADLINE;
        Self { keepalive: None, max_idle: None, handshake_deadline, max_concurrent_streams: None, cause: None }
    }
}

/// How a connection ended other than well.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// It never came to calls.
    #[error("{message}")]
    #[non_exhaustive]
    Rejected {
        /// How far it came.
        stage: Stage,
        /// What happened then.
        message: String,
        /// The [`ConnectionRejected`] event.
        event: Option<EventId>,
    },
    /// It broke.
    #[error("connection lost: {0}")]
    Lost(String),
}

crate::event! {
    /// A client's connection can carry calls.
    ConnectionAccepted = "conn.accepted" {
        peer: Address,
        /// Our end.
        local: Address,
        tls: bool,
        /// Who the peer has proved to be.
        peer_spiffe: Option<String>,
    }

    /// A client's connection was given up before its first call.
    ConnectionRejected = "conn.rejected" {
        peer: Address,
        stage: Stage,
        error: String,
    }
}

/// Serves one connection until it closes: because the client closes it, because `drain` was told and the calls in
/// flight have ended, or because it breaks. Dropping the future closes it at once.
///
/// # Errors
/// If the client does not come through TLS and HTTP/2's preface, or if the connection breaks.
pub async fn serve_connection<S>(
    rt: &Runtime,
    stream: Box<dyn Stream>,
    tls: Option<&ServerTls>,
    options: &ServeOptions,
    service: S,
    drain: Drain,
) -> Result<(), ServeError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    let (local, peer, trail) = (stream.local_address(), stream.peer_address(), stream.trail());
    let (stream, certificate) = match greet(stream, tls, Instant::now() + options.handshake_deadline).await {
        Ok(greeted) => greeted,
        Err((stage, message)) => {
            let rejected = ConnectionRejected { peer, stage, error: message.clone() };
            let event = rt.emit_because(options.cause.or_else(|| trail.trouble()).or_else(|| trail.opened()), rejected);
            return Err(ServeError::Rejected { stage, message, event });
        }
    };
    let accepted = ConnectionAccepted {
        peer: peer.clone(),
        local: local.clone(),
        tls: tls.is_some(),
        peer_spiffe: certificate.as_ref().and_then(|peer| peer.spiffe_id()).map(str::to_owned),
    };
    let event = rt.emit_because(trail.opened().or(options.cause), accepted);
    let info = ConnectionInfo { local, peer, peer_certificate: certificate.map(Arc::new), event, trail };

    let calls = Calls::new();
    let finish = async {
        let idle = async {
            match options.max_idle {
                Some(limit) => calls.idle_for(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = drain.wait() => {}
            () = idle => {}
        }
    };
    let answer = |mut request: Request<Body>| {
        request.extensions_mut().insert(info.clone());
        answer(service.clone(), request, calls.begin())
    };
    let settings =
        ServeSettings { keepalive: options.keepalive, max_concurrent_streams: options.max_concurrent_streams };
    serve(rt, stream, settings, finish, answer).await.map_err(ServeError::Lost)
}

async fn answer<S>(mut service: S, request: Request<Body>, call: Call) -> Response<Counted>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
    let Ok(response) = service.call(request).await;
    response.map(|body| Counted { body, _call: call })
}

type Greeted = (Replayed<Box<dyn Io>>, Option<PeerCertificate>);

async fn greet(
    stream: Box<dyn Stream>,
    tls: Option<&ServerTls>,
    deadline: Instant,
) -> Result<Greeted, (Stage, String)> {
    let late = |what: &str| (Stage::Deadline, format!("{what}: i/o timeout"));
    let is_unix = matches!(stream.local_address(), Address::Unix(_));
    let (mut stream, certificate): (Box<dyn Io>, _) = match tls {
        None => (Box::new(stream), None),
        Some(tls) => match tokio::time::timeout_at(deadline, tls.accept(stream)).await {
            Ok(Ok((stream, certificate))) => (Box::new(stream), certificate),
            Ok(Err(error)) => {
                return Err((Stage::Tls, format!("server handshake failed: {}", tls::describe(&error))));
            }
            Err(_) => return Err(late("server handshake failed")),
        },
    };
    let refused = |why: &str| (Stage::Http2, format!("failed to receive the preface from client: {why}"));
    match tokio::time::timeout_at(deadline, read_preface(&mut stream)).await {
        Ok(Ok((Preface::Http2, head))) => {
            let stream = if is_unix { Box::new(Authorities::new(stream)) } else { stream };
            Ok((Replayed::new(head, stream), certificate))
        }
        Ok(Ok((Preface::Tls, _))) => Err(refused("it speaks TLS, and this port plain text")),
        Ok(Ok((Preface::Other, _))) => Err(refused("it does not speak HTTP/2")),
        Ok(Err(error)) => Err(refused(&tls::describe(&error))),
        Err(_) => Err(late("failed to receive the preface from client")),
    }
}

/// A response's body, which keeps its call going.
struct Counted {
    body: Body,
    _call: Call,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
