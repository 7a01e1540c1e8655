//! What a connection's task and its tap tell its calls, and how it ends.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Status;

use super::failure;
use super::keepalive::{Pinger, UNANSWERED};
use crate::latch::Latch;

/// Ends when the connection takes no more calls: a GOAWAY came, or it closed. Dropping it is harmless.
pub struct Closed(pub(super) BoxFuture<'static, CloseReason>);

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

    pub(super) fn status(&self) -> Status {
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
    spoke: AtomicBool,
    foreign: AtomicBool,
    in_flight: AtomicUsize,
    /// Who drives the connection.
    unused: AtomicWaker,
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

    /// Whether calls are in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    /// Drives the connection to its end and notes that end.
    pub(super) async fn watch<S>(
        self: Arc<Self>,
        mut connection: h2::client::Connection<S, Bytes>,
        mut pinger: Option<Pinger>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ended = poll_fn(|cx| {
            self.unused.register(cx.waker());
            let mut is_lost = |cx: &mut Context<'_>| {
                pinger.as_mut().is_some_and(|pinger| pinger.poll_lost(cx, self.is_busy()).is_ready())
            };
            if is_lost(cx) {
                return Poll::Ready(Err(UNANSWERED.to_owned()));
            }
            match connection.poll_unpin(cx) {
                // For a call that has begun meanwhile.
                Poll::Pending if is_lost(cx) => Poll::Ready(Err(UNANSWERED.to_owned())),
                ended => ended.map_err(|error| failure::text(&error)),
            }
        })
        .await;
        // The tap knows better than an error, which may be its echo; and those whose calls fail when the connection is
        // dropped ask why.
        if let Err(why) = ended {
            self.ended.set(CloseReason::Closed(why));
        }
        drop(connection);
        self.ended.set(CloseReason::Closed("closed by this side".to_owned()));
    }

    /// What calls are told after h2 takes no more of them.
    pub(super) fn broken(&self, error: &h2::Error) -> Status {
        self.ended.set(CloseReason::Closed(failure::text(error)));
        self.status(error)
    }

    pub(super) fn status(&self, error: &h2::Error) -> Status {
        failure::status(error, || match self.ended.get() {
            Some(CloseReason::Closed(text)) => Some(text),
            _ => None,
        })
    }
}

/// Wakes who drives the connection when nobody can send on it any more, which h2 does not tell in every case.
pub(super) struct Unused(pub(super) Arc<Signals>);

impl Drop for Unused {
    fn drop(&mut self) {
        self.0.unused.wake();
    }
}

/// A call that is not over.
pub(super) struct InFlight(Arc<Signals>);

impl InFlight {
    pub(super) fn new(signals: &Arc<Signals>) -> Self {
        signals.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(signals))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
