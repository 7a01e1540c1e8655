//! Scalars of the JSON mapping, and how they are put on the wire.

use hermesh_istiod::yaml::{Meaning, Node, Value};
use prost::encoding::{WireType, encode_key, encode_varint};
use prost_reflect::Kind;

/// A field's value as the wire has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wire {
    Varint(u64),
    Fixed32(u32),
    Fixed64(u64),
    Bytes(Vec<u8>),
}

impl Wire {
    pub(super) fn put(&self, number: u32, out: &mut Vec<u8>) {
        let wire_type = match self {
            Self::Varint(_) => WireType::Varint,
            Self::Fixed32(_) => WireType::ThirtyTwoBit,
            Self::Fixed64(_) => WireType::SixtyFourBit,
            Self::Bytes(_) => WireType::LengthDelimited,
        };
        encode_key(number, wire_type, out);
        self.put_bare(out);
    }

    /// As it stands in a packed list.
    pub(super) fn put_bare(&self, out: &mut Vec<u8>) {
        match self {
            Self::Varint(value) => encode_varint(*value, out),
            Self::Fixed32(value) => out.extend(value.to_le_bytes()),
            Self::Fixed64(value) => out.extend(value.to_le_bytes()),
            Self::Bytes(bytes) => {
                encode_varint(bytes.len() as u64, out);
                out.extend(bytes);
            }
        }
    }

    /// Whether a field that cannot tell this from nothing has nothing.
    pub(super) fn is_default(&self) -> bool {
        match self {
            Self::Varint(value) | Self::Fixed64(value) => *value == 0,
            Self::Fixed32(value) => *value == 0,
            Self::Bytes(bytes) => bytes.is_empty(),
        }
    }
}

/// What stands in the place of a scalar that is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// It is of another kind; what was expected.
    Kind(String),
    /// It is a number, boolean or null without quotes where a text is expected.
    Unquoted,
    /// It is none of the names of an enum; the nearest one, or all if they are few.
    Name { nearest: Option<String>, all: Vec<String> },
}

/// Reads a scalar of this kind, messages apart.
pub(super) fn scalar(kind: &Kind, node: &Node) -> Result<Wire, Mismatch> {
    let signed = |low: i128, high: i128| integer(node, low, high).map(|value| value as i64 as u64);
    Ok(match kind {
        Kind::Bool => Wire::Varint(u64::from(boolean(node)?)),
        Kind::Int32 => Wire::Varint(signed(i32::MIN.into(), i32::MAX.into())?),
        Kind::Int64 => Wire::Varint(signed(i64::MIN.into(), i64::MAX.into())?),
        Kind::Uint32 => Wire::Varint(integer(node, 0, u32::MAX.into())? as u64),
        Kind::Uint64 => Wire::Varint(integer(node, 0, u64::MAX.into())? as u64),
        Kind::Sint32 => Wire::Varint(zigzag(integer(node, i32::MIN.into(), i32::MAX.into())? as i64)),
        Kind::Sint64 => Wire::Varint(zigzag(integer(node, i64::MIN.into(), i64::MAX.into())? as i64)),
        Kind::Fixed32 => Wire::Fixed32(integer(node, 0, u32::MAX.into())? as u32),
        Kind::Sfixed32 => Wire::Fixed32(integer(node, i32::MIN.into(), i32::MAX.into())? as i32 as u32),
        Kind::Fixed64 => Wire::Fixed64(integer(node, 0, u64::MAX.into())? as u64),
        Kind::Sfixed64 => Wire::Fixed64(signed(i64::MIN.into(), i64::MAX.into())?),
        Kind::Float => Wire::Fixed32((number(node)? as f32).to_bits()),
        Kind::Double => Wire::Fixed64(number(node)?.to_bits()),
        Kind::String => Wire::Bytes(text(node)?.as_bytes().to_vec()),
        Kind::Bytes => Wire::Bytes(bytes(text(node)?)?),
        Kind::Enum(values) => {
            let number = match meaning(node) {
                Some(Meaning::Int(_)) => integer(node, i32::MIN.into(), i32::MAX.into())? as i64,
                _ => {
                    let name = text(node).map_err(|_| expected("the name of a value"))?;
                    let all = || values.values().map(|value| value.name().to_owned()).collect::<Vec<_>>();
                    let nearest = |all: &[String]| {
                        hermesh_istiod::yaml::nearest(name, all.iter().map(String::as_str)).map(str::to_owned)
                    };
                    let unknown = || Mismatch::Name { nearest: nearest(&all()), all: all() };
                    i64::from(values.get_value_by_name(name).ok_or_else(unknown)?.number())
                }
            };
            Wire::Varint(number as u64)
        }
        Kind::Message(_) => unreachable!("a message is no scalar"),
    })
}

pub(super) fn text(node: &Node) -> Result<&str, Mismatch> {
    match &node.value {
        Value::Scalar(scalar) if scalar.meaning() == Meaning::String => Ok(&scalar.text),
        Value::Scalar(scalar) if !scalar.is_null() => Err(Mismatch::Unquoted),
        _ => Err(expected("a text")),
    }
}

/// What a plain scalar means, or a text in quotes that is a number.
fn meaning(node: &Node) -> Option<Meaning> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar.meaning()),
        _ => None,
    }
}

fn boolean(node: &Node) -> Result<bool, Mismatch> {
    match meaning(node) {
        Some(Meaning::Bool(value)) => Ok(value),
        _ => Err(expected("true or false")),
    }
}

/// A whole number, as such or in quotes: JSON has no 64 bits.
fn integer(node: &Node, low: i128, high: i128) -> Result<i128, Mismatch> {
    let wrong = || expected(&format!("a whole number from {low} to {high}"));
    let value = match meaning(node).ok_or_else(wrong)? {
        Meaning::Int(value) => Some(value),
        Meaning::Float(value) => whole(value),
        Meaning::String => {
            let text = node.text().unwrap_or_default();
            text.parse::<i128>().ok().or_else(|| text.parse().ok().and_then(whole))
        }
        Meaning::Null | Meaning::Bool(_) | Meaning::LeadingZero => None,
    };
    value.filter(|value| (low..=high).contains(value)).ok_or_else(wrong)
}

fn whole(value: f64) -> Option<i128> {
    // Above this not every whole number has a float of its own.
    (value.fract() == 0.0 && value.abs() <= (1_u64 << 53) as f64).then_some(value as i128)
}

pub(super) fn number(node: &Node) -> Result<f64, Mismatch> {
    let wrong = || expected("a number, \"NaN\", \"Infinity\" or \"-Infinity\"");
    match meaning(node).ok_or_else(wrong)? {
        Meaning::Int(value) => Ok(value as f64),
        Meaning::Float(value) => Ok(value),
        Meaning::String => match node.text().unwrap_or_default() {
            "NaN" => Ok(f64::NAN),
            "Infinity" => Ok(f64::INFINITY),
            "-Infinity" => Ok(f64::NEG_INFINITY),
            text if text.starts_with(|c: char| c == '-' || c == '.' || c.is_ascii_digit()) => {
                text.parse().map_err(|_| wrong())
            }
            _ => Err(wrong()),
        },
        Meaning::Null | Meaning::Bool(_) | Meaning::LeadingZero => Err(wrong()),
    }
}

/// Base64 of either alphabet, with or without padding.
fn bytes(text: &str) -> Result<Vec<u8>, Mismatch> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let bare = text.trim_end_matches('=');
    let engine = if bare.contains(['-', '_']) { &URL_SAFE_NO_PAD } else { &STANDARD_NO_PAD };
    engine.decode(bare).map_err(|_| expected("bytes in base64"))
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn expected(what: &str) -> Mismatch {
    Mismatch::Kind(what.to_owned())
}
