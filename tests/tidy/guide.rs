//! The guide shows code that is compiled and run: every piece of it stands in the example.

use super::{files, report, root};

#[test]
fn the_guide_shows_nothing_but_what_the_example_does() {
    let guide = std::fs::read_to_string(root().join("docs/guide.md")).expect("the page is there");
    let example: Vec<String> = files(&["examples/greeter"], "rs").map(|(_, text)| trimmed(&text)).collect();
    let snippets: Vec<String> = snippets(&guide).map(trimmed).collect();
    assert!(snippets.len() > 10, "only {} snippets were found", snippets.len());
    report(
        snippets
            .into_iter()
            .filter(|snippet| !example.iter().any(|text| text.contains(snippet)))
            .map(|snippet| format!("docs/guide.md: not in examples/greeter:{snippet}")),
    );
}

/// What stands between fences that say `rust`.
fn snippets(page: &str) -> impl Iterator<Item = &str> {
    page.split("```rust\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default())
}

/// Whole lines, without what indents them.
fn trimmed(text: &str) -> String {
    text.lines().fold("\n".to_owned(), |text, line| text + line.trim() + "\n")
}
