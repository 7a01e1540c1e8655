//! How many of a number of calls chance gives to a share.

use std::ops::RangeInclusive;

use statrs::distribution::{Binomial, DiscreteCDF as _};

/// How often an expectation may fail by bad luck alone.
pub(crate) const FALSE_ALARM: f64 = 1e-9;

/// The numbers that are neither so low nor so high that chance gives them less often than `alarm` / 2.
///
/// # Panics
/// If the share is not from 0 to 1.
pub(crate) fn accepted(share: f64, calls: u64, alarm: f64) -> RangeInclusive<u64> {
    let distribution = Binomial::new(share, calls).expect("a share is from 0 to 1");
    let expected = (share * calls as f64).floor() as u64;
    // Both tails fall off monotonically from the expected number.
    let low = partition(0, expected, |k| distribution.cdf(k) > alarm / 2.0);
    let above = |k: u64| if k == 0 { 1.0 } else { distribution.sf(k - 1) };
    let high = partition(expected, calls + 1, |k| above(k) <= alarm / 2.0).saturating_sub(1);
    low..=high.max(expected)
}

/// The first number in `low..high` for which `holds`, which holds for all after it; else `high`.
fn partition(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> u64 {
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}
