//! A serde `Deserializer` over nodes: every error knows its field and place and is collected, and so is every unknown
//! field.

use std::fmt;

use serde::de::{Deserializer, Visitor};

use super::access::{Choice, Fields, Items, SpannedParts};
use super::diagnostic::Diagnostic;
use super::empty::Empty;
use super::error::ReadError;
use super::node::{Node, Scalar, Value};
use super::path::Path;
use super::scalar::Meaning;
use super::session::Session;
use super::spanned;
use super::suggest::{listed, nearest};

#[derive(Clone, Copy)]
pub(super) struct NodeDeserializer<'a> {
    pub(super) node: &'a Node,
    pub(super) path: Path<'a>,
    pub(super) session: &'a Session<'a>,
}

impl<'a> NodeDeserializer<'a> {
    pub(super) fn root(node: &'a Node, session: &'a Session<'a>) -> Self {
        Self { node, path: Path::Root(session.at.field.as_deref()), session }
    }

    /// Gives an error this node's place, unless a node further in has done so.
    pub(super) fn place<T>(&self, result: Result<T, ReadError>) -> Result<T, ReadError> {
        result.map_err(|mut error| {
            error.place.get_or_insert_with(|| {
                let path = match error.missing {
                    Some(field) => Path::Field(&self.path, field).to_string(),
                    None => self.path.to_string(),
                };
                (path, self.node.position)
            });
            error
        })
    }

    /// What stands in for this node.
    pub(super) fn empty(&self) -> Empty<'a> {
        let within = match self.path {
            Path::Root(_) => None,
            Path::Field(parent, _) | Path::Index(parent, _) => Some(parent),
        };
        Empty { within, session: self.session }
    }

    /// Notes the error, and goes on with what stands in for this node.
    fn instead(&self, error: ReadError) -> Empty<'a> {
        if let Err(error) = self.place::<()>(Err(error)) {
            self.session.note(error);
        }
        self.empty()
    }

    pub(super) fn wrong(&self, expected: &dyn fmt::Display) -> ReadError {
        ReadError::new("wrong-type", format!("expected {expected}, found {}", self.found()))
    }

    fn found(&self) -> String {
        match &self.node.value {
            Value::Scalar(scalar) if scalar.is_null() => "nothing".to_owned(),
            Value::Scalar(scalar) => format!("{} ({})", self.node.kind(), shortened(&scalar.text)),
            _ => self.node.kind().to_owned(),
        }
    }

    fn scalar(&self, expected: &dyn fmt::Display) -> Result<&'a Scalar, ReadError> {
        match &self.node.value {
            Value::Scalar(scalar) => Ok(scalar),
            _ => Err(self.wrong(expected)),
        }
    }

    fn boolean(&self) -> Result<bool, ReadError> {
        let scalar = self.scalar(&"`true` or `false`")?;
        match scalar.meaning() {
            Meaning::Bool(value) => Ok(value),
            _ => {
                let error = self.wrong(&"`true` or `false`");
                Err(match scalar.is_boolean_for_kubectl() {
                    Some(value) => error.with_help(format!("write `{value}`")),
                    None => error,
                })
            }
        }
    }

    fn string(&self) -> Result<&'a str, ReadError> {
        let scalar = self.scalar(&"a string")?;
        match scalar.meaning() {
            Meaning::String => {
                if let Some(value) = scalar.is_boolean_for_kubectl() {
                    self.warn_about_kubectl(&scalar.text, value);
                }
                Ok(&scalar.text)
            }
            Meaning::Null => Err(self.wrong(&"a string")),
            _ => Err(self.wrong(&"a string").with_help(format!("write it in quotes: {:?}", scalar.text))),
        }
    }

    fn warn_about_kubectl(&self, text: &str, value: bool) {
        let location = self.session.at.clone().at(self.node.position).field(self.path.to_string());
        let message = format!("`{text}` is a string here, but kubectl reads YAML 1.1 and takes it for `{value}`");
        self.session.warn(
            Diagnostic::warning("yaml-1.1", location, message).with_help(format!("write it in quotes: {text:?}")),
        );
    }

    fn integer(&self, min: i128, max: i128) -> Result<i128, ReadError> {
        let scalar = self.scalar(&"a number")?;
        match scalar.meaning() {
            Meaning::Int(number) if (min..=max).contains(&number) => Ok(number),
            Meaning::Int(number) => {
                let message = format!("{number} is out of range; expected {min} to {max}");
                Err(ReadError::new("out-of-range", message))
            }
            Meaning::LeadingZero => {
                let text = shortened(&scalar.text);
                let message = format!("`{text}` is decimal in YAML 1.2 and octal in YAML 1.1, which kubectl reads");
                let error = ReadError::new("leading-zero", message);
                Err(error.with_help("write the decimal number without a leading zero"))
            }
            Meaning::String if !scalar.plain && matches!(super::scalar::meaning(&scalar.text), Meaning::Int(_)) => {
                Err(self.wrong(&"a number").with_help("leave out the quotes"))
            }
            _ => Err(self.wrong(&"a whole number")),
        }
    }

    fn float(&self) -> Result<f64, ReadError> {
        match self.scalar(&"a number")?.meaning() {
            Meaning::Float(number) => Ok(number),
            #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
            Meaning::Int(number) => Ok(number as f64),
            _ => Err(self.wrong(&"a number")),
        }
    }

    fn choice(&self, name: &str, variants: &[&str]) -> Result<Choice<'a>, ReadError> {
        let choice = match &self.node.value {
            Value::Scalar(scalar) => {
                Choice { deserializer: *self, name: &scalar.text, position: self.node.position, value: None }
            }
            Value::Mapping(entries) => match entries.as_slice() {
                [entry] => Choice {
                    deserializer: *self,
                    name: &entry.key.text,
                    position: entry.key.position,
                    value: Some(&entry.value),
                },
                _ => return Err(self.wrong(&format_args!("exactly one of {}", listed(variants)))),
            },
            Value::Sequence(_) => return Err(self.wrong(&listed(variants))),
        };
        if variants.contains(&choice.name) {
            return Ok(choice);
        }
        let message = format!("unknown {} {:?}; expected {}", human(name), choice.name, listed(variants));
        let error = ReadError::new("unknown-value", message).at(self.path.to_string(), choice.position);
        Err(match nearest(choice.name, variants.iter().copied()) {
            Some(variant) if variants.len() > 3 => error.with_help(format!("did you mean `{variant}`?")),
            _ => error,
        })
    }

    pub(super) fn child(&'a self, path: Path<'a>, node: &'a Node) -> Self {
        Self { node, path, session: self.session }
    }
}

/// Long values do not fit into a message.
fn shortened(text: &str) -> String {
    const LIMIT: usize = 40;
    let text = text.escape_debug().to_string();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

macro_rules! deserialize_integers {
    ($($method:ident $visit:ident $ty:ty)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.integer(i128::from(<$ty>::MIN), i128::from(<$ty>::MAX)) {
                Ok(number) => {
                    let number = <$ty>::try_from(number).expect("the range was checked just before");
                    self.place(visitor.$visit(number))
                }
                Err(error) => self.instead(error).$method(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Sequence(_) => self.deserialize_seq(visitor),
            Value::Mapping(_) => self.deserialize_map(visitor),
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => self.place(visitor.visit_unit()),
                Meaning::Bool(value) => self.place(visitor.visit_bool(value)),
                Meaning::Int(number) => match (u64::try_from(number), i64::try_from(number)) {
                    (Ok(number), _) => self.place(visitor.visit_u64(number)),
                    (_, Ok(number)) => self.place(visitor.visit_i64(number)),
                    _ => {
                        let error = ReadError::new("out-of-range", format!("{number} is out of range"));
                        self.instead(error).deserialize_any(visitor)
                    }
                },
                Meaning::LeadingZero => self.deserialize_i64(visitor),
                Meaning::Float(number) => self.place(visitor.visit_f64(number)),
                Meaning::String => self.deserialize_str(visitor),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.boolean() {
            Ok(value) => self.place(visitor.visit_bool(value)),
            Err(error) => self.instead(error).deserialize_bool(visitor),
        }
    }

    deserialize_integers! {
        deserialize_i8 visit_i8 i8
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_u8 visit_u8 u8
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.float() {
            Ok(number) => self.place(visitor.visit_f64(number)),
            Err(error) => self.instead(error).deserialize_f64(visitor),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.string() {
            Ok(text) => self.place(visitor.visit_str(text)),
            Err(error) => self.instead(error).deserialize_str(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() { self.place(visitor.visit_none()) } else { self.place(visitor.visit_some(self)) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() {
            return self.place(visitor.visit_unit());
        }
        self.instead(self.wrong(&"nothing")).deserialize_unit(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == spanned::NAME {
            return self.place(visitor.visit_seq(SpannedParts { deserializer: self, part: 0 }));
        }
        self.place(visitor.visit_newtype_struct(self))
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Sequence(items) => {
                self.place(visitor.visit_seq(Items { deserializer: &self, items: items.iter().enumerate() }))
            }
            _ => self.instead(self.wrong(&"a list")).deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Mapping(entries) => self.place(visitor.visit_map(Fields::new(&self, entries, None))),
            _ => self.instead(self.wrong(&"a mapping")).deserialize_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Mapping(entries) => self.place(visitor.visit_map(Fields::new(&self, entries, Some((name, fields))))),
            _ => {
                let error = match nearest_words(fields) {
                    Some(fields) => self.wrong(&format_args!("a mapping with {fields}")),
                    None => self.wrong(&"a mapping"),
                };
                self.instead(error).deserialize_struct(name, fields, visitor)
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.choice(name, variants) {
            Ok(choice) => self.place(visitor.visit_enum(choice)),
            Err(error) => self.instead(error).deserialize_enum(name, variants, visitor),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.place(visitor.visit_unit())
    }
}

fn nearest_words(fields: &[&str]) -> Option<String> {
    (1..=6).contains(&fields.len()).then(|| listed(fields))
}

/// A type's name as words: `TlsMode` is "tls mode"; a name with spaces is already in words.
pub(super) fn human(name: &str) -> String {
    if name.contains(' ') || name.chars().all(char::is_lowercase) {
        return name.to_owned();
    }
    let mut words = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(c.to_lowercase());
    }
    words
}
