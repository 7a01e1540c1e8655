//! As many calls at once as the server allows (RFC 9113, 5.1.2); the rest wait in line.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places for calls on one connection.
pub(super) struct Slots {
    free: Arc<Semaphore>,
    /// How many there are.
    limit: Mutex<usize>,
}

impl Slots {
    pub(super) fn new() -> Self {
        Self { free: Arc::new(Semaphore::new(0)), limit: Mutex::new(0) }
    }

    /// Takes a place, of which the server allows `limit` just now.
    pub(super) async fn take(&self, limit: usize) -> OwnedSemaphorePermit {
        self.adjust(limit);
        Arc::clone(&self.free).acquire_owned().await.expect("it is never closed")
    }

    /// Fewer places than calls in flight take effect as these end and others begin.
    fn adjust(&self, limit: usize) {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let mut current = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if limit > *current {
            self.free.add_permits(limit - *current);
            *current = limit;
        } else if limit < *current {
            *current -= self.free.forget_permits(*current - limit);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn places_come_and_go_with_the_limit() {
        let slots = Slots::new();
        let take = |limit| slots.take(limit).now_or_never();
        let (first, second) = (take(2), take(2));
        assert!(first.is_some() && second.is_some() && take(2).is_none());
        let third = take(3).expect("the server allows one more");
        assert!(take(1).is_none());
        drop((first, third));
        assert!(take(1).is_none(), "one is still taken, and that is all there may be");
        drop(second);
        assert!(take(1).is_some());
    }
}
