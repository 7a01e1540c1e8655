//! What calls come to when they are made: without xDS, and from pods that cannot be asked.

use super::super::{Run, RunOptions, Verdict};
use super::{open, steps};

/// Plays the steps once the pods are ready: those of `nginx.yaml`, for which stand-ins serve ForwardEcho.
fn play(text: &str) -> Run {
    let with_stand_in = steps(&format!("- wait: {{ready: all}}\n{text}"))
        .replace("echo.yaml", "nginx.yaml")
        .replace("\"1.32\"", "\"1.32\", images: {\"docker.io/nginx:*\": stand-in}");
    let scenario = open(&with_stand_in);
    scenario.unwrap_or_else(|errors| panic!("{}", errors.join("\n"))).run(&RunOptions::seed(1)).unwrap()
}

#[track_caller]
fn held(text: &str) {
    let run = play(text);
    assert_eq!(run.verdict, Verdict::Held, "{text}\n{:?}", run.steps.last().unwrap().failure);
}

/// What a step that fails tells: expected, and seen.
#[track_caller]
fn failed(text: &str) -> (String, String) {
    let run = play(text);
    let failure = run.steps.last().unwrap().failure.clone();
    let failure = failure.unwrap_or_else(|| panic!("held:\n{text}"));
    (failure.expected, failure.seen)
}

#[test]
fn the_code_of_a_call_by_plain_grpc_is_the_one_it_ended_with() {
    held(
        "- call: {from: echo-v1, url: \"grpc://nobody:7070\"}\n  expect: {error: UNAVAILABLE}\n\
         - call: {from: echo-v1, url: [\"grpc://echo:1\", \"grpc://echo:1\"], timeout: 2s}\n\
         \x20 expect: {error: DEADLINE_EXCEEDED}",
    );
    let (_, seen) =
        failed("- call: {from: echo-v1, url: \"grpc://nobody:7070\"}\n  expect: {error: DEADLINE_EXCEEDED}");
    assert_eq!(seen, "the call failed with UNAVAILABLE");
    let (_, seen) = failed("- call: {from: echo-v1, url: \"grpc://echo:7070\"}\n  expect: {error: UNAVAILABLE}");
    assert_eq!(seen, "the call succeeded");
}

#[test]
fn a_call_by_http_that_fails_is_known_to_fail() {
    held("- call: {from: echo-v1, url: \"http://nobody\", count: 3}\n  expect: {error: UNKNOWN}");
    let (_, seen) = failed("- call: {from: echo-v1, url: \"http://echo:7070\", timeout: 1s}\n  expect: {ok: all}");
    assert!(seen.starts_with("the call failed with UNKNOWN") || seen == "the call did not end in time", "{seen}");
}

#[test]
fn a_batch_that_cannot_be_counted_does_not_pass() {
    let (_, seen) = failed(
        "- call: {from: echo-v1, url: \"grpc://echo:7070\", count: 10, qps: 1, timeout: 3s}\n  expect: {ok: all}",
    );
    assert_eq!(seen, "3 of 10 ended, how ForwardEcho does not tell, 7 did not end in time");
}

#[test]
fn a_call_that_cannot_be_made_fails_whatever_is_expected_of_it() {
    for expect in ["", "\n  expect: {error: UNAVAILABLE}"] {
        // There is no ForwardEcho in the control plane.
        let (expected, seen) = failed(&format!("- call: {{from: istiod, url: \"xds:///istiod:15010\"}}{expect}"));
        assert_eq!(expected, "the call is made");
        assert!(seen.contains(" could not be asked to call: UNAVAILABLE: "), "{seen}");
    }
}

#[test]
fn the_answers_of_thousands_of_calls_fit_into_one_message() {
    held("- call: {from: echo-v1, url: \"grpc://echo:7070\", count: 10000}\n  expect: {ok: all}");
}
