//! Scenarios with loads, played: what holds when it should, and above all what does not.

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Verdict};

use super::played::{checks, example, play, seen};

const LOAD: &str = "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 50}\n";

#[test]
fn the_examples_hold_with_any_seed_and_on_both_networks() {
    for name in ["canary-under-load.yaml", "rollback-meets-restart.yaml"] {
        let scenario = example(&format!("grpc-echo/{name}"));
        for (seed, network) in
            [(1, Network::Simulated), (2, Network::Simulated), (3, Network::Simulated), (1, Network::Turmoil)]
        {
            let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
            assert_eq!(run.verdict, Verdict::Held, "{name}\n{}", report::human(&run, &report::Styles::plain()));
        }
    }
}

#[test]
fn a_window_has_the_calls_that_were_sent_in_it_and_no_others() {
    let shift = "- name: before\n  wait: 4s\n- name: shifted\n  together:\n  - {at: 1s, apply: virtual-service-v1.yaml}\n  \
                 - {at: 3s, restart: istiod}\n- name: after\n  wait: 4s\n";
    let run = play(&format!(
        "{LOAD}{shift}- stop: a\n  expect:\n  - {{throughout: before, share: {{echo-v1: 50%, echo-v2: 50%}}}}\n  \
         - {{since: shifted, to: {{echo-v1: all}}}}\n  - {{throughout: after, to: {{echo-v1: 200}}}}"
    ));
    assert_eq!(run.verdict, Verdict::Held, "{:?}", checks(&run));
    // The other way round nothing holds.
    let run = play(&format!(
        "{LOAD}{shift}- stop: a\n  expect:\n  - {{since: shifted, share: {{echo-v1: 50%, echo-v2: 50%}}}}\n  \
         - {{throughout: before, to: {{echo-v1: all}}}}\n  - {{throughout: shifted, to: {{echo-v1: all}}}}"
    ));
    assert!(checks(&run).iter().all(|(held, _)| !held), "{:?}", checks(&run));
}

#[test]
fn a_window_without_calls_and_one_with_too_few_hold_nothing() {
    let run = play(&format!(
        "{LOAD}- wait: 1s\n- name: at once\n  heal: all\n- stop: a\n  expect:\n  - {{throughout: at once, errors: none}}\n  \
         - {{share: {{echo-v1: 49%, echo-v2: 51%}}}}"
    ));
    let checks = checks(&run);
    assert_eq!(checks[0], (false, "no call was sent, throughout \"at once\"".to_owned()));
    assert!(!checks[1].0 && checks[1].1.contains("cannot tell these shares from others"), "{checks:?}");
}

#[test]
fn calls_that_end_long_after_the_load_was_stopped_count() {
    let hang = LOAD.replace("qps: 50", "qps: 10, timeout: 90s");
    let run = play(&format!(
        "{hang}- wait: 2s\n- partition: [echo-v1, echo-v2]\n- wait: 4s\n- stop: a\n  expect: {{errors: none}}"
    ));
    let seen = seen(&run);
    let (failed, rest) = seen.split_once(" of 60 calls failed with DEADLINE_EXCEEDED (deadline), ").expect(&seen);
    assert_eq!(rest, format!("{} succeeded", 60 - failed.parse::<u32>().unwrap()));
}

#[test]
fn a_load_whose_pod_goes_away_fails_the_step_that_stops_it() {
    let end = "- delete: grpc-echo.yaml\n";
    for steps in [format!("{end}- wait: 60s\n"), format!("- partition: [echo-v1, echo-v2]\n- wait: 1s\n{end}")] {
        let load = LOAD.replace("qps: 50", "qps: 10, timeout: 1h");
        let run = play(&format!("{load}- wait: 1s\n{steps}- stop: a\n  expect: {{errors: 0..1000}}"));
        let seen = seen(&run);
        assert!(seen.ends_with("ended before it was stopped: its pod is gone"), "{seen}");
        let why = &run.steps.last().unwrap().failure.as_ref().unwrap().why;
        assert!(why.iter().any(|line| line.contains("delete")), "{why:?}");
    }
}

#[test]
fn the_host_header_of_a_load_is_its_authority() {
    let load = LOAD.replace("qps: 50", "qps: 10, headers: {Host: nowhere}");
    let run = play(&format!("{load}- wait: 2s\n- stop: a\n  expect: {{cause: name-resolution}}"));
    assert_eq!(run.verdict, Verdict::Held, "{:?}", checks(&run));
}

#[test]
fn a_workload_of_another_namespace_is_another_workload() {
    let other = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n---\n\
                 apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: echo-v1, namespace: other}\nspec:\n  \
                 selector: {matchLabels: {app: x}}\n  template:\n    metadata: {labels: {app: x}}\n    spec:\n      \
                 containers: [{name: app, image: registry.istio.io/testing/app:latest}]\n";
    let run = play(&format!(
        "- call: {{from: echo-v1, url: \"xds:///echo:7070\", count: 10}}\n  \
         expect: {{to: {{other/echo-v1: 0..10, echo-v2: 0..10}}}}\n{other}"
    ));
    assert!(seen(&run).contains("echo-v1 "), "{}", seen(&run));
    let run = play(&format!(
        "{LOAD}- wait: 2s\n- stop: a\n  expect: {{to: {{other/echo-v1: 0..200, echo-v2: 0..200}}}}\n{other}"
    ));
    assert_eq!(run.verdict, Verdict::Failed, "{:?}", checks(&run));
}
