//! Figures that make no sense, or that cannot be known.

use super::{open, refused, refused_step, steps};

fn call(expect: &str) -> String {
    format!("- call: {{from: echo-v1, url: \"xds:///echo:7070\", count: 50}}\n  expect: {expect}")
}

#[test]
fn figures_may_be_expected_of_calls_and_of_loads() {
    let figures = "latency: {p50: <5ms, p98: 1ms..20ms, max: >1ms}, attempts: {1: 40..50, 2: 0%..20%}, \
                   codes: {OK: 25..50, UNAVAILABLE: 0%..50%}, causes: {tcp-connect: 100%}, versions: {v1: all}, \
                   callers: {nobody: 0..50, \"spiffe://a/b\": 0..50}, pods: 1..2";
    let load = "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 1}\n- {name: b, wait: 1s}\n";
    for expect in [figures.to_owned(), figures.replace("{1: 40..50, 2: 0%..20%}", "1..3")] {
        let stop = format!("{load}- stop: a\n  expect: [{{since: b, {expect}}}, {{caller: \"spiffe://a/b\"}}]");
        assert_eq!(open(&steps(&call(&format!("{{{expect}}}")))).err(), None);
        assert_eq!(open(&steps(&stop)).err(), None);
    }
    let fails = call("{error: UNAVAILABLE, attempts: 0..1, latency: {max: <1s}}");
    assert_eq!(open(&steps(&fails)).err(), None);
}

#[test]
fn what_stands_in_figures_is_what_they_count() {
    refused(
        &steps(&call("{latency: {p50: 5ms, q: <1s}, codes: {OK: all, NOPE: 1}, attempts: {one: 1}, callers: {me: 1}}")),
        &[
            "s.yaml:9:27: steps[1].expect.latency.p50: no call takes exactly 5ms; expected a bound such as `<5ms`",
            "s.yaml:9:32: steps[1].expect.latency.q: expected `p50`, `p99.9`, `max` or the like, found \"q\"",
            "s.yaml:9:58: steps[1].expect.codes.NOPE: unknown status code \"NOPE\"; expected OK, CANCELLED, UNKNOWN, \
             INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS, PERMISSION_DENIED, RESOURCE_EXHAUSTED, \
             FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS or \
             UNAUTHENTICATED",
            "s.yaml:9:79: steps[1].expect.attempts.one: expected a number of attempts such as `1`, found \"one\"",
            "s.yaml:9:98: steps[1].expect.callers.me: expected `nobody`, or a SPIFFE identity such as \
             `spiffe://cluster.local/ns/shop/sa/default`, found \"me\"",
        ],
    );
    refused_step(
        &call("{versions: {}}"),
        "s.yaml:9:22: steps[1].expect.versions: expected how many calls by version, such as `{v1: all}`, found an empty one",
    );
}

#[test]
fn figures_that_no_calls_can_have_or_all_have_are_refused() {
    for (expect, message) in [
        (
            "{latency: {p99: <1s}}",
            "9:22: steps[1].expect.latency.p99: of 50 calls p99 is the slowest: write `max`, or make 100",
        ),
        (
            "{latency: {p50: >2s, max: <1s}}",
            "9:22: steps[1].expect.latency.p50: `max` is never below `p50`: no calls have both >2s and <1s",
        ),
        ("{codes: {OK: 20%, ABORTED: 70%}}", "9:19: steps[1].expect.codes: the shares sum to 90%; expected 100%"),
        (
            "{codes: {OK: 49%, ABORTED: 51%}}",
            "9:19: steps[1].expect.codes: 50 calls cannot tell these shares from others; it takes 94000",
        ),
        ("{codes: {OK: 51}}", "9:19: steps[1].expect.codes: these are at least 51 calls, and the step makes 50"),
        ("{codes: {OK: 0..49}}", "9:19: steps[1].expect.codes: these are at most 49 of the 50 calls the step makes"),
        (
            "{codes: {OK: 20%, ABORTED: 0..50}}",
            "9:19: steps[1].expect.codes: a share such as `20%` is told from others by chance, which takes all shares; \
             beside numbers write a range such as `15%..25%`",
        ),
        ("{ok: all, codes: {OK: all}}", "9:28: steps[1].expect.codes: `codes` says what `ok` says; leave one out"),
        (
            "{error: ABORTED, causes: {deadline: all}}",
            "9:36: steps[1].expect.causes: `error` expects that all calls fail alike; leave it or `causes` out",
        ),
        (
            "{caller: \"spiffe://a/b\", callers: {nobody: all}}",
            "9:45: steps[1].expect.callers: `callers` says what `caller` says; leave one out",
        ),
    ] {
        refused_step(&call(expect), &format!("s.yaml:{message}"));
    }
}

#[test]
fn figures_of_calls_that_other_figures_rule_out_are_refused() {
    for (expect, message) in [
        (
            "{pods: 51}",
            "9:18: steps[1].expect.pods: 50 calls are answered by 50 pods at most; expected fewer, or make 51 calls",
        ),
        (
            "{pods: 0}",
            "9:18: steps[1].expect.pods: calls that succeed are answered by 1 pod at least; to expect that all fail \
             write `error`",
        ),
        (
            "{pods: 1..50}",
            "9:18: steps[1].expect.pods: 50 calls that succeed are always answered by 1..50 pods; expected a narrower \
             range, or more calls",
        ),
        (
            "{attempts: 0..100}",
            "9:22: steps[1].expect.attempts: every call takes 0..100 attempts, since 5 are the most (gRFC A6); expected \
             fewer",
        ),
        (
            "{attempts: 6..7}",
            "9:22: steps[1].expect.attempts: no call takes more than 5 attempts (gRFC A6); expected fewer",
        ),
        (
            "{attempts: {1: 0..50, 6: 0..50}}",
            "9:33: steps[1].expect.attempts.6: no call takes more than 5 attempts (gRFC A6); expected fewer",
        ),
        (
            "{codes: {OK: all}, causes: {deadline: all}}",
            "9:38: steps[1].expect.causes: `codes` expects that no call fails; leave it or `causes` out",
        ),
        (
            "{codes: {OK: 50, ABORTED: 0..50}, causes: {deadline: all}}",
            "9:53: steps[1].expect.causes: `codes` expects that no call fails; leave it or `causes` out",
        ),
        (
            "{codes: {UNAVAILABLE: all}, pods: 1}",
            "9:45: steps[1].expect.pods: `codes` expects that no call succeeds; leave it or `pods` out",
        ),
        (
            "{codes: {UNAVAILABLE: all}, to: {echo-v1: 1}}",
            "9:43: steps[1].expect.to: `codes` expects that no call succeeds; leave it or `to` out",
        ),
        (
            "{codes: {UNAVAILABLE: all}, share: {echo-v1: 20%, echo-v2: 80%}}",
            "9:46: steps[1].expect.share: `codes` expects that no call succeeds; leave it or `share` out",
        ),
        (
            "{codes: {UNAVAILABLE: 100%}, latency: {max: <1s}}",
            "9:49: steps[1].expect.latency: `codes` expects that no call succeeds; write `error` in place of `codes` for \
             that of calls that fail",
        ),
    ] {
        refused_step(&call(expect), &format!("s.yaml:{message}"));
    }
    for expect in [
        "{codes: {UNAVAILABLE: all}, causes: {tcp-connect: all}, attempts: 0..4}",
        "{codes: {OK: 0..50, UNAVAILABLE: 0..50}, causes: {deadline: all}, pods: 0..50, latency: {max: <1s}}",
        "{codes: {OK: all}, pods: 2, versions: {none: all}, attempts: {5: 0..50, 1: 0..50}}",
        "{pods: 2..50}",
    ] {
        assert_eq!(open(&steps(&call(expect))).err(), None, "{expect}");
    }
    let one = "- call: {from: echo-v1, url: \"xds:///echo:7070\"}\n  expect: {pods: 1}";
    assert_eq!(open(&steps(one)).err(), None);
}

#[test]
fn what_only_channels_with_xds_tell_is_expected_of_them_only() {
    let of =
        |url: &str, expect: &str| format!("- call: {{from: echo-v1, url: \"{url}\", count: 50}}\n  expect: {expect}");
    for url in ["grpc://echo:7070", "http://echo:7070"] {
        refused_step(
            &of(url, "{codes: {OK: all}}"),
            "s.yaml:9:19: steps[1].expect.codes: `codes` is known of calls to xds:/// only",
        );
        assert_eq!(open(&steps(&of(url, "{pods: 2, versions: {v1: all}}"))).err(), None);
    }
}
