//! Whether calls keep to their figures.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::expect::Check;
use super::super::seen::Seen;
use super::super::shares;
use super::super::units::Percent;
use super::values::{Amount, Attempts, Count};
use super::{Figures, Latency, NO_VERSION, NOBODY, Tally};
use crate::report::precise;

/// Judges `seen`: of calls that are all to fail if `fails`, and of which some may if `lenient`.
pub(in crate::scenario) fn judge(figures: &Figures, seen: &Seen, fails: bool, lenient: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(codes) = &figures.codes {
        let mut ends = seen.codes();
        if seen.untold() > 0 {
            ends.insert("none".to_owned(), seen.untold());
        }
        checks.extend(tally("codes", &codes.value, &ends, seen.total, "calls"));
    }
    if let Some(causes) = &figures.causes {
        checks.extend(tally("causes", &causes.value, &seen.causes(), seen.failed(), "calls that failed"));
    }
    let answers = if lenient { "calls that succeeded" } else { "calls" };
    let of = seen.answered();
    for (check, expected) in [("versions", &figures.versions), ("callers", &figures.callers)] {
        let Some(expected) = expected else { continue };
        if !lenient && of != seen.total {
            checks.push(missing(check, written(&expected.value), seen));
            continue;
        }
        let counts = if check == "versions" { versions(seen) } else { callers(seen) };
        checks.extend(tally(check, &expected.value, &counts, of, answers));
    }
    if let Some(pods) = &figures.pods {
        let (number, are) = (pods.value, if pods.value.is_one() { "pod answers" } else { "pods answer" });
        let expected = format!("{number} {are}");
        checks.push(match lenient || of == seen.total {
            true => self::pods(expected, pods.value, seen),
            false => missing("pods", expected, seen),
        });
    }
    if let Some(attempts) = &figures.attempts {
        checks.extend(self::attempts(&attempts.value, seen));
    }
    if let Some(expected) = &figures.latency {
        let (took, how) = if fails { (&seen.took_failing, "failed") } else { (&seen.took, "succeeded") };
        if fails || lenient || seen.all_succeeded() {
            checks.extend(latency(&expected.value, took, how));
        } else {
            let bounds = expected.value.iter().map(|(quantile, bound)| format!("{}: {}", quantile.value, bound.value));
            checks.push(missing("latency", bounds.collect::<Vec<_>>().join(", "), seen));
        }
    }
    checks
}

/// Calls failed that were to be answered.
fn missing(check: &'static str, expected: String, seen: &Seen) -> Check {
    Check { check, of: None, expected, seen: seen.outcome(), held: false }
}

/// Exact order statistics.
fn latency<'l>(expected: &'l Latency, took: &'l [Duration], how: &'l str) -> impl Iterator<Item = Check> + 'l {
    let calls = took.len() as u64;
    expected.iter().map(move |(quantile, bound)| {
        let (quantile, bound) = (quantile.value, bound.value);
        let time = quantile.of(took);
        let enough = calls >= quantile.calls_needed();
        let seen = match time {
            Some(time) if enough => format!("{quantile}: {} of {calls} calls that {how}", precise(time)),
            Some(_) => {
                format!("{quantile} of {calls} calls is the time of the slowest; it takes {}", quantile.calls_needed())
            }
            None => format!("no call {how}"),
        };
        let held = enough && time.is_some_and(|time| bound.allows(time));
        Check { check: "latency", of: Some(quantile.to_string()), expected: format!("{quantile}: {bound}"), seen, held }
    })
}

fn attempts(expected: &Attempts, seen: &Seen) -> Vec<Check> {
    let counts = seen.attempts.iter().map(|(attempts, calls)| (attempts.to_string(), *calls));
    match expected {
        Attempts::Calls(expected) => tally("attempts", expected, &counts.collect(), seen.total, "calls"),
        Attempts::Each(each) => {
            let told: u64 = seen.attempts.values().sum();
            let held = told == seen.total && seen.attempts.keys().all(|made| each.allows((*made).into()));
            let made = counts.map(|(attempts, calls)| format!("{attempts} in {calls}")).collect::<Vec<_>>().join(", ");
            let seen = if made.is_empty() { seen.outcome() } else { format!("{made} of {} calls", seen.total) };
            let expected = format!("each call takes {each} {}", if each.is_one() { "attempt" } else { "attempts" });
            vec![Check { check: "attempts", of: None, expected, seen, held }]
        }
    }
}

fn pods(expected: String, pods: Count, seen: &Seen) -> Check {
    let number = seen.pods.len();
    let held = pods.allows(number as u64);
    let answers = || seen.pods.iter().map(|(pod, calls)| format!("{pod} {calls}")).collect::<Vec<_>>().join(", ");
    // Which they were is worth knowing if they are too many or too few.
    let seen = if held || number == 0 { number.to_string() } else { format!("{number}: {}", answers()) };
    Check { check: "pods", of: None, expected, seen, held }
}

/// An answer may name no version at all, or a blank one.
fn versions(seen: &Seen) -> BTreeMap<String, u64> {
    let mut versions = BTreeMap::new();
    let mut add = |version: &str, calls| *versions.entry(version.to_owned()).or_default() += calls;
    for (version, calls) in &seen.versions {
        add(if version.trim().is_empty() { NO_VERSION } else { version }, *calls);
    }
    let told: u64 = seen.versions.values().sum();
    if let Some(silent @ 1..) = seen.answered().checked_sub(told) {
        add(NO_VERSION, silent);
    }
    versions
}

fn callers(seen: &Seen) -> BTreeMap<String, u64> {
    let name = |caller: &Option<String>| caller.clone().unwrap_or_else(|| NOBODY.to_owned());
    seen.callers.iter().map(|(caller, calls)| (name(caller), *calls)).collect()
}

/// A check for each key, and one for each that was seen and is not among them.
fn tally(check: &'static str, expected: &Tally, counts: &BTreeMap<String, u64>, all: u64, what: &str) -> Vec<Check> {
    let shares = shares_of(expected);
    // Of no calls nothing is accepted.
    let accepted = shares.as_ref().map(|shares| shares::accepted(shares, all)).filter(|_| all > 0);
    let too_few = shares.as_ref().and_then(|shares| too_few(shares, all, what));
    let told = |key: &str| format!("{key}: {} of {all} {what}", counts.get(key).copied().unwrap_or_default());
    let judge = |(index, (key, amount)): (usize, &(super::At<String>, super::At<Amount>))| {
        let (key, count) = (&key.value, counts.get(&key.value).copied().unwrap_or_default());
        let (mut expected, mut held) = (format!("{key}: {}", amount.value), amount.value.allows(count, all));
        if let Some(accepted) = accepted.as_ref().and_then(|accepted| accepted.get(index)) {
            expected.push_str(&format!(", accepted {}..{}", accepted.start(), accepted.end()));
            held = accepted.contains(&count);
        }
        held &= too_few.is_none();
        let seen = too_few.clone().unwrap_or_else(|| told(key));
        Check { check, of: Some(key.clone()), expected, seen, held }
    };
    let mut checks: Vec<Check> = expected.iter().enumerate().map(judge).collect();
    let others = counts.keys().filter(|key| !expected.iter().any(|(known, _)| known.value == **key));
    checks.extend(others.map(|key| Check {
        check,
        of: Some(key.clone()),
        expected: format!("{key}: 0"),
        seen: told(key),
        held: false,
    }));
    checks
}

/// The shares that chance decides about, if that is what they are.
pub(super) fn shares_of(expected: &Tally) -> Option<Vec<Percent>> {
    let share = |(_, amount): &(_, super::At<Amount>)| match amount.value {
        Amount::Share(share) => Some(share),
        Amount::Calls(_) | Amount::Shares(..) => None,
    };
    expected.iter().map(share).collect()
}

fn too_few(shares: &[Percent], calls: u64, what: &str) -> Option<String> {
    if calls == 0 { Some(format!("there were no {what}")) } else { shares::too_few(shares, calls, what) }
}

fn written(expected: &Tally) -> String {
    expected.iter().map(|(key, amount)| format!("{} {}", key.value, amount.value)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::yaml;

    use super::super::super::read::{Cursor, Problems};
    use super::*;

    fn judged(figures: &str, seen: &Seen, fails: bool, lenient: bool) -> Vec<(bool, String, String)> {
        let documents = yaml::parse("t", figures).unwrap();
        let problems = Problems::of("t");
        let mut fields = Cursor::root(&documents[0].root, &problems).fields("figures").unwrap();
        let figures = super::super::figures(&mut fields);
        assert!(problems.is_empty(), "{:?}", problems.into_found());
        let checks = judge(&figures, seen, fails, lenient);
        checks.into_iter().map(|check| (check.held, check.expected, check.seen)).collect()
    }

    /// So many calls of which so many failed, each within 1 ms.
    fn seen(total: u64, failed: u64) -> Seen {
        let times = |calls| (0..calls).map(|_| Duration::from_millis(1)).collect();
        let failures = if failed > 0 { vec![(("UNAVAILABLE".to_owned(), None), failed)] } else { Vec::new() };
        Seen {
            total,
            answers: BTreeMap::from([("a".to_owned(), total - failed)]),
            succeeded: total - failed,
            failures: failures.into_iter().collect(),
            took: times(total - failed),
            took_failing: times(failed),
            ..Seen::default()
        }
    }

    #[test]
    fn latency_does_not_hold_of_calls_of_which_some_failed_unless_they_may() {
        let figures = "{latency: {p50: <2ms, max: <5s}}";
        let held = |seen: &Seen, fails, lenient| {
            judged(figures, seen, fails, lenient).into_iter().map(|(held, ..)| held).collect::<Vec<_>>()
        };
        assert_eq!(held(&seen(100, 0), false, false), [true, true]);
        assert_eq!(held(&seen(100, 20), false, true), [true, true]);
        assert_eq!(held(&seen(100, 100), true, false), [true, true]);
        let outcome = "20 of 100 calls failed with UNAVAILABLE, 80 succeeded".to_owned();
        let missed = (false, "p50: <2ms, max: <5s".to_owned(), outcome);
        assert_eq!(judged(figures, &seen(100, 20), false, false), [missed]);
    }

    #[test]
    fn answers_without_a_version_count_as_none() {
        let mut seen = seen(6, 0);
        seen.versions = BTreeMap::from([("v1".to_owned(), 3), (String::new(), 2)]);
        let judged = |figures| judged(figures, &seen, false, false);
        let none = |held, expected: &str| (held, format!("none: {expected}"), "none: 3 of 6 calls".to_owned());
        let v1 = (true, "v1: 3".to_owned(), "v1: 3 of 6 calls".to_owned());
        assert_eq!(judged("{versions: {v1: 3, none: 3}}"), [v1.clone(), none(true, "3")]);
        assert_eq!(judged("{versions: {v1: 3}}"), [v1, none(false, "0")]);
    }

    #[test]
    fn of_no_calls_there_are_no_accepted_numbers() {
        let checks = judged("{causes: {deadline: 100%}}", &seen(5, 0), false, true);
        assert_eq!(checks, [(false, "deadline: 100%".to_owned(), "there were no calls that failed".to_owned())]);
    }
}
