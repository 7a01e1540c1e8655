//! A value that is set once and that many can wait for.
//!
//! Waiters wake in the order in which they began to wait. (`tokio::sync::watch` draws that order from its own entropy
//! when several receivers wait.)

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
pub(crate) struct Latch<T> {
    value: Mutex<Option<T>>,
    set: Notify,
}

impl<T> Default for Latch<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), set: Notify::new() }
    }
}

impl<T: Clone> Latch<T> {
    /// Sets the value; the first one stays. Says whether this was the first.
    pub(crate) fn set(&self, value: T) -> bool {
        let mut current = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if current.is_some() {
            return false;
        }
        *current = Some(value);
        drop(current);
        self.set.notify_waiters();
        true
    }

    pub(crate) fn get(&self) -> Option<T> {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value, once it is set.
    pub(crate) async fn wait(&self) -> T {
        let set = self.set.notified();
        let mut set = std::pin::pin!(set);
        // From here on no call of `set` is missed, so that looking comes second.
        set.as_mut().enable();
        match self.get() {
            Some(value) => value,
            None => {
                set.await;
                self.get().expect("waiters are notified after the value is set, and it stays")
            }
        }
    }
}
