//! The file of `--trace`: it is opened before anything is run, and it is none of the files that are read.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use hermesh::scenario::Scenario;
use hermesh::trace::Trace;

/// A file to write a trace to.
#[derive(Debug)]
pub(super) struct TraceFile {
    path: PathBuf,
    file: File,
}

impl TraceFile {
    /// Opens `path` for the trace of a run of `scenario`, whose files it may not overwrite.
    pub(super) fn open(path: &Path, scenario: &Scenario) -> Result<Self, String> {
        let shown = path.display();
        if let Ok(real) = path.canonicalize()
            && scenario.files().any(|input| input.canonicalize().is_ok_and(|input| input == real))
        {
            return Err(format!("--trace {shown} would overwrite a file that the scenario is read from; name another"));
        }
        let file = File::create(path).map_err(|error| format!("--trace {shown}: cannot write there: {error}"))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Writes a trace.
    pub(super) fn write(&self, trace: &Trace) -> Result<(), String> {
        let mut file = BufWriter::new(&self.file);
        let written = trace.write_json_lines(&mut file).and_then(|()| file.flush());
        written.map_err(|error| format!("the trace in {} is not whole: {error}", self.path.display()))
    }
}
