//! The bytes of a message become JSON, in the form that is read here as well.

use std::collections::BTreeMap;

use envoy_types::pb::google::protobuf::Any;
use prost_reflect::{
    DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _,
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::POOL;
use super::special::is_special;

/// How many messages with a type of their own may stand in one another. What is deeper in stays bytes.
const DEPTH_MAX: usize = 50;

/// A message with its type, as a mapping with `@type`; fields stand in the order of their numbers and those that are
/// not set are left out. Of a message of an unknown type, or that is none of its type, `value` has the bytes in base64.
pub(crate) fn write(any: &Any) -> Value {
    Writer { depth: 0 }.any(&any.type_url, &any.value)
}

/// What is to be written stands in so many messages with a type of their own.
struct Writer {
    depth: usize,
}

impl Writer {
    fn any(&self, type_url: &str, bytes: &[u8]) -> Value {
        let inner = Self { depth: self.depth + 1 };
        let known = type_url.rsplit_once('/').and_then(|(_, name)| POOL.get_message_by_name(name));
        let known = known.filter(|_| self.depth < DEPTH_MAX);
        let message = known.and_then(|known| DynamicMessage::decode(known, bytes).ok());
        let mut fields = Map::new();
        fields.insert("@type".to_owned(), type_url.into());
        match message {
            Some(message) if is_special(&message.descriptor()) => {
                fields.insert("value".to_owned(), inner.message(&message));
            }
            Some(message) => fields.extend(inner.fields(&message)),
            None => {
                fields.insert("value".to_owned(), base64(bytes).into());
            }
        }
        fields.into()
    }

    fn message(&self, message: &DynamicMessage) -> Value {
        if is_special(&message.descriptor()) { self.special(message) } else { self.fields(message).into() }
    }

    fn fields(&self, message: &DynamicMessage) -> Map<String, Value> {
        message.fields().map(|(field, value)| (field.json_name().to_owned(), self.field(&field, value))).collect()
    }

    fn field(&self, field: &FieldDescriptor, value: &prost_reflect::Value) -> Value {
        match (value, field.kind()) {
            (prost_reflect::Value::List(items), kind) => items.iter().map(|item| self.value(&kind, item)).collect(),
            (prost_reflect::Value::Map(entries), Kind::Message(entry)) => {
                let kind = entry.map_entry_value_field().kind();
                let entries: BTreeMap<String, Value> =
                    entries.iter().map(|(key, value)| (key_text(key), self.value(&kind, value))).collect();
                entries.into_iter().collect::<Map<_, _>>().into()
            }
            (value, kind) => self.value(&kind, value),
        }
    }

    fn value(&self, kind: &Kind, value: &prost_reflect::Value) -> Value {
        match value {
            prost_reflect::Value::Bool(value) => (*value).into(),
            prost_reflect::Value::I32(value) => (*value).into(),
            prost_reflect::Value::U32(value) => (*value).into(),
            // JSON has no 64 bits.
            prost_reflect::Value::I64(value) => value.to_string().into(),
            prost_reflect::Value::U64(value) => value.to_string().into(),
            // By way of its text, which has no more digits than tell it apart.
            prost_reflect::Value::F32(value) => value.to_string().parse().map_or(Value::Null, float),
            prost_reflect::Value::F64(value) => float(*value),
            prost_reflect::Value::String(text) => text.as_str().into(),
            prost_reflect::Value::Bytes(bytes) => base64(bytes).into(),
            prost_reflect::Value::EnumNumber(number) => match kind {
                Kind::Enum(values) => enum_value(values, *number),
                _ => (*number).into(),
            },
            prost_reflect::Value::Message(message) => self.message(message),
            // Fields have these, and no list has a list in it.
            prost_reflect::Value::List(_) | prost_reflect::Value::Map(_) => Value::Null,
        }
    }

    /// A message that the JSON mapping writes in a way of its own.
    fn special(&self, message: &DynamicMessage) -> Value {
        let descriptor = message.descriptor();
        let integer = |number| message.get_field_by_number(number).and_then(|value| value.as_i64()).unwrap_or_default();
        let nanos = || message.get_field_by_number(2).and_then(|value| value.as_i32()).unwrap_or_default();
        match descriptor.name() {
            "Any" => {
                let type_url = message.get_field_by_number(1);
                let bytes = message.get_field_by_number(2);
                let type_url = type_url.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
                self.any(type_url, bytes.as_ref().and_then(|value| value.as_bytes()).map_or(&[], |bytes| bytes))
            }
            "Duration" => duration(integer(1), nanos()).into(),
            "Timestamp" => timestamp(integer(1), nanos()),
            // A `Struct` and a `ListValue` are their only field, and a `Value` is the one that is set.
            "Struct" | "ListValue" => self.only_field(&descriptor, message),
            "Value" => match message.fields().next() {
                Some((field, value)) => self.field(&field, value),
                None => Value::Null,
            },
            _ => self.only_field(&descriptor, message),
        }
    }

    fn only_field(&self, descriptor: &MessageDescriptor, message: &DynamicMessage) -> Value {
        let field = descriptor.get_field(1).expect("it is made of this field");
        self.field(&field, &message.get_field(&field))
    }
}

fn key_text(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => key.clone(),
    }
}

/// By its name; a number that has none stays one.
fn enum_value(values: &EnumDescriptor, number: i32) -> Value {
    if values.full_name() == "google.protobuf.NullValue" {
        return Value::Null;
    }
    values.get_value(number).map_or_else(|| number.into(), |value| value.name().into())
}

fn float(value: f64) -> Value {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "Infinity".into() } else { "-Infinity".into() }
    } else {
        json!(value)
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `-1.050s`, with no more groups of three digits behind the point than it takes.
fn duration(secs: i64, nanos: i32) -> String {
    let sign = if secs < 0 || nanos < 0 { "-" } else { "" };
    format!("{sign}{}{}s", secs.unsigned_abs(), fraction(nanos.unsigned_abs()))
}

/// A point and 3, 6 or 9 digits; nothing of 0.
fn fraction(nanos: u32) -> String {
    let mut digits = format!("{nanos:09}");
    while digits.ends_with("000") {
        digits.truncate(digits.len() - 3);
    }
    if digits.is_empty() { digits } else { format!(".{digits}") }
}

/// `2025-01-01T00:00:18.500Z`; null of a time that the mapping has no text for.
fn timestamp(secs: i64, nanos: i32) -> Value {
    let Some(nanos) = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000) else { return Value::Null };
    let time = OffsetDateTime::from_unix_timestamp(secs).ok();
    let text = time.and_then(|time| time.format(&Rfc3339).ok());
    text.map_or(Value::Null, |text| format!("{}{}Z", text.trim_end_matches('Z'), fraction(nanos)).into())
}
