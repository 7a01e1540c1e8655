//! The scenarios about who may call whom and about where calls go hold, whatever the seed and on both networks.

use std::path::Path;

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Scenario, Verdict};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

fn holds(file: &str) {
    let scenario = Scenario::open(Path::new(EXAMPLES).join(file)).unwrap_or_else(|error| panic!("{error}"));
    for (seed, network) in [(1, Network::Simulated), (2, Network::Simulated), (1, Network::Turmoil)] {
        let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{file}\n{}", report::human(&run, &report::Styles::plain()));
    }
}

#[test]
fn authorization() {
    holds("authorization/authorization.yaml");
}

#[test]
fn locality() {
    holds("locality/locality.yaml");
}
