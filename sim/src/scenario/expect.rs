//! Whether what came of a call is what was expected.

use std::fmt::Write as _;

use serde::Serialize;

use super::figures::{self, Figures};
use super::file::{ByWorkload, Expect};
use super::read::At;
use super::seen::Seen;
use super::shares;
use super::target::Target;
use super::units::{Calls, Percent};

/// One check of an expectation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The expectation's field, such as `share`.
    pub check: &'static str,
    /// Which of several that the field lists, such as `p99` or `UNAVAILABLE`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// What was expected, in words.
    pub expected: String,
    /// What was seen, in words.
    pub seen: String,
    /// Whether they agree.
    pub held: bool,
}

/// What is expected of calls, whoever makes them.
pub(super) struct Outcomes<'e> {
    /// Whether all are to succeed.
    pub ok: bool,
    pub to: Option<&'e At<ByWorkload<Calls>>>,
    pub share: Option<&'e At<ByWorkload<Percent>>>,
    pub error: Option<&'static str>,
    pub cause: Option<&'static str>,
    pub figures: &'e Figures,
    /// Whether some may fail, as something else says; then those that succeed are judged by themselves.
    pub lenient: bool,
}

impl<'e> From<&'e Expect> for Outcomes<'e> {
    fn from(expect: &'e Expect) -> Self {
        Self {
            ok: expect.ok.is_some(),
            to: expect.to.as_ref(),
            share: expect.share.as_ref(),
            error: expect.error.as_ref().map(|code| code.value),
            cause: expect.cause.as_ref().map(|cause| cause.value),
            figures: &expect.figures,
            lenient: expect.figures.let_fail(),
        }
    }
}

/// Judges `seen`. `same` tells whether a workload's name in an answer is the one a target means.
pub(super) fn judge(expect: &Outcomes<'_>, seen: &Seen, same: impl Fn(&Target, &str) -> bool) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut add = |check, expected: String, found: String, held| {
        checks.push(Check { check, of: None, expected, seen: found, held });
    };
    let answered = |target: &Target| {
        seen.answers.iter().filter(|(name, _)| same(target, name)).map(|(_, count)| count).sum::<u64>()
    };
    // Who is named by none of the targets, and how often they answered.
    let others = |targets: &[&Target]| {
        let named = |name: &str| targets.iter().any(|target| same(target, name));
        seen.answers.iter().filter(|(name, _)| !named(name)).map(|(name, n)| (name.clone(), *n)).collect::<Vec<_>>()
    };
    let all_answers = seen.answered();
    // Whether every call that is to be answered is.
    let complete = if expect.lenient { all_answers > 0 } else { all_answers == seen.total };

    if expect.ok {
        add("ok", "every call succeeds".to_owned(), seen.outcome(), seen.all_succeeded());
    }
    if let Some(to) = expect.to {
        let mut expected = String::new();
        let mut found = String::new();
        let mut held = complete;
        for (target, calls) in &to.value {
            let separator = if expected.is_empty() { "" } else { ", " };
            let count = answered(&target.value);
            let (low, high) = calls.value.bounds(if expect.lenient { all_answers } else { seen.total });
            held &= (low..=high).contains(&count);
            let _ = write!(expected, "{separator}{} {}", target.value, calls.value);
            let _ = write!(found, "{separator}{} {count}", target.value);
        }
        for (name, count) in others(&to.value.iter().map(|(target, _)| &target.value).collect::<Vec<_>>()) {
            held = false;
            let _ = write!(found, ", {name} {count}");
        }
        if !complete {
            found = seen.outcome();
        }
        add("to", expected, found, held);
    }
    if let Some(share) = expect.share {
        let shares: Vec<Percent> = share.value.iter().map(|(_, share)| share.value).collect();
        let ranges = shares::accepted(&shares, all_answers);
        let strangers = others(&share.value.iter().map(|(target, _)| &target.value).collect::<Vec<_>>());
        for ((target, share), accepted) in share.value.iter().zip(ranges) {
            let count = answered(&target.value);
            // Of no calls there is no share, and no range of them either.
            let accepted_calls = match all_answers {
                0 => String::new(),
                _ => format!(", accepted {}..{}", accepted.start(), accepted.end()),
            };
            let expected = format!("{} {}{accepted_calls}", target.value, share.value);
            let mut found = format!("{} {count} of {all_answers}", target.value);
            let mut held = accepted.contains(&count) && complete;
            if all_answers == 0 {
                (found, held) = (seen.nobody(), false);
            } else if !complete {
                found = seen.outcome();
            } else if let Some(too_few) = shares::too_few(&shares, all_answers, "calls") {
                (found, held) = (too_few, false);
            }
            for (name, count) in &strangers {
                held = false;
                let _ = write!(found, ", {name} {count}");
            }
            add("share", expected, found, held);
        }
    }
    if let Some(code) = expect.error {
        let wrong = seen.failures.keys().any(|(seen, _)| seen != code);
        let held = !wrong && seen.failed() == seen.total;
        add("error", format!("every call fails with {code}"), seen.outcome(), held);
    }
    if let Some(cause) = expect.cause {
        let wrong = seen.failures.keys().any(|(_, seen)| seen.as_deref() != Some(cause));
        let held = !wrong && seen.failed() == seen.total;
        add("cause", format!("every call fails because of {cause}"), seen.outcome(), held);
    }
    if let Some(caller) = &expect.figures.caller {
        let held = complete && seen.callers.keys().all(|seen| seen.as_ref() == Some(&caller.value));
        let names = seen.callers.iter().map(|(caller, count)| {
            let name = caller.as_deref().unwrap_or("nobody they know");
            if seen.callers.len() == 1 { name.to_owned() } else { format!("{name} in {count} of them") }
        });
        let names: Vec<String> = names.collect();
        let found = if complete { format!("the servers saw {}", names.join(", ")) } else { seen.outcome() };
        add("caller", format!("the servers take the caller for {}", caller.value), found, held);
    }
    let fails = expect.error.is_some() || expect.cause.is_some();
    checks.extend(figures::judge(expect.figures, seen, fails, expect.lenient));
    checks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use hermesh_istiod::yaml;

    use super::super::file::File;
    use super::super::read::{Cursor, Problems};
    use super::*;

    fn expect(text: &str) -> Expect {
        let text = format!(
            "{{apiVersion: hermesh/v1alpha1, kind: Scenario, name: t, mesh: {{istio: \"1.32\"}}, \
             steps: [{{call: {{from: a, url: \"xds:///b:1\"}}, expect: {text}}}]}}"
        );
        let documents = yaml::parse("t", &text).unwrap();
        let problems = Problems::of("t");
        let file: File = super::super::reader::read(&Cursor::root(&documents[0].root, &problems)).unwrap();
        assert!(problems.is_empty(), "{:?}", problems.into_found());
        file.steps[0].expect_of_call().cloned().unwrap()
    }

    fn held(text: &str, seen: &Seen) -> Vec<(bool, String)> {
        let checks = judge(&Outcomes::from(&expect(text)), seen, |target, name| target.workload == name);
        checks.into_iter().map(|check| (check.held, check.seen)).collect()
    }

    fn answers(counts: &[(&str, u64)]) -> Seen {
        let total = counts.iter().map(|(_, count)| count).sum();
        let answers = counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        Seen { total, answers, succeeded: total, ..Seen::default() }
    }

    fn failing(total: u64, failed: u64, code: &str, cause: Option<&str>) -> Seen {
        let failures = BTreeMap::from([((code.to_owned(), cause.map(str::to_owned)), failed)]);
        Seen { total, failures, succeeded: total - failed, ..Seen::default() }
    }

    #[test]
    fn counts_must_fall_into_their_ranges_and_strangers_may_not_answer() {
        let expected = "{ok: all, to: {v1: 2..3, v2: 2..3}}";
        let fine = vec![(true, "all 5 calls succeeded".to_owned()), (true, "v1 3, v2 2".to_owned())];
        assert_eq!(held(expected, &answers(&[("v1", 3), ("v2", 2)])), fine);
        assert!(!held(expected, &answers(&[("v1", 4), ("v2", 1)]))[1].0);
        let stranger = held(expected, &answers(&[("v1", 2), ("v2", 2), ("v3", 1)]));
        assert_eq!(stranger[1], (false, "v1 2, v2 2, v3 1".to_owned()));
    }

    #[test]
    fn a_share_is_judged_by_its_bounds() {
        let expected = "{share: {v1: 20%, v2: 80%}}";
        assert!(held(expected, &answers(&[("v1", 198), ("v2", 802)])).iter().all(|(held, _)| *held));
        assert!(held(expected, &answers(&[("v1", 800), ("v2", 200)])).iter().all(|(held, _)| !held));
        assert!(held(expected, &answers(&[("v1", 500), ("v2", 500)])).iter().all(|(held, _)| !held));
        let stranger = held(expected, &answers(&[("v1", 198), ("v2", 801), ("v3", 1)]));
        assert!(stranger.iter().all(|(held, _)| !held), "{stranger:?}");
    }

    #[test]
    fn of_no_calls_that_were_answered_there_is_no_share() {
        let expect = expect("{share: {v1: 20%, v2: 80%}, codes: {OK: 0..3, UNAVAILABLE: 0..3}}");
        let judged = |seen: &Seen| {
            let checks = judge(&Outcomes::from(&expect), seen, |target, name| target.workload == name);
            let first = &checks[0];
            (first.expected.clone(), first.seen.clone(), first.held)
        };
        let told = |seen: &str| ("v1 20%".to_owned(), seen.to_owned(), false);
        assert_eq!(judged(&answers(&[])), told("no call was sent"));
        let failed = failing(3, 3, "UNAVAILABLE", None);
        assert_eq!(judged(&failed), told("no call was answered: 3 of 3 calls failed with UNAVAILABLE"));
    }

    #[test]
    fn every_call_must_fail_as_expected() {
        let expected = "{error: UNAVAILABLE, cause: tls-handshake}";
        let all = failing(3, 3, "UNAVAILABLE", Some("tls-handshake"));
        assert!(held(expected, &all).iter().all(|(held, _)| *held));
        let some = failing(3, 2, "UNAVAILABLE", Some("tls-handshake"));
        let seen = "2 of 3 calls failed with UNAVAILABLE (tls-handshake), 1 succeeded";
        assert_eq!(held(expected, &some), vec![(false, seen.to_owned()); 2]);
        let other = failing(1, 1, "UNAVAILABLE", Some("tcp-connect"));
        let seen = "the call failed with UNAVAILABLE (tcp-connect)".to_owned();
        assert_eq!(held(expected, &other), [(true, seen.clone()), (false, seen)]);
        assert!(held(expected, &answers(&[("v1", 1)])).iter().all(|(held, _)| !held));
    }

    #[test]
    fn failed_calls_hold_no_expectation_of_success() {
        let seen = failing(10, 1, "UNAVAILABLE", None);
        for expected in ["{ok: all}", "{to: {v1: all}}", "{share: {v1: 100%}}", "{caller: \"spiffe://a/b\"}"] {
            let found = held(expected, &seen);
            assert_eq!(found, [(false, "1 of 10 calls failed with UNAVAILABLE, 9 succeeded".to_owned())], "{expected}");
        }
    }

    #[test]
    fn every_server_must_know_the_caller() {
        let caller = Some("spiffe://a/b".to_owned());
        let mut seen = answers(&[("v1", 2)]);
        seen.callers = BTreeMap::from([(caller.clone(), 2)]);
        assert!(held("{caller: \"spiffe://a/b\"}", &seen)[0].0);
        seen.callers = BTreeMap::from([(caller, 1), (None, 1)]);
        let seen = held("{caller: \"spiffe://a/b\"}", &seen);
        assert_eq!(
            seen,
            [(false, "the servers saw nobody they know in 1 of them, spiffe://a/b in 1 of them".to_owned())]
        );
    }
}
