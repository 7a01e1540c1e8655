//! A serde `Deserializer` of nothing: the empty value of whatever type is wanted.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer as _, Visitor};

use super::error::ReadError;
use super::path::Path;
use super::session::Session;

/// What stands in for a value that could not be read.
#[derive(Clone, Copy)]
pub(super) struct Empty<'a> {
    /// The path of the mapping or list that the value is in.
    pub(super) within: Option<&'a Path<'a>>,
    pub(super) session: &'a Session<'a>,
}

macro_rules! deserialize_as {
    ($($method:ident $visit:ident $value:expr)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Empty<'_> {
    type Error = ReadError;

    deserialize_as! {
        deserialize_bool visit_bool false
        deserialize_i8 visit_i8 0
        deserialize_i16 visit_i16 0
        deserialize_i32 visit_i32 0
        deserialize_i64 visit_i64 0
        deserialize_u8 visit_u8 0
        deserialize_u16 visit_u16 0
        deserialize_u32 visit_u32 0
        deserialize_u64 visit_u64 0
        deserialize_f32 visit_f32 0.0
        deserialize_f64 visit_f64 0.0
        deserialize_char visit_char '\0'
        deserialize_str visit_str ""
        deserialize_string visit_str ""
        deserialize_bytes visit_str ""
        deserialize_byte_buf visit_str ""
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Some(path) = self.within {
            self.session.bereave(path);
        }
        visitor.visit_none()
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(SeqDeserializer::new(std::iter::empty::<()>()))
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
        visitor.visit_map(MapDeserializer::new(std::iter::empty::<((), ())>()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let first = variants.first().ok_or_else(|| ReadError::custom(format!("{name} has no value")))?;
        visitor.visit_enum((*first).into_deserializer())
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str("")
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}
