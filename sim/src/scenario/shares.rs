//! Which numbers of calls a share allows: exact binomial bounds, and how many calls an expectation needs to mean
//! something.
//!
//! A run that does what its weights say fails an expectation by bad luck less often than once in 10^9. In return an
//! expectation must be able to fail: with too few calls, 20/80 and 80/20 look alike, and such an expectation is
//! refused.

use std::ops::RangeInclusive;

use super::units::Percent;
use crate::binomial::{self, FALSE_ALARM};

/// Shares this close, in thousandths of a percent, are taken as meant equal (33 %, 33 %, 34 %).
const EQUAL_WITHIN: u32 = 1_000;

/// The numbers of `calls` that each of `shares` allows. Together they refuse a true split at most once in 10^9 runs.
#[must_use]
pub(super) fn accepted(shares: &[Percent], calls: u64) -> Vec<RangeInclusive<u64>> {
    // Two shares are one question: what the one has not, the other has.
    let questions = if shares.len() <= 2 { 1.0 } else { shares.len() as f64 };
    shares.iter().map(|share| binomial::accepted(share.fraction(), calls, FALSE_ALARM / questions)).collect()
}

/// Why `calls` cannot tell these shares from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confusion {
    /// The results of these two workloads could be swapped and would still pass.
    Swapped(usize, usize),
    /// This workload might get no call, or every call, and pass.
    Unbounded(usize),
}

/// What `calls` cannot tell of these shares; nothing if they suffice.
#[must_use]
pub(super) fn confusion(shares: &[Percent], calls: u64) -> Option<Confusion> {
    let ranges = accepted(shares, calls);
    let certain = |share: Percent| share.thousandths() == 0 || share == Percent::WHOLE;
    for (i, (share, range)) in shares.iter().zip(&ranges).enumerate() {
        for (j, (other, other_range)) in shares.iter().zip(&ranges).enumerate().skip(i + 1) {
            let differ = share.thousandths().abs_diff(other.thousandths()) > EQUAL_WITHIN;
            let overlap = range.start() <= other_range.end() && other_range.start() <= range.end();
            if differ && overlap {
                return Some(Confusion::Swapped(i, j));
            }
        }
        if !certain(*share) && (*range.start() == 0 || *range.end() == calls) {
            return Some(Confusion::Unbounded(i));
        }
    }
    None
}

/// The least number of calls that can tell these shares from others; none if no sensible number can.
#[must_use]
pub(super) fn calls_needed(shares: &[Percent]) -> Option<u64> {
    const LIMIT: u64 = 1 << 26;
    let suffices = |calls: u64| confusion(shares, calls).is_none();
    let mut enough = 1;
    while !suffices(enough) {
        enough *= 2;
        if enough > LIMIT {
            return None;
        }
    }
    let mut too_few = enough / 2;
    while enough - too_few > 1 {
        let middle = too_few + (enough - too_few) / 2;
        if suffices(middle) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    // Bounds are whole numbers, so a number above a sufficient one may just not suffice: round up to be sure.
    let mut round = enough.next_multiple_of(10_u64.pow(enough.ilog10().saturating_sub(1)));
    while !suffices(round) {
        round += 1;
    }
    Some(round)
}

/// That `calls` cannot tell these shares from others, in words; `what` are they.
pub(super) fn too_few(shares: &[Percent], calls: u64, what: &str) -> Option<String> {
    confusion(shares, calls)?;
    Some(match calls_needed(shares) {
        Some(needed) => format!("{calls} {what} cannot tell these shares from others; it takes {needed}"),
        None => format!("{calls} {what} cannot tell these shares from others, and no sensible number can"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn percent(shares: &[u32]) -> Vec<Percent> {
        shares.iter().map(|share| format!("{share}%").parse().unwrap()).collect()
    }

    #[test]
    fn twenty_to_eighty_of_a_thousand() {
        assert_eq!(accepted(&percent(&[20, 80]), 1000), [127..=281, 719..=873]);
    }

    /// The same bounds by adding up probabilities one by one, in a way that shares no code with statrs.
    #[test]
    fn bounds_agree_with_plain_summation() {
        for (share, calls) in [(20, 50), (50, 64), (1, 300), (97, 120), (33, 10)] {
            let p = f64::from(share) / 100.0;
            let mut log_choose = 0.0;
            let mut probabilities = Vec::new();
            for k in 0..=calls {
                if k > 0 {
                    log_choose += (((calls - k + 1) as f64) / k as f64).ln();
                }
                probabilities.push((log_choose + k as f64 * p.ln() + (calls - k) as f64 * (1.0 - p).ln()).exp());
            }
            let lower = |k: usize| probabilities[..=k].iter().sum::<f64>();
            let upper = |k: usize| probabilities[k..].iter().rev().sum::<f64>();
            let low = (0..=calls as usize).find(|k| lower(*k) > FALSE_ALARM / 2.0).unwrap();
            let high = (0..=calls as usize).rev().find(|k| upper(*k) > FALSE_ALARM / 2.0).unwrap();
            let range = binomial::accepted(percent(&[share])[0].fraction(), calls, FALSE_ALARM);
            assert_eq!((*range.start() as usize, *range.end() as usize), (low, high), "{share} % of {calls}");
        }
    }

    #[test]
    fn certain_shares_allow_one_number_only() {
        assert_eq!(accepted(&percent(&[0, 100]), 10), [0..=0, 10..=10]);
        assert_eq!(confusion(&percent(&[0, 100]), 1), None);
    }

    #[test]
    fn few_calls_cannot_tell_a_split_from_the_swapped_one() {
        assert_eq!(confusion(&percent(&[20, 80]), 20), Some(Confusion::Swapped(0, 1)));
        assert_eq!(confusion(&percent(&[50, 50]), 10), Some(Confusion::Unbounded(0)));
        assert_eq!(confusion(&percent(&[20, 80]), 1000), None);
        assert_eq!(confusion(&percent(&[33, 33, 34]), 1000), None);
    }

    #[test]
    fn the_number_of_calls_needed_suffices_and_a_good_deal_less_does_not() {
        for shares in [&[20, 80][..], &[50, 50], &[1, 99], &[45, 55], &[10, 30, 60]] {
            let shares = percent(shares);
            let needed = calls_needed(&shares).unwrap();
            assert_eq!(confusion(&shares, needed), None, "{shares:?} {needed}");
            assert!(confusion(&shares, needed * 3 / 4).is_some(), "{shares:?} {needed}");
        }
        assert_eq!(calls_needed(&percent(&[20, 80])), Some(96));
    }

    #[test]
    fn the_range_of_no_calls_is_zero() {
        assert_eq!(accepted(&percent(&[50, 50]), 0), [0..=0, 0..=0]);
    }
}
