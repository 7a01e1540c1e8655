//! The files of `--trace` and `--junit`: they are opened before anything is run, and are none of those that are read.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hermesh::scenario::Scenario;

/// A file to write to.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    file: File,
}

impl OutputFile {
    /// Opens the file that `option` names, which may overwrite none of those that `scenarios` are read from.
    pub(super) fn open<'s>(
        option: &str,
        path: &Path,
        mut scenarios: impl Iterator<Item = &'s Scenario>,
    ) -> Result<Self, String> {
        let shown = path.display();
        let is_read = |real: &Path, scenario: &Scenario| {
            scenario.files().any(|input| input.canonicalize().is_ok_and(|input| input == *real))
        };
        if let Ok(real) = path.canonicalize()
            && scenarios.any(|scenario| is_read(&real, scenario))
        {
            return Err(format!(
                "{option} {shown} would overwrite a file that the scenario is read from; name another"
            ));
        }
        let file = File::create(path).map_err(|error| format!("{option} {shown}: cannot write there: {error}"))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes `what` by `write`.
    pub(super) fn write(
        &self,
        what: &str,
        write: impl FnOnce(&mut BufWriter<&File>) -> io::Result<()>,
    ) -> Result<(), String> {
        let mut file = BufWriter::new(&self.file);
        let written = write(&mut file).and_then(|()| file.flush());
        written.map_err(|error| format!("the {what} in {} is not whole: {error}", self.path.display()))
    }
}
