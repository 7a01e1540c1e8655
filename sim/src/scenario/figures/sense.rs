//! Whether figures make sense, before any call is made.

use super::super::read::{At, Place, Problems};
use super::super::shares::{calls_needed, confusion};
use super::super::units::Percent;
use super::judge::shares_of;
use super::values::{Amount, Attempts};
use super::{Figures, Latency, Tally};

/// What the figures of one expectation are looked at with.
pub(in crate::scenario) struct Sense<'a> {
    /// The figures.
    pub figures: &'a Figures,
    /// Which other fields the expectation has.
    pub beside: Vec<&'static str>,
    /// How many calls there will be, if that is known.
    pub calls: Option<u64>,
    /// Whether channels with xDS make them, which tell of each.
    pub told: bool,
    /// Where mistakes go.
    pub problems: &'a Problems,
}

impl Sense<'_> {
    pub(in crate::scenario) fn check(&self) {
        let figures = self.figures;
        self.contradictions();
        if let (Some((field, place)), false) = (figures.of_each_call(), self.told) {
            self.error(place, "unknowable", format!("`{field}` is known of calls to xds:/// only"));
        }
        // Of some of the calls it shows only later how many there are.
        let answers = self.calls.filter(|_| !figures.let_fail());
        let tallies = [
            (&figures.codes, self.calls),
            (&figures.causes, None),
            (&figures.versions, answers),
            (&figures.callers, answers),
        ];
        for (tally, calls) in tallies {
            if let Some(At { value, place }) = tally {
                self.tally(value, place, calls);
            }
        }
        if let Some(At { value: Attempts::Calls(tally), place }) = &figures.attempts {
            self.tally(tally, place, self.calls);
        }
        if let Some(latency) = &figures.latency {
            self.latency(&latency.value, answers);
        }
    }

    fn contradictions(&self) {
        if let (Some(_), Some(callers)) = (&self.figures.caller, &self.figures.callers) {
            self.error(&callers.place, "contradiction", "`callers` says what `caller` says; leave one out");
        }
        for (name, place) in self.figures.of_outcomes() {
            for other in ["error", "cause"].into_iter().filter(|other| self.beside.contains(other)) {
                let message = format!("`{other}` expects that all calls fail alike; leave it or `{name}` out");
                self.error(place, "contradiction", message);
            }
            let same: &[&str] = match name {
                "codes" => &["ok", "errors"],
                "causes" => &["ok"],
                _ => &[],
            };
            for other in same.iter().filter(|other| self.beside.contains(other)) {
                let message = format!("`{name}` says what `{other}` says; leave one out");
                self.error(place, "contradiction", message);
            }
        }
    }

    fn tally(&self, tally: &Tally, place: &Place, calls: Option<u64>) {
        let amounts = || tally.iter().map(|(_, amount)| amount.value);
        if let Some(shares) = shares_of(tally) {
            let sum: u32 = shares.iter().map(|share| share.thousandths()).sum();
            if sum != Percent::WHOLE.thousandths() {
                let sum = f64::from(sum) / 1_000.0;
                self.error(place, "shares-sum", format!("the shares sum to {sum}%; expected 100%"));
            } else if let Some(calls) = calls.filter(|calls| confusion(&shares, *calls).is_some()) {
                let calls = if calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") };
                let remedy = match calls_needed(&shares) {
                    Some(needed) => format!("it takes {needed}"),
                    None => "no sensible number can: make the shares equal or further apart".to_owned(),
                };
                self.error(place, "too-few-calls", format!("{calls} cannot tell these shares from others; {remedy}"));
            }
        } else if amounts().any(|amount| matches!(amount, Amount::Share(_))) {
            let message = "a share such as `20%` is told from others by chance, which takes all shares; beside numbers \
                           write a range such as `15%..25%`";
            self.error(place, "contradiction", message);
        } else if let Some(calls) = calls {
            let bounds: Vec<(u64, u64)> = amounts().map(|amount| amount.bounds(calls)).collect();
            let least = bounds.iter().fold(0, |sum: u64, (low, _)| sum.saturating_add(*low));
            let most = bounds.iter().fold(0, |sum: u64, (_, high)| sum.saturating_add(*high));
            if least > calls {
                let message = format!("these are at least {least} calls, and the step makes {calls}");
                self.error(place, "impossible-count", message);
            } else if most < calls {
                let message = format!("these are at most {most} of the {calls} calls the step makes");
                self.error(place, "impossible-count", message);
            }
        }
    }

    fn latency(&self, latency: &Latency, calls: Option<u64>) {
        for (quantile, _) in latency {
            let needed = quantile.value.calls_needed();
            if let Some(calls) = calls.filter(|calls| *calls < needed) {
                let (value, calls) =
                    (quantile.value, if calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") });
                let message = format!("of {calls} {value} is the slowest: write `max`, or make {needed}");
                self.error(&quantile.place, "too-few-calls", message);
            }
        }
        let mut sorted: Vec<_> = latency.iter().collect();
        sorted.sort_by_key(|(quantile, _)| quantile.value);
        for (index, (quick, low)) in sorted.iter().enumerate() {
            for (slow, high) in &sorted[index + 1..] {
                if low.value.ends().0 > high.value.ends().1 {
                    let (quick, slow, low, high) = (quick.value, slow.value, low.value, high.value);
                    let message = format!("`{slow}` is never below `{quick}`: no calls have both {low} and {high}");
                    self.error(&sorted[index].0.place, "contradiction", message);
                }
            }
        }
    }

    fn error(&self, place: &Place, code: &'static str, message: impl Into<String>) {
        self.problems.error(place, code, message);
    }
}
