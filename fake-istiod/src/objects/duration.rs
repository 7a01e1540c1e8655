//! Durations as Istio writes them: `5s`, `100ms`, `1m30s`.

use std::time::Duration;

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
    let malformed = || format!("expected a duration such as `5s` or `100ms`, found {text:?}");
    let nanoseconds = nanoseconds(text).ok_or_else(malformed)?;
    if nanoseconds < 1_000_000 {
        return Err(format!("expected at least 1ms, found {text:?}; leave the field out for no limit"));
    }
    if nanoseconds % 1_000_000 != 0 {
        return Err(format!("expected whole milliseconds, found {text:?}"));
    }
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| format!("{text:?} is too long"))
}

fn nanoseconds(text: &str) -> Option<u128> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let unit: u128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.len() > 12 || whole.len() > 12 {
            return None;
        }
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u128>().ok() };
        total += digits(whole)? * unit + digits(fraction)? * unit / 10_u128.pow(u32::try_from(fraction.len()).ok()?);
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
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
