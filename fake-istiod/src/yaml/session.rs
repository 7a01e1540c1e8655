//! What one reading shares among all nodes and all of its passes.
//!
//! serde stops at the first error that a type's own `Deserialize` returns. So a tree is read in passes: what could not
//! be read is noted with its path, and the next pass finds a stand-in there and goes on behind it. The last pass finds
//! nothing new.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::diagnostic::{Diagnostic, Location};
use super::error::ReadError;
use super::node::Position;
use super::path::parent;
use super::read::{Nulls, UnknownField};
use super::unread::{StandIn, Unread};

/// How many passes a reading takes at most: each costs as much as the whole, and finds at least one mistake.
const PASSES_MAX: usize = 100;

pub(super) struct Session<'a> {
    pub(super) nulls: Nulls,
    pub(super) at: &'a Location,
    root: Position,
    unknown_fields: RefCell<BTreeMap<(Position, String), UnknownField>>,
    warnings: RefCell<BTreeSet<Diagnostic>>,
    mistakes: RefCell<Vec<Diagnostic>>,
    unread: RefCell<Unread>,
    /// Whatever this pass must not be taken at its word about: mappings of which it passed over an entry, and fields
    /// that seem to be missing because their names are misspelt.
    bereft: RefCell<BTreeSet<String>>,
}

/// What a whole reading found.
pub(super) struct Found {
    pub(super) unknown_fields: Vec<UnknownField>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) mistakes: Vec<Diagnostic>,
    pub(super) unread: Unread,
}

impl<'a> Session<'a> {
    pub(super) fn new(nulls: Nulls, at: &'a Location, root: Position) -> Self {
        Self {
            nulls,
            at,
            root,
            unknown_fields: RefCell::default(),
            warnings: RefCell::default(),
            mistakes: RefCell::default(),
            unread: RefCell::default(),
            bereft: RefCell::default(),
        }
    }

    /// Reads by `pass`, as often as there is something new to find; `None` if nothing can stand in for the root, or if
    /// there is no end to the mistakes.
    pub(super) fn passes<T>(&self, mut pass: impl FnMut() -> Result<T, ReadError>) -> Option<T> {
        for _ in 0..PASSES_MAX {
            let before = self.mistakes.borrow().len();
            self.bereft.borrow_mut().clear();
            let result = pass();
            match result {
                // What follows from a stand-in of the same pass is no news.
                _ if self.mistakes.borrow().len() > before => {}
                Ok(value) => return Some(value),
                Err(error) => self.pass_over(error)?,
            }
        }
        let message = "there are more mistakes in this object than are told at once";
        let more = Diagnostic::error("too-many-mistakes", self.at.clone().at(self.root), message);
        self.mistakes.borrow_mut().push(more.with_help("mend these, and the others show"));
        None
    }

    pub(super) fn finish(self) -> Found {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.location.position());
        Found {
            unknown_fields: self.unknown_fields.into_inner().into_values().collect(),
            warnings: self.warnings.into_inner().into_iter().collect(),
            mistakes,
            unread: self.unread.into_inner(),
        }
    }

    /// Notes that the value at the error's place could not be read.
    pub(super) fn note(&self, error: ReadError) {
        let (path, position) = self.place_of(&error);
        let mut unread = self.unread.borrow_mut();
        if unread.stand_in(&path).is_none() {
            self.mistakes.borrow_mut().push(error.into_diagnostic(self.at, &path, position));
            unread.add(path);
        }
    }

    /// Has the next pass go around the place at which this one ended; `None` if that is the root.
    fn pass_over(&self, error: ReadError) -> Option<()> {
        let (path, position) = self.place_of(&error);
        let mut unread = self.unread.borrow_mut();
        let Some((mut at, mut stand_in)) = unread.nearest(&path) else {
            // A judgement about a whole of which a part is missing would be hasty.
            if !self.bereft.borrow().contains(&path) {
                self.mistakes.borrow_mut().push(error.into_diagnostic(self.at, &path, position));
            }
            unread.add(path);
            return Some(());
        };
        // No stand-in is good enough there: then none at all, or one for what it is a part of.
        let root = self.at.field.as_deref().unwrap_or_default();
        while stand_in == StandIn::Nothing {
            at = parent(at).filter(|_| at != root)?;
            match unread.stand_in(at) {
                Some(next) => stand_in = next,
                None => {
                    unread.add(at.to_owned());
                    return Some(());
                }
            }
        }
        if at == root {
            return None;
        }
        unread.set(at, StandIn::Nothing);
        Some(())
    }

    fn place_of(&self, error: &ReadError) -> (String, Position) {
        error.place.clone().unwrap_or_else(|| (self.at.field.clone().unwrap_or_default(), self.root))
    }

    /// What stands in for the value at `path`, if it could not be read.
    pub(super) fn stand_in(&self, path: &dyn Display) -> Option<StandIn> {
        let unread = self.unread.borrow();
        if unread.is_empty() { None } else { unread.stand_in(&path.to_string()) }
    }

    /// Notes that the mapping at `path` lacks an entry in this pass only because that could not be read.
    pub(super) fn bereave(&self, path: &dyn Display) {
        self.bereft.borrow_mut().insert(path.to_string());
    }

    pub(super) fn unknown(&self, field: UnknownField) {
        let key = (field.location.position(), field.location.field.clone().unwrap_or_default());
        self.unknown_fields.borrow_mut().entry(key).or_insert(field);
    }

    pub(super) fn warn(&self, warning: Diagnostic) {
        self.warnings.borrow_mut().insert(warning);
    }
}
