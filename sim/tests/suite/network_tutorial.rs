//! The article's tutorial comes to the same on a network that others have written.

use std::thread;

use hermesh::engine::Network;
use hermesh::scenario::{Batch, Outcome, Run, RunOptions, Scenario, Verdict};
use hermesh::trace::first_difference;
use hermesh_runtime::Level;

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo/tutorial.yaml");

fn play(options: RunOptions) -> Run {
    let scenario = Scenario::open(TUTORIAL).unwrap_or_else(|error| panic!("{error}"));
    scenario.run(&options).unwrap()
}

fn batches(outcome: &Outcome) -> &[Batch] {
    match outcome {
        Outcome::Calls(batches) => batches,
        _ => &[],
    }
}

#[test]
fn every_step_has_the_same_verdict_on_both_networks() {
    for seed in [1, 7, 20] {
        let [ours, theirs] =
            [Network::Simulated, Network::Turmoil].map(|network| play(RunOptions::seed(seed).network(network)));
        assert_eq!((ours.verdict, theirs.verdict), (Verdict::Held, Verdict::Held));
        assert_eq!((ours.steps.len(), ours.total), (theirs.steps.len(), 11));
        for (ours, theirs) in ours.steps.iter().zip(&theirs.steps) {
            assert_eq!((ours.number, &ours.name), (theirs.number, &theirs.name));
            // Whether the shares seen are within the bounds for the number of calls, a check says.
            let verdicts = |checks: &[hermesh::scenario::Check]| {
                checks.iter().map(|check| (check.check, check.expected.clone(), check.held)).collect::<Vec<_>>()
            };
            assert_eq!(verdicts(&ours.checks), verdicts(&theirs.checks), "step {}", ours.number);
            let (ours, theirs) = (batches(&ours.outcome), batches(&theirs.outcome));
            assert_eq!(ours.len(), theirs.len());
            for (ours, theirs) in ours.iter().zip(theirs) {
                let (ours, theirs) = (&ours.report, &theirs.report);
                assert_eq!((&ours.url, ours.answers.len()), (&theirs.url, theirs.answers.len()));
                let failure = |failure: &hermesh::CallFailure| (failure.code, failure.request_code, failure.cause);
                assert_eq!(ours.failure.as_ref().map(failure), theirs.failure.as_ref().map(failure));
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_whatever_thread_runs_it() {
    let options = |seed| RunOptions::seed(seed).level(Level::Wire).network(Network::Turmoil);
    #[expect(clippy::disallowed_methods, reason = "that threads do not matter is what is tested")]
    let runs = [1, 1, 2].map(|seed| thread::spawn(move || play(options(seed))));
    let [one, again, other] = runs.map(|run| run.join().unwrap());
    assert_eq!(one.trace.header().network, Some("turmoil"));
    if let Some(difference) = first_difference(&one.trace, &again.trace) {
        panic!("{difference}");
    }
    assert_eq!(one.trace.digest(), again.trace.digest());
    assert!(one.trace.digest() != other.trace.digest(), "another seed is another run");
}
