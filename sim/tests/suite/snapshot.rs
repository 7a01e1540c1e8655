//! `--snapshot`: what a run came to, kept as text and compared with the next one.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo");

/// Runs the scenario of a folder with these further arguments.
fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hermesh"))
        .args(["run", "s.yaml", "--snapshot", "s.snap"])
        .args(args)
        .current_dir(folder)
        .env_remove("HERMESH_SEED")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the test reads files of the machine")]
fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Writes a scenario in which `echo-v1` calls both versions of `echo`, by these routes.
fn scenario(folder: &Path, routes: &str) {
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: echo-grpc\nmesh: {{istio: \"1.32\"}}\nsteps:\n\
         - name: Deploy\n  apply: [{EXAMPLES}/namespace.yaml, {EXAMPLES}/grpc-echo.yaml]\n- wait: {{ready: all}}\n\
         - name: Routes\n  apply: [{EXAMPLES}/destination-rule-subsets.yaml, {routes}]\n- wait: {{converged: all}}\n\
         - name: Call\n  call: {{from: echo-v1, url: \"xds:///echo:7070\", count: 20}}\n  expect: {{ok: all}}\n"
    );
    write(folder, "s.yaml", &text);
}

#[test]
fn a_snapshot_has_what_is_in_use_and_nothing_that_changes_without_a_meaning() {
    let folder = tempfile::tempdir().unwrap();
    scenario(folder.path(), &format!("{EXAMPLES}/virtual-service-20-80.yaml"));
    let (code, out, err) = run(folder.path(), &[]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("wrote s.snap"), "{out}");
    let snapshot = read(folder.path(), "s.snap");
    insta::assert_snapshot!("snapshot", snapshot.replace(EXAMPLES, "EXAMPLES"));
    let (code, out, err) = run(folder.path(), &["--verify"]);
    assert_eq!(code, 0, "{out}{err}");
    assert_eq!(read(folder.path(), "s.snap"), snapshot, "it is not touched");
}

#[test]
fn a_run_that_differs_fails_and_shows_the_lines() {
    let folder = tempfile::tempdir().unwrap();
    scenario(folder.path(), &format!("{EXAMPLES}/virtual-service-20-80.yaml"));
    assert_eq!(run(folder.path(), &[]).0, 0);
    let (code, out, _) = run(folder.path(), &[]);
    assert!(code == 0 && out.contains("nothing has changed since s.snap"), "{out}");
    let kept = read(folder.path(), "s.snap");

    let edited = read_manifest("virtual-service-20-80.yaml")
        .replace("weight: 20", "weight: 30")
        .replace("weight: 80", "weight: 70");
    write(folder.path(), "virtual-service.yaml", &edited);
    scenario(folder.path(), "virtual-service.yaml");
    let (code, out, _) = run(folder.path(), &["--junit", "r.xml"]);
    assert_eq!(code, 1, "{out}");
    let lines = |sign: char, weight: &str| {
        out.lines().any(|line| line.starts_with(sign) && line.ends_with(&format!(" weight {weight}")))
    };
    assert!(lines('-', "20") && lines('+', "30") && lines('-', "80") && lines('+', "70"), "{out}");
    assert!(out.contains("--update-snapshot"), "{out}");
    assert_eq!(read(folder.path(), "s.snap"), kept, "it is not touched");
    assert!(read(folder.path(), "r.xml").contains("snapshot s.snap"));

    let (code, out, _) = run(folder.path(), &["--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, report["verdict"].as_str(), report["runs"][0]["verdict"].as_str()),
        (1, Some("failed"), Some("held"))
    );
    let difference = report["runs"][0]["snapshot"]["difference"].as_str().unwrap();
    assert!(difference.contains("weight 30"), "{difference}");

    assert_eq!(run(folder.path(), &["--update-snapshot"]).0, 0);
    assert_ne!(read(folder.path(), "s.snap"), kept);
    assert_eq!(run(folder.path(), &[]).0, 0);
}

#[expect(clippy::disallowed_methods, reason = "the test reads files of the machine")]
fn read_manifest(name: &str) -> String {
    std::fs::read_to_string(Path::new(EXAMPLES).join(name)).unwrap()
}

#[test]
fn a_snapshot_is_of_one_run_that_held() {
    let folder = tempfile::tempdir().unwrap();
    let head = "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps:\n";
    write(folder.path(), "s.yaml", &format!("{head}- wait: 1s\n"));
    let refused = |args: &[&str], message: &str| {
        let (code, _, err) = run(folder.path(), args);
        assert!(code == 2 && err.contains(message), "{args:?}: {err}");
    };
    refused(&["--seeds", "2"], "--snapshot is of one run: it needs a single scenario and a single seed");
    refused(&["--trace", "s.snap"], "--snapshot names the file of --trace or --junit; each needs its own");
    write(
        folder.path(),
        "s.yaml",
        &format!(
            "{head}- wait: {{ready: istiod}}\n- call: {{from: istiod, url: \"xds:///istiod:15010\", timeout: 1s}}\n  expect: {{ok: all}}\n"
        ),
    );
    let (code, out, err) = run(folder.path(), &[]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(!folder.path().join("s.snap").exists(), "what failed is no measure for others");
}
