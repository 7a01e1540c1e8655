//! Where calls go by locality: weights, priorities and what a client does when a priority fails (gRFC A27, A52, A56).

use std::time::Duration;

use hermesh::{Call, Load, Mesh};
use hermesh_tests::bounds;
use hermesh_tests::shop;
use hermesh_xds::ClusterPriority;

const URL: &str = "xds:///cart:7070";

/// A workload with the label `app`, in a place that istiod reads as region/zone.
fn workload(name: &str, app: &str, place: &str) -> String {
    let text = shop::deployment(name, "registry.corp/any:1", &[shop::PROBED]);
    let labels = format!("labels: {{app: {name}, version: {app}, istio-locality: {place}}}");
    text.replace(&format!("labels: {{app: {name}, version: v1}}"), &labels)
}

fn rule(policy: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: cart}}\nspec: {{host: cart, trafficPolicy: {policy}}}\n"
    )
}

/// A web in eu/1 that calls carts there, in eu/2 and in us/1.
fn start(policy: &str) -> Mesh {
    let mesh = hermesh::mesh().seed(21).namespace("shop").image("registry.corp/*", hermesh::image::stand_in);
    let mut mesh = mesh.start();
    let mut text = shop::NAMESPACE.to_owned();
    text += &shop::service("cart").replace("{app: cart}", "{version: cart}");
    for (name, app, place) in
        [("near", "cart", "eu.1"), ("next", "cart", "eu.2"), ("far", "cart", "us.1"), ("web", "web", "eu.1")]
    {
        text += &workload(name, app, place);
    }
    text += &rule(policy);
    mesh.apply(text).wait_ready().wait_converged();
    mesh
}

const FAILOVER: &str = "{outlierDetection: {}}";

/// The workloads that answer calls over a new channel, and how long they take together.
fn answering(mesh: &mut Mesh, count: u32) -> (Vec<String>, Duration) {
    let mut call = Call::new("web", URL).count(count).qps(100);
    call.timeout = Some(Duration::from_secs(60));
    let report = mesh.call(call);
    assert!(report.is_ok(), "{report:?}");
    (report.workloads.into_keys().collect(), report.ended - report.began)
}

#[test]
fn a_new_client_waits_ten_seconds_for_a_priority_that_does_not_answer() {
    let mut mesh = start(FAILOVER);
    assert_eq!(answering(&mut mesh, 5).0, ["near"]);
    mesh.partition("web", "near");
    let (names, took) = answering(&mut mesh, 1);
    assert_eq!(names, ["next"]);
    assert!((Duration::from_secs(10)..Duration::from_millis(10_500)).contains(&took), "{took:?}");
    mesh.partition("web", "next");
    let (names, took) = answering(&mut mesh, 1);
    assert_eq!(names, ["far"]);
    assert!((Duration::from_secs(20)..Duration::from_millis(20_500)).contains(&took), "{took:?}");
    let why = mesh.explain("web", URL);
    assert!(why.contains("calls to outbound|7070||cart.shop.svc.cluster.local go to priority 2, us/1"), "{why}");
}

#[test]
fn a_priority_that_refuses_is_left_at_once_and_taken_again_when_it_is_back() {
    let mut mesh = start(FAILOVER);
    let load = mesh.load(Load::new("web", URL).qps(100));
    mesh.run_for(Duration::from_secs(2));
    let before = mesh.run_for(Duration::from_secs(1));
    mesh.kill("near/0/server");
    let gone = mesh.run_for(Duration::from_secs(1));
    mesh.wait_ready();
    mesh.run_for(Duration::from_secs(5));
    let after = mesh.run_for(Duration::from_secs(1));
    let calls = mesh.stop(&load);
    calls.during(before).assert_all_to("near");
    assert!(calls.during(gone).workloads().contains_key("next"), "{:?}", calls.workloads());
    calls.during(after).assert_all_to("near");
    assert!(!calls.workloads().contains_key("far"));
    let told: Vec<usize> =
        mesh.with_trace(|trace| trace.of::<ClusterPriority>().map(|(_, told)| told.priority).collect());
    assert_eq!(told, [0, 1, 0], "one channel, there and back");
}

#[test]
fn traffic_is_spread_over_localities_by_their_weights() {
    let distribute = "[{from: eu/1, to: {eu/1: 70, us: 30}}]";
    let mut mesh = start(&format!("{{loadBalancer: {{localityLbSetting: {{distribute: {distribute}}}}}}}"));
    let load = mesh.load(Load::new("web", URL).qps(200));
    mesh.run_for(Duration::from_secs(2));
    let window = mesh.run_for(Duration::from_secs(5));
    let calls = mesh.stop(&load).during(window);
    calls.assert_no_errors();
    let (shares, all) = (calls.workloads(), calls.len() as u64);
    assert!(bounds::accepted(70, 100, all).contains(&shares["near"]), "{shares:?}");
    assert_eq!(shares.get("next"), None, "it has no share");
    assert_eq!(shares["near"] + shares["far"], all);
}
