//! What `hermesh run` prints of the article's tutorial, as people read it.

use std::time::Duration;

use hermesh::report::{Styles, human, totals};
use hermesh::scenario::{RunOptions, Scenario};

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo/tutorial.yaml");

#[test]
fn the_tutorial_reads_like_the_article() {
    let scenario = Scenario::open(TUTORIAL).unwrap_or_else(|error| panic!("{error}"));
    let run = scenario.run(&RunOptions::seed(7)).unwrap();
    let report = human(&run, &Styles::plain());
    let last = totals(&run, Duration::from_millis(41), &Styles::plain());
    // Where the files lie differs from machine to machine.
    let folder = TUTORIAL.trim_end_matches("tutorial.yaml");
    insta::assert_snapshot!(format!("{report}\n{last}").replace(folder, ""));
}
