//! Why a node is not what is wanted.

use std::fmt;

use serde::de::{Expected, Unexpected};

use super::diagnostic::{Diagnostic, Location};
use super::node::Position;

/// Why a value cannot be read; field and place are filled in by the innermost node that sees it.
#[derive(Debug)]
pub(super) struct ReadError {
    code: &'static str,
    message: String,
    help: Option<String>,
    pub(super) place: Option<(String, Position)>,
    /// The field that is missing at the place, if that is what is wrong.
    pub(super) missing: Option<&'static str>,
}

impl ReadError {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, place: None, missing: None }
    }

    pub(super) fn at(mut self, field: String, position: Position) -> Self {
        self.place = Some((field, position));
        self
    }

    pub(super) fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn into_diagnostic(self, at: &Location, path: &str, position: Position) -> Diagnostic {
        let mut location = at.clone();
        location.field = (!path.is_empty()).then(|| path.to_owned());
        let diagnostic = Diagnostic::error(self.code, location.at(position), self.message);
        match self.help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new("invalid-value", message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("wrong-type", format!("expected {expected}, found {}", described(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::new("invalid-value", format!("expected {expected}, found {}", described(found)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self { missing: Some(field), ..Self::new("missing-field", "missing") }
    }
}

fn described(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the string {text:?}"),
        Unexpected::Signed(number) => format!("the number {number}"),
        Unexpected::Unsigned(number) => format!("the number {number}"),
        Unexpected::Float(number) => format!("the number {number}"),
        Unexpected::Bool(value) => format!("`{value}`"),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "a mapping".to_owned(),
        Unexpected::Unit | Unexpected::Option => "nothing".to_owned(),
        other => other.to_string(),
    }
}
