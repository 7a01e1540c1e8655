//! An established connection and its calls.

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use futures::future::FutureExt as _;
use h2::client::SendRequest;
use http_body::Body as _;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;
use tonic::body::Body;

use super::failure;
use super::headers::strip_connection_headers;
use super::pump::Pump;
use super::received::Received;
use super::signals::{Closed, InFlight, Signals, Unused};
use super::slots::Slots;
use crate::tls::PeerCertificate;
use crate::{Address, EventId, Runtime, TaskGuard, Trail};

/// A connection that can take calls, as many at once as the server allows; more wait. Cheap to clone. When the last
/// clone is dropped, it closes as soon as no call is in flight.
#[derive(Clone)]
pub struct Connection {
    about: Arc<About>,
}

struct About {
    rt: Runtime,
    send: SendRequest<Bytes>,
    slots: Slots,
    /// Comes after `send`, so that it is dropped after it.
    _unused: Unused,
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
        // What is in flight shall not keep the connection from closing after it.
        let Self { about } = self.clone();
        async move {
            let signals = Arc::clone(&about.signals);
            let in_flight = InFlight::new(&signals);
            let (response, sending) = about.send(request).await?;
            match response.await {
                Ok(response) => Ok(response.map(|body| {
                    let status = move |error: &h2::Error| {
                        // RFC 9113, 8.1: who has answered may ask by a reset without error for no more of the request.
                        let is_over = error.is_reset() && error.reason() == Some(h2::Reason::NO_ERROR);
                        (!is_over).then(|| signals.status(error))
                    };
                    Body::new(Received::new(body, status, (in_flight, sending)))
                })),
                Err(error) if failure::is_refusal(&error) => Err(CallError::Refused(signals.status(&error))),
                Err(error) => Err(CallError::Failed(signals.status(&error))),
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
    /// The request never reached the wire, and the connection takes no more of them: it may be sent elsewhere without
    /// any harm.
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

impl About {
    /// Sends a request as soon as the server allows one more, and of its body what is there. The rest goes its own way
    /// until the guard is dropped.
    async fn send(
        self: Arc<Self>,
        request: http::Request<Body>,
    ) -> Result<(h2::client::ResponseFuture, Sending), CallError> {
        let slot = tokio::select! {
            biased;
            reason = self.signals.ended.wait() => return Err(CallError::unsent(request, reason.status())),
            slot = self.slots.take(self.send.current_max_send_streams()) => slot,
        };
        // A clone of its own, or h2 would keep a stream that waits to be opened although nobody wants it any more.
        let mut send = self.send.clone();
        if let Err(error) = poll_fn(|cx| send.poll_ready(cx)).await {
            return Err(CallError::unsent(request, self.signals.broken(&error)));
        }
        let (mut head, body) = request.into_parts();
        let extensions = std::mem::take(&mut head.extensions);
        head.version = http::Version::HTTP_2;
        strip_connection_headers(&mut head.headers);
        let is_last = body.is_end_stream();
        let (response, stream) = match send.send_request(http::Request::from_parts(head.clone(), ()), is_last) {
            Ok(sent) => sent,
            Err(error) if error.is_io() || error.is_go_away() || error.is_reset() => {
                head.extensions = extensions;
                let request = http::Request::from_parts(head, body);
                return Err(CallError::unsent(request, self.signals.broken(&error)));
            }
            // The request is not one, wherever it is sent.
            Err(error) => return Err(CallError::Failed(Status::internal(error.to_string()))),
        };
        drop(send);
        if is_last {
            return Ok((response, Sending { _slot: slot, _rest: None }));
        }
        let mut pump = Pump::new(body, stream);
        let rest = poll_fn(|cx| Poll::Ready(pump.poll_unpin(cx))).await;
        let rest = rest.is_pending().then(|| self.rt.spawn("http2 request", pump).abort_on_drop());
        Ok((response, Sending { _slot: slot, _rest: rest }))
    }
}

/// What a call holds until it is over.
struct Sending {
    /// The rest of its body, which goes no further.
    _rest: Option<TaskGuard>,
    /// Its place, for the next.
    _slot: OwnedSemaphorePermit,
}

/// What an attempt has made; it becomes a [`Connection`] once its event has a number.
pub(super) struct Established {
    pub(super) rt: Runtime,
    pub(super) send: SendRequest<Bytes>,
    pub(super) signals: Arc<Signals>,
    pub(super) peer: Option<Arc<PeerCertificate>>,
    pub(super) local: Address,
    pub(super) remote: Address,
    pub(super) trail: Trail,
}

impl Established {
    pub(super) fn finish(self, event: Option<EventId>) -> (Connection, Closed) {
        let Self { rt, send, signals, peer, local, remote, trail } = self;
        let ended = Arc::clone(&signals);
        let closed = Closed(Box::pin(async move { ended.ended.wait().await }));
        let (slots, unused) = (Slots::new(), Unused(Arc::clone(&signals)));
        let about = About { rt, send, slots, _unused: unused, signals, peer, local, remote, event, trail };
        (Connection { about: Arc::new(about) }, closed)
    }
}
