//! Which values of a tree could not be read, so that nobody draws conclusions from what stands in for them.

use std::collections::BTreeMap;

use super::path::{holds, parent};

/// The paths of values that could not be read.
#[derive(Clone, Debug, Default)]
pub struct Unread(BTreeMap<String, StandIn>);

/// What is read in the place of a value that could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StandIn {
    /// An empty value of the type that is wanted: `""`, 0, an empty list.
    Empty,
    /// Nothing, since the type has no empty value: the entry or item is passed over.
    Nothing,
}

impl Unread {
    /// Counts the value at `path` among those that could not be read.
    pub fn add(&mut self, path: String) {
        self.0.entry(path).or_insert(StandIn::Empty);
    }

    /// Whether the value at `path` was read, apart from what may be wrong inside of it.
    #[must_use]
    pub fn is_read(&self, path: &str) -> bool {
        self.nearest(path).is_none()
    }

    /// Whether the value at `path` was read with everything inside of it.
    #[must_use]
    pub fn is_whole(&self, path: &str) -> bool {
        let from = self.0.range(path.to_owned()..).map(|(other, _)| other.as_str());
        self.is_read(path) && !from.take_while(|other| other.starts_with(path)).any(|other| holds(path, other))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn stand_in(&self, path: &str) -> Option<StandIn> {
        self.0.get(path).copied()
    }

    pub(super) fn set(&mut self, path: &str, stand_in: StandIn) {
        self.0.insert(path.to_owned(), stand_in);
    }

    /// The innermost value at or above `path` that could not be read.
    pub(super) fn nearest<'p>(&self, path: &'p str) -> Option<(&'p str, StandIn)> {
        if self.0.is_empty() {
            return None;
        }
        let above = std::iter::successors(Some(path), |path| parent(path));
        above.into_iter().find_map(|path| Some((path, self.stand_in(path)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_an_unread_value_is_read_and_not_whole() {
        let mut unread = Unread::default();
        unread.add("spec.http[1].timeout".to_owned());
        for (path, read, whole) in [
            ("", true, false),
            ("spec", true, false),
            ("spec.http", true, false),
            ("spec.http[0]", true, true),
            ("spec.http[1]", true, false),
            ("spec.http[1].timeout", false, false),
            ("spec.http[1].timeout.deeper", false, false),
            ("spec.http[1].timeouts", true, true),
            ("spec.http[10]", true, true),
            ("spec.h", true, true),
        ] {
            assert_eq!((unread.is_read(path), unread.is_whole(path)), (read, whole), "{path}");
        }
    }
}
