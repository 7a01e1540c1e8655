//! What each type makes of names it knows, does not know, or was not given.

use super::support::{Cluster, node};
use hermesh_xds::ResourceType::{Cluster as Cds, Endpoints, Listener, RouteConfiguration};

const SERVICES: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: one}
spec: {selector: {app: a}, ports: [{name: grpc, port: 80}, {name: tcp-x, port: 81}]}
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: two}
spec: {clusterIP: None, selector: {app: b}, ports: [{name: grpc, port: 80, targetPort: 8080}]}
";

fn names(cluster: &Cluster, resource_type: hermesh_xds::ResourceType, asked: &[&str]) -> Vec<String> {
    let node = node("one", "client", "10.0.0.9");
    cluster.resources(&node, resource_type, asked).into_iter().map(|resource| resource.name).collect()
}

#[test]
fn no_listener_names_are_all_services_on_all_ports() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    let expected = ["a.one.svc.cluster.local:80", "a.one.svc.cluster.local:81", "b.two.svc.cluster.local:80"];
    assert_eq!(names(&cluster, Listener, &[]), expected);
    assert_eq!(names(&cluster, Cds, &[]), [""; 0], "but no clusters");
}

#[test]
fn names_and_ports_are_unioned_by_service() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    assert_eq!(names(&cluster, Listener, &["a:80", "a.one:81"]), ["a:80", "a:81", "a.one:80", "a.one:81"]);
    assert_eq!(names(&cluster, Listener, &["a"]), ["a:80", "a:81"], "a name without port is all ports");
}

#[test]
fn short_names_do_not_reach_into_other_namespaces() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    assert_eq!(names(&cluster, Listener, &["b:80", "b.two:80", "b.two.svc:80"]), [""; 0]);
    assert_eq!(names(&cluster, Listener, &["b.two.svc.cluster.local:80"]), ["b.two.svc.cluster.local:80"]);
}

#[test]
fn unknown_names_are_told_apart_by_type() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    let node = node("one", "client", "10.0.0.9");
    let unknown = ["outbound|80||nobody.one.svc.cluster.local", "outbound|99||a.one.svc.cluster.local", "nonsense"];
    assert_eq!(names(&cluster, Listener, &["nobody:80", "a:99"]), [""; 0]);
    assert_eq!(names(&cluster, Cds, &unknown), [""; 0]);
    insta::assert_snapshot!(cluster.described(&node, RouteConfiguration, &unknown), @r"
    # outbound|80||nobody.one.svc.cluster.local from 
    type: RouteConfiguration
    name: outbound|80||nobody.one.svc.cluster.local
    virtual_hosts: []

    # outbound|99||a.one.svc.cluster.local from 
    type: RouteConfiguration
    name: outbound|99||a.one.svc.cluster.local
    virtual_hosts: []
    ");
    let endpoints = cluster.described(&node, Endpoints, &unknown);
    assert_eq!(endpoints.matches("endpoints: []").count(), 3, "{endpoints}");
}

#[test]
fn a_port_of_bytes_has_a_listener_and_no_virtual_host() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    let node = node("one", "client", "10.0.0.9");
    assert_eq!(names(&cluster, Listener, &["a:81"]), ["a:81"]);
    let routes = cluster.described(&node, RouteConfiguration, &["outbound|81||a.one.svc.cluster.local"]);
    assert!(routes.contains("virtual_hosts: []"), "{routes}");
}

#[test]
fn domains_are_all_spellings_of_a_service_from_where_the_client_is() {
    let mut cluster = Cluster::default();
    cluster.apply(SERVICES);
    let domains = |namespace: &str, service: &str| {
        let node = node(namespace, "client", "10.0.0.9");
        let text =
            cluster.described(&node, RouteConfiguration, &[&format!("outbound|80||{service}.svc.cluster.local")]);
        let domains = text.lines().map(str::trim).skip_while(|line| *line != "domains:").skip(1);
        let domains: Vec<String> =
            domains.take_while(|line| line.starts_with("- ")).map(|line| line[2..].to_owned()).collect();
        domains.join(" ")
    };
    assert_eq!(
        domains("one", "a.one"),
        "a.one.svc.cluster.local a.one.svc.cluster.local:80 a.one.svc.cluster.local. a.one.svc.cluster.local.:80 \
         a a:80 a.one.svc a.one.svc:80 a.one a.one:80 10.96.0.1 10.96.0.1:80"
    );
    assert_eq!(
        domains("two", "a.one"),
        "a.one.svc.cluster.local a.one.svc.cluster.local:80 a.one.svc.cluster.local. a.one.svc.cluster.local.:80 \
         a.one a.one:80 a.one.svc a.one.svc:80 10.96.0.1 10.96.0.1:80"
    );
    assert_eq!(
        domains("one", "b.two"),
        "b.two.svc.cluster.local b.two.svc.cluster.local:80 b.two.svc.cluster.local. b.two.svc.cluster.local.:80 \
         b.two b.two:80 b.two.svc b.two.svc:80 *.b.two.svc.cluster.local *.b.two.svc.cluster.local:80 \
         *.b.two.svc.cluster.local. *.b.two.svc.cluster.local.:80 *.b.two *.b.two:80 *.b.two.svc *.b.two.svc:80",
        "a headless Service has wildcards and no address"
    );
}

#[test]
fn a_service_exported_elsewhere_is_not_seen() {
    let mut cluster = Cluster::default();
    cluster.apply(
        "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: two, annotations: {networking.istio.io/exportTo: '.'}}
spec: {ports: [{port: 80}]}
",
    );
    assert_eq!(names(&cluster, Listener, &["a.two.svc.cluster.local:80"]), [""; 0]);
    assert_eq!(names(&cluster, Cds, &["outbound|80||a.two.svc.cluster.local"]), [""; 0]);
}
