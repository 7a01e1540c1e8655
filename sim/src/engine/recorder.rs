//! The clock everything reads and the trace everything writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hermesh_runtime::{AnyEvent, Event, EventId, Level};

use crate::trace::Trace;

/// Simulated time and the trace.
pub(super) struct Recorder {
    now: AtomicU64,
    open: AtomicBool,
    level: Level,
    trace: Mutex<Trace>,
    /// By message that is under way, the event that recorded its sending. Those lost with their connection stay.
    sent: Mutex<BTreeMap<String, EventId>>,
}

impl Recorder {
    pub(super) fn new(trace: Trace, level: Level) -> Self {
        Self {
            now: AtomicU64::new(0),
            open: AtomicBool::new(true),
            level,
            trace: Mutex::new(trace),
            sent: Mutex::default(),
        }
    }

    /// Simulated time in nanoseconds.
    pub(super) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    pub(super) fn set_now(&self, now: u64) {
        self.now.store(now, Relaxed);
    }

    pub(super) fn records(&self, level: Level) -> bool {
        level <= self.level && self.open.load(Relaxed)
    }

    pub(super) fn emit<E: Event>(&self, at: &Arc<str>, cause: Option<EventId>, event: E) -> Option<EventId> {
        if !self.records(E::LEVEL) {
            return None;
        }
        self.emit_any(at, cause, Arc::new(event))
    }

    pub(super) fn emit_any(&self, at: &Arc<str>, cause: Option<EventId>, event: Arc<dyn AnyEvent>) -> Option<EventId> {
        if !self.records(event.level()) {
            return None;
        }
        self.trace().record(Duration::from_nanos(self.now()), at, cause, event)
    }

    /// See [`hermesh_runtime::Runtime::sent`].
    pub(super) fn sent(&self, message: &str, event: EventId) {
        self.sent.lock().expect(UNPOISONED).insert(message.to_owned(), event);
    }

    /// See [`hermesh_runtime::Runtime::received`].
    pub(super) fn received(&self, message: &str) -> Option<EventId> {
        self.sent.lock().expect(UNPOISONED).remove(message)
    }

    /// Whatever is emitted from now on is no part of the run.
    pub(super) fn close(&self) {
        self.open.store(false, Relaxed);
    }

    pub(super) fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().expect("only an event whose JSON form is broken panics here, and that ends the run")
    }
}

const UNPOISONED: &str = "a map of copies cannot panic";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::Header;

    #[test]
    fn a_message_is_forgotten_once_it_was_received() {
        let recorder = Recorder::new(Trace::new(Header::of_test(Level::Info), true), Level::Info);
        let event = crate::engine::ContainerKilled {};
        let sent = recorder.emit(&"shop/web-0/app".into(), None, event).expect("it is recorded");
        recorder.sent("nonce", sent);
        assert_eq!((recorder.received("nonce"), recorder.received("nonce")), (Some(sent), None));
        assert!(recorder.sent.lock().unwrap().is_empty());
    }
}
