//! Hosts and workloads outside of the cluster: what ServiceEntries and WorkloadEntries become.

use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, lb_endpoint};
use hermesh_istiod::objects::{Kind, Object};
use hermesh_xds::ResourceType::{Cluster as Clusters, Endpoints, Listener, RouteConfiguration};
use prost::Message as _;

use super::support::{Cluster, node};

fn entry(spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ledger, namespace: ns}}\nspec: {spec}\n"
    )
}

fn workload(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: ns}}\nspec: {spec}\n"
    )
}

const PORTS: &str = "ports: [{number: 7070, name: grpc, protocol: GRPC, targetPort: 17070}]";

/// `address:port weight locality account` of every endpoint that a client gets for a cluster.
fn sent(cluster: &Cluster, name: &str) -> Vec<String> {
    let client = node("ns", "client", "10.244.9.9");
    let [assignment] = &cluster.resources(&client, Endpoints, &[name])[..] else { panic!("one for each name") };
    let assignment = ClusterLoadAssignment::decode(&*assignment.body.value).unwrap();
    let mut sent = Vec::new();
    for group in assignment.endpoints {
        let region = group.locality.map(|locality| locality.region).unwrap_or_default();
        for endpoint in group.lb_endpoints {
            let weight = endpoint.load_balancing_weight.unwrap().value;
            let Some(lb_endpoint::HostIdentifier::Endpoint(endpoint)) = endpoint.host_identifier else {
                panic!("an endpoint has an address");
            };
            use envoy_types::pb::envoy::config::core::v3::{address::Address, socket_address::PortSpecifier};
            let Some(Address::SocketAddress(address)) = endpoint.address.unwrap().address else {
                panic!("of a socket")
            };
            let Some(PortSpecifier::PortValue(port)) = address.port_specifier else { panic!("with a port") };
            sent.push(format!("{}:{port} {weight} {region}", address.address));
        }
    }
    sent
}

const LEDGER: &str = "outbound|7070||ledger.example.com";

#[test]
fn endpoints_say_where_they_serve_a_port_before_the_entry_does() {
    let mut cluster = Cluster::default();
    cluster.apply(&entry(&format!(
        "{{hosts: [ledger.example.com], resolution: STATIC, {PORTS}, endpoints: [{{address: 10.1.0.1}}, \
         {{address: 10.1.0.2, ports: {{grpc: 9090}}, weight: 3, locality: eu/1}}, {{address: 10.1.0.3, locality: eu/1}}]}}"
    )));
    assert_eq!(sent(&cluster, LEDGER), ["10.1.0.1:17070 1 ", "10.1.0.2:9090 3 eu", "10.1.0.3:17070 1 eu"]);
    cluster.apply(&entry(
        "{hosts: [ledger.example.com], resolution: STATIC, ports: [{number: 7070, name: grpc, protocol: GRPC}], \
         endpoints: [{address: 10.1.0.1}]}",
    ));
    assert_eq!(sent(&cluster, LEDGER), ["10.1.0.1:7070 1 "], "the port's own number is the last resort");
}

#[test]
fn a_host_has_listener_routes_and_cluster_like_a_service() {
    let mut cluster = Cluster::default();
    cluster.apply(&entry(&format!(
        "{{hosts: [ledger.example.com, books.example.com], addresses: [240.0.0.7/32], resolution: STATIC, {PORTS}, \
         endpoints: [{{address: 10.1.0.1, serviceAccount: ledger}}], subjectAltNames: [\"spiffe://bank/ledger\"]}}"
    )));
    cluster.apply(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: mtls, namespace: ns}\n\
         spec: {host: ledger.example.com, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}\n",
    );
    let client = node("other", "client", "10.244.9.9");
    let listeners = cluster.described(&client, Listener, &["ledger.example.com:7070", "books.example.com:7070"]);
    assert_eq!(listeners.matches("address: 240.0.0.7").count(), 2, "{listeners}");
    assert_eq!(cluster.described(&client, Listener, &["ledger:7070", "ledger.example.com:7071"]), "");
    let routes = cluster.described(&client, RouteConfiguration, &[LEDGER]);
    assert!(
        routes.contains("  - ledger.example.com\n  - ledger.example.com:7070\n  - ledger.example.com.\n"),
        "{routes}"
    );
    let clusters = cluster.described(&client, Clusters, &[LEDGER]);
    for text in ["spiffe://bank/ledger", "spiffe://cluster.local/ns/ns/sa/ledger", "type: EDS"] {
        assert!(clusters.contains(text), "{text} is missing:\n{clusters}");
    }
}

#[test]
fn of_a_host_that_dns_knows_grpc_clients_get_a_cluster_without_endpoints() {
    let mut cluster = Cluster::default();
    for resolution in ["DNS", "DNS_ROUND_ROBIN", "NONE"] {
        cluster.apply(&entry(&format!("{{hosts: [ledger.example.com], resolution: {resolution}, {PORTS}}}")));
        assert_eq!(sent(&cluster, LEDGER), [""; 0], "{resolution}");
        let clusters = cluster.described(&node("ns", "client", "10.244.9.9"), Clusters, &[LEDGER]);
        assert!(clusters.contains("type: EDS") && !clusters.contains("DNS"), "{resolution}: {clusters}");
    }
    let endpoint = "endpoints: [{address: 10.1.0.1}]";
    cluster.apply(&entry(&format!("{{hosts: [ledger.example.com], resolution: DNS, {PORTS}, {endpoint}}}")));
    assert_eq!(sent(&cluster, LEDGER), [""; 0], "addresses do not help");
}

#[test]
fn a_selector_finds_workload_entries_and_ready_pods_of_its_namespace() {
    let mut cluster = Cluster::default();
    cluster.apply(&entry(&format!(
        "{{hosts: [ledger.example.com], resolution: STATIC, {PORTS}, workloadSelector: {{labels: {{app: ledger}}}}}}"
    )));
    cluster.apply(&workload("vm-1", "{address: 10.1.0.1, labels: {app: ledger}}"));
    cluster.apply(&workload("vm-2", "{address: 10.1.0.2, labels: {app: ledger}, ports: {grpc: 1234}}"));
    cluster.apply(&workload("vm-3", "{address: 10.1.0.3, labels: {app: other}}"));
    cluster.apply(&workload("vm-4", "{address: vm-4.example.com, labels: {app: ledger}}"));
    cluster.apply(
        &workload("vm-5", "{address: 10.1.0.5, labels: {app: ledger}}").replace("namespace: ns", "namespace: b"),
    );
    cluster.apply(
        &workload("vm-6", "{address: 10.1.0.6, labels: {app: other}}")
            .replace("namespace: ns", "namespace: ns, labels: {app: ledger}"),
    );
    cluster.apply(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: ledger, namespace: ns}\nspec:\n  selector: \
         {matchLabels: {app: ledger}}\n  template:\n    metadata: {labels: {app: ledger}}\n    spec: {containers: \
         [{name: app, image: echo, ports: [{name: grpc, containerPort: 8081}]}]}\n",
    );
    let entries = ["10.1.0.1:17070 1 ", "10.1.0.2:1234 1 ", "10.1.0.6:17070 1 "];
    assert_eq!(sent(&cluster, LEDGER), entries);
    cluster.run_deployments();
    assert_eq!(sent(&cluster, LEDGER), [&entries[..], &["10.244.0.1:8081 1 "]].concat());
    cluster.change_pod("ns", "ledger-0", |pod| pod.status.ready = false);
    assert_eq!(sent(&cluster, LEDGER), entries, "a pod that is not ready is no endpoint of a ServiceEntry");
}

#[test]
fn a_service_of_kubernetes_selects_workload_entries_too() {
    let mut cluster = Cluster::default();
    let service = |target: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: echo, namespace: ns}}\n\
             spec: {{selector: {{app: echo}}, ports: [{{name: grpc, port: 7070{target}}}]}}\n"
        )
    };
    cluster.apply(&workload("plain", "{address: 10.1.0.1, labels: {app: echo}, serviceAccount: vm}"));
    cluster.apply(&workload("named", "{address: 10.1.0.2, labels: {app: echo}, ports: {grpc: 1, admin: 2}}"));
    let name = "outbound|7070||echo.ns.svc.cluster.local";
    for (target, expected) in [
        ("", &["10.1.0.2:1 1 ", "10.1.0.1:7070 1 "][..]),
        (", targetPort: 17070", &["10.1.0.2:1 1 ", "10.1.0.1:17070 1 "]),
        (", targetPort: admin", &["10.1.0.2:2 1 "]),
    ] {
        cluster.apply(&service(target));
        assert_eq!(sent(&cluster, name), expected, "{target}");
    }
    let mut without = Cluster::default();
    without.apply(&workload("plain", "{address: 10.1.0.1, labels: {app: echo}}"));
    without.apply(&service("").replace("selector: {app: echo}, ", ""));
    assert_eq!(sent(&without, name), [""; 0], "no selector is no workloads");
}

#[test]
fn a_machine_serves_the_ports_that_services_target_of_its_entry() {
    let mut cluster = Cluster::default();
    cluster.apply(&entry(&format!(
        "{{hosts: [ledger.example.com], resolution: STATIC, {PORTS}, workloadSelector: {{labels: {{app: ledger}}}}}}"
    )));
    cluster.apply(&workload("vm", "{address: 10.1.0.1, labels: {app: ledger}, locality: eu/1}"));
    cluster.apply(
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: ns}\n\
         spec: {selector: {matchLabels: {app: ledger}}, mtls: {mode: STRICT}}\n",
    );
    let name = |port: u16| format!("xds.istio.io/grpc/lds/inbound/0.0.0.0:{port}");
    let machine = node("ns", "vm-host", "10.1.0.1");
    let listener = cluster.described(&machine, Listener, &[&name(17070)]);
    assert!(listener.contains("inbound-mtls"), "its entry's labels count:\n{listener}");
    assert!(
        listener.contains("from PeerAuthentication ns/strict") || listener.contains("PeerAuthentication ns/strict")
    );
    assert!(listener.contains("WorkloadEntry ns/vm"), "{listener}");
    assert_eq!(cluster.described(&machine, Listener, &[&name(7070)]), "", "the host's port is not the workload's");
    for stranger in [node("ns", "vm-host", "10.1.0.9"), node("other", "vm-host", "10.1.0.1")] {
        assert_eq!(cluster.described(&stranger, Listener, &[&name(17070)]), "");
    }
    cluster.delete(Kind::WorkloadEntry, "ns", "vm");
    assert_eq!(cluster.described(&machine, Listener, &[&name(17070)]), "", "without its entry it is nobody");
    cluster.apply(&entry(&format!(
        "{{hosts: [ledger.example.com], resolution: STATIC, {PORTS}, endpoints: [{{address: 10.1.0.1}}]}}"
    )));
    assert_ne!(cluster.described(&machine, Listener, &[&name(17070)]), "", "an endpoint is as good as an entry");
}

#[test]
fn of_several_with_one_host_the_own_namespace_s_counts_then_kubernetes_then_the_oldest() {
    let mut cluster = Cluster::default();
    let host = "echo.a.svc.cluster.local";
    let of = |namespace: &str, address: &str| {
        entry(&format!("{{hosts: [{host}], resolution: STATIC, {PORTS}, endpoints: [{{address: {address}}}]}}"))
            .replace("namespace: ns", &format!("namespace: {namespace}"))
    };
    let first = |cluster: &Cluster, namespace: &str| {
        let client = node(namespace, "client", "10.244.9.9");
        let text = cluster.described(&client, Endpoints, &[&format!("outbound|7070||{host}")]);
        text.lines().next().unwrap().rsplit_once("from ").unwrap().1.to_owned()
    };
    cluster.apply(&of("b", "10.1.0.2")).apply(&of("c", "10.1.0.3"));
    assert_eq!(first(&cluster, "a"), "ServiceEntry b/ledger", "the oldest");
    assert_eq!(first(&cluster, "c"), "ServiceEntry c/ledger", "its own");
    cluster
        .apply("apiVersion: v1\nkind: Service\nmetadata: {name: echo, namespace: a}\nspec: {ports: [{port: 7070}]}\n");
    assert_eq!(first(&cluster, "x"), "Service a/echo");
    assert_eq!(first(&cluster, "c"), "ServiceEntry c/ledger");
    let Some(Object::ServiceEntry(private)) = cluster.objects.values_mut().find(|it| it.metadata().namespace == "c")
    else {
        panic!("it was applied");
    };
    std::sync::Arc::make_mut(private).spec.export_to = vec!["d".to_owned()];
    assert_eq!(first(&cluster, "c"), "Service a/echo", "what is exported elsewhere is not seen at home");
}
