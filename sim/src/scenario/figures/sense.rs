//! Whether figures make sense, before any call is made.

use super::super::read::{At, Place, Problems};
use super::super::shares::{calls_needed, confusion};
use super::super::units::Percent;
use super::judge::shares_of;
use super::values::{Amount, Attempts, Count};
use super::{Figures, Latency, Tally};

/// How many attempts of a call are made at most, whatever its retry policy says (gRFC A6).
const ATTEMPTS_MAX: u32 = 5;

/// What the figures of one expectation are looked at with.
pub(in crate::scenario) struct Sense<'a> {
    /// The figures.
    pub figures: &'a Figures,
    /// Which other fields the expectation has.
    pub beside: Vec<&'static str>,
    /// Those of them that are about who answers.
    pub answers: Vec<(&'static str, &'a Place)>,
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
        self.ends();
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
        match &figures.attempts {
            Some(At { value: Attempts::Calls(tally), place }) => {
                self.tally(tally, place, self.calls);
                self.numbers_of_attempts(tally);
            }
            Some(At { value: Attempts::Each(each), place }) => self.attempts(*each, place),
            None => {}
        }
        if let Some(pods) = &figures.pods {
            self.pods(pods.value, &pods.place);
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

    /// Where `codes` lets no call succeed, or none fail, nothing more can be said of those that do.
    fn ends(&self) {
        let Some(codes) = &self.figures.codes else { return };
        let none = |ok: bool| {
            let mut entries = codes.value.iter().map(|(code, amount)| ((code.value == "OK") == ok, amount.value));
            entries.clone().all(|(is, amount)| !is || !amount.allows_some(self.calls))
                || entries.any(|(is, amount)| !is && amount.takes_all(self.calls))
        };
        if none(true) {
            let latency = self.figures.latency.iter().map(|latency| ("latency", &latency.place));
            for (name, place) in self.figures.of_outcomes().chain(latency) {
                let remedy = match name {
                    "codes" | "causes" => continue,
                    "latency" => "write `error` in place of `codes` for that of calls that fail".to_owned(),
                    _ => format!("leave it or `{name}` out"),
                };
                self.error(place, "contradiction", format!("`codes` expects that no call succeeds; {remedy}"));
            }
            for (name, place) in &self.answers {
                let message = format!("`codes` expects that no call succeeds; leave it or `{name}` out");
                self.error(place, "contradiction", message);
            }
        } else if let Some(causes) = self.figures.causes.as_ref().filter(|_| none(false)) {
            let message = "`codes` expects that no call fails; leave it or `causes` out";
            self.error(&causes.place, "contradiction", message);
        }
    }

    fn attempts(&self, each: Count, place: &Place) {
        let most = u64::from(ATTEMPTS_MAX);
        if each.low > most {
            let message = format!("no call takes more than {most} attempts (gRFC A6); expected fewer");
            self.error(place, "impossible-count", message);
        } else if each.low == 0 && each.high >= most {
            let message =
                format!("every call takes {each} attempts, since {most} are the most (gRFC A6); expected fewer");
            self.error(place, "impossible-count", message);
        }
    }

    fn numbers_of_attempts(&self, tally: &Tally) {
        for (number, _) in tally {
            if number.value.parse().is_ok_and(|number: u32| number > ATTEMPTS_MAX) {
                let message = format!("no call takes more than {ATTEMPTS_MAX} attempts (gRFC A6); expected fewer");
                self.error(&number.place, "impossible-count", message);
            }
        }
    }

    fn pods(&self, pods: Count, place: &Place) {
        let Count { low, high } = pods;
        // Each call is answered by one pod at most, and by one at least unless some may fail.
        let some_may_fail =
            self.figures.let_fail() || ["errors", "error", "cause"].iter().any(|field| self.beside.contains(field));
        if let Some(calls) = self.calls.filter(|calls| low > *calls) {
            let by = if calls == 1 {
                "1 call is answered by 1 pod".to_owned()
            } else {
                format!("{calls} calls are answered by {calls} pods")
            };
            self.error(place, "impossible-count", format!("{by} at most; expected fewer, or make {low} calls"));
        } else if high == 0 && !some_may_fail {
            let message = "calls that succeed are answered by 1 pod at least; to expect that all fail write `error`";
            self.error(place, "impossible-count", message);
        } else if let Some(calls) = self.calls.filter(|calls| *calls > 1 && low <= 1 && high >= *calls)
            && !some_may_fail
        {
            let message = format!(
                "{calls} calls that succeed are always answered by {pods} pods; expected a narrower range, or more \
                 calls"
            );
            self.error(place, "too-few-calls", message);
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
