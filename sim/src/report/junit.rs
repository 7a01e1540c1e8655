//! The report that CI systems read: JUnit XML, with a suite for each run and a case for each step.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::Value;

/// Makes it from the runs of the report in JSON, and from what Hermesh itself is at fault for.
pub(super) fn junit(runs: &[Value], faults: &[String]) -> String {
    let mut report = Report::new("hermesh");
    report.add_test_suites(runs.iter().map(suite));
    if !faults.is_empty() {
        let mut suite = TestSuite::new("hermesh");
        for fault in faults {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(fault.as_str());
            suite.add_test_case(TestCase::new("a fault of Hermesh", status));
        }
        report.add_test_suite(suite);
    }
    report.to_string().expect("what is written to memory is written")
}

fn suite(run: &Value) -> TestSuite {
    let name = text(&run["scenario"]);
    let mut suite = TestSuite::new(format!("{name}, seed {}", run["seed"]));
    suite.set_time(Duration::from_millis(run["wall_ms"].as_u64().unwrap_or_default()));
    let steps = run["steps"].as_array().map(Vec::as_slice).unwrap_or_default();
    for parts in steps.chunk_by(|one, next| one["number"] == next["number"]) {
        let mut case = TestCase::new(title(&parts[0]), status(parts));
        case.set_classname(name);
        suite.add_test_case(case);
    }
    if let Some(snapshot) = run["snapshot"].as_object() {
        let status = match snapshot["difference"].as_str() {
            Some(difference) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message("the run is not as the snapshot has it");
                status.set_description(difference);
                status
            }
            None => TestCaseStatus::success(),
        };
        let mut case = TestCase::new(format!("snapshot {}", text(&snapshot["path"])), status);
        case.set_classname(name);
        suite.add_test_case(case);
    }
    suite
}

/// `4 Short names`, or what is done if nobody named it.
fn title(step: &Value) -> String {
    let name = step["name"].as_str().unwrap_or_else(|| text(&step["action"]));
    format!("{} {name}", step["number"])
}

fn status(parts: &[Value]) -> TestCaseStatus {
    let Some(failure) = parts.iter().map(|part| &part["failure"]).find(|failure| !failure.is_null()) else {
        return TestCaseStatus::success();
    };
    let [place, expected, seen, again] = ["place", "expected", "seen", "again"].map(|field| text(&failure[field]));
    let why = failure["why"].as_array().map(Vec::as_slice).unwrap_or_default();
    let why: String = why.iter().map(|line| format!("  {}\n", text(line))).collect();
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(format!("{place}: expected {expected}; seen {seen}"));
    status.set_description(format!("{place}\nexpected  {expected}\nseen      {seen}\nwhy\n{why}again     {again}\n"));
    status
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_a_suite_and_a_step_a_case() {
        let failure = json!({
            "place": "a.yaml:9:3", "expected": "every call succeeds", "seen": "1 of 2 calls failed with <UNAVAILABLE>",
            "why": ["1.0s  this", "2.0s  that"], "again": "hermesh run a.yaml --seed 7",
        });
        let run = json!({"scenario": "a", "seed": 7, "wall_ms": 1500, "steps": [
            {"number": 1, "name": "Deploy", "action": "apply a.yaml", "failure": null},
            {"number": 1, "name": null, "action": "wait 5s", "failure": null},
            {"number": 2, "name": "Call", "action": "call", "failure": failure},
        ]});
        insta::assert_snapshot!(junit(&[run], &["the same seed gave two different runs".to_owned()]), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="hermesh" tests="3" skipped="0" failures="1" errors="1">
            <testsuite name="a, seed 7" tests="2" skipped="0" errors="0" failures="1" time="1.500">
                <testcase name="1 Deploy" classname="a"/>
                <testcase name="2 Call" classname="a">
                    <failure message="a.yaml:9:3: expected every call succeeds; seen 1 of 2 calls failed with &lt;UNAVAILABLE&gt;">a.yaml:9:3
        expected  every call succeeds
        seen      1 of 2 calls failed with &lt;UNAVAILABLE&gt;
        why
          1.0s  this
          2.0s  that
        again     hermesh run a.yaml --seed 7
        </failure>
                </testcase>
            </testsuite>
            <testsuite name="hermesh" tests="1" skipped="0" errors="1" failures="0">
                <testcase name="a fault of Hermesh">
                    <error message="the same seed gave two different runs"/>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }
}
