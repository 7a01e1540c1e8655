//! Durations as Istio writes them: `5s`, `100ms`, `1m30s`.

use std::time::Duration;

use hermesh_runtime::go_duration::{self, GoDurationError};
use serde::{Deserialize, Deserializer, de};

/// Reads an optional duration; for `#[serde(deserialize_with)]`.
pub(super) fn optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    match Option::<String>::deserialize(deserializer)? {
        Some(text) => parse(&text).map(Some).map_err(de::Error::custom),
        None => Ok(None),
    }
}

/// Reads a duration in Go's form and holds it to the limits that istiod's webhook has.
fn parse(text: &str) -> Result<Duration, String> {
    let duration = match go_duration::parse(text) {
        Ok(duration) => duration,
        Err(GoDurationError::TooLong) => return Err(format!("{text:?} is too long; {}", GoDurationError::TooLong)),
        Err(_) => return Err(format!("expected a duration such as `5s` or `100ms`, found {text:?}")),
    };
    if duration < Duration::from_millis(1) {
        return Err(format!("expected at least 1ms, found {text:?}; leave the field out for no limit"));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("expected whole milliseconds, found {text:?}"));
    }
    Ok(duration)
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
            ("5", "such as `5s`"),
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
