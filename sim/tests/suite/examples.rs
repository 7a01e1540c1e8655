//! Every scenario under `examples/` holds. Those of `examples/faults` are played in `faults.rs`.

use std::path::{Path, PathBuf};

use hermesh::report;
use hermesh::scenario::{RunOptions, Scenario, Verdict};

use super::played::EXAMPLES;

/// A seed that no other test plays them with.
const SEED: u64 = 11;

/// A folder's scenarios: the files of that kind among its manifests.
#[expect(clippy::disallowed_methods, reason = "tests read files of the machine")]
fn scenarios(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let manifests = entries.filter(|path| path.extension().is_some_and(|kind| kind == "yaml"));
    let of_kind = |path: &PathBuf| std::fs::read_to_string(path).unwrap().lines().any(|line| line == "kind: Scenario");
    let mut files: Vec<PathBuf> = manifests.filter(of_kind).collect();
    files.sort();
    files
}

#[track_caller]
fn hold(folder: &str) {
    let files = scenarios(&Path::new(EXAMPLES).join(folder));
    assert!(!files.is_empty(), "there are none in examples/{folder}");
    for file in files {
        let scenario = Scenario::open(&file).unwrap_or_else(|error| panic!("{error}"));
        let run = scenario.run(&RunOptions::seed(SEED)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    }
}

macro_rules! folders {
    ($($name:ident $folder:literal)*) => {
        const FOLDERS: &[&str] = &[$($folder),*];

        $(
            #[test]
            fn $name() {
                hold($folder);
            }
        )*
    };
}

folders! {
    authorization "authorization"
    certificates "certificates"
    grpc_echo "grpc-echo"
    injection "injection"
    kubernetes "kubernetes"
    locality "locality"
    traffic "traffic"
    virtual_machines "virtual-machines"
    xds "xds"
}

#[test]
fn no_folder_is_left_out() {
    let entries = std::fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap().path());
    let folders = entries.filter(|path| path.is_dir() && !scenarios(path).is_empty());
    let mut found: Vec<String> = folders.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    found.sort();
    let mut played = [FOLDERS, &["faults"]].concat();
    played.sort_unstable();
    assert_eq!(found, played);
}
