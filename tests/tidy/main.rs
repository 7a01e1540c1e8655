//! The code base keeps its own house rules.

#![expect(clippy::disallowed_methods, reason = "reads the sources, not the mesh")]

mod events;
mod examples;
mod guide;

use std::path::{Path, PathBuf};

const CRATES: [&str; 8] = ["runtime", "xds-client", "fake-istiod", "agent", "echo", "sim", "tests", "examples"];

const PAGES: [&str; 5] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"];

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
    let pages = pages().flat_map(|(path, text)| numbered(&path, &text));
    report(
        lines()
            .chain(pages)
            .filter(|(_, line)| unfinished.iter().any(|word| line.contains(word)))
            .map(|(place, _)| place),
    );
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

#[test]
fn links_between_documents_lead_somewhere() {
    report(pages().flat_map(|(path, text)| {
        let folder = root().join(&path).parent().expect("a page is in a folder").to_owned();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(link, _)| link.to_owned()));
        let local = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        local
            .filter(|link| !folder.join(link.split('#').next().unwrap_or_default()).exists())
            .map(|link| format!("{}: {link}", path.display()))
            .collect::<Vec<_>>()
    }));
}

/// The agent asks by one copy of the certificate service what istiod answers by the other.
#[test]
fn both_ends_of_the_certificate_service_speak_the_same_wire_format() {
    let copies: Vec<(PathBuf, Vec<String>)> = files(&["agent", "fake-istiod"], "proto")
        .filter(|(path, _)| path.ends_with("istio_ca.proto"))
        .map(|(path, text)| (path, wire_contract(&text)))
        .collect();
    assert_eq!(copies.len(), 2, "one for either end");
    assert!(copies[0].1.iter().any(|it| it.contains("CreateCertificate")), "{:?}", copies[0]);
    assert_eq!(copies[0].1, copies[1].1, "{} and {}", copies[0].0.display(), copies[1].0.display());
}

/// The statements of a proto file in order, without comments and spaces.
fn wire_contract(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let statements = code.split_inclusive([';', '{', '}']);
    statements.map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|it| !it.is_empty()).collect()
}

fn report(offenders: impl Iterator<Item = String>) {
    let offenders: Vec<String> = offenders.collect();
    assert!(offenders.is_empty(), "\n{}", offenders.join("\n"));
}

fn lines() -> impl Iterator<Item = (String, String)> {
    sources().flat_map(|(path, text)| numbered(&path, &text))
}

fn numbered(path: &Path, text: &str) -> Vec<(String, String)> {
    text.lines().enumerate().map(|(at, line)| (format!("{}:{}", path.display(), at + 1), line.to_owned())).collect()
}

fn sources() -> impl Iterator<Item = (PathBuf, String)> {
    files(&CRATES, "rs")
}

/// What people read: the documents, and those beside the examples.
fn pages() -> impl Iterator<Item = (PathBuf, String)> {
    files(&["docs", "examples"], "md").chain(PAGES.map(|page| {
        let text = std::fs::read_to_string(root().join(page)).expect("the page is there");
        (PathBuf::from(page), text)
    }))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests stand in the workspace")
}

fn files(folders: &[&str], kind: &str) -> std::vec::IntoIter<(PathBuf, String)> {
    let root = root();
    let mut folders: Vec<PathBuf> = folders.iter().map(|name| root.join(name)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == kind) {
                let text = std::fs::read_to_string(&path).expect("sources are UTF-8");
                found.push((path.strip_prefix(root).expect("it stands below the root").to_owned(), text));
            }
        }
    }
    found.sort();
    found.into_iter()
}
