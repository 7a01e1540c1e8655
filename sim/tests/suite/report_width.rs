//! Reports on a terminal: no sentence is wider than it.

use hermesh::report::{Styles, human};
use hermesh::scenario::{RunOptions, Scenario};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo");

#[test]
#[expect(clippy::disallowed_methods, reason = "the test makes a file of the machine")]
fn a_failure_fits_between_the_edges() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.yaml");
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: wide\nabout: {about}\nnamespace: echo-grpc\n\
         mesh: {{istio: \"1.32\"}}\nsteps:\n- apply: [{EXAMPLES}/namespace.yaml, {EXAMPLES}/grpc-echo.yaml]\n\
         - wait: {{ready: all}}\n- call: {{from: echo-v1, url: \"xds:///nobody:7070\"}}\n  expect: {{cause: no-route}}\n",
        about = "what it is about ".repeat(20),
    );
    std::fs::write(&file, text).unwrap();
    let scenario = Scenario::open(&file).unwrap_or_else(|error| panic!("{error}"));
    let run = scenario.run(&RunOptions::seed(1)).unwrap();
    let wide = |report: &str| {
        // A path is one word, however long.
        let lines = report.lines().filter(|line| line.chars().count() > 100 && !line.contains('/'));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let broken = human(&run, &Styles::plain().wide(Some(100)));
    assert_eq!(wide(&broken), Vec::<String>::new(), "{broken}");
    let words = |report: &str| report.split_whitespace().collect::<Vec<_>>().join(" ");
    let whole = human(&run, &Styles::plain());
    assert_ne!(broken, whole);
    assert_eq!(words(&broken), words(&whole), "nothing is lost");
}
