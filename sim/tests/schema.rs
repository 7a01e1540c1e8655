//! The JSON Schema of scenarios: it is the one checked in, the examples follow it, and it agrees with the reader.

use std::path::{Path, PathBuf};

use hermesh::scenario::{Scenario, schema};
use hermesh_istiod::yaml::{self, Location};
use serde_json::Value;

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/scenario.schema.json");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

#[expect(clippy::disallowed_methods, reason = "tests read files of the machine")]
fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// The first document of a file as JSON, as an editor would hand it to a validator.
fn instance(text: &str) -> Value {
    let documents = yaml::parse("s.yaml", text).unwrap();
    yaml::from_node(&documents[0].root, &Location::in_file("s.yaml")).unwrap()
}

#[test]
fn the_schema_that_is_checked_in_is_the_one_the_types_give() {
    let generated = format!("{:#}\n", schema());
    assert!(
        read(SCHEMA) == generated,
        "the schema has changed: run `cargo run -- schema > examples/scenario.schema.json`"
    );
}

#[test]
fn the_schema_is_a_valid_schema() {
    jsonschema::meta::validate(&schema()).unwrap();
}

#[test]
fn every_example_follows_the_schema_and_is_understood() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let mut scenarios = 0;
    for file in yaml_files(Path::new(EXAMPLES)) {
        let text = read(&file);
        if !text.lines().any(|line| line == "kind: Scenario") {
            continue;
        }
        scenarios += 1;
        let errors: Vec<String> = validator.iter_errors(&instance(&text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}", file.display());
        if let Err(error) = Scenario::open(&file) {
            panic!("{error}");
        }
    }
    assert!(scenarios > 0, "there are examples");
}

fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { yaml_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
}

const GOOD: [&str; 14] = [
    "wait: 168h",
    "wait: {ready: istiod, within: 604800s}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", count: 100000, qps: 100000, timeout: 86400000ms}",
    "wait: 5s",
    "wait: 1h2m3s4ms",
    "wait: {ready: istiod, within: 2m}",
    "wait: {converged: all}",
    "{name: a, get: pods}",
    "restart: [istiod]",
    "kill: istiod/0/discovery",
    "heal: all",
    "{name: a, call: {from: istiod, url: \"xds:///a:1\"}, expect: {error: UNAVAILABLE, cause: no-route}}",
    "{call: {from: istiod, url: [\"xds:///istiod:15010\", \"grpc://istiod:443\"], count: 3, qps: 1, headers: {a: b}, timeout: 1s}, expect: {ok: all}}",
    "{call: {from: istiod, url: \"xds:///istiod:15010\", count: 100}, expect: {to: {istiod: 1..100}, share: {istiod: 100%}}}",
];

/// What the schema must refuse as the reader does.
const BAD: [&str; 45] = [
    "wait: 169h",
    "wait: {converged: all, within: 604801s}",
    "wait: {ready: istiod, within: 10081m}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", count: 100001}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", qps: 100001}",
    "call: {from: istiod, url: \"xds:///istiod:15010\", timeout: 25h}",
    "{}",
    "{name: , wait: 1s}",
    "{wait: 1s, expect: }",
    "call: {from: istiod, url: \"xds:///a:1\", count: }",
    "5s",
    "wait: 5",
    "wait: 5x",
    "wait: 1s1m",
    "wait: ''",
    "wait: {}",
    "wait: {ready: all, converged: all}",
    "wait: {ready: []}",
    "wait: {converged: some}",
    "wait: {ready: all, within: 60}",
    "wait: {ready: all, witin: 60s}",
    "wiat: 5s",
    "{wait: 5s, get: pods}",
    "{wait: 5s, expect: {ok: all}}",
    "{wait: 5s, nmae: a}",
    "get: nodes",
    "kill: []",
    "restart: {}",
    "partition: [istiod]",
    "partition: istiod",
    "heal: some",
    "load: {}",
    "call: {from: istiod}",
    "call: {url: \"xds:///a:1\"}",
    "call: {from: istiod, url: []}",
    "call: {from: istiod, url: \"ftp://a\"}",
    "call: {from: istiod, url: \"xds:///a:1\", count: 0}",
    "call: {from: istiod, url: \"xds:///a:1\", count: many}",
    "call: {from: istiod, url: \"xds:///a:1\", timeout: 5}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {ok: some}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {error: BROKEN}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {cause: broken}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {share: {istiod: 100}}}",
    "{call: {from: istiod, url: \"xds:///a:1\"}, expect: {to: {istiod: few}}}",
];

const ENVELOPES: [(&str, bool); 11] = [
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\", latency: 1ms..200ms}\nsteps: [{wait: 1s}]\n",
        true,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\", latency: 1ms..2s}\nsteps: [{wait: 1s}]\n",
        false,
    ),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n", true),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nabout: x\nnamespace: a\nseed: 7\n\
         mesh: {istio: \"1.32\", latency: 1ms..2ms}\nsteps: [{wait: 1s}]\n",
        true,
    ),
    ("apiVersion: hermesh/v2\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Story\nname: t\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.31\"}\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nsteps: [{wait: 1s}]\n", false),
    ("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps: []\n", false),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\", images: {a: b}}\nsteps: [{wait: 1s}]\n",
        false,
    ),
    (
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nseed: -1\nmesh: {istio: \"1.32\"}\nsteps: [{wait: 1s}]\n",
        false,
    ),
];

#[test]
fn schema_and_reader_agree() {
    let step = |step: &str| {
        format!("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {{istio: \"1.32\"}}\nsteps:\n- {step}\n")
    };
    let corpus = GOOD.iter().map(|text| (step(text), true)).chain(BAD.iter().map(|text| (step(text), false)));
    let corpus = corpus.chain(ENVELOPES.iter().map(|(text, good)| ((*text).to_owned(), *good)));
    let validator = jsonschema::validator_for(&schema()).unwrap();
    for (text, good) in corpus {
        assert_eq!(validator.is_valid(&instance(&text)), good, "by the schema:\n{text}");
        let read = open(&text);
        assert_eq!(read.is_ok(), good, "by the reader:\n{text}{:?}", read.err());
    }
}

#[expect(clippy::disallowed_methods, reason = "the test makes a file of the machine")]
fn open(text: &str) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text).unwrap();
    Scenario::open(path).map_err(|error| error.to_string())
}
