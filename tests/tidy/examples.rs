//! `docs/examples.md` knows every scenario under `examples/`.

use super::{files, report, root};

#[test]
fn every_scenario_among_the_examples_has_one_row() {
    let page = std::fs::read_to_string(root().join("docs/examples.md")).expect("the page is there");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| ")).collect();
    let scenarios = files(&["examples"], "yaml").filter(|(_, text)| text.lines().any(|line| line == "kind: Scenario"));
    let paths: Vec<String> = scenarios.map(|(path, _)| path.display().to_string()).collect();
    assert!(paths.len() > 30, "only {} scenarios were found", paths.len());
    report(paths.into_iter().filter_map(|path| {
        let link = format!("](../{path})");
        let found = rows.iter().filter(|row| row.contains(&link)).count();
        (found != 1).then(|| format!("docs/examples.md: {found} rows have {path}, expected one"))
    }));
}
