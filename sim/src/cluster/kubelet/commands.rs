//! The commands that exec probes and hooks find in a container.
//!
//! Images are Rust functions: there is no file system full of programs. What is not listed here exits 127, as a shell
//! says it, and the message lists what there is.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hermesh_agent::wait::Wait;
use hermesh_runtime::{Runtime, http1};

use super::grpc_health_probe;

/// What can be run.
const KNOWN: &str = "pilot-agent, grpc_health_probe, true, false, sleep";

/// Runs `command` in the container behind `rt`. The error says what `kubectl describe pod` would.
pub(crate) async fn run(rt: &Runtime, command: &[String]) -> Result<(), String> {
    let Some((program, args)) = command.split_first() else { return Err("the command is empty".to_owned()) };
    match program.rsplit('/').next().unwrap_or_default() {
        "true" => Ok(()),
        "false" => Err("exit status 1".to_owned()),
        "sleep" => sleep(args).await,
        "pilot-agent" => pilot_agent(rt, args).await,
        "grpc_health_probe" => grpc_health_probe::run(rt, args).await,
        other => Err(format!("exit status 127: command `{other}` is not found; images here know {KNOWN}")),
    }
}

async fn sleep(args: &[String]) -> Result<(), String> {
    let [time] = args else { return Err("exit status 1: sleep wants one argument".to_owned()) };
    let seconds = time.strip_suffix('s').unwrap_or(time).parse::<f64>();
    let Some(time) = seconds.ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) else {
        return Err(format!("exit status 1: sleep: invalid time interval `{time}`"));
    };
    tokio::time::sleep(time).await;
    Ok(())
}

async fn pilot_agent(rt: &Runtime, args: &[String]) -> Result<(), String> {
    match args.split_first() {
        Some((subcommand, args)) if subcommand == "wait" => {
            let wait = Wait::parse(args).map_err(|error| format!("exit status 255: {error}"))?;
            wait.run(rt).await.map_err(|error| format!("exit status 255: {error}"))
        }
        Some((subcommand, args)) if subcommand == "request" => request(rt, args).await,
        _ => Err("exit status 255: pilot-agent: only `wait` and `request` are known here".to_owned()),
    }
}

/// `pilot-agent request METHOD PATH`, to the agent's status port.
async fn request(rt: &Runtime, args: &[String]) -> Result<(), String> {
    let [method, path, ..] = args else { return Err("exit status 255: request wants a method and a path".to_owned()) };
    let status_port = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 15020);
    let request = http::Request::builder().method(method.as_str()).uri(format!("/{}", path.trim_start_matches('/')));
    let request = request.header("host", "localhost").body(bytes::Bytes::new());
    let request = request.map_err(|error| format!("exit status 255: {error}"))?;
    let response = http1::send(rt, status_port, request, Duration::from_secs(60)).await;
    match response {
        Ok(response) if response.status.is_success() => Ok(()),
        Ok(response) => Err(format!("exit status 255: {}", response.status)),
        Err(error) => Err(format!("exit status 255: {error}")),
    }
}
