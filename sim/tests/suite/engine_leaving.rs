//! Code that leaves the simulation is stopped where it does, and told what to do instead.

#![expect(clippy::disallowed_methods, reason = "these are what is caught")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use hermesh::engine::{Config, ContainerSpec, ExitReason, ExitStatus, PodSpec, Simulation};
use hermesh_runtime::Runtime;
use tokio::time::{Instant, sleep};

fn simulation() -> Simulation {
    Simulation::new(Config::new(1))
}

/// How a container ends whose program is `main`.
fn end_of<F>(main: impl FnOnce(Runtime) -> F + Send + 'static) -> ExitStatus
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut simulation = simulation();
    let pod = simulation.add_pod(PodSpec::new("default/web-0", ["10.0.0.1".parse().unwrap()]), None);
    let container = simulation.start(pod, ContainerSpec::new("app", main), None);
    let exited = simulation.exited(container);
    simulation.block_on(exited).unwrap()
}

#[track_caller]
fn assert_left(status: &ExitStatus, words: &[&str]) {
    let message = status.message.as_deref().unwrap_or_default();
    assert_eq!((status.reason, status.code), (ExitReason::LeftSimulation, 101), "{message}");
    for word in words {
        assert!(message.contains(word), "{word} is not in: {message}");
    }
}

#[test]
fn tokio_spawn_is_told_of_hermesh_spawn_and_of_the_task_that_called_it() {
    let main = |rt: Runtime| async move {
        rt.spawn("library", async { drop(tokio::spawn(async {})) });
        std::future::pending::<()>().await;
    };
    assert_left(&end_of(main), &["tokio::spawn", "`library`", "hermesh::spawn"]);
    let main = |_| async {
        hermesh::spawn(async { drop(tokio::spawn(async {})) });
        std::future::pending::<()>().await;
    };
    // A task that was not given a name has that of the code.
    assert_left(&end_of(main), &["engine_leaving::tokio_spawn_is_told_of_hermesh_spawn"]);
}

#[test]
fn blocking_work_is_never_begun() {
    let ran = Arc::new(AtomicBool::new(false));
    let runs = Arc::clone(&ran);
    let main = |_| async move {
        let _ = tokio::task::spawn_blocking(move || runs.store(true, Relaxed)).await;
    };
    assert_left(&end_of(main), &["spawn_blocking", "RUST_BACKTRACE"]);
    assert!(!ran.load(Relaxed));
}

#[test]
fn files_of_the_operating_system_are_not_opened_by_tokio() {
    let main = |_| async {
        let read = tokio::fs::read("/etc/hostname").await;
        unreachable!("{read:?}");
    };
    assert_left(&end_of(main), &["tokio::fs", "Runtime::read"]);
}

#[test]
fn sockets_of_the_operating_system_are_told_of_those_there_are() {
    let main = |_| async {
        let bound = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
        unreachable!("{bound:?}");
    };
    assert_left(&end_of(main), &["tokio::net", "Runtime::listen", "XdsServer"]);
    let main = |_| async {
        let connected = tokio::net::UnixStream::connect("/nowhere").await;
        assert!(connected.is_err(), "tokio asks the kernel before it asks its runtime");
        let socket = tokio::net::UdpSocket::bind(("127.0.0.1", 0)).await;
        unreachable!("{socket:?}");
    };
    assert_left(&end_of(main), &["Runtime::connect", "XdsChannel"]);
    // A name has to be resolved first, for which tokio takes a thread.
    let main = |_| async {
        let connected = tokio::net::TcpStream::connect("localhost:1").await;
        unreachable!("{connected:?}");
    };
    assert_left(&end_of(main), &["host names", "Runtime::resolve"]);
}

#[test]
fn signals_and_runtimes_of_its_own_are_told_what_a_container_has() {
    let main = |_| async { tokio::signal::ctrl_c().await.unwrap() };
    assert_left(&end_of(main), &["tokio::signal", "Runtime::terminated"]);
    let main = |_| async {
        let own = tokio::runtime::Builder::new_current_thread().build().unwrap();
        own.block_on(async {});
    };
    assert_left(&end_of(main), &["a tokio runtime", "awaited"]);
    let main = |_| async { tokio::task::block_in_place(|| ()) };
    assert_left(&end_of(main), &["block_in_place", "place"]);
}

#[test]
fn a_panic_that_has_nothing_to_do_with_it_is_a_panic() {
    let status = end_of(|_| async { panic!("IO is disabled on this box") });
    assert_eq!((status.reason, status.message.as_deref()), (ExitReason::Panicked, Some("IO is disabled on this box")));
}

#[test]
fn spawned_tasks_run_in_the_container_and_die_with_it() {
    let mut simulation = simulation();
    let pod = simulation.add_pod(PodSpec::new("default/web-0", ["10.0.0.1".parse().unwrap()]), None);
    let held = Arc::new(());
    let holds = Arc::clone(&held);
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    let main = move |_| async move {
        let begin = Instant::now();
        let sum: u32 = futures::future::join_all([1, 2, 3].map(|number| {
            hermesh::spawn(async move {
                sleep(Duration::from_secs(number)).await;
                u32::try_from(number).unwrap()
            })
        }))
        .await
        .into_iter()
        .map(Result::unwrap)
        .sum();
        let _ = answer.send((sum, begin.elapsed()));
        hermesh::spawn(async move {
            let _holds = holds;
            std::future::pending::<()>().await;
        });
        std::future::pending::<()>().await;
    };
    let container = simulation.start(pod, ContainerSpec::new("app", main), None);
    simulation.run_for(Duration::from_secs(5)).unwrap();
    assert_eq!(answered.try_recv(), Ok((6, Duration::from_secs(3))));
    assert_eq!(Arc::strong_count(&held), 2);
    simulation.kill(container, None);
    assert_eq!(Arc::strong_count(&held), 1);
    let _trace = simulation.finish();
}

#[test]
#[should_panic(expected = "this is the code around the simulation")]
fn the_code_around_a_simulation_has_no_process_to_spawn_in() {
    let _simulation = simulation();
    drop(hermesh::spawn(async {}));
}

#[tokio::test]
#[should_panic(expected = "not in `#[tokio::test]`")]
async fn a_test_of_tokios_cannot_hold_a_simulation() {
    drop(simulation());
}
