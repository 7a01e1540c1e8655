//! `together`: several things at times of their own, on one clock.

use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh_istiod::yaml::listed;
use hermesh_runtime::Draws;

use super::file::{DEEDS, Moment, VERBS, WAIT_MAX};
use super::read::{At, Cursor, unknown};
use super::reader::{at_most, deed};
use super::units::{Time, TimeRange};

pub(super) fn moments(field: &Cursor<'_>) -> Option<Vec<Moment>> {
    let items = field.items("a list of things to do, each with its time")?;
    if items.is_empty() {
        field.error("empty", "expected at least one thing to do");
    }
    Some(items.iter().filter_map(moment).collect())
}

fn moment(cursor: &Cursor<'_>) -> Option<Moment> {
    let mut fields = cursor.fields("a thing to do at its time: a mapping such as `{at: 1s..3s, restart: istiod}`")?;
    let at = fields.required("at").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `1s..3s`")?;
        at_most(&field, Time(*range.value.0.end()), WAIT_MAX)?;
        Some(range)
    });
    let verbs: Vec<&str> = DEEDS.iter().copied().filter(|verb| fields.has(verb)).collect();
    let has_foreign = VERBS.into_iter().any(|verb| cursor.node.get(verb).is_some());
    match verbs.as_slice() {
        [] if !has_foreign => match fields.only_unknown(&["at", "name", "expect"]) {
            Some((verb, value)) => value.error_at(verb, "unknown-step", unknown("thing to do", &verb.text, &DEEDS)),
            None => cursor.error("unknown-step", format!("nothing is done here; expected {}", listed(&DEEDS))),
        },
        [first, second, ..] => {
            let message = format!("one thing has one time, and this one has {first} too; write it as two");
            fields.optional(second)?.error("two-verbs", message);
        }
        _ => {}
    }
    let verb_place =
        verbs.first().and_then(|verb| fields.optional(verb)).map_or_else(|| cursor.place(), |it| it.place());
    let step = deed(&mut fields, verb_place);
    let message =
        |verb: &str| format!("`{verb}` takes time or shows something; only what is done at once has a place here");
    let mut foreign: Vec<(&str, String)> =
        VERBS.into_iter().filter(|verb| !DEEDS.contains(verb)).map(|verb| (verb, message(verb))).collect();
    foreign.push(("name", "what is done together has one name, that of the step".to_owned()));
    let foreign: Vec<(&str, &str)> = foreign.iter().map(|(verb, message)| (*verb, message.as_str())).collect();
    if verbs.is_empty() && !has_foreign {
        return None;
    }
    fields.finish(&foreign);
    Some(Moment { at: at?, step })
}

pub(super) fn describe(moments: &[Moment]) -> String {
    match moments.len() {
        1 => "together: one thing".to_owned(),
        many => format!("together: {many} things"),
    }
}

/// When which moment comes, by their numbers in the file: those of one time in the order of the file.
pub(super) fn schedule(moments: &[Moment], draws: impl Fn(usize) -> Draws) -> Vec<(Duration, usize)> {
    let timed = moments.iter().enumerate().map(|(own, moment)| (drawn(&moment.at.value.0, draws(own)), own));
    let mut timed: Vec<(Duration, usize)> = timed.collect();
    timed.sort_unstable();
    timed
}

/// A time of the range in whole milliseconds, the resolution of all timers.
fn drawn(range: &RangeInclusive<Duration>, mut draws: Draws) -> Duration {
    let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(draws.between(ms(range.start()), ms(range.end())))
}
