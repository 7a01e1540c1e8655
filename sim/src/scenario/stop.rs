//! Judges what came of a load.

use std::ops::Range;
use std::time::Duration;

use super::expect::{self, Check, Outcomes};
use super::file::WITHIN_DEFAULT;
use super::outcome::StepReport;
use super::read::Place;
use super::seen::Seen;
use super::target::Target;
use super::traffic::LoadExpect;
use super::units::Calls as AnyNumber;
use crate::mesh::Calls;
use crate::report::compact;

/// The checks of one expectation, and the calls they are about.
pub(super) struct Judged<'e> {
    pub(super) checks: Vec<Check>,
    pub(super) calls: Calls,
    pub(super) place: &'e Place,
}

/// Judges `calls`. `steps` are those so far, `same` as in [`expect::judge`].
pub(super) fn judge<'e>(
    expect: &'e LoadExpect,
    calls: &Calls,
    steps: &[StepReport],
    same: impl Fn(&Target, &str) -> bool,
) -> Judged<'e> {
    let (window, mut when) = window(expect, steps);
    let judged = calls.during(window);
    let mut checks = checks(expect, &judged, &same);
    if let Some(name) = expect.eventually.as_ref().filter(|_| checks.iter().all(|check| check.held)) {
        let hold = |from| checks_hold(expect, &calls.during(from..Duration::MAX), &same);
        when.push_str(&since_when(expect, &name.value, calls, steps, hold).unwrap_or_default());
    }
    for check in &mut checks {
        check.seen = format!("{}{when}", check.seen);
    }
    Judged { checks, calls: judged, place: &expect.place }
}

fn checks_hold(expect: &LoadExpect, calls: &Calls, same: impl Fn(&Target, &str) -> bool) -> bool {
    checks(expect, calls, same).iter().all(|check| check.held)
}

/// Since when it was so already, if that can be told: only of what holds of the later part of calls of which it holds.
fn since_when(
    expect: &LoadExpect,
    name: &str,
    calls: &Calls,
    steps: &[StepReport],
    hold: impl Fn(Duration) -> bool,
) -> Option<String> {
    let of_parts = expect.share.is_none()
        && expect.figures.is_empty()
        && expect.errors.as_ref().is_none_or(|errors| errors.value.low == 0)
        && expect.to.as_ref().is_none_or(|to| to.value.iter().all(|(_, calls)| calls.value == AnyNumber::All));
    let done = steps.iter().find(|step| step.name.as_deref() == Some(name))?.ended;
    let sent: Vec<Duration> = calls.iter().map(|call| call.sent).filter(|sent| *sent >= done).collect();
    let first = sent.get(sent.partition_point(|from| !hold(*from))).filter(|_| of_parts)?;
    Some(format!(", and so since {}", compact(*first - done)))
}

/// What `calls` come to, all of them.
fn checks(expect: &LoadExpect, calls: &Calls, same: impl Fn(&Target, &str) -> bool) -> Vec<Check> {
    let seen = Seen::of(calls, &expect.figures);
    let mut checks = Vec::new();
    if let Some(errors) = &expect.errors {
        let held = (errors.value.low..=errors.value.high).contains(&seen.failed());
        checks.push(Check {
            check: "errors",
            of: None,
            expected: errors.value.to_string(),
            seen: seen.outcome(),
            held,
        });
    }
    let others = Outcomes {
        ok: false,
        to: expect.to.as_ref(),
        share: expect.share.as_ref(),
        error: expect.error.as_ref().map(|code| code.value),
        cause: expect.cause.as_ref().map(|cause| cause.value),
        figures: &expect.figures,
        lenient: expect.errors.is_some() || expect.figures.let_fail(),
    };
    checks.extend(expect::judge(&others, &seen, same));
    if calls.is_empty() {
        for check in &mut checks {
            (check.held, check.seen) = (false, "no call was sent".to_owned());
        }
    }
    checks
}

/// When the calls were sent that an expectation is about, and how a report says so.
fn window(expect: &LoadExpect, steps: &[StepReport]) -> (Range<Duration>, String) {
    let named = |name: &str| steps.iter().find(|step| step.name.as_deref() == Some(name));
    if let Some(name) = &expect.eventually {
        let within = expect.within.as_ref().map_or(WITHIN_DEFAULT, |within| within.value);
        let from = named(&name.value).map_or(Duration::MAX, |step| step.ended.saturating_add(within.0));
        return (from..Duration::MAX, format!(", {within} after {:?} and later", name.value));
    }
    match (&expect.since, &expect.throughout) {
        (Some(name), _) => {
            let from = named(&name.value).map_or(Duration::MAX, |step| step.ended);
            (from..Duration::MAX, format!(", since {:?}", name.value))
        }
        (None, Some(name)) => {
            let number = named(&name.value).map(|step| step.number);
            let parts = || steps.iter().filter(|step| Some(step.number) == number);
            let from = parts().map(|step| step.began).min().unwrap_or_default();
            let until = parts().map(|step| step.ended).max().unwrap_or_default();
            (from..until, format!(", throughout {:?}", name.value))
        }
        (None, None) => (Duration::ZERO..Duration::MAX, String::new()),
    }
}
