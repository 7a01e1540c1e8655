//! Links that are broken in one direction, slow, lossy or jammed, and connections that are reset, look as they do to
//! real kernels.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh::LinkFault;
use hermesh::engine::{
    Config, ContainerId, ContainerSpec, NetBlocked, NetJammed, NetLossy, NetReset, NetStalled, NetTimeout, Network,
    PodId, PodSpec, Simulation,
};
use hermesh_runtime::{Address, Event, Level, Runtime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ip(last: u8) -> IpAddr {
    [10, 0, 0, last].into()
}

fn server_address() -> Address {
    Address::Tcp(SocketAddr::new(ip(2), 80))
}

/// A client's pod and a server's, 5 ms apart; the server echoes bytes.
struct Pair {
    simulation: Simulation,
    client: PodId,
    server: PodId,
}

impl Pair {
    fn new(seed: u64, network: Network) -> Self {
        let mut config = Config::new(seed);
        (config.latency, config.level, config.network) = (ms(5)..=ms(5), Level::Debug, network);
        let simulation = Simulation::new(config);
        let client = simulation.add_pod(PodSpec::new("default/client", [ip(1)]), None);
        let server = simulation.add_pod(PodSpec::new("default/server", [ip(2)]), None);
        simulation.start(server, ContainerSpec::new("server", echo), None);
        Self { simulation, client, server }
    }

    /// Starts a client that connects at 1 ms, sends `bytes` bytes from `at` on, one every 10 ms, and tells when each
    /// came back, in milliseconds after it was sent.
    fn start(&self, bytes: u8, at: Duration) -> ContainerId {
        let main = move |rt: Runtime| async move {
            let start = Instant::now();
            sleep(ms(1)).await;
            let stream = rt.connect(server_address()).await?;
            let (mut reader, mut writer) = tokio::io::split(stream);
            rt.spawn("writer", async move {
                for number in 0..bytes {
                    tokio::time::sleep_until(start + at + ms(10) * u32::from(number)).await;
                    if writer.write_u8(number).await.is_err() {
                        return;
                    }
                }
                std::future::pending().await
            });
            let mut took = Vec::new();
            for expected in 0..bytes {
                match reader.read_u8().await {
                    Ok(number) => assert_eq!(number, expected),
                    Err(error) => return Err(std::io::Error::other(format!("{:?} after {took:?}", error.kind()))),
                }
                took.push((start.elapsed() - at - ms(10) * u32::from(expected)).as_millis());
            }
            Err::<(), _>(std::io::Error::other(format!("{took:?}")))
        };
        self.simulation.start(self.client, ContainerSpec::new("client", main), None)
    }

    fn impair(&self, from: PodId, to: PodId, fault: &LinkFault) {
        self.simulation.impair(from, to, fault, None).unwrap();
    }

    fn message(&mut self, container: ContainerId) -> String {
        let exited = self.simulation.exited(container);
        self.simulation.block_on(exited).unwrap().message.unwrap()
    }

    /// The kinds of the events that led to the last `E`.
    fn causes<E: Event>(&self) -> Vec<&'static str> {
        self.simulation.with_trace(|trace| {
            let (last, _) = trace.of::<E>().last().expect("it happened");
            trace.causes(last.seq).map(|recorded| recorded.kind).collect()
        })
    }

    fn count<E: Event>(&self) -> usize {
        self.simulation.with_trace(|trace| trace.of::<E>().count())
    }
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

#[test]
fn a_slow_link_delays_one_direction_and_keeps_the_order() {
    let mut pair = Pair::new(1, Network::Simulated);
    pair.impair(pair.client, pair.server, &LinkFault::Slow(ms(100)..=ms(100)));
    let client = pair.start(2, ms(500));
    // 5 + 100 there, 5 back.
    assert_eq!(pair.message(client), "[110, 110]");
}

#[test]
fn each_packet_on_a_slow_link_draws_its_time_and_none_overtakes_another() {
    let mut pair = Pair::new(2, Network::Simulated);
    pair.impair(pair.client, pair.server, &LinkFault::Slow(ms(100)..=ms(900)));
    let client = pair.start(20, ms(3000));
    // The client asserts that they arrive in order: those behind a late one are late with it.
    let took: Vec<u64> = serde_json::from_str(&pair.message(client)).unwrap();
    assert!(took.iter().all(|took| (110..=910).contains(took)), "{took:?}");
    assert!(took.iter().max().unwrap() - took.iter().min().unwrap() > 100, "each is drawn: {took:?}");
}

#[test]
fn a_healed_link_is_as_fast_as_before() {
    let mut pair = Pair::new(1, Network::Simulated);
    pair.impair(pair.client, pair.server, &LinkFault::Slow(ms(100)..=ms(100)));
    let client = pair.start(1, ms(500));
    pair.simulation.run_for(ms(300)).unwrap();
    pair.simulation.heal(pair.server, pair.client, None);
    assert_eq!(pair.message(client), "[10]");
}

#[test]
fn what_a_lossy_link_loses_arrives_when_it_is_retransmitted_and_holds_up_the_rest() {
    let mut late = 0;
    for seed in 1..=20 {
        let mut pair = Pair::new(seed, Network::Simulated);
        let client = pair.start(10, ms(100));
        pair.simulation.run_for(ms(50)).unwrap();
        pair.impair(pair.client, pair.server, &LinkFault::Lossy(0.1));
        let took: Vec<u64> = serde_json::from_str(&pair.message(client)).unwrap();
        for (index, took) in took.iter().enumerate().filter(|(_, took)| **took > 10) {
            late += 1;
            // Lost itself, once or several times, or held up by one that was lost up to 90 ms before it.
            let lost = |losses: u64| 200 * ((1 << losses) - 1) + 5 * losses + 10;
            let behind = (0..=index as u64).any(|before| (1..6).any(|losses| took + before * 10 == lost(losses)));
            assert!(behind, "seed {seed}: {took} ms");
        }
        if pair.count::<NetStalled>() > 0 {
            assert_eq!(pair.causes::<NetStalled>(), [NetStalled::KIND, NetLossy::KIND]);
        }
    }
    // A tenth of 200 is lost; those behind one wait with it.
    assert!((20..150).contains(&late), "{late}");
}

#[test]
fn a_lost_syn_is_sent_again_after_one_second_three_and_seven() {
    let mut waits = std::collections::BTreeMap::new();
    for seed in 1..=60 {
        let mut pair = Pair::new(seed, Network::Simulated);
        pair.impair(pair.client, pair.server, &LinkFault::Lossy(0.5));
        let main = |rt: Runtime| async move {
            sleep(ms(1)).await;
            let start = Instant::now();
            rt.connect(server_address()).await?;
            Err::<(), _>(std::io::Error::other(start.elapsed().as_millis().to_string()))
        };
        let client = pair.simulation.start(pair.client, ContainerSpec::new("client", main), None);
        *waits.entry(pair.message(client)).or_insert(0) += 1;
    }
    let expected = ["10", "1010", "3010", "7010"];
    let known: u32 = expected.iter().filter_map(|wait| waits.get(*wait)).sum();
    assert!(known >= 50, "{waits:?}");
    assert!((15..45).contains(&waits["10"]) && waits["1010"] >= 5, "{waits:?}");
}

#[test]
fn what_waits_in_a_jam_arrives_when_it_is_over() {
    let mut pair = Pair::new(1, Network::Simulated);
    let client = pair.start(3, ms(100));
    pair.simulation.run_for(ms(50)).unwrap();
    pair.impair(pair.client, pair.server, &LinkFault::Jammed);
    pair.simulation.run_for(ms(9950)).unwrap();
    pair.simulation.heal(pair.client, pair.server, None);
    // They were sent at 100, 110 and 120, and arrive at 10 000.
    assert_eq!(pair.message(client), "[9905, 9895, 9885]");
    assert_eq!(pair.count::<NetStalled>(), 0, "nothing is lost");
}

#[test]
fn a_handshake_goes_on_after_a_jam() {
    let mut pair = Pair::new(1, Network::Simulated);
    pair.impair(pair.server, pair.client, &LinkFault::Jammed);
    let client = pair.start(1, secs(50));
    pair.simulation.run_for(secs(40)).unwrap();
    pair.simulation.heal(pair.client, pair.server, None);
    assert_eq!(pair.message(client), "[10]");
}

#[test]
fn a_handshake_in_a_jam_that_lasts_gives_up() {
    for jammed_first in [true, false] {
        let mut pair = Pair::new(1, Network::Simulated);
        let (from, to) = if jammed_first { (pair.client, pair.server) } else { (pair.server, pair.client) };
        pair.impair(from, to, &LinkFault::Jammed);
        let main = |rt: Runtime| async move {
            let start = Instant::now();
            let error = rt.connect(server_address()).await.err().unwrap();
            // What waited comes too late, and disturbs nobody.
            sleep(secs(10)).await;
            Err::<(), _>(std::io::Error::other(format!("{:?} after {:?}", error.kind(), start.elapsed())))
        };
        let client = pair.simulation.start(pair.client, ContainerSpec::new("client", main), None);
        pair.simulation.run_for(secs(130)).unwrap();
        pair.simulation.heal(from, to, None);
        assert_eq!(pair.message(client), "TimedOut after 137s");
    }
}

#[test]
fn a_jam_that_lasts_ends_a_connection_by_its_sender() {
    let mut pair = Pair::new(1, Network::Simulated);
    let client = pair.start(1, ms(100));
    pair.simulation.run_for(ms(50)).unwrap();
    pair.impair(pair.client, pair.server, &LinkFault::Jammed);
    assert_eq!(pair.message(client), "TimedOut after []");
    assert_eq!(pair.simulation.now().as_secs(), 924);
    assert_eq!(pair.causes::<NetTimeout>(), [NetTimeout::KIND, NetJammed::KIND]);
}

#[test]
fn what_a_partition_of_one_direction_loses_arrives_when_it_is_retransmitted() {
    let mut pair = Pair::new(1, Network::Simulated);
    let client = pair.start(1, ms(100));
    pair.simulation.run_for(ms(50)).unwrap();
    pair.impair(pair.client, pair.server, &LinkFault::Cut);
    pair.simulation.run_for(ms(2000)).unwrap();
    pair.simulation.heal(pair.client, pair.server, None);
    // Sent at 100, lost at 105, sent again at 305, 705, 1505, 3105; then there and back.
    assert_eq!(pair.message(client), "[3015]");
}

#[test]
fn who_gets_no_ack_gives_up_though_its_data_arrives() {
    let mut pair = Pair::new(1, Network::Simulated);
    let client = pair.start(1, ms(100));
    pair.simulation.run_for(ms(50)).unwrap();
    pair.impair(pair.server, pair.client, &LinkFault::Cut);
    assert_eq!(pair.message(client), "TimedOut after []");
    assert_eq!(pair.simulation.now().as_secs(), 924);
    assert_eq!(pair.causes::<NetTimeout>(), [NetTimeout::KIND, NetBlocked::KIND]);
}

#[test]
fn who_gets_its_ack_late_goes_on() {
    let mut pair = Pair::new(1, Network::Simulated);
    let client = pair.start(1, ms(100));
    pair.simulation.run_for(ms(50)).unwrap();
    pair.impair(pair.server, pair.client, &LinkFault::Cut);
    pair.simulation.run_for(secs(600)).unwrap();
    pair.simulation.heal(pair.client, pair.server, None);
    pair.simulation.run_for(secs(200)).unwrap();
    let took: Vec<u64> = serde_json::from_str(&pair.message(client)).unwrap();
    assert!((600_000..720_000).contains(&took[0]), "the answer comes when it is retransmitted: {took:?}");
}

#[test]
fn a_reset_ends_the_connections_that_are_and_none_that_come() {
    let mut pair = Pair::new(1, Network::Simulated);
    let first = pair.start(2, ms(100));
    let second = pair.start(1, ms(300));
    pair.simulation.run_for(ms(117)).unwrap();
    assert_eq!(pair.simulation.reset(pair.server, pair.client, None), Ok(2));
    assert_eq!(pair.message(first), "ConnectionReset after [10]");
    assert_eq!(pair.message(second), "ConnectionReset after []");
    assert_eq!(pair.count::<NetReset>(), 4, "at both ends of both");
    let fresh = pair.start(1, ms(100));
    assert_eq!(pair.message(fresh), "[10]");
}

#[test]
fn a_connection_that_is_being_opened_is_not_reset() {
    let mut pair = Pair::new(1, Network::Simulated);
    let client = pair.start(1, ms(100));
    for _ in 0..3 {
        pair.simulation.run_for(ms(4)).unwrap();
        assert_eq!(pair.simulation.reset(pair.client, pair.server, None), Ok(0));
    }
    assert_eq!(pair.message(client), "[10]");
}

#[test]
fn a_fault_of_a_link_leaves_alone_what_other_links_draw() {
    let run = |fault: bool| {
        let mut config = Config::new(7);
        config.latency = ms(1)..=ms(50);
        let mut simulation = Simulation::new(config);
        let pods: Vec<PodId> =
            (1..=3).map(|last| simulation.add_pod(PodSpec::new(format!("default/{last}"), [ip(last)]), None)).collect();
        simulation.start(pods[1], ContainerSpec::new("server", echo), None);
        if fault {
            simulation.impair(pods[2], pods[1], &LinkFault::Lossy(0.5), None).unwrap();
            simulation.impair(pods[2], pods[1], &LinkFault::Slow(ms(1)..=ms(900)), None).unwrap();
        }
        let main = |rt: Runtime| async move {
            sleep(ms(1)).await;
            let mut stream = rt.connect(server_address()).await?;
            for byte in 0..20 {
                stream.write_u8(byte).await?;
                stream.read_u8().await?;
            }
            std::io::Result::Ok(())
        };
        let client = simulation.start(pods[0], ContainerSpec::new("client", main), None);
        simulation.start(pods[2], ContainerSpec::new("other", main), None);
        let exited = simulation.exited(client);
        simulation.block_on(exited).unwrap();
        simulation.now()
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn turmoils_network_refuses_what_it_cannot_show() {
    let pair = Pair::new(1, Network::Turmoil);
    let faults = [LinkFault::Cut, LinkFault::Jammed, LinkFault::Lossy(0.1), LinkFault::Slow(ms(1)..=ms(2))];
    for fault in faults {
        let error = pair.simulation.impair(pair.client, pair.server, &fault, None).unwrap_err().to_string();
        assert!(error.contains("on turmoil's network: ") && error.ends_with("use the simulated network"), "{error}");
    }
    assert!(pair.simulation.reset(pair.client, pair.server, None).is_err());
}
