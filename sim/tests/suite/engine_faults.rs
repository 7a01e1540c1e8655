//! Partitions, power failures and removed pods look as they do to real kernels.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh::engine::{
    Config, ContainerId, ContainerKilled, ContainerSpec, NetClosed, NetPartitioned, NetRefused, NetReset, NetTimeout,
    PodId, PodSpec, Simulation,
};
use hermesh_runtime::{Address, Event, Runtime};
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

/// A client's pod and a server's, 5 ms apart; the server echoes.
fn pair() -> (Simulation, PodId, PodId, ContainerId) {
    let mut config = Config::new(1);
    config.latency = ms(5)..=ms(5);
    let simulation = Simulation::new(config);
    let a = simulation.add_pod(PodSpec::new("default/a", [ip(1)]), None);
    let b = simulation.add_pod(PodSpec::new("default/b", [ip(2)]), None);
    let server = simulation.start(b, ContainerSpec::new("server", echo), None);
    (simulation, a, b, server)
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

/// Starts a client that sends a byte at `at` on a connection it opened at 0 and tells how that ended and how long it
/// took.
fn client(simulation: &Simulation, pod: PodId, at: Duration) -> ContainerId {
    let main = move |rt: Runtime| async move {
        sleep(ms(1)).await;
        let mut stream = rt.connect(server_address()).await?;
        tokio::time::sleep_until(Instant::now() - ms(11) + at).await;
        let start = Instant::now();
        stream.write_u8(7).await?;
        let result = stream.read_u8().await.map_err(|error| error.kind());
        Err::<(), _>(std::io::Error::other(format!("{result:?} after {:?}", start.elapsed())))
    };
    simulation.start(pod, ContainerSpec::new("client", main), None)
}

fn message(simulation: &mut Simulation, container: ContainerId) -> String {
    let exited = simulation.exited(container);
    simulation.block_on(exited).unwrap().message.unwrap()
}

/// The kinds of the events that led to the last `E`.
fn causes<E: Event>(simulation: &Simulation) -> Vec<&'static str> {
    simulation.with_trace(|trace| {
        let (last, _) = trace.of::<E>().last().expect("it happened");
        trace.causes(last.seq).map(|recorded| recorded.kind).collect()
    })
}

#[test]
fn what_a_partition_loses_arrives_when_it_is_retransmitted() {
    let (mut simulation, a, b, _) = pair();
    let client = client(&simulation, a, ms(100));
    simulation.run_for(ms(50)).unwrap();
    simulation.partition(a, b, None);
    simulation.run_for(ms(2000)).unwrap();
    simulation.heal(a, b, None);
    // Sent at 100, lost at 105, sent again at 305, 705, 1505, 3105; then there and back.
    assert_eq!(message(&mut simulation, client), "Ok(7) after 3.015s");
}

#[test]
fn a_connection_gives_up_after_fifteen_retransmissions() {
    let (mut simulation, a, b, _) = pair();
    let client = client(&simulation, a, ms(100));
    simulation.run_for(ms(50)).unwrap();
    simulation.partition(a, b, None);
    assert_eq!(message(&mut simulation, client), "Err(TimedOut) after 924.605s");
    assert_eq!(causes::<NetTimeout>(&simulation), [NetTimeout::KIND, NetPartitioned::KIND]);
}

#[test]
fn a_connect_times_out_after_127_seconds() {
    let (mut simulation, a, b, _) = pair();
    simulation.partition(a, b, None);
    let main = |rt: Runtime| async move {
        let start = Instant::now();
        let error = rt.connect(server_address()).await.err().unwrap();
        assert_eq!((error.kind(), start.elapsed()), (ErrorKind::TimedOut, Duration::from_secs(127)));
    };
    let client = simulation.start(a, ContainerSpec::new("client", main), None);
    let exited = simulation.exited(client);
    assert_eq!(simulation.block_on(exited).unwrap().code, 0);
    assert_eq!(causes::<NetTimeout>(&simulation), [NetTimeout::KIND, NetPartitioned::KIND]);
}

#[test]
fn a_connect_succeeds_once_a_syn_gets_through() {
    let (mut simulation, a, b, _) = pair();
    simulation.isolate(b, None);
    let main = |rt: Runtime| async move {
        let start = Instant::now();
        rt.connect(server_address()).await.unwrap();
        assert_eq!(start.elapsed(), ms(3010));
    };
    let client = simulation.start(a, ContainerSpec::new("client", main), None);
    simulation.run_for(ms(1500)).unwrap();
    simulation.rejoin(b, None);
    let exited = simulation.exited(client);
    assert_eq!(simulation.block_on(exited).unwrap().code, 0);
}

#[test]
fn a_killed_process_is_noticed_at_once_and_its_port_refuses() {
    let (mut simulation, a, _, server) = pair();
    let client = client(&simulation, a, ms(100));
    simulation.run_for(ms(50)).unwrap();
    simulation.kill(server, None);
    // FIN came at 55; the byte meets a closed socket.
    assert_eq!(message(&mut simulation, client), "Err(UnexpectedEof) after 0ns");
    assert_eq!(causes::<NetClosed>(&simulation), [NetClosed::KIND, ContainerKilled::KIND]);
    let again = self::client(&simulation, a, ms(0));
    assert_eq!(message(&mut simulation, again), "connection refused");
    assert_eq!(causes::<NetRefused>(&simulation), [NetRefused::KIND, ContainerKilled::KIND]);
}

#[test]
fn a_power_failure_is_silent_and_the_rebooted_host_resets() {
    let (mut simulation, a, b, _) = pair();
    let client = client(&simulation, a, ms(100));
    simulation.run_for(ms(50)).unwrap();
    simulation.power_off(b, None);
    simulation.run_for(ms(1000)).unwrap();
    assert_eq!(simulation.status(client), None);
    simulation.power_on(b, None);
    // The retransmission of 1505 meets a kernel that knows nothing of the connection.
    assert_eq!(message(&mut simulation, client), "Err(ConnectionReset) after 1.415s");
    assert!(causes::<NetReset>(&simulation).starts_with(&[NetReset::KIND]));
}

#[test]
fn an_address_without_a_pod_swallows_and_its_next_owner_resets() {
    let (mut simulation, a, b, _) = pair();
    let silent = simulation.start(
        b,
        ContainerSpec::new("silent", |rt: Runtime| async move {
            let mut listener = rt.listen(Address::Tcp(SocketAddr::new(ip(2), 81))).await.unwrap();
            let _stream = listener.accept().await.unwrap();
            std::future::pending::<()>().await;
        }),
        None,
    );
    let main = |rt: Runtime| async move {
        sleep(ms(1)).await;
        let mut stream = rt.connect(Address::Tcp(SocketAddr::new(ip(2), 81))).await.unwrap();
        sleep(ms(100)).await;
        stream.write_u8(1).await.unwrap();
        let start = Instant::now();
        // FIN has come; the reset shows when writing.
        while stream.write_u8(1).await.is_ok() {
            sleep(ms(10)).await;
        }
        assert!(start.elapsed() > ms(1000), "{:?}", start.elapsed());
    };
    let client = simulation.start(a, ContainerSpec::new("client", main), None);
    simulation.run_for(ms(50)).unwrap();
    simulation.remove_pod(b, None);
    assert!(simulation.status(silent).is_some());
    simulation.run_for(ms(1000)).unwrap();
    assert_eq!(simulation.status(client), None);
    simulation.add_pod(PodSpec::new("default/c", [ip(2)]), None);
    let exited = simulation.exited(client);
    assert_eq!(simulation.block_on(exited).unwrap().code, 0);
}
