//! How often a choice of given weight may come up: exact binomial bounds by plain summation, sharing no code with the
//! product.

use std::ops::RangeInclusive;

/// How often a true share may be refused by bad luck.
const FALSE_ALARM: f64 = 1e-9;

/// The numbers of `calls` that a destination with `weight` of `total` gets but once in 10^9 runs.
#[must_use]
pub fn accepted(weight: u64, total: u64, calls: u64) -> RangeInclusive<u64> {
    if weight == 0 {
        return 0..=0;
    }
    if weight == total {
        return calls..=calls;
    }
    let share = weight as f64 / total as f64;
    let probabilities = probabilities(share, calls);
    let tail = |numbers: &mut dyn Iterator<Item = usize>| {
        let mut sum = 0.0;
        numbers
            .take_while(|&number| {
                sum += probabilities[number];
                sum <= FALSE_ALARM / 2.0
            })
            .count() as u64
    };
    let low = tail(&mut (0..probabilities.len()));
    let high = calls - tail(&mut (0..probabilities.len()).rev());
    low..=high
}

/// The probability of each number of successes.
fn probabilities(share: f64, calls: u64) -> Vec<f64> {
    let mut log_choose = 0.0;
    (0..=calls)
        .map(|k| {
            if k > 0 {
                log_choose += (((calls - k + 1) as f64) / k as f64).ln();
            }
            (log_choose + k as f64 * share.ln() + (calls - k) as f64 * (1.0 - share).ln()).exp()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_hundred_of_a_thousand() {
        assert_eq!(accepted(80, 100, 1000), 719..=873);
        assert_eq!(accepted(20, 100, 1000), 127..=281);
    }

    #[test]
    fn what_is_certain_is_exact() {
        assert_eq!(accepted(0, 5, 100), 0..=0);
        assert_eq!(accepted(5, 5, 100), 100..=100);
    }
}
