//! What pods, links and processes do to sockets is judged by a network that others have written: turmoil's. What
//! processes see of sockets alone stands in the socket suite.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh::engine::{
    Config, ContainerId, ContainerKilled, ContainerSpec, Exit, NetClosed, NetRefused, NetReset, Network, PodId,
    PodSpec, PowerOff, Simulation, SimulationError,
};
use hermesh_runtime::{Address, Event, Runtime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn tcp(ip: impl Into<IpAddr>, port: u16) -> Address {
    Address::Tcp(SocketAddr::new(ip.into(), port))
}

const ANY: [u8; 4] = [0, 0, 0, 0];

/// Lets both networks judge.
fn on_both(test: impl Fn(Simulation, PodId, PodId)) {
    for network in [Network::Simulated, Network::Turmoil] {
        let (simulation, a, b) = pair(network);
        test(simulation, a, b);
    }
}

/// Two pods, `10.0.0.1` and `10.0.0.2`, on a network.
fn pair(network: Network) -> (Simulation, PodId, PodId) {
    let mut config = Config::new(1);
    config.network = network;
    config.latency = ms(2)..=ms(5);
    let simulation = Simulation::new(config);
    let [a, b] = [("default/a", 1), ("default/b", 2)]
        .map(|(name, last)| simulation.add_pod(PodSpec::new(name, [ip(last)]), None));
    (simulation, a, b)
}

fn run<F>(
    simulation: &Simulation,
    pod: PodId,
    name: &str,
    main: impl FnOnce(Runtime) -> F + Send + 'static,
) -> ContainerId
where
    F: Future<Output: Into<Exit>> + Send + 'static,
{
    simulation.start(pod, ContainerSpec::new(name, main), None)
}

/// Runs until the container ends, which it must do well.
fn succeed(simulation: &mut Simulation, container: ContainerId) {
    let exited = simulation.exited(container);
    let status = simulation.block_on(exited).unwrap();
    assert_eq!((status.code, status.message.as_deref()), (0, None));
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    result.err().expect("this fails").kind()
}

/// The kinds of the events that led to the last `E`.
fn causes<E: Event>(simulation: &Simulation) -> Vec<&'static str> {
    simulation.with_trace(|trace| {
        let (last, _) = trace.of::<E>().last().expect("it happened");
        trace.causes(last.seq).map(|recorded| recorded.kind).collect()
    })
}

/// Greets whoever connects to port 80 and hangs on to the connection.
async fn greet(rt: Runtime) -> io::Result<()> {
    let mut listener = rt.listen(tcp(ANY, 80)).await?;
    let mut streams = Vec::new();
    loop {
        let mut stream = listener.accept().await?;
        stream.write_all(b"hello").await?;
        streams.push(stream);
    }
}

async fn greeted(rt: &Runtime, at: Address) -> io::Result<()> {
    let mut stream = rt.connect(at).await?;
    let mut text = [0; 5];
    stream.read_exact(&mut text).await?;
    assert_eq!(&text, b"hello");
    Ok(())
}

#[test]
fn closing_with_unread_data_resets() {
    on_both(|mut simulation, a, b| {
        run(&simulation, b, "server", |rt| async move {
            let mut listener = rt.listen(tcp(ANY, 80)).await.unwrap();
            let mut stream = listener.accept().await.unwrap();
            stream.write_all(b"last words").await.unwrap();
            sleep(ms(100)).await;
        });
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
            stream.write_all(b"never read").await.unwrap();
            sleep(ms(200)).await;
            // What came before RST can still be read; then the error is told once.
            let mut text = [0; 10];
            stream.read_exact(&mut text).await.unwrap();
            assert_eq!(&text, b"last words");
            assert_eq!(kind(stream.read_u8().await), ErrorKind::ConnectionReset);
            assert_eq!(kind(stream.read_u8().await), ErrorKind::UnexpectedEof);
            assert_eq!(kind(stream.write_all(b"x").await), ErrorKind::BrokenPipe);
        });
        succeed(&mut simulation, client);
        assert_eq!(causes::<NetReset>(&simulation)[..2], [NetReset::KIND, NetClosed::KIND]);
    });
}

#[test]
fn a_killed_process_is_noticed_and_its_port_refuses() {
    on_both(|mut simulation, a, b| {
        let server = run(&simulation, b, "server", greet);
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            assert_eq!(text, "hello");
            // Nobody is there to read it. Of RST behind FIN, turmoil tells no sooner than at the next write after it.
            let mut written = 0;
            let error = loop {
                match stream.write_all(b"x").await {
                    Ok(()) => written += 1,
                    Err(error) => break error.kind(),
                }
                sleep(ms(50)).await;
            };
            assert_eq!(error, ErrorKind::BrokenPipe);
            assert!((1..=2).contains(&written), "{written}");
            assert_eq!(kind(rt.connect(tcp(ip(2), 80)).await), ErrorKind::ConnectionRefused);
        });
        simulation.run_for(ms(50)).unwrap();
        simulation.kill(server, None);
        succeed(&mut simulation, client);
        assert_eq!(causes::<NetClosed>(&simulation), [NetClosed::KIND, ContainerKilled::KIND]);
        assert_eq!(causes::<NetRefused>(&simulation), [NetRefused::KIND, ContainerKilled::KIND]);
        // The port is free at once.
        let server = run(&simulation, b, "server", greet);
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            greeted(&rt, tcp(ip(2), 80)).await.unwrap();
        });
        succeed(&mut simulation, client);
        assert_eq!(simulation.status(server), None);
    });
}

#[test]
fn a_cut_link_stalls_connections_and_loses_none_of_their_data() {
    on_both(|mut simulation, a, b| {
        let server = run(&simulation, b, "server", |rt| async move {
            let mut listener = rt.listen(tcp(ANY, 80)).await.unwrap();
            for expected in [200_000, 0] {
                let mut stream = listener.accept().await.unwrap();
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                let sent: Vec<u8> = (0..expected).map(|n: u32| (n % 251) as u8).collect();
                assert!(all == sent, "{} of {expected} bytes", all.len());
            }
        });
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
            for n in 0..200_000_u32 {
                stream.write_all(&[(n % 251) as u8]).await.unwrap();
                if n % 10_000 == 0 {
                    sleep(ms(10)).await;
                }
            }
            drop(stream);
            let start = Instant::now();
            drop(rt.connect(tcp(ip(2), 80)).await.unwrap());
            assert!(start.elapsed() > ms(1000), "{:?}", start.elapsed());
        });
        simulation.run_for(ms(100)).unwrap();
        simulation.partition(a, b, None);
        simulation.run_for(ms(2000)).unwrap();
        assert_eq!((simulation.status(client), simulation.status(server)), (None, None));
        simulation.heal(a, b, None);
        succeed(&mut simulation, client);
        succeed(&mut simulation, server);
    });
}

#[test]
fn an_isolated_pod_is_cut_off_from_pods_that_come_later() {
    on_both(|mut simulation, _, b| {
        run(&simulation, b, "server", greet);
        simulation.isolate(b, None);
        let late = simulation.add_pod(PodSpec::new("default/late", [ip(3)]), None);
        let neighbour = run(&simulation, b, "neighbour", |rt| async move {
            sleep(ms(1)).await;
            greeted(&rt, tcp(ip(2), 80)).await.unwrap();
        });
        succeed(&mut simulation, neighbour);
        let client = run(&simulation, late, "client", |rt| async move {
            assert!(timeout(ms(500), rt.connect(tcp(ip(2), 80))).await.is_err());
            greeted(&rt, tcp(ip(2), 80)).await.unwrap();
        });
        simulation.run_for(ms(5000)).unwrap();
        assert_eq!(simulation.status(client), None);
        simulation.rejoin(b, None);
        succeed(&mut simulation, client);
    });
}

#[test]
fn a_power_failure_is_silent_and_the_rebooted_host_resets() {
    on_both(|mut simulation, a, b| {
        run(&simulation, b, "server", greet);
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
            let mut text = [0; 5];
            stream.read_exact(&mut text).await.unwrap();
            assert!(timeout(ms(2000), stream.read_u8()).await.is_err(), "the failure is silent");
            assert!(timeout(ms(100), rt.connect(tcp(ip(2), 80))).await.is_err(), "nobody is there to refuse");
            sleep(ms(2000)).await;
            stream.write_all(b"x").await.unwrap();
            assert_eq!(kind(stream.read_u8().await), ErrorKind::ConnectionReset);
            assert_eq!(kind(rt.connect(tcp(ip(2), 80)).await), ErrorKind::ConnectionRefused);
        });
        simulation.run_for(ms(50)).unwrap();
        let off = simulation.power_off(b, None);
        simulation.run_for(ms(3000)).unwrap();
        assert_eq!(simulation.status(client), None);
        simulation.power_on(b, off);
        succeed(&mut simulation, client);
        assert_eq!(simulation.with_trace(|trace| trace.of::<PowerOff>().count()), 1);
    });
}

#[test]
fn an_address_without_a_pod_swallows_syns_until_another_pod_has_it() {
    on_both(|mut simulation, a, b| {
        let server = run(&simulation, b, "server", greet);
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(100)).await;
            let start = Instant::now();
            greeted(&rt, tcp(ip(2), 80)).await.unwrap();
            assert!((ms(3000)..ms(3100)).contains(&start.elapsed()), "{:?}", start.elapsed());
            let start = Instant::now();
            assert_eq!(kind(rt.connect(tcp(ip(9), 80)).await), ErrorKind::TimedOut);
            assert!((ms(127_000)..ms(127_100)).contains(&start.elapsed()), "{:?}", start.elapsed());
        });
        simulation.run_for(ms(50)).unwrap();
        simulation.remove_pod(b, None);
        assert!(simulation.status(server).is_some());
        simulation.run_for(ms(2000)).unwrap();
        let next = simulation.add_pod(PodSpec::new("default/next", [ip(2)]), None);
        run(&simulation, next, "server", greet);
        succeed(&mut simulation, client);
    });
}

#[test]
fn a_connect_under_way_to_a_removed_pod_reaches_whoever_has_the_address_next() {
    on_both(|mut simulation, a, b| {
        let server = run(&simulation, b, "server", greet);
        let client = run(&simulation, a, "client", |rt| async move {
            let start = Instant::now();
            greeted(&rt, tcp(ip(2), 80)).await.unwrap();
            assert!((ms(7000)..ms(7100)).contains(&start.elapsed()), "{:?}", start.elapsed());
        });
        simulation.partition(a, b, None);
        simulation.run_for(ms(5000)).unwrap();
        simulation.remove_pod(b, None);
        assert!(simulation.status(server).is_some());
        let next = simulation.add_pod(PodSpec::new("default/next", [ip(2)]), None);
        run(&simulation, next, "server", greet);
        succeed(&mut simulation, client);
    });
}

#[test]
fn giving_up_on_a_connect_leaves_nothing_behind() {
    on_both(|mut simulation, a, b| {
        simulation.partition(a, b, None);
        let server = run(&simulation, b, "server", |rt| async move {
            let mut listener = rt.listen(tcp(ANY, 80)).await.unwrap();
            assert!(timeout(ms(5000), listener.accept()).await.is_err(), "nobody wants this connection any more");
        });
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            assert!(timeout(ms(500), rt.connect(tcp(ip(2), 80))).await.is_err());
        });
        succeed(&mut simulation, client);
        simulation.heal(a, b, None);
        succeed(&mut simulation, server);
    });
}

#[test]
fn waiting_for_what_cannot_happen_ends() {
    on_both(|mut simulation, a, b| {
        run(&simulation, b, "server", greet);
        let client = run(&simulation, a, "client", |rt| async move {
            sleep(ms(1)).await;
            greeted(&rt, tcp(ip(2), 80)).await.unwrap();
        });
        succeed(&mut simulation, client);
        let error = simulation.block_on(std::future::pending::<()>()).unwrap_err();
        assert!(matches!(error, SimulationError::Deadlock { .. }), "{error}");
    });
}

#[test]
#[should_panic(expected = "the latency from pod default/a to pod default/b cannot be set on turmoil's network")]
fn a_latency_of_one_direction_is_refused() {
    let (simulation, a, b) = pair(Network::Turmoil);
    simulation.set_latency(a, b, ms(1)..=ms(1));
}
