//! Numbers and times beyond which a run would never end.

use super::super::RunError;
use super::super::read::{At, Place};
use super::super::units::TimeRange;
use super::{open, refused, refused_step, steps};
use crate::scenario::RunOptions;

#[test]
fn times_are_bounded() {
    refused_step("- wait: 169h", "s.yaml:8:9: steps[1].wait: expected 168h at most, found 169h");
    refused_step(
        "- wait: {ready: all, within: 10081m}",
        "s.yaml:8:30: steps[1].wait.within: expected 168h at most, found 168h1m",
    );
    refused_step(
        "- call: {from: echo-v1, url: \"xds:///echo:7070\", timeout: 24h1ms}",
        "s.yaml:8:59: steps[1].call.timeout: expected 24h at most, found 24h1ms",
    );
    for latency in ["30s", "1ms..201ms"] {
        let most = latency.rsplit("..").next().unwrap();
        refused(
            &steps("").replace("\"1.32\"", &format!("\"1.32\", latency: {latency}")),
            &[&format!("s.yaml:5:32: mesh.latency: expected 200ms at most, found {most}")],
        );
    }
    for step in ["- wait: 168h", "- wait: {converged: all, within: 168h}"] {
        assert!(open(&steps(step)).is_ok(), "{step}");
    }
}

#[test]
fn calls_are_bounded() {
    let call = |fields: &str| format!("- call: {{from: echo-v1, {fields}}}");
    refused_step(
        &call("url: \"xds:///echo:7070\", count: 100001"),
        "s.yaml:8:57: steps[1].call.count: expected a whole number from 1 to 100000, found the number 100001",
    );
    refused_step(
        &call("url: \"xds:///echo:7070\", qps: 100001"),
        "s.yaml:8:55: steps[1].call.qps: expected a whole number from 1 to 100000, found the number 100001",
    );
    refused_step(
        &call("url: [\"xds:///echo:7070\", \"grpc://echo:7070\"], count: 60000"),
        "s.yaml:8:79: steps[1].call.count: these are 120000 calls; a step makes 100000 at most",
    );
    assert!(open(&steps(&call("url: \"xds:///echo:7070\", count: 100000, qps: 100000, timeout: 24h"))).is_ok());
}

#[test]
fn expected_counts_may_be_as_large_as_they_like() {
    let most = u64::MAX;
    refused_step(
        &format!(
            "- call: {{from: echo-v1, url: \"xds:///echo:7070\"}}\n  expect: {{to: {{echo-v1: {most}, echo-v2: {most}}}}}"
        ),
        &format!("s.yaml:9:16: steps[1].expect.to: these are at least {most} calls, and the step makes 1"),
    );
}

#[test]
fn a_mesh_that_cannot_start_as_the_scenario_has_it_is_its_authors_to_mend() {
    let mut scenario = open(&steps("").replace("\"1.32\"", "\"1.32\", latency: 200ms")).unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let place = scenario.file.mesh.latency.as_ref().map(|latency: &At<TimeRange>| latency.place.clone());
    let place: Place = place.unwrap();
    scenario.file.mesh.latency = Some(At { value: TimeRange(hour..=hour), place });
    let Err(RunError::Setting(error)) = scenario.run(&RunOptions::seed(1)) else { panic!("it started") };
    let message = error.to_string();
    assert!(message.contains("s.yaml:5:32: mesh.latency: the mesh does not start with this: not ready"), "{message}");
}

#[test]
fn what_admission_would_refuse_is_found_before_any_step_is_carried_out() {
    let text = steps("- apply: many.yaml");
    let scenario = open(&text).unwrap();
    let Err(RunError::Setting(error)) = scenario.run(&RunOptions::seed(1)) else { panic!("it was played") };
    assert!(error.to_string().contains("many.yaml:12:13: spec.replicas: "), "{error}");
    // It is known for every other seed.
    assert_eq!(scenario.refused.get(), Some(&error.diagnostics));
    let Err(RunError::Setting(again)) = scenario.run(&RunOptions::seed(2)) else { panic!("it was played") };
    assert_eq!(again.diagnostics, error.diagnostics);
}
