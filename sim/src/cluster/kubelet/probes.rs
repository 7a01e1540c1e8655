//! Runs probes: timers around [`Prober`], and the requests themselves.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hermesh_istiod::objects::{Container, HttpGetAction, HttpScheme, IntOrString, Probe, ProbeHandler};
use hermesh_runtime::channel::ChannelOptions;
use hermesh_runtime::{EventId, Runtime, TaskGuard, describe_io, http1};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::probe::{Prober, Purpose, Timing, Verdict};
use super::worker::Message;
use super::{commands, health};
use crate::cluster::events::{ProbeTurned, Probed};
use crate::engine::{ContainerId, World};
use crate::signal::Signal;

/// One run of one container, as its probes see it.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) world: World,
    /// Where HTTP, TCP and gRPC probes come from.
    pub(super) node: Runtime,
    /// The node, as the trace names it.
    pub(super) at: String,
    pub(super) pod_ip: IpAddr,
    /// `namespace/pod/container`.
    pub(super) name: String,
    pub(super) index: usize,
    pub(super) id: ContainerId,
    pub(super) container: Arc<Container>,
    /// When the kubelet took the pod up: all its probes tick from here.
    pub(super) added: Instant,
    pub(super) started: Instant,
    pub(super) messages: mpsc::UnboundedSender<Message>,
}

/// Starts the container's probes. They end when the answer is dropped.
pub(super) fn start(target: &Target) -> Vec<TaskGuard> {
    let container = &target.container;
    let startup = Signal::default();
    if container.startup_probe.is_none() {
        startup.raise();
    }
    let probes = [
        (Purpose::Startup, &container.startup_probe),
        (Purpose::Liveness, &container.liveness_probe),
        (Purpose::Readiness, &container.readiness_probe),
    ];
    let mut tasks = Vec::new();
    for (purpose, probe) in probes {
        let Some(probe) = probe.clone() else { continue };
        let run = repeat(target.clone(), purpose, probe, startup.clone());
        tasks.push(target.world.runtime().spawn("kubelet.probe", run).abort_on_drop());
    }
    tasks
}

/// `startup` is raised when the container has come up.
async fn repeat(target: Target, purpose: Purpose, probe: Probe, startup: Signal) {
    let mut came_up = startup.listen();
    let timing = timing(&probe);
    let mut prober = Prober::new(purpose, timing, target.started);
    loop {
        let tick = next_tick(target.added, timing.period, Instant::now());
        let waits_for_startup = purpose != Purpose::Startup && !startup.is_raised();
        tokio::select! {
            biased;
            // The kubelet does not wait for the next tick once the container has come up.
            () = came_up.raised(), if waits_for_startup => {}
            () = tokio::time::sleep_until(tick) => {}
        }
        if !prober.due(Instant::now(), startup.is_raised()) {
            continue;
        }
        let result = once(&target, &probe, timing.timeout).await;
        let probed = Probed { container: target.name.clone(), probe: purpose, error: result.as_ref().err().cloned() };
        let event = target.world.emit(&target.at, None, probed);
        let Some(verdict) = prober.result(result.is_ok()) else { continue };
        let turned = ProbeTurned {
            container: target.name.clone(),
            probe: purpose,
            passing: verdict == Verdict::Passing,
            error: result.err(),
        };
        let event = target.world.emit(&target.at, event, turned);
        tell(&target, purpose, verdict, event);
        if purpose == Purpose::Startup && verdict == Verdict::Passing {
            startup.raise();
        }
        let over = purpose == Purpose::Startup || (purpose == Purpose::Liveness && verdict == Verdict::Failing);
        if over {
            return;
        }
    }
}

fn tell(target: &Target, purpose: Purpose, verdict: Verdict, cause: Option<EventId>) {
    let message = Message::Probe { index: target.index, id: target.id, purpose, verdict, cause };
    // A worker that is gone has no use for it.
    let _ = target.messages.send(message);
}

fn timing(probe: &Probe) -> Timing {
    let seconds = |seconds: u32| Duration::from_secs(seconds.into());
    Timing {
        initial_delay: seconds(probe.initial_delay_seconds),
        period: seconds(probe.period_seconds.max(1)),
        timeout: seconds(probe.timeout_seconds.max(1)),
        success_threshold: probe.success_threshold,
        failure_threshold: probe.failure_threshold,
    }
}

/// The first multiple of `period` since `added` that is after `now`.
fn next_tick(added: Instant, period: Duration, now: Instant) -> Instant {
    let elapsed = now.saturating_duration_since(added);
    let ticks = elapsed.as_nanos() / period.as_nanos() + 1;
    added + period * u32::try_from(ticks).unwrap_or(u32::MAX)
}

async fn once(target: &Target, probe: &Probe, timeout: Duration) -> Result<(), String> {
    let address = |port: &IntOrString, host: &Option<String>| {
        let port = port_number(port, &target.container)?;
        let ip = match host {
            Some(host) => host.parse().map_err(|_| format!("host `{host}` is no IP address"))?,
            None => target.pod_ip,
        };
        Ok::<_, String>(SocketAddr::new(ip, port))
    };
    match &probe.handler {
        ProbeHandler::TcpSocket(action) => tcp(target, address(&action.port, &action.host)?, timeout).await,
        ProbeHandler::HttpGet(action) => {
            http_get(&target.node, action, address(&action.port, &action.host)?, timeout).await
        }
        ProbeHandler::Grpc(action) => {
            let address = SocketAddr::new(target.pod_ip, action.port);
            let plain = ChannelOptions::default();
            let checked = health::check(&target.node, address, plain, &action.service, timeout).await;
            checked.map_err(|unhealthy| unhealthy.to_string())
        }
        ProbeHandler::Exec(action) => {
            let run = in_container(&target.world, target.id, action.command.clone());
            match tokio::time::timeout(timeout, run).await {
                Ok(result) => result,
                Err(_) => Err(format!("command {:?} timed out", action.command)),
            }
        }
    }
}

async fn tcp(target: &Target, address: SocketAddr, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, target.node.connect(address.into())).await {
        Ok(Ok(_stream)) => Ok(()),
        Ok(Err(error)) => Err(format!("dial tcp {address}: connect: {}", describe_io(&error))),
        Err(_) => Err(format!("dial tcp {address}: i/o timeout")),
    }
}

/// An HTTP GET of a probe or a hook: 200 to 399 is success.
pub(super) async fn http_get(
    rt: &Runtime,
    action: &HttpGetAction,
    address: SocketAddr,
    timeout: Duration,
) -> Result<(), String> {
    if action.scheme == HttpScheme::HTTPS {
        return Err("scheme HTTPS is not played here; probe a plain port".to_owned());
    }
    let path = format!("/{}", action.path.trim_start_matches('/'));
    let mut request = http::Request::builder().method("GET").uri(path).header("user-agent", "kube-probe/1.32");
    let named_host = action.http_headers.iter().any(|header| header.name.eq_ignore_ascii_case("host"));
    if !named_host {
        request = request.header("host", address.to_string());
    }
    for header in &action.http_headers {
        request = request.header(header.name.to_ascii_lowercase(), &header.value);
    }
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    match http1::send(rt, address, request, timeout).await {
        Ok(response) if (200..400).contains(&response.status.as_u16()) => Ok(()),
        Ok(response) => Err(format!("HTTP probe failed with statuscode: {}", response.status.as_u16())),
        Err(error) => Err(format!("Get \"http://{address}{}\": {error}", action.path)),
    }
}

/// Runs a command in a container, as part of its process; it ends with the container.
pub(super) async fn in_container(world: &World, id: ContainerId, command: Vec<String>) -> Result<(), String> {
    if world.status(id).is_some() {
        return Err("the container does not run".to_owned());
    }
    let rt = world.runtime_in(id);
    let (result, answer) = tokio::sync::oneshot::channel();
    let process = rt.clone();
    let _running = rt
        .spawn("exec", async move {
            let _ = result.send(commands::run(&process, &command).await);
        })
        .abort_on_drop();
    answer.await.unwrap_or_else(|_| Err("exit status 137: the container ended meanwhile".to_owned()))
}

/// The number behind a port's number or name.
pub(super) fn port_number(port: &IntOrString, container: &Container) -> Result<u16, String> {
    match port {
        IntOrString::Int(number) => u16::try_from(*number).map_err(|_| format!("port {number} is out of range")),
        IntOrString::String(name) => {
            let named = container.ports.iter().find(|port| port.name.as_ref() == Some(name));
            named.map(|port| port.container_port).ok_or_else(|| format!("couldn't find port: {name} in container"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_keep_step_with_the_pod() {
        let added = Instant::now();
        let period = Duration::from_secs(10);
        for (now_ms, expected_s) in [(0, 10), (9_999, 10), (10_000, 20), (25_000, 30)] {
            let tick = next_tick(added, period, added + Duration::from_millis(now_ms));
            assert_eq!((tick - added).as_secs(), expected_s, "{now_ms} ms");
        }
    }

    #[test]
    fn a_port_may_be_named() {
        let port = hermesh_istiod::objects::ContainerPort {
            name: Some("tcp-health-port".to_owned()),
            container_port: 3333,
            ..Default::default()
        };
        let container = Container { ports: vec![port], ..Container::default() };
        assert_eq!(port_number(&IntOrString::String("tcp-health-port".to_owned()), &container), Ok(3333));
        assert_eq!(port_number(&IntOrString::Int(8080), &container), Ok(8080));
        assert!(port_number(&IntOrString::String("http".to_owned()), &container).is_err());
    }
}
