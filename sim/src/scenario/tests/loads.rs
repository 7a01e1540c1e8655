//! `load` and `stop`.

use super::{open, refused, steps};

const LOAD: &str = "- load: {name: shoppers, from: echo-v1, url: \"xds:///echo:7070\", qps: 200}\n";

#[test]
fn a_load_is_stopped_once_and_what_came_of_it_may_be_expected() {
    let fine = format!(
        "{LOAD}- name: settled\n  wait: 5s\n- stop: shoppers\n  expect:\n  - {{errors: none}}\n  \
         - {{since: settled, share: {{echo-v1: 20%, echo-v2: 80%}}}}\n  - {{throughout: settled, error: UNAVAILABLE}}"
    );
    assert!(open(&steps(&fine)).is_ok());
}

#[test]
fn names_of_loads_mean_loads_under_way() {
    refused(
        &steps(LOAD.trim_end()),
        &[
            "s.yaml:8:16: steps[1].load.name: load `shoppers` is never stopped; add a step `stop: shoppers` with what to \
           expect of it",
        ],
    );
    refused(&steps("- stop: shoppers"), &["s.yaml:8:9: steps[1].stop: no load `shoppers` is under way at this step"]);
    refused(
        &steps(&format!("{LOAD}- stop: shopers\n- stop: shoppers")),
        &["s.yaml:9:9: steps[2].stop: unknown load \"shopers\"; did you mean `shoppers`?"],
    );
    refused(
        &steps(&format!("{LOAD}- stop: shoppers\n- stop: shoppers")),
        &["s.yaml:10:9: steps[3].stop: load `shoppers` was stopped before"],
    );
    refused(
        &steps(&format!("{LOAD}{LOAD}- stop: shoppers")),
        &["s.yaml:9:16: steps[2].load.name: another load is called `shoppers` already"],
    );
}

#[test]
fn a_window_is_that_of_a_step_between_load_and_stop() {
    let window = |window: &str| format!("- {{name: before, wait: 1s}}\n{LOAD}- stop: shoppers\n  expect: {window}");
    refused(
        &steps(&window("{errors: none, since: after}")),
        &["s.yaml:11:33: steps[3].expect.since: unknown step before this one \"after\"; expected before"],
    );
    refused(
        &steps(&window("{errors: none, throughout: before}")),
        &["s.yaml:11:38: steps[3].expect.throughout: step \"before\" comes before the load begins"],
    );
    refused(
        &steps(&window("{errors: none, since: before, throughout: before}")),
        &[
            "s.yaml:11:33: steps[3].expect.since: step \"before\" comes before the load begins",
            "s.yaml:11:53: steps[3].expect.throughout: `since` and `throughout` exclude each other",
            "s.yaml:11:53: steps[3].expect.throughout: step \"before\" comes before the load begins",
        ],
    );
}

#[test]
fn what_is_expected_of_a_load_makes_sense() {
    let expect = |expect: &str| steps(&format!("{LOAD}- stop: shoppers\n  expect: {expect}"));
    refused(
        &expect("{since: shoppers}"),
        &[
            "s.yaml:10:11: steps[2].expect: expects nothing; write what must come of the calls, such as `{errors: none}`",
            "s.yaml:10:19: steps[2].expect.since: no step \"shoppers\" comes before this one",
        ],
    );
    refused(
        &expect("{errors: none, error: UNAVAILABLE}"),
        &["s.yaml:10:20: steps[2].expect.errors: `errors` is about calls that succeed, and every call is expected to \
           fail here"],
    );
    refused(
        &expect("{errors: all}"),
        &[
            "s.yaml:10:20: steps[2].expect.errors: expected `none`, or how many calls fail, such as `3` or `0..3`, found \
           \"all\"",
        ],
    );
    refused(
        &expect("{share: {echo-v1: 20%, echo-v2: 70%}}"),
        &["s.yaml:10:19: steps[2].expect.share: the shares sum to 90%; expected 100%"],
    );
    refused(
        &expect("{ok: all}"),
        &[
            "s.yaml:10:11: steps[2].expect: expects nothing; write what must come of the calls, such as `{errors: none}`",
            "s.yaml:10:12: steps[2].expect.ok: `ok` is for `call`; for a load write `errors: none`",
        ],
    );
}

#[test]
fn a_load_goes_by_xds_to_a_service_that_is_there() {
    let load = |load: &str| steps(&format!("- load: {load}\n- stop: a"));
    refused(
        &load("{name: a, from: echo-v1, url: \"grpc://echo:7070\", qps: 1}"),
        &["s.yaml:8:39: steps[1].load.url: a load keeps one channel of gRPC with xDS: expected xds:///host:port"],
    );
    refused(
        &load("{name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 1, count: 5}"),
        &["s.yaml:8:67: steps[1].load.count: a load goes on until it is stopped; for a number of calls write `call`"],
    );
}
