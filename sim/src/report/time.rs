//! Simulated and wall times as reports print them.

use std::time::Duration;

/// A point in simulated time, to the millisecond: `14.212s`.
#[must_use]
pub fn seconds(time: Duration) -> String {
    format!("{}.{:03}s", time.as_secs(), time.subsec_millis())
}

/// A length of time in two parts at most: `41 ms`, `5.2s`, `2m14s`, `1h5m`.
#[must_use]
pub fn compact(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0 => format!("{} ms", time.as_millis()),
        1..60 => format!("{secs}.{}s", time.subsec_millis() / 100),
        60..3600 => format!("{}m{}s", secs / 60, secs % 60),
        _ => format!("{}h{}m", secs / 3600, secs % 3600 / 60),
    }
}

/// A length of time as it was measured: `12.304 ms`, `5.012s`.
#[must_use]
pub fn precise(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{}.{:03} ms", time.as_millis(), time.subsec_micros() % 1_000),
        _ => seconds(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_precise_as_people_need() {
        let ms = Duration::from_millis;
        assert_eq!(seconds(ms(14_212)), "14.212s");
        assert_eq!(seconds(ms(7)), "0.007s");
        assert_eq!(precise(Duration::from_micros(12_304)), "12.304 ms");
        assert_eq!(precise(ms(5_012)), "5.012s");
        for (time, text) in [(41, "41 ms"), (5_290, "5.2s"), (134_000, "2m14s"), (3_900_000, "1h5m")] {
            assert_eq!(compact(ms(time)), text);
        }
    }
}
