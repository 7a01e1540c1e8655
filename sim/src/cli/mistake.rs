//! What is wrong with a command line and the files it names, for people and for programs.

use hermesh::report::Report;
use hermesh::scenario::InputError;
use hermesh_istiod::yaml;
use serde_json::{Value, json};

use super::{Exit, Format, output};

/// A mistake, or several of one scenario.
#[derive(Debug)]
pub(super) enum Mistake {
    /// A scenario is not understood.
    Scenario(InputError),
    /// A file or folder is of no use at all.
    Path(String),
    /// The arguments do not go together.
    Arguments(String),
}

impl Mistake {
    pub(super) fn print(&self) {
        output::err(&match self {
            Self::Scenario(error) => format!("{}\n", error.render(&yaml::Styles::coloured())),
            Self::Path(message) | Self::Arguments(message) => format!("hermesh: {message}\n"),
        });
    }

    pub(super) fn to_json(&self) -> Vec<Value> {
        let bare = |code, message| json!({"location": null, "severity": "error", "code": code, "message": message, "help": null});
        match self {
            Self::Scenario(error) => error.diagnostics.iter().map(|diagnostic| json!(diagnostic)).collect(),
            Self::Path(message) => vec![bare("unreadable", message)],
            Self::Arguments(message) => vec![bare("arguments", message)],
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Scenario(error) => error.diagnostics.len(),
            Self::Path(_) | Self::Arguments(_) => 1,
        }
    }
}

/// Tells of the mistakes, for which nothing was run.
pub(super) fn not_understood(mistakes: &[Mistake], format: Format) -> Exit {
    match format {
        Format::Human => {
            mistakes.iter().for_each(Mistake::print);
            let count = mistakes.iter().map(Mistake::count).sum::<usize>();
            let mistakes = if count == 1 { "1 mistake".to_owned() } else { format!("{count} mistakes") };
            output::err(&format!("{mistakes}; nothing was run\n"));
        }
        Format::Json => {
            let mut report = Report::default();
            mistakes.iter().for_each(|mistake| report.add_diagnostics(mistake.to_json()));
            output::json(&report.to_json());
        }
    }
    Exit::NotUnderstood
}
