//! Scenarios as tests play them, and what they look at afterwards.

use std::path::Path;

use hermesh::scenario::{Check, Run, RunOptions, Scenario, Verdict};

/// Where the examples are.
pub(crate) const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// One of the examples, by its path there.
#[track_caller]
pub(crate) fn example(name: &str) -> Scenario {
    Scenario::open(Path::new(EXAMPLES).join(name)).unwrap_or_else(|error| panic!("{error}"))
}

/// Plays steps after those that deploy `examples/grpc-echo`, beside its manifests.
#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
#[track_caller]
pub(crate) fn play(steps: &str) -> Run {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(Path::new(EXAMPLES).join("grpc-echo")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: echo-grpc\nmesh: {{istio: \"1.32\"}}\nsteps:\n\
         - apply: [namespace.yaml, grpc-echo.yaml, destination-rule-subsets.yaml]\n- wait: {{ready: all}}\n\
         - wait: {{converged: all}}\n{steps}"
    );
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::open(&path).unwrap_or_else(|error| panic!("{error}"));
    scenario.run(&RunOptions::seed(1)).unwrap()
}

/// The checks of the last step.
pub(crate) fn last(run: &Run) -> &[Check] {
    &run.steps.last().unwrap().checks
}

/// Those checks: which held, and what they saw.
pub(crate) fn checks(run: &Run) -> Vec<(bool, String)> {
    last(run).iter().map(|check| (check.held, check.seen.clone())).collect()
}

/// What the step that failed saw.
#[track_caller]
pub(crate) fn seen(run: &Run) -> String {
    assert_eq!(run.verdict, Verdict::Failed);
    run.steps.last().unwrap().failure.as_ref().unwrap().seen.clone()
}
