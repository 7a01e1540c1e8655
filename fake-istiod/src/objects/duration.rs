//! Durations as Istio writes them: `5s`, `100ms`, `1m30s`.

use std::fmt;
use std::time::Duration;

use hermesh_runtime::go_duration::{self, GoDurationError};
use serde::{Deserializer, de};

const EXPECTED: &str = "a duration such as `5s` or `100ms`";

/// Reads an optional duration; for `#[serde(deserialize_with)]`.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    deserializer.deserialize_option(Visitor)
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Option<Duration>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_none<E>(self) -> Result<Option<Duration>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Duration>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Option<Duration>, E> {
        parse(text).map(Some).map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Option<Duration>, E> {
        Err(E::custom(without_unit(&number.to_string())))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Option<Duration>, E> {
        Err(E::custom(without_unit(&number.to_string())))
    }
}

/// Reads a duration in Go's form and holds it to the limits that istiod's webhook has.
fn parse(text: &str) -> Result<Duration, String> {
    let duration = match go_duration::parse(text) {
        Ok(duration) => duration,
        Err(GoDurationError::TooLong) => return Err(format!("{text:?} is too long; {}", GoDurationError::TooLong)),
        Err(_) => return Err(without_unit(text)),
    };
    if duration < Duration::from_millis(1) {
        return Err(format!("expected at least 1ms, found {text:?}; leave the field out for its default"));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("expected whole milliseconds, found {text:?}"));
    }
    Ok(duration)
}

/// Why a text that lacks a unit, or is no duration for another reason, is none.
fn without_unit(text: &str) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    match go_duration::parse(&format!("{text}s")) {
        Ok(seconds) if is_number && !seconds.is_zero() => {
            format!("a duration has a unit; write `{text}s` for {text} seconds")
        }
        _ => format!("expected {EXPECTED}, found {text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        let ms = Duration::from_millis;
        for (text, expected) in [
            ("5s", ms(5000)),
            ("100ms", ms(100)),
            ("1m30s", ms(90_000)),
            ("1.5s", ms(1500)),
            ("2h", ms(7_200_000)),
            (".5s", ms(500)),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        for (text, reason) in [
            ("5", "has a unit; write `5s` for 5 seconds"),
            ("1.5", "write `1.5s` for 1.5 seconds"),
            ("inf", "such as `5s`"),
            ("nan", "such as `5s`"),
            (".inf", "such as `5s`"),
            ("", "such as `5s`"),
            ("s", "such as `5s`"),
            (".s", "such as `5s`"),
            ("5 s", "such as `5s`"),
            ("-5s", "such as `5s`"),
            ("5d", "such as `5s`"),
            ("0s", "at least 1ms"),
            ("0", "at least 1ms"),
            ("1500us", "whole milliseconds"),
            ("999999999999h", "too long"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
