//! `docs/trace.md` knows every kind of event, its level and its fields.

use super::{files, report, root};

/// One `Name = "kind" @ Level { fields }` of an `event!`.
struct Definition {
    place: String,
    kind: String,
    level: String,
    fields: Vec<String>,
}

#[test]
fn every_kind_of_event_is_documented_with_its_level_and_fields() {
    let page = std::fs::read_to_string(root().join("docs/trace.md")).expect("the page is there");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let definitions = definitions();
    assert!(definitions.len() > 60, "only {} definitions were found", definitions.len());
    report(definitions.iter().filter_map(|Definition { place, kind, level, fields }| {
        let row = rows.iter().find(|row| row.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{kind}`"))));
        let Some(row) = row else { return Some(format!("{place}: `{kind}` is not documented")) };
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let missing: Vec<&String> = fields.iter().filter(|field| !cells[3].contains(&format!("`{field}`"))).collect();
        let wrong_level = cells[2] != level;
        (wrong_level || !missing.is_empty())
            .then(|| format!("{place}: `{kind}` is of level {level}, and lacks {missing:?}"))
    }));
}

#[test]
fn every_documented_kind_of_event_exists() {
    let page = std::fs::read_to_string(root().join("docs/trace.md")).expect("the page is there");
    let known: Vec<String> = definitions().into_iter().map(|definition| definition.kind).collect();
    let tables = page.split("## What the simulator tells").nth(1).expect("the tables follow");
    let kinds = tables.lines().filter(|line| line.starts_with("| `")).flat_map(|row| {
        let cell = row.split('|').nth(1).unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    });
    report(kinds.filter(|kind| !known.contains(kind)).map(|kind| format!("docs/trace.md: no event is `{kind}`")));
}

fn definitions() -> Vec<Definition> {
    let folders = ["runtime/src", "xds-client/src", "fake-istiod/src", "agent/src", "echo/src", "sim/src"];
    let mut definitions = Vec::new();
    for (path, text) in files(&folders, "rs") {
        // Tests define kinds of their own.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((name, rest)) = line.split_once(" = \"") else { continue };
            let is_name = name.starts_with(char::is_uppercase) && name.chars().all(char::is_alphanumeric);
            let Some((kind, rest)) = rest.split_once("\" ").filter(|(_, rest)| is_name && rest.contains('{')) else {
                continue;
            };
            let (level, body) = rest.split_once('{').expect("the filter has seen it");
            let level = level.trim().trim_start_matches('@').trim().to_lowercase();
            let level = if level.is_empty() { "info".to_owned() } else { level };
            let mut fields = body.to_owned();
            for line in lines[at + 1..].iter().take_while(|_| !body.contains('}')) {
                fields.push_str(line);
                if line.contains('}') {
                    break;
                }
            }
            let fields = fields.split('}').next().unwrap_or_default();
            let place = path.display().to_string();
            definitions.push(Definition { place, kind: kind.to_owned(), level, fields: names(fields) });
        }
    }
    definitions
}

/// The names of `a: A, #[serde(rename = "c")] b: B,` as the trace has them.
fn names(fields: &str) -> Vec<String> {
    let fields = fields.replace("::", "");
    let parts = fields.split(',').filter_map(|part| {
        let (before, _) = part.rsplit_once(": ")?;
        let renamed = before.split_once("rename = \"").and_then(|(_, name)| name.split('"').next());
        let name = before.rsplit([' ', ']']).next().unwrap_or(before);
        Some(renamed.unwrap_or_else(|| name.trim_start_matches("r#")).to_owned())
    });
    parts.collect()
}
