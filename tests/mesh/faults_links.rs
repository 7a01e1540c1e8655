//! Broken links, as clients and the control plane see them.

use std::ops::Range;
use std::time::Duration;

use hermesh::engine::Network;
use hermesh::{LinkFault, Load, Mesh, Responses};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};

#[test]
fn what_lossy_and_slow_links_make_late_they_do_not_lose() {
    for_each_seed(1..=20, |seed| {
        let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
        for (from, to) in [("echo-v1", "echo-v2"), ("echo-v2", "echo-v1"), ("istiod", "echo-v1"), ("echo-v1", "istiod")]
        {
            mesh.impair(from, to, LinkFault::Lossy(0.05));
            mesh.impair(from, to, LinkFault::Slow(Duration::from_millis(1)..=Duration::from_millis(300)));
        }
        let load = mesh.load(Load::new("echo-v1", TARGET).qps(20).timeout(Duration::from_secs(60)));
        mesh.apply(manifests::subsets(&[("v1", &[("version", "v1")][..]), ("v2", &[("version", "v2")][..])]));
        mesh.apply(manifests::virtual_service(&manifests::split(&[("v1", 0), ("v2", 100)])));
        mesh.wait_converged();
        let to_v2 = mesh.run_for(Duration::from_secs(5));
        mesh.try_heal_all().expect("the simulation goes on");
        let calls = mesh.stop(&load);
        calls.assert_no_errors();
        assert_eq!(calls.during(to_v2).workloads().keys().collect::<Vec<_>>(), ["echo-v2"], "seed {seed}");
        assert!(calls.iter().any(|call| call.took > Duration::from_millis(200)), "seed {seed}: none was late");
    });
}

#[test]
fn a_client_whose_connection_ended_by_an_rst_that_was_lost_is_told_by_the_next_one() {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(20).timeout(Duration::from_secs(1)));
    // What the paused process has not read makes its end an abort.
    mesh.run_for(Duration::from_secs(2));
    mesh.pause("echo-v2/0/app").run_for(Duration::from_secs(1));
    mesh.impair("echo-v2", "echo-v1", LinkFault::Cut).kill("echo-v2/0/app").run_for(Duration::from_millis(100));
    mesh.heal("echo-v1", "echo-v2").run_for(Duration::from_secs(30));
    mesh.wait_ready();
    let after = load.during(mesh.run_for(Duration::from_secs(10)));
    after.assert_no_errors();
    assert_eq!(after.workloads().keys().collect::<Vec<_>>(), ["echo-v1", "echo-v2"]);
}

fn echo(network: Network) -> Mesh {
    let mut mesh = hermesh::mesh().network(network).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    mesh
}

fn count(mesh: &Mesh, kind: &str) -> usize {
    mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == kind).count())
}

#[test]
fn what_is_held_waits_until_it_is_released_on_both_networks() {
    for network in [Network::Simulated, Network::Turmoil] {
        let mut mesh = echo(network);
        let load = mesh.load(Load::new("echo-v1", TARGET).qps(20).timeout(Duration::from_secs(30)));
        mesh.run_for(Duration::from_secs(2));
        let resets = count(&mesh, "net.reset");
        mesh.hold_link("echo-v1", "echo-v2");
        let held = mesh.run_for(Duration::from_secs(4));
        mesh.release_link("echo-v1", "echo-v2").release_link("echo-v1", "echo-v2");
        let after = mesh.run_for(Duration::from_secs(2));
        let again = mesh.hold_link_for("echo-v1", "echo-v2", Duration::from_secs(1)).run_for(Duration::from_secs(4));
        let calls = mesh.stop(&load);
        calls.assert_no_errors();
        let longest = |of: Range<Duration>| calls.during(of).iter().map(|call| call.took).max().unwrap();
        assert!(longest(held) > Duration::from_secs(3), "{network:?}");
        assert!(longest(after) < Duration::from_millis(100), "{network:?}");
        let once = Duration::from_millis(800)..Duration::from_millis(1100);
        let again = longest(again);
        assert!(once.contains(&again), "{network:?}: {again:?}");
        // In both directions, each once: what is released already is not released again.
        assert_eq!((count(&mesh, "net.jammed"), count(&mesh, "net.mended")), (4, 4), "{network:?}");
        assert_eq!(count(&mesh, "net.reset"), resets, "{network:?}");
    }
}

#[test]
fn a_release_leaves_alone_what_else_is_wrong_with_a_link() {
    let mut mesh = echo(Network::Simulated);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(20).timeout(Duration::from_secs(30)));
    let slow = || LinkFault::Slow(Duration::from_millis(300)..=Duration::from_millis(300));
    mesh.run_for(Duration::from_secs(2));
    mesh.impair("echo-v1", "echo-v2", slow()).hold_link("echo-v1", "echo-v2").run_for(Duration::from_secs(1));
    mesh.impair("echo-v2", "istiod", LinkFault::Jammed).release_links().run_for(Duration::from_secs(1));
    assert_eq!(count(&mesh, "net.mended"), 3);
    let still = mesh.run_for(Duration::from_secs(2));
    mesh.mend("echo-v1", "echo-v2", LinkFault::Slow(Duration::ZERO..=Duration::ZERO)).run_for(Duration::from_secs(1));
    let well = mesh.run_for(Duration::from_secs(2));
    let calls = mesh.stop(&load);
    calls.assert_no_errors();
    let longest = |of: Range<Duration>| calls.during(of).iter().map(|call| call.took).max().unwrap();
    assert!(longest(still) >= Duration::from_millis(300));
    assert!(longest(well) < Duration::from_millis(100));
}

#[test]
fn one_direction_is_held_and_released_by_itself() {
    let mut mesh = echo(Network::Simulated);
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(20).timeout(Duration::from_secs(30)));
    mesh.run_for(Duration::from_secs(2));
    mesh.hold_link("echo-v1", "echo-v2").mend("echo-v2", "echo-v1", LinkFault::Jammed).run_for(Duration::from_secs(1));
    let ended = |mesh: &Mesh| count(mesh, "echo.request");
    let before = ended(&mesh);
    mesh.mend("echo-v1", "echo-v2", LinkFault::Jammed).run_for(Duration::from_millis(10));
    assert!(ended(&mesh) >= before + 10, "the requests of a second arrive at once");
    mesh.stop(&load).assert_no_errors();

    drop(mesh);
    let error = echo(Network::Turmoil).try_mend("echo-v1", "echo-v2", &LinkFault::Jammed).unwrap_err().to_string();
    assert!(error.starts_with("a link that is held in one direction cannot be shown on turmoil's network"), "{error}");
}

#[test]
fn a_power_cycle_ends_faults_of_links_and_clocks_and_the_trace_says_so() {
    let mut mesh = hermesh::mesh().nodes(2).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    let node = mesh.get_pods().rows.into_iter().find(|row| row.workload == "echo-v1").and_then(|row| row.node).unwrap();
    let hour = Duration::from_secs(3600);
    mesh.impair("echo-v1", "echo-v2", LinkFault::Slow(Duration::from_millis(50)..=Duration::from_millis(50)));
    mesh.hold_link_for("echo-v1", "istiod", hour).partition("echo-v1", "echo-v2").set_clock_ahead("echo-v1", hour);
    mesh.power_off(&node).run_for(Duration::from_secs(5));
    assert_eq!((count(&mesh, "net.mended"), count(&mesh, "clock.set")), (0, 1));
    mesh.power_on(&node).run_for(Duration::from_secs(60));
    // One that is slow, two that are held, and two that are cut.
    assert_eq!((count(&mesh, "net.mended"), count(&mesh, "clock.set")), (5, 2));
    // Nothing is left of them that could end later.
    mesh.run_for(hour);
    mesh.try_heal_all().unwrap();
    assert_eq!((count(&mesh, "net.mended"), count(&mesh, "clock.set")), (5, 2));
}

#[test]
fn nothing_is_awaited_over_links_of_pods_that_are_gone() {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    mesh.impair("echo-v1", "echo-v2", LinkFault::Slow(Duration::from_secs(20)..=Duration::from_secs(20)));
    let wait = |mesh: &mut hermesh::Mesh| mesh.try_wait_converged(Duration::from_secs(300)).expect("it converges");
    assert!(wait(&mut mesh) >= Duration::from_secs(20), "something may be under way as long as the link is slow");
    mesh.delete(manifests::deployment("echo-v2", &[("version", "v2")], true)).run_for(Duration::from_secs(90));
    assert!(wait(&mut mesh) < Duration::from_secs(20));
}

#[test]
fn connections_are_reset_once() {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    let load = mesh.load(Load::new("echo-v1", TARGET).qps(20));
    mesh.run_for(Duration::from_secs(5));
    assert_eq!(mesh.try_reset("echo-v1", "echo-v2").unwrap(), 1);
    assert_eq!(mesh.try_reset("echo-v1", "echo-v2").unwrap(), 0, "nothing is left of what was reset just now");
    mesh.run_for(Duration::from_secs(5));
    mesh.stop(&load);
}

#[test]
fn a_process_that_is_paused_is_not_asked_what_it_has() {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1"])).wait_ready().wait_converged().pause("echo-v1/0/app");
    let error = mesh.try_client_config("echo-v1").unwrap_err().to_string();
    assert!(error.ends_with("/app is paused and answers nothing; resume it first"), "{error}");
    mesh.resume("echo-v1/0/app");
    assert!(!mesh.client_config("echo-v1").0.is_empty());
}

#[test]
fn delays_and_orders_that_make_no_sense_are_refused() {
    let mut mesh = hermesh::mesh().namespace(manifests::NAMESPACE).start();
    let seconds = Duration::from_secs;
    let error = mesh.try_delay(&Responses::all(), seconds(5)..=seconds(1)).unwrap_err().to_string();
    assert_eq!(error, "the delay 5s to 1s: expected a range that is not empty");
    let error = mesh.try_reorder(&Responses::all(), 1).unwrap_err().to_string();
    assert_eq!(error, "1 responses have one order: expected 2 at least");
}
