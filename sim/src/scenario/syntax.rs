//! YAML that does not parse, told where the mistake is instead of where the parser noticed.

use hermesh_istiod::yaml::{Diagnostic, Document, Location, Position};

use super::brackets::{Unclosed, unclosed};

/// A syntax error in `text`, at its cause if that is elsewhere.
pub(super) fn at_its_cause(error: Diagnostic, text: &str) -> Diagnostic {
    if error.code != "yaml-syntax" || error.help.as_deref() == Some("use spaces") {
        return error;
    }
    let noticed = error.location.position();
    if error.message.contains("cannot start with '-'") {
        let message = "a `-` that stands alone cannot be an item of a list in brackets".to_owned();
        return Diagnostic { message, ..error }.with_help("put it into quotes: \"-\"");
    }
    if error.message.contains("tab")
        && let Some(position) = indenting_tab(text, noticed.line)
    {
        let message = "a tab cannot indent YAML".to_owned();
        return Diagnostic { message, location: error.location.at(position), ..error }.with_help("use spaces");
    }
    if let Some(Unclosed { bracket, position, closed_by }) = unclosed(text).filter(|found| found.position < noticed) {
        let close = if bracket == '[' { ']' } else { '}' };
        let message = match closed_by {
            Some((other, at)) => {
                format!("this `{bracket}` is closed by `{other}` at line {}, column {}", at.line, at.column)
            }
            None => format!("this `{bracket}` is not closed"),
        };
        let help = format!("close it with `{close}`");
        return Diagnostic { message, location: error.location.at(position), ..error }.with_help(help);
    }
    if error.message.contains("quoted scalar") {
        return error.with_help("is the quote that opens here closed?");
    }
    error
}

/// The first tab that indents a line from `from` on.
fn indenting_tab(text: &str, from: u32) -> Option<Position> {
    (1..).zip(text.lines()).skip_while(|(number, _)| *number < from).find_map(|(line, content)| {
        let indent = content.len() - content.trim_start_matches([' ', '\t', '-']).len();
        let column = content[..indent].find('\t')?;
        Some(Position { line, column: u32::try_from(column).ok()?.saturating_add(1) })
    })
}

/// A second scenario in a file: only manifests may follow the first.
pub(super) fn second_scenario<'a>(
    first: &Document,
    mut rest: impl Iterator<Item = &'a Document>,
    file: &str,
) -> Option<Diagnostic> {
    let says =
        |document: &Document, field: &str| document.root.get(field).and_then(|value| value.text()).map(str::to_owned);
    let is_scenario = |document: &&Document| {
        says(document, "kind").as_deref() == Some("Scenario")
            || says(document, "apiVersion").is_some_and(|version| version.starts_with("hermesh/"))
    };
    let second = rest.find(is_scenario)?;
    let location = Location::in_file(file).at(second.root.position);
    let line = first.root.position.line;
    let message = format!("a second scenario; a file holds one, and the first begins at line {line}");
    Some(Diagnostic::error("second-scenario", location, message).with_help("move it to a file of its own"))
}
