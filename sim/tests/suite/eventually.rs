//! Scenarios that give things time, played: what holds in time does, and what does not fails.

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Verdict};

use super::played::{example, last, play, seen};

#[test]
fn the_examples_hold_with_any_seed_and_on_both_networks() {
    for name in ["grpc-echo/eventually.yaml", "kubernetes/change-under-load.yaml"] {
        let scenario = example(name);
        for (seed, network) in [(1, Network::Simulated), (2, Network::Simulated), (1, Network::Turmoil)] {
            let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
            assert_eq!(run.verdict, Verdict::Held, "{name}\n{}", report::human(&run, &report::Styles::plain()));
        }
    }
}

const CALL: &str = "- call: {from: echo-v1, url: \"xds:///echo:7070\"}\n  expect: ";

#[test]
fn a_call_is_made_again_until_it_is_as_expected() {
    let count = CALL.replace("7070\"", "7070\", count: 20, qps: 100");
    let run = play(&format!("- apply: virtual-service-v1.yaml\n{count}{{to: {{echo-v1: all}}, within: 20s}}"));
    assert_eq!(run.verdict, Verdict::Held);
    assert!(!last(&run)[0].seen.contains("at try 1 "), "a push takes its time: {}", last(&run)[0].seen);
    let run = play(&format!("- scale: {{echo-v2: 0}}\n- wait: 5s\n{CALL}{{to: {{echo-v2: all}}, within: 4s}}"));
    let seen = seen(&run);
    assert!(seen.starts_with("echo-v2 0, echo-v1 1, at try 5 after 4."), "{seen}");
}

#[test]
fn of_what_is_never_so_the_time_is_told() {
    let run = play(&format!("{CALL}{{error: UNAVAILABLE, within: 3s}}"));
    let check = &last(&run)[0];
    assert_eq!(check.expected, "every call fails with UNAVAILABLE within 3s");
    assert!(!check.held && check.seen.starts_with("the call succeeded, at try 4 after 3."), "{check:?}");
}

const LOAD: &str = "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 50}\n- wait: 5s\n";

#[test]
fn what_comes_and_stays_is_so_eventually() {
    let run = play(&format!(
        "{LOAD}- {{name: shifted, apply: virtual-service-v1.yaml}}\n- wait: 20s\n- stop: a\n  expect:\n  \
         - {{eventually: shifted, within: 10s, to: {{echo-v1: all}}}}"
    ));
    assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    let seen = &last(&run)[0].seen;
    assert!(seen.contains(", 10s after \"shifted\" and later, and so since "), "{seen}");
    assert!(!seen.ends_with("since 0 ms"), "a push takes its time: {seen}");
}

#[test]
fn what_does_not_last_or_comes_too_late_is_not() {
    let back = play(&format!(
        "{LOAD}- {{name: shifted, apply: virtual-service-v1.yaml}}\n- wait: 20s\n- delete: virtual-service-v1.yaml\n\
         - wait: 5s\n- stop: a\n  expect: {{eventually: shifted, within: 10s, to: {{echo-v1: all}}}}"
    ));
    assert!(seen(&back).contains("echo-v2"), "{}", seen(&back));
    let late = play(&format!(
        "{LOAD}- {{name: shifted, wait: 1s}}\n- wait: 10s\n- apply: virtual-service-v1.yaml\n- wait: 20s\n- stop: a\n  \
         expect: {{eventually: shifted, within: 5s, to: {{echo-v1: all}}}}"
    ));
    assert!(seen(&late).contains("echo-v2"), "{}", seen(&late));
    let short = play(&format!(
        "{LOAD}- {{name: shifted, apply: virtual-service-v1.yaml}}\n- wait: 5s\n- stop: a\n  \
         expect: {{eventually: shifted, within: 10s, to: {{echo-v1: all}}}}"
    ));
    assert_eq!(seen(&short), "no call was sent, 10s after \"shifted\" and later");
}
