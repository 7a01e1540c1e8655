//! The events of a process, in order.

use std::sync::{Arc, Mutex, MutexGuard};

use hermesh_runtime::{AnyEvent, EventId};
use serde_json::Value;

/// What happened so far. Clones are the same record.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Vec<Recorded>>>);

/// One event.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its kind, such as `conn.ready`.
    pub kind: &'static str,
    /// The number of its cause, from 1.
    pub cause: Option<u64>,
    /// Its fields.
    pub fields: Value,
}

impl Recorded {
    /// Whether its fields, in JSON, have `text` somewhere.
    #[must_use]
    pub fn mentions(&self, text: &str) -> bool {
        self.fields.to_string().contains(text)
    }
}

impl Recorder {
    /// All events so far.
    #[must_use]
    pub fn all(&self) -> Vec<Recorded> {
        self.events().clone()
    }

    /// The kinds of all events so far.
    #[must_use]
    pub fn kinds(&self) -> Vec<&'static str> {
        self.events().iter().map(|event| event.kind).collect()
    }

    /// All events of a kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> Vec<Recorded> {
        self.events().iter().filter(|event| event.kind == kind).cloned().collect()
    }

    /// How many events of a kind there are.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        self.events().iter().filter(|event| event.kind == kind).count()
    }

    /// The last event of a kind.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn last(&self, kind: &str) -> Recorded {
        self.of(kind).pop().unwrap_or_else(|| panic!("no event {kind}"))
    }

    /// The kinds from an event back to its first cause.
    #[must_use]
    pub fn causes(&self, event: &Recorded) -> Vec<&'static str> {
        let events = self.events();
        let mut kinds = vec![event.kind];
        let mut cause = event.cause;
        while let Some(number) = cause {
            let event = &events[number as usize - 1];
            kinds.push(event.kind);
            cause = event.cause;
        }
        kinds
    }

    pub(crate) fn record(&self, cause: Option<EventId>, event: &dyn AnyEvent) -> u64 {
        let mut json = Vec::new();
        event.write_json(&mut json);
        let fields = serde_json::from_slice(&json).expect("an event is a JSON object");
        let mut events = self.events();
        events.push(Recorded { kind: event.kind(), cause: cause.map(EventId::seq), fields });
        events.len() as u64
    }

    fn events(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap()
    }
}
