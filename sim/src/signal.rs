//! Ways to wait for something that wake whoever waits in the order in which they began to wait.
//!
//! `tokio::sync::watch` would do but for one thing: it wakes its receivers in a random order.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A counter that others wait for to grow; clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signal {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    count: AtomicU64,
    notify: Notify,
}

impl Signal {
    /// Lets the counter grow.
    pub(crate) fn raise(&self) {
        self.inner.count.fetch_add(1, Ordering::AcqRel);
        self.inner.notify.notify_waiters();
    }

    /// Whether it has ever grown.
    pub(crate) fn is_raised(&self) -> bool {
        self.inner.count.load(Ordering::Acquire) > 0
    }

    /// Ends when the counter has grown for the first time.
    pub(crate) async fn first(&self) {
        let mut listener = self.listen();
        if !self.is_raised() {
            listener.raised().await;
        }
    }

    /// Waits for growth from now on.
    pub(crate) fn listen(&self) -> Listener {
        Listener { inner: Arc::clone(&self.inner), seen: self.inner.count.load(Ordering::Acquire) }
    }
}

/// Someone who waits.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: Arc<Inner>,
    seen: u64,
}

impl Listener {
    /// Ends when the counter is another than at the last time this ended, or than at the beginning.
    pub(crate) async fn raised(&mut self) {
        loop {
            // `notify_waiters` reaches a `Notified` from the moment it is made: nothing is lost in between.
            let notified = self.inner.notify.notified();
            let count = self.inner.count.load(Ordering::Acquire);
            if count != self.seen {
                self.seen = count;
                return;
            }
            notified.await;
        }
    }
}

/// A value that is set once; clones share it.
#[derive(Debug)]
pub(crate) struct Once<T> {
    value: Arc<Mutex<Option<T>>>,
    set: Signal,
}

impl<T: Clone> Once<T> {
    /// Sets the value.
    pub(crate) fn set(&self, value: T) {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.set.raise();
    }

    /// The value, if it is set.
    pub(crate) fn get(&self) -> Option<T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value, once it is set.
    pub(crate) async fn wait(&self) -> T {
        self.set.first().await;
        self.get().expect("the value is set before the signal is raised")
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self { value: Arc::default(), set: Signal::default() }
    }
}

impl<T> Clone for Once<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), set: self.set.clone() }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn a_listener_hears_what_came_before_it_waited_and_hears_it_once() {
        let signal = Signal::default();
        let mut listener = signal.listen();
        assert!(poll!(pin!(listener.raised())).is_pending());
        signal.raise();
        signal.raise();
        listener.raised().await;
        assert!(poll!(pin!(listener.raised())).is_pending());
        assert!(poll!(pin!(signal.listen().raised())).is_pending());
    }
}
