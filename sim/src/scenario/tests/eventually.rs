//! What may take a time to be so: `within` of calls, `eventually` of loads.

use super::{open, refused, refused_step, steps};

const LOAD: &str = "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 1}\n- {name: done, wait: 1s}\n";

#[test]
fn calls_and_loads_may_take_their_time() {
    let fine = "- call: {from: echo-v1, url: \"xds:///echo:7070\", count: 10}\n  expect: {ok: all, within: 1h}\n";
    let load = "- stop: a\n  expect:\n  - {eventually: done, errors: none}\n  \
                - {eventually: done, within: 5s, to: {echo-v1: all}}";
    let scenario = open(&steps(&format!("{fine}{LOAD}{load}"))).unwrap();
    assert!(scenario.notes().iter().all(|note| note.code != "unsettled"), "who waits, waits: {:?}", scenario.notes());
}

#[test]
fn what_makes_no_sense_is_refused() {
    refused_step(
        "- call: {from: echo-v1, url: \"xds:///echo:7070\"}\n  expect: {within: 5s}",
        "s.yaml:9:11: steps[1].expect: expects nothing; write what must come of the call, such as `{ok: all}`",
    );
    refused_step(
        "- call: {from: echo-v1, url: \"xds:///echo:7070\"}\n  expect: {ok: all, within: 5}",
        "s.yaml:9:29: steps[1].expect.within: expected a time with its unit, such as `5s` or `5ms`, found the bare \
         number 5",
    );
    refused_step(
        "- call: {from: echo-v1, url: \"xds:///echo:7070\", count: 1000}\n  expect: {ok: all, within: 10m}",
        "s.yaml:9:29: steps[1].expect.within: made again once a second, these may be 601000 calls; expected 500000 at \
         most: give them less time, or make fewer at once",
    );
    refused(
        &steps(&format!(
            "{LOAD}- stop: a\n  expect:\n  - {{eventually: dona, errors: none}}\n  - {{within: 5s, errors: none}}\n  \
             - {{eventually: done, since: done, errors: none}}"
        )),
        &[
            "s.yaml:12:18: steps[3].expect[0].eventually: unknown step before this one \"dona\"; did you mean `done`?",
            "s.yaml:13:14: steps[3].expect[1].within: `within` is how long `eventually` may take: write `eventually` \
             with the name of a step",
            "s.yaml:14:18: steps[3].expect[2].eventually: `since` and `eventually` exclude each other",
        ],
    );
}
