//! The scenarios in `examples/traffic`, and what is told of calls that do not keep to their figures.

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Verdict};

use super::played::{checks, example, play, seen};

#[track_caller]
fn holds(name: &str, networks: &[Network]) {
    let scenario = example(&format!("traffic/{name}"));
    let simulated = [(1, Network::Simulated), (2, Network::Simulated)];
    let others = networks.iter().map(|network| (1, *network));
    for (seed, network) in simulated.into_iter().chain(others) {
        let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{name}\n{}", report::human(&run, &report::Styles::plain()));
    }
}

#[test]
fn circuit_breaking() {
    holds("circuit-breaking.yaml", &[]);
}

#[test]
fn fault_injection() {
    holds("fault-injection.yaml", &[Network::Turmoil]);
}

#[test]
fn load_balancing() {
    holds("load-balancing.yaml", &[]);
}

#[test]
fn retries() {
    holds("retries.yaml", &[]);
}

#[test]
fn timeouts() {
    holds("timeouts.yaml", &[]);
}

#[test]
fn identities() {
    holds("identities.yaml", &[Network::Turmoil]);
}

const LOAD: &str = "- load: {name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 50}\n- wait: 8s\n";
const CALL: &str = "- call: {from: echo-v1, url: \"xds:///echo:7070\", count: 200, qps: 100}\n  expect: ";

#[test]
fn figures_that_are_not_kept_fail_and_tell_what_was_seen() {
    let run = play(&format!("{LOAD}- stop: a\n  expect: {{latency: {{p50: >1s, max: >1s}}, versions: {{v1: all}}}}"));
    let checks = checks(&run);
    assert!(checks.iter().all(|(held, _)| !held), "{checks:?}");
    assert!(checks[0].1.starts_with("v1: ") && checks[0].1.ends_with(" of 400 calls"), "{checks:?}");
    assert!(checks[1].1.starts_with("v2: ") && checks[1].1.ends_with(" of 400 calls"), "{checks:?}");
    assert!(checks[2].1.starts_with("p50: ") && checks[2].1.ends_with(" ms of 400 calls that succeeded"), "{checks:?}");
    let text = report::human(&run, &report::Styles::plain());
    let rows: Vec<&str> = text.lines().filter(|line| line.trim_start().starts_with("FAILED  ")).collect();
    let column = |word: &str| rows.iter().map(|row| row.find(word)).collect::<Vec<_>>();
    assert_eq!(rows.len(), 4, "{text}");
    assert!(column("expected").windows(2).all(|pair| pair[0].is_some() && pair[0] == pair[1]), "{text}");
}

#[test]
fn why_calls_are_slow_leads_to_the_step_that_made_them_slow() {
    let slow = "- name: A long way\n  slow: {between: [echo-v1, echo-v2], latency: 300ms}\n- wait: 4s\n- heal: all\n- wait: 4s\n";
    let run = play(&format!("{LOAD}{slow}- stop: a\n  expect: {{latency: {{max: <200ms}}}}"));
    let failure = run.steps.last().unwrap().failure.as_ref().unwrap();
    assert_eq!(failure.expected, "max: <200ms");
    assert!(failure.why[0].starts_with("the slowest call was sent at "), "{:#?}", failure.why);
    assert!(failure.why[0].contains(" to echo-grpc/echo-v2-"), "{:#?}", failure.why);
    assert!(failure.why.iter().any(|line| line.contains("A long way")), "{:#?}", failure.why);
}

#[test]
fn the_figures_of_calls_and_of_loads_are_the_same() {
    let expect = "{codes: {OK: all}, attempts: 1, pods: 2, versions: {v1: 50%, v2: 50%}, callers: {nobody: all}, \
                  latency: {p99: <50ms}}";
    let run = play(&format!("{CALL}{expect}\n{LOAD}- stop: a\n  expect: {expect}"));
    assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    for wrong in [
        "{codes: {OK: 0..10, UNAVAILABLE: 0..400}}",
        "{codes: {UNAVAILABLE: all}}",
        "{causes: {deadline: all}}",
        "{attempts: 2}",
        "{attempts: {1: 50%, 2: 50%}}",
        "{pods: 1}",
        "{versions: {v1: 80%, v2: 20%}}",
        "{callers: {\"spiffe://cluster.local/ns/echo-grpc/sa/default\": all}}",
        "{latency: {p99: >50ms}}",
    ] {
        for steps in [format!("{CALL}{wrong}"), format!("{LOAD}- stop: a\n  expect: {wrong}")] {
            let run = play(&steps);
            assert_eq!(run.verdict, Verdict::Failed, "{steps}");
            assert!(checks(&run).iter().any(|(held, _)| !held), "{steps}: {:?}", checks(&run));
        }
    }
}

#[test]
fn calls_that_a_load_makes_meanwhile_are_not_those_of_a_call() {
    let run = play(&format!(
        "- load: {{name: a, from: echo-v1, url: \"xds:///echo:7070\", qps: 100}}\n{CALL}\
         {{codes: {{OK: all}}, callers: {{nobody: all}}}}\n- stop: a\n  expect: {{errors: none}}"
    ));
    assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
}

#[test]
fn quantiles_take_as_many_calls_as_they_tell_apart() {
    let run = play(&format!("{LOAD}- stop: a\n  expect: {{latency: {{p99.9: <1h}}}}"));
    assert_eq!(seen(&run), "p99.9 of 400 calls is the time of the slowest; it takes 1000");
}

#[test]
fn shares_of_what_did_not_happen_hold_nothing() {
    let run = play(&format!("{LOAD}- stop: a\n  expect: {{causes: {{deadline: 100%}}}}"));
    assert_eq!(seen(&run), "there were no calls that failed");
}
