//! What happened, told once and in types: the OS runtime turns events into logs, the simulator into its trace.

use std::any::Any;
use std::fmt::Debug;
use std::num::NonZeroU64;

use serde::Serialize;

/// Names one recorded event, so that a later one can give it as its cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct EventId(NonZeroU64);

impl EventId {
    /// The event with sequence number `seq`; the first event of a trace has number 1.
    #[must_use]
    pub fn new(seq: NonZeroU64) -> Self {
        Self(seq)
    }

    /// The event's sequence number.
    #[must_use]
    pub fn seq(self) -> u64 {
        self.0.get()
    }
}

/// How much a reader must care to see an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What changes the state of the mesh or the outcome of a call.
    Info,
    /// Steps on the way there: attempts, picks, timers.
    Debug,
    /// Bytes on the wire, as lengths and digests.
    Wire,
}

/// One kind of event. Every crate defines its own; [`event!`](crate::event!) writes the boilerplate.
pub trait Event: Serialize + Debug + Send + Sync + 'static {
    /// The name under which the trace lists it, such as `xds.request`.
    const KIND: &'static str;
    /// Who wants to see it.
    const LEVEL: Level = Level::Info;
}

/// An event of any kind: what a [`Backend`](crate::Backend) receives.
pub trait AnyEvent: Debug + Send + Sync {
    /// [`Event::KIND`].
    fn kind(&self) -> &'static str;
    /// [`Event::LEVEL`].
    fn level(&self) -> Level;
    /// Appends the fields as one JSON object.
    fn write_json(&self, out: &mut Vec<u8>);
    /// For the reader that knows the type.
    fn as_any(&self) -> &dyn Any;
}

impl<E: Event> AnyEvent for E {
    fn kind(&self) -> &'static str {
        E::KIND
    }

    fn level(&self) -> Level {
        E::LEVEL
    }

    fn write_json(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("an event holds plain data, which always has a JSON form");
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Defines event types: `event! { /// Docs. Name = "kind" { /// Docs. field: Type, } }`, optionally with a level
/// after the kind, as in `Name = "net.data" @ Wire { .. }`.
///
/// ```
/// hermesh_runtime::event! {
///     /// A key was rotated.
///     KeyRotated = "agent.key.rotated" {
///         /// How many times so far.
///         count: u64,
///     }
/// }
/// use hermesh_runtime::AnyEvent;
/// let mut json = Vec::new();
/// KeyRotated { count: 2 }.write_json(&mut json);
/// assert_eq!(json, br#"{"count":2}"#);
/// ```
#[macro_export]
macro_rules! event {
    ($($(#[$meta:meta])* $name:ident = $kind:literal $(@ $level:ident)? {
        $($(#[$field_meta:meta])* $field:ident : $ty:ty),* $(,)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, ::serde::Serialize)]
        #[allow(missing_docs, reason = "fields without a comment say all in their name")]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty),* }

        impl $crate::Event for $name {
            const KIND: &'static str = $kind;
            $(const LEVEL: $crate::Level = $crate::Level::$level;)?
        }
    )*};
}
