//! What of a long line a diagnostic shows: the part around its column.

use hermesh_istiod::yaml::{Diagnostic, Styles};

/// How much of a line fits beside its number.
const WIDTH: usize = 90;

/// How much of it comes before the column.
const BEFORE: usize = 40;

/// Texts of files may be as long as they like; messages that quote them may not.
const MESSAGE_MAX: usize = 400;

/// Renders a diagnostic with its line of `source`, of which a long one is cut on both sides.
pub(super) fn render(diagnostic: &Diagnostic, source: &str, styles: &Styles) -> String {
    let index = (diagnostic.location.line as usize).saturating_sub(1);
    let line: Vec<char> = source.lines().nth(index).unwrap_or_default().trim_end().chars().collect();
    if line.len() <= WIDTH {
        return diagnostic.render(source, styles);
    }
    let column = (diagnostic.location.column as usize).saturating_sub(1).min(line.len());
    let begin = column.saturating_sub(BEFORE).min(line.len() - WIDTH);
    let end = begin + WIDTH;
    let (before, after) = (if begin > 0 { "..." } else { "" }, if end < line.len() { "..." } else { "" });
    let part: String = line[begin..end].iter().collect();
    let source = format!("{}{before}{part}{after}\n", "\n".repeat(index));
    // The caret stands under the part; the place that is told is the one in the file.
    let mut shifted = diagnostic.clone();
    shifted.location.column = u32::try_from(before.len() + column - begin + 1).unwrap_or(u32::MAX);
    let (told, wrong) = (diagnostic.location.to_string(), shifted.location.to_string());
    shifted.render(&source, styles).replacen(&format!(" {wrong}"), &format!(" {told}"), 1)
}

/// The text, or its beginning and its end if it is long.
pub(super) fn shortened(text: String) -> String {
    let length = text.chars().count();
    if length <= MESSAGE_MAX {
        return text;
    }
    let part = MESSAGE_MAX / 2;
    let head: String = text.chars().take(part).collect();
    let tail: String = text.chars().skip(length - part).collect();
    format!("{head}...{tail}")
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::yaml::{Location, Position};

    use super::*;

    fn rendered(line: &str, column: u32) -> String {
        let location = Location::in_file("s.yaml").at(Position { line: 2, column });
        render(&Diagnostic::error("x", location, "wrong"), &format!("first\n{line}\n"), &Styles::plain())
    }

    #[test]
    fn a_long_line_is_cut_around_the_column() {
        let line = format!("{}!{}", "a".repeat(1_000), "b".repeat(1_000));
        let expected = format!(
            "error[x]: wrong\n --> s.yaml:2:1001\n  |\n2 | ...{}!{}...\n  |    {}^\n",
            "a".repeat(40),
            "b".repeat(49),
            " ".repeat(40)
        );
        assert_eq!(rendered(&line, 1_001), expected);
        let at_the_end = rendered(&line, 2_001);
        assert!(at_the_end.contains(&format!("2 | ...{}\n", "b".repeat(90))), "{at_the_end}");
        assert!(rendered(&line, 1).contains("2 | aaa"), "nothing is left out before the first column");
        assert!(rendered("short", 3).ends_with("2 | short\n  |   ^\n"));
    }

    #[test]
    fn a_long_text_keeps_both_ends() {
        assert_eq!(shortened("short".to_owned()), "short");
        let text = shortened(format!("found {}; do this", "x".repeat(10_000)));
        assert!(text.starts_with("found xxx") && text.ends_with("x; do this") && text.len() < 500);
    }
}
