//! The program `fake-istiod` as a shell sees it: what it prints, what it leaves behind, what it exits with.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hermesh_runtime::os;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n";

fn program() -> Command {
    let mut command = bare_program();
    command.args(["--plaintext", "127.0.0.1:0"]);
    command
}

fn bare_program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-istiod"));
    command.args(["--monitoring", "127.0.0.1:0", "--readiness", "off"]);
    command.env_remove("HERMESH_LOG").env_remove("HERMESH_LOG_FORMAT");
    command
}

async fn file(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    os::runtime().write(&path, text.to_owned(), 0o644).await.unwrap();
    path
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn it_says_where_it_listens_and_ends_well_when_told_to() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let addresses = place.path().join("addresses.json");
    let running = program()
        .arg("--state")
        .arg(place.path().join("state"))
        .args(["--tls", "127.0.0.1:0", "--log-format", "json", "--addresses"])
        .args([&addresses, &mesh])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let rt = os::runtime();
    let bound = tokio::time::timeout(Duration::from_secs(30), async {
        while !rt.exists(&addresses).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let appeared = bound.await;
    let stopped = kill(Pid::from_raw(running.id().try_into().unwrap()), Signal::SIGTERM);
    let output = running.wait_with_output().unwrap();
    assert!(appeared.is_ok(), "{}", told(&output));
    stopped.unwrap();

    let written: serde_json::Value = serde_json::from_slice(&rt.read(&addresses).await.unwrap()).unwrap();
    for port in ["plaintext", "tls", "monitoring"] {
        let address: std::net::SocketAddr = written[port].as_str().unwrap().parse().unwrap();
        assert_ne!(address.port(), 0);
    }
    assert_eq!(written["readiness"], serde_json::Value::Null);
    assert_eq!(output.status.code(), Some(0));
    let events: Vec<serde_json::Value> =
        told(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(events.iter().any(|event| event["kind"] == "istiod.serving"), "{events:?}");
}

#[tokio::test]
async fn all_mistakes_are_told_and_nothing_is_served() {
    let place = tempfile::tempdir().unwrap();
    let first = file(place.path(), "a.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {nam: demo}\n").await;
    let second = file(place.path(), "b.yaml", "kind: [\n").await;
    let output = program().args([&first, &second]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    for named in ["a.yaml:3", "b.yaml:"] {
        assert!(told(&output).contains(named), "{}", told(&output));
    }
    assert!(!told(&output).contains("istiod.serving"), "{}", told(&output));
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = bare_program().args(["--log-level", "off", "--plaintext", &address]).arg(&mesh).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(told(&output), format!("fake-istiod: listen on {address}: Address already in use (os error 98)\n"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_and_so_is_a_file_that_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let state = mesh.join("state");
    let output = program().arg("--state").arg(&state).arg(&mesh).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).starts_with(&format!("fake-istiod: {}", state.display())), "{}", told(&output));

    let output = program().arg(place.path().join("nothing.yaml")).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).ends_with("nothing.yaml: No such file or directory (os error 2)\n"), "{}", told(&output));
}

#[test]
fn arguments_that_do_not_go_together_are_explained() {
    let output = program().args(["--tls", "127.0.0.1:0", "mesh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("--state <DIR>"), "{}", told(&output));
}
