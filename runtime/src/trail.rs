//! What the trace knows of a connection: why it was wanted, which event it began with, and which troubles it now.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::EventId;

/// The events behind a connection. Clones tell of the same connection, also after its streams are gone; where nothing
/// is recorded, it stays empty.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    cause: Option<EventId>,
    events: Arc<Events>,
}

/// Sequence numbers; 0 is none.
#[derive(Debug, Default)]
struct Events {
    opened: AtomicU64,
    trouble: AtomicU64,
    told: AtomicU64,
    denied: AtomicU64,
}

impl Trail {
    /// The trail of a connection that is wanted because of `cause`.
    #[must_use]
    pub fn because(cause: Option<EventId>) -> Self {
        Self { cause, events: Arc::default() }
    }

    /// Why the connection is wanted.
    #[must_use]
    pub fn cause(&self) -> Option<EventId> {
        self.cause
    }

    /// The event that recorded the connection's beginning.
    #[must_use]
    pub fn opened(&self) -> Option<EventId> {
        event(&self.events.opened)
    }

    /// The event that ended the connection, holds its data up, or kept it from coming about.
    #[must_use]
    pub fn trouble(&self) -> Option<EventId> {
        event(&self.events.trouble)
    }

    /// The event behind what the server last did to a stream on this connection, such as ending it.
    #[must_use]
    pub fn told(&self) -> Option<EventId> {
        event(&self.events.told)
    }

    /// For servers: notes the event that explains what the client is about to learn on this connection.
    pub fn set_told(&self, event: Option<EventId>) {
        self.events.told.store(event.map_or(0, EventId::seq), Relaxed);
    }

    /// The event of the last call on this connection that the server's policies did not let in.
    #[must_use]
    pub fn denied(&self) -> Option<EventId> {
        event(&self.events.denied)
    }

    /// For servers: notes that a call was not let in.
    pub fn set_denied(&self, event: Option<EventId>) {
        self.events.denied.store(event.map_or(0, EventId::seq), Relaxed);
    }

    /// For backends: notes the event of the connection's beginning.
    pub fn set_opened(&self, event: Option<EventId>) {
        self.events.opened.store(event.map_or(0, EventId::seq), Relaxed);
    }

    /// For backends: notes what troubles the connection from now on.
    pub fn set_trouble(&self, event: Option<EventId>) {
        self.events.trouble.store(event.map_or(0, EventId::seq), Relaxed);
    }
}

fn event(seq: &AtomicU64) -> Option<EventId> {
    NonZeroU64::new(seq.load(Relaxed)).map(EventId::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_learn_of_trouble_and_of_its_end() {
        let [first, second] = [1, 2].map(|seq| NonZeroU64::new(seq).map(EventId::new));
        let trail = Trail::because(first);
        let clone = trail.clone();
        trail.set_trouble(second);
        assert_eq!((clone.cause(), clone.opened(), clone.trouble()), (first, None, second));
        trail.set_trouble(None);
        assert_eq!(clone.trouble(), None);
        clone.set_told(first);
        assert_eq!((trail.told(), trail.trouble()), (first, None));
        clone.set_denied(second);
        assert_eq!((trail.denied(), trail.told(), trail.trouble()), (second, first, None));
    }
}
