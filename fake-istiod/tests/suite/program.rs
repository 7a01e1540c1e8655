//! The program `fake-istiod` as a shell sees it: what it prints, what it leaves behind, what it exits with.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hermesh_runtime::os;
use hermesh_test_support::{Program, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n";

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-istiod"));
    command.args(["--plaintext", "127.0.0.1:0", "--monitoring", "127.0.0.1:0", "--readiness", "off"]);
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
    let mut command = program();
    command
        .arg("--state")
        .arg(place.path().join("state"))
        .args(["--tls", "127.0.0.1:0", "--log-format", "json", "--addresses"])
        .args([&addresses, &mesh])
        .stderr(Stdio::piped());
    let running = Program::start(&mut command);
    let rt = os::runtime();
    let bound = tokio::time::timeout(Duration::from_secs(30), async {
        while !rt.exists(&addresses).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let appeared = bound.await;
    let stopped = kill(Pid::from_raw(running.id().try_into().unwrap()), Signal::SIGTERM);
    let output = running.end().await;
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
    let output = run(program().args([&first, &second])).await;
    assert_eq!(output.status.code(), Some(2), "{}", told(&output));
    for named in ["a.yaml:3", "b.yaml:"] {
        assert!(told(&output).contains(named), "{}", told(&output));
    }
    assert!(!told(&output).contains("istiod.serving"), "{}", told(&output));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_and_so_is_a_file_that_is_not_there() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let state = mesh.join("state");
    let output = run(program().arg("--state").arg(&state).arg(&mesh)).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).starts_with(&format!("fake-istiod: {}", state.display())), "{}", told(&output));

    let output = run(program().arg(place.path().join("nothing.yaml"))).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).ends_with("nothing.yaml: No such file or directory (os error 2)\n"), "{}", told(&output));
}

#[tokio::test]
async fn whichever_port_is_in_use_is_named_and_no_addresses_are_told() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for port in ["--plaintext", "--tls", "--readiness", "--monitoring"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fake-istiod"));
        let free = ["--plaintext", "--tls", "--readiness", "--monitoring"].into_iter().filter(|other| *other != port);
        command.args(free.flat_map(|other| [other, "127.0.0.1:0"])).args([port, &address]);
        let (state, addresses) = (place.path().join("state"), place.path().join("addresses.json"));
        command.arg("--state").arg(state).arg("--addresses").arg(&addresses).args(["--log-level", "off"]);
        let output = run(command.arg(&mesh)).await;
        assert_eq!(output.status.code(), Some(1), "{port}: {}", told(&output));
        let line = format!("fake-istiod: listen on {address}: Address already in use (os error 98)\n");
        assert_eq!(told(&output), line, "{port}");
        assert!(!addresses.exists(), "{port}: nobody is sent to ports that nobody serves");
    }
}

#[tokio::test]
async fn an_authority_that_is_broken_is_named_with_a_remedy_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let (key, certificate) = (("ca-key.pem", "no key"), ("root-cert.pem", "no certificate"));
    let half = "it has ca-key.pem but no root-cert.pem";
    for (files, reason) in [(&[key][..], half), (&[key, certificate], "stored root: key: no private key in PEM form")] {
        let state = place.path().join(files.len().to_string());
        os::runtime().create_dir_all(&state, 0o700).await.unwrap();
        for (name, text) in files {
            file(&state, name, text).await;
        }
        let mut serve = program();
        serve.args(["--log-level", "off"]).arg(&mesh);
        let mut token = Command::new(env!("CARGO_BIN_EXE_fake-istiod"));
        token.arg("token");
        for mut command in [serve, token] {
            let output = run(command.arg("--state").arg(&state)).await;
            assert_eq!(output.status.code(), Some(1), "{}", told(&output));
            let line = format!("fake-istiod: state folder {}: {reason}", state.display());
            assert!(told(&output).starts_with(&line) && told(&output).lines().count() == 1, "{}", told(&output));
            assert!(told(&output).ends_with("to begin with a new authority\n"), "{}", told(&output));
        }
        assert_eq!(os::runtime().list(&state).await.unwrap().len(), files.len(), "nothing is added");
    }
}

#[tokio::test]
async fn a_token_of_nobody_and_addresses_that_cannot_be_written_are_errors_of_one_line() {
    let place = tempfile::tempdir().unwrap();
    let mesh = file(place.path(), "mesh.yaml", NAMESPACE).await;
    let state = place.path().join("state");
    let mut token = Command::new(env!("CARGO_BIN_EXE_fake-istiod"));
    let output = run(token.args(["token", "--state"]).arg(&state)).await;
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert!(told(&output).ends_with("holds no authority yet; start fake-istiod with it first\n"), "{}", told(&output));
    assert!(!state.exists(), "to ask makes nothing");

    let addresses = mesh.join("addresses.json");
    let output = run(program().args(["--log-level", "off", "--addresses"]).args([&addresses, &mesh])).await;
    assert_eq!(output.status.code(), Some(1));
    let line = format!("fake-istiod: {}: Not a directory (os error 20)\n", addresses.display());
    assert_eq!(told(&output), line);

    let output = run(program().env("HERMESH_LOG", "loud").arg(&mesh)).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("environment variable HERMESH_LOG: `loud` is no log level"), "{}", told(&output));
}

#[tokio::test]
async fn arguments_that_do_not_go_together_are_explained() {
    let output = run(program().args(["--tls", "127.0.0.1:0", "mesh"])).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(told(&output).contains("--state <DIR>"), "{}", told(&output));
}
