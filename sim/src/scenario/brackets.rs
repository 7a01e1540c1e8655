//! Which bracket of a YAML text is not closed.

use std::iter::Peekable;
use std::str::Chars;

use hermesh_istiod::yaml::Position;

/// A bracket without its counterpart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unclosed {
    pub(super) bracket: char,
    pub(super) position: Position,
    /// What stands where its counterpart should.
    pub(super) closed_by: Option<(char, Position)>,
}

/// The first bracket that is closed by one of the other kind, else the innermost that no document closes.
pub(super) fn unclosed(text: &str) -> Option<Unclosed> {
    let mut scan = Scan { rest: text.chars().peekable(), at: Position::START, indent: 1, open: Vec::new() };
    scan.run()
}

struct Scan<'a> {
    rest: Peekable<Chars<'a>>,
    at: Position,
    /// The column of the first word of this line.
    indent: u32,
    open: Vec<(char, Position)>,
}

impl Scan<'_> {
    fn run(&mut self) -> Option<Unclosed> {
        // Outside of words, where quotes, brackets and comments begin.
        let mut between = true;
        let mut dashes = 0;
        while let Some((c, position)) = self.next() {
            dashes = if c == '-' && position.column == dashes + 1 { dashes + 1 } else { 0 };
            if dashes == 3 && !self.open.is_empty() {
                break;
            }
            let begins_line = self.open.is_empty() && position.column == 1;
            if begins_line {
                self.indent = 0;
            }
            if self.indent == 0 && !matches!(c, ' ' | '-' | '\n') {
                self.indent = position.column;
            }
            let blank_follows = self.rest.peek().is_none_or(|next| next.is_whitespace());
            match c {
                '\n' => between = true,
                ' ' | '\t' | '\r' => between |= !self.open.is_empty(),
                '#' if between || position.column == 1 => self.skip_line(),
                '"' | '\'' if between => self.skip_quoted(c),
                '|' | '>' if between && self.open.is_empty() => self.skip_block(),
                '[' | '{' if between || !self.open.is_empty() => {
                    self.open.push((c, position));
                    between = true;
                }
                ']' | '}' if !self.open.is_empty() => {
                    let (bracket, opened) = self.open.pop()?;
                    if (bracket == '[') != (c == ']') {
                        return Some(Unclosed { bracket, position: opened, closed_by: Some((c, position)) });
                    }
                    between = !self.open.is_empty();
                }
                ',' if !self.open.is_empty() => between = true,
                ':' if blank_follows || !self.open.is_empty() => between = true,
                '-' | '?' if between && blank_follows => {}
                _ => between = false,
            }
        }
        self.open.last().map(|(bracket, position)| Unclosed { bracket: *bracket, position: *position, closed_by: None })
    }

    fn next(&mut self) -> Option<(char, Position)> {
        let c = self.rest.next()?;
        let position = self.at;
        self.at = match c {
            '\n' => Position { line: position.line + 1, column: 1 },
            _ => Position { column: position.column + 1, ..position },
        };
        Some((c, position))
    }

    fn skip_line(&mut self) {
        while self.rest.peek().is_some_and(|c| *c != '\n') {
            self.next();
        }
    }

    fn skip_quoted(&mut self, quote: char) {
        while let Some((c, _)) = self.next() {
            let escapes = if quote == '"' { c == '\\' } else { c == '\'' && self.rest.peek() == Some(&'\'') };
            if escapes {
                self.next();
            } else if c == quote {
                return;
            }
        }
    }

    /// Lines that belong to a text after `|` or `>`: those that are empty or indented further than its key.
    fn skip_block(&mut self) {
        self.skip_line();
        loop {
            let mut ahead = self.rest.clone();
            ahead.next();
            let line: String = ahead.take_while(|c| *c != '\n').collect();
            let indent = line.len() - line.trim_start_matches(' ').len();
            let belongs = line.trim().is_empty() || indent >= self.indent as usize;
            if self.rest.peek().is_none() || !belongs {
                return;
            }
            self.next();
            self.skip_line();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(char, u32, u32, Option<char>)> {
        unclosed(text).map(|found| {
            let Unclosed { bracket, position, closed_by } = found;
            (bracket, position.line, position.column, closed_by.map(|(c, _)| c))
        })
    }

    #[test]
    fn brackets_that_are_closed_are_no_matter() {
        for text in [
            "a: [b, {c: d}]\n- {e: f}\n",
            "a: b [c\n",
            "a: \"[\"\nb: '{ it''s'\nc: \"\\\"[\"\n",
            "# [\na: b # {\n",
            "a: |\n  [ {\n\n  more\nb: [c]\n",
            "- a: >-\n    {\n  b: c\n",
            "a: it's [fine\n",
            "a: [b#c, \"d]\"]\n",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn the_innermost_that_is_open_is_named() {
        assert_eq!(found("a: {b: [c, d\ne: f\n"), Some(('[', 1, 8, None)));
        assert_eq!(found("a: {b: [c, d}\n"), Some(('[', 1, 8, Some('}'))));
        assert_eq!(found("a:\n- {b: c\n- {d: e}\n"), Some(('{', 2, 3, None)));
        assert_eq!(found("a: [b\n---\nc: d]\n"), Some(('[', 1, 4, None)));
        assert_eq!(found("a: |\n  [\nb: [\n"), Some(('[', 3, 4, None)));
    }
}
