//! StatefulSets: names that stay, an order, updates from the highest ordinal down, and names in DNS.
//!
//! Source: the Kubernetes documentation, "StatefulSets" and "DNS for Services and Pods".

use std::time::Duration;

use hermesh::{ApplyError, Mesh, image};

use crate::cluster_history::{NAMESPACE, events, text};

/// The headless Service `web`, and a caller without a mesh.
const AROUND: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: grpc, port: 9000}]
---
apiVersion: v1
kind: Pod
metadata: {name: caller}
spec:
  containers: [{name: server, image: server}]
";

/// The StatefulSet `web` with these fields of its spec, whose containers have this one.
fn web(spec: &str, field: &str) -> String {
    format!(
        "---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: web}}
spec:
  serviceName: web
{spec}  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
      - name: server
        image: server
        readinessProbe: {{httpGet: {{path: /healthz, port: 8081}}, periodSeconds: 1}}
        {field}
"
    )
}

const FIRST: &str = "env: [{name: RELEASE, value: '1'}]";
const SECOND: &str = "env: [{name: RELEASE, value: '2'}]";
/// A container with this field is never ready.
const UNREADY: &str = "startupProbe: {exec: {command: ['false']}, failureThreshold: 1000}";

fn start() -> Mesh {
    let mut mesh = hermesh::mesh().image("*", image::stand_in).seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE).apply(AROUND);
    mesh
}

fn names(mesh: &Mesh) -> Vec<String> {
    mesh.get_pods().rows.iter().map(|row| row.name.clone()).filter(|name| name != "caller").collect()
}

/// How the pods came, became ready and went: `+web-0`, `web-0`, `-web-0`.
fn history(mesh: &Mesh) -> Vec<String> {
    let mut history = Vec::new();
    for event in events(mesh, &["netns.added", "pod.status", "object.deleted"]) {
        let pod = text(&event, "pod").trim_start_matches("shop/").to_owned();
        let gone = text(&event, "object").strip_prefix("Pod shop/").map(|pod| format!("-{pod}"));
        let told = match text(&event, "kind") {
            "netns.added" => Some(format!("+{pod}")),
            "pod.status" if text(&event, "status") == "Running" && text(&event, "ready") == "1/1" => Some(pod),
            "object.deleted" => gone,
            _ => None,
        };
        history.extend(told.filter(|told| told.contains("web-")));
    }
    history
}

/// What a name leads to in the pod `caller`.
fn resolve(mesh: &mut Mesh, host: &'static str) -> Vec<String> {
    let addresses = mesh.run_in("caller", move |process| async move { process.runtime().resolve(host).await });
    addresses.unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn address(mesh: &Mesh, pod: &str) -> String {
    let pods = mesh.get_pods().rows;
    let row = pods.iter().find(|row| row.name == pod).expect("the pod is there");
    row.ip.expect("it has an address").to_string()
}

#[test]
fn pods_are_made_one_after_the_other_and_deleted_in_reverse() {
    let mut mesh = start();
    mesh.apply(web("  replicas: 3\n", FIRST)).wait_ready();
    assert_eq!(history(&mesh), ["+web-0", "web-0", "+web-1", "web-1", "+web-2", "web-2"]);
    mesh.apply(web("  replicas: 1\n", FIRST)).wait_ready();
    assert_eq!(history(&mesh)[6..], ["-web-2", "-web-1"]);
    assert_eq!(names(&mesh), ["web-0"]);
    let rows = mesh.get_pods().rows;
    assert_eq!((rows[1].workload.as_str(), rows[1].ordinal), ("web", 0));
}

#[test]
fn a_pod_that_does_not_become_ready_holds_up_those_after_it_unless_they_are_made_in_parallel() {
    let mut mesh = start();
    mesh.apply(web("  replicas: 2\n", UNREADY));
    let error = mesh.try_wait_ready(&["web"], Duration::from_secs(60)).unwrap_err().to_string();
    assert!(error.ends_with("web: 0 of 2 pods are ready, web-0 is 0/1 Running"), "{error}");
    mesh.delete(web("  replicas: 2\n", UNREADY)).run_for(Duration::from_secs(60));
    assert_eq!(names(&mesh), [""; 0]);
    mesh.apply(web("  replicas: 2\n  podManagementPolicy: Parallel\n", UNREADY));
    mesh.run_for(Duration::from_secs(10));
    assert_eq!(names(&mesh), ["web-0", "web-1"]);
}

#[test]
fn an_update_goes_from_the_highest_ordinal_down_and_stops_at_the_partition() {
    let mut mesh = start();
    mesh.apply(web("  replicas: 3\n", FIRST)).wait_ready();
    let partition = "  replicas: 3\n  updateStrategy: {rollingUpdate: {partition: 1}}\n";
    mesh.apply(web(partition, SECOND)).wait_ready();
    let updated = ["-web-2", "+web-2", "web-2", "-web-1", "+web-1", "web-1"];
    assert_eq!(history(&mesh)[6..], updated);
    // One below the partition that is deleted comes back as it was.
    mesh.try_delete_objects(&[hermesh_istiod::objects::ObjectKey::new(
        hermesh_istiod::objects::Kind::Pod,
        "shop",
        "web-0",
    )])
    .unwrap();
    mesh.wait_ready();
    let releases = |mesh: &mut Mesh| {
        ["web-0", "web-1", "web-2"]
            .map(|pod| mesh.run_in(pod, |process| async move { process.var("RELEASE") }).unwrap())
    };
    assert_eq!(releases(&mut mesh), ["1", "2", "2"]);
    mesh.apply(web("  replicas: 3\n", SECOND)).wait_ready();
    assert_eq!(releases(&mut mesh), ["2", "2", "2"]);
}

#[test]
fn a_pod_keeps_its_name_in_dns_and_has_it_only_while_it_is_ready() {
    let mut mesh = start();
    mesh.apply(web("  replicas: 2\n", FIRST)).wait_ready();
    let both = [address(&mesh, "web-0"), address(&mesh, "web-1")];
    assert_eq!(resolve(&mut mesh, "web"), both);
    for host in ["web-1.web", "web-1.web.shop", "web-1.web.shop.svc.cluster.local"] {
        assert_eq!(resolve(&mut mesh, host), [both[1].clone()], "{host}");
    }
    assert_eq!(resolve(&mut mesh, "web-2.web"), [""; 0]);
    mesh.kill("web/1/server").run_for(Duration::from_millis(300));
    assert_eq!(resolve(&mut mesh, "web"), [both[0].clone()]);
    assert_eq!(resolve(&mut mesh, "web-1.web"), [""; 0]);
    mesh.wait_ready();
    assert_eq!(resolve(&mut mesh, "web-1.web"), [both[1].clone()]);
    let answer = mesh.run_in("caller", |process| async move {
        let options = hermesh_runtime::channel::ChannelOptions::default();
        let channel = hermesh_runtime::channel::Channel::new(&process.runtime(), "web-1.web:9000", options);
        let request = hermesh_echo::proto::EchoRequest { message: "ann".to_owned() };
        let channel = channel.expect("host and port");
        hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient::new(channel).echo(request).await
    });
    let message = answer.expect("web-1 answers").into_inner().message;
    assert!(message.contains("Hostname=web-1\n"), "{message}");
}

#[test]
fn whoever_publishes_addresses_that_are_not_ready_has_them_in_dns_at_once() {
    let mut mesh = start();
    let service = AROUND.replace("  clusterIP: None\n", "  clusterIP: None\n  publishNotReadyAddresses: true\n");
    mesh.apply(service).apply(web("  replicas: 1\n", UNREADY)).run_for(Duration::from_secs(5));
    assert_eq!(resolve(&mut mesh, "web-0.web"), [address(&mesh, "web-0")]);
}

#[test]
fn a_pod_with_a_hostname_answers_under_it_and_counts_for_its_workload() {
    let mut mesh = start();
    let named = "---
apiVersion: v1
kind: Pod
metadata: {name: alone, labels: {app: web}}
spec:
  hostname: first
  subdomain: web
  containers: [{name: server, image: server}]
";
    mesh.apply(named).wait_ready();
    assert_eq!(resolve(&mut mesh, "first.web"), [address(&mesh, "alone")]);
    let report = mesh.call(hermesh::Call::new("caller", "grpc://first.web:9000"));
    assert!(report.is_ok(), "{report:#?}");
    assert_eq!(report.answers[0].hostname, "first");
    assert_eq!(report.workloads, [("alone".to_owned(), 1)].into());
}

#[test]
fn what_the_api_server_does_not_change_is_refused() {
    let mut mesh = start();
    mesh.apply(web("  replicas: 1\n", FIRST)).wait_ready();
    let error = mesh.try_apply(web("  podManagementPolicy: Parallel\n", FIRST)).unwrap_err();
    let ApplyError::Refused(errors) = error else { panic!("{error}") };
    let expected = "inline:7:24: StatefulSet shop/web: spec.podManagementPolicy: field is immutable";
    assert!(errors[0].to_string().contains("spec.podManagementPolicy: field is immutable"), "{} {expected}", errors[0]);
    assert_eq!((errors[0].location.line, errors[0].location.column), (7, 24), "{}", errors[0]);
}
