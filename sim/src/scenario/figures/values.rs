//! The little languages of figures: quantiles, bounds of times, numbers, and numbers or shares of calls.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::super::file::TIMEOUT_MAX;
use super::super::units::{Calls, Percent, Time, TimeRange};
use super::Tally;

/// A place among all calls, from the fastest to the slowest: `p50`, `p99.9`, `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::scenario) struct Quantile(pub(super) Percent);

/// Which times are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum Bound {
    /// `<5ms`
    Below(Time),
    /// `>5ms`
    Above(Time),
    /// `5ms..20ms`, with both ends.
    Within(Time, Time),
}

/// How many: `3` or `1..3`, with both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) struct Count {
    pub(super) low: u64,
    pub(super) high: u64,
}

/// How many of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum Amount {
    /// `3`, `2..3` or `all`
    Calls(Calls),
    /// `20%`: what chance gives to that share.
    Share(Percent),
    /// `0%..1%`, with both ends.
    Shares(Percent, Percent),
}

/// How many attempts calls take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::scenario) enum Attempts {
    /// Each of them.
    Each(Count),
    /// How many calls by attempts.
    Calls(Tally),
}

impl Quantile {
    /// How many calls there must be for one to be slower than this quantile.
    pub(super) fn calls_needed(self) -> u64 {
        let whole = Percent::WHOLE.thousandths();
        match whole - self.0.thousandths() {
            0 => 1,
            rest => u64::from(whole.div_ceil(rest)),
        }
    }

    /// The nearest rank: a time that one of them really took. They are sorted.
    pub(super) fn of(self, took: &[Duration]) -> Option<Duration> {
        let rank = (took.len() as u64 * u64::from(self.0.thousandths())).div_ceil(Percent::WHOLE.thousandths().into());
        took.get(usize::try_from(rank).ok()?.max(1) - 1).copied()
    }
}

impl FromStr for Quantile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let percent = match text.strip_prefix('p') {
            Some(number) => format!("{number}%").parse().ok().filter(|percent| *percent < Percent::WHOLE),
            None => (text == "max").then_some(Percent::WHOLE),
        };
        let some = percent.filter(|percent: &Percent| percent.thousandths() > 0);
        some.map(Self).ok_or_else(|| format!("expected `p50`, `p99.9`, `max` or the like, found {text:?}"))
    }
}

impl fmt::Display for Quantile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Percent::WHOLE => f.write_str("max"),
            part => write!(f, "p{}", part.to_string().trim_end_matches('%')),
        }
    }
}

impl Bound {
    pub(super) fn allows(self, time: Duration) -> bool {
        match self {
            Self::Below(high) => time < high.0,
            Self::Above(low) => time > low.0,
            Self::Within(low, high) => (low.0..=high.0).contains(&time),
        }
    }

    /// Between which times it lies.
    pub(super) fn ends(self) -> (Duration, Duration) {
        match self {
            Self::Below(high) => (Duration::ZERO, high.0),
            Self::Above(low) => (low.0, Duration::MAX),
            Self::Within(low, high) => (low.0, high.0),
        }
    }
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let limited = |time: Time| match time > TIMEOUT_MAX {
            true => Err(format!("expected {TIMEOUT_MAX} at most, found {time}")),
            false => Ok(time),
        };
        if let Some(high) = text.strip_prefix('<') {
            let high: Time = high.parse()?;
            return match high.0.is_zero() {
                true => Err("no call takes less than no time; expected `<1ms` at least".to_owned()),
                false => limited(high).map(Self::Below),
            };
        }
        if let Some(low) = text.strip_prefix('>') {
            return low.parse().and_then(limited).map(Self::Above);
        }
        if text.contains("..") {
            let TimeRange(range) = text.parse()?;
            return Ok(Self::Within(Time(*range.start()), limited(Time(*range.end()))?));
        }
        Err(match text.parse::<Time>() {
            Ok(time) => format!("no call takes exactly {time}; expected a bound such as `<{time}`"),
            Err(_) => format!("expected a bound such as `<20ms`, `>1s` or `5ms..20ms`, found {text:?}"),
        })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(high) => write!(f, "<{high}"),
            Self::Above(low) => write!(f, ">{low}"),
            Self::Within(low, high) => write!(f, "{low}..{high}"),
        }
    }
}

impl Count {
    pub(super) fn is_one(self) -> bool {
        (self.low, self.high) == (1, 1)
    }

    pub(super) fn allows(self, number: u64) -> bool {
        (self.low..=self.high).contains(&number)
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(Calls::Between(low, high)) => Ok(Self { low, high }),
            Err(message) if message.starts_with("the range") => Err(message),
            _ => Err(format!("expected a number such as `3` or `1..3`, found {text:?}")),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Calls::Between(self.low, self.high).fmt(f)
    }
}

impl Amount {
    /// Whether so many of all are allowed; a share by itself is judged by chance, not here.
    pub(super) fn allows(self, calls: u64, all: u64) -> bool {
        let (whole, part) = (u128::from(Percent::WHOLE.thousandths()), u128::from(calls));
        let times = |share: Percent| u128::from(share.thousandths()) * u128::from(all);
        match self {
            Self::Calls(Calls::All) => calls == all && all > 0,
            Self::Calls(Calls::Between(low, high)) => (low..=high).contains(&calls),
            Self::Share(share) => times(share) == part * whole,
            Self::Shares(low, high) => all > 0 && (times(low)..=times(high)).contains(&(part * whole)),
        }
    }
}

impl Amount {
    /// The fewest and the most calls this allows, of so many.
    pub(super) fn bounds(self, all: u64) -> (u64, u64) {
        let whole = u128::from(Percent::WHOLE.thousandths());
        let part = |share: Percent| u128::from(share.thousandths()) * u128::from(all);
        let calls = |calls: u128| u64::try_from(calls).unwrap_or(u64::MAX);
        match self {
            Self::Calls(bounds) => bounds.bounds(all),
            Self::Share(share) => (calls(part(share) / whole), calls(part(share).div_ceil(whole))),
            Self::Shares(low, high) => (calls(part(low).div_ceil(whole)), calls(part(high) / whole)),
        }
    }

    /// Whether this allows any call; `all` is how many there are, if that is known.
    pub(super) fn allows_some(self, all: Option<u64>) -> bool {
        match (self, all) {
            (_, Some(all)) => self.bounds(all).1 > 0,
            (Self::Calls(Calls::All), None) => true,
            (Self::Calls(Calls::Between(_, high)), None) => high > 0,
            (Self::Share(high) | Self::Shares(_, high), None) => high.thousandths() > 0,
        }
    }

    /// Whether this takes every call; `all` is how many there are, if that is known.
    pub(super) fn takes_all(self, all: Option<u64>) -> bool {
        match (self, all) {
            (_, Some(all)) => self.bounds(all).0 >= all,
            (Self::Calls(Calls::All), None) => true,
            (Self::Calls(Calls::Between(..)), None) => false,
            (Self::Share(low) | Self::Shares(low, _), None) => low == Percent::WHOLE,
        }
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('%') {
            return text.parse().map(Self::Calls).map_err(|message: String| match message.starts_with("the range") {
                true => message,
                false => format!(
                    "expected a number or a share such as `3`, `2..3`, `all`, `20%` or `0%..1%`, found {text:?}"
                ),
            });
        }
        let Some((low, high)) = text.split_once("..") else { return text.parse().map(Self::Share) };
        let (low, high): (Percent, Percent) = (low.parse()?, high.parse()?);
        if low > high {
            return Err(format!("the range {text} is empty: {low} is above {high}"));
        }
        Ok(Self::Shares(low, high))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Calls(calls) => calls.fmt(f),
            Self::Share(share) => share.fmt(f),
            Self::Shares(low, high) => write!(f, "{low}..{high}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_and_need_their_calls() {
        let quantile = |text: &str| text.parse::<Quantile>();
        let took: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (text, ms, needed) in [("p50", 100, 2), ("p99", 198, 100), ("p99.9", 200, 1000), ("max", 200, 1)] {
            let quantile = quantile(text).unwrap();
            assert_eq!(
                (quantile.of(&took), quantile.calls_needed()),
                (Some(Duration::from_millis(ms)), needed),
                "{text}"
            );
            assert_eq!(quantile.to_string(), text);
        }
        assert_eq!(quantile("p1").unwrap().of(&[]), None);
        for text in ["p0", "p100", "p", "99", "p99.9999", "min", "p-1"] {
            assert!(quantile(text).is_err(), "{text}");
        }
    }

    #[test]
    fn bounds_have_a_side() {
        let allows = |text: &str, ms| text.parse::<Bound>().unwrap().allows(Duration::from_millis(ms));
        assert!(allows("<5ms", 4) && !allows("<5ms", 5));
        assert!(allows(">5ms", 6) && !allows(">5ms", 5));
        assert!(allows("5ms..6ms", 5) && allows("5ms..6ms", 6) && !allows("5ms..6ms", 7));
        let wrong = |text: &str| text.parse::<Bound>().unwrap_err();
        assert_eq!(wrong("5ms"), "no call takes exactly 5ms; expected a bound such as `<5ms`");
        assert_eq!(wrong("<0s"), "no call takes less than no time; expected `<1ms` at least");
        assert_eq!(wrong("fast"), "expected a bound such as `<20ms`, `>1s` or `5ms..20ms`, found \"fast\"");
        assert_eq!(wrong("<25h"), "expected 24h at most, found 25h");
        assert_eq!(wrong("2s..1s"), "the range 2s..1s is empty: 2s is longer than 1s");
    }

    #[test]
    fn amounts_are_numbers_or_shares() {
        let amount = |text: &str| text.parse::<Amount>().unwrap();
        assert!(amount("all").allows(3, 3) && !amount("all").allows(0, 0) && !amount("all").allows(2, 3));
        assert!(amount("0..1").allows(0, 0) && !amount("0..1").allows(2, 9));
        assert!(amount("0%..1%").allows(1, 100) && !amount("0%..1%").allows(2, 100));
        assert!(!amount("0%..1%").allows(0, 0), "of no calls there is no share");
        assert_eq!("2%..1%".parse::<Amount>().unwrap_err(), "the range 2%..1% is empty: 2% is above 1%");
        assert!("many".parse::<Amount>().unwrap_err().ends_with("found \"many\""));
    }
}
