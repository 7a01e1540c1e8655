//! A value of which only the latest state counts, and readers who wait for it to change.
//!
//! Readers wake in the order in which they began to wait. (`tokio::sync::watch` draws that order from its own entropy
//! when several readers wait.)
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use hermesh_runtime::latest::Latest;
//!
//! let temperature = Latest::new(20);
//! let mut reader = temperature.reader();
//! temperature.replace(21);
//! temperature.replace(22);
//! reader.changed().await; // once for both
//! assert_eq!(reader.look(|degrees| *degrees), 22);
//! # });
//! ```

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The writing end; clones share the value.
#[derive(Debug)]
pub struct Latest<T> {
    shared: Arc<Shared<T>>,
}

/// A reading end.
#[derive(Debug)]
pub struct Reader<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<T> {
    version: u64,
    value: T,
}

impl<T> Latest<T> {
    /// Starts with `value`.
    #[must_use]
    pub fn new(value: T) -> Self {
        let state = Mutex::new(State { version: 0, value });
        Self { shared: Arc::new(Shared { state, changed: Notify::new() }) }
    }

    /// Puts `value` in the place of what was there, and wakes all readers.
    pub fn replace(&self, value: T) {
        self.modify(|current| *current = value);
    }

    /// Changes the value in place, and wakes all readers. `change` must not look at this value by another way.
    pub fn modify<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let answer = {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.version += 1;
            change(&mut state.value)
        };
        self.shared.changed.notify_waiters();
        answer
    }

    /// Looks at the value as it is now.
    pub fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).value)
    }

    /// A reader that has seen the value as it is now.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        let seen = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).version;
        Reader { shared: Arc::clone(&self.shared), seen }
    }
}

impl<T> Reader<T> {
    /// Looks at the value, which counts as seen then.
    pub fn look<R>(&mut self, look: impl FnOnce(&T) -> R) -> R {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.seen = state.version;
        look(&state.value)
    }

    /// Looks at the value without counting it as seen.
    pub fn peek<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).value)
    }

    /// Ends when the value is another than the one seen last, and counts that as seen.
    pub async fn changed(&mut self) {
        loop {
            // `notify_waiters` reaches a `Notified` from the moment it is made: nothing is lost in between.
            let notified = self.shared.changed.notified();
            let version = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).version;
            if version != self.seen {
                self.seen = version;
                return;
            }
            notified.await;
        }
    }
}

impl<T> Clone for Latest<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Clone for Reader<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Wake, Waker};

    use super::*;

    struct Turn(usize, Arc<Mutex<Vec<usize>>>);

    impl Wake for Turn {
        fn wake(self: Arc<Self>) {
            self.1.lock().unwrap().push(self.0);
        }
    }

    #[test]
    fn readers_wake_in_the_order_in_which_they_began_to_wait() {
        let latest = Latest::new(0);
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut readers: Vec<Reader<i32>> = (0..50).map(|_| latest.reader()).collect();
        let mut waits: Vec<_> = readers.iter_mut().map(|reader| Box::pin(reader.changed())).collect();
        for (number, wait) in waits.iter_mut().enumerate() {
            let waker = Waker::from(Arc::new(Turn(number, Arc::clone(&order))));
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
        latest.replace(1);
        assert_eq!(*order.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_change_before_the_wait_is_not_lost_and_counts_once() {
        let latest = Latest::new(0);
        let mut reader = latest.reader();
        latest.modify(|value| *value += 1);
        latest.modify(|value| *value += 1);
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(reader.changed()).poll(&mut context).is_ready());
        assert_eq!(reader.look(|value| *value), 2);
        assert!(pin!(reader.changed()).poll(&mut context).is_pending());
    }

    #[test]
    fn a_peek_leaves_the_change_to_be_waited_for() {
        let latest = Latest::new(0);
        let mut reader = latest.reader();
        latest.replace(1);
        assert_eq!((reader.peek(|value| *value), latest.look(|value| *value)), (1, 1));
        assert!(pin!(reader.changed()).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    }
}
