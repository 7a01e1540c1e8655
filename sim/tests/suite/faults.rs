//! The scenarios in `examples/faults` hold, whatever the seed, and a run of theirs is the same when it is repeated.

use std::path::PathBuf;

use hermesh::engine::Network;
use hermesh::scenario::{RunOptions, Scenario, Verdict};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/faults");

fn scenario(path: &PathBuf) -> Scenario {
    Scenario::open(path).unwrap_or_else(|error| panic!("{error}"))
}

#[expect(clippy::disallowed_methods, reason = "tests read files of the machine")]
fn examples() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let scenario = |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().any(|line| line == "kind: Scenario");
    let mut files: Vec<PathBuf> = entries.filter(scenario).collect();
    files.sort();
    files
}

#[test]
fn every_example_holds_with_any_seed_and_repeats() {
    let files = examples();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        let scenario = scenario(&file);
        for seed in 1..=5 {
            let run = scenario.run(&RunOptions::seed(seed)).unwrap();
            assert_eq!(run.verdict, Verdict::Held, "{} with seed {seed}: {:#?}", file.display(), run.steps.last());
            if seed == 1 {
                let again = scenario.run(&RunOptions::seed(seed)).unwrap();
                assert_eq!(run.trace.digest_hex(), again.trace.digest_hex(), "{}", file.display());
            }
        }
    }
}

#[test]
fn a_held_link_loses_nothing_on_turmoils_network_either() {
    let held = scenario(&PathBuf::from(FOLDER).join("held-link.yaml"));
    let run = held.run(&RunOptions::seed(1).network(Network::Turmoil)).unwrap();
    assert_eq!(run.verdict, Verdict::Held, "{:#?}", run.steps.last());
}

#[test]
fn what_turmoils_network_cannot_show_fails_its_step_with_the_reason() {
    let mut options = RunOptions::seed(1);
    options.network = Network::Turmoil;
    let run = scenario(&PathBuf::from(FOLDER).join("reset.yaml")).run(&options).unwrap();
    let failure = run.steps.last().and_then(|step| step.failure.as_ref()).expect("the step fails");
    assert_eq!(failure.expected, "packets take longer between echo-v1 and echo-v2");
    assert_eq!(
        failure.seen,
        "a link that is slow in one direction cannot be shown on turmoil's network: its links have one latency for both; \
         use the simulated network"
    );
}
