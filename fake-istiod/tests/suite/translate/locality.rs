//! Load assignments by locality: weights, shares and priorities, as a client in some place gets them.

use std::collections::BTreeSet;

use hermesh_xds::ResourceType::Endpoints;
use proptest::prelude::*;

use super::support::Cluster;

const CLUSTER: &str = "outbound|7070||echo.ns.svc.cluster.local";

/// A workload in a place, with more labels; two of the same name are one.
fn workload(name: &str, locality: &str, labels: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: ns}}
spec:
  selector: {{matchLabels: {{app: echo}}}}
  template:
    metadata: {{labels: {{app: echo, istio-locality: \"{locality}\"{labels}}}}}
    spec: {{containers: [{{name: app, image: echo}}]}}
"
    )
}

/// One workload in each of these places; the first one is the client.
fn cluster(places: &[(&str, &str, &str)]) -> Cluster {
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: echo, namespace: ns}\nspec: {selector: {app: echo}, ports: [{port: 7070}]}\n";
    let workloads: String = places.iter().map(|(name, locality, labels)| workload(name, locality, labels)).collect();
    let mut cluster = Cluster::default();
    cluster.apply(&(service.to_owned() + &workloads)).run_deployments();
    cluster
}

const PLACES: [(&str, &str, &str); 6] = [
    ("a", "eu.1.x", ""),
    ("b", "eu.1.y", ""),
    ("c", "eu.2.x", ""),
    ("d", "us.1.x", ", version: v2"),
    ("e", "asia.1.x", ""),
    ("f", "", ""),
];

fn rule(policy: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: echo, namespace: ns}}\nspec: {{host: echo, trafficPolicy: {policy}}}\n"
    )
}

fn described(cluster: &Cluster, client: &str) -> String {
    cluster.described(&cluster.node("ns", &format!("{client}-0")), Endpoints, &[CLUSTER])
}

/// Locality, priority, weight and how many endpoints, in the order in which they are sent.
fn sent(cluster: &Cluster, client: &str) -> Vec<(String, u32, u32, usize)> {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use prost::Message as _;
    let node = cluster.node("ns", &format!("{client}-0"));
    let [resource] = &cluster.resources(&node, Endpoints, &[CLUSTER])[..] else { panic!("one is asked for") };
    let assignment = ClusterLoadAssignment::decode(resource.body.value.as_slice()).unwrap();
    let groups = assignment.endpoints.into_iter().map(|group| {
        let locality = group.locality.unwrap();
        let name = format!("{}/{}/{}", locality.region, locality.zone, locality.sub_zone);
        (name, group.priority, group.load_balancing_weight.unwrap().value, group.lb_endpoints.len())
    });
    groups.collect()
}

/// Only the priorities, by locality.
fn priorities(cluster: &Cluster, client: &str) -> Vec<(String, u32)> {
    sent(cluster, client).into_iter().map(|(locality, priority, ..)| (locality, priority)).collect()
}

fn named(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected.iter().map(|(name, priority)| ((*name).to_owned(), *priority)).collect()
}

#[test]
fn localities_have_the_weight_of_their_endpoints_and_no_priorities_by_themselves() {
    let mut places = PLACES.to_vec();
    places.push(("g", "us.1.x", ""));
    let cluster = cluster(&places);
    let expected = [("//", 1), ("asia/1/x", 1), ("eu/1/x", 1), ("eu/1/y", 1), ("eu/2/x", 1), ("us/1/x", 2)];
    let expected: Vec<_> =
        expected.iter().map(|(name, count)| ((*name).to_owned(), 0, *count, *count as usize)).collect();
    assert_eq!(sent(&cluster, "a"), expected);
    assert_eq!(sent(&cluster, "f"), expected, "wherever the client is");
}

#[test]
fn with_outlier_detection_the_nearer_come_first() {
    let mut cluster = cluster(&PLACES);
    cluster.apply(&rule("{outlierDetection: {consecutive5xxErrors: 1}}"));
    insta::assert_snapshot!(described(&cluster, "a"));
    let far = [("//", 3), ("asia/1/x", 3), ("eu/1/x", 0), ("eu/1/y", 1), ("eu/2/x", 2), ("us/1/x", 3)];
    assert_eq!(priorities(&cluster, "a"), named(&far));
    let us = [("//", 1), ("asia/1/x", 1), ("eu/1/x", 1), ("eu/1/y", 1), ("eu/2/x", 1), ("us/1/x", 0)];
    assert_eq!(priorities(&cluster, "d"), named(&us), "without gaps");
    cluster.apply(&rule("{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}"));
    assert!(priorities(&cluster, "a").iter().all(|(_, priority)| *priority == 0), "unless they are not to matter");
    cluster.apply(&rule("{portLevelSettings: [{port: {number: 7070}, outlierDetection: {}}]}"));
    assert_eq!(priorities(&cluster, "a"), named(&far), "for a port alone");
}

#[test]
fn a_region_steps_in_before_others() {
    let mut cluster = cluster(&PLACES);
    let with =
        |setting: &str| rule(&format!("{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {setting}}}}}"));
    cluster.apply(&with("{failover: [{from: eu, to: us}]}"));
    let expected = [("//", 4), ("asia/1/x", 4), ("eu/1/x", 0), ("eu/1/y", 1), ("eu/2/x", 2), ("us/1/x", 3)];
    assert_eq!(priorities(&cluster, "a"), named(&expected));
    cluster.apply(&rule("{loadBalancer: {localityLbSetting: {failover: [{from: eu, to: us}]}}}"));
    assert!(priorities(&cluster, "a").iter().all(|(_, priority)| *priority == 0), "not without outlierDetection");
}

#[test]
fn labels_say_who_is_preferred() {
    let mut cluster = cluster(&PLACES);
    let with =
        |setting: &str| rule(&format!("{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {setting}}}}}"));
    cluster.apply(&with("{failoverPriority: [topology.kubernetes.io/region, topology.kubernetes.io/zone]}"));
    let expected = [("//", 2), ("asia/1/x", 2), ("eu/1/x", 0), ("eu/1/y", 0), ("eu/2/x", 1), ("us/1/x", 2)];
    assert_eq!(priorities(&cluster, "a"), named(&expected));
    cluster.apply(&with("{failoverPriority: [\"version=v2\"]}"));
    let expected = [("//", 1), ("asia/1/x", 1), ("eu/1/x", 1), ("eu/1/y", 1), ("eu/2/x", 1), ("us/1/x", 0)];
    assert_eq!(priorities(&cluster, "a"), named(&expected));
    cluster.apply(&with("{failoverPriority: [version], failover: [{from: eu, to: us}]}"));
    let expected = [("//", 3), ("asia/1/x", 3), ("eu/1/x", 0), ("eu/1/y", 1), ("eu/2/x", 2), ("us/1/x", 4)];
    assert_eq!(priorities(&cluster, "a"), named(&expected), "labels before regions");
}

#[test]
fn endpoints_of_one_locality_may_have_several_priorities() {
    let mut places = PLACES.to_vec();
    places.push(("g", "us.1.x", ""));
    let mut cluster = cluster(&places);
    cluster.apply(&rule(
        "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [\"version=v2\"]}}}",
    ));
    let us: Vec<_> = sent(&cluster, "a").into_iter().filter(|(name, ..)| name == "us/1/x").collect();
    assert_eq!(us, [("us/1/x".to_owned(), 0, 1, 1), ("us/1/x".to_owned(), 1, 1, 1)]);
}

#[test]
fn traffic_is_spread_as_the_first_entry_for_the_client_says() {
    let mut cluster = cluster(&PLACES);
    let before = sent(&cluster, "c");
    let setting = "[{from: eu/1, to: {eu/1: 75, us: 25}}, {from: \"us\", to: {\"*\": 100}}]";
    cluster.apply(&rule(&format!("{{loadBalancer: {{localityLbSetting: {{distribute: {setting}}}}}}}")));
    let spread = |client: &str| {
        let groups = sent(&cluster, client).into_iter();
        groups.filter(|(.., count)| *count > 0).map(|(name, _, weight, _)| (name, weight)).collect::<Vec<_>>()
    };
    assert_eq!(spread("a"), named(&[("eu/1/x", 38), ("eu/1/y", 38), ("us/1/x", 25)]), "rounded up");
    assert_eq!(spread("d").len(), 6);
    assert!(spread("d").iter().all(|(_, weight)| *weight == 17));
    assert_eq!(sent(&cluster, "c"), before, "no entry is for it");
    cluster.apply(&rule(&format!(
        "{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{distribute: {setting}}}}}}}"
    )));
    assert!(priorities(&cluster, "a").iter().all(|(_, priority)| *priority == 0), "shares are no priorities");
}

#[test]
fn endpoints_that_are_not_ready_are_left_out_if_so_many_must_be_healthy() {
    let mut cluster = cluster(&PLACES);
    cluster.change_pod("ns", "b-0", |pod| pod.status.ready = false);
    let of_b = |cluster: &Cluster| sent(cluster, "a").iter().any(|(name, ..)| name == "eu/1/y");
    cluster.apply(&rule("{outlierDetection: {}}"));
    assert!(of_b(&cluster) && described(&cluster, "a").contains("UNHEALTHY"));
    cluster.apply(&rule("{outlierDetection: {minHealthPercent: 1}}"));
    assert!(!of_b(&cluster) && !described(&cluster, "a").contains("UNHEALTHY"));
}

#[test]
fn a_node_that_has_no_pod_is_where_it_says() {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
    let mut cluster = cluster(&PLACES);
    cluster.apply(&rule("{outlierDetection: {}}"));
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [("GENERATOR".to_owned(), text("grpc")), ("NAMESPACE".to_owned(), text("ns"))];
    let node = hermesh_istiod::node::Node::parse(&core::Node {
        id: "sidecar~10.9.9.9~other.ns~ns.svc.cluster.local".to_owned(),
        metadata: Some(Struct { fields: fields.into() }),
        locality: Some(core::Locality { region: "us".into(), zone: "1".into(), sub_zone: "x".into() }),
        ..core::Node::default()
    })
    .unwrap();
    let text = cluster.described(&node, Endpoints, &[CLUSTER]);
    assert!(text.contains("locality: us/1/x\n  load_balancing_weight: 1\n  priority: 0\n"), "{text}");
    assert_eq!(text.matches("priority: 1\n").count(), 5, "{text}");
}

/// How far a place is from the client, in the words of the documentation: same sub-zone, zone, region, the region that
/// steps in, any other.
fn distance(client: [&str; 3], there: [&str; 3], failover: Option<(&str, &str)>) -> usize {
    let same = client.iter().zip(there).take_while(|(client, there)| **client == *there).count();
    let steps_in = failover.is_none_or(|(from, to)| from != client[0] || to == there[0]);
    match same {
        0 if steps_in => 3,
        0 => 4,
        same => 3 - same,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_nearer_comes_first_and_no_priority_is_left_out(
        places in prop::collection::vec((0_usize..3, 0_usize..2, 0_usize..2), 1..7),
        failover in prop::option::of((0_usize..3, 0_usize..3).prop_filter("two regions", |(from, to)| from != to)),
    ) {
        const REGIONS: [&str; 3] = ["eu", "us", "asia"];
        const ZONES: [&str; 2] = ["1", "2"];
        const SUB_ZONES: [&str; 2] = ["x", "y"];
        let places: Vec<[&str; 3]> =
            places.into_iter().map(|(a, b, c)| [REGIONS[a], ZONES[b], SUB_ZONES[c]]).collect();
        let failover = failover.map(|(from, to)| (REGIONS[from], REGIONS[to]));
        let named: Vec<(String, String)> =
            places.iter().enumerate().map(|(index, place)| (format!("w{index}"), place.join("."))).collect();
        let workloads: Vec<(&str, &str, &str)> =
            named.iter().map(|(name, place)| (name.as_str(), place.as_str(), "")).collect();
        let mut cluster = cluster(&workloads);
        let setting = failover.map_or_else(String::new, |(from, to)| format!("failover: [{{from: {from}, to: {to}}}]"));
        cluster.apply(&rule(&format!("{{outlierDetection: {{}}, loadBalancer: {{localityLbSetting: {{{setting}}}}}}}")));
        let sent = priorities(&cluster, "w0");
        let place = |name: &str| -> [String; 3] {
            let parts: Vec<String> = name.split('/').map(str::to_owned).collect();
            parts.try_into().unwrap()
        };
        let far = |name: &str| {
            let there = place(name);
            distance(places[0], [&there[0], &there[1], &there[2]], failover)
        };
        for (a, first) in &sent {
            for (b, second) in &sent {
                prop_assert_eq!(far(a).cmp(&far(b)), first.cmp(second), "{} {}", a, b);
            }
        }
        let given: BTreeSet<u32> = sent.iter().map(|(_, priority)| *priority).collect();
        prop_assert!(given.iter().copied().eq(0..given.len() as u32), "{:?}", given);
    }
}
