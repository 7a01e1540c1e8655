//! The place of one watched resource.

use std::sync::Arc;

use crate::ads::client::WatchEvent;
use crate::resource::Resource;

/// A resource that is watched: nothing yet, data, or an error.
#[derive(Debug, Default)]
pub(super) enum Slot<T> {
    #[default]
    Waiting,
    Data {
        resource: Arc<T>,
        version: Arc<str>,
    },
    Error(String),
}

impl<T> Slot<T> {
    /// Takes in an event; `of` picks this slot's type. An ambient error changes nothing.
    pub(super) fn on_event(&mut self, event: WatchEvent, of: impl FnOnce(Resource) -> Option<Arc<T>>) {
        match event {
            WatchEvent::Update { resource, version } => {
                let resource = of(resource).expect("a watch brings resources of its own type");
                *self = Self::Data { resource, version };
            }
            WatchEvent::ResourceError(error) => *self = Self::Error(error.to_string()),
            WatchEvent::AmbientError(_) => {}
        }
    }
}
