//! Mistakes and remarks about a file, with the one renderer that shows them.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

use super::node::Position;

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What the file says cannot be used.
    Error,
    /// It can be used, and is probably not meant so.
    Warning,
    /// Good to know.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// Where something was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The file's name as the user gave it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters.
    pub column: u32,
    /// The object that stands there, such as `DestinationRule echo-grpc/echo-mtls`.
    pub object: Option<String>,
    /// The field's path, such as `spec.subsets[1].name`.
    pub field: Option<String>,
}

impl Location {
    /// The start of `file`.
    #[must_use]
    pub fn in_file(file: &str) -> Self {
        Self { file: file.into(), line: 1, column: 1, object: None, field: None }
    }

    /// The same file and object, at `position`.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.line = position.line;
        self.column = position.column;
        self
    }

    /// The same place, known to belong to `object`.
    #[must_use]
    pub fn object(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// The same place, known to be `field`.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Line and column.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { line: self.line, column: self.column }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// One mistake or remark. `Display` is the plain line `file:line:col: field: message`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// Where.
    pub location: Location,
    /// How bad.
    pub severity: Severity,
    /// A stable name for this kind of remark, such as `unknown-field`.
    pub code: &'static str,
    /// What is the matter, in lower case and without the field's name.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: &'static str, location: Location, message: impl Into<String>) -> Self {
        Self { location, severity: Severity::Error, code, message: message.into(), help: None }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: &'static str, location: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, location, message) }
    }

    /// A note.
    #[must_use]
    pub fn note(code: &'static str, location: Location, message: impl Into<String>) -> Self {
        Self { severity: Severity::Note, ..Self::error(code, location, message) }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The rich form: severity, code and message, the source line with a caret under the place, and the remedy.
    /// `source` is the file's text; without the line in question only the message and place are shown.
    #[must_use]
    pub fn render(&self, source: &str, styles: &Styles) -> String {
        let mut out = String::new();
        let severity = match self.severity {
            Severity::Error => styles.error,
            Severity::Warning => styles.warning,
            Severity::Note => styles.note,
        };
        let field = self.location.field.as_deref().map(|field| format!("{field}: ")).unwrap_or_default();
        let frame = styles.frame;
        let (severity_text, code, message) = (self.severity, self.code, &self.message);
        let _ = writeln!(out, "{severity}{severity_text}[{code}]{severity:#}: {field}{message}");
        let number = self.location.line.to_string();
        let margin = " ".repeat(number.len());
        let object = self.location.object.as_deref().map(|object| format!(" ({object})")).unwrap_or_default();
        let _ = writeln!(out, "{margin}{frame}-->{frame:#} {}{object}", self.location);
        let line = self.location.line.checked_sub(1).and_then(|index| source.lines().nth(index as usize));
        if let Some(line) = line {
            // A tab would be as wide as the terminal likes; one column each keeps the caret in place.
            let shown: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let indent = " ".repeat((self.location.column as usize).saturating_sub(1).min(shown.chars().count()));
            let _ = writeln!(out, "{margin} {frame}|{frame:#}");
            let _ = writeln!(out, "{frame}{number} |{frame:#} {}", shown.trim_end());
            let _ = writeln!(out, "{margin} {frame}|{frame:#} {indent}{severity}^{severity:#}");
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "{margin} {frame}={frame:#} {}help{:#}: {help}", styles.help, styles.help);
        }
        out
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.location)?;
        if self.severity != Severity::Error {
            write!(f, "{}: ", self.severity)?;
        }
        if let Some(field) = self.location.field.as_deref().filter(|field| !field.is_empty()) {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// The colours of [`Diagnostic::render`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Styles {
    error: Style,
    warning: Style,
    note: Style,
    help: Style,
    frame: Style,
}

impl Styles {
    /// No colours.
    #[must_use]
    pub fn plain() -> Self {
        Self::default()
    }

    /// Colours for a terminal.
    #[must_use]
    pub fn coloured() -> Self {
        let bold = |colour: AnsiColor| Style::new().bold().fg_color(Some(colour.into()));
        Self {
            error: bold(AnsiColor::Red),
            warning: bold(AnsiColor::Yellow),
            note: bold(AnsiColor::Cyan),
            help: bold(AnsiColor::Green),
            frame: bold(AnsiColor::Blue),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake() -> Diagnostic {
        let location = Location::in_file("rollback.yaml").at(Position { line: 2, column: 7 }).field("hold.type");
        Diagnostic::error("unknown-value", location, "unknown xDS type \"EDs\"").with_help("write `EDS`")
    }

    #[test]
    fn the_plain_form_is_one_line() {
        assert_eq!(mistake().to_string(), "rollback.yaml:2:7: hold.type: unknown xDS type \"EDs\"; write `EDS`");
    }

    #[test]
    fn the_rich_form_shows_the_line_with_a_caret() {
        let expected = "\
error[unknown-value]: hold.type: unknown xDS type \"EDs\"
 --> rollback.yaml:2:7
  |
2 | type: EDs
  |       ^
  = help: write `EDS`
";
        assert_eq!(mistake().render("hold:\ntype: EDs\n", &Styles::plain()), expected);
    }

    #[test]
    fn a_place_outside_the_text_is_still_reported() {
        let mut diagnostic = mistake();
        diagnostic.location.line = 0;
        assert!(diagnostic.render("", &Styles::plain()).contains("rollback.yaml:0:7"));
    }
}
