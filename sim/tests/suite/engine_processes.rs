//! Containers live, die and misbehave as processes do.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hermesh::engine::{Config, ContainerSpec, ExitReason, Mount, PodId, PodSpec, Simulation, SimulationError, Volume};
use hermesh_runtime::Runtime;
use tokio::time::sleep;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn one_pod() -> (Simulation, PodId) {
    let simulation = Simulation::new(Config::new(1));
    let pod = simulation.add_pod(PodSpec::new("default/web-0", ["10.0.0.1".parse().unwrap()]), None);
    (simulation, pod)
}

#[test]
fn a_kill_drops_all_tasks_at_once_in_the_order_they_were_spawned() {
    struct Tell(u32, Arc<Mutex<Vec<u32>>>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let (mut simulation, pod) = one_pod();
    let dropped = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&dropped);
    let main = move |rt: Runtime| async move {
        for number in 1..=20 {
            let tell = Tell(number, Arc::clone(&log));
            rt.spawn("teller", async move {
                let _tell = tell;
                std::future::pending::<()>().await;
            });
        }
        let _tell = Tell(0, log);
        std::future::pending::<()>().await;
    };
    let container = simulation.start(pod, ContainerSpec::new("app", main), None);
    simulation.run_for(ms(1)).unwrap();
    simulation.kill(container, None);
    assert_eq!(*dropped.lock().unwrap(), (0..=20).collect::<Vec<_>>());
    let status = simulation.status(container).unwrap();
    assert_eq!((status.code, status.reason), (137, ExitReason::Killed));
}

#[test]
fn a_panic_in_any_task_is_the_death_of_its_container_alone() {
    let (mut simulation, pod) = one_pod();
    let main = |rt: Runtime| async move {
        rt.spawn("bomb", async {
            sleep(ms(10)).await;
            panic!("boom {}", 1);
        });
        std::future::pending::<()>().await;
    };
    let victim = simulation.start(pod, ContainerSpec::new("victim", main), None);
    let neighbour = simulation.start(pod, ContainerSpec::new("app", |_| std::future::pending::<()>()), None);
    simulation.run_for(ms(20)).unwrap();
    let status = simulation.status(victim).unwrap();
    assert_eq!((status.code, status.reason), (101, ExitReason::Panicked));
    assert_eq!(status.message.as_deref(), Some("boom 1"));
    assert_eq!(simulation.status(neighbour), None);
}

#[test]
fn sigterm_asks_and_the_program_decides() {
    let (mut simulation, pod) = one_pod();
    let main = |rt: Runtime| async move {
        rt.terminated().await;
        sleep(ms(500)).await;
        Err("drained")
    };
    let container = simulation.start(pod, ContainerSpec::new("app", main), None);
    simulation.run_for(ms(10)).unwrap();
    simulation.terminate(container, None);
    simulation.run_for(ms(499)).unwrap();
    assert_eq!(simulation.status(container), None);
    simulation.run_for(ms(2)).unwrap();
    let status = simulation.status(container).unwrap();
    assert_eq!((status.code, status.message.as_deref()), (1, Some("drained")));
}

#[test]
fn volumes_outlive_containers_and_root_directories_do_not() {
    let (mut simulation, pod) = one_pod();
    let volume = Volume::new();
    let mut start = |main: fn(Runtime) -> futures::future::BoxFuture<'static, std::io::Result<()>>| {
        let mut spec = ContainerSpec::new("app", main);
        spec.mounts = vec![Mount { path: "/data".into(), volume: volume.clone() }];
        let container = simulation.start(pod, spec, None);
        let exited = simulation.exited(container);
        assert_eq!(simulation.block_on(exited).unwrap().message, None);
    };
    start(|rt| {
        Box::pin(async move {
            rt.write("/private", "1", 0o600).await?;
            rt.write_atomic("/data/shared", "1", 0o640).await
        })
    });
    start(|rt| {
        Box::pin(async move {
            assert!(!rt.exists("/private").await);
            assert_eq!(rt.read("/data/shared").await?, "1");
            assert_eq!(rt.metadata("/data/shared").await?.mode, 0o640);
            assert_eq!(rt.list("/").await?, [Path::new("/data")]);
            Ok(())
        })
    });
}

/// Unlike `tokio::task::yield_now`, waits for one turn of the others and not for all that they can do.
async fn let_others_run() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        context.waker().wake_by_ref();
        if std::mem::replace(&mut yielded, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[test]
fn a_plain_write_can_be_seen_torn_and_an_atomic_one_cannot() {
    let (mut simulation, pod) = one_pod();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let main = move |rt: Runtime| async move {
        rt.write("/plain", "old!", 0o600).await.unwrap();
        rt.write("/atomic", "old!", 0o600).await.unwrap();
        let writer = rt.clone();
        let task = rt.spawn("writer", async move {
            writer.write_atomic("/atomic", "new!", 0o600).await.unwrap();
            writer.write("/plain", "new!", 0o600).await.unwrap();
        });
        let (mut plain, mut atomic) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            plain.push(rt.read("/plain").await.unwrap());
            atomic.push(rt.read("/atomic").await.unwrap());
            let_others_run().await;
        }
        drop(task);
        for reads in [&mut plain, &mut atomic] {
            reads.dedup();
        }
        *log.lock().unwrap() = vec![plain, atomic];
    };
    simulation.start(pod, ContainerSpec::new("app", main), None);
    simulation.run_for(ms(1)).unwrap();
    assert_eq!(*seen.lock().unwrap(), [vec!["old!", "ne", "new!"], vec!["old!", "new!"]]);
}

#[test]
fn the_environment_is_the_containers() {
    let (mut simulation, pod) = one_pod();
    simulation.set_clock_skew(pod, -1_500_000_000, None);
    let main = |rt: Runtime| async move {
        sleep(ms(2000)).await;
        assert_eq!(rt.args(), ["proxy", "sidecar"]);
        assert_eq!(rt.var("POD_NAME").as_deref(), Some("web-0"));
        assert_eq!((rt.var("HOME"), rt.hostname()), (None, "web-0".to_owned()));
        assert_eq!(rt.wall(), Duration::from_secs(1_735_689_600) + ms(500));
    };
    let mut spec = ContainerSpec::new("app", main);
    spec.args = vec!["proxy".into(), "sidecar".into()];
    spec.env.insert("POD_NAME".into(), "web-0".into());
    let container = simulation.start(pod, spec, None);
    let exited = simulation.exited(container);
    assert_eq!(simulation.block_on(exited).unwrap().message, None);
}

#[test]
fn a_mesh_that_spins_fails_and_names_who_spins() {
    let mut config = Config::new(1);
    config.max_polls_per_instant = 1000;
    let mut simulation = Simulation::new(config);
    let pod = simulation.add_pod(PodSpec::new("default/web-0", []), None);
    let main = |rt: Runtime| async move {
        sleep(ms(10)).await;
        rt.spawn("spinner", async {
            loop {
                tokio::task::yield_now().await;
            }
        });
        std::future::pending::<()>().await;
    };
    simulation.start(pod, ContainerSpec::new("app", main), None);
    match simulation.run_for(ms(20)) {
        Err(SimulationError::Spinning { at, busiest, .. }) => {
            assert_eq!((at, busiest[0].0.as_str()), (ms(10), "default/web-0/app: spinner"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn waiting_for_what_cannot_happen_is_an_error_and_no_hang() {
    let (mut simulation, _) = one_pod();
    simulation.run_for(ms(5)).unwrap();
    let error = simulation.block_on(std::future::pending::<()>()).unwrap_err();
    assert_eq!(error, SimulationError::Deadlock { at: ms(5) });
}

#[test]
fn idle_time_costs_nothing() {
    let (mut simulation, pod) = one_pod();
    simulation.start(pod, ContainerSpec::new("app", |_| std::future::pending::<()>()), None);
    simulation.run_for(Duration::from_secs(30 * 24 * 3600)).unwrap();
    assert!(simulation.polls_total() < 10, "{} polls", simulation.polls_total());
}

#[test]
fn what_waits_on_tokios_watch_runs_in_spawn_order() {
    // tokio wakes several waiters of a `watch` in an order drawn from a generator that no seed reaches.
    for _ in 0..20 {
        let (mut simulation, pod) = one_pod();
        let order = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&order);
        let main = move |rt: Runtime| async move {
            #[expect(clippy::disallowed_methods, reason = "this is about code that uses it all the same")]
            let (sender, _) = tokio::sync::watch::channel(0);
            for number in 0..16 {
                let (mut receiver, log) = (sender.subscribe(), Arc::clone(&log));
                rt.spawn("waiter", async move {
                    receiver.changed().await.unwrap();
                    log.lock().unwrap().push(number);
                });
            }
            sleep(ms(1)).await;
            sender.send(1).unwrap();
            sleep(ms(1)).await;
        };
        simulation.start(pod, ContainerSpec::new("app", main), None);
        simulation.run_for(ms(10)).unwrap();
        assert_eq!(*order.lock().unwrap(), (0..16).collect::<Vec<_>>());
    }
}

#[test]
fn a_dead_process_does_nothing_through_a_leaked_runtime() {
    let (mut simulation, pod) = one_pod();
    let leak: Arc<Mutex<Option<Runtime>>> = Arc::default();
    let place = Arc::clone(&leak);
    let container = simulation.start(
        pod,
        ContainerSpec::new("app", move |rt: Runtime| async move {
            *place.lock().unwrap() = Some(rt);
        }),
        None,
    );
    let exited = simulation.exited(container);
    simulation.block_on(exited).unwrap();
    let rt = leak.lock().unwrap().take().unwrap();
    let ran = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&ran);
    rt.spawn("late", async move {
        count.fetch_add(1, Relaxed);
    });
    let written = simulation.block_on(rt.write("/x", "x", 0o600)).unwrap();
    assert_eq!(written.unwrap_err().to_string(), "the process has ended");
    simulation.run_for(ms(10)).unwrap();
    assert_eq!(ran.load(Relaxed), 0);
}

#[test]
#[should_panic(expected = "another simulation lives on this thread")]
fn a_thread_has_one_simulation_at_a_time() {
    let _first = Simulation::new(Config::new(1));
    let _second = Simulation::new(Config::new(1));
}
