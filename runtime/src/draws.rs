//! Random choices that a seed decides and that do not disturb one another.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};

/// Changes whenever the way from (seed, path, index) to a draw does: old seeds then mean something else.
const FORMAT: &str = "hermesh.draw/1";

/// A stream of random choices. Draw number `i` depends on the stream's key and on `i`, and on nothing else, so that
/// adding a choice in one place never changes another stream.
#[derive(Clone, Debug)]
pub struct Draws {
    rng: ChaCha8Rng,
    index: u64,
}

impl Draws {
    /// The stream named `path` of a run with `seed`. `incarnation` tells a restarted process from its predecessor.
    ///
    /// ```
    /// # use hermesh_runtime::Draws;
    /// let mut once = Draws::new(7, "net/a->b", 0);
    /// let mut again = Draws::new(7, "net/a->b", 0);
    /// let mut other = Draws::new(7, "net/b->a", 0);
    /// let first = once.next();
    /// assert_eq!(first, again.next());
    /// assert_ne!(first, other.next());
    /// ```
    #[must_use]
    pub fn new(seed: u64, path: &str, incarnation: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(FORMAT);
        hash.update(seed.to_be_bytes());
        hash.update(incarnation.to_be_bytes());
        hash.update(path);
        Self::from_key(hash.finalize().into())
    }

    /// The stream with this key; the OS runtime takes one from the kernel.
    #[must_use]
    pub fn from_key(key: [u8; 32]) -> Self {
        Self { rng: ChaCha8Rng::from_seed(key), index: 0 }
    }

    /// The next draw, uniform over all 64 bits.
    #[allow(clippy::should_implement_trait, reason = "an endless stream of draws is no iterator to adapt")]
    pub fn next(&mut self) -> u64 {
        self.index += 1;
        self.rng.next_u64()
    }

    /// How many draws were taken.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// A number below `end`, from exactly one draw. Its bias is below `end` / 2^64.
    ///
    /// # Panics
    /// If `end` is zero: there is no such number.
    pub fn below(&mut self, end: u64) -> u64 {
        assert!(end > 0, "no number is below zero");
        ((u128::from(self.next()) * u128::from(end)) >> 64) as u64
    }

    /// A number from `low` to `high`, both included, from exactly one draw.
    ///
    /// # Panics
    /// If `low` is above `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "empty range {low}..={high}");
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.next(),
        }
    }

    /// A number in `[0, 1)` with 53 random bits, from exactly one draw.
    pub fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Random bytes, one draw for every eight begun.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let draw = self.next().to_le_bytes();
            chunk.copy_from_slice(&draw[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restarted_process_draws_afresh() {
        assert_ne!(Draws::new(1, "pod", 0).next(), Draws::new(1, "pod", 1).next());
    }

    #[test]
    fn numbers_below_an_end_cover_it_evenly() {
        let mut draws = Draws::new(1, "test", 0);
        let mut counts = [0; 5];
        for _ in 0..50_000 {
            counts[draws.below(5) as usize] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_range_includes_both_ends() {
        let mut draws = Draws::new(1, "test", 0);
        let seen: std::collections::BTreeSet<u64> = (0..100).map(|_| draws.between(3, 5)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!(draws.between(9, 9), 9);
    }
}
