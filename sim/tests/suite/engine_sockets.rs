//! Sockets within the simulation behave as the kernel's do.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hermesh::engine::{Config, ContainerId, ContainerSpec, Exit, PodId, PodSpec, Route, Simulation};
use hermesh_runtime::{Address, Runtime, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn tcp(ip: impl Into<IpAddr>, port: u16) -> Address {
    Address::Tcp(SocketAddr::new(ip.into(), port))
}

fn unix(path: &str) -> Address {
    Address::Unix(path.into())
}

/// Two pods, `10.0.0.1` and `10.0.0.2`, 5 ms apart.
fn pair() -> (Simulation, PodId, PodId) {
    let mut config = Config::new(1);
    config.latency = ms(5)..=ms(5);
    let simulation = Simulation::new(config);
    let a = simulation.add_pod(PodSpec::new("default/a", [ip(1)]), None);
    let b = simulation.add_pod(PodSpec::new("default/b", [ip(2)]), None);
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

async fn accept(rt: &Runtime, at: Address) -> Box<dyn Stream> {
    rt.listen(at).await.unwrap().accept().await.unwrap()
}

#[test]
fn a_connection_takes_one_round_trip_and_data_half_of_one() {
    let (mut simulation, a, b) = pair();
    run(&simulation, b, "server", |rt| async move {
        let mut listener = rt.listen(tcp([0, 0, 0, 0], 80)).await.unwrap();
        let mut stream = listener.accept().await.unwrap();
        assert_eq!(stream.local_address(), tcp(ip(2), 80));
        let mut text = [0; 5];
        stream.read_exact(&mut text).await.unwrap();
        stream.write_all(&text).await.unwrap();
    });
    let client = run(&simulation, a, "client", |rt| async move {
        let start = Instant::now();
        let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
        assert_eq!(start.elapsed(), ms(10));
        assert_eq!(stream.peer_address(), tcp(ip(2), 80));
        assert_eq!(stream.local_address().tcp().unwrap().ip(), ip(1));
        stream.write_all(b"hello").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!((text.as_str(), start.elapsed()), ("hello", ms(20)));
    });
    succeed(&mut simulation, client);
}

#[test]
fn bind_addresses_decide_who_can_connect() {
    let (mut simulation, a, b) = pair();
    run(&simulation, b, "server", |rt| async move {
        let _everyone = rt.listen(tcp([0, 0, 0, 0], 80)).await.unwrap();
        let _self_only = rt.listen(tcp([127, 0, 0, 1], 81)).await.unwrap();
        let _outside_only = rt.listen(tcp(ip(2), 82)).await.unwrap();
        assert_eq!(kind(rt.connect(tcp([127, 0, 0, 1], 82)).await), ErrorKind::ConnectionRefused);
        for (ip, port) in [([127, 0, 0, 1], 80), ([0, 0, 0, 0], 80), ([10, 0, 0, 2], 80), ([127, 0, 0, 1], 81)] {
            rt.connect(tcp(ip, port)).await.unwrap();
        }
        std::future::pending::<()>().await;
    });
    let client = run(&simulation, a, "client", |rt| async move {
        sleep(ms(1)).await;
        rt.connect(tcp(ip(2), 80)).await.unwrap();
        rt.connect(tcp(ip(2), 82)).await.unwrap();
        assert_eq!(kind(rt.connect(tcp(ip(2), 81)).await), ErrorKind::ConnectionRefused);
        assert_eq!(
            kind(rt.connect(tcp("fd00::1".parse::<IpAddr>().unwrap(), 80)).await),
            ErrorKind::NetworkUnreachable
        );
    });
    succeed(&mut simulation, client);
}

#[test]
fn ports_conflict_as_in_linux() {
    let (mut simulation, a, _) = pair();
    let server = run(&simulation, a, "server", |rt| async move {
        let wildcard = rt.listen(tcp([0, 0, 0, 0], 80)).await.unwrap();
        assert_eq!(kind(rt.listen(tcp([127, 0, 0, 1], 80)).await), ErrorKind::AddrInUse);
        assert_eq!(kind(rt.listen(tcp([0; 16], 80)).await), ErrorKind::AddrInUse);
        drop(wildcard);
        let _one = rt.listen(tcp([127, 0, 0, 1], 80)).await.unwrap();
        let _other = rt.listen(tcp(ip(1), 80)).await.unwrap();
        assert_eq!(kind(rt.listen(tcp([0, 0, 0, 0], 80)).await), ErrorKind::AddrInUse);
        assert_eq!(kind(rt.listen(tcp(ip(9), 80)).await), ErrorKind::AddrNotAvailable);
        let any = rt.listen(tcp([0, 0, 0, 0], 0)).await.unwrap();
        assert!(any.local_address().tcp().unwrap().port() >= 32_768);
    });
    succeed(&mut simulation, server);
}

#[test]
fn each_end_closes_its_own_direction() {
    let (mut simulation, a, b) = pair();
    run(&simulation, b, "server", |rt| async move {
        let mut stream = accept(&rt, tcp(ip(2), 80)).await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        stream.write_all(format!("got {text}").as_bytes()).await.unwrap();
    });
    let client = run(&simulation, a, "client", |rt| async move {
        sleep(ms(1)).await;
        let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
        stream.write_all(b"all").await.unwrap();
        stream.shutdown().await.unwrap();
        assert_eq!(kind(stream.write_all(b"more").await), ErrorKind::BrokenPipe);
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "got all");
    });
    succeed(&mut simulation, client);
}

#[test]
fn closing_with_unread_data_resets() {
    let (mut simulation, a, b) = pair();
    run(&simulation, b, "server", |rt| async move {
        let mut stream = accept(&rt, tcp(ip(2), 80)).await;
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
}

#[test]
fn writing_to_a_closed_peer_fails_a_round_trip_later() {
    let (mut simulation, a, b) = pair();
    run(&simulation, b, "server", |rt| async move { drop(accept(&rt, tcp(ip(2), 80)).await) });
    let client = run(&simulation, a, "client", |rt| async move {
        sleep(ms(1)).await;
        let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
        sleep(ms(50)).await;
        stream.write_all(b"into the void").await.unwrap();
        sleep(ms(50)).await;
        assert_eq!(kind(stream.write_all(b"x").await), ErrorKind::BrokenPipe);
    });
    succeed(&mut simulation, client);
}

#[test]
fn a_slow_reader_holds_up_the_writer() {
    let (mut simulation, a, b) = pair();
    let written = Arc::new(Mutex::new(0));
    run(&simulation, b, "server", |rt| async move {
        let mut stream = accept(&rt, tcp(ip(2), 80)).await;
        sleep(ms(1000)).await;
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 1 << 20);
    });
    let so_far = Arc::clone(&written);
    let client = run(&simulation, a, "client", move |rt| async move {
        sleep(ms(1)).await;
        let mut stream = rt.connect(tcp(ip(2), 80)).await.unwrap();
        for _ in 0..1024 {
            stream.write_all(&[0; 1024]).await.unwrap();
            *so_far.lock().unwrap() += 1024;
        }
    });
    simulation.run_for(ms(900)).unwrap();
    assert_eq!(*written.lock().unwrap(), 256 * 1024);
    succeed(&mut simulation, client);
    simulation.run_for(ms(100)).unwrap();
    assert_eq!(*written.lock().unwrap(), 1024 * 1024);
}

#[test]
fn unaccepted_connections_wait_in_the_backlog_and_are_reset_with_it() {
    let (mut simulation, a, b) = pair();
    let server = run(&simulation, b, "server", |rt| async move {
        let _listener = rt.listen(tcp(ip(2), 80)).await.unwrap();
        std::future::pending::<()>().await;
    });
    let client = run(&simulation, a, "client", |rt| async move {
        sleep(ms(1)).await;
        let mut streams = Vec::new();
        // As many as the backlog, and one.
        for _ in 0..4097 {
            streams.push(rt.connect(tcp(ip(2), 80)).await.unwrap());
        }
        // The kernel drops what does not fit; the client tries again.
        let late = tokio::time::timeout(ms(2900), rt.connect(tcp(ip(2), 80)));
        assert!(late.await.is_err());
        assert_eq!(kind(streams[0].read_u8().await), ErrorKind::ConnectionReset);
    });
    simulation.run_for(ms(45_000)).unwrap();
    simulation.kill(server, None);
    succeed(&mut simulation, client);
}

#[test]
fn a_unix_socket_outlives_its_process_as_a_stale_file() {
    let (mut simulation, a, _) = pair();
    let serve = |rt: Runtime| async move {
        let mut listener = rt.listen(unix("/run/agent.sock")).await?;
        loop {
            listener.accept().await?.write_all(b"agent").await?;
        }
        #[expect(unreachable_code, reason = "names the type of the error")]
        io::Result::Ok(())
    };
    let volume = hermesh::engine::Volume::memory();
    let mount = |path: &str| vec![hermesh::engine::Mount { path: path.into(), volume: volume.clone() }];
    let start = |simulation: &Simulation| {
        let mut spec = ContainerSpec::new("agent", serve);
        spec.mounts = mount("/run");
        simulation.start(a, spec, None)
    };
    let connect = |simulation: &mut Simulation, expected: Result<&'static str, ErrorKind>| {
        let mut spec = ContainerSpec::new("app", move |rt: Runtime| async move {
            let text = match rt.connect(unix("/var/run/shared/agent.sock")).await {
                Ok(mut stream) => {
                    let mut text = String::new();
                    stream.read_to_string(&mut text).await.map(|_| text)
                }
                Err(error) => Err(error),
            };
            assert_eq!(text.as_deref().map_err(io::Error::kind), expected);
        });
        spec.mounts = mount("/var/run/shared");
        let app = simulation.start(a, spec, None);
        succeed(simulation, app);
    };

    connect(&mut simulation, Err(ErrorKind::NotFound));
    let agent = start(&simulation);
    simulation.run_for(ms(1)).unwrap();
    connect(&mut simulation, Ok("agent"));
    simulation.kill(agent, None);
    connect(&mut simulation, Err(ErrorKind::ConnectionRefused));
    let again = start(&simulation);
    simulation.run_for(ms(1)).unwrap();
    assert!(simulation.status(again).unwrap().message.unwrap().contains("address in use"));
    volume.remove("agent.sock").unwrap();
    start(&simulation);
    simulation.run_for(ms(1)).unwrap();
    connect(&mut simulation, Ok("agent"));
}

#[test]
fn a_virtual_address_leads_where_the_router_says() {
    let (mut simulation, a, b) = pair();
    simulation.set_router(Arc::new(|_, to| match to.port() {
        80 => Route::To(SocketAddr::new(ip(2), 8080)),
        81 => Route::Refuse,
        _ => Route::Direct,
    }));
    run(&simulation, b, "server", |rt| async move {
        let mut stream = accept(&rt, tcp([0, 0, 0, 0], 8080)).await;
        assert_eq!(stream.local_address(), tcp(ip(2), 8080));
        stream.write_all(b"hi").await.unwrap();
    });
    let client = run(&simulation, a, "client", |rt| async move {
        sleep(ms(1)).await;
        let mut stream = rt.connect(tcp([10, 96, 0, 1], 80)).await.unwrap();
        assert_eq!(stream.peer_address(), tcp([10, 96, 0, 1], 80));
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hi");
        let start = Instant::now();
        assert_eq!(kind(rt.connect(tcp([10, 96, 0, 1], 81)).await), ErrorKind::ConnectionRefused);
        assert_eq!(start.elapsed(), ms(0));
    });
    succeed(&mut simulation, client);
}

#[test]
fn names_are_resolved_as_in_a_pod() {
    let (mut simulation, a, _) = pair();
    simulation.set_resolver(Arc::new(|pod, host| (pod == "default/a" && host == "echo").then(|| vec![ip(9)])));
    let client = run(&simulation, a, "client", |rt| async move {
        for (host, expected) in
            [("echo", ip(9)), ("a", ip(1)), ("localhost", [127, 0, 0, 1].into()), ("10.0.0.7", ip(7))]
        {
            assert_eq!(rt.resolve(host).await.unwrap(), [expected], "{host}");
        }
        assert_eq!(kind(rt.resolve("nowhere").await), ErrorKind::NotFound);
        assert_eq!((rt.hostname(), rt.local_addresses()), ("a".to_owned(), vec![ip(1)]));
    });
    succeed(&mut simulation, client);
}

#[test]
fn giving_up_on_a_connect_leaves_nothing_behind() {
    let (mut simulation, a, b) = pair();
    run(&simulation, b, "server", |rt| async move {
        let mut listener = rt.listen(tcp(ip(2), 80)).await.unwrap();
        let mut stream = listener.accept().await.unwrap();
        stream.write_all(b"second").await.unwrap();
    });
    let client = run(&simulation, a, "client", |rt| async move {
        sleep(ms(1)).await;
        assert!(tokio::time::timeout(ms(7), rt.connect(tcp(ip(2), 80))).await.is_err());
        let mut text = String::new();
        rt.connect(tcp(ip(2), 80)).await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "second");
    });
    succeed(&mut simulation, client);
}
