//! VirtualServices: which one owns a host, and what their rules become.

use super::support::{Cluster, node};
use hermesh_xds::ResourceType::RouteConfiguration;

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: svc-a, namespace: test}
spec: {ports: [{name: grpc, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: svc-b, namespace: test}
spec: {ports: [{name: grpc, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: svc-c, namespace: test}
spec: {ports: [{name: grpc, port: 8080}, {name: grpc-other, port: 9090}]}
";
const A: &str = "outbound|8080||svc-a.test.svc.cluster.local";

fn virtual_service(namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn to(host: &str) -> String {
    format!("{{hosts: [svc-a], http: [{{route: [{{destination: {{host: {host}}}}}]}}]}}")
}

fn cluster() -> Cluster {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    cluster
}

/// The values of a field in the description of a route configuration.
fn values(cluster: &Cluster, name: &str, field: &str) -> Vec<String> {
    let text = cluster.described(&node("test", "client", "10.0.0.9"), RouteConfiguration, &[name]);
    let lines = text.lines().map(|line| line.trim().trim_start_matches("- "));
    lines.filter_map(|line| line.strip_prefix(&format!("{field}: "))).map(str::to_owned).collect()
}

fn clusters_of(cluster: &Cluster, name: &str) -> Vec<String> {
    values(cluster, name, "cluster")
}

/// Istio's TestGRPCRDSVirtualHostFiltering.
#[test]
fn only_virtual_hosts_of_the_asked_service_are_sent() {
    assert_eq!(values(&cluster(), A, "name"), [A, "svc-a.test.svc.cluster.local:8080", "default",]);
}

/// Istio's TestGRPCRDSWithVirtualService.
#[test]
fn a_virtual_service_owns_the_virtual_host_of_its_service() {
    let mut cluster = cluster();
    cluster.apply(&virtual_service("test", "v", &to("svc-b")));
    insta::assert_snapshot!(cluster.described(&node("test", "client", "10.0.0.9"), RouteConfiguration, &[A]));
}

/// Istio's TestGRPCRDSWithWildcardVirtualServiceHost.
#[test]
fn a_wildcard_host_without_services_is_served_on_port_80() {
    let mut cluster = Cluster::default();
    let spec =
        "{hosts: ['*.example.com'], http: [{route: [{destination: {host: api.example.net, port: {number: 80}}}]}]}";
    cluster.apply(&virtual_service("test", "v", spec));
    let text =
        cluster.described(&node("test", "client", "10.0.0.9"), RouteConfiguration, &["outbound|80||foo.example.com"]);
    assert!(text.contains("- *.example.com\n") && !text.contains("- foo.example.com"), "{text}");
    assert!(text.contains("cluster: outbound|80||api.example.net\n"), "{text}");
    let other_port =
        cluster.described(&node("test", "client", "10.0.0.9"), RouteConfiguration, &["outbound|81||foo.example.com"]);
    assert!(other_port.contains("virtual_hosts: []"), "{other_port}");
}

/// Istio's TestGRPCRDSSubsetRouteFiltering.
#[test]
fn a_subset_in_the_name_is_echoed_and_selects_nothing() {
    let name = "outbound|8080|v1|svc-a.test.svc.cluster.local";
    assert_eq!(values(&cluster(), name, "name")[..2], [name, "svc-a.test.svc.cluster.local:8080"]);
}

/// Istio's TestGRPCRDSSameShortNameDifferentNamespaces.
#[test]
fn services_of_one_name_in_two_namespaces_are_told_apart() {
    let mut cluster = Cluster::default();
    for namespace in ["ns1", "ns2"] {
        cluster.apply(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: svc, namespace: {namespace}}}\nspec: {{ports: [{{port: 8080}}]}}\n"));
    }
    let names = ["outbound|8080||svc.ns1.svc.cluster.local"];
    let text = cluster.described(&node("ns1", "client", "10.0.0.9"), RouteConfiguration, &names);
    assert!(text.contains("- svc.ns1.svc.cluster.local\n") && !text.contains("svc.ns2.svc.cluster.local"), "{text}");
}

#[test]
fn of_two_for_one_host_the_older_counts_and_they_are_not_merged() {
    let mut cluster = cluster();
    cluster.apply(&virtual_service("test", "z", &to("svc-b"))).apply(&virtual_service("test", "a", &to("svc-c")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-b.test.svc.cluster.local"]);
    let mut cluster = self::cluster();
    let both = [virtual_service("test", "z", &to("svc-b")), virtual_service("test", "a", &to("svc-c"))].join("---\n");
    cluster.apply(&both);
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-c.test.svc.cluster.local"], "in the same second by name");
}

#[test]
fn private_ones_count_before_exported_ones_before_public_ones() {
    let mut cluster = cluster();
    let exported = |to: &str, host: &str| {
        format!(
            "{{hosts: [svc-a.test.svc.cluster.local], exportTo: {to}, http: [{{route: [{{destination: {{host: {host}.test.svc.cluster.local}}}}]}}]}}"
        )
    };
    cluster.apply(&virtual_service("other", "public", &exported("['*']", "svc-a")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-a.test.svc.cluster.local"]);
    cluster.apply(&virtual_service("other", "exported", &exported("[test, x]", "svc-b")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-b.test.svc.cluster.local"]);
    cluster.apply(&virtual_service("test", "private", &exported("['.']", "svc-c")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-c.test.svc.cluster.local"]);
    cluster.apply(&virtual_service("other", "hidden", &exported("['.']", "svc-a")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-c.test.svc.cluster.local"]);
}

#[test]
fn one_that_has_no_route_for_the_client_leaves_the_host_to_the_next() {
    let mut cluster = cluster();
    let for_web =
        "{hosts: [svc-a], http: [{match: [{sourceLabels: {app: web}}], route: [{destination: {host: svc-b}}]}]}";
    cluster.apply(&virtual_service("test", "a", for_web)).apply(&virtual_service("test", "b", &to("svc-c")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-c.test.svc.cluster.local"]);
}

#[test]
fn rules_for_others_never_reach_the_client() {
    for (condition, reaches) in [
        ("{port: 8080}", true),
        ("{port: 9090}", false),
        ("{sourceNamespace: test}", true),
        ("{sourceNamespace: other}", false),
        ("{sourceLabels: {app: web}}", false),
        ("{gateways: [mesh]}", true),
        ("{gateways: [istio-system/ingress]}", false),
    ] {
        let mut cluster = cluster();
        let spec =
            format!("{{hosts: [svc-a], http: [{{match: [{condition}], route: [{{destination: {{host: svc-b}}}}]}}]}}");
        cluster.apply(&virtual_service("test", "v", &spec));
        let expected = if reaches { "svc-b" } else { "svc-a" };
        assert_eq!(
            clusters_of(&cluster, A),
            [format!("outbound|8080||{expected}.test.svc.cluster.local")],
            "{condition}"
        );
    }
}

#[test]
fn routes_for_gateways_are_not_for_the_mesh() {
    let mut cluster = cluster();
    cluster.apply(&virtual_service(
        "test",
        "v",
        "{hosts: [svc-a], gateways: [ingress], http: [{route: [{destination: {host: svc-b}}]}]}",
    ));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-a.test.svc.cluster.local"]);
    cluster.apply(&virtual_service(
        "test",
        "v",
        "{hosts: [svc-a], gateways: [ingress, mesh], http: [{route: [{destination: {host: svc-b}}]}]}",
    ));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-b.test.svc.cluster.local"]);
}

#[test]
fn a_wildcard_is_for_the_services_that_no_other_host_names_better() {
    let mut cluster = cluster();
    let spec = "{hosts: ['*.test.svc.cluster.local'], http: [{route: [{destination: {host: svc-b}}]}]}";
    cluster.apply(&virtual_service("test", "wild", spec));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-b.test.svc.cluster.local"]);
    cluster.apply(&virtual_service("test", "exact", &to("svc-c")));
    assert_eq!(clusters_of(&cluster, A), ["outbound|8080||svc-c.test.svc.cluster.local"]);
}

#[test]
fn a_destination_without_port_takes_its_only_port_else_the_request_s() {
    let mut cluster = cluster();
    cluster
        .apply("apiVersion: v1\nkind: Service\nmetadata: {name: one, namespace: test}\nspec: {ports: [{port: 5}]}\n");
    for (destination, expected) in [
        ("{host: one}", "outbound|5||one.test.svc.cluster.local"),
        ("{host: svc-c}", "outbound|8080||svc-c.test.svc.cluster.local"),
        ("{host: svc-c, port: {number: 9090}}", "outbound|9090||svc-c.test.svc.cluster.local"),
        ("{host: svc-c, subset: v1}", "outbound|8080|v1|svc-c.test.svc.cluster.local"),
        ("{host: nobody.example.com}", "outbound|8080||nobody.example.com"),
    ] {
        let spec = format!("{{hosts: [svc-a], http: [{{route: [{{destination: {destination}}}]}}]}}");
        cluster.apply(&virtual_service("test", "v", &spec));
        assert_eq!(clusters_of(&cluster, A), [expected], "{destination}");
    }
}

#[test]
fn every_kind_of_match_and_action_has_its_shape() {
    let mut cluster = cluster();
    cluster.apply(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: all, namespace: test}
spec:
  hosts: [svc-a]
  http:
  - name: method
    match:
    - name: exact
      uri: {exact: /proto.EchoTestService/Echo}
      headers: {b: {exact: x}, a: {prefix: y}, c: {regex: 'z+'}, d: {}}
      withoutHeaders: {aa: {exact: no}, f: {}}
    - uri: {prefix: /proto.}
      ignoreUriCase: true
    route: [{destination: {host: svc-b}}]
    timeout: 1m500ms
    retries: {attempts: 3, perTryTimeout: 2s, retryOn: 'unavailable,503', backoff: 50ms}
  - match: [{uri: {regex: '/a.*'}, method: {exact: POST}, authority: {exact: x}, scheme: {exact: http}, queryParams: {q: {exact: '1'}}}]
    redirect: {uri: /new, authority: other, redirectCode: 307}
  - match: [{uri: {prefix: /teapot}}]
    directResponse: {status: 418}
  - match: [{uri: {prefix: /none}}]
    route: [{destination: {host: svc-b}}]
    retries: {attempts: 0}
  - route:
    - {destination: {host: svc-a, subset: v1}, weight: 1}
    - {destination: {host: svc-a, subset: v2}, weight: 0}
    - {destination: {host: svc-b}, weight: 2}
  - route: [{destination: {host: svc-c}}]
",
    );
    insta::assert_snapshot!(cluster.described(&node("test", "client", "10.0.0.9"), RouteConfiguration, &[A]));
}

#[test]
fn faults_stand_in_the_routes_that_inject_them() {
    for (fault, expected) in [
        (
            "{delay: {fixedDelay: 1.5s, percentage: {value: 12.5}}}",
            vec!["delay.fixed_delay: 1.5s", "delay.percentage: 125000/MILLION"],
        ),
        ("{delay: {fixedDelay: 5ms, percent: 7}}", vec!["delay.fixed_delay: 0.005s", "delay.percentage: 7/HUNDRED"]),
        (
            "{abort: {grpcStatus: UNAVAILABLE, percentage: {value: 0.0001}}}",
            vec!["abort.grpc_status: 14", "abort.percentage: 1/MILLION"],
        ),
        ("{abort: {httpStatus: 503}}", vec!["abort.http_status: 503"]),
    ] {
        let mut cluster = cluster();
        let spec = format!("{{hosts: [svc-a], http: [{{fault: {fault}, route: [{{destination: {{host: svc-b}}}}]}}]}}");
        cluster.apply(&virtual_service("test", "v", &spec));
        let text = cluster.described(&node("test", "client", "10.0.0.9"), RouteConfiguration, &[A]);
        let told = text.lines().skip_while(|line| !line.contains("typed_per_filter_config.envoy.filters.http.fault:"));
        let told: Vec<&str> = told.skip(2).map(str::trim).collect();
        assert_eq!(told, expected, "{text}");
    }
}

#[test]
fn routes_hash_what_the_destination_rule_wants_alike() {
    let rule = |spec: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: r, namespace: test}}\nspec: {spec}\n"
        )
    };
    let hash = |name: &str| format!("{{loadBalancer: {{consistentHash: {{httpHeaderName: {name}}}}}}}");
    let headers = |cluster: &Cluster| values(cluster, A, "header");
    let mut cluster = cluster();
    cluster.apply(&rule(&format!("{{host: svc-a, trafficPolicy: {}}}", hash("x-user"))));
    assert_eq!(headers(&cluster), ["x-user"], "without a VirtualService");

    let subset = format!("subsets: [{{name: v1, trafficPolicy: {}}}]", hash("x-subset"));
    let port = "portLevelSettings: [{port: {number: 8080}, loadBalancer: {consistentHash: {httpHeaderName: x-port}}}]";
    let policy = format!("{{loadBalancer: {{consistentHash: {{httpHeaderName: x-user}}}}, {port}}}");
    cluster.apply(&rule(&format!("{{host: svc-a, trafficPolicy: {policy}, {subset}}}")));
    for (destinations, expected) in [
        ("[{destination: {host: svc-a}}]", &["x-user"][..]),
        ("[{destination: {host: svc-a, port: {number: 8080}}}]", &["x-port"]),
        ("[{destination: {host: svc-a, subset: v1}}]", &["x-subset"]),
        ("[{destination: {host: svc-b}}]", &[]),
        (
            "[{destination: {host: svc-a, subset: v1}, weight: 1}, {destination: {host: svc-a}, weight: 1}]",
            &["x-subset", "x-user"],
        ),
    ] {
        cluster.apply(&virtual_service("test", "v", &format!("{{hosts: [svc-a], http: [{{route: {destinations}}}]}}")));
        assert_eq!(headers(&cluster), expected, "{destinations}");
    }
}
