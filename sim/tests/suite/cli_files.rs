//! Files that the command line names: scenarios in folders, standard input, and the files of `--trace` and `--junit`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

fn hermesh(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermesh"));
    command.args(args).current_dir(folder).env_remove("HERMESH_SEED").stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let output = hermesh(folder, args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn text(kind: &str, steps: &str) -> String {
    format!("apiVersion: hermesh/v1alpha1\nkind: {kind}\nname: small\nmesh: {{istio: \"1.32\"}}\nsteps:\n{steps}\n")
}

/// A folder with these files.
#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

#[expect(clippy::disallowed_methods, reason = "the test reads files of the machine")]
fn read(path: PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The report, which must be one JSON object.
fn report(folder: &Path, args: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(folder, args);
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

#[test]
fn a_folders_scenarios_are_found_however_their_kind_is_written() {
    let wait = "- wait: 1s";
    let folder = folder(&[
        ("a.yaml", text("\"Scenario\"", wait).as_bytes()),
        ("b.yml", text("'Scenario' # small", wait).as_bytes()),
        ("c.yaml", text("Scenario   # a comment", wait).as_bytes()),
        ("d.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n"),
        ("e.txt", b"kind: Scenario"),
    ]);
    let (code, report) = report(folder.path(), &["run", ".", "--format", "json"]);
    assert_eq!((code, report["runs"].as_array().unwrap().len()), (0, 3));
}

#[test]
fn a_folder_with_a_file_that_cannot_be_read_is_not_run_in_part() {
    let folder = folder(&[("a.yaml", text("Scenario", "- wait: 1s").as_bytes()), ("b.yaml", b"kind: \xff\n")]);
    let (code, out, err) = run(folder.path(), &["run", "."]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("hermesh: ./b.yaml is no text: it is not UTF-8\n"), "{err}");
    std::fs::remove_file(folder.path().join("b.yaml")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("c.yaml")).unwrap();
    let (code, _, err) = run(folder.path(), &["run", "."]);
    assert_eq!(code, 2);
    assert!(err.starts_with("hermesh: ./c.yaml: No such file"), "{err}");
}

#[test]
fn a_scenario_of_a_folder_that_does_not_parse_is_no_manifest() {
    let folder = folder(&[("a.yaml", b"apiVersion: hermesh/v1alpha1\nkind: Scenario\nsteps: [\n")]);
    let (code, _, err) = run(folder.path(), &["run", "."]);
    assert_eq!(code, 2);
    assert!(err.contains("error[yaml-syntax]"), "{err}");
}

#[test]
fn a_trace_that_cannot_be_written_is_noticed_before_anything_is_run() {
    let folder = folder(&[("s.yaml", text("Scenario", "- wait: 1s").as_bytes())]);
    let (code, out, err) = run(folder.path(), &["run", "s.yaml", "--trace", "none/t.jsonl"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with("hermesh: --trace none/t.jsonl: cannot write there: No such file"), "{err}");
    assert!(err.ends_with("nothing was run\n"), "{err}");
    let (code, report) = report(folder.path(), &["run", "s.yaml", "--trace", "none/t.jsonl", "--format", "json"]);
    assert_eq!((code, report["verdict"].as_str()), (2, Some("not-understood")));
}

#[test]
fn a_trace_overwrites_nothing_that_is_read() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";
    let scenario = text("Scenario", "- apply: n.yaml");
    let folder = folder(&[("s.yaml", scenario.as_bytes()), ("n.yaml", namespace.as_bytes())]);
    std::os::unix::fs::symlink("s.yaml", folder.path().join("link.yaml")).unwrap();
    for file in ["s.yaml", "n.yaml", "./n.yaml", "link.yaml"] {
        let (code, out, err) = run(folder.path(), &["run", "s.yaml", "--trace", file]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.starts_with(&format!("hermesh: --trace {file} would overwrite a file")), "{err}");
    }
    assert_eq!(read(folder.path().join("s.yaml")), scenario);
    assert_eq!(read(folder.path().join("n.yaml")), namespace);
    let (code, _, err) = run(folder.path(), &["run", "s.yaml", "--trace", "t.jsonl"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(read(folder.path().join("t.jsonl")).starts_with("{\"format\":\"hermesh.trace/1\""));
}

#[test]
fn a_trace_changes_no_verdict() {
    let steps = "- apply: d.yaml\n- wait: {ready: all, within: 1s}";
    let deployment = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: registry.istio.io/testing/app:latest}]}
";
    let folder = folder(&[("s.yaml", text("Scenario", steps).as_bytes()), ("d.yaml", deployment.as_bytes())]);
    let (code, out, _) = run(folder.path(), &["run", "s.yaml", "--trace", "t.jsonl"]);
    assert_eq!(code, 1, "{out}");
    assert!(out.contains("again     hermesh run s.yaml --seed 1\n"), "{out}");
    assert!(read(folder.path().join("t.jsonl")).lines().count() > 10);
    let (code, report) = report(folder.path(), &["run", "s.yaml", "--format", "json"]);
    assert_eq!((code, report["verdict"].as_str()), (1, Some("failed")));
    // A disk without room is no reason to forget what was found.
    let (code, _, err) = run(folder.path(), &["run", "s.yaml", "--trace", "/dev/full"]);
    assert_eq!(code, 1);
    assert!(err.starts_with("hermesh: the trace in /dev/full is not whole: "), "{err}");
}

#[test]
fn a_report_that_found_no_room_is_told_of() {
    let folder = folder(&[("s.yaml", text("Scenario", "- wait: 1s").as_bytes())]);
    for format in ["human", "json"] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let arguments = ["run", "s.yaml", "--format", format];
        let output = hermesh(folder.path(), &arguments).stdout(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(err.starts_with("hermesh: what it printed is not whole: "), "{err}");
    }
}

#[test]
fn verified_runs_say_so() {
    let folder = folder(&[("s.yaml", text("Scenario", "- wait: 1s").as_bytes())]);
    let verified = |args: &[&str]| {
        let (code, report) = report(folder.path(), &[&["run", "s.yaml", "--format", "json"], args].concat());
        assert_eq!(code, 0);
        let runs = report["runs"].as_array().unwrap().clone();
        runs.iter().map(|run| run["verified"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(verified(&[]), [false]);
    assert_eq!(verified(&["--verify"]), [true]);
    assert_eq!(verified(&["--verify", "--seeds", "3"]), [true; 3]);
    let (_, out, _) = run(folder.path(), &["run", "s.yaml", "--verify", "--seeds", "3"]);
    assert!(out.starts_with("all 3 seeds held, verified by a second run of each, in "), "{out}");
}

#[test]
fn arguments_that_are_not_understood_are_reported_as_was_asked() {
    let folder = folder(&[]);
    for args in [
        &["run", "s.yaml", "--format", "json", "--seeds", "0"][..],
        &["run", "--format=json"],
        &["run", "none.yaml", "--format", "json"],
        &["run", ".", "--format", "json"],
    ] {
        let (code, report) = report(folder.path(), args);
        assert_eq!((code, report["verdict"].as_str()), (2, Some("not-understood")), "{args:?}");
        assert_eq!(report["diagnostics"].as_array().unwrap().len(), 1, "{args:?}");
    }
}

#[test]
fn loads_and_tutorials_that_cannot_be_measured_say_why() {
    let folder =
        folder(&[("s.yaml", text("Scenario", "- apply: d.yaml\n- wait: {ready: all, within: 1s}").as_bytes())]);
    let (code, _, err) = run(folder.path(), &["bench", "sim", "--pods", "60000", "--connections", "1000"]);
    assert_eq!(code, 2);
    assert!(err.starts_with("hermesh: --pods 60000 times --connections 1000 is 60000000; at most 1000000\n"), "{err}");
    let (code, out, err) = run(folder.path(), &["bench", "tutorial", "s.yaml"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("no file or folder `d.yaml`"), "{err}");
}

#[test]
fn a_tutorial_that_does_not_hold_is_not_measured() {
    let steps = "- call: {from: istiod, url: \"xds:///istiod:15010\"}\n  expect: {ok: all}";
    let folder = folder(&[("s.yaml", text("Scenario", steps).as_bytes())]);
    let (code, out, err) = run(folder.path(), &["bench", "tutorial", "s.yaml", "--runs", "1"]);
    assert_eq!((code, out.as_str()), (1, ""), "{err}");
    assert!(err.ends_with("hermesh: nothing was measured: the scenario does not hold\n"), "{err}");
}

#[test]
fn what_has_no_end_is_not_read_and_named() {
    let folder = folder(&[("s.yaml", text("Scenario", "- apply: pipe.yaml").as_bytes())]);
    let device = "it is a device or a pipe; expected a regular file, or `-` for standard input\n";
    let (code, out, err) = run(folder.path(), &["run", "/dev/zero"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.starts_with(&format!("error[unreadable]: `/dev/zero`: {device}")), "{err}");
    let made = Command::new("mkfifo").arg(folder.path().join("pipe.yaml")).status().unwrap();
    assert!(made.success());
    for (file, told) in [
        ("pipe.yaml", "error[unreadable]: `pipe.yaml`: "),
        ("s.yaml", "error[unreadable]: steps[0].apply: `pipe.yaml`: "),
        (".", "hermesh: ./pipe.yaml: "),
    ] {
        let (code, out, err) = run(folder.path(), &["run", file]);
        assert_eq!((code, out.as_str()), (2, ""));
        assert!(err.starts_with(&format!("{told}{device}")), "{err}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn a_file_in_a_folder_that_is_no_text_is_named_and_so_is_where_a_link_leads() {
    let folder = folder(&[("s.yaml", text("Scenario", "- apply: deploy").as_bytes())]);
    std::fs::create_dir(folder.path().join("deploy")).unwrap();
    std::fs::write(folder.path().join("deploy/b.yaml"), b"\xff").unwrap();
    let (code, _, err) = run(folder.path(), &["run", "s.yaml"]);
    assert_eq!(code, 2);
    assert!(
        err.starts_with("error[unreadable]: steps[0].apply: `deploy/b.yaml` is no text: it is not UTF-8\n"),
        "{err}"
    );
    std::os::unix::fs::symlink("nowhere", folder.path().join("link.yaml")).unwrap();
    let (code, _, err) = run(folder.path(), &["run", "link.yaml"]);
    assert_eq!(code, 2);
    let told = "error[unreadable]: `link.yaml` is a link to `nowhere`, and no file or folder is there\n";
    assert!(err.starts_with(told), "{err}");
}

#[test]
fn junit_has_a_suite_for_each_run_and_says_what_failed() {
    let good = text(
        "Scenario",
        "- name: Pause\n  wait: 1s\n- name: Call nobody\n  call: {from: istiod, url: \"xds:///a:1\"}\n  expect: {error: UNKNOWN}\n",
    );
    let folder = folder(&[("good.yaml", good.as_bytes())]);
    let (code, _, err) = run(folder.path(), &["run", "good.yaml", "--seeds", "2", "--junit", "results.xml"]);
    assert_eq!((code, err.as_str()), (1, ""));
    let xml = read(folder.path().join("results.xml"));
    assert!(xml.contains(r#"<testsuites name="hermesh" tests="4" skipped="0" failures="2" errors="0""#), "{xml}");
    assert!(xml.contains(r#"<testsuite name="small, seed 2""#), "{xml}");
    assert!(xml.contains(r#"<testcase name="2 Call nobody" classname="small">"#), "{xml}");
    assert!(xml.contains("again     hermesh run good.yaml --seed 1"), "{xml}");

    let (code, _, err) = run(folder.path(), &["run", "good.yaml", "--junit", "good.yaml"]);
    assert_eq!(code, 2);
    assert!(err.contains("--junit good.yaml would overwrite a file that the scenario is read from"), "{err}");
    let (code, _, err) = run(folder.path(), &["run", "good.yaml", "--junit", "x", "--trace", "x"]);
    assert_eq!(code, 2);
    assert!(err.contains("--junit and --trace name one file"), "{err}");
    let (code, _, err) = run(folder.path(), &["run", "good.yaml", "--junit", "none/results.xml"]);
    assert_eq!(code, 2);
    assert!(err.contains("--junit none/results.xml: cannot write there"), "{err}");
}

#[test]
fn shells_can_complete_the_command_line() {
    let folder = folder(&[]);
    for shell in ["bash", "zsh", "fish"] {
        let (code, out, _) = run(folder.path(), &["completions", shell]);
        assert_eq!(code, 0);
        assert!(out.contains("hermesh") && out.contains("junit"), "{shell}: {out}");
    }
}
