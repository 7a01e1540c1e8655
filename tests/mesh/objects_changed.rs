//! Objects that are there are scaled, labelled, patched and rolled out anew, as kubectl does it.

use std::time::Duration;

use hermesh::{ApplyError, ApplyOutcome, Call, Listed, Mesh, image};

const NAMESPACE: &str = "---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
";

const WEB: &str = "---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: grpc, port: 7070}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web}
      annotations: {inject.istio.io/templates: grpc-agent}
    spec:
      containers:
      - name: server
        image: registry.corp/web:1
        readinessProbe: {httpGet: {path: /healthz, port: 8081}, periodSeconds: 1}
";

fn start() -> Mesh {
    let mut mesh = hermesh::mesh().image("registry.corp/*", image::stand_in).seed(7).namespace("shop").start();
    mesh.apply(NAMESPACE).apply(WEB).wait_ready();
    mesh
}

fn pods(mesh: &Mesh) -> Vec<String> {
    mesh.get_pods().rows.iter().filter(|row| !row.is_terminating()).map(|row| row.name.clone()).collect()
}

#[test]
fn a_workload_has_as_many_pods_as_it_is_scaled_to() {
    let mut mesh = start();
    let first = pods(&mesh);
    mesh.scale("web", 3).wait_ready();
    assert_eq!(pods(&mesh).len(), 3);
    assert!(pods(&mesh).contains(&first[0]), "the pod that was there stays");
    mesh.scale("shop/web", 1).wait_ready();
    assert_eq!(pods(&mesh), first, "the youngest go");
    mesh.scale("web", 0).wait_ready();
    assert_eq!(pods(&mesh), [""; 0]);
}

#[test]
fn an_apply_leaves_alone_what_it_never_said() {
    let mut mesh = start();
    mesh.scale("web", 3);
    // The manifest has no replicas.
    mesh.apply(WEB).wait_ready();
    assert_eq!(pods(&mesh).len(), 3);
    let two = WEB.replace("spec:\n  selector", "spec:\n  replicas: 2\n  selector");
    mesh.apply(two.as_str()).wait_ready();
    assert_eq!(pods(&mesh).len(), 2);
    mesh.scale("web", 4).apply(two.as_str()).wait_ready();
    assert_eq!(pods(&mesh).len(), 2, "a manifest with replicas has its way");
    mesh.apply(WEB).wait_ready();
    assert_eq!(pods(&mesh).len(), 1, "what the last manifest said and this one does not is taken back");
}

#[test]
fn a_rollout_replaces_every_pod_and_an_apply_does_not_undo_it() {
    let mut mesh = start();
    mesh.scale("web", 2).wait_ready();
    let before = pods(&mesh);
    mesh.rollout_restart("web").wait_ready();
    let after = pods(&mesh);
    assert!(after.len() == 2 && after.iter().all(|pod| !before.contains(pod)), "{before:?} {after:?}");
    mesh.apply(WEB).wait_ready();
    assert_eq!(pods(&mesh), after);
}

#[test]
fn a_second_rollout_within_one_second_is_refused_as_kubectl_does() {
    let mut mesh = start();
    let left = 1_000 - mesh.now().as_millis() % 1_000;
    mesh.run_for(Duration::from_millis(u64::try_from(left).unwrap()));
    mesh.rollout_restart("web");
    let error = mesh.try_rollout_restart("web").unwrap_err();
    assert!(matches!(error, ApplyError::RestartedJustNow(_)), "{error}");
    mesh.run_for(Duration::from_secs(1));
    mesh.rollout_restart("web");
}

#[test]
fn a_label_of_a_namespace_decides_about_injection() {
    let mut mesh = start();
    let ready = |mesh: &Mesh| mesh.get_pods().rows.iter().map(|row| row.ready.clone()).collect::<Vec<_>>();
    assert_eq!(ready(&mesh), ["2/2"]);
    mesh.label("namespace/shop", "istio-injection", "disabled").rollout_restart("web").wait_ready();
    mesh.run_for(Duration::from_secs(60));
    assert_eq!(ready(&mesh), ["1/1"]);
    mesh.label("ns/shop", "istio-injection", "enabled").rollout_restart("web").wait_ready();
    mesh.run_for(Duration::from_secs(60));
    assert_eq!(ready(&mesh), ["2/2"]);
}

#[test]
fn a_label_that_is_taken_away_takes_an_own_pod_out_of_service() {
    let mut mesh = start();
    let own = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: own\n  labels: {app: web}\n  annotations: \
               {inject.istio.io/templates: grpc-agent}\nspec: {containers: [{name: server, image: registry.corp/web:1}]}";
    mesh.apply(own).wait_ready();
    mesh.wait_converged();
    let answers = |mesh: &mut Mesh| {
        mesh.call(Call::new("web", "xds:///web:7070").count(10).qps(10)).workloads.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!(answers(&mut mesh), ["own", "web"]);
    mesh.label("pod/own", "app", None).wait_converged();
    assert_eq!(answers(&mut mesh), ["web"]);
    mesh.label("pod/own", "app", "web").wait_converged();
    assert_eq!(answers(&mut mesh), ["own", "web"]);
    // The manifest has the label, so that it is there again whoever took it away.
    mesh.label("pod/own", "app", "other").apply(own).wait_converged();
    assert_eq!(answers(&mut mesh), ["own", "web"]);
}

#[test]
fn a_patch_merges_and_null_removes() {
    let mut mesh = start();
    let patch = "spec:\n  template:\n    metadata:\n      annotations: {inject.istio.io/templates: null}\n      labels: \
                 {sidecar.istio.io/inject: 'false'}\n";
    let applied = mesh.try_patch("deployment/web", patch).unwrap();
    assert_eq!(applied.objects[0].1, ApplyOutcome::Configured);
    mesh.wait_ready().run_for(Duration::from_secs(60));
    assert_eq!(mesh.get_pods().rows[0].ready, "1/1");
    assert_eq!(mesh.try_patch("deployment/web", patch).unwrap().objects[0].1, ApplyOutcome::Unchanged);
}

#[test]
fn what_the_api_server_refuses_is_refused_with_its_place_in_the_patch() {
    let mut mesh = start();
    for (object, patch, expected) in [
        (
            "deployment/web",
            "spec:\n  replicas: many\n",
            "patch:2:13: spec.replicas: expected a whole number, found a string (many)",
        ),
        (
            "deployment/web",
            "spec: {template: {metadata: {labels: {app: other}}}}",
            "patch:1:7: spec.selector.matchLabels: does not match the template's labels; add `app: web`",
        ),
        (
            "deployment/web",
            "{spec: {selector: {matchLabels: {b: c}}, template: {metadata: {labels: {b: c}}}}}",
            "patch:1:19: spec.selector: field is immutable; delete the Deployment first",
        ),
        ("deployment/web", "metadata: {name: other}", "patch:1:18: metadata.name: no patch makes another object of"),
        ("deployment/wep", "spec: {replicas: 1}", "Deployment `wep` does not exist; did you mean `web`?"),
        ("web", "spec: {replicas: 1}", "expected an object such as `deployment/web`"),
        ("deployment/web", "5", "patch:1:1: expected a mapping"),
        ("serviceaccount/default", "metadata: {labels: {a: b}}", "was made by the cluster"),
    ] {
        let error = mesh.try_patch(object, patch).unwrap_err().to_string();
        assert!(error.contains(expected), "{object} {patch}\n{error}");
    }
    let error = mesh.try_scale("web", 20_000).unwrap_err().to_string();
    assert!(error.contains("pods are more than the 10000 that a simulated cluster holds"), "{error}");
    assert_eq!(mesh.get_pods().rows.len(), 1, "nothing of it was done");
}

#[test]
fn istiod_can_be_scaled_away_and_back() {
    let mut mesh = start();
    mesh.scale("istiod", 0).run_for(Duration::from_secs(60));
    assert_eq!(mesh.get_pods_in("istio-system").rows.len(), 0);
    assert!(mesh.call(Call::new("web", "xds:///web:7070")).failure.is_some(), "nobody tells the client anything");
    mesh.scale("istiod", 1).wait_ready().wait_converged();
    assert!(mesh.call(Call::new("web", "xds:///web:7070")).is_ok());
}

#[test]
fn a_service_that_leaves_its_address_out_keeps_what_it_has() {
    let mut mesh = start();
    let service = |spec: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {{{spec}selector: {{app: db}}, ports: [{{port: 80}}]}}\n"
        )
    };
    mesh.apply(service("clusterIP: None, ")).apply(service(""));
    let table = mesh.get(Listed::Services);
    assert_eq!(table.cell("db", "CLUSTER-IP"), Some("None"), "{table}");
    let before = mesh.get(Listed::Services).cell("web", "CLUSTER-IP").map(str::to_owned);
    mesh.apply(WEB);
    assert_eq!(mesh.get(Listed::Services).cell("web", "CLUSTER-IP").map(str::to_owned), before);
}

/// Source: kubernetes `pkg/apis/core/validation/validation.go` (`ValidateConfigMapUpdate`).
#[test]
fn an_immutable_config_map_stays_as_it_is() {
    let mut mesh = start();
    let map = |rest: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: colours}}\n{rest}");
    mesh.apply(map("data: {sky: blue}\n")).apply(map("data: {sky: grey}\nimmutable: true\n"));
    let error = mesh.try_apply(map("data: {sky: red}\n")).unwrap_err().to_string();
    assert!(error.contains("immutable: field is immutable; delete the ConfigMap first"), "{error}");
    assert!(error.contains("inline:4:7: data: field is immutable"), "{error}");
    let same = mesh.try_apply(map("data: {sky: grey}\nimmutable: true\n")).unwrap();
    assert_eq!(same.objects[0].1, ApplyOutcome::Unchanged);
}
