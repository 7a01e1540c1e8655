//! Several DestinationRules for one host: which are merged, whose a client gets, and what subsets and ports inherit.

use super::support::{Cluster, node};
use hermesh_istiod::objects::Labels;
use hermesh_xds::ResourceType::{Cluster as Cds, Endpoints};

const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: ns}
spec: {selector: {app: echo}, ports: [{name: grpc, port: 80}, {name: grpc-b, port: 81}]}
";

fn rule(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

const VERSIONS: &str = "{host: echo, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}";
const MTLS: &str = "{host: echo.ns.svc.cluster.local, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}";

/// For each of the names `subset:port` (`:80` is the whole Service) `tls`, `plain` or `none`.
fn clusters(cluster: &Cluster, names: &[&str]) -> Vec<&'static str> {
    let node = node("ns", "client", "10.0.0.9");
    let one = |name: &&str| {
        let (subset, port) = name.split_once(':').unwrap();
        let text = cluster.described(&node, Cds, &[&format!("outbound|{port}|{subset}|echo.ns.svc.cluster.local")]);
        match text.contains("UpstreamTlsContext") {
            _ if text.is_empty() => "none",
            true => "tls",
            false => "plain",
        }
    };
    names.iter().map(one).collect()
}

#[test]
fn subsets_and_policy_of_two_rules_are_merged_in_either_order() {
    let (versions, mtls) = (rule("ns", "echo-versions", VERSIONS), rule("ns", "echo-mtls", MTLS));
    for order in [[&versions, &mtls], [&mtls, &versions]] {
        let mut cluster = Cluster::default();
        cluster.apply(SERVICE).apply(order[0]).apply(order[1]);
        assert_eq!(clusters(&cluster, &[":80", "v1:80", "v2:80", "v3:80"]), ["tls", "tls", "tls", "none"]);
    }
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE).apply(&format!("{versions}---\n{mtls}"));
    assert_eq!(clusters(&cluster, &[":80", "v1:80", "v2:80"]), ["tls", "tls", "tls"], "in the same second");
}

#[test]
fn of_two_policies_the_later_is_lost_whole() {
    let plain = "{host: echo, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}";
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE).apply(&rule("ns", "z", plain)).apply(&rule("ns", "a", MTLS));
    assert_eq!(clusters(&cluster, &[":80"]), ["plain"], "the older one counts, whatever it leaves out");
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE).apply(&[rule("ns", "z", plain), rule("ns", "a", MTLS)].join("---\n"));
    assert_eq!(clusters(&cluster, &[":80"]), ["tls"], "in the same second the first by name");
}

#[test]
fn of_two_subsets_with_one_name_the_earlier_counts() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE);
    cluster.apply(&rule("ns", "b", "{host: echo, subsets: [{name: v1, labels: {version: v1}}]}"));
    cluster.apply(&rule("ns", "a", "{host: echo, subsets: [{name: v1, labels: {version: other}}]}"));
    let rule = cluster.snapshot();
    let rule = rule.destination_rule_for("ns", &Labels::new(), "echo.ns.svc.cluster.local", "ns").unwrap();
    assert_eq!(rule.subset("v1").unwrap().labels["version"], "v1");
    let from: Vec<&str> = rule.from().iter().map(|key| key.name.as_str()).collect();
    assert_eq!(from, ["b", "a"]);
}

#[test]
fn subsets_override_what_they_set_and_ports_replace_all() {
    let disable = "tls: {mode: DISABLE}";
    let mutual = "tls: {mode: ISTIO_MUTUAL}";
    let robin = "loadBalancer: {simple: ROUND_ROBIN}";
    for (policy, subset_policy, expected) in [
        (format!("{{{mutual}}}"), "{proxyProtocol: {version: V1}}".to_owned(), ["tls", "tls", "tls", "tls"]),
        (format!("{{{mutual}}}"), format!("{{{disable}}}"), ["tls", "tls", "plain", "plain"]),
        (format!("{{{disable}}}"), format!("{{{mutual}}}"), ["plain", "plain", "tls", "tls"]),
        (format!("{{{mutual}}}"), format!("{{{robin}}}"), ["tls", "tls", "tls", "tls"]),
        // An entry for the port replaces the policy, and what it leaves out is not inherited.
        (
            format!("{{{mutual}, portLevelSettings: [{{port: {{number: 81}}, {robin}}}]}}"),
            "{proxyProtocol: {version: V1}}".to_owned(),
            ["tls", "plain", "tls", "plain"],
        ),
        (
            format!("{{portLevelSettings: [{{port: {{number: 81}}, {mutual}}}]}}"),
            "{proxyProtocol: {version: V1}}".to_owned(),
            ["plain", "tls", "plain", "tls"],
        ),
        (
            format!("{{{mutual}}}"),
            format!("{{portLevelSettings: [{{port: {{number: 81}}, {robin}}}]}}"),
            ["tls", "tls", "tls", "plain"],
        ),
        (
            format!("{{{disable}}}"),
            format!("{{portLevelSettings: [{{port: {{number: 81}}, {mutual}}}]}}"),
            ["plain", "plain", "plain", "tls"],
        ),
    ] {
        let mut cluster = Cluster::default();
        let spec =
            format!("{{host: echo, trafficPolicy: {policy}, subsets: [{{name: v1, trafficPolicy: {subset_policy}}}]}}");
        cluster.apply(SERVICE).apply(&rule("ns", "a", &spec));
        assert_eq!(clusters(&cluster, &[":80", ":81", "v1:80", "v1:81"]), expected, "{spec}");
    }
}

#[test]
fn tls_modes_other_than_istio_mutual_are_plaintext() {
    for (tls, expected) in [
        ("{mode: DISABLE}", "plain"),
        ("{mode: SIMPLE}", "plain"),
        ("{mode: MUTUAL, credentialName: x}", "plain"),
        ("{mode: ISTIO_MUTUAL}", "tls"),
    ] {
        let mut cluster = Cluster::default();
        cluster.apply(SERVICE).apply(&rule("ns", "a", &format!("{{host: echo, trafficPolicy: {{tls: {tls}}}}}")));
        assert_eq!(clusters(&cluster, &[":80"]), [expected], "{tls}");
    }
}

#[test]
fn of_a_connection_pool_clients_are_told_the_requests_under_way() {
    let pool = |http: &str| format!("connectionPool: {{http: {http}}}");
    let (five, nine, none) =
        (pool("{http2MaxRequests: 5}"), pool("{http2MaxRequests: 9}"), pool("{http2MaxRequests: 0, maxRetries: 3}"));
    for (policy, subset_policy, expected) in [
        (format!("{{{five}}}"), "{proxyProtocol: {version: V1}}".to_owned(), [Some(5); 4]),
        (format!("{{{none}}}"), format!("{{{nine}}}"), [None, None, Some(9), Some(9)]),
        // A subset's pool replaces the whole pool, and a port's entry all policies.
        (format!("{{{five}}}"), format!("{{{none}}}"), [Some(5), Some(5), None, None]),
        (
            format!("{{{five}, portLevelSettings: [{{port: {{number: 81}}, {nine}}}]}}"),
            "{tls: {mode: DISABLE}}".to_owned(),
            [Some(5), Some(9), Some(5), Some(9)],
        ),
    ] {
        let mut cluster = Cluster::default();
        let spec =
            format!("{{host: echo, trafficPolicy: {policy}, subsets: [{{name: v1, trafficPolicy: {subset_policy}}}]}}");
        cluster.apply(SERVICE).apply(&rule("ns", "a", &spec));
        let limit = |subset: &str, port: u16| {
            let name = format!("outbound|{port}|{subset}|echo.ns.svc.cluster.local");
            let text = cluster.described(&node("ns", "client", "10.0.0.9"), Cds, &[&name]);
            let line = text.lines().find_map(|line| line.strip_prefix("circuit_breakers.max_requests: "));
            line.map(|limit| limit.parse::<u32>().unwrap())
        };
        let limits = [limit("", 80), limit("", 81), limit("v1", 80), limit("v1", 81)];
        assert_eq!(limits, expected, "{spec}");
    }
}

#[test]
fn clients_get_the_policies_that_grpc_has_and_round_robin_for_the_others() {
    for (balancer, expected) in [
        ("{}", vec!["ROUND_ROBIN"]),
        ("{simple: ROUND_ROBIN}", vec!["ROUND_ROBIN"]),
        ("{simple: RANDOM}", vec!["ROUND_ROBIN"]),
        ("{simple: LEAST_CONN}", vec!["ROUND_ROBIN"]),
        ("{simple: LEAST_REQUEST}", vec!["LEAST_REQUEST"]),
        ("{consistentHash: {httpHeaderName: x}}", vec!["RING_HASH", "minimum_ring_size: 1024"]),
        ("{consistentHash: {httpHeaderName: x, minimumRingSize: 7}}", vec!["RING_HASH", "minimum_ring_size: 7"]),
        ("{consistentHash: {httpHeaderName: x, ringHash: {}}}", vec!["RING_HASH"]),
        (
            "{consistentHash: {httpHeaderName: x, ringHash: {minimumRingSize: 9}}}",
            vec!["RING_HASH", "minimum_ring_size: 9"],
        ),
    ] {
        let mut cluster = Cluster::default();
        let spec = format!("{{host: echo, trafficPolicy: {{loadBalancer: {balancer}}}}}");
        cluster.apply(SERVICE).apply(&rule("ns", "a", &spec));
        let text =
            cluster.described(&node("ns", "client", "10.0.0.9"), Cds, &["outbound|80||echo.ns.svc.cluster.local"]);
        let told = text.lines().skip_while(|line| !line.starts_with("lb_policy: "));
        let told: Vec<&str> = told.map(|line| line.trim_start_matches("lb_policy: ")).collect();
        assert_eq!(told, expected, "{balancer}");
    }
}

#[test]
fn the_most_specific_host_wins_and_is_not_merged_with_wildcards() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE).apply(&rule("ns", "a", "{host: '*.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}"));
    assert_eq!(clusters(&cluster, &[":80"]), ["tls"]);
    cluster.apply(&rule("ns", "b", "{host: '*.ns.svc.cluster.local', trafficPolicy: {tls: {mode: DISABLE}}}"));
    assert_eq!(clusters(&cluster, &[":80"]), ["plain"]);
    cluster.apply(&rule("ns", "c", "{host: '*.ns.svc.cluster.local', subsets: [{name: v1}]}"));
    assert_eq!(clusters(&cluster, &[":80", "v1:80"]), ["plain", "plain"]);
    cluster.apply(&rule("ns", "d", MTLS));
    assert_eq!(clusters(&cluster, &[":80", "v1:80"]), ["tls", "none"]);
}

#[test]
fn a_rule_with_a_selector_is_for_matching_clients_of_its_namespace() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE).apply(&rule("ns", "all", "{host: echo, subsets: [{name: all}]}"));
    cluster.apply(&rule(
        "ns",
        "some",
        "{host: echo, workloadSelector: {matchLabels: {app: web}}, subsets: [{name: some}]}",
    ));
    let snapshot = cluster.snapshot();
    let subset = |namespace: &str, app: &str| {
        let labels = Labels::from([("app".to_owned(), app.to_owned())]);
        let rule = snapshot.destination_rule_for(namespace, &labels, "echo.ns.svc.cluster.local", "ns");
        rule.map(|rule| rule.subsets()[0].name.value.clone())
    };
    assert_eq!(subset("ns", "web").as_deref(), Some("some"));
    assert_eq!(subset("ns", "other").as_deref(), Some("all"));
    assert_eq!(subset("elsewhere", "web").as_deref(), Some("all"));
}

/// Istio's TestSetDestinationRuleMerging.
#[test]
fn rules_with_another_export_stay_apart_and_the_newest_of_them_wins() {
    let mut cluster = Cluster::default();
    cluster.apply(&rule("ns", "rule1", "{host: httpbin.org, subsets: [{name: s1}, {name: s2}]}"));
    cluster.apply(&rule("ns", "rule2", "{host: httpbin.org, subsets: [{name: s3}, {name: s4}]}"));
    assert_eq!(subsets(&cluster, "ns", "ns"), ["s1", "s2", "s3", "s4"]);
    cluster.apply(&rule(
        "ns",
        "rule3",
        "{host: httpbin.org, exportTo: [istio-system], subsets: [{name: s5}, {name: s6}]}",
    ));
    assert_eq!(subsets(&cluster, "elsewhere", "ns"), ["s1", "s2", "s3", "s4"], "not exported here");
    assert_eq!(subsets(&cluster, "istio-system", "ns"), ["s5", "s6"]);
}

/// Istio's TestSetDestinationRuleWithExportTo.
#[test]
fn the_client_s_namespace_is_asked_first_then_the_service_s_then_the_root() {
    let mut cluster = Cluster::default();
    for (namespace, export_to, subsets) in [
        ("test1", "[test1, test2, ns1]", ["s1", "s2"]),
        ("test2", "[test1, test2, newNS]", ["s3", "s4"]),
        ("test3", "['*']", ["s5", "s6"]),
        ("istio-system", "['*']", ["s7", "s8"]),
        ("test4", "['.']", ["s9", "s10"]),
    ] {
        let export_to = export_to.replace("newNS", "new-ns");
        let [a, b] = subsets;
        cluster.apply(&rule(
            namespace,
            "r",
            &format!("{{host: httpbin.org, exportTo: {export_to}, subsets: [{{name: {a}}}, {{name: {b}}}]}}"),
        ));
    }
    for (client, service, expected) in [
        ("test1", "test1", ["s1", "s2"]),
        ("test1", "test2", ["s1", "s2"]),
        ("test2", "test1", ["s3", "s4"]),
        ("test3", "test1", ["s5", "s6"]),
        ("test3", "test4", ["s5", "s6"]),
        ("new-ns", "test2", ["s3", "s4"]),
        ("test5", "test4", ["s7", "s8"]),
        ("test4", "test4", ["s9", "s10"]),
        ("ns1", "test1", ["s1", "s2"]),
        ("random", "random", ["s7", "s8"]),
        ("istio-system", "test2", ["s7", "s8"]),
    ] {
        assert_eq!(subsets(&cluster, client, service), expected, "{client} {service}");
    }
}

fn subsets(cluster: &Cluster, client: &str, service: &str) -> Vec<String> {
    let snapshot = cluster.snapshot();
    let rule =
        snapshot.destination_rule_for(client, &Labels::new(), "httpbin.org", service).expect("a rule is visible");
    rule.subsets().iter().map(|subset| subset.name.value.clone()).collect()
}

#[test]
fn endpoints_of_a_subset_have_its_labels() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICE);
    for (name, version) in [("echo-v1", "v1"), ("echo-v2", "v2")] {
        cluster.apply(&format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}, namespace: ns}}\nspec:\n  selector: {{matchLabels: {{version: {version}}}}}\n  template:\n    metadata: {{labels: {{app: echo, version: {version}}}}}\n    spec: {{containers: [{{name: app, image: echo}}]}}\n"
        ));
    }
    cluster.run_deployments().apply(&rule("ns", "r", VERSIONS));
    let endpoints = |cluster: &Cluster, subset: &str| {
        let node = node("ns", "client", "10.0.0.9");
        let text = cluster.described(&node, Endpoints, &[&format!("outbound|80|{subset}|echo.ns.svc.cluster.local")]);
        let lines = text.lines().map(str::trim).map(|line| line.trim_start_matches("- "));
        let kept =
            lines.filter_map(|line| line.strip_prefix("address: ").or_else(|| line.strip_prefix("health_status: ")));
        kept.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(endpoints(&cluster, ""), "10.244.0.1:80 HEALTHY 10.244.0.2:80 HEALTHY");
    assert_eq!(endpoints(&cluster, "v2"), "10.244.0.2:80 HEALTHY");
    assert_eq!(
        endpoints(&cluster, "v3"),
        "10.244.0.1:80 HEALTHY 10.244.0.2:80 HEALTHY",
        "an unknown subset is everybody"
    );

    cluster.change_pod("ns", "echo-v1-0", |pod| pod.status.ready = false);
    assert_eq!(endpoints(&cluster, ""), "10.244.0.1:80 UNHEALTHY 10.244.0.2:80 HEALTHY", "sent although not ready");
    cluster.change_pod("ns", "echo-v1-0", |pod| pod.metadata.deletion_timestamp = Some(9));
    assert_eq!(endpoints(&cluster, ""), "10.244.0.2:80 HEALTHY", "terminating ones are not sent");
    cluster.delete(hermesh_istiod::objects::Kind::Pod, "ns", "echo-v2-0");
    assert_eq!(endpoints(&cluster, ""), "", "an endpoint waits for its pod");
}
