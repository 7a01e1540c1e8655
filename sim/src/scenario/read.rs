//! Walks a YAML tree and collects every mistake on the way, each with its place and its field's path.

use std::cell::RefCell;
use std::str::FromStr;

use hermesh_istiod::yaml::{
    Diagnostic, Entry, Key, Location, Meaning, Node, Position, Severity, Value, listed, nearest,
};

use super::excerpt::shortened;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    /// The value.
    pub value: T,
    /// Where it begins, and the path of its field.
    pub place: Place,
}

/// Where something stands in the scenario's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Line and column.
    pub position: Position,
    /// The field's path, such as `steps[3].expect.share`.
    pub path: String,
}

/// The mistakes and remarks found so far in one file.
#[derive(Debug)]
pub(super) struct Problems {
    file: String,
    found: RefCell<Vec<Diagnostic>>,
}

impl Problems {
    pub(super) fn of(file: &str) -> Self {
        Self { file: file.to_owned(), found: RefCell::default() }
    }

    pub(super) fn location(&self, place: &Place) -> Location {
        let location = Location::in_file(&self.file).at(place.position);
        if place.path.is_empty() { location } else { location.field(shortened(place.path.clone())) }
    }

    pub(super) fn error(&self, place: &Place, code: &'static str, message: impl Into<String>) {
        self.add(Diagnostic::error(code, self.location(place), message));
    }

    pub(super) fn note(&self, place: &Place, code: &'static str, message: impl Into<String>) {
        self.add(Diagnostic::note(code, self.location(place), message));
    }

    pub(super) fn add(&self, diagnostic: Diagnostic) {
        let message = shortened(diagnostic.message);
        self.found.borrow_mut().push(Diagnostic { message, ..diagnostic });
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// Whether anything like this was found.
    pub(super) fn any(&self, like: impl FnMut(&Diagnostic) -> bool) -> bool {
        self.found.borrow().iter().any(like)
    }

    /// Takes out what is no error.
    pub(super) fn take_remarks(&self) -> Vec<Diagnostic> {
        let (errors, remarks) =
            self.found.take().into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error);
        *self.found.borrow_mut() = errors;
        remarks
    }

    pub(super) fn into_found(self) -> Vec<Diagnostic> {
        self.found.into_inner()
    }
}

/// A node on the way down.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    pub(super) node: &'a Node,
    path: String,
    problems: &'a Problems,
}

impl<'a> Cursor<'a> {
    pub(super) fn root(node: &'a Node, problems: &'a Problems) -> Self {
        Self { node, path: String::new(), problems }
    }

    pub(super) fn place(&self) -> Place {
        Place { position: self.node.position, path: self.path.clone() }
    }

    pub(super) fn error(&self, code: &'static str, message: impl Into<String>) {
        self.problems.error(&self.place(), code, message);
    }

    fn expected<T>(&self, expected: &str) -> Option<T> {
        self.error("wrong-type", format!("expected {expected}, found {}", kind(self.node)));
        None
    }

    /// The node's fields, if it is a mapping.
    pub(super) fn fields(&self, expected: &str) -> Option<Fields<'a>> {
        match self.node.entries() {
            Some(entries) => Some(Fields { cursor: self.clone(), entries, known: Vec::new() }),
            None => self.expected(expected),
        }
    }

    /// The entries of a mapping with free keys.
    pub(super) fn entries(&self, expected: &str) -> Option<Vec<(At<String>, Self)>> {
        let Some(entries) = self.node.entries() else { return self.expected(expected) };
        let entry = |entry: &'a Entry| {
            let value = self.child(&entry.value, field_path(&self.path, &entry.key.text));
            let place = Place { position: entry.key.position, path: value.path.clone() };
            (At { value: entry.key.text.clone(), place }, value)
        };
        Some(entries.iter().map(entry).collect())
    }

    /// The items, if it is a list.
    pub(super) fn items(&self, expected: &str) -> Option<Vec<Self>> {
        let Some(items) = self.node.items() else { return self.expected(expected) };
        let item = |(index, item)| self.child(item, format!("{}[{index}]", self.path));
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The items of a list, or the one value that stands for a list of one.
    pub(super) fn one_or_many(&self, expected: &str) -> Vec<Self> {
        match &self.node.value {
            Value::Sequence(items) if items.is_empty() => {
                self.error("empty", format!("expected {expected}, found an empty list"));
                Vec::new()
            }
            Value::Sequence(_) => self.items(expected).unwrap_or_default(),
            _ => vec![self.clone()],
        }
    }

    /// A text that is not empty. What YAML takes for a number or a truth value is none, unless it stands in quotes.
    pub(super) fn text(&self, expected: &str) -> Option<At<String>> {
        let text = self.scalar(expected)?;
        match &self.node.value {
            Value::Scalar(scalar) if scalar.meaning() != Meaning::String => {
                let message = format!("expected {expected}, found {}", kind(self.node));
                let error = Diagnostic::error("wrong-type", self.problems.location(&text.place), message);
                self.problems.add(error.with_help(format!("put it into quotes if it is meant: {:?}", text.value)));
                None
            }
            _ => Some(text),
        }
    }

    /// As [`text`](Self::text), where what is written without quotes is as good: `5` is the text "5".
    pub(super) fn scalar(&self, expected: &str) -> Option<At<String>> {
        match &self.node.value {
            Value::Scalar(scalar) if !self.node.is_null() => {
                if scalar.text.trim().is_empty() {
                    self.error("empty", format!("expected {expected}, found an empty text"));
                    return None;
                }
                Some(At { value: scalar.text.clone(), place: self.place() })
            }
            _ => self.expected(expected),
        }
    }

    /// A text of a particular form; its parser's error says what was expected, of bare numbers too.
    pub(super) fn parsed<T: FromStr<Err = String>>(&self, expected: &str) -> Option<At<T>> {
        let text = self.scalar(expected)?;
        self.parse(text)
    }

    /// As [`parsed`](Self::parsed), of what YAML takes for a text.
    pub(super) fn parsed_text<T: FromStr<Err = String>>(&self, expected: &str) -> Option<At<T>> {
        let text = self.text(expected)?;
        self.parse(text)
    }

    fn parse<T: FromStr<Err = String>>(&self, text: At<String>) -> Option<At<T>> {
        match text.value.parse() {
            Ok(value) => Some(At { value, place: text.place }),
            Err(message) => {
                self.error("bad-value", message);
                None
            }
        }
    }

    /// A whole number from `low` to `high`.
    pub(super) fn integer(&self, low: u64, high: u64) -> Option<At<u64>> {
        let number = match &self.node.value {
            Value::Scalar(scalar) if scalar.plain => match scalar.meaning() {
                Meaning::Int(number) if is_decimal(&scalar.text) => u64::try_from(number).ok(),
                _ => None,
            },
            _ => None,
        };
        match number.filter(|number| (low..=high).contains(number)) {
            Some(value) => Some(At { value, place: self.place() }),
            None if high == u64::MAX => self.expected(&format!("a whole number from {low}")),
            None => self.expected(&format!("a whole number from {low} to {high}")),
        }
    }

    /// `true` or `false`.
    pub(super) fn boolean(&self) -> Option<bool> {
        match &self.node.value {
            Value::Scalar(scalar) if matches!(scalar.meaning(), Meaning::Bool(_)) => {
                Some(scalar.meaning() == Meaning::Bool(true))
            }
            _ => self.expected("true or false"),
        }
    }

    /// One of a closed set of words.
    pub(super) fn word(&self, what: &str, words: &[&'static str]) -> Option<At<&'static str>> {
        let text = self.scalar(&format!("{what}: {}", listed(words)))?;
        if let Some(word) = words.iter().find(|word| **word == text.value) {
            return Some(At { value: word, place: text.place });
        }
        self.error("unknown-value", unknown(what, &text.value, words));
        None
    }

    /// The value of one of the mapping's entries.
    pub(super) fn entry(&self, entry: &'a Entry) -> Self {
        self.child(&entry.value, field_path(&self.path, &entry.key.text))
    }

    /// An error about this value's key.
    pub(super) fn error_at(&self, key: &Key, code: &'static str, message: impl Into<String>) {
        self.problems.error(&Place { position: key.position, path: self.path.clone() }, code, message);
    }

    /// An error about what stands at `place`.
    pub(super) fn error_in(&self, place: &Place, code: &'static str, message: impl Into<String>) {
        self.problems.error(place, code, message);
    }

    pub(super) fn problems(&self) -> &'a Problems {
        self.problems
    }

    fn child(&self, node: &'a Node, path: String) -> Self {
        Cursor { node, path, problems: self.problems }
    }
}

/// The fields of a mapping, taken one by one; what is left at the end is unknown.
pub(super) struct Fields<'a> {
    cursor: Cursor<'a>,
    entries: &'a [Entry],
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub(super) fn cursor(&self) -> &Cursor<'a> {
        &self.cursor
    }

    pub(super) fn optional(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        let entry = self.entries.iter().find(|entry| entry.key.text == name)?;
        Some(self.cursor.child(&entry.value, field_path(&self.cursor.path, name)))
    }

    pub(super) fn required(&mut self, name: &'static str) -> Option<Cursor<'a>> {
        let found = self.optional(name);
        if found.is_none() {
            self.cursor.error("missing-field", format!("field `{name}` is missing"));
        }
        found
    }

    /// Whether the mapping has this field, which counts as known from here on.
    pub(super) fn has(&mut self, name: &'static str) -> bool {
        self.optional(name).is_some()
    }

    /// Whether there are fields nobody took.
    pub(super) fn has_unknown(&self) -> bool {
        self.entries.iter().any(|entry| !self.known.contains(&entry.key.text.as_str()))
    }

    /// Reports the fields nobody took. `foreign` names some that are known to the format, with what to say of them.
    pub(super) fn finish(self, foreign: &[(&str, &str)]) {
        for entry in self.entries {
            let name = entry.key.text.as_str();
            if self.known.contains(&name) {
                continue;
            }
            let path = field_path(&self.cursor.path, name);
            let place = Place { position: entry.key.position, path };
            match foreign.iter().find(|(other, _)| *other == name) {
                Some((_, message)) => self.cursor.problems.error(&place, "not-played", *message),
                None => self.cursor.problems.error(&place, "unknown-field", unknown_field(name, &self.known)),
            }
        }
    }
}

/// Whether a number is written as this format has it: neither `0x10` nor `+5`.
pub(super) fn is_decimal(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `unknown xDS type "EDs"; expected LDS, RDS, CDS or EDS`, with the nearest name if there are many.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("unknown {what} {name:?}; did you mean `{nearest}`?"),
        None => format!("unknown {what} {name:?}; expected {}", listed(known)),
    }
}

fn unknown_field(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(nearest) => format!("unknown field; did you mean `{nearest}`?"),
        None => format!("unknown field; expected {}", listed(known)),
    }
}

fn field_path(parent: &str, name: &str) -> String {
    if name.is_empty() || name.contains(['.', '[', ']', '"', ' ', '/', '*']) {
        format!("{parent}[{name:?}]")
    } else if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

/// What stands there, for messages: `the text "x"`, `the number 60`, `a list`.
fn kind(node: &Node) -> String {
    match &node.value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => "nothing".to_owned(),
            Meaning::Int(_) | Meaning::LeadingZero | Meaning::Float(_) => format!("the number {}", scalar.text),
            Meaning::Bool(value) => format!("`{value}`"),
            _ => format!("the text {:?}", scalar.text),
        },
    }
}
