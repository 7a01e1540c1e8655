//! Several nodes: where pods go, what the loss of a node's power does, where localities come from, and what
//! `kubectl get` shows.
//!
//! Source: the Kubernetes documentation, "Nodes", "Taints and Tolerations" and "Force Delete StatefulSet Pods".

use std::net::IpAddr;
use std::time::Duration;

use hermesh::engine::Network;
use hermesh::scenario::{RunOptions, Scenario, Verdict};
use hermesh::{Call, DisturbError, Listed, Mesh, MeshBuilder, Nodes, PodRow, Pull, TargetError};

const NAMESPACE: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn cluster(nodes: impl Into<Nodes>) -> MeshBuilder {
    hermesh::mesh().seed(7).namespace("shop").nodes(nodes).image("corp/*", hermesh::stand_in)
}

fn workload(kind: &str, name: &str, replicas: u32, more: &str) -> String {
    let service = if kind == "StatefulSet" { format!("serviceName: {name}, ") } else { String::new() };
    format!(
        "---\napiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  {{{service}replicas: {replicas}, \
         selector: {{matchLabels: {{app: {name}}}}}, template: {{metadata: {{labels: {{app: {name}}}}}, \
         spec: {{{more}containers: [{{name: app, image: corp/{name}, ports: [{{containerPort: 7070}}]}}]}}}}}}\n"
    )
}

fn service(name: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{name: grpc, port: 7070}}]}}\n"
    )
}

/// The rows of a workload's pods that are not about to end.
fn rows(mesh: &Mesh, workload: &str) -> Vec<PodRow> {
    let rows = mesh.get_pods().rows.into_iter();
    rows.filter(|row| row.workload == workload && !row.is_terminating()).collect()
}

fn nodes_of(rows: &[PodRow]) -> Vec<&str> {
    let mut nodes: Vec<&str> = rows.iter().filter_map(|row| row.node.as_deref()).collect();
    nodes.sort_unstable();
    nodes
}

fn ready(mesh: &mut Mesh, workloads: &[&str]) {
    mesh.try_wait_ready(workloads, secs(60)).unwrap_or_else(|error| panic!("{error}"));
}

/// When events of a kind happened.
fn times(mesh: &Mesh, kind: &str) -> Vec<Duration> {
    let time = |event: &&hermesh::trace::Recorded| event.kind == kind;
    mesh.with_trace(|trace| trace.events().iter().filter(time).map(|event| Duration::from_micros(event.t_us)).collect())
}

fn endpoints(mesh: &Mesh, service: &str) -> usize {
    let table = mesh.get(Listed::Endpoints);
    let cell = table.cell(service, "ENDPOINTS").unwrap_or_default();
    let (shown, more) = cell.split_once(" + ").unwrap_or((cell, "0 more..."));
    let more: usize = more.trim_end_matches(" more...").parse().expect("a number of endpoints");
    shown.split(',').filter(|endpoint| endpoint.parse::<std::net::SocketAddr>().is_ok()).count() + more
}

#[test]
fn pods_go_to_the_node_with_the_fewest_and_to_those_that_they_select() {
    let zone = |zone| [("topology.kubernetes.io/zone", zone)];
    let mut mesh = cluster(Nodes::new().node("a", zone("a")).node("b", zone("b")).node("c", zone("b"))).start();
    let selects = |label: &str| format!("nodeSelector: {{{label}}}, ");
    mesh.apply(
        NAMESPACE.to_owned()
            + &workload("Deployment", "any", 6, "")
            + &workload("Deployment", "b", 2, &selects("topology.kubernetes.io/zone: b"))
            + &workload("Deployment", "named", 1, "nodeName: a, "),
    )
    .wait_ready();
    assert!(!nodes_of(&rows(&mesh, "b")).contains(&"a"), "{}", mesh.get_pods());
    assert_eq!(nodes_of(&rows(&mesh, "named")), ["a"]);
    let all = mesh.get_pods().rows;
    let on = |node: &str| all.iter().filter(|row| row.node.as_deref() == Some(node)).count();
    assert!((2..=4).contains(&on("a")) && (2..=4).contains(&on("b")) && (2..=4).contains(&on("c")), "{all:?}");
}

#[test]
fn a_pod_that_no_node_takes_waits_until_one_does() {
    let mut mesh = cluster(2).start();
    let pod = workload("Deployment", "web", 1, "nodeSelector: {disk: ssd}, ");
    mesh.apply(NAMESPACE.to_owned() + &pod).run_for(secs(5));
    let row = rows(&mesh, "web").remove(0);
    assert_eq!((row.status.as_str(), row.node, row.ip), ("Pending", None, None));
    let waits = mesh.with_trace(|trace| {
        let waits = trace.events().iter().find(|event| event.kind == "pod.waits").expect("it waits");
        waits.to_json()
    });
    assert!(waits.contains("node-1 has no label disk: ssd, node-2 has no label disk: ssd"), "{waits}");
    mesh.label("node/node-2", "disk", "ssd").wait_ready();
    assert_eq!(nodes_of(&rows(&mesh, "web")), ["node-2"]);
}

#[test]
fn pods_choose_no_node_where_nobody_says_which_there_are() {
    let mut mesh = hermesh::mesh().seed(7).namespace("shop").image("corp/*", hermesh::stand_in).start();
    let chosen = "nodeSelector: {pool: fast}, nodeName: kind-worker, ";
    mesh.apply(NAMESPACE.to_owned() + &workload("Deployment", "web", 1, chosen)).wait_ready();
    mesh.power_off("node-1").run_for(secs(60));
    assert_eq!(mesh.get(Listed::Nodes).cell("node-1", "STATUS"), Some("NotReady"));
}

/// A table test of the times after a node's power goes off: what is so, and from when to when.
#[test]
fn a_lost_node_is_not_ready_after_50_s_and_its_pods_are_evicted_300_s_later() {
    let mut mesh = cluster(Nodes::from(3)).start();
    let pinned = "nodeSelector: {kubernetes.io/hostname: node-2}, ";
    let hasty = "nodeSelector: {kubernetes.io/hostname: node-2}, \
                 tolerations: [{key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, \
                 tolerationSeconds: 30}], ";
    mesh.apply(
        NAMESPACE.to_owned()
            + &service("web")
            + &workload("Deployment", "web", 4, "")
            + &workload("StatefulSet", "db", 1, pinned)
            + &workload("Deployment", "hasty", 1, hasty),
    )
    .wait_ready();
    let lost: Vec<PodRow> =
        rows(&mesh, "web").into_iter().filter(|row| row.node.as_deref() == Some("node-2")).collect();
    assert!(!lost.is_empty(), "{}", mesh.get_pods());
    let off = mesh.now();
    mesh.power_off("node-2").run_for(secs(39));
    assert_eq!((mesh.get(Listed::Nodes).cell("node-2", "STATUS"), endpoints(&mesh, "web")), (Some("Ready"), 4));
    assert!(rows(&mesh, "web").iter().all(|row| row.status == "Running"), "nobody knows yet");
    mesh.run_for(secs(18));
    let seen = times(&mesh, "node.not-ready")[0] - off;
    assert!((secs(40)..=secs(55)).contains(&seen), "{seen:?}");
    assert_eq!(mesh.get(Listed::Nodes).cell("node-2", "STATUS"), Some("NotReady"));
    assert_eq!(endpoints(&mesh, "web"), 4 - lost.len());
    let error = mesh.try_wait_ready(&["web"], secs(1)).unwrap_err().to_string();
    assert!(error.contains("(node-2 is not heard of)"), "{error}");

    mesh.run_for(secs(240));
    assert_eq!(times(&mesh, "pod.evicted").len(), 1, "that is the hasty one, after 30 s");
    mesh.run_for(secs(60));
    let evicted: Vec<Duration> = times(&mesh, "pod.evicted").iter().map(|at| *at - off - seen).collect();
    assert_eq!(evicted.len(), 2 + lost.len(), "{evicted:?}");
    let is_at = |at: Duration, expected| at.abs_diff(secs(expected)) < Duration::from_millis(2);
    assert!(is_at(evicted[0], 30) && evicted[1..].iter().all(|at| is_at(*at, 300)), "{evicted:?}");

    // A Deployment has made others elsewhere; the pod of the StatefulSet may still run for all that is known.
    ready(&mut mesh, &["web"]);
    assert!(!nodes_of(&rows(&mesh, "web")).contains(&"node-2"), "{}", mesh.get_pods());
    let db = |mesh: &Mesh| mesh.get_pods().rows.into_iter().find(|row| row.name == "db-0").unwrap();
    assert_eq!((db(&mesh).status.as_str(), rows(&mesh, "db").len()), ("Terminating", 0));
    mesh.run_for(secs(3600));
    assert_eq!(db(&mesh).status, "Terminating", "it stays as long as its node is lost");

    mesh.power_on("node-2").wait_ready();
    assert_eq!((db(&mesh).status.as_str(), db(&mesh).node.as_deref()), ("Running", Some("node-2")));
    assert_eq!(mesh.get(Listed::Nodes).cell("node-2", "STATUS"), Some("Ready"));
    assert!(lost.iter().all(|row| mesh.get_pods().rows.iter().all(|other| other.name != row.name)), "they are gone");
}

#[test]
fn the_pods_of_a_node_that_is_deleted_are_gone_with_it() {
    let mut mesh = cluster(2).start();
    mesh.apply(NAMESPACE.to_owned() + &workload("StatefulSet", "db", 1, "")).wait_ready();
    assert_eq!(nodes_of(&rows(&mesh, "db")), ["node-2"], "the other one has istiod");
    mesh.power_off("node-2").run_for(secs(400));
    assert_eq!((rows(&mesh, "db").len(), mesh.get_pods().rows.len()), (0, 1), "{}", mesh.get_pods());
    mesh.delete("apiVersion: v1\nkind: Node\nmetadata: {name: node-2}\n").run_for(secs(39));
    assert_eq!((rows(&mesh, "db").len(), mesh.get(Listed::Nodes).rows.len()), (0, 1));
    mesh.run_for(secs(45));
    ready(&mut mesh, &["db"]);
    assert_eq!(nodes_of(&rows(&mesh, "db")), ["node-1"]);
    mesh.power_on("node-2").run_for(secs(1));
    assert_eq!(mesh.get(Listed::Nodes).cell("node-2", "STATUS"), Some("Ready"), "its kubelet has registered it");
}

#[test]
fn a_node_that_returns_in_time_starts_its_pods_again_under_new_addresses() {
    for network in [Network::Simulated, Network::Turmoil] {
        let mut mesh = cluster(2).network(network).start();
        let init = "initContainers: [{name: first, image: corp/web}], ";
        mesh.apply(NAMESPACE.to_owned() + &service("web") + &workload("Deployment", "web", 2, init)).wait_ready();
        let before = rows(&mesh, "web");
        mesh.power_off("node-2").run_for(secs(20));
        mesh.power_on("node-2").wait_ready();
        assert_eq!((times(&mesh, "node.not-ready"), times(&mesh, "node.ready")), (vec![], vec![]));
        let after = rows(&mesh, "web");
        for (before, after) in before.iter().zip(&after) {
            let was_lost = before.node.as_deref() == Some("node-2");
            assert_eq!((&before.name, &before.node), (&after.name, &after.node));
            assert_eq!((after.restarts > 0, after.ip != before.ip), (was_lost, was_lost), "{after:?}");
            let code = after.exits.get("app").map(|exit| (exit.code, exit.reason.as_str()));
            assert_eq!(code, was_lost.then_some((255, "Unknown")), "{after:?}");
        }
        assert_eq!(endpoints(&mesh, "web"), 2);
        // The init container runs first, again.
        let lost = &before.iter().find(|row| row.node.as_deref() == Some("node-2")).unwrap().name;
        let started: Vec<String> = mesh.with_trace(|trace| {
            let started = trace.events().iter().filter(|event| event.kind == "container.started");
            started.filter_map(|event| event.at.strip_prefix(&format!("shop/{lost}/")).map(str::to_owned)).collect()
        });
        assert_eq!(started, ["first", "app", "first", "app"], "{network:?}");
    }
}

#[test]
fn clients_of_a_lost_node_meet_silence() {
    for network in [Network::Simulated, Network::Turmoil] {
        let mut mesh = cluster(Nodes::from(2)).network(network).start();
        let on = |node: &str| format!("nodeSelector: {{kubernetes.io/hostname: {node}}}, ");
        mesh.apply(
            NAMESPACE.to_owned()
                + &service("web")
                + &workload("Deployment", "web", 1, &on("node-2"))
                + &workload("Deployment", "caller", 1, &on("node-1")),
        )
        .wait_ready();
        let ip: IpAddr = rows(&mesh, "web")[0].ip.unwrap();
        mesh.power_off("node-2");
        let mut call = Call::new("caller", format!("grpc://{ip}:7070"));
        call.timeout = Some(secs(3));
        let report = mesh.call(call);
        assert!(!report.is_ok() && report.ended - report.began >= secs(3), "{network:?}: {report:#?}");
        let error = mesh.try_call(&Call::new("web", "grpc://caller:7070")).unwrap_err().to_string();
        assert_eq!(error, "web does not run");
    }
}

#[test]
fn power_goes_off_where_it_is_on() {
    let mut mesh = cluster(2).start();
    let DisturbError::Target(TargetError::Unknown { what, nearest, .. }) = mesh.try_power_off("node-3").unwrap_err()
    else {
        panic!("there is no such node")
    };
    assert_eq!((what, nearest.is_some()), ("node", true));
    assert_eq!(mesh.try_power_on("node-1").unwrap_err().to_string(), "the power of node-1 is on already");
    mesh.power_off("node-1");
    assert_eq!(mesh.try_power_off("node-1").unwrap_err().to_string(), "the power of node-1 is off already");
}

#[test]
fn the_control_plane_moves_when_its_node_is_lost() {
    let mut mesh = cluster(2).start();
    mesh.apply(NAMESPACE);
    assert_eq!(nodes_of(&mesh.get_pods_in("istio-system").rows), ["node-1"]);
    mesh.power_off("node-1").run_for(secs(360));
    ready(&mut mesh, &["istiod"]);
    let all = mesh.get_pods_in("istio-system").rows;
    let living: Vec<PodRow> = all.into_iter().filter(|row| !row.is_terminating()).collect();
    assert_eq!(nodes_of(&living), ["node-2"]);
}

#[test]
fn a_pull_takes_as_long_as_it_is_said_to_and_the_others_wait_for_it() {
    let slow = Pull::new("corp/web*", secs(30)..=secs(30)).on("node-2");
    let mut mesh = cluster(2).pull(slow).start();
    let on = |node: &str| format!("nodeSelector: {{kubernetes.io/hostname: {node}}}, ");
    let began = mesh.now();
    mesh.apply(
        NAMESPACE.to_owned()
            + &workload("Deployment", "web-1", 1, &on("node-1"))
            + &workload("Deployment", "web", 2, &on("node-2"))
            + &workload("Deployment", "other", 1, &on("node-2")),
    );
    ready(&mut mesh, &["web-1", "other"]);
    assert!(mesh.now() - began < secs(5), "{:?}", mesh.now() - began);
    let error = mesh.try_wait_ready(&["web"], secs(10)).unwrap_err().to_string();
    assert!(error.contains("0/1 ContainerCreating"), "{error}");
    ready(&mut mesh, &["web"]);
    let took = mesh.now() - began;
    assert!((secs(30)..secs(32)).contains(&took), "{took:?}");
    // The image is there now.
    let began = mesh.now();
    mesh.kill("web");
    ready(&mut mesh, &["web"]);
    assert!(mesh.now() - began < secs(2), "{:?}", mesh.now() - began);
}

#[test]
fn pods_without_a_label_are_where_their_node_is() {
    let place = |region, zone| [("topology.kubernetes.io/region", region), ("topology.kubernetes.io/zone", zone)];
    let nodes =
        Nodes::new().node("front", place("eu", "a")).node("near", place("eu", "a")).node("far", place("us", "x"));
    let injected = |name: &str, node: &str, labels: &str| {
        workload("Deployment", name, 1, &format!("nodeSelector: {{kubernetes.io/hostname: {node}}}, ")).replace(
            &format!("template: {{metadata: {{labels: {{app: {name}}}}}"),
            &format!(
                "template: {{metadata: {{labels: {{app: {name}, part: cart{labels}}}, annotations: \
                 {{inject.istio.io/templates: grpc-agent, \
                 proxy.istio.io/config: '{{\"holdApplicationUntilProxyStarts\": true}}'}}}}"
            ),
        )
    };
    let mut mesh = cluster(nodes).start();
    let namespace = NAMESPACE.replace("{name: shop}", "{name: shop, labels: {istio-injection: enabled}}");
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cart}\n\
                spec: {host: cart, trafficPolicy: {outlierDetection: {}}}\n";
    mesh.apply(
        namespace
            + &service("cart").replace("{app: cart}", "{part: cart}")
            + rule
            + &injected("web", "front", "").replace(", part: cart", "")
            + &injected("near", "near", "")
            + &injected("far", "far", "")
            // Its own label counts more than its node's.
            + &injected("moved", "near", ", istio-locality: us.x"),
    )
    .wait_ready()
    .wait_converged();
    let report = mesh.call(Call::new("web", "xds:///cart:7070").count(10).qps(100));
    assert_eq!(report.workloads, [("near".to_owned(), 10)].into(), "{report:#?}");
    mesh.delete(injected("near", "near", "")).run_for(secs(40));
    mesh.wait_converged();
    let report = mesh.call(Call::new("web", "xds:///cart:7070").count(10).qps(10));
    assert_eq!(report.workloads.len(), 2, "{report:#?}");
}

#[test]
fn the_examples_hold_with_any_seed() {
    for name in ["locality/nodes", "kubernetes/slow-pulls", "kubernetes/late-config"] {
        let path = format!("{}/../examples/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
        let scenario = Scenario::open(path).unwrap_or_else(|error| panic!("{error}"));
        for seed in 1..=5 {
            let run = scenario.run(&RunOptions::seed(seed)).unwrap();
            assert_eq!(run.verdict, Verdict::Held, "{name} with seed {seed}: {:#?}", run.steps.last());
        }
    }
}

#[test]
fn tables_look_like_kubectls() {
    let mut mesh = cluster(2).start();
    let job = "---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: load}\nspec:\n  completions: 2\n  template:\n    \
               spec: {restartPolicy: Never, containers: [{name: app, image: corp/load}]}\n";
    let headless = service("db").replace("spec: {", "spec: {clusterIP: None, ");
    mesh.apply(
        NAMESPACE.to_owned()
            + &service("web")
            + &headless
            + &service("nobody")
            + &workload("Deployment", "web", 5, "")
            + &workload("StatefulSet", "db", 1, "")
            + job,
    )
    .run_for(secs(60));
    let lines = |mesh: &Mesh, listed| mesh.get(listed).to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        lines(&mesh, Listed::Nodes),
        [
            "NAME     STATUS   ROLES    AGE   VERSION",
            "node-1   Ready    <none>   63s   v1.32.0",
            "node-2   Ready    <none>   63s   v1.32.0",
        ]
        .map(|line| line.replace("63s", &format!("{}s", mesh.now().as_secs())))
    );
    assert_eq!(
        lines(&mesh, Listed::Deployments),
        ["NAME   READY   UP-TO-DATE   AVAILABLE   AGE", "web    5/5     5            5           60s"]
    );
    assert_eq!(lines(&mesh, Listed::StatefulSets), ["NAME   READY   AGE", "db     1/1     60s"]);
    let jobs = mesh.get(Listed::Jobs);
    assert_eq!(
        (jobs.cell("load", "STATUS"), jobs.cell("load", "COMPLETIONS")),
        (Some("Complete"), Some("2/2")),
        "{jobs}"
    );
    let took = jobs.cell("load", "DURATION").and_then(|cell| cell.trim_end_matches('s').parse::<u32>().ok());
    assert!(took.is_some_and(|took| (1..20).contains(&took)), "{jobs}");
    let services = mesh.get(Listed::Services);
    assert_eq!((services.cell("db", "CLUSTER-IP"), services.cell("web", "PORT(S)")), (Some("None"), Some("7070/TCP")));
    assert_eq!(services.cell("web", "TYPE"), Some("ClusterIP"));
    let endpoints = mesh.get(Listed::Endpoints);
    assert_eq!(endpoints.cell("nobody", "ENDPOINTS"), Some("<none>"));
    let web = endpoints.cell("web", "ENDPOINTS").unwrap();
    assert!(web.ends_with(":7070 + 2 more...") && web.matches(',').count() == 2, "{web}");
}
