//! A paused container does nothing, and its kernel goes on.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh::engine::{
    Config, ContainerId, ContainerPaused, ContainerResumed, ContainerSpec, ExitReason, Network, PodId, PodSpec,
    Simulation,
};
use hermesh_runtime::{Address, Runtime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn server_address() -> Address {
    Address::Tcp(SocketAddr::new(ip(2), 80))
}

fn pair(network: Network) -> (Simulation, PodId, ContainerId) {
    let mut config = Config::new(1);
    (config.latency, config.network) = (ms(5)..=ms(5), network);
    let simulation = Simulation::new(config);
    let client = simulation.add_pod(PodSpec::new("default/client", [ip(1)]), None);
    let server = simulation.add_pod(PodSpec::new("default/server", [ip(2)]), None);
    let server = simulation.start(server, ContainerSpec::new("server", echo), None);
    (simulation, client, server)
}

async fn echo(rt: Runtime) -> std::io::Result<()> {
    let mut listener = rt.listen(server_address()).await?;
    loop {
        let mut stream = listener.accept().await?;
        rt.spawn("echo", async move {
            while let Ok(byte) = stream.read_u8().await {
                if stream.write_u8(byte).await.is_err() {
                    return;
                }
            }
        });
    }
}

/// Connects, sends ten bytes and tells in which second after its start what happened.
async fn ten_bytes(rt: Runtime) -> std::io::Result<()> {
    let start = Instant::now();
    let mut stream = rt.connect(server_address()).await?;
    let connected = start.elapsed().as_secs();
    for byte in 0..10 {
        stream.write_u8(byte).await?;
    }
    let sent = start.elapsed().as_secs();
    for byte in 0..10 {
        assert_eq!(stream.read_u8().await?, byte);
    }
    Err(std::io::Error::other(format!("connected {connected}, sent {sent}, answered {}", start.elapsed().as_secs())))
}

fn message(simulation: &mut Simulation, container: ContainerId) -> String {
    let exited = simulation.exited(container);
    simulation.block_on(exited).unwrap().message.unwrap()
}

#[test]
fn the_kernel_of_a_paused_server_takes_connections_and_data() {
    for network in [Network::Simulated, Network::Turmoil] {
        let (mut simulation, client, server) = pair(network);
        simulation.run_for(ms(100)).unwrap();
        simulation.pause(server, None).expect("it is recorded");
        assert_eq!(simulation.pause(server, None), None, "it is paused already");
        let client = simulation.start(client, ContainerSpec::new("client", ten_bytes), None);
        simulation.run_for(ms(10_000)).unwrap();
        simulation.resume(server, None).expect("it is recorded");
        assert_eq!(simulation.resume(server, None), None, "it runs already");
        assert_eq!(message(&mut simulation, client), "connected 0, sent 0, answered 10", "{network:?}");
        let recorded = simulation
            .with_trace(|trace| (trace.of::<ContainerPaused>().count(), trace.of::<ContainerResumed>().count()));
        assert_eq!(recorded, (1, 1));
    }
}

#[test]
fn nothing_runs_while_paused_and_timers_that_were_due_fire_afterwards() {
    let (mut simulation, client, _) = pair(Network::Simulated);
    let ticks = |rt: Runtime| async move {
        let start = Instant::now();
        let mut at = Vec::new();
        for _ in 0..3 {
            sleep(ms(1000)).await;
            at.push(start.elapsed().as_millis());
        }
        let (done, result) = tokio::sync::oneshot::channel();
        rt.spawn("later", async move {
            let _ = done.send(());
        });
        let _ = result.await;
        Err::<(), _>(std::io::Error::other(format!("{at:?}")))
    };
    let container = simulation.start(client, ContainerSpec::new("ticks", ticks), None);
    simulation.run_for(ms(1500)).unwrap();
    simulation.pause(container, None);
    simulation.run_for(ms(5000)).unwrap();
    assert!(simulation.status(container).is_none());
    simulation.resume(container, None);
    assert_eq!(message(&mut simulation, container), "[1000, 6500, 7500]");
}

#[test]
fn a_paused_container_dies_of_sigkill_at_once_and_of_sigterm_when_it_is_resumed() {
    let (mut simulation, client, server) = pair(Network::Simulated);
    simulation.run_for(ms(100)).unwrap();
    simulation.pause(server, None);
    simulation.kill(server, None);
    assert_eq!(simulation.status(server).unwrap().reason, ExitReason::Killed);
    assert_eq!(simulation.resume(server, None), None);
    simulation.run_for(ms(100)).unwrap();

    let patient = |rt: Runtime| async move {
        rt.terminated().await;
        Err::<(), _>("told to end")
    };
    let container = simulation.start(client, ContainerSpec::new("patient", patient), None);
    simulation.run_for(ms(100)).unwrap();
    simulation.pause(container, None);
    simulation.terminate(container, None);
    simulation.run_for(ms(1000)).unwrap();
    assert!(simulation.status(container).is_none());
    simulation.resume(container, None);
    assert_eq!(message(&mut simulation, container), "told to end");
}
