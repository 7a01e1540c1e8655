//! The program `hermesh-echo` as a kubelet sees it: one clear line and the exit code of Istio's echo.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use hermesh_runtime::os;
use hermesh_test_support::run;

const FLAGS: [&str; 3] = ["--grpc", "--port", "--tcp"];

/// An echo on this process's address, with these ports and no environment but what a test gives it.
fn echo_on(ports: [u16; 3]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermesh-echo"));
    command.args(FLAGS.iter().zip(ports).map(|(flag, port)| format!("{flag}={port}")));
    command.arg("--bind-ip").env_clear().env("INSTANCE_IP", own_address().to_string()).env("HERMESH_LOG", "off");
    command
}

fn echo() -> Command {
    echo_on(free_ports())
}

/// A loopback address that no other process has.
fn own_address() -> Ipv4Addr {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    assert!(high < 64, "process ids have 22 bits");
    Ipv4Addr::new(127, 64 + high, middle, low)
}

/// Ports of this process's address that nobody else was given, below those that the kernel chooses.
fn free_ports() -> [u16; 3] {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    [(); 3].map(|()| NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn ends_with_255(mut command: impl std::borrow::BorrowMut<Command>, line: &str) {
    let output = run(command.borrow_mut()).await;
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{told}");
    assert!(told.starts_with("hermesh-echo: ") && told.contains(line) && told.lines().count() == 1, "{told}");
}

/// A file of this name and contents.
async fn file(name: &str, contents: &'static str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    os::runtime().write(&path, contents, 0o644).await.unwrap();
    path
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind((own_address(), 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for index in 0..FLAGS.len() {
        let mut ports = free_ports();
        ports[index] = port;
        ends_with_255(echo_on(ports), &format!("port {port}: Address already in use")).await;
    }
    let metrics = format!("--metrics={port}");
    ends_with_255(echo().arg(metrics), &format!("port {port}: Address already in use")).await;
}

#[tokio::test]
async fn arguments_and_an_environment_that_are_not_understood_are_named() {
    ends_with_255(echo().arg("--grcp=7070"), "unknown flag `--grcp=7070`").await;
    ends_with_255(echo().arg("--grpc=seven"), "flag `--grpc`: `seven` is no port").await;
    ends_with_255(echo().env("HERMESH_LOG", "loud"), "HERMESH_LOG: `loud` is no log level").await;
}

#[tokio::test]
async fn an_xds_port_without_a_usable_bootstrap_is_an_error_that_names_it() {
    let with_xds = || {
        let ports = free_ports();
        let mut command = echo_on(ports);
        command.arg(format!("--xds-grpc-server={}", ports[0]));
        command
    };
    ends_with_255(with_xds(), "GRPC_XDS_BOOTSTRAP").await;
    let missing = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-bootstrap.json");
    let line = format!("{}: No such file or directory", missing.display());
    ends_with_255(with_xds().env("GRPC_XDS_BOOTSTRAP", &missing), &line).await;
    for (name, contents, problem) in [
        ("garbage.json", "\u{1}garbage", "expected value at line 1 column 1"),
        ("half.json", r#"{"xds_servers": [{"server_uri": "unix"#, "EOF while parsing a string at line 1 column 37"),
        ("empty.json", "{}", "required field `xds_servers` not found or empty"),
    ] {
        let path = file(name, contents).await;
        let origin = format!("bootstrap file {}: ", path.display());
        for told in [origin.as_str(), problem] {
            ends_with_255(with_xds().env("GRPC_XDS_BOOTSTRAP", &path), told).await;
        }
    }
}

#[tokio::test]
async fn help_tells_of_the_environment_and_the_exit_codes() {
    let output = run(echo().arg("--help")).await;
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for word in ["--xds-grpc-server", "GRPC_XDS_BOOTSTRAP", "EXPOSE_GRPC_ADMIN", "Exit codes"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 120), "{help}");
}
