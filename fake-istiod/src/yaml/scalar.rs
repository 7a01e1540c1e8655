//! What a plain scalar means: the core schema of YAML 1.2, and a warning sign where YAML 1.1 reads it otherwise.

use super::node::Scalar;

/// What a scalar's text means by itself, in the core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// Empty, `~` or `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Digits that start with a zero: decimal in YAML 1.2, octal in the YAML 1.1 that kubectl reads.
    LeadingZero,
    /// Everything else.
    String,
}

/// What `text` means when it is written plainly.
#[must_use]
pub fn meaning(text: &str) -> Meaning {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Meaning::Null,
        "true" | "True" | "TRUE" => return Meaning::Bool(true),
        "false" | "False" | "FALSE" => return Meaning::Bool(false),
        ".nan" | ".NaN" | ".NAN" => return Meaning::Float(f64::NAN),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1 } else { 1 };
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") {
        return Meaning::Float(f64::from(sign) * f64::INFINITY);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return radix(digits, 16);
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return radix(digits, 8);
    }
    if !unsigned.is_empty() && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        if unsigned.len() > 1 && unsigned.starts_with('0') {
            return Meaning::LeadingZero;
        }
        return match unsigned.parse::<i128>() {
            Ok(number) => Meaning::Int(i128::from(sign) * number),
            Err(_) => unsigned.parse().map_or(Meaning::String, Meaning::Float),
        };
    }
    if is_decimal(unsigned) { text.parse().map_or(Meaning::String, Meaning::Float) } else { Meaning::String }
}

impl Scalar {
    /// What the scalar means when nothing special is wanted.
    #[must_use]
    pub fn meaning(&self) -> Meaning {
        if self.plain { meaning(&self.text) } else { Meaning::String }
    }

    /// Whether this is an empty value or a plain `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.plain && meaning(&self.text) == Meaning::Null
    }

    /// A plain word that YAML 1.1, which kubectl reads, takes for a boolean.
    pub(super) fn is_boolean_for_kubectl(&self) -> Option<bool> {
        if !self.plain {
            return None;
        }
        match self.text.as_str() {
            "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> &'static str {
        match self.meaning() {
            Meaning::Null => "nothing",
            Meaning::Bool(_) => "a boolean",
            Meaning::Int(_) | Meaning::LeadingZero | Meaning::Float(_) => "a number",
            Meaning::String => "a string",
        }
    }
}

fn radix(digits: &str, base: u32) -> Meaning {
    if digits.starts_with(['+', '-']) {
        return Meaning::String;
    }
    i128::from_str_radix(digits, base).map_or(Meaning::String, Meaning::Int)
}

/// `(\. [0-9]+ | [0-9]+ (\. [0-9]*)?) ([eE] [-+]? [0-9]+)?`, the core schema's float.
fn is_decimal(text: &str) -> bool {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let mantissa_is_number = match mantissa.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty()),
        None => !mantissa.is_empty() && digits(mantissa),
    };
    let exponent_is_number = exponent.is_none_or(|exponent| {
        let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !exponent.is_empty() && digits(exponent)
    });
    mantissa_is_number && exponent_is_number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_the_core_schema_says() {
        let table = [
            ("", Meaning::Null),
            ("~", Meaning::Null),
            ("nUll", Meaning::String),
            ("true", Meaning::Bool(true)),
            ("FALSE", Meaning::Bool(false)),
            ("yes", Meaning::String),
            ("no", Meaning::String),
            ("on", Meaning::String),
            ("0", Meaning::Int(0)),
            ("-7", Meaning::Int(-7)),
            ("+7", Meaning::Int(7)),
            ("0x1F", Meaning::Int(31)),
            ("0o17", Meaning::Int(15)),
            ("0x-1", Meaning::String),
            ("012", Meaning::LeadingZero),
            ("1_000", Meaning::String),
            ("1:30", Meaning::String),
            ("0b11", Meaning::String),
            ("1.5", Meaning::Float(1.5)),
            ("1.", Meaning::Float(1.0)),
            (".5", Meaning::Float(0.5)),
            (".", Meaning::String),
            ("1e3", Meaning::Float(1000.0)),
            ("e3", Meaning::String),
            ("-.inf", Meaning::Float(f64::NEG_INFINITY)),
            ("1.2.3", Meaning::String),
            ("20%", Meaning::String),
            ("-", Meaning::String),
        ];
        for (text, expected) in table {
            assert_eq!(meaning(text), expected, "{text:?}");
        }
    }
}
