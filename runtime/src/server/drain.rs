//! Telling connections to finish, and knowing when they have.

use std::sync::Arc;

use crate::latch::Latch;

/// A handle that tells, and what connections hold to be told.
#[must_use]
pub fn drain() -> (DrainHandle, Drain) {
    let signals = Arc::<Signals>::default();
    let held = Arc::new(Held(Arc::clone(&signals)));
    (DrainHandle(Arc::clone(&signals)), Drain { signals, _held: Some(held) })
}

/// Tells all holders of its [`Drain`] to finish. Dropping it tells nothing.
#[derive(Clone, Debug)]
pub struct DrainHandle(Arc<Signals>);

impl DrainHandle {
    /// From now on the connections that hold the [`Drain`] send GOAWAY; calls in flight go on to their end.
    pub fn drain(&self) {
        self.0.told.set(());
    }

    /// Ends when no clone of the [`Drain`] is left.
    pub async fn finished(&self) {
        self.0.dropped.wait().await;
    }
}

/// What a connection holds for as long as it lives.
#[derive(Clone, Debug)]
pub struct Drain {
    signals: Arc<Signals>,
    _held: Option<Arc<Held>>,
}

impl Drain {
    /// One that is never told.
    #[must_use]
    pub fn never() -> Self {
        Self { signals: Arc::default(), _held: None }
    }

    /// Ends when told to drain.
    pub async fn wait(&self) {
        self.signals.told.wait().await;
    }

    /// Whether it was told.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.signals.told.get().is_some()
    }
}

#[derive(Debug, Default)]
struct Signals {
    told: Latch<()>,
    dropped: Latch<()>,
}

#[derive(Debug)]
struct Held(Arc<Signals>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dropped.set(());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn everyone_is_told_and_the_last_one_is_noticed() {
        let (handle, first) = drain();
        let second = first.clone();
        assert!(!second.is_told());
        handle.drain();
        first.wait().await;
        second.wait().await;
        drop(first);
        assert!(handle.finished().now_or_never().is_none());
        drop(second);
        handle.finished().await;
    }

    #[tokio::test]
    async fn a_dropped_handle_tells_nothing() {
        let (handle, drain) = drain();
        drop(handle);
        assert!(drain.wait().now_or_never().is_none());
        assert!(Drain::never().wait().now_or_never().is_none());
    }
}
