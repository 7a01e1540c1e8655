//! istiod's responses in the test's hand: what clients do without them, and that the mesh's own account stays true.

use std::time::Duration;

use hermesh::{Calls, DisturbError, Load, Mesh, ResourceType, Responses, TargetError, WaitError};
use hermesh_istiod::push::{Dropped, Held, Pushed, Released};
use hermesh_tests::manifests::{self, TARGET};
use hermesh_xds::client::XdsResponse;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Two versions of echo; echo-v1 sends ten calls a second over one channel, and did so long enough to reach both.
fn start(seed: u64) -> (Mesh, hermesh::RunningLoad) {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    let load = mesh.load(Load::new("echo-v1", TARGET));
    mesh.run_for(secs(2));
    (mesh, load)
}

fn endpoints() -> Responses {
    Responses::of([ResourceType::Endpoints])
}

fn add_v3(mesh: &mut Mesh) {
    mesh.apply(manifests::deployment("echo-v3", &[("version", "v3")], true)).wait_ready();
}

fn reaches_v3(calls: &Calls) -> bool {
    calls.workloads().contains_key("echo-v3")
}

/// What a wait for convergence lacks after `time`.
#[track_caller]
fn missing(mesh: &mut Mesh, time: Duration) -> Vec<String> {
    match mesh.try_wait_converged(time) {
        Err(WaitError::Timeout { missing, .. }) => missing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn endpoints_that_are_held_are_not_in_use_before_they_are_released() {
    let (mut mesh, load) = start(1);
    mesh.hold(endpoints().to("echo-v1"));
    add_v3(&mut mesh);
    let held = load.during(mesh.run_for(secs(5)));
    assert!(!reaches_v3(&held) && held.len() > 40, "{:?}", held.workloads());

    let missing = missing(&mut mesh, secs(5));
    let kept: Vec<_> = missing.iter().filter(|line| line.contains("is kept back by a `hold`")).collect();
    assert_eq!(kept.len(), 1, "{missing:?}");
    assert!(kept[0].contains("~echo-v1-") && kept[0].contains(": EDS "), "{missing:?}");

    mesh.release(endpoints()).wait_converged();
    let released = load.during(mesh.run_for(secs(5)));
    assert!(reaches_v3(&released), "{:?}", released.workloads());
    mesh.stop(&load).assert_no_errors();
    mesh.with_trace(|trace| {
        let held: Vec<_> = trace.of::<Held>().map(|(_, held)| held.nonce.clone()).collect();
        let released: Vec<_> = trace.of::<Released>().map(|(_, released)| released.nonce.clone()).collect();
        assert!(!held.is_empty());
        assert_eq!(held, released, "all that was held left in order");
    });
}

#[test]
fn a_hold_ends_in_time_and_holds_nobody_else() {
    let (mut mesh, load) = start(2);
    mesh.hold_for(endpoints().to("echo-v2"), secs(8));
    add_v3(&mut mesh);
    mesh.run_for(secs(1));
    assert!(reaches_v3(&load.during(mesh.run_for(secs(2)))), "the endpoints of echo-v1 are not held");
    drop((mesh, load));

    let (mut mesh, load) = start(2);
    let began = mesh.now();
    mesh.hold_for(endpoints().to("echo-v1/0"), secs(20));
    add_v3(&mut mesh);
    mesh.wait_converged();
    let took = mesh.now() - began;
    assert!((secs(20)..secs(21)).contains(&took), "{took:?}");
    assert!(!reaches_v3(&load.during(began..began + secs(20))));
    assert!(reaches_v3(&load.during(mesh.run_for(secs(2)))));
}

#[test]
fn a_hold_outlives_istiod_and_streams() {
    let (mut mesh, load) = start(3);
    mesh.hold(endpoints().to("echo-v1"));
    add_v3(&mut mesh);
    mesh.restart("istiod").run_for(secs(30));
    let held = load.during(mesh.run_for(secs(5)));
    assert!(!reaches_v3(&held) && held.len() > 40, "{:?}", held.workloads());
    held.assert_no_errors();
    mesh.release(Responses::all()).wait_converged();
    assert!(reaches_v3(&load.during(mesh.run_for(secs(2)))));
}

#[test]
fn a_response_that_is_dropped_was_sent_as_far_as_istiod_knows_until_the_next_makes_up_for_it() {
    let (mut mesh, load) = start(4);
    mesh.drop_responses(endpoints().to("echo-v1"), None);
    add_v3(&mut mesh);
    mesh.run_for(secs(2));
    mesh.release(Responses::all());
    let lost = load.during(mesh.run_for(secs(20)));
    assert!(!reaches_v3(&lost), "nobody sends it again: {:?}", lost.workloads());
    let lacking = missing(&mut mesh, secs(5));
    assert!(lacking.iter().any(|line| line.ends_with("was dropped on its way by a `drop`")), "{lacking:?}");
    assert!(mesh.with_trace(|trace| trace.of::<Dropped>().count()) > 0);

    mesh.delete(manifests::deployment("echo-v2", &[("version", "v2")], true)).wait_converged();
    let healed = load.during(mesh.run_for(secs(5)));
    assert!(reaches_v3(&healed), "{:?}", healed.workloads());
}

#[test]
fn so_many_are_dropped_and_no_more() {
    let (mut mesh, _load) = start(5);
    mesh.drop_responses(Responses::of([ResourceType::Cluster]).to("echo-v1"), 1);
    mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).run_for(secs(2));
    mesh.apply(manifests::client_tls("DISABLE")).run_for(secs(2));
    assert_eq!(mesh.with_trace(|trace| trace.of::<Dropped>().count()), 1);
    mesh.wait_converged();
}

#[test]
fn a_slow_istiod_is_one_whose_responses_are_all_delayed() {
    let (mut mesh, load) = start(6);
    mesh.delay(Responses::all(), secs(3)..=secs(6));
    let began = mesh.now();
    mesh.apply(manifests::client_tls("DISABLE")).wait_converged();
    let took = mesh.now() - began;
    assert!((secs(3)..secs(10)).contains(&took), "{took:?}");
    let waited: Vec<u64> =
        mesh.with_trace(|trace| trace.of::<Released>().map(|(_, released)| released.waited_ms).collect());
    assert!(waited.len() > 4 && waited.iter().all(|waited| (3000..=6000).contains(waited)), "{waited:?}");
    assert!(waited.iter().any(|other| *other != waited[0]), "each draws its own: {waited:?}");
    mesh.stop(&load).assert_no_errors();
}

#[test]
fn the_responses_of_a_push_leave_in_reverse_order() {
    let (mut mesh, load) = start(7);
    let begin = mesh.with_trace(|trace| trace.events().len());
    mesh.reorder(Responses::all().to("echo-v1"), 4);
    mesh.apply(manifests::client_tls("DISABLE")).run_for(secs(2));
    let (made, received) = mesh.with_trace(|trace| {
        let new = || trace.events()[begin..].iter();
        let made: Vec<&str> =
            new().filter_map(|event| event.get::<Pushed>()).map(|pushed| pushed.resource_type).collect();
        let responses = new().filter_map(|event| event.get::<XdsResponse>());
        let received: Vec<String> =
            responses.filter(|response| *response.client == *TARGET).map(|response| response.r#type.clone()).collect();
        (made, received)
    });
    assert!(made.ends_with(&["CDS", "EDS", "LDS", "RDS"]), "{made:?}");
    assert_eq!(received, ["RDS", "LDS", "EDS", "CDS"]);
    mesh.stop(&load).assert_no_errors();
}

#[test]
fn who_is_meant_must_be_there_and_be_a_pod() {
    let (mut mesh, _load) = start(8);
    let unknown = mesh.try_hold(&endpoints().to("echo-v9"), None).unwrap_err();
    assert_eq!(unknown.to_string(), "workload `echo-v9` does not exist; did you mean `echo-v1`?");
    let container = mesh.try_release(&endpoints().to("echo-v1/0/app")).unwrap_err();
    assert!(matches!(container, DisturbError::Target(TargetError::Container { .. })), "{container}");
}
