//! A tree becomes the bytes of a message. Mistakes are collected, all in one pass.

use std::collections::BTreeMap;

use envoy_types::pb::google::protobuf::Any;
use hermesh_istiod::yaml::{Diagnostic, Location, Meaning, Node, Position, Value, field_path, nearest};
use prost::Message as _;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::POOL;
use super::scalar::{Mismatch, Wire, expected, number, scalar, text};
use super::special::is_special;

/// How many names of an enum a message lists.
const NAMES_MAX: usize = 8;

/// The range of `google.protobuf.Duration`, in seconds: about 10,000 years.
const DURATION_MAX_SECS: u64 = 315_576_000_000;

/// Reads messages out of one file.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a str,
    pub(super) errors: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    pub(super) fn of(file: &'a str) -> Self {
        Self { file, errors: Vec::new() }
    }

    /// A message with its type: a mapping with `@type`.
    pub(super) fn any(&mut self, node: &Node, path: &str) -> Any {
        const EXPECTED: &str = "a message with its type: a mapping with `@type`";
        if node.entries().is_none() {
            self.mismatch(node, path, expected(EXPECTED));
            return Any::default();
        }
        let Some(at_type) = node.get("@type") else {
            self.error(node.position, path, "missing-field", "field `@type` is missing: what message is it?");
            return Any::default();
        };
        let type_path = field_path(path, "@type");
        let type_url = match text(at_type) {
            Ok(type_url) => type_url.to_owned(),
            Err(mismatch) => {
                self.mismatch(at_type, &type_path, mismatch);
                return Any::default();
            }
        };
        let Some((_, name)) = type_url.rsplit_once('/') else {
            let message = format!("expected a type's URL such as \"type.googleapis.com/{type_url}\"");
            self.error(at_type.position, &type_path, "bad-value", message);
            return Any::default();
        };
        let Some(message) = POOL.get_message_by_name(name) else {
            let messages: Vec<MessageDescriptor> = POOL.all_messages().collect();
            let near = nearest(name, messages.iter().map(MessageDescriptor::full_name));
            let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            self.error(at_type.position, &type_path, "unknown-type", format!("unknown message type {name:?}{meant}"));
            return Any::default();
        };
        let value = if is_special(&message) {
            match node.get("value") {
                Some(value) => self.special(&message, value, &field_path(path, "value")),
                None => {
                    self.error(
                        node.position,
                        path,
                        "missing-field",
                        format!("field `value` of this {name} is missing"),
                    );
                    Vec::new()
                }
            }
        } else {
            self.fields(&message, node, path, &["@type"])
        };
        Any { type_url, value }
    }

    /// The bytes of a message.
    pub(super) fn message(&mut self, message: &MessageDescriptor, node: &Node, path: &str) -> Vec<u8> {
        if is_special(message) {
            return self.special(message, node, path);
        }
        self.fields(message, node, path, &[])
    }

    fn fields(&mut self, message: &MessageDescriptor, node: &Node, path: &str, skip: &[&str]) -> Vec<u8> {
        let Some(entries) = node.entries() else {
            self.mismatch(node, path, expected(&format!("a mapping: {}", message.full_name())));
            return Vec::new();
        };
        let mut fields: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        let mut choices: BTreeMap<String, String> = BTreeMap::new();
        for entry in entries.iter().filter(|entry| !skip.contains(&entry.key.text.as_str())) {
            let (key, at) = (entry.key.text.as_str(), field_path(path, &entry.key.text));
            let by_name = || message.get_field_by_name(key);
            let Some(field) = message.get_field_by_json_name(key).or_else(by_name) else {
                let unknown = unknown_field(message, key);
                self.error(entry.key.position, &at, "unknown-field", unknown);
                continue;
            };
            // Null stands for a field that is not there, but of a JSON value it is one.
            let is_value = matches!(field.kind(), Kind::Message(kind) if kind.full_name() == "google.protobuf.Value");
            if entry.value.is_null() && !is_value {
                continue;
            }
            if fields.contains_key(&field.number()) {
                let twice = format!("`{}` stands here twice, under both of its names", field.json_name());
                self.error(entry.key.position, &at, "duplicate-name", twice);
                continue;
            }
            if let Some(choice) = field.containing_oneof()
                && let Some(other) = choices.insert(choice.name().to_owned(), key.to_owned())
            {
                let both = format!("`{key}` and `{other}` exclude each other; leave one out");
                self.error(entry.key.position, &at, "contradiction", both);
            }
            let bytes = self.field(&field, &entry.value, &at);
            fields.insert(field.number(), bytes);
        }
        fields.into_values().flatten().collect()
    }

    fn field(&mut self, field: &FieldDescriptor, node: &Node, path: &str) -> Vec<u8> {
        let mut out = Vec::new();
        if field.is_map() {
            self.map(field, node, path, &mut out);
        } else if field.is_list() {
            let Some(items) = node.items() else {
                self.mismatch(node, path, expected("a list"));
                return out;
            };
            let items = items.iter().enumerate();
            let values: Vec<Wire> = items
                .filter_map(|(index, item)| self.value(&field.kind(), item, &format!("{path}[{index}]")))
                .collect();
            if field.is_packed() && !values.is_empty() {
                let mut packed = Vec::new();
                values.iter().for_each(|value| value.put_bare(&mut packed));
                Wire::Bytes(packed).put(field.number(), &mut out);
            } else {
                values.iter().for_each(|value| value.put(field.number(), &mut out));
            }
        } else if let Some(value) = self.value(&field.kind(), node, path)
            && (field.supports_presence() || !value.is_default())
        {
            value.put(field.number(), &mut out);
        }
        out
    }

    fn map(&mut self, field: &FieldDescriptor, node: &Node, path: &str, out: &mut Vec<u8>) {
        let Kind::Message(entry_type) = field.kind() else { unreachable!("a map's entries are messages") };
        let Some(entries) = node.entries() else { return self.mismatch(node, path, expected("a mapping")) };
        let (key_field, value_field) = (entry_type.map_entry_key_field(), entry_type.map_entry_value_field());
        for entry in entries {
            let at = field_path(path, &entry.key.text);
            // A key of JSON is a text, whatever it stands for.
            let scalar = hermesh_istiod::yaml::Scalar {
                text: entry.key.text.clone(),
                plain: !matches!(key_field.kind(), Kind::String),
            };
            let key = Node { value: Value::Scalar(scalar), position: entry.key.position };
            let (key, value) =
                (self.value(&key_field.kind(), &key, &at), self.value(&value_field.kind(), &entry.value, &at));
            let (Some(key), Some(value)) = (key, value) else { continue };
            let mut bytes = Vec::new();
            key.put(key_field.number(), &mut bytes);
            value.put(value_field.number(), &mut bytes);
            Wire::Bytes(bytes).put(field.number(), out);
        }
    }

    fn value(&mut self, kind: &Kind, node: &Node, path: &str) -> Option<Wire> {
        if let Kind::Message(message) = kind {
            return Some(Wire::Bytes(self.message(message, node, path)));
        }
        match scalar(kind, node) {
            Ok(value) => Some(value),
            Err(mismatch) => {
                self.mismatch(node, path, mismatch);
                None
            }
        }
    }

    /// A message that the JSON mapping writes in a way of its own.
    fn special(&mut self, message: &MessageDescriptor, node: &Node, path: &str) -> Vec<u8> {
        let read = match message.name() {
            "Any" => return self.any(node, path).encode_to_vec(),
            "Duration" => duration(node),
            "Timestamp" => timestamp(node),
            "Struct" => return self.structure(node, path),
            "Value" => return self.json(node, path),
            "ListValue" => {
                let Some(items) = node.items() else {
                    self.mismatch(node, path, expected("a list"));
                    return Vec::new();
                };
                return self.list(items, path);
            }
            // The wrappers, whose only field is the value.
            _ => {
                let field = message.get_field(1).expect("a wrapper wraps something");
                scalar(&field.kind(), node).map(|value| if value.is_default() { Vec::new() } else { put(1, &value) })
            }
        };
        read.unwrap_or_else(|mismatch| {
            self.mismatch(node, path, mismatch);
            Vec::new()
        })
    }

    /// `google.protobuf.Struct`: any mapping.
    fn structure(&mut self, node: &Node, path: &str) -> Vec<u8> {
        let Some(entries) = node.entries() else {
            self.mismatch(node, path, expected("a mapping"));
            return Vec::new();
        };
        let mut out = Vec::new();
        for entry in entries {
            let mut field = put(1, &Wire::Bytes(entry.key.text.as_bytes().to_vec()));
            Wire::Bytes(self.json(&entry.value, &field_path(path, &entry.key.text))).put(2, &mut field);
            Wire::Bytes(field).put(1, &mut out);
        }
        out
    }

    /// `google.protobuf.Value`: whatever JSON has.
    fn json(&mut self, node: &Node, path: &str) -> Vec<u8> {
        match &node.value {
            Value::Mapping(_) => put(5, &Wire::Bytes(self.structure(node, path))),
            Value::Sequence(items) => put(6, &Wire::Bytes(self.list(items, path))),
            Value::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => put(1, &Wire::Varint(0)),
                Meaning::Bool(value) => put(4, &Wire::Varint(u64::from(value))),
                Meaning::Int(_) | Meaning::Float(_) => {
                    put(2, &Wire::Fixed64(number(node).unwrap_or_default().to_bits()))
                }
                Meaning::LeadingZero | Meaning::String => put(3, &Wire::Bytes(scalar.text.as_bytes().to_vec())),
            },
        }
    }

    /// `google.protobuf.ListValue`.
    fn list(&mut self, items: &[Node], path: &str) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, item) in items.iter().enumerate() {
            Wire::Bytes(self.json(item, &format!("{path}[{index}]"))).put(1, &mut out);
        }
        out
    }

    fn mismatch(&mut self, node: &Node, path: &str, mismatch: Mismatch) {
        match mismatch {
            Mismatch::Kind(expected) => {
                self.error(node.position, path, "wrong-type", format!("expected {expected}, found {}", found(node)));
            }
            Mismatch::Unquoted => {
                let message = format!("expected a text, found {}", found(node));
                let help = format!("put it into quotes if it is meant: {:?}", node.text().unwrap_or_default());
                let location = self.location(node.position, path);
                self.errors.push(Diagnostic::error("wrong-type", location, message).with_help(help));
            }
            Mismatch::Name { nearest, all } => {
                let name = node.text().unwrap_or_default();
                let meant = match nearest {
                    Some(nearest) => format!("; did you mean `{nearest}`?"),
                    None if all.len() <= NAMES_MAX => format!("; expected {}", hermesh_istiod::yaml::listed(&all)),
                    None => String::new(),
                };
                self.error(node.position, path, "unknown-value", format!("unknown value {name:?}{meant}"));
            }
        }
    }

    pub(super) fn error(&mut self, at: Position, path: &str, code: &'static str, message: impl Into<String>) {
        let location = self.location(at, path);
        self.errors.push(Diagnostic::error(code, location, message));
    }

    fn location(&self, at: Position, path: &str) -> Location {
        let location = Location::in_file(self.file).at(at);
        if path.is_empty() { location } else { location.field(path) }
    }
}

fn unknown_field(message: &MessageDescriptor, key: &str) -> String {
    // Of either spelling, that of the mistake.
    let snake = key.contains('_');
    let names: Vec<String> = message
        .fields()
        .map(|field| if snake { field.name().to_owned() } else { field.json_name().to_owned() })
        .collect();
    match nearest(key, names.iter().map(String::as_str)) {
        Some(near) => format!("unknown field; did you mean `{near}`?"),
        None => format!("unknown field; {} has none of this name", message.full_name()),
    }
}

fn put(number: u32, value: &Wire) -> Vec<u8> {
    let mut out = Vec::new();
    value.put(number, &mut out);
    out
}

/// Seconds and nanoseconds as both `Duration` and `Timestamp` have them.
fn seconds(secs: i64, nanos: i32) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in [(1, secs), (2, i64::from(nanos))] {
        if value != 0 {
            Wire::Varint(value as u64).put(number, &mut out);
        }
    }
    out
}

/// `-1.500s`
fn duration(node: &Node) -> Result<Vec<u8>, Mismatch> {
    let wrong = || expected("a duration in seconds, such as \"1.500s\"");
    let text = text(node).map_err(|_| wrong())?;
    let number = text.strip_suffix('s').ok_or_else(wrong)?;
    let (sign, number) = number.strip_prefix('-').map_or((1, number), |number| (-1, number));
    let (secs, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if secs.is_empty() || !digits(secs) || !digits(fraction) || fraction.len() > 9 || number.ends_with('.') {
        return Err(wrong());
    }
    let secs = secs.parse::<u64>().ok().filter(|secs| *secs <= DURATION_MAX_SECS).ok_or_else(wrong)?;
    let nanos: i32 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
    Ok(seconds(sign * secs as i64, sign as i32 * nanos))
}

/// `2025-01-01T00:00:18Z`
fn timestamp(node: &Node) -> Result<Vec<u8>, Mismatch> {
    let wrong = |_| expected("a time such as \"2025-01-01T00:00:18Z\"");
    let time = OffsetDateTime::parse(text(node).map_err(|_| wrong(()))?, &Rfc3339).map_err(|_| wrong(()))?;
    Ok(seconds(time.unix_timestamp(), time.nanosecond() as i32))
}

/// What stands there, for messages.
fn found(node: &Node) -> String {
    match &node.value {
        Value::Mapping(_) => "a mapping".to_owned(),
        Value::Sequence(_) => "a list".to_owned(),
        Value::Scalar(scalar) => match scalar.meaning() {
            Meaning::Null => "nothing".to_owned(),
            Meaning::Int(_) | Meaning::LeadingZero | Meaning::Float(_) => format!("the number {}", scalar.text),
            Meaning::Bool(value) => format!("`{value}`"),
            Meaning::String => format!("the text {:?}", scalar.text),
        },
    }
}
