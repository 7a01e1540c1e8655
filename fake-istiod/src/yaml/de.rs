//! A serde `Deserializer` over nodes: every error knows its field and place, every unknown field is collected.

use std::cell::RefCell;
use std::fmt;

use serde::de::{Deserializer, Visitor};

use super::access::{Choice, Fields, Items, SpannedParts};
use super::diagnostic::{Diagnostic, Location};
use super::error::ReadError;
use super::node::{Node, Scalar, Value};
use super::path::Path;
use super::read::{Nulls, UnknownField};
use super::scalar::Meaning;
use super::spanned;
use super::suggest::{listed, nearest};

/// What one reading shares among all nodes.
pub(super) struct Session<'a> {
    pub(super) nulls: Nulls,
    pub(super) unknown_fields: RefCell<Vec<UnknownField>>,
    warnings: RefCell<Vec<Diagnostic>>,
    pub(super) at: &'a Location,
}

impl<'a> Session<'a> {
    pub(super) fn new(nulls: Nulls, at: &'a Location) -> Self {
        Self { nulls, unknown_fields: RefCell::default(), warnings: RefCell::default(), at }
    }

    pub(super) fn finish(self) -> (Vec<UnknownField>, Vec<Diagnostic>) {
        (self.unknown_fields.into_inner(), self.warnings.into_inner())
    }
}

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
            error.place.get_or_insert_with(|| (self.path.to_string(), self.node.position));
            error
        })
    }

    pub(super) fn wrong<T>(&self, expected: &dyn fmt::Display) -> Result<T, ReadError> {
        self.place(Err(self.wrong_type(expected)))
    }

    fn wrong_type(&self, expected: &dyn fmt::Display) -> ReadError {
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
            _ => self.wrong(expected),
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
            Meaning::Null => self.wrong(&"a string"),
            _ => {
                let error = self.wrong_type(&"a string");
                self.place(Err(error.with_help(format!("write it in quotes: {:?}", scalar.text))))
            }
        }
    }

    fn warn_about_kubectl(&self, text: &str, value: bool) {
        let location = self.session.at.clone().at(self.node.position).field(self.path.to_string());
        let message = format!("`{text}` is a string here, but kubectl reads YAML 1.1 and takes it for `{value}`");
        self.session.warnings.borrow_mut().push(
            Diagnostic::warning("yaml-1.1", location, message).with_help(format!("write it in quotes: {text:?}")),
        );
    }

    fn integer(&self, min: i128, max: i128) -> Result<i128, ReadError> {
        let scalar = self.scalar(&"a number")?;
        match scalar.meaning() {
            Meaning::Int(number) if (min..=max).contains(&number) => Ok(number),
            Meaning::Int(number) => self.place(Err(ReadError::new(
                "out-of-range",
                format!("{number} is out of range; expected {min} to {max}"),
            ))),
            Meaning::LeadingZero => self.place(Err(ReadError::new(
                "leading-zero",
                format!(
                    "`{}` is decimal in YAML 1.2 and octal in YAML 1.1, which kubectl reads",
                    shortened(&scalar.text)
                ),
            )
            .with_help("write the decimal number without a leading zero"))),
            Meaning::String if !scalar.plain && matches!(super::scalar::meaning(&scalar.text), Meaning::Int(_)) => {
                let error = self.wrong_type(&"a number");
                self.place(Err(error.with_help("leave out the quotes")))
            }
            _ => self.wrong(&"a whole number"),
        }
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
            let number = self.integer(i128::from(<$ty>::MIN), i128::from(<$ty>::MAX))?;
            let number = <$ty>::try_from(number).expect("the range was checked just before");
            self.place(visitor.$visit(number))
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
                    _ => self.place(Err(ReadError::new("out-of-range", format!("{number} is out of range")))),
                },
                Meaning::LeadingZero => self.deserialize_i64(visitor),
                Meaning::Float(number) => self.place(visitor.visit_f64(number)),
                Meaning::String => self.deserialize_str(visitor),
            },
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let scalar = self.scalar(&"`true` or `false`")?;
        match scalar.meaning() {
            Meaning::Bool(value) => self.place(visitor.visit_bool(value)),
            _ => match scalar.is_boolean_for_kubectl() {
                Some(value) => {
                    let error = self.wrong_type(&"`true` or `false`");
                    self.place(Err(error.with_help(format!("write `{value}`"))))
                }
                None => self.wrong(&"`true` or `false`"),
            },
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
        let scalar = self.scalar(&"a number")?;
        match scalar.meaning() {
            Meaning::Float(number) => self.place(visitor.visit_f64(number)),
            #[expect(clippy::cast_precision_loss, reason = "a float was asked for")]
            Meaning::Int(number) => self.place(visitor.visit_f64(number as f64)),
            _ => self.wrong(&"a number"),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let text = self.string()?;
        self.place(visitor.visit_str(text))
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
        if self.node.is_null() { self.place(visitor.visit_unit()) } else { self.wrong(&"nothing") }
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
            _ => self.wrong(&"a list"),
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
            _ => self.wrong(&"a mapping"),
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
            _ => match nearest_words(fields) {
                Some(fields) => self.wrong(&format_args!("a mapping with {fields}")),
                None => self.wrong(&"a mapping"),
            },
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let choice = match &self.node.value {
            Value::Scalar(scalar) => {
                Choice { deserializer: self, name: &scalar.text, position: self.node.position, value: None }
            }
            Value::Mapping(entries) => match entries.as_slice() {
                [entry] => Choice {
                    deserializer: self,
                    name: &entry.key.text,
                    position: entry.key.position,
                    value: Some(&entry.value),
                },
                _ => return self.wrong(&format_args!("exactly one of {}", listed(variants))),
            },
            Value::Sequence(_) => return self.wrong(&listed(variants)),
        };
        if !variants.contains(&choice.name) {
            let message = format!("unknown {} {:?}; expected {}", human(name), choice.name, listed(variants));
            let error = ReadError::new("unknown-value", message).at(self.path.to_string(), choice.position);
            return Err(match nearest(choice.name, variants.iter().copied()) {
                Some(variant) if variants.len() > 3 => error.with_help(format!("did you mean `{variant}`?")),
                _ => error,
            });
        }
        self.place(visitor.visit_enum(choice))
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
