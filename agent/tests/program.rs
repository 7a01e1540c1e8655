//! The program `hermesh-agent` as a kubelet sees it: one clear line and pilot-agent's exit code.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

fn agent(root: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hermesh-agent"));
    command.args(["proxy", "sidecar"]).env_clear().env("HERMESH_ROOT", root).env("HERMESH_LOG", "off");
    command
}

fn ends_with_255(output: &Output, line: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(255), "{told}");
    assert!(told.contains(line) && told.lines().count() == 1, "{told}");
}

#[test]
fn a_root_certificate_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let output = agent(root.path()).env("PROXY_CONFIG", "{statusPort: 0}").output().unwrap();
    ends_with_255(&output, "var/run/secrets/istio/root-cert.pem: No such file or directory");
}

#[test]
fn a_status_port_in_use_is_named() {
    let root = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = agent(root.path()).env("PROXY_CONFIG", format!("{{statusPort: {port}}}")).output().unwrap();
    ends_with_255(&output, &format!("listen on 0.0.0.0:{port}: Address already in use"));
}

#[test]
fn a_configuration_that_does_not_parse_is_refused_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let output = agent(root.path()).env("PROXY_CONFIG", "{statusPort: [").output().unwrap();
    ends_with_255(&output, "PROXY_CONFIG");
    let output = agent(root.path()).env("INSTANCE_IP", "nowhere").output().unwrap();
    ends_with_255(&output, "environment variable INSTANCE_IP=`nowhere`: expected an IP address");
    assert_eq!(root.path().read_dir().unwrap().count(), 0);
}

#[test]
fn help_tells_of_the_environment_and_the_exit_codes() {
    let output = agent(Path::new("/")).arg("--help").output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for word in ["PROXY_CONFIG", "HERMESH_ROOT", "Exit codes"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 120), "{help}");
}
