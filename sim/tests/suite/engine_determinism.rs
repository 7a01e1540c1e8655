//! A run is a function of its seed: on any thread, beside any other run, and pod by pod.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hermesh::engine::{Config, ContainerSpec, PodId, PodSpec, Simulation};
use hermesh::trace::{Trace, first_difference};
use hermesh_runtime::{Address, Level, Runtime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

hermesh_runtime::event! {
    /// A byte came back.
    Echoed = "test.echoed" { to: u8, byte: u8, took_ms: u64, }
}

const PODS: u8 = 5;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn address(pod: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, 0, pod + 1]), 80)
}

/// Serves echo, and calls the others in drawn order at drawn times with drawn bytes.
async fn app(rt: Runtime, me: u8) {
    let mut listener = rt.listen(Address::Tcp(address(me))).await.unwrap();
    let server = rt.clone();
    rt.spawn("serve", async move {
        while let Ok(mut stream) = listener.accept().await {
            server.spawn("echo", async move {
                while let Ok(byte) = stream.read_u8().await {
                    if stream.write_u8(byte).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let mut draws = rt.draws("calls");
    loop {
        tokio::time::sleep(ms(draws.between(1, 50))).await;
        let to = draws.below(u64::from(PODS)) as u8;
        let mut byte = [0];
        rt.fill(&mut byte);
        let start = tokio::time::Instant::now();
        let call = async {
            let mut stream = rt.connect(Address::Tcp(address(to))).await?;
            stream.write_u8(byte[0]).await?;
            stream.read_u8().await
        };
        if let Ok(Ok(byte)) = tokio::time::timeout(ms(300), call).await {
            rt.emit(Echoed { to, byte, took_ms: start.elapsed().as_millis() as u64 });
        }
    }
}

fn start(simulation: &Simulation, pod: PodId, me: u8) -> hermesh::engine::ContainerId {
    simulation.start(pod, ContainerSpec::new("app", move |rt| app(rt, me)), None)
}

fn run(seed: u64, shuffle_tasks: bool, with_stranger: bool) -> Trace {
    let mut config = Config::new(seed);
    config.latency = ms(1)..=ms(15);
    config.level = Level::Wire;
    config.shuffle_tasks = shuffle_tasks;
    let mut simulation = Simulation::new(config);
    if with_stranger {
        let stranger = simulation.add_pod(PodSpec::new("other/stranger", ["10.9.9.9".parse().unwrap()]), None);
        let main = |rt: Runtime| async move {
            let mut draws = rt.draws("calls");
            while draws.index() < 1000 {
                tokio::time::sleep(ms(draws.between(1, 5))).await;
            }
        };
        simulation.start(stranger, ContainerSpec::new("app", main), None);
    }
    let pods: Vec<PodId> = (0..PODS)
        .map(|pod| simulation.add_pod(PodSpec::new(format!("default/app-{pod}"), [address(pod).ip()]), None))
        .collect();
    let containers: Vec<_> = (0..PODS).map(|me| start(&simulation, pods[usize::from(me)], me)).collect();
    simulation.run_for(ms(1000)).unwrap();
    simulation.kill(containers[1], None);
    simulation.run_for(ms(500)).unwrap();
    start(&simulation, pods[1], 1);
    simulation.partition(pods[0], pods[2], None);
    simulation.run_for(ms(1000)).unwrap();
    simulation.heal(pods[0], pods[2], None);
    simulation.run_for(ms(1000)).unwrap();
    simulation.finish()
}

#[test]
fn the_same_seed_gives_the_same_trace_on_one_thread_and_on_eight_at_once() {
    for shuffle in [false, true] {
        let alone = run(1, shuffle, false);
        assert!(alone.of::<Echoed>().count() > 100, "{}", alone.of::<Echoed>().count());
        #[expect(clippy::disallowed_methods, reason = "that threads do not matter is what is tested")]
        let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(move || run(1, shuffle, false))).collect();
        for thread in threads {
            let beside_others = thread.join().unwrap();
            if let Some(difference) = first_difference(&alone, &beside_others) {
                panic!("{difference}");
            }
            assert_eq!(alone.digest_hex(), beside_others.digest_hex());
        }
    }
}

#[test]
fn another_seed_and_another_interleaving_give_other_traces() {
    let digests = [run(1, false, false), run(2, false, false), run(1, true, false)].map(|trace| trace.digest());
    assert!(digests[0] != digests[1] && digests[0] != digests[2] && digests[1] != digests[2]);
}

#[test]
fn an_unrelated_pod_changes_nothing_for_the_others() {
    let echoes = |trace: &Trace| -> Vec<String> {
        let echoed = trace.of::<Echoed>();
        echoed.map(|(recorded, event)| format!("{} {} {event:?}", recorded.t_us, recorded.at)).collect()
    };
    assert_eq!(echoes(&run(1, false, false)), echoes(&run(1, false, true)));
}
