//! What `hermesh run` prints of the article's tutorial, as people read it.

use std::time::Duration;

use hermesh::report::{Styles, human, totals};
use hermesh::scenario::{RunOptions, Scenario};

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo/tutorial.yaml");

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// What is printed with seed 7.
fn printed() -> String {
    let scenario = Scenario::open(TUTORIAL).unwrap_or_else(|error| panic!("{error}"));
    let run = scenario.run(&RunOptions::seed(7)).unwrap();
    let report = human(&run, &Styles::plain());
    let last = totals(&run, Duration::from_millis(41), &Styles::plain());
    // Where the files lie differs from machine to machine.
    let folder = TUTORIAL.trim_end_matches("tutorial.yaml");
    format!("{report}\n{last}").replace(folder, "")
}

#[test]
fn the_tutorial_reads_like_the_article() {
    insta::assert_snapshot!(printed());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "reads a document of the repository")]
fn the_readme_shows_what_is_printed() {
    let readme = std::fs::read_to_string(README).unwrap();
    let (_, transcript) = readme.split_once("```text\n").expect("the first block is the transcript");
    let (transcript, _) = transcript.split_once("```").expect("it ends");
    let printed = printed();
    let mut lines = printed.lines();
    for shown in transcript.lines().filter(|line| !line.is_empty() && line.trim() != "...") {
        // Real time differs from run to run, and what is long is cut.
        let shown = shown.split(" simulated in ").next().unwrap_or(shown);
        let shown = shown.strip_suffix("...").unwrap_or(shown);
        assert!(lines.any(|line| line.starts_with(shown)), "the README shows `{shown}`:\n{printed}");
    }
}
