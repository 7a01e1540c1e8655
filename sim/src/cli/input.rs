//! From the files and folders of the command line to scenarios that are understood, or to all that is wrong with them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use hermesh::scenario::Scenario;
use hermesh::{Manifests, ReadError};
use hermesh_istiod::yaml;

use super::mistake::Mistake;

/// Reads every scenario; nothing is to be run unless all are understood.
pub(super) fn scenarios(paths: &[PathBuf]) -> Result<Vec<Scenario>, Vec<Mistake>> {
    let mut scenarios = Vec::new();
    let mut mistakes = Vec::new();
    let mut read = |file: PathBuf, mistakes: &mut Vec<Mistake>| match Scenario::open(file) {
        Ok(scenario) => scenarios.push(scenario),
        Err(error) => mistakes.push(Mistake::Scenario(error)),
    };
    for path in paths {
        if !path.is_dir() {
            read(path.clone(), &mut mistakes);
            continue;
        }
        match Folder::read(path) {
            Ok(folder) => {
                mistakes.extend(folder.unreadable.into_iter().map(Mistake::Path));
                folder.scenarios.into_iter().for_each(|file| read(file, &mut mistakes));
            }
            Err(error) => mistakes.push(Mistake::Path(format!("folder {}: {error}", path.display()))),
        }
    }
    if mistakes.is_empty() { Ok(scenarios) } else { Err(mistakes) }
}

/// What a folder holds, in the order of names.
#[derive(Debug, Default)]
struct Folder {
    scenarios: Vec<PathBuf>,
    /// Files of which nobody can tell whether they are scenarios, and why.
    unreadable: Vec<String>,
}

impl Folder {
    fn read(path: &Path) -> std::io::Result<Self> {
        let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|entry| entry.path()));
        let mut files: Vec<PathBuf> = entries.collect::<std::io::Result<_>>()?;
        let is_yaml = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "yaml" || kind == "yml");
        files.retain(|file| is_yaml(file) && !file.is_dir());
        files.sort();
        let mut folder = Self::default();
        for file in files {
            match Manifests::open(&file) {
                Ok(texts) if texts.iter().any(|text| is_scenario(&file, &text.text)) => folder.scenarios.push(file),
                Ok(_) => {}
                Err(ReadError { error, .. }) if error.kind() == ErrorKind::InvalidData => {
                    folder.unreadable.push(format!("{} is no text: it is not UTF-8", file.display()));
                }
                Err(ReadError { error, .. }) => folder.unreadable.push(format!("{}: {error}", file.display())),
            }
        }
        if folder.scenarios.is_empty() && folder.unreadable.is_empty() {
            let message = "it holds no scenario: no .yaml file with `kind: Scenario`";
            return Err(std::io::Error::new(std::io::ErrorKind::NotFound, message));
        }
        Ok(folder)
    }
}

/// Manifests may lie beside scenarios; what says it is a scenario is read as one, however broken.
fn is_scenario(file: &Path, text: &str) -> bool {
    match yaml::parse(&file.display().to_string(), text) {
        Ok(documents) => documents.first().is_some_and(|document| {
            let says = |field| document.root.get(field).and_then(|value| value.text());
            says("kind") == Some("Scenario")
                || says("apiVersion").is_some_and(|version| version.starts_with("hermesh/"))
        }),
        // Nobody knows what it would say.
        Err(_) => text.contains("hermesh/") || text.contains("Scenario"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_known_by_what_the_yaml_says() {
        let is = |text| is_scenario(Path::new("s.yaml"), text);
        for text in [
            "kind: Scenario\n",
            "kind: \"Scenario\"\n",
            "kind: 'Scenario'  # what else\n",
            "{apiVersion: hermesh/v1alpha1, kind: Scenraio}",
            "# a scenario\n---\nkind:\n  Scenario\n",
            "kind: Scenario\nsteps: [\n",
        ] {
            assert!(is(text), "{text}");
        }
        for text in ["", "kind: Namespace\n", "about: |\n  kind: Scenario\nkind: List\n", "a: [\n", "[]"] {
            assert!(!is(text), "{text}");
        }
    }
}
