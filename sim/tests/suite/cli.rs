//! The command line as a process: exit codes, what goes to which stream, and files.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const TUTORIAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo/tutorial.yaml");

fn hermesh(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermesh"));
    command.args(args).env_remove("HERMESH_SEED").stdin(Stdio::null());
    command
}

fn run(args: &[&str]) -> (i32, String, String) {
    told(&hermesh(args).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// A scenario without pods, which takes no time to speak of.
fn scenario(steps: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    write(&path, &text(steps));
    (folder, path)
}

fn text(steps: &str) -> String {
    format!("apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: small\nmesh: {{istio: \"1.32\"}}\nsteps:\n{steps}\n")
}

#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the test reads files of the machine")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_scenario_that_holds_ends_with_0_and_a_summary() {
    let (code, out, err) = run(&["run", TUTORIAL, "--seed", "7"]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("all 11 steps held - ") && last.ends_with(", seed 7"), "{last}");
    assert!(last.contains(" simulated in "), "{last}");
    assert!(!out.contains('\u{1b}'), "colours are for terminals");
}

#[test]
fn a_failed_expectation_ends_with_1_and_says_why_and_how_to_repeat_it() {
    let (folder, _) = scenario("- wait: 1s");
    let examples = Path::new(TUTORIAL).parent().unwrap();
    let wrong = read(Path::new(TUTORIAL))
        .replace("cause: tls-handshake", "cause: tcp-connect")
        .replace("apply: [", &format!("apply: [{0}/", examples.display()))
        .replace("namespace.yaml, ", &format!("namespace.yaml, {}/", examples.display()))
        .replace("apply: d", &format!("apply: {}/d", examples.display()))
        .replace("apply: v", &format!("apply: {}/v", examples.display()))
        .replace("apply: p", &format!("apply: {}/p", examples.display()));
    let file = folder.path().join("wrong.yaml");
    write(&file, &wrong);
    let (code, out, err) = run(&["run", path(&file), "--seed", "3"]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let line = wrong.lines().position(|line| line.contains("tcp-connect")).unwrap() + 1;
    assert!(out.contains(&format!("FAILED {}:{line}:", file.display())), "{out}");
    assert!(out.contains("expected  every call fails because of tcp-connect\n"), "{out}");
    assert!(out.contains("seen      the call failed with UNAVAILABLE (tls-handshake)\n"), "{out}");
    assert!(out.contains(&format!("again     hermesh run {} --seed 3\n", file.display())), "{out}");
    // The chain of causes reaches the connection that failed, and the step that made it fail.
    assert!(out.contains("(10.244.0.4:17070): transport: authentication handshake failed"), "{out}");
    assert!(out.contains("s  step 8, Enabling mTLS on the client\n"), "{out}");
    assert!(out.contains("it speaks TLS, and this port plain text"), "the server's side is told too: {out}");
    assert!(out.lines().last().unwrap().starts_with("step 9 of 11 failed - "), "{out}");
}

#[test]
fn input_that_is_not_understood_ends_with_2_and_nothing_is_run() {
    let (_folder, file) = scenario("- wiat: 1s\n- wait: 5");
    let (code, out, err) = run(&["run", path(&file)]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    assert!(err.contains(&format!("{}:6:3", file.display())), "{err}");
    assert!(err.contains("did you mean `wait`?") && err.contains("such as `5s` or `5ms`"), "{err}");
    assert!(err.ends_with("2 mistakes; nothing was run\n"), "{err}");

    for args in [
        &["run"][..],
        &["run", "no/such.yaml"],
        &["run", TUTORIAL, "--seed", "x"],
        &["run", TUTORIAL, "--seeds", "0"],
        &["run", TUTORIAL, "--seeds", "2", "--trace", "t"],
        &["rnu"],
        &["bench", "tutorial", "no/such.yaml"],
    ] {
        let (code, out, err) = run(args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?} {err}");
        assert!(!err.is_empty(), "{args:?}");
    }
}

#[test]
fn a_folder_runs_its_scenarios_and_leaves_manifests_alone() {
    let (folder, _) = scenario("- wait: 1s");
    write(&folder.path().join("namespace.yaml"), "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    write(&folder.path().join("t.yaml"), &text("- name: a\n  wait: 2s\n- name: b\n  wait: 1s"));
    let (code, out, err) = run(&["run", path(folder.path())]);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert_eq!(out.lines().filter(|line| line.contains(" held - ")).count(), 2, "{out}");

    let empty = tempfile::tempdir().unwrap();
    let (code, _, err) = run(&["run", path(empty.path())]);
    assert_eq!(code, 2);
    assert!(err.contains("holds no scenario"), "{err}");
}

#[test]
fn standard_input_may_hold_the_scenario_or_what_it_applies() {
    let give = |args: &[&str], input: &str| {
        let mut child =
            hermesh(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        told(&child.wait_with_output().unwrap())
    };
    let (code, out, err) = give(&["run", "-"], &text("- wait: 1s"));
    assert_eq!(code, 0, "{out}{err}");

    let (_folder, file) = scenario("- apply: '-'");
    let (code, out, err) = give(&["run", path(&file)], "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("apply -: 1 created"), "{out}");
    let (code, _, err) = give(&["run", path(&file)], "kind: Namespace\n");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("-:1:1"), "{err}");
}

#[test]
fn the_seed_comes_from_the_flag_then_the_variable_then_the_file_then_it_is_1() {
    let (folder, file) = scenario("- wait: 1s");
    let seeded = folder.path().join("seeded.yaml");
    write(&seeded, &text("- wait: 1s").replace("name: small", "name: small\nseed: 5"));
    let seed = |args: &[&str], variable: Option<&str>| {
        let mut command = hermesh(args);
        if let Some(variable) = variable {
            command.env("HERMESH_SEED", variable);
        }
        let (code, out, err) = told(&command.output().unwrap());
        assert_eq!(code, 0, "{err}");
        out.lines().last().unwrap().rsplit(' ').next().unwrap().to_owned()
    };
    assert_eq!(seed(&["run", path(&file)], None), "1");
    assert_eq!(seed(&["run", path(&seeded)], None), "5");
    assert_eq!(seed(&["run", path(&seeded)], Some("6")), "6");
    assert_eq!(seed(&["run", path(&seeded), "--seed", "7"], Some("6")), "7");
}

#[test]
fn many_seeds_are_summed_up_in_one_line() {
    let (_folder, file) = scenario("- wait: 1s");
    let (code, out, err) = run(&["run", path(&file), "--seeds", "5", "--seed", "10"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(out.starts_with("all 5 seeds held in ") && out.ends_with(" - small, seeds 10 to 14\n"), "{out}");
}

#[test]
fn more_seeds_than_anybody_can_play_end_with_the_tenth_that_fails() {
    let (_folder, file) = scenario("- call: {from: istiod, url: \"xds:///istiod:15010\"}");
    let all = "18446744073709551615";
    let (code, out, err) = run(&["run", path(&file), "--seed", "1", "--seeds", all]);
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    let last = out.lines().last().unwrap();
    assert!(last.starts_with("10 of 10 seeds did not hold in "), "{last}");
    let told =
        "seeds 1 to 10; failed: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10; enough, 18446744073709551605 more were not played";
    assert!(last.ends_with(told), "{last}");
    assert_eq!(out.matches("FAILED").count(), 1, "the first is told: {out}");
    let (code, out, _) = run(&["run", path(&file), "--seeds", all, "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, report["runs"].as_array().unwrap().len()), (1, 10));
    let (code, _, err) = run(&["run", path(&file), "--seed", "2", "--seeds", all]);
    assert_eq!(code, 2);
    assert!(err.contains("leaves the range of seeds"), "{err}");
}

#[test]
fn json_is_one_object_with_every_step() {
    let (code, out, err) = run(&["run", TUTORIAL, "--format", "json"]);
    assert_eq!((code, err.as_str()), (0, ""));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((report["format"].as_str(), report["verdict"].as_str()), (Some("hermesh.report/1"), Some("held")));
    let steps = report["runs"][0]["steps"].as_array().unwrap();
    assert!(steps.iter().all(|step| step["verdict"] == "held"), "{out}");
    let shares =
        steps.iter().filter(|step| step["checks"].as_array().unwrap().iter().any(|check| check["check"] == "share"));
    assert_eq!(shares.count(), 1);
    assert_eq!(steps[3]["step"]["call"]["count"], 5);
    assert_eq!(steps[3]["step"]["expect"]["to"]["echo-v2"], "2..3");

    let (_folder, file) = scenario("- wiat: 1s");
    let (code, out, _) = run(&["run", path(&file), "--format", "json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, report["verdict"].as_str()), (2, Some("not-understood")));
    assert_eq!(report["diagnostics"][0]["location"]["line"], 6);
}

#[test]
fn verify_and_trace_go_together_and_the_same_seed_writes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let traces = ["a.jsonl", "b.jsonl"].map(|name| folder.path().join(name));
    for trace in &traces {
        let (code, out, err) = run(&["run", TUTORIAL, "--seed", "7", "--verify", "--trace", path(trace)]);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        let last = out.lines().last().unwrap();
        assert!(last.starts_with("verified: two runs on two threads wrote the same "), "{last}");
    }
    let [a, b] = traces.map(|trace| read(&trace));
    assert!(a == b, "two processes wrote different traces");
    let header: Value = serde_json::from_str(a.lines().next().unwrap()).unwrap();
    assert_eq!((header["format"].as_str(), header["seed"].as_u64()), (Some("hermesh.trace/1"), Some(7)));
    assert!(a.contains("\"kind\":\"net.data\""), "bytes on the wire are in the trace");
}

#[test]
fn a_network_nobody_knows_is_refused_with_those_there_are() {
    let (code, _, told) = run(&["run", TUTORIAL, "--network", "nonsense"]);
    assert_eq!(code, 2);
    assert!(told.contains("[possible values: simulated, turmoil]"), "{told}");
}

#[test]
fn another_network_is_named_in_the_report_in_the_trace_and_in_the_command_that_repeats_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace.jsonl");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/why/plain_call.yaml");
    let (code, out, _) = run(&["run", scenario, "--network", "turmoil", "--trace", trace.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(out.lines().next().unwrap().ends_with(", seed 1, network turmoil"), "{out}");
    assert!(out.contains(&format!("again     hermesh run {scenario} --seed 1 --network turmoil\n")), "{out}");
    let header = read(&trace).lines().next().map(|line| serde_json::from_str::<Value>(line).unwrap()).unwrap();
    assert_eq!(header["network"], "turmoil");
    let (_, out, _) = run(&["run", scenario, "--network", "turmoil", "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["runs"][0]["network"], "turmoil");
}
