//! `--snapshot`: what a run came to, kept as text and compared with the next one.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/grpc-echo");

/// Runs the scenario of a folder with these further arguments.
fn run(folder: &Path, args: &[&str]) -> (i32, String, String) {
    run_with(folder, "s.snap", args)
}

/// The same with another snapshot.
fn run_with(folder: &Path, snapshot: &str, args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hermesh"))
        .args(["run", "s.yaml", "--snapshot", snapshot])
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
    scenario_with(folder, &format!("{EXAMPLES}/destination-rule-subsets.yaml, {routes}"));
}

/// The same with these files in place of the routes.
fn scenario_with(folder: &Path, files: &str) {
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: echo-grpc\nmesh: {{istio: \"1.32\"}}\nsteps:\n\
         - name: Deploy\n  apply: [{EXAMPLES}/namespace.yaml, {EXAMPLES}/grpc-echo.yaml]\n- wait: {{ready: all}}\n\
         - name: Routes\n  apply: [{files}]\n- wait: {{converged: all}}\n\
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

/// Runs the scenario with a file of this text among its routes, then with another: the lines of the difference.
fn difference(folder: &Path, file: &str, texts: [&str; 2]) -> Vec<String> {
    write(folder, file, texts[0]);
    let (code, out, err) = run(folder, &[]);
    assert_eq!(code, 0, "{out}{err}");
    write(folder, file, texts[1]);
    let (code, out, err) = run(folder, &["--format", "json"]);
    assert_eq!(code, 1, "{out}{err}");
    changed_lines(&out)
}

/// The lines that differ, of a report in JSON.
fn changed_lines(report: &str) -> Vec<String> {
    let report: Value = serde_json::from_str(report).unwrap();
    let difference = report["runs"][0]["snapshot"]["difference"].as_str().unwrap();
    let lines = difference.lines().filter(|line| line.starts_with(['-', '+']));
    lines.skip(2).map(|line| format!("{}{}", &line[..1], line[1..].trim_start())).collect()
}

#[test]
fn workloads_of_one_name_in_two_namespaces_are_two() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["namespace.yaml", "grpc-echo.yaml", "peer-authentication-strict.yaml"] {
        write(folder.path(), file, &read_manifest(file).replace("echo-grpc", "shop"));
    }
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: echo-grpc\nmesh: {{istio: \"1.32\"}}\nsteps:\n\
         - name: Deploy\n  apply: [{EXAMPLES}/namespace.yaml, {EXAMPLES}/grpc-echo.yaml, namespace.yaml, grpc-echo.yaml]\n\
         - wait: {{ready: all}}\n\
         - name: Strict\n  apply: peer-authentication-strict.yaml\n- wait: {{converged: all}}\n"
    );
    write(folder.path(), "s.yaml", &text);
    let (code, out, err) = run(folder.path(), &[]);
    assert_eq!(code, 0, "{out}{err}");
    let snapshot = read(folder.path(), "s.snap");
    let lines: Vec<&str> = snapshot.lines().map(str::trim).collect();
    let chains = |server: &str| {
        let places = lines.iter().enumerate().filter(|(_, line)| **line == format!("{server} app server 17070"));
        places.map(|(place, _)| lines[place + 1]).collect::<Vec<_>>()
    };
    for workload in ["echo-v1", "echo-v2"] {
        assert_eq!(chains(&format!("echo-grpc/{workload}/0")), ["chain inbound-plaintext: plaintext"], "{snapshot}");
        assert_eq!(
            chains(&format!("shop/{workload}/0")),
            ["chain inbound-plaintext: plaintext", "chain inbound-mtls: mTLS"],
            "{snapshot}"
        );
        assert!(chains(&format!("{workload}/0")).is_empty(), "{snapshot}");
    }
}

#[test]
fn the_rules_of_a_policy_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    scenario_with(folder.path(), "policy.yaml");
    let policy = |path: &str| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
             metadata: {{name: allow-echo, namespace: echo-grpc}}\n\
             spec:\n  action: ALLOW\n  rules:\n  - to:\n    - operation: {{paths: [\"{path}\"]}}\n"
        )
    };
    let texts = [policy("/proto.EchoTestService/*"), policy("/proto.EchoTestService/Echo")];
    let lines = difference(folder.path(), "policy.yaml", [&texts[0], &texts[1]]);
    let (old, new) = (
        "-policy echo-grpc-allow-echo-0: from any to path /proto.EchoTestService/...",
        "+policy echo-grpc-allow-echo-0: from any to path /proto.EchoTestService/Echo",
    );
    // Of either version.
    assert_eq!(lines, [old, new, old, new]);
}

#[test]
fn what_requests_are_hashed_by_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    scenario_with(folder.path(), "rule.yaml");
    let rule = |header: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo, namespace: echo-grpc}}\n\
             spec:\n  host: echo.echo-grpc.svc.cluster.local\n\
             \x20 trafficPolicy:\n    loadBalancer: {{consistentHash: {{httpHeaderName: {header}}}}}\n"
        )
    };
    let lines = difference(folder.path(), "rule.yaml", [&rule("x-user"), &rule("x-session")]);
    let has = |sign: char, end: &str| lines.iter().any(|line| line.starts_with(sign) && line.ends_with(end));
    assert!(has('-', ", hashed by header x-user") && has('+', ", hashed by header x-session"), "{lines:?}");
}

#[test]
fn the_pauses_between_attempts_are_in_it_unless_they_are_the_usual_ones() {
    let folder = tempfile::tempdir().unwrap();
    scenario(folder.path(), "virtual-service.yaml");
    let virtual_service = |backoff: &str| {
        let retries = format!("  - retries: {{attempts: 2, backoff: {backoff}}}\n    route:");
        read_manifest("virtual-service-20-80.yaml").replace("  - route:", &retries)
    };
    let texts = [virtual_service("25ms"), virtual_service("50ms")];
    let lines = difference(folder.path(), "virtual-service.yaml", [&texts[0], &texts[1]]);
    assert_eq!(
        lines,
        [
            "-any path, 3 attempts on Cancelled or Unavailable",
            "+any path, 3 attempts on Cancelled or Unavailable after 50ms to 500ms"
        ]
    );
}

#[test]
fn line_ends_of_another_system_are_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    scenario(folder.path(), &format!("{EXAMPLES}/virtual-service-20-80.yaml"));
    assert_eq!(run(folder.path(), &[]).0, 0);
    let kept = read(folder.path(), "s.snap");
    write(folder.path(), "s.snap", &kept.replace('\n', "\r\n"));
    let (code, out, err) = run(folder.path(), &[]);
    assert!(code == 0 && out.contains("nothing has changed since s.snap"), "{out}{err}");

    let other = kept.replace(" weight 20\n", " weight 30\n");
    assert_ne!(other, kept);
    write(folder.path(), "s.snap", &other.replace('\n', "\r\n"));
    let (code, out, err) = run(folder.path(), &["--format", "json"]);
    assert_eq!(code, 1, "{out}{err}");
    let to = "to outbound|7070|v1|echo.echo-grpc.svc.cluster.local weight";
    assert_eq!(changed_lines(&out), [format!("-{to} 30"), format!("+{to} 20")]);
}

#[test]
fn a_snapshot_in_no_folder_is_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let text = "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nmesh: {istio: \"1.32\"}\nsteps:\n- wait: 1s\n";
    write(folder.path(), "s.yaml", text);
    for args in [&[][..], &["--update-snapshot"]] {
        let (code, out, err) = run_with(folder.path(), "nodir/s.snap", args);
        assert!(code == 2 && err.contains("--snapshot nodir/s.snap: cannot write there: "), "{args:?}: {err}");
        assert!(out.is_empty(), "{args:?}: {out}");
    }
}
