//! The program `hermesh-agent` as a kubelet sees it: one clear line and pilot-agent's exit code.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crate::common::istiod::ControlPlane;
use crate::common::{PodFiles, eventually};
use hermesh_istiod::ca::{AUDIENCE, ServiceAccount, SignedTokens, StoredRoot};
use hermesh_runtime::{Runtime, os};
use hermesh_test_support::{Program, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const ROOT: &str = "var/run/secrets/istio/root-cert.pem";
const TOKEN: &str = "var/run/secrets/tokens/istio-token";

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

#[tokio::test]
async fn a_root_certificate_that_is_not_there_is_named() {
    let root = tempfile::tempdir().unwrap();
    let output = run(agent(root.path()).env("PROXY_CONFIG", "{statusPort: 0}")).await;
    ends_with_255(&output, "var/run/secrets/istio/root-cert.pem: No such file or directory");
}

#[tokio::test]
async fn a_status_port_in_use_is_named() {
    let root = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let output = run(agent(root.path()).env("PROXY_CONFIG", format!("{{statusPort: {port}}}"))).await;
    ends_with_255(&output, &format!("listen on 0.0.0.0:{port}: Address already in use"));
}

#[tokio::test]
async fn a_configuration_that_does_not_parse_is_refused_and_leaves_nothing_behind() {
    let root = tempfile::tempdir().unwrap();
    let output = run(agent(root.path()).env("PROXY_CONFIG", "{statusPort: [")).await;
    ends_with_255(&output, "PROXY_CONFIG");
    let output = run(agent(root.path()).env("INSTANCE_IP", "nowhere")).await;
    ends_with_255(&output, "environment variable INSTANCE_IP=`nowhere`: expected an IP address");
    assert_eq!(root.path().read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_root_that_is_no_certificate_and_a_folder_that_cannot_be_written_are_named() {
    let (rt, pod) = (os::runtime(), PodFiles::new());
    let agent = || {
        let mut agent = agent(pod.root());
        agent.env("PROXY_CONFIG", "{statusPort: 0}");
        agent
    };
    for (contents, problem) in [("no PEM", NO_ROOT), ("", NO_ROOT), (BAD_PEM, "root certificate 1 of the trust bundle")]
    {
        pod.write(&rt, ROOT, contents).await;
        let output = run(&mut agent()).await;
        ends_with_255(&output, &format!("{ROOT}: {problem}"));
    }
    let root = StoredRoot::generate(&rt, "cluster.local").cert_pem;
    pod.write(&rt, ROOT, &format!("{BAD_PEM}{root}")).await;
    let output = run(agent().env("GRPC_XDS_BOOTSTRAP", format!("/{ROOT}/proxy/bootstrap.json"))).await;
    ends_with_255(&output, &format!("write {}/proxy/bootstrap.json: Not a directory", pod.path(ROOT).display()));
    for left in ["etc/istio/proxy/XDS", "etc/istio/proxy/grpc-bootstrap.json"] {
        assert!(!pod.path(left).exists(), "{left} is left behind");
    }
}

const NO_ROOT: &str = "trust bundle holds no root certificate; expected at least one CERTIFICATE block";
const BAD_PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

/// A pod with a root, and an istiod that knows its token.
struct World {
    rt: Runtime,
    root: StoredRoot,
    tokens: Arc<SignedTokens>,
    istiod: ControlPlane,
    pod: PodFiles,
}

impl World {
    async fn start() -> Self {
        let rt = os::runtime();
        let root = StoredRoot::generate(&rt, "cluster.local");
        let tokens = Arc::new(SignedTokens::new(&rt, root.key_pem.as_bytes()));
        let istiod = ControlPlane::start(&root, &tokens, "127.0.0.1:0".parse().unwrap()).await;
        let pod = PodFiles::new();
        pod.write(&rt, ROOT, &root.cert_pem).await;
        Self { rt, root, tokens, istiod, pod }
    }

    async fn write_token(&self) {
        let token = self.tokens.mint(&ServiceAccount::new("demo", "default"), AUDIENCE, Duration::from_secs(600));
        self.pod.write(&self.rt, TOKEN, &token).await;
    }

    fn run_agent(&self) -> Running {
        let proxy = format!(r#"{{"discoveryAddress":"localhost:{}","statusPort":0}}"#, self.istiod.address.port());
        let log = self.pod.path("log");
        let mut agent = agent(self.pod.root());
        agent
            .envs([("PROXY_CONFIG", proxy.as_str()), ("OUTPUT_CERTS", "/var/lib/istio/data"), ("HERMESH_LOG", "info")])
            .envs([("POD_NAME", "app-0"), ("POD_NAMESPACE", "demo"), ("INSTANCE_IP", "127.0.0.1")])
            .stderr(Stdio::from(File::create(&log).unwrap()));
        Running { program: Program::start(&mut agent), log }
    }

    /// What the agent has made of certificates, half-written ones included.
    fn published(&self) -> Vec<PathBuf> {
        let folder = self.pod.path("var/lib/istio/data").read_dir().unwrap();
        folder.map(|entry| entry.unwrap().path()).collect()
    }

    async fn certificate_comes(&self) {
        eventually("a certificate", async || self.pod.path("var/lib/istio/data/cert-chain.pem").exists()).await;
    }
}

/// An agent's process and its log.
struct Running {
    program: Program,
    log: PathBuf,
}

impl Running {
    /// Waits for a line of the log that has all of these words.
    async fn tells(&mut self, words: &[&str]) {
        let (mut told, mut has_ended) = (String::new(), false);
        eventually(&format!("a line with {words:?}"), async || {
            has_ended = self.program.has_ended();
            told = String::from_utf8_lossy(&os::runtime().read(&self.log).await.unwrap()).into_owned();
            has_ended || told.lines().any(|line| words.iter().all(|word| line.contains(word)))
        })
        .await;
        assert!(!has_ended, "{told}");
    }

    async fn ends_well_when_told_to(self) {
        kill(Pid::from_raw(self.program.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        assert_eq!(self.program.end().await.status.code(), Some(0));
    }
}

#[tokio::test]
async fn without_a_token_the_agent_says_so_and_asks_until_there_is_one() {
    let world = World::start().await;
    let mut agent = world.run_agent();
    agent.tells(&["agent.token.missing", TOKEN, "No such file or directory"]).await;
    agent.tells(&["cert.request.failed", "Unauthenticated"]).await;
    assert_eq!(world.published(), Vec::<PathBuf>::new());
    world.write_token().await;
    world.certificate_comes().await;
    agent.ends_well_when_told_to().await;
}

#[tokio::test]
async fn with_a_wrong_token_the_agent_tells_who_refuses_it_and_asks_again() {
    let world = World::start().await;
    world.pod.write(&world.rt, TOKEN, "no token").await;
    let mut agent = world.run_agent();
    let (istiod, token) = (&world.istiod.address, world.pod.path(TOKEN));
    let refusal = format!("localhost:{} does not accept the token in {}", istiod.port(), token.display());
    agent.tells(&["cert.request.failed", "Unauthenticated", &refusal, "retry_in_ms"]).await;
    assert_eq!(world.published(), Vec::<PathBuf>::new());
    world.write_token().await;
    world.certificate_comes().await;
    agent.ends_well_when_told_to().await;
}

#[tokio::test]
async fn with_a_root_of_another_authority_the_agent_says_so_and_connects_once_it_is_replaced() {
    let world = World::start().await;
    world.write_token().await;
    let other = StoredRoot::generate(&world.rt, "cluster.local");
    world.pod.write(&world.rt, ROOT, &other.cert_pem).await;
    let mut agent = world.run_agent();
    agent
        .tells(&["cert.request.failed", "Unavailable", "certificate signed by unknown authority", "retry_in_ms"])
        .await;
    assert_eq!(world.published(), Vec::<PathBuf>::new());
    // What is no certificate is passed over.
    world.pod.write(&world.rt, ROOT, &format!("{BAD_PEM}{}", world.root.cert_pem)).await;
    world.certificate_comes().await;
    agent.ends_well_when_told_to().await;
    assert!(!world.pod.path("etc/istio/proxy/XDS").exists(), "the socket goes with the agent");
}

#[tokio::test]
async fn help_tells_of_the_environment_and_the_exit_codes() {
    let output = run(agent(Path::new("/")).arg("--help")).await;
    let help = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0));
    for word in ["PROXY_CONFIG", "HERMESH_ROOT", "Exit codes"] {
        assert!(help.contains(word), "{help}");
    }
    assert!(help.lines().all(|line| line.len() <= 120), "{help}");
}
