//! What tests say of calls, and what they are told where it is not so.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use super::calls::{Calls, LoadedCall};
use crate::binomial::{FALSE_ALARM, accepted};
use crate::report::precise;

/// Each panics at the caller's line, and tells what was seen.
impl Calls {
    /// # Panics
    /// If there are none, or if one failed: with each of those.
    #[track_caller]
    pub fn assert_no_errors(&self) -> &Self {
        self.assert_some();
        let lines: Vec<String> = self.errors().map(LoadedCall::line).collect();
        assert!(lines.is_empty(), "{} of {} calls failed:\n{}", lines.len(), self.len(), lines.join("\n"));
        self
    }

    /// # Panics
    /// If there are none, or if another workload than this answered one, or if one failed.
    #[track_caller]
    pub fn assert_all_to(&self, workload: &str) -> &Self {
        self.assert_no_errors();
        let workloads = self.workloads();
        assert!(workloads.len() == 1 && workloads.contains_key(workload), "expected all to {workload}: {workloads:?}");
        self
    }

    /// Each workload answered its share, from 0 to 1, within what chance gives but once in 10^9 runs.
    ///
    /// # Panics
    /// If one did not, if another answered, or if a call failed.
    #[track_caller]
    pub fn assert_share<'n>(&self, shares: impl IntoIterator<Item = (&'n str, f64)>) -> &Self {
        self.assert_no_errors();
        self.must_split(&self.workloads(), shares)
    }

    /// As [`assert_share`](Self::assert_share), by the version that answered.
    ///
    /// # Panics
    /// Likewise.
    #[track_caller]
    pub fn assert_versions<'n>(&self, shares: impl IntoIterator<Item = (&'n str, f64)>) -> &Self {
        self.assert_no_errors();
        self.must_split(&self.versions(), shares)
    }

    /// Each code, as specifications write it, ended its share of the calls, from 0 to 1.
    ///
    /// # Panics
    /// If one did not, or if there was another.
    #[track_caller]
    pub fn assert_codes<'n>(&self, shares: impl IntoIterator<Item = (&'n str, f64)>) -> &Self {
        self.assert_some();
        self.must_split(&self.codes(), shares)
    }

    /// This part, from 0 to 1, of the calls that succeeded took a time within `bounds`; 1 is for the slowest.
    ///
    /// # Panics
    /// If it took another, or if none succeeded.
    #[track_caller]
    pub fn assert_latency(&self, quantile: f64, bounds: impl RangeBounds<Duration>) -> &Self {
        let Some(seen) = self.latency(quantile) else { panic!("no call succeeded") };
        let expected = || written((bounds.start_bound(), bounds.end_bound()), precise);
        let calls = self.answered().count();
        let at = quantile * 100.0;
        assert!(bounds.contains(&seen), "p{at} of {calls} calls took {}, expected {}", precise(seen), expected());
        self
    }

    /// Every call took a number of attempts within `bounds`.
    ///
    /// # Panics
    /// If one did not, or if there are none.
    #[track_caller]
    pub fn assert_attempts(&self, bounds: impl RangeBounds<u32>) -> &Self {
        self.assert_some();
        let attempts = self.attempts();
        let expected = || written((bounds.start_bound(), bounds.end_bound()), |attempts| attempts.to_string());
        let held = attempts.keys().all(|made| bounds.contains(made));
        assert!(held, "expected {} attempts, seen (attempts: calls) {attempts:?}", expected());
        self
    }

    /// Every server that answered took the caller for this identity; none for nobody.
    ///
    /// # Panics
    /// If one did not, or if a call failed.
    #[track_caller]
    pub fn assert_caller(&self, caller: Option<&str>) -> &Self {
        self.assert_no_errors();
        let callers = self.callers();
        let held = callers.keys().all(|seen| seen.as_deref() == caller);
        assert!(held, "expected {}: {callers:?}", caller.unwrap_or("nobody"));
        self
    }

    #[track_caller]
    fn assert_some(&self) {
        assert!(!self.is_empty(), "no call has ended");
    }

    #[track_caller]
    fn must_split<'n>(&self, seen: &BTreeMap<String, u64>, shares: impl IntoIterator<Item = (&'n str, f64)>) -> &Self {
        let shares: Vec<(&str, f64)> = shares.into_iter().collect();
        let calls = self.len() as u64;
        let questions = if shares.len() <= 2 { 1.0 } else { shares.len() as f64 };
        let mut held = seen.keys().all(|name| shares.iter().any(|(other, _)| other == name));
        let mut lines = Vec::new();
        for (name, share) in shares {
            let (count, allowed) =
                (seen.get(name).copied().unwrap_or(0), accepted(share, calls, FALSE_ALARM / questions));
            held &= allowed.contains(&count);
            lines.push(format!("  {name:<20} {count:>7}  expected {}..{}", allowed.start(), allowed.end()));
        }
        assert!(held, "of {calls} calls\n{}\nseen {seen:?}", lines.join("\n"));
        self
    }
}

fn written<T>((start, end): (Bound<&T>, Bound<&T>), text: impl Fn(T) -> String) -> String
where
    T: Copy,
{
    let end_of = |bound: Bound<&T>| match bound {
        Bound::Included(value) | Bound::Excluded(value) => text(*value),
        Bound::Unbounded => String::new(),
    };
    let equals = if matches!(end, Bound::Included(_)) { "=" } else { "" };
    format!("{}..{equals}{}", end_of(start), end_of(end))
}
