//! AuthorizationPolicies: the filters they become, for whom, and what those decide.

mod property;

use hermesh_xds::ResourceType::Listener;

use super::support::Cluster;

const WORKLOAD: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: ns}
spec: {selector: {app: echo}, ports: [{name: grpc, port: 7070, targetPort: 17070}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: ns}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec: {containers: [{name: app, image: echo}]}
";

const LISTENER: &str = "xds.istio.io/grpc/lds/inbound/10.244.0.1:17070";

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.apply(WORKLOAD).run_deployments();
    cluster
}

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn listener(cluster: &Cluster) -> String {
    cluster.described(&cluster.node("ns", "echo-0"), Listener, &[LISTENER])
}

/// The policies of the filter with this name; empty if there is none.
fn policies(listener: &str, filter: &str) -> Vec<String> {
    let Some((_, rest)) = listener.split_once(&format!("- name: {filter}\n")) else { return Vec::new() };
    let own = rest.split("- name: envoy.").next().unwrap_or_default();
    let names = own.lines().filter_map(|line| line.trim().strip_prefix("policies.")?.strip_suffix(':'));
    names.map(str::to_owned).collect()
}

#[test]
fn every_attribute_has_its_shape() {
    let mut cluster = cluster();
    cluster.apply(&policy(
        "ns",
        "all",
        r#"
  rules:
  - from:
    - source:
        principals: [cluster.local/ns/a/sa/x, "cluster.local/ns/a/*", "*/sa/y", "*"]
        notPrincipals: [cluster.local/ns/b/sa/z]
        requestPrincipals: [issuer/subject]
        namespaces: [a, "b*", "*.c"]
        ipBlocks: [10.0.0.0/8]
        remoteIpBlocks: [10.1.2.3]
    - source: {serviceAccounts: [x, other/y], trustDomains: [td, "*", "*.td"], notIpBlocks: ["2001:db8::/32"]}
    to:
    - operation:
        hosts: [echo, "*.local", "echo.*", "*"]
        methods: [POST]
        paths: [/s.S/M, "/s.S/*", "*/M", "*"]
        ports: ["17070"]
        notPaths: [/s.S/N]
    - operation: {notHosts: [b], notMethods: [GET], notPorts: ["1"]}
    when:
    - {key: "request.headers[x-user]", values: [ann, "b*", "*c", "*"], notValues: [bob]}
    - {key: destination.ip, values: [10.0.0.1]}
    - {key: destination.port, notValues: ["80"]}
    - {key: connection.sni, values: ["*.a"]}
    - {key: "request.auth.claims[group]", notValues: [admin]}
    - {key: "experimental.envoy.filters.a.b[c]", values: [d]}
  - {}
"#,
    ));
    cluster.apply(&policy("ns", "not", "{action: DENY, rules: [{to: [{operation: {paths: [/s.S/Admin]}}]}]}"));
    insta::assert_snapshot!(listener(&cluster));
}

#[test]
fn policies_count_for_the_workloads_they_are_for() {
    let rules = "rules: [{}]";
    for (namespace, spec, expected) in [
        ("ns", "{rules: [{}]}", true),
        ("ns", "{selector: {matchLabels: {app: echo}}, rules: [{}]}", true),
        ("ns", "{selector: {matchLabels: {app: other}}, rules: [{}]}", false),
        ("ns", "{selector: {matchLabels: {app: echo, version: v1}}, rules: [{}]}", false),
        ("ns", "{selector: {matchLabels: {}}, rules: [{}]}", true),
        ("istio-system", "{rules: [{}]}", true),
        ("istio-system", "{selector: {matchLabels: {app: echo}}, rules: [{}]}", true),
        ("istio-system", "{selector: {matchLabels: {app: other}}, rules: [{}]}", false),
        ("other", "{rules: [{}]}", false),
        ("ns", "{targetRef: {kind: Gateway, group: gateway.networking.k8s.io, name: g}, rules: [{}]}", false),
        ("ns", "{targetRefs: [{kind: Service, group: \"\", name: echo}], rules: [{}]}", false),
    ] {
        assert!(spec.contains(rules));
        let mut cluster = cluster();
        let listener = listener(cluster.apply(&policy(namespace, "p", spec)));
        let own = format!("{namespace}-p-0");
        let expected: &[String] = if expected { &[own] } else { &[] };
        assert_eq!(policies(&listener, "envoy.filters.http.rbac"), expected, "{namespace} {spec}");
        assert_eq!(
            listener.contains(&format!("AuthorizationPolicy {namespace}/p")),
            !expected.is_empty(),
            "what made the listener is named: {listener}"
        );
    }
}

#[test]
fn what_denies_stands_before_what_allows_and_other_actions_nowhere() {
    let mut cluster = cluster();
    cluster.apply(&policy("ns", "b", "{rules: [{}, {}]}"));
    cluster.apply(&policy("istio-system", "c", "{action: DENY, rules: [{}]}"));
    cluster.apply(&policy("ns", "d", "{action: AUDIT, rules: [{}]}"));
    cluster.apply(&policy("ns", "e", "{action: CUSTOM, provider: {name: p}, rules: [{}]}"));
    let listener = listener(&cluster);
    let at = |filter: &str| listener.find(&format!("- name: {filter}\n")).unwrap();
    assert!(at("envoy.filters.http.rbac.DENY") < at("envoy.filters.http.rbac"));
    assert!(at("envoy.filters.http.rbac") < at("envoy.filters.http.router"));
    assert_eq!(policies(&listener, "envoy.filters.http.rbac.DENY"), ["istio-system-c-0"]);
    assert_eq!(policies(&listener, "envoy.filters.http.rbac"), ["ns-b-0", "ns-b-1"]);
}

#[test]
fn a_policy_without_rules_is_no_filter() {
    let mut cluster = cluster();
    let without = listener(&cluster);
    assert!(!without.contains("rbac"));
    assert!(!listener(cluster.apply(&policy("ns", "p", "{}"))).contains("- name: envoy.filters.http.rbac"));
}

#[test]
fn a_dry_run_is_enforced() {
    let mut cluster = cluster();
    let yaml =
        policy("ns", "p", "{rules: [{}]}").replace("name: p,", "name: p, annotations: {istio.io/dry-run: \"true\"},");
    assert_eq!(policies(&listener(cluster.apply(&yaml)), "envoy.filters.http.rbac"), ["ns-p-0"]);
}
