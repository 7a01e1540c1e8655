//! From the files and folders of the command line to scenarios that are understood, or to all that is wrong with them.

use std::path::{Path, PathBuf};

use hermesh::scenario::{InputError, Scenario};

/// What is wrong with the files of a command line.
#[derive(Debug)]
pub(super) enum Mistake {
    /// A scenario is not understood.
    Scenario(InputError),
    /// A file or folder is of no use at all.
    Path(String),
}

/// Reads every scenario; nothing is to be run unless all are understood.
pub(super) fn scenarios(paths: &[PathBuf]) -> Result<Vec<Scenario>, Vec<Mistake>> {
    let mut scenarios = Vec::new();
    let mut mistakes = Vec::new();
    for path in paths {
        match files(path) {
            Ok(files) => {
                for file in files {
                    match Scenario::open(file) {
                        Ok(scenario) => scenarios.push(scenario),
                        Err(error) => mistakes.push(Mistake::Scenario(error)),
                    }
                }
            }
            Err(message) => mistakes.push(Mistake::Path(message)),
        }
    }
    if mistakes.is_empty() { Ok(scenarios) } else { Err(mistakes) }
}

/// The path itself, or the scenarios of a folder in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(|file| is_scenario(file)).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("folder {} holds no scenario: no .yaml file with `kind: Scenario`", path.display()));
    }
    Ok(files)
}

/// Manifests may lie beside scenarios; what says it is a scenario is read as one, however broken.
#[expect(clippy::disallowed_methods, reason = "scenarios are files of the machine, not of a container")]
fn is_scenario(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
        && std::fs::read_to_string(file).is_ok_and(|text| {
            text.lines().any(|line| line.trim_end().strip_prefix("kind:").is_some_and(|kind| kind.trim() == "Scenario"))
        })
}
