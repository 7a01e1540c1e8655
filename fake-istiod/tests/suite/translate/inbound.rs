//! Server listeners: who gets one, and what PeerAuthentication makes of it.

use super::support::Cluster;
use hermesh_xds::ResourceType::Listener;

const WORKLOAD: &str = "
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: ns}
spec: {selector: {app: echo}, ports: [{name: grpc, port: 7070, targetPort: 17070}, {name: named, port: 7071, targetPort: admin}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo, namespace: ns}
spec:
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      containers: [{name: app, image: echo, ports: [{name: admin, containerPort: 9901}]}]
";

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.apply(WORKLOAD).run_deployments();
    cluster
}

/// `mtls`, `plaintext` or `none`, for a port of the workload.
fn mode(cluster: &Cluster, port: u16) -> &'static str {
    let node = cluster.node("ns", "echo-0");
    let text = cluster.described(&node, Listener, &[&format!("xds.istio.io/grpc/lds/inbound/10.244.0.1:{port}")]);
    match (text.contains("name: inbound-mtls\n"), text.contains("name: inbound-plaintext\n")) {
        (true, false) if text.contains("require_client_certificate: true") => "mtls",
        (false, true) if !text.contains("transport_socket") => "plaintext",
        (false, false) if text.is_empty() => "none",
        _ => panic!("{text}"),
    }
}

fn policy(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

#[test]
fn a_port_has_a_listener_if_a_service_targets_it() {
    let cluster = cluster();
    assert_eq!(mode(&cluster, 17070), "plaintext");
    assert_eq!(mode(&cluster, 9901), "plaintext", "by the container port's name");
    assert_eq!(mode(&cluster, 7070), "none", "the Service's port is not the workload's");
    assert_eq!(mode(&cluster, 15014), "none");
    let node = cluster.node("ns", "echo-0");
    for name in ["xds.istio.io/grpc/lds/inbound/10.244.0.1", "xds.istio.io/grpc/lds/inbound/10.244.0.1:x"] {
        assert_eq!(cluster.described(&node, Listener, &[name]), "", "{name}");
    }
}

#[test]
fn a_pod_that_the_cluster_does_not_know_yet_is_what_its_node_says() {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
    let mut cluster = Cluster::default();
    cluster.apply(WORKLOAD);
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let labels = Struct { fields: [("app".to_owned(), text("echo"))].into() };
    let fields = [
        ("GENERATOR".to_owned(), text("grpc")),
        ("NAMESPACE".to_owned(), text("ns")),
        ("LABELS".to_owned(), Value { kind: Some(Kind::StructValue(labels)) }),
        ("POD_PORTS".to_owned(), text(r#"[{"name":"admin","containerPort":9901}]"#)),
    ];
    let node = hermesh_istiod::node::Node::parse(&core::Node {
        id: "sidecar~10.244.0.7~new-0.ns~ns.svc.cluster.local".to_owned(),
        metadata: Some(Struct { fields: fields.into() }),
        ..core::Node::default()
    })
    .unwrap();
    for (port, expected) in [(17070, 1), (9901, 1), (9902, 0)] {
        let name = format!("xds.istio.io/grpc/lds/inbound/10.244.0.7:{port}");
        assert_eq!(cluster.resources(&node, Listener, &[&name]).len(), expected, "{port}");
    }
}

#[test]
fn ipv6_addresses_lose_their_brackets_in_the_address() {
    let cluster = cluster();
    let text =
        cluster.described(&cluster.node("ns", "echo-0"), Listener, &["xds.istio.io/grpc/lds/inbound/[::]:17070"]);
    assert!(text.contains("address: [::]:17070"), "{text}");
    assert!(text.contains("name: xds.istio.io/grpc/lds/inbound/[::]:17070"), "{text}");
}

#[test]
fn policies_compose_from_mesh_to_namespace_to_workload() {
    const STRICT: &str = "{mtls: {mode: STRICT}}";
    const DISABLE: &str = "{mtls: {mode: DISABLE}}";
    const PERMISSIVE: &str = "{mtls: {mode: PERMISSIVE}}";
    const WORKLOAD_DISABLE: &str = "{selector: {matchLabels: {app: echo}}, mtls: {mode: DISABLE}}";
    const WORKLOAD_STRICT: &str = "{selector: {matchLabels: {app: echo}}, mtls: {mode: STRICT}}";
    const OTHER_STRICT: &str = "{selector: {matchLabels: {app: other}}, mtls: {mode: STRICT}}";
    const PORT_DISABLE: &str =
        "{selector: {matchLabels: {app: echo}}, mtls: {mode: STRICT}, portLevelMtls: {17070: {mode: DISABLE}}}";
    const PORT_STRICT: &str = "{selector: {matchLabels: {app: echo}}, portLevelMtls: {17070: {mode: STRICT}}}";
    const PORT_UNSET: &str =
        "{selector: {matchLabels: {app: echo}}, mtls: {mode: STRICT}, portLevelMtls: {17070: {mode: UNSET}}}";
    const SERVICE_PORT: &str = "{selector: {matchLabels: {app: echo}}, portLevelMtls: {7070: {mode: STRICT}}}";
    let root = "istio-system";
    for (policies, expected, why) in [
        (&[][..], "plaintext", "PERMISSIVE is the default"),
        (&[("ns", STRICT)], "mtls", "a namespace policy"),
        (&[(root, STRICT)], "mtls", "a mesh policy"),
        (&[("other", STRICT)], "plaintext", "another namespace's policy"),
        (&[(root, STRICT), ("ns", DISABLE)], "plaintext", "the namespace overrides the mesh"),
        (&[(root, STRICT), ("ns", PERMISSIVE)], "plaintext", "PERMISSIVE overrides too"),
        (&[(root, STRICT), ("ns", "{}")], "mtls", "an unset mode inherits"),
        (&[("ns", STRICT), ("ns", WORKLOAD_DISABLE)], "plaintext", "the workload overrides the namespace"),
        (&[("ns", DISABLE), ("ns", WORKLOAD_STRICT)], "mtls", "the workload overrides the namespace"),
        (&[("ns", OTHER_STRICT)], "plaintext", "a selector that does not match"),
        (&[(root, WORKLOAD_STRICT)], "plaintext", "selectors in the root namespace are ignored"),
        (&[("ns", PORT_DISABLE)], "plaintext", "a port overrides its workload"),
        (&[("ns", PORT_STRICT)], "mtls", "a port overrides the default"),
        (&[("ns", PORT_UNSET)], "mtls", "an unset port inherits"),
        (&[("ns", SERVICE_PORT)], "plaintext", "ports are the workload's, not the Service's"),
        (&[("ns", STRICT), ("ns", DISABLE)], "mtls", "the oldest of several counts"),
        (&[("ns", DISABLE), ("ns", STRICT)], "plaintext", "the oldest of several counts"),
    ] {
        let mut cluster = cluster();
        for (index, (namespace, spec)) in policies.iter().enumerate() {
            cluster.apply(&policy(namespace, &format!("p{}", 9 - index), spec));
        }
        assert_eq!(mode(&cluster, 17070), expected, "{why}: {policies:?}");
    }
}

#[test]
fn among_policies_of_the_same_second_the_first_by_name_counts() {
    let mut cluster = cluster();
    let both =
        [policy("ns", "b", "{mtls: {mode: STRICT}}"), policy("ns", "a", "{mtls: {mode: DISABLE}}")].join("---\n");
    assert_eq!(mode(cluster.apply(&both), 17070), "plaintext");
}

#[test]
fn a_workload_that_says_it_takes_tls_is_strict_where_permissive() {
    for (spec, expected) in
        [("{}", "mtls"), ("{mtls: {mode: PERMISSIVE}}", "mtls"), ("{mtls: {mode: DISABLE}}", "plaintext")]
    {
        let mut cluster = cluster();
        cluster.apply(&policy("ns", "p", spec));
        cluster.change_pod("ns", "echo-0", |pod| {
            pod.metadata.labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
        });
        assert_eq!(mode(&cluster, 17070), expected, "{spec}");
    }
}
