//! istiod as an ordinary process: YAML files in, xDS and certificates out.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use hermesh_istiod::ca::{AUDIENCE, ServiceAccount, SignedTokens};
use hermesh_istiod::files::{Files, FilesError};
use hermesh_istiod::push::{Write, Writer};
use hermesh_istiod::state::{StateError, StateFolder};
use hermesh_istiod::watch::{WatchEvent, WatchSender, watch};
use hermesh_istiod::yaml::Styles;
use hermesh_istiod::{Config, Istiod, IstiodError};
use hermesh_runtime::os::{LogFormat, LogLevel, Logs};
use hermesh_runtime::{Runtime, go_duration};

/// Istio's control plane for proxyless gRPC, without a cluster: serves what YAML files say, and follows them
#[derive(Debug, Parser)]
#[command(name = "fake-istiod", version, max_term_width = 110, after_help = AFTER_HELP)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

const AFTER_HELP: &str = "\
Examples:
  fake-istiod mesh/                                              xDS in plain text on port 15010
  fake-istiod --state state/ mesh/                               also TLS and certificates on port 15012
  fake-istiod token --state state/ --namespace shop --service-account cart

The files hold objects as `kubectl get -o yaml` shows them, EndpointSlices and Pods included: no controllers run here.
GET /ready and /debug/syncz (what each client was sent and what it said to it) answer on the monitoring port.

Exit codes: 0 it was told to end, 1 a port or a file is of no use, 2 arguments or YAML are not understood.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a token by which a workload proves who it is
    Token(Token),
}

#[derive(Debug, Args)]
struct Serve {
    /// YAML files, or folders of them; read again when they change
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Folder that keeps the authority: `root-cert.pem`, which workloads trust, and `ca-key.pem`
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Where to serve xDS without TLS; `off` for nowhere
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15010")]
    plaintext: Port,
    /// Where to serve xDS and certificates with TLS; needs --state [default: 127.0.0.1:15012 with --state]
    #[arg(long, value_name = "ADDRESS", requires = "state")]
    tls: Option<Port>,
    /// Where to answer GET /ready
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    readiness: Port,
    /// Where to answer GET /ready, /version and /debug/syncz
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:15014")]
    monitoring: Port,
    /// Write the addresses as JSON into this file once all ports listen; of use with port 0
    #[arg(long, value_name = "FILE")]
    addresses: Option<PathBuf>,
    /// How often to look whether the files changed
    #[arg(long, value_name = "DURATION", default_value = "200ms", value_parser = interval)]
    look: Duration,
    /// The domain of all SPIFFE IDs
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    trust_domain: String,
    /// Which events to write to standard error: off, info, debug or wire [default: $HERMESH_LOG, or info]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<LogLevel>,
    /// How to write them: text or json [default: $HERMESH_LOG_FORMAT, or text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Args)]
struct Token {
    /// The folder of the fake-istiod that is to accept it
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// The workload's namespace
    #[arg(long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// The workload's service account
    #[arg(long, value_name = "NAME", default_value = "default")]
    service_account: String,
    /// How long it is valid
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = go_duration::parse)]
    life: Duration,
}

/// An address to listen on, or none.
#[derive(Clone, Copy, Debug)]
struct Port(Option<SocketAddr>);

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        let address = text.parse().map_err(|_| "expected IP:PORT, such as 127.0.0.1:15010, or `off`")?;
        Ok(Self(Some(address)))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    match go_duration::parse(text) {
        Ok(Duration::ZERO) => Err("expected more than nothing".to_owned()),
        Ok(interval) => Ok(interval),
        Err(error) => Err(error.to_string()),
    }
}

/// Why the program ends, other than by being told to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Istiod(#[from] IstiodError),
    #[error("{0}")]
    Environment(String),
    #[error("{path}: {error}")]
    Addresses { path: PathBuf, error: std::io::Error },
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Files(FilesError::Mistakes { .. }) | Self::Environment(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let rt = hermesh_runtime::os::runtime();
    let done = match cli.command {
        Some(Command::Token(token)) => print_token(&rt, token).await,
        None => serve(&rt, cli.serve).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let text = match &failure {
                Failure::Files(error @ FilesError::Mistakes { .. }) => error.render(&Styles::coloured()),
                other => format!("{}: {other}\n", Cli::command().get_name()),
            };
            anstream::eprint!("{text}");
            failure.exit_code()
        }
    }
}

async fn print_token(rt: &Runtime, token: Token) -> Result<(), Failure> {
    let tokens = StateFolder::new(rt, token.state).tokens().await?;
    let account = ServiceAccount::new(token.namespace, token.service_account);
    anstream::println!("{}", tokens.mint(&account, AUDIENCE, token.life));
    Ok(())
}

async fn serve(rt: &Runtime, serve: Serve) -> Result<(), Failure> {
    let usual = Logs::from_environment(rt).map_err(Failure::Environment)?;
    let (format, level) = (serve.log_format.unwrap_or(usual.format), serve.log_level.unwrap_or(usual.level));
    Logs { format, level }.install();
    let files = Files::new(rt, serve.paths.clone());
    let contents = files.read().await?;
    let mut istiod_config = config(rt, &serve).await?;
    let (sender, source) = watch();
    istiod_config.writer = Some(in_memory(rt, &sender));
    let istiod = Istiod::new(rt.clone(), istiod_config, source)?;
    let status = istiod.status();
    let _following = rt.spawn("files", files.follow(contents, sender, serve.look)).abort_on_drop();
    let running = istiod.run();
    tokio::pin!(running);
    if let Some(path) = serve.addresses {
        let listening = async {
            loop {
                let changed = status.changed();
                let state = status.state();
                if state.listening {
                    return state.addresses;
                }
                changed.await;
            }
        };
        let addresses = tokio::select! {
            biased;
            ended = &mut running => return Ok(ended?),
            addresses = listening => addresses,
        };
        let json = serde_json::to_vec(&addresses).expect("addresses are plain text");
        rt.write_atomic(&path, json, 0o644).await.map_err(|error| Failure::Addresses { path, error })?;
    }
    Ok(running.await?)
}

/// What istiod itself writes lives as long as it does.
fn in_memory(rt: &Runtime, sender: &WatchSender) -> Writer {
    let (rt, sender) = (rt.clone(), sender.clone());
    Arc::new(move |write, cause| {
        let event = match write {
            Write::Apply(mut object) => {
                object.metadata_mut().creation_timestamp.get_or_insert_with(|| rt.wall().as_secs());
                WatchEvent::Applied(object)
            }
            Write::Delete(key) => WatchEvent::Deleted(key),
        };
        sender.send(event, cause);
    })
}

async fn config(rt: &Runtime, serve: &Serve) -> Result<Config, Failure> {
    let default_tls = || Some(SocketAddr::from(([127, 0, 0, 1], 15012)));
    let (stored_root, tokens, tls) = match &serve.state {
        Some(path) => {
            let folder = StateFolder::new(rt, path.clone());
            let root = folder.root(&serve.trust_domain).await?;
            (Some(root), folder.tokens().await?, serve.tls.map_or_else(default_tls, |port| port.0))
        }
        // Nobody asks for tokens where there is no TLS port.
        None => (None, SignedTokens::new(rt, &[]), None),
    };
    let mut config = Config::new(Arc::new(tokens));
    config.trust_domain.clone_from(&serve.trust_domain);
    config.stored_root = stored_root;
    config.plaintext = serve.plaintext.0;
    config.tls = tls;
    config.readiness = serve.readiness.0;
    config.monitoring = serve.monitoring.0;
    Ok(config)
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("off"),
        }
    }
}
