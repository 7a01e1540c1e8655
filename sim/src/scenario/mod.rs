//! Scenarios: files that say what happens to a mesh, step by step, and what must come of it.
//!
//! A file is read in one pass that reports every mistake with file, line and column ([`Scenario::open`]); nothing of
//! it is carried out unless all of it is understood. Then [`Scenario::run`] plays it with a seed. `docs/scenario.md`
//! documents the format; its JSON Schema comes from the same types that read it ([`schema`]).

mod again;
mod brackets;
mod changing;
mod check;
mod config;
mod delays;
mod excerpt;
mod expect;
mod explain;
mod figures;
mod file;
mod follow;
mod forwarded;
mod header;
mod inject;
mod inventory;
mod links;
mod machines;
mod namespaces;
mod nodes;
mod open;
mod outcome;
mod overlap;
mod play;
mod pulls;
mod read;
mod reader;
mod rejection;
mod run;
mod schema;
mod seen;
mod services;
mod settle;
mod shares;
mod stop;
mod syntax;
mod target;
#[cfg(test)]
mod tests;
mod together;
mod traffic;
mod trouble;
mod units;
mod unreadable;
mod url;
mod words;
mod written;
mod xds;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::OnceLock;

use hermesh_istiod::yaml::{Diagnostic, Styles};

use crate::image::Images;
use crate::mesh::{Manifests, Resource};
use file::File;
use follow::Changed;
use open::Opener;

pub use expect::Check;
pub use explain::Failure;
pub use file::API_VERSION;
pub use outcome::{Batch, Outcome, Run, StepReport, Verdict};
pub use play::ScenarioStep;
pub use run::{RunError, RunOptions};
pub use schema::schema;

/// A scenario that was understood: every file it names was read, every name in it means something.
#[derive(Clone, Debug)]
pub struct Scenario {
    path: String,
    file: File,
    /// The objects that stand in the scenario's own file.
    own: Option<Manifests>,
    /// What each step applies or deletes, by its number among all steps.
    manifests: BTreeMap<usize, Manifests>,
    /// What each step that changes objects makes of them, by its number among all steps.
    changed: BTreeMap<usize, Changed>,
    /// What each step injects out of a file, by its number among all steps.
    injected: BTreeMap<usize, Vec<Resource>>,
    images: Images,
    notes: Vec<Diagnostic>,
    digest: String,
    /// The scenario's own text.
    sources: Sources,
    files: Vec<String>,
    /// What a mesh refuses of it, once one has been asked: the same whatever the seed.
    refused: OnceLock<Vec<Diagnostic>>,
}

/// A scenario that is not understood: all that is wrong with it.
#[derive(Clone, Debug)]
pub struct InputError {
    /// The mistakes, in the order of files and lines.
    pub diagnostics: Vec<Diagnostic>,
    sources: Sources,
}

/// The texts of files by name, to show the lines that diagnostics are about.
#[derive(Clone, Debug, Default)]
struct Sources(BTreeMap<String, String>);

impl Scenario {
    /// Reads a scenario and every manifest it names; `-` is standard input.
    ///
    /// # Errors
    /// All mistakes in all of the files.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, InputError> {
        Self::open_with(path, Images::new())
    }

    /// As [`open`](Self::open), with images of your own besides those that the file names.
    ///
    /// # Errors
    /// All mistakes in all of the files.
    pub fn open_with(path: impl AsRef<Path>, images: Images) -> Result<Self, InputError> {
        Opener::new(path.as_ref(), images).open()
    }

    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.file.name.value
    }

    /// Where it was read from.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Every file it was read from: its own, and those of the manifests.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(Path::new)
    }

    /// The seed it asks for itself.
    #[must_use]
    pub fn seed(&self) -> Option<u64> {
        self.file.seed.as_ref().map(|seed| seed.value)
    }

    /// SHA-256 over the scenario and its manifests, in hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Remarks: values that are treated as others, fields without effect, calls that may come too early.
    #[must_use]
    pub fn notes(&self) -> &[Diagnostic] {
        &self.notes
    }

    fn namespace(&self) -> &str {
        self.file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str())
    }
}

impl InputError {
    /// Every mistake with the line it is about and a caret under the place.
    #[must_use]
    pub fn render(&self, styles: &Styles) -> String {
        let source = |diagnostic: &Diagnostic| self.sources.0.get(&*diagnostic.location.file);
        let render = |diagnostic: &Diagnostic| {
            excerpt::render(diagnostic, source(diagnostic).map(String::as_str).unwrap_or_default(), styles)
        };
        self.diagnostics.iter().map(render).collect::<Vec<_>>().join("\n")
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.diagnostics.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for InputError {}
