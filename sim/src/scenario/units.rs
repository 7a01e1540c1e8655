//! The little languages inside a scenario: times, ranges of times, shares, and how many calls.

use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::is_decimal;

/// A length of simulated time: `500ms`, `2s`, `1m30s`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub Duration);

/// A time, or a range from which the seed draws one: `5ms`, `1ms..20ms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeRange(pub RangeInclusive<Duration>);

/// A part of all calls, such as `20%` or `0.5%`; kept in thousandths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Percent(u32);

/// How many calls: `3`, `2..3` with both ends included, or `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Calls {
    /// Every one of them.
    All,
    /// A number from the first to the second.
    Between(u64, u64),
}

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a time with its unit, such as `500ms`, `2s` or `1m30s`, found {text:?}");
        if let Some(number) = bare_number(text) {
            return Err(format!(
                "expected a time with its unit, such as `{number}s` or `{number}ms`, found the bare number {text}"
            ));
        }
        let (mut rest, mut total_ms, mut last_unit) = (text, 0_u64, u64::MAX);
        while !rest.is_empty() {
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let number: u64 = rest[..digits].parse().map_err(|_| expected())?;
            let tail = &rest[digits..];
            let unit = tail.len() - tail.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
            let found = UNITS.iter().find(|(name, _)| *name == &tail[..unit]);
            let (_, unit_ms) = found.filter(|(_, ms)| *ms < last_unit).ok_or_else(expected)?;
            let part_ms = number.checked_mul(*unit_ms);
            total_ms = part_ms.and_then(|part| total_ms.checked_add(part)).ok_or_else(expected)?;
            (rest, last_unit) = (&tail[unit..], *unit_ms);
        }
        if last_unit == u64::MAX {
            return Err(expected());
        }
        Ok(Self(Duration::from_millis(total_ms)))
    }
}

/// A number without a unit; `inf` and `nan` are words here.
fn bare_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|_| text.bytes().any(|byte| byte.is_ascii_digit()))
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest_ms = self.0.as_millis();
        if rest_ms == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS.iter().rev() {
            let whole = rest_ms / u128::from(*ms);
            if whole > 0 {
                write!(f, "{whole}{unit}")?;
            }
            rest_ms %= u128::from(*ms);
        }
        Ok(())
    }
}

impl FromStr for TimeRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((low, high)) = text.split_once("..") else {
            return text.parse::<Time>().map(|time| Self(time.0..=time.0));
        };
        let (low, high): (Time, Time) = (low.parse()?, high.parse()?);
        if low > high {
            return Err(format!("the range {text} is empty: {low} is longer than {high}"));
        }
        Ok(Self(low.0..=high.0))
    }
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (Time(*self.0.start()), Time(*self.0.end()));
        if low == high { low.fmt(f) } else { write!(f, "{low}..{high}") }
    }
}

impl Percent {
    /// All of them.
    pub(super) const WHOLE: Self = Self(100_000);

    /// The share as a number from 0 to 1.
    #[must_use]
    pub(super) fn fraction(self) -> f64 {
        f64::from(self.0) / f64::from(Self::WHOLE.0)
    }

    pub(super) fn thousandths(self) -> u32 {
        self.0
    }
}

impl FromStr for Percent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a share from 0% to 100%, such as `20%` or `0.5%`, found {text:?}");
        let Some(number) = text.strip_suffix('%') else {
            return Err(match bare_number(text) {
                Some(number) => format!("expected a share such as `{number}%`, found the bare number {text}"),
                None => expected(),
            });
        };
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        if !is_number(whole) || !is_number(decimals) || decimals.len() > 3 {
            return Err(expected());
        }
        let whole: u32 = whole.parse().map_err(|_| expected())?;
        let decimals: u32 = format!("{decimals:0<3}").parse().map_err(|_| expected())?;
        let thousandths = whole.checked_mul(1_000).and_then(|whole| whole.checked_add(decimals));
        thousandths.filter(|share| *share <= Self::WHOLE.0).map(Self).ok_or_else(expected)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 1_000 {
            0 => write!(f, "{}%", self.0 / 1_000),
            decimals => {
                let decimals = format!("{decimals:03}");
                write!(f, "{}.{}%", self.0 / 1_000, decimals.trim_end_matches('0'))
            }
        }
    }
}

impl Calls {
    /// The fewest and the most calls this allows, of `count`.
    #[must_use]
    pub(super) fn bounds(self, count: u64) -> (u64, u64) {
        match self {
            Self::All => (count, count),
            Self::Between(low, high) => (low, high),
        }
    }
}

impl FromStr for Calls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("expected a number of calls such as `3`, `2..3` or `all`, found {text:?}");
        if text == "all" {
            return Ok(Self::All);
        }
        let number = |text: &str| text.parse().ok().filter(|_| is_decimal(text)).ok_or_else(expected);
        let (low, high) = match text.split_once("..") {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(text)?, number(text)?),
        };
        if low > high {
            return Err(format!("the range {text} is empty: {low} is above {high}"));
        }
        Ok(Self::Between(low, high))
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Between(low, high) if low == high => low.fmt(f),
            Self::Between(low, high) => write!(f, "{low}..{high}"),
        }
    }
}

impl Time {
    /// A regular expression for times of which no part is longer than `longest`.
    pub(super) fn pattern(longest: Self) -> String {
        let longest_ms = u64::try_from(longest.0.as_millis()).unwrap_or(u64::MAX);
        let parts = UNITS.iter().rev().map(|(unit, ms)| format!("(0*{}{unit})?", up_to(longest_ms / ms)));
        format!("(?=[0-9]){}", parts.collect::<String>())
    }
}

/// A regular expression for the whole numbers up to `most`.
pub(super) fn up_to(most: u64) -> String {
    let digits = most.to_string();
    let mut choices = Vec::new();
    if digits.len() > 1 {
        choices.push(format!("[0-9]{{1,{}}}", digits.len() - 1));
    }
    for (index, digit) in digits.char_indices() {
        let rest = digits.len() - index - 1;
        if let Some(below) = digit.to_digit(10).and_then(|digit| digit.checked_sub(1)) {
            choices.push(format!("{}[0-{below}][0-9]{{{rest}}}", &digits[..index]));
        }
    }
    choices.push(digits);
    format!("({})", choices.join("|"))
}

impl JsonSchema for Percent {
    fn schema_name() -> Cow<'static, str> {
        "Percent".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A part of all calls, such as `20%`; the shares of one expectation sum to 100 %.",
            "type": "string",
            "pattern": r"^0*(100(\.0{1,3})?|[0-9]{1,2}(\.[0-9]{1,3})?)%$",
        })
    }
}

impl JsonSchema for Calls {
    fn schema_name() -> Cow<'static, str> {
        "Calls".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let number = up_to(u64::MAX);
        json_schema!({
            "description": "How many calls: `3`, `2..3` with both ends included, or `all`.",
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": u64::MAX},
                {"type": "string", "pattern": format!(r"^(all|0*{number}(\.\.0*{number})?)$")},
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units_from_the_longest_to_the_shortest() {
        let ms = |text: &str| text.parse::<Time>().map(|time| time.0.as_millis());
        assert_eq!(ms("500ms"), Ok(500));
        assert_eq!(ms("2s"), Ok(2_000));
        assert_eq!(ms("1m30s"), Ok(90_000));
        assert_eq!(ms("1h0m1s5ms"), Ok(3_601_005));
        for text in [
            "",
            "s",
            "inf",
            "nan",
            "1x",
            "1s1s",
            "1s1m",
            "1.5s",
            "-1s",
            " 1s",
            "99999999999999999999s",
            "9999999999999999h",
        ] {
            assert_eq!(
                ms(text).unwrap_err(),
                format!("expected a time with its unit, such as `500ms`, `2s` or `1m30s`, found {text:?}")
            );
        }
        assert_eq!(
            ms("60").unwrap_err(),
            "expected a time with its unit, such as `60s` or `60ms`, found the bare number 60"
        );
    }

    #[test]
    fn a_time_prints_as_it_is_written() {
        for text in ["0s", "5ms", "1s", "1m30s", "2h5ms"] {
            assert_eq!(text.parse::<Time>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_pattern_takes_what_is_not_too_long() {
        let matches = |longest: u64, text: &str| {
            let schema =
                serde_json::json!({"pattern": format!("^{}$", Time::pattern(Time(Duration::from_secs(longest))))});
            jsonschema::is_valid(&schema, &text.into())
        };
        for text in ["0s", "1s", "24h", "1440m", "007m", "86400s", "86400000ms", "23h59m59s999ms"] {
            assert!(matches(86_400, text), "{text}");
        }
        for text in ["", "25h", "100h", "1441m", "86401s", "90000s", "86400001ms", "100000000000s", "s", "1m1h"] {
            assert!(!matches(86_400, text), "{text}");
        }
        assert!(matches(1, "1000ms") && matches(1, "1s") && !matches(1, "2s") && !matches(1, "1m"));
    }

    #[test]
    fn a_range_of_times_includes_both_ends() {
        let range = |text: &str| text.parse::<TimeRange>().map(|range| range.0);
        let ms = Duration::from_millis;
        assert_eq!(range("1ms..20ms"), Ok(ms(1)..=ms(20)));
        assert_eq!(range("5ms"), Ok(ms(5)..=ms(5)));
        assert_eq!(range("2s..20ms").unwrap_err(), "the range 2s..20ms is empty: 2s is longer than 20ms");
    }

    #[test]
    fn shares_are_percentages() {
        let share = |text: &str| text.parse::<Percent>();
        assert_eq!(share("20%").unwrap().thousandths(), 20_000);
        assert_eq!(share("0.5%").unwrap().to_string(), "0.5%");
        assert_eq!(share("100%"), Ok(Percent::WHOLE));
        assert_eq!(share("20").unwrap_err(), "expected a share such as `20%`, found the bare number 20");
        for text in ["101%", "%", "-1%", "1.2345%", "1.%", "a%", "twenty"] {
            let message = format!("expected a share from 0% to 100%, such as `20%` or `0.5%`, found {text:?}");
            assert_eq!(share(text).unwrap_err(), message);
        }
    }

    #[test]
    fn calls_are_numbers_ranges_or_all() {
        let calls = |text: &str| text.parse::<Calls>();
        assert_eq!(calls("3"), Ok(Calls::Between(3, 3)));
        assert_eq!(calls("2..3"), Ok(Calls::Between(2, 3)));
        assert_eq!(calls("all").unwrap().bounds(5), (5, 5));
        assert_eq!(calls("3..2").unwrap_err(), "the range 3..2 is empty: 3 is above 2");
        assert_eq!(
            calls("some").unwrap_err(),
            "expected a number of calls such as `3`, `2..3` or `all`, found \"some\""
        );
    }
}
