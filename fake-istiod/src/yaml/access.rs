//! What is inside a node, handed to serde piece by piece: items, fields, keys, variants.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess, SeqAccess, VariantAccess,
    Visitor, value::U32Deserializer,
};

use super::de::{NodeDeserializer, human};
use super::error::ReadError;
use super::node::{Entry, Node, Position};
use super::path::Path;
use super::read::{Nulls, UnknownField};
use super::suggest::{listed, nearest};
use super::unread::StandIn;

pub(super) struct Items<'a> {
    pub(super) deserializer: &'a NodeDeserializer<'a>,
    pub(super) items: std::iter::Enumerate<std::slice::Iter<'a, Node>>,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        for (index, node) in self.items.by_ref() {
            let item = self.deserializer.child(Path::Index(&self.deserializer.path, index), node);
            let read = match item.session.stand_in(&item.path) {
                Some(StandIn::Nothing) => continue,
                Some(StandIn::Empty) => seed.deserialize(item.empty()),
                None => seed.deserialize(item),
            };
            return item.place(read).map(Some);
        }
        Ok(None)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

pub(super) struct Fields<'a> {
    deserializer: &'a NodeDeserializer<'a>,
    entries: std::slice::Iter<'a, Entry>,
    /// The struct's name and fields; a map takes any key.
    wanted: Option<(&'static str, &'static [&'static str])>,
    value: Option<&'a Entry>,
}

impl<'a> Fields<'a> {
    pub(super) fn new(
        deserializer: &'a NodeDeserializer<'a>,
        entries: &'a [Entry],
        wanted: Option<(&'static str, &'static [&'static str])>,
    ) -> Self {
        Self { deserializer, entries: entries.iter(), wanted, value: None }
    }

    fn note_unknown(&self, entry: &Entry, type_name: &'static str, known: &'static [&'static str]) {
        let session = self.deserializer.session;
        let meant = nearest(&entry.key.text, known.iter().copied());
        if let Some(meant) = meant.filter(|meant| self.deserializer.node.entry(meant).is_none()) {
            session.bereave(&self.deserializer.path);
            session.bereave(&Path::Field(&self.deserializer.path, meant));
        }
        let path = Path::Field(&self.deserializer.path, &entry.key.text).to_string();
        session.unknown(UnknownField {
            type_name,
            name: entry.key.text.clone(),
            known,
            location: session.at.clone().at(entry.key.position).field(path),
        });
    }
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        while let Some(entry) = self.entries.next() {
            if let Some((type_name, known)) = self.wanted
                && !known.contains(&entry.key.text.as_str())
            {
                self.note_unknown(entry, type_name, known);
                continue;
            }
            if entry.value.is_null() && self.wanted.is_some() && self.deserializer.session.nulls == Nulls::AreUnset {
                continue;
            }
            let path = Path::Field(&self.deserializer.path, &entry.key.text);
            if self.deserializer.session.stand_in(&path) == Some(StandIn::Nothing) {
                self.deserializer.session.bereave(&self.deserializer.path);
                continue;
            }
            self.value = Some(entry);
            let key = KeyDeserializer { text: &entry.key.text };
            return seed.deserialize(key).map(Some).map_err(|mut error| {
                error.place.get_or_insert_with(|| (path.to_string(), entry.key.position));
                error
            });
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let entry = self.value.take().ok_or_else(|| ReadError::custom("a value was asked for before its key"))?;
        let path = Path::Field(&self.deserializer.path, &entry.key.text);
        let value = self.deserializer.child(path, &entry.value);
        match value.session.stand_in(&value.path) {
            None => value.place(seed.deserialize(value)),
            Some(_) => value.place(seed.deserialize(value.empty())),
        }
    }
}

/// Keys are strings, and numbers where a map is keyed by numbers (`portLevelMtls`).
struct KeyDeserializer<'a> {
    text: &'a str,
}

impl KeyDeserializer<'_> {
    fn number<'de, V: Visitor<'de>>(&self, visitor: V) -> Result<V::Value, ReadError> {
        match self.text.parse::<u64>() {
            Ok(number) => visitor.visit_u64(number),
            Err(_) => Err(ReadError::new("wrong-type", format!("expected a number as key, found {:?}", self.text))),
        }
    }
}

impl<'de> Deserializer<'de> for KeyDeserializer<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.text)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.number(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.number(visitor)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.number(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if !variants.contains(&self.text) {
            let message = format!("unknown {} {:?}; expected {}", human(name), self.text, listed(variants));
            return Err(ReadError::new("unknown-value", message));
        }
        visitor.visit_enum(self.text.into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// An externally tagged enum: a bare name, or a mapping from one name to its content.
pub(super) struct Choice<'a> {
    pub(super) deserializer: NodeDeserializer<'a>,
    pub(super) name: &'a str,
    pub(super) position: Position,
    pub(super) value: Option<&'a Node>,
}

impl<'a, 'de> EnumAccess<'de> for Choice<'a> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let variant = seed.deserialize(KeyDeserializer { text: self.name })?;
        Ok((variant, self))
    }
}

impl<'a> Choice<'a> {
    fn content<T>(&self, read: impl FnOnce(NodeDeserializer<'_>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        match self.value {
            Some(node) => {
                let path = Path::Field(&self.deserializer.path, self.name);
                let content = NodeDeserializer { node, path, session: self.deserializer.session };
                content.place(read(content))
            }
            None => Err(ReadError::new("wrong-type", format!("`{}` needs a value", self.name))),
        }
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.value {
            Some(node) if !node.is_null() => {
                self.content(|content| Err(content.wrong(&format_args!("nothing after `{}`", self.name))))
            }
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.content(|content| seed.deserialize(content))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.content(|content| content.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.content(|content| content.deserialize_struct("", fields, visitor))
    }
}

/// Line, column and value, as [`super::Spanned`] wants them.
pub(super) struct SpannedParts<'a> {
    pub(super) deserializer: NodeDeserializer<'a>,
    pub(super) part: u8,
}

impl<'de> SeqAccess<'de> for SpannedParts<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let position = self.deserializer.node.position;
        self.part += 1;
        match self.part {
            1 => seed.deserialize(U32Deserializer::new(position.line)).map(Some),
            2 => seed.deserialize(U32Deserializer::new(position.column)).map(Some),
            3 => seed.deserialize(self.deserializer).map(Some),
            _ => Ok(None),
        }
    }
}
