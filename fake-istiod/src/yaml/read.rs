//! Typed reading of nodes: strictly, or with unknown fields left to the caller.

use serde::de::DeserializeOwned;

use super::de::NodeDeserializer;
use super::diagnostic::{Diagnostic, Location};
use super::node::Node;
use super::path::{field_path, parent};
use super::session::{Found, Session};
use super::suggest::{listed, nearest};
use super::unread::Unread;

/// Reads `node` as a `T`, strictly: an empty value is a mistake, and so is a field `T` does not have. `at` gives the
/// file, the object, and the path of `node` itself if it is not the root.
///
/// # Errors
///
/// All unknown fields, and all values that are not what is wanted.
pub fn from_node<T: DeserializeOwned>(node: &Node, at: &Location) -> Result<T, Vec<Diagnostic>> {
    let mut reading = read(node, at, Nulls::AreMistakes);
    let mut mistakes: Vec<Diagnostic> = reading.unknown_fields.iter().map(UnknownField::error).collect();
    mistakes.append(&mut reading.mistakes);
    mistakes.sort_by_key(|mistake| mistake.location.position());
    reading.value.filter(|_| mistakes.is_empty()).ok_or(mistakes)
}

/// Reads `node` as a `T` as far as that goes, and leaves it to the caller what unknown fields mean.
pub fn read<T: DeserializeOwned>(node: &Node, at: &Location, nulls: Nulls) -> Reading<T> {
    let session = Session::new(nulls, at, node.position);
    let value = session.passes(|| T::deserialize(NodeDeserializer::root(node, &session)));
    let Found { unknown_fields, warnings, mistakes, unread } = session.finish();
    Reading { value, mistakes, unread, unknown_fields, warnings }
}

/// What an empty value or `null` in a mapping stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nulls {
    /// As in Kubernetes: the field is as good as absent.
    AreUnset,
    /// A value is missing.
    AreMistakes,
}

/// What [`read`] found.
#[derive(Debug)]
pub struct Reading<T> {
    /// The value, with something empty wherever one could not be read; `None` if nothing is left of it.
    pub value: Option<T>,
    /// Every value that is not what is wanted, in the order of the text.
    pub mistakes: Vec<Diagnostic>,
    /// Where those values are, and whatever could not be read because of them.
    pub unread: Unread,
    /// Fields that the type at their place does not have, in the order of the text.
    pub unknown_fields: Vec<UnknownField>,
    /// Plain words that YAML 1.1, and so kubectl, takes for something else.
    pub warnings: Vec<Diagnostic>,
}

/// A field that the type at its place does not have.
#[derive(Clone, Debug)]
pub struct UnknownField {
    /// The name serde has for the type: its own or its `#[serde(rename)]`.
    pub type_name: &'static str,
    /// The field's name.
    pub name: String,
    /// The names the type has.
    pub known: &'static [&'static str],
    /// Where the field stands, with its whole path.
    pub location: Location,
}

impl UnknownField {
    /// This field as an error, with the right name if one is near.
    #[must_use]
    pub fn error(&self) -> Diagnostic {
        self.error_among(self.known)
    }

    /// This field as an error, with the nearest of `names` as a suggestion.
    #[must_use]
    pub fn error_among(&self, names: &[&str]) -> Diagnostic {
        let error = Diagnostic::error("unknown-field", self.location.clone(), "unknown field");
        match nearest(&self.name, names.iter().copied()) {
            Some(name) => error.with_help(format!("did you mean `{name}`?")),
            None if names.is_empty() || names.len() > 12 => error,
            None => error.with_help(format!("expected {}", listed(names))),
        }
    }

    /// The path of the field that was probably meant, if it is among `names` and `root` has no such field besides.
    #[must_use]
    pub fn meant_among(&self, names: &[&str], root: &Node) -> Option<String> {
        let name = nearest(&self.name, names.iter().copied())?;
        let owner = parent(self.location.field.as_deref()?)?;
        root.at_path(owner).entry(name).is_none().then(|| field_path(owner, name))
    }
}
