//! What istiod's webhook refuses of hosts and workloads outside of the cluster, with place and remedy.

use hermesh_istiod::objects::load;

/// Errors and notes of an object whose spec begins in line 4.
fn said(kind: &str, spec: &str) -> (Vec<String>, Vec<String>) {
    let version = if kind == "ProxyConfig" { "v1beta1" } else { "v1" };
    let text =
        format!("apiVersion: networking.istio.io/{version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n");
    let loaded = load("f", &text, "default");
    let texts = |diagnostics: &[hermesh_istiod::yaml::Diagnostic]| {
        diagnostics.iter().map(|it| it.to_string().replacen("f:", "", 1)).collect()
    };
    (texts(&loaded.errors), texts(&loaded.notes))
}

const PORTS: &str = "ports: [{number: 80, name: http, protocol: HTTP}]";

#[test]
fn what_the_webhook_refuses_is_refused() {
    let with_ports = |rest: &str| format!("{{hosts: [a.b], resolution: STATIC, {PORTS}, {rest}}}");
    let mut wrong = Vec::new();
    let of_ports = |ports: &str| format!("{{hosts: [a.b], resolution: STATIC, ports: [{ports}]}}");
    for (kind, spec, expected) in [
        ("ServiceEntry", "{}".to_owned(), "4:7: spec.hosts: missing; a ServiceEntry needs at least one host"),
        ("ServiceEntry", "{hosts: [\"*\"], resolution: STATIC}".to_owned(), "4:16: spec.hosts[0]: `*` would be every"),
        ("ServiceEntry", "{hosts: [a_b], resolution: STATIC}".to_owned(), "spec.hosts[0]: invalid host \"a_b\""),
        (
            "ServiceEntry",
            with_ports("addresses: [10.0.0.0/33]"),
            "spec.addresses[0]: expected an IP address or a range",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b], resolution: DNS, addresses: [10.0.0.0/8]}".to_owned(),
            "spec.addresses: ranges have no place beside resolution DNS",
        ),
        ("ServiceEntry", of_ports("{name: a}"), "spec.ports[0].number: missing; a port from 1 to 65535"),
        ("ServiceEntry", of_ports("{number: 70000, name: a}"), "spec.ports[0].number: port 70000 is out of range"),
        (
            "ServiceEntry",
            of_ports("{number: 80, name: a, targetPort: 70000}"),
            "spec.ports[0].targetPort: port 70000 is out of range",
        ),
        ("ServiceEntry", of_ports("{number: 80}"), "spec.ports[0].name: invalid or missing port name \"\""),
        (
            "ServiceEntry",
            of_ports("{number: 80, name: a}, {number: 81, name: a}"),
            "spec.ports[1].name: port name \"a\" is already there",
        ),
        (
            "ServiceEntry",
            of_ports("{number: 80, name: a}, {number: 80, name: b}"),
            "spec.ports[1].number: port 80 is already there",
        ),
        (
            "ServiceEntry",
            of_ports("{number: 80, name: a, protocol: grcp}"),
            "spec.ports[0].protocol: unknown protocol \"grcp\"; did you mean `GRPC`?",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b], resolution: STATC}".to_owned(),
            "spec.resolution: unknown resolution \"STATC\"; expected NONE, STATIC, DNS or DNS_ROUND_ROBIN; did you mean `STATIC`?",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b], location: INSIDE}".to_owned(),
            "spec.location: unknown location \"INSIDE\"; expected MESH_EXTERNAL or MESH_INTERNAL",
        ),
        (
            "ServiceEntry",
            with_ports("endpoints: [{address: 10.0.0.1}], workloadSelector: {labels: {a: b}}"),
            "spec.endpoints: has no place beside a workloadSelector",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b], endpoints: [{address: 10.0.0.1}]}".to_owned(),
            "spec.endpoints: has no place beside resolution NONE; write `resolution: STATIC`",
        ),
        (
            "ServiceEntry",
            "{hosts: [\"*.b\"], resolution: DNS}".to_owned(),
            "spec.hosts[0]: no DNS knows a wildcard; name a host, or endpoints, for resolution DNS",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b], resolution: DNS_ROUND_ROBIN, endpoints: [{address: a.c}, {address: a.d}]}".to_owned(),
            "spec.endpoints: there can be one endpoint with resolution DNS_ROUND_ROBIN",
        ),
        ("ServiceEntry", with_ports("endpoints: [{}]"), "spec.endpoints[0].address: missing; where is it?"),
        (
            "ServiceEntry",
            with_ports("endpoints: [{address: vm.example.com}]"),
            "spec.endpoints[0].address: expected an IP address, found \"vm.example.com\"",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b], resolution: DNS, endpoints: [{address: \"vm:80\"}]}".to_owned(),
            "spec.endpoints[0].address: expected an IP address or a DNS name, found \"vm:80\"",
        ),
        (
            "ServiceEntry",
            with_ports("endpoints: [{address: 10.0.0.1, ports: {htp: 80}}]"),
            "spec.endpoints[0].ports.htp: the ServiceEntry has no port \"htp\"; did you mean `http`?",
        ),
        (
            "ServiceEntry",
            with_ports("endpoints: [{address: 10.0.0.1, ports: {http: 0}}]"),
            "spec.endpoints[0].ports.http: port 0 is out of range",
        ),
        (
            "ServiceEntry",
            with_ports("endpoints: [{address: 10.0.0.1, labels: {a: \"b c\"}}]"),
            "spec.endpoints[0].labels.a: invalid label value \"b c\"",
        ),
        (
            "ServiceEntry",
            "{hosts: [a.b, c.d], resolution: STATIC, ports: [{number: 80, name: tcp, protocol: TCP}]}".to_owned(),
            "spec.hosts: nothing on a port without HTTP or TLS tells several hosts apart",
        ),
        ("ServiceEntry", with_ports("exportTo: [\"*\", a]"), "spec.exportTo: `*` includes all other namespaces"),
        ("ServiceEntry", with_ports("host: [a]"), "spec.host: unknown field; did you mean `hosts`?"),
        ("WorkloadEntry", "{labels: {a: b}}".to_owned(), "spec.address: missing; where is it?"),
        ("WorkloadEntry", "{address: \"a b\"}".to_owned(), "spec.address: expected an IP address or a DNS name"),
        (
            "WorkloadEntry",
            "{address: 10.0.0.1, ports: {a_b: 80}}".to_owned(),
            "spec.ports.a_b: invalid port name \"a_b\"",
        ),
        ("WorkloadEntry", "{address: 10.0.0.1, weight: -1}".to_owned(), "spec.weight: "),
        (
            "WorkloadEntry",
            "{address: \"unix://a\"}".to_owned(),
            "spec.address: expected an absolute path of a file after unix://",
        ),
        (
            "WorkloadEntry",
            "{address: \"unix:///a\", ports: {a: 1}}".to_owned(),
            "spec.ports: a Unix socket has no ports; leave them out",
        ),
        (
            "WorkloadGroup",
            "{metadata: {labels: {a: b}}}".to_owned(),
            "spec.template: missing; `template: {}` is the least",
        ),
        ("WorkloadGroup", "{metadata: {labels: {\"a b\": c}}, template: {}}".to_owned(), "invalid label key \"a b\""),
        ("WorkloadGroup", "{template: {ports: {a: 0}}}".to_owned(), "spec.template.ports.a: port 0 is out of range"),
        (
            "WorkloadGroup",
            "{template: {}, probe: {exec: {command: [a]}}}".to_owned(),
            "spec.probe.exec: machines have no commands here; ask a port instead",
        ),
        (
            "WorkloadGroup",
            "{template: {}, probe: {periodSeconds: 1}}".to_owned(),
            "spec.probe: expected exactly one of httpGet, tcpSocket, exec or grpc",
        ),
        (
            "WorkloadGroup",
            "{template: {}, probe: {tcpSocket: {port: 80}, grpc: {port: 80}}}".to_owned(),
            "spec.probe: expected exactly one of httpGet, tcpSocket, exec or grpc",
        ),
        (
            "WorkloadGroup",
            "{template: {}, probe: {tcpSocket: {}}}".to_owned(),
            "spec.probe.tcpSocket.port: missing; a port from 1 to 65535",
        ),
        (
            "WorkloadGroup",
            "{template: {}, probe: {httpGet: {port: 80, scheme: HTTPS}}}".to_owned(),
            "spec.probe.httpGet.scheme: HTTPS probes are not supported yet",
        ),
        ("ProxyConfig", "{concurrency: -1}".to_owned(), "spec.concurrency: -1 is negative; 0 means all cores"),
    ] {
        let (errors, _) = said(kind, &spec);
        // One mistake, one error.
        if errors.len() != 1 || !errors[0].contains(expected) {
            wrong.push(format!("{kind} {spec}: expected {expected}, found {errors:?}"));
        }
    }
    assert_eq!(wrong, [""; 0], "{}", wrong.join("\n"));
}

#[test]
fn what_grpc_clients_do_not_get_is_said() {
    let dns = format!("{{hosts: [a.b], resolution: DNS, {PORTS}}}");
    for (kind, spec, expected) in [
        (
            "ServiceEntry",
            dns.as_str(),
            "spec.resolution: istiod sends gRPC clients no endpoints of a host with resolution DNS",
        ),
        ("ServiceEntry", "{hosts: [a.b]}", "of a host with resolution NONE: calls to it fail; STATIC has some"),
        ("ServiceEntry", "{hosts: [\"*.b\"], resolution: STATIC}", "gRPC clients ask for a host by its whole name"),
        (
            "ServiceEntry",
            "{hosts: [a.b], resolution: STATIC, workloadSelector: {}}",
            "without labels it is for all workloads of the namespace",
        ),
        ("WorkloadEntry", "{address: vm.example.com}", "spec.address: gRPC clients are sent no endpoints that have to"),
        ("WorkloadEntry", "{address: \"unix:///a\"}", "istiod sends gRPC clients no Unix sockets"),
        ("ProxyConfig", "{concurrency: 2}", "spec.concurrency: is of Envoy"),
    ] {
        let (errors, notes) = said(kind, spec);
        assert_eq!(errors, [""; 0], "{kind} {spec}");
        assert!(notes.len() == 1 && notes[0].contains(expected), "{kind} {spec}: {notes:?}");
    }
    let good = format!("{{hosts: [a.b], resolution: STATIC, {PORTS}, endpoints: [{{address: 10.0.0.1}}]}}");
    assert_eq!(said("ServiceEntry", &good), (Vec::new(), Vec::new()));
    assert_eq!(said("WorkloadGroup", "{template: {serviceAccount: a}}"), (Vec::new(), Vec::new()));
}
