//! What a connection's trail tells, from the wish to connect to the end.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermesh::engine::{Config, ContainerId, ContainerSpec, PodId, PodSpec, Simulation, Volume};
use hermesh_runtime::{Address, EventId, Level, Runtime, Trail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn server_address() -> Address {
    Address::Tcp(SocketAddr::from(SERVER))
}

struct Pair {
    simulation: Simulation,
    client: PodId,
    server: PodId,
    listener: ContainerId,
    /// The client's, once it connects.
    trail: Arc<Mutex<Trail>>,
}

/// A client that connects at 100 ms and sends a byte every 100 ms, and a server that takes what comes; 5 ms apart.
fn pair() -> Pair {
    let mut config = Config::new(1);
    config.latency = ms(5)..=ms(5);
    config.level = Level::Debug;
    let simulation = Simulation::new(config);
    let client = simulation.add_pod(PodSpec::new("default/client", ["10.0.0.1".parse().unwrap()]), None);
    let server = simulation.add_pod(PodSpec::new("default/server", ["10.0.0.2".parse().unwrap()]), None);
    let listen = |rt: Runtime| async move {
        let mut listener = rt.listen(server_address()).await?;
        let mut stream = listener.accept().await?;
        while stream.read_u8().await.is_ok() {}
        std::io::Result::Ok(())
    };
    let listener = simulation.start(server, ContainerSpec::new("server", listen), None);
    let trail = Arc::new(Mutex::new(Trail::default()));
    let shared = Arc::clone(&trail);
    let connect = move |rt: Runtime| async move {
        sleep(ms(100)).await;
        let wish = rt.emit(Wished {});
        *shared.lock().unwrap() = Trail::because(wish);
        let trail = shared.lock().unwrap().clone();
        let mut stream = rt.connect_on(&trail, server_address()).await?;
        while stream.write_u8(7).await.is_ok() {
            sleep(ms(100)).await;
        }
        std::io::Result::Ok(())
    };
    simulation.start(client, ContainerSpec::new("client", connect), None);
    Pair { simulation, client, server, listener, trail }
}

hermesh_runtime::event! {
    /// Somebody wants to connect.
    Wished = "test.wished" {}
}

impl Pair {
    fn run_for(&mut self, milliseconds: u64) {
        self.simulation.run_for(ms(milliseconds)).unwrap();
    }

    fn trail(&self) -> Trail {
        self.trail.lock().unwrap().clone()
    }

    /// The kinds of an event and of what led to it.
    fn causes(&self, event: Option<EventId>) -> Vec<&'static str> {
        let Some(event) = event else { return Vec::new() };
        self.simulation.with_trace(|trace| trace.causes(event.seq()).map(|recorded| recorded.kind).collect())
    }
}

#[test]
fn a_connection_knows_its_beginning_and_a_healthy_one_no_trouble() {
    let mut pair = pair();
    pair.run_for(400);
    assert_eq!(pair.causes(pair.trail().opened()), ["net.connect", "test.wished"]);
    assert_eq!(pair.trail().trouble(), None);
}

#[test]
fn data_that_waits_for_a_broken_path_is_trouble_until_it_passes() {
    let mut pair = pair();
    pair.run_for(250);
    pair.simulation.partition(pair.client, pair.server, None);
    pair.run_for(200);
    assert_eq!(pair.causes(pair.trail().trouble()), ["net.stalled", "net.partitioned"]);
    pair.simulation.heal(pair.client, pair.server, None);
    pair.run_for(5_000);
    assert_eq!(pair.trail().trouble(), None);
}

#[test]
fn a_handshake_that_nobody_answers_is_trouble_before_it_fails() {
    let mut pair = pair();
    pair.run_for(50);
    pair.simulation.partition(pair.client, pair.server, None);
    pair.run_for(100);
    assert_eq!(pair.causes(pair.trail().trouble()), ["net.partitioned"]);
}

#[test]
fn a_refusal_names_the_end_of_the_container_that_listened() {
    let mut pair = pair();
    pair.run_for(50);
    pair.simulation.kill(pair.listener, None);
    pair.run_for(100);
    assert_eq!(pair.causes(pair.trail().trouble()), ["net.refused", "container.killed"]);
}

#[test]
fn a_lost_connection_names_the_end_of_the_peer() {
    let mut pair = pair();
    pair.run_for(250);
    pair.simulation.kill(pair.listener, None);
    pair.run_for(300);
    let causes = pair.causes(pair.trail().trouble());
    assert!(causes.ends_with(&["net.closed", "container.killed"]), "{causes:?}");
}

/// A server at a Unix socket that removes its file when it is asked to end, and a client that connects at 100 ms; both
/// see the same files. `end` is what is done to the server at 50 ms.
fn unix_refusal(end: impl FnOnce(&Simulation, ContainerId)) -> (std::io::ErrorKind, Vec<&'static str>) {
    let mut config = Config::new(1);
    config.level = Level::Debug;
    let mut simulation = Simulation::new(config);
    let pod = simulation.add_pod(PodSpec::new("default/pod", ["10.0.0.1".parse().unwrap()]), None);
    let files = Volume::new();
    let mut server = ContainerSpec::new("server", |rt: Runtime| async move {
        let mut listener = rt.listen(Address::Unix("/socket".into())).await?;
        let terminated = rt.terminated();
        tokio::select! {
            biased;
            () = terminated => rt.remove("/socket").await,
            stream = listener.accept() => stream.map(drop),
        }
    });
    server.root = files.clone();
    let server = simulation.start(pod, server, None);
    let refused = Arc::new(Mutex::new(None));
    let shared = Arc::clone(&refused);
    let mut client = ContainerSpec::new("client", move |rt: Runtime| async move {
        sleep(ms(100)).await;
        let trail = Trail::default();
        let error = rt.connect_on(&trail, Address::Unix("/socket".into())).await.map(drop).unwrap_err();
        *shared.lock().unwrap() = Some((error.kind(), trail.trouble()));
    });
    client.root = files;
    simulation.start(pod, client, None);
    simulation.run_for(ms(50)).unwrap();
    end(&simulation, server);
    simulation.run_for(ms(100)).unwrap();
    let (error, trouble) = refused.lock().unwrap().take().expect("nobody answers");
    let causes = |trouble: EventId| {
        simulation.with_trace(|trace| trace.causes(trouble.seq()).map(|event| event.kind).collect::<Vec<_>>())
    };
    (error, trouble.map(causes).unwrap_or_default())
}

#[test]
fn a_refusal_at_a_unix_socket_names_the_end_of_the_container_that_listened() {
    let (error, causes) = unix_refusal(|simulation, server| simulation.kill(server, None));
    assert_eq!((error, causes.as_slice()), (ErrorKind::ConnectionRefused, &["net.refused", "container.killed"][..]));
}

#[test]
fn a_unix_socket_that_its_server_removed_names_why_that_ended() {
    let (error, causes) = unix_refusal(|simulation, server| simulation.terminate(server, None));
    assert_eq!((error, causes.as_slice()), (ErrorKind::NotFound, &["container.terminating"][..]));
}
