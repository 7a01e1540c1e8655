//! The file of `--snapshot`: what a run came to the last time, to compare this one with.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hermesh::scenario::Scenario;
use similar::TextDiff;

/// How many lines are shown around those that differ.
const CONTEXT: usize = 3;

/// A snapshot, or the place for one.
#[derive(Debug)]
pub(super) struct SnapshotFile {
    path: PathBuf,
    /// What is there, each line ended by a line feed, unless it is to be written anew.
    kept: Option<String>,
}

/// What came of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// Nothing has changed.
    Same,
    /// There was none, or it was to be written anew.
    Written,
    /// How they differ.
    Different(String),
}

impl SnapshotFile {
    /// Reads the snapshot at `path`, if there is one and it is not to be written anew. If there is none, there must be
    /// a folder for it.
    pub(super) fn open(path: &Path, update: bool, scenario: &Scenario) -> Result<Self, String> {
        let shown = path.display();
        if let Ok(real) = path.canonicalize()
            && scenario.files().any(|input| input.canonicalize().is_ok_and(|input| input == real))
        {
            return Err(format!("--snapshot {shown} is a file that the scenario is read from; name another"));
        }
        let kept = match read(path) {
            // A checkout may have made its line ends those of another system.
            Ok(text) => Some(text.replace("\r\n", "\n")).filter(|_| !update),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                folder(path)
                    .canonicalize()
                    .map_err(|error| format!("--snapshot {shown}: cannot write there: {error}"))?;
                None
            }
            Err(error) => return Err(format!("--snapshot {shown}: cannot read it: {error}")),
        };
        Ok(Self { path: path.to_owned(), kept })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Compares the snapshot with `text`, or writes it.
    pub(super) fn compare(&self, text: &str) -> Result<Compared, String> {
        let shown = self.path.display();
        match &self.kept {
            Some(kept) if kept == text => Ok(Compared::Same),
            Some(kept) => {
                let difference = TextDiff::from_lines(kept.as_str(), text);
                let mut difference = difference.unified_diff();
                let difference = difference.context_radius(CONTEXT).header(&shown.to_string(), "this run");
                Ok(Compared::Different(difference.to_string()))
            }
            None => {
                write(&self.path, text).map_err(|error| format!("--snapshot {shown}: cannot write there: {error}"))?;
                Ok(Compared::Written)
            }
        }
    }
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

#[expect(clippy::disallowed_methods, reason = "the snapshot is a file of the machine")]
fn read(path: &Path) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

#[expect(clippy::disallowed_methods, reason = "the snapshot is a file of the machine")]
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::write(path, text)
}
