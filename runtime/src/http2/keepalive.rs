//! Pings that find out whether the peer is still there (gRFC A8).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep_until};

/// When to send pings, and how long to wait for their answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// The time without anything from the peer after which a ping is sent.
    pub interval: Duration,
    /// The time without an answer after which the connection is given up.
    pub timeout: Duration,
    /// Whether to ping while no call is in flight.
    pub while_idle: bool,
}

/// What is told of a connection whose peer did not answer.
pub(crate) const UNANSWERED: &str = "keepalive ping failed to receive ACK within timeout";

/// When the peer was last heard of.
#[derive(Clone, Debug)]
pub(crate) struct Heard(Arc<Mutex<Instant>>);

impl Heard {
    /// Just now, for the first time.
    pub(crate) fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    /// Something came.
    pub(crate) fn again(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn last(&self) -> Instant {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends the pings of one connection; to be polled whenever the connection is, and before it.
pub(crate) struct Pinger {
    keepalive: Keepalive,
    pings: PingPong,
    heard: Heard,
    state: State,
    sleep: Pin<Box<Sleep>>,
}

enum State {
    /// Nobody would miss the peer.
    Dormant,
    /// The peer may be silent until `sleep` is over.
    Listening,
    /// A ping is on its way, and `sleep` gives it time.
    Pinged,
}

impl Pinger {
    pub(crate) fn new(keepalive: Keepalive, pings: PingPong, heard: Heard) -> Self {
        let sleep = Box::pin(sleep_until(heard.last() + keepalive.interval));
        Self { keepalive, pings, heard, state: State::Dormant, sleep }
    }

    /// Ready when the peer is to be given up. `busy` says whether calls are in flight.
    pub(crate) fn poll_lost(&mut self, cx: &mut Context<'_>, busy: bool) -> Poll<()> {
        let Keepalive { interval, timeout, while_idle } = self.keepalive;
        loop {
            match self.state {
                State::Dormant if busy || while_idle => {
                    self.listen_until(self.heard.last() + interval);
                }
                State::Dormant => return Poll::Pending,
                State::Listening => {
                    ready!(self.sleep.as_mut().poll(cx));
                    let due = self.heard.last() + interval;
                    if due > Instant::now() {
                        self.listen_until(due);
                    } else if !busy && !while_idle {
                        self.state = State::Dormant;
                    } else if self.pings.send_ping(Ping::opaque()).is_ok() {
                        self.state = State::Pinged;
                        self.sleep.as_mut().reset(Instant::now() + timeout);
                    } else {
                        // The connection is about to end by itself.
                        return Poll::Pending;
                    }
                }
                State::Pinged => {
                    if self.pings.poll_pong(cx).is_ready() {
                        self.listen_until(Instant::now() + interval);
                        continue;
                    }
                    ready!(self.sleep.as_mut().poll(cx));
                    // Whatever came since is a sign of life.
                    let patience = self.heard.last() + timeout;
                    if patience <= Instant::now() {
                        return Poll::Ready(());
                    }
                    self.sleep.as_mut().reset(patience);
                }
            }
        }
    }

    fn listen_until(&mut self, due: Instant) {
        self.state = State::Listening;
        self.sleep.as_mut().reset(due);
    }
}
