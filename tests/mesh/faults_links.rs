//! Broken links, as clients and the control plane see them.

use std::time::Duration;

use hermesh::{LinkFault, Load, Responses};
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
