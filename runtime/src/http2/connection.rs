//! An established connection: its calls and its end.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use tonic::Status;
use tonic::body::Body;

use super::failure;
use crate::latch::Latch;
use crate::tls::PeerCertificate;
use crate::{Address, EventId, Trail};

/// A connection that can take calls, as many at once as the server allows; more wait. Cheap to clone. When the last
/// clone is dropped, it closes as soon as no call is in flight.
#[derive(Clone)]
pub struct Connection {
    send: SendRequest<Body>,
    about: Arc<About>,
}

struct About {
    signals: Arc<Signals>,
    peer: Option<Arc<PeerCertificate>>,
    local: Address,
    remote: Address,
    event: Option<EventId>,
    trail: Trail,
}

impl Connection {
    /// Sends a request and waits for the response's head. The request's URI needs scheme and authority. Dropping the
    /// future resets the stream; so does dropping the response's body.
    ///
    /// # Errors
    /// [`CallError::Unsent`] hands the request back. Errors of the response's body are [`Status`]es as well.
    pub fn call(
        &self,
        request: http::Request<Body>,
    ) -> impl Future<Output = Result<http::Response<Body>, CallError>> + Send + use<> {
        let Self { mut send, about } = self.clone();
        async move {
            if let Some(reason) = about.signals.ended.get() {
                return Err(CallError::unsent(request, reason.status()));
            }
            let response = send.try_send_request(request);
            // What is in flight shall not keep the connection from closing after it.
            drop(send);
            match response.await {
                Ok(response) => Ok(response.map(|body| receive(body, Arc::clone(&about.signals)))),
                Err(mut error) => {
                    let request = error.take_message();
                    let signals = &about.signals;
                    match request {
                        Some(request) => Err(CallError::unsent(request, signals.status(error.error()))),
                        None if failure::is_refusal(error.error()) => {
                            Err(CallError::Refused(signals.status(error.error())))
                        }
                        None => Err(CallError::Failed(signals.status(error.error()))),
                    }
                }
            }
        }
    }

    /// Whether new calls are pointless: a GOAWAY came, or the connection is lost.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.about.signals.ended.get().is_some()
    }

    /// Who the peer is, by its certificate.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&PeerCertificate> {
        self.about.peer.as_deref()
    }

    /// Our end.
    #[must_use]
    pub fn local_address(&self) -> &Address {
        &self.about.local
    }

    /// The peer's end.
    #[must_use]
    pub fn peer_address(&self) -> &Address {
        &self.about.remote
    }

    /// The [`ConnectionReady`](super::ConnectionReady) event, a cause for what follows.
    #[must_use]
    pub fn event(&self) -> Option<EventId> {
        self.about.event
    }

    /// What the trace knows of the connection.
    #[must_use]
    pub fn trail(&self) -> &Trail {
        &self.about.trail
    }

    /// The event behind what goes wrong with the connection: what ended it or holds it up, else what the server has
    /// told of it, else [`event`](Self::event).
    #[must_use]
    pub fn trouble(&self) -> Option<EventId> {
        let trail = &self.about.trail;
        trail.trouble().or_else(|| trail.told()).or(self.about.event)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let About { local, remote, .. } = &*self.about;
        write!(f, "Connection({local} -> {remote})")
    }
}

/// Why a call has no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The request never reached the wire: it may be sent elsewhere without any harm.
    #[error("{status}")]
    Unsent {
        /// The request, untouched.
        request: Box<http::Request<Body>>,
        /// What to tell if there is no elsewhere.
        status: Status,
    },
    /// The server said that it did not look at the request (REFUSED_STREAM, or a GOAWAY for earlier streams): who
    /// kept a copy of the request's body may send it again.
    #[error("{0}")]
    Refused(Status),
    /// Anything may have happened at the server. A lost connection is UNAVAILABLE.
    #[error("{0}")]
    Failed(Status),
}

impl CallError {
    /// What to tell the caller.
    #[must_use]
    pub fn into_status(self) -> Status {
        match self {
            Self::Unsent { status, .. } | Self::Refused(status) | Self::Failed(status) => status,
        }
    }

    fn unsent(request: http::Request<Body>, status: Status) -> Self {
        Self::Unsent { request: Box::new(request), status }
    }
}

/// Ends when the connection takes no more calls: a GOAWAY came, or it closed. Dropping it is harmless.
pub struct Closed(BoxFuture<'static, CloseReason>);

impl Future for Closed {
    type Output = CloseReason;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CloseReason> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

/// Why a connection takes no more calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The server will close it once the calls in flight are done.
    GoAway,
    /// It is gone, and the calls in flight have failed: `EOF`, `connection reset by peer`, or the like.
    Closed(String),
}

impl CloseReason {
    pub(super) fn text(&self) -> String {
        match self {
            Self::GoAway => "the server sent GOAWAY".to_owned(),
            Self::Closed(text) => text.clone(),
        }
    }

    fn status(&self) -> Status {
        match self {
            Self::GoAway => Status::unavailable("the connection is draining"),
            Self::Closed(text) => failure::lost(text),
        }
    }
}

/// What the tap and the tasks of a connection tell the rest.
#[derive(Default)]
pub(super) struct Signals {
    pub(super) settings: Latch<()>,
    pub(super) ended: Latch<CloseReason>,
    /// The socket is closed.
    pub(super) gone: Latch<()>,
    spoke: AtomicBool,
    foreign: AtomicBool,
}

impl Signals {
    /// The peer sent a byte that is neither TLS nor the end.
    pub(super) fn note_peer_spoke(&self) {
        self.spoke.store(true, Ordering::Relaxed);
    }

    /// What the peer sent is not HTTP/2.
    pub(super) fn note_foreign(&self) {
        self.foreign.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.foreign.load(Ordering::Relaxed)
    }

    pub(super) fn peer_spoke(&self) -> bool {
        self.spoke.load(Ordering::Relaxed)
    }

    /// Says why the connection is lost. The tap knows better than `error`, which may be its echo.
    pub(super) fn lost(&self, error: &(dyn Error + 'static)) -> String {
        self.ended.set(CloseReason::Closed(failure::text(error)));
        self.ended.get().map(|reason| reason.text()).unwrap_or_default()
    }

    /// Drives the connection to its end and notes that end.
    pub(super) async fn watch(self: Arc<Self>, dispatch: impl Future<Output = hyper::Result<()>>) {
        match dispatch.await {
            Err(error) => drop(self.lost(&error)),
            // The last clone was dropped; calls may still be in flight.
            Ok(()) => {
                self.gone.wait().await;
                self.ended.set(CloseReason::Closed("closed by this side".to_owned()));
            }
        }
    }

    fn status(&self, error: &(dyn Error + 'static)) -> Status {
        failure::status(error, || match self.ended.get() {
            Some(CloseReason::Closed(text)) => Some(text),
            _ => None,
        })
    }
}

/// What an attempt has made; it becomes a [`Connection`] once its event has a number.
pub(super) struct Established {
    pub(super) send: SendRequest<Body>,
    pub(super) signals: Arc<Signals>,
    pub(super) peer: Option<Arc<PeerCertificate>>,
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) trail: Trail,
}

impl Established {
    pub(super) fn finish(self, event: Option<EventId>) -> (Connection, Closed) {
        let Self { send, signals, peer, local, remote, trail } = self;
        let ended = Arc::clone(&signals);
        let closed = Closed(Box::pin(async move { ended.ended.wait().await }));
        (Connection { send, about: Arc::new(About { signals, peer, local, remote, event, trail }) }, closed)
    }
}

fn receive(body: Incoming, signals: Arc<Signals>) -> Body {
    Body::new(body.map_err(move |error| signals.status(&error)))
}
