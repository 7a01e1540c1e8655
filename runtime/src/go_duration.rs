//! Durations as Go writes them, and with Go all of Istio: `5s`, `100ms`, `1m30s`.

use std::time::Duration;

/// Go's `time.Duration` counts nanoseconds in 63 bits: 292 years.
const MAX_NANOS: u128 = i64::MAX as u128;

/// Longer fractions are finer than a nanosecond in every unit.
const MAX_FRACTION_DIGITS: usize = 18;

/// A text that is no duration of Go's, or one that cannot be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GoDurationError {
    /// It does not read as a duration.
    #[error("expected numbers with the units h, m, s, ms, us or ns, such as `5s` or `1h30m`")]
    Malformed,
    /// It is less than zero.
    #[error("expected a duration that is not negative")]
    Negative,
    /// Go has no place for it.
    #[error("expected at most 2562047h, which is 292 years")]
    TooLong,
}

/// Reads a duration as Go's `time.ParseDuration` does: decimal numbers, each with a unit, one after another. What is
/// finer than a nanosecond is cut off.
///
/// # Errors
/// See [`GoDurationError`].
///
/// ```
/// use hermesh_runtime::go_duration::{GoDurationError, parse};
/// assert_eq!(parse("1m30.5s"), Ok(std::time::Duration::from_millis(90_500)));
/// assert_eq!(parse("5 s"), Err(GoDurationError::Malformed));
/// ```
pub fn parse(text: &str) -> Result<Duration, GoDurationError> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let mut total: u128 = 0;
    if rest != "0" {
        if rest.is_empty() {
            return Err(GoDurationError::Malformed);
        }
        while !rest.is_empty() {
            let (nanos, tail) = term(rest)?;
            total += nanos;
            if total > MAX_NANOS {
                return Err(GoDurationError::TooLong);
            }
            rest = tail;
        }
    }
    if negative && total > 0 {
        return Err(GoDurationError::Negative);
    }
    Ok(Duration::from_nanos(u64::try_from(total).map_err(|_| GoDurationError::TooLong)?))
}

/// The nanoseconds of the number and unit that `text` begins with, and what follows them.
fn term(text: &str) -> Result<(u128, &str), GoDurationError> {
    use GoDurationError::{Malformed, TooLong};
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(Malformed)?;
    let (number, tail) = text.split_at(number_end);
    let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
    let (unit, tail) = tail.split_at(unit_end);
    let unit: u128 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(Malformed),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(Malformed);
    }
    let digits = |digits: &str| digits.bytes().fold(0_u128, |value, digit| value * 10 + u128::from(digit - b'0'));
    let whole = whole.trim_start_matches('0');
    // 63 bits have nineteen digits.
    if whole.len() > 19 {
        return Err(TooLong);
    }
    let fraction = &fraction[..fraction.len().min(MAX_FRACTION_DIGITS)];
    let scale = fraction.bytes().fold(1, |scale: u128, _| scale * 10);
    Ok((digits(whole) * unit + digits(fraction) * unit / scale, tail))
}

/// Writes a duration as Go's `time.Duration` prints: `0s`, `812.4µs`, `1.52ms`, `2.1s`, `1m30s`, `1h0m0.5s`.
#[must_use]
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => format!("{}µs", decimal(nanos, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanos, 1_000_000)),
        _ => {
            let minutes = nanos / 60_000_000_000;
            let seconds = decimal(nanos % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// `value / unit` with as many digits as it needs; `unit` is a power of ten.
fn decimal(value: u128, unit: u128) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0width$}").trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_go_does() {
        for (text, nanos) in [
            ("0", 0),
            ("-0", 0),
            ("0s", 0),
            ("5s", 5_000_000_000),
            ("+5s", 5_000_000_000),
            ("24h", 86_400_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m30.5s", 90_500_000_000),
            ("100ms", 100_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("1us", 1_000),
            ("1µs", 1_000),
            ("1.9ns", 1),
            ("0000000000000000000000000001s", 1_000_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        use GoDurationError::{Malformed, Negative, TooLong};
        for (text, error) in [
            ("", Malformed),
            ("-", Malformed),
            ("5", Malformed),
            ("s", Malformed),
            (".s", Malformed),
            ("1.2.3s", Malformed),
            ("5 s", Malformed),
            ("1d", Malformed),
            ("--5s", Malformed),
            ("-5s", Negative),
            ("9223372036854775808ns", TooLong),
            ("2562048h", TooLong),
            ("9223372036s1h", TooLong),
            ("99999999999999999999999999999999999999999999h", TooLong),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (nanos, text) in [
            (0, "0s"),
            (1, "1ns"),
            (999, "999ns"),
            (1_000, "1µs"),
            (812_400, "812.4µs"),
            (1_234_567, "1.234567ms"),
            (1_520_000, "1.52ms"),
            (2_100_000_000, "2.1s"),
            (5_000_000_000, "5s"),
            (60_000_000_000, "1m0s"),
            (90_500_000_000, "1m30.5s"),
            (3_600_000_000_001, "1h0m0.000000001s"),
        ] {
            assert_eq!(format(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos in 0..=i64::MAX as u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&format(duration)), Ok(duration));
        }

        #[test]
        fn no_text_is_too_odd(text in "[-+]?([0-9]{0,40}(\\.[0-9]{0,40})?(h|m|s|ms|us|ns|µs|x|)){0,4}") {
            let _ = parse(&text);
        }
    }
}
