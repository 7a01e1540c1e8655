//! The code base keeps its own house rules.

#![expect(clippy::disallowed_methods, reason = "reads the sources, not the mesh")]

use std::path::{Path, PathBuf};

const CRATES: [&str; 7] = ["runtime", "xds-client", "fake-istiod", "agent", "echo", "sim", "tests"];

/// Beyond this a file holds more than one idea.
const LINES_MAX: usize = 800;

/// As in `rustfmt.toml`, which sees to the code but leaves comments alone.
const COLUMNS_MAX: usize = 120;

#[test]
fn every_module_opens_with_a_sentence_that_says_what_it_is() {
    report(sources().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path.display().to_string()));
}

#[test]
fn no_file_outgrows_its_one_idea() {
    report(sources().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > LINES_MAX).then(|| format!("{}: {lines} lines, at most {LINES_MAX}", path.display()))
    }));
}

#[test]
fn comments_fit_on_a_page() {
    report(lines().filter_map(|(place, line)| {
        let columns = line.chars().count();
        let comment = line.trim_start().starts_with("//") && !line.contains("https://");
        (comment && columns > COLUMNS_MAX).then(|| format!("{place}: {columns} columns"))
    }));
}

#[test]
fn nothing_is_left_for_later() {
    // Spelt in two parts, or this file would break its own rule.
    let unfinished = [concat!("to", "do!("), concat!("unimple", "mented!("), concat!("TO", "DO"), concat!("FIX", "ME")];
    report(lines().filter(|(_, line)| unfinished.iter().any(|word| line.contains(word))).map(|(place, _)| place));
}

#[test]
fn selects_are_biased() {
    report(sources().flat_map(|(path, text)| {
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let select = concat!("tokio::sel", "ect! {");
        (0..lines.len())
            .filter(|&at| lines[at].contains(select))
            .filter(|&at| !lines[at..(at + 2).min(lines.len())].iter().any(|line| line.contains("biased")))
            .map(|at| format!("{}:{}", path.display(), at + 1))
            .collect::<Vec<_>>()
    }));
}

fn report(offenders: impl Iterator<Item = String>) {
    let offenders: Vec<String> = offenders.collect();
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

fn lines() -> impl Iterator<Item = (String, String)> {
    sources().flat_map(|(path, text)| {
        text.lines()
            .enumerate()
            .map(|(at, line)| (format!("{}:{}", path.display(), at + 1), line.to_owned()))
            .collect::<Vec<_>>()
    })
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the workspace");
    let mut folders: Vec<PathBuf> = CRATES.iter().map(|name| root.join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path.strip_prefix(root).expect("it stands below the root").to_owned(), text));
            }
        }
    }
    found.sort();
    found.into_iter()
}
