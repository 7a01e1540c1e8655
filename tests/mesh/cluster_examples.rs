//! The scenario in `examples/kubernetes` holds, whatever the seed.

use hermesh::PodTable;
use hermesh::scenario::{Outcome, RunOptions, Scenario, Verdict};

const ROLLOUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/kubernetes/rollout.yaml");

#[test]
fn the_rollout_holds_and_shows_its_pods() {
    let scenario = Scenario::open(ROLLOUT).unwrap_or_else(|error| panic!("{error}"));
    for seed in 1..=5 {
        let run = scenario.run(&RunOptions::seed(seed)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "seed {seed}: {:#?}", run.steps.last());
        let tables: Vec<&PodTable> = run.steps.iter().filter_map(|step| pods(&step.outcome)).collect();
        let [first, last] = tables.as_slice() else { panic!("two steps show pods: {tables:?}") };
        let of = |table: &PodTable, workload: &str| {
            let rows = table.rows.iter().filter(|row| row.workload == workload);
            rows.map(|row| format!("{} {}", row.ready, row.status)).collect::<Vec<_>>()
        };
        assert_eq!(of(first, "web"), ["3/3 Running"; 2], "{first}");
        assert_eq!(of(first, "db"), ["1/1 Running"; 3], "{first}");
        assert_eq!(of(last, "migrate"), ["0/1 Completed"; 2], "{last}");
        let names: Vec<&str> =
            last.rows.iter().filter(|row| row.workload == "db").map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["db-0", "db-1", "db-2"], "{last}");
    }
}

fn pods(outcome: &Outcome) -> Option<&PodTable> {
    match outcome {
        Outcome::Pods(table) => Some(table),
        _ => None,
    }
}
