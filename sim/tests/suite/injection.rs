//! What injected pods do: the scenario about `grpc-simple` and volumes of the user, and what Istio's defect is like.

use std::time::Duration;

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Scenario, Verdict};
use hermesh::{Call, Mesh};

use super::played::{EXAMPLES, example};

#[test]
fn a_client_without_an_agent_takes_part_and_an_agent_uses_its_owners_volume() {
    let scenario = example("injection/grpc-simple.yaml");
    for (seed, network) in [(1, Network::Simulated), (2, Network::Simulated), (1, Network::Turmoil)] {
        let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    }
}

/// The shop, with one text of its manifests replaced by another.
fn shop(from: &str, to: &str) -> Mesh {
    #[expect(clippy::disallowed_methods, reason = "the test reads a file of the machine")]
    let manifests = std::fs::read_to_string(format!("{EXAMPLES}/injection/catalog.yaml")).unwrap();
    assert!(manifests.contains(from));
    let mut mesh = hermesh::mesh().namespace("shop").image("registry.shop/*", hermesh::stand_in).start();
    mesh.apply(format!("{EXAMPLES}/injection/namespace.yaml"));
    mesh.apply(manifests.replace(from, to));
    mesh
}

#[test]
fn with_istios_own_line_break_in_the_name_the_client_finds_no_istiod() {
    let with =
        "inject.istio.io/templates: grpc-simple, proxy.istio.io/config: \"proxyMetadata: {HERMESH_PROFILE: istio}\"";
    let mut mesh = shop("inject.istio.io/templates: grpc-simple", with);
    mesh.wait_ready();
    let report = mesh.call(Call::new("kiosk", "xds:///catalog.shop.svc.cluster.local:7070"));
    assert!(!report.is_ok(), "{report:?}");
}

#[test]
fn without_the_mount_the_agent_does_not_start() {
    let mut mesh = shop(
        "        sidecar.istio.io/userVolumeMount: '{\"roots\": {\"mountPath\": \"/etc/corp\", \"readOnly\": true}}'\n",
        "",
    );
    let error = mesh.try_wait_ready(&["catalog"], Duration::from_secs(90)).unwrap_err().to_string();
    assert!(error.contains("istio-proxy: Error, exit code 255"), "{error}");
}

#[test]
fn a_value_that_cannot_work_is_refused_when_it_is_applied() {
    let mut mesh = hermesh::mesh().namespace("shop").image("registry.shop/*", hermesh::stand_in).start();
    mesh.apply(format!("{EXAMPLES}/injection/namespace.yaml"));
    #[expect(clippy::disallowed_methods, reason = "the test reads a file of the machine")]
    let manifests = std::fs::read_to_string(format!("{EXAMPLES}/injection/catalog.yaml")).unwrap();
    let error = mesh.try_apply(manifests.replace("proxyCPU: 50m", "proxyCPU: half")).unwrap_err().to_string();
    assert!(error.contains("annotation sidecar.istio.io/proxyCPU: `half`"), "{error}");
}

#[test]
fn the_agent_mounts_what_a_stateful_set_claims() {
    let mut mesh = hermesh::mesh().namespace("shop").image("registry.shop/*", hermesh::stand_in).start();
    mesh.apply(format!("{EXAMPLES}/injection/namespace.yaml"));
    mesh.apply(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  serviceName: store
  selector: {matchLabels: {app: store}}
  template:
    metadata:
      labels: {app: store}
      annotations:
        inject.istio.io/templates: grpc-agent
        sidecar.istio.io/userVolumeMount: '{"data": {"mountPath": "/etc/data"}}'
    spec: {containers: [{name: app, image: "registry.shop/store:1"}]}
  volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce]}}]
"#,
    );
    mesh.wait_ready();
}

/// A scenario with one Deployment: what `mesh` has beside its version, the steps, annotations and containers.
#[expect(clippy::disallowed_methods, reason = "the test makes a file of the machine")]
fn scenario(mesh: &str, steps: &str, annotations: &str, containers: &str) -> Result<Scenario, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s.yaml");
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: shop\n\
         mesh: {{istio: \"1.32\", {mesh}}}\nsteps:\n{steps}\n\
         ---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: shop, labels: {{istio-injection: enabled}}}}\n\
         ---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec:\n  \
         selector: {{matchLabels: {{app: web}}}}\n  template:\n    \
         metadata: {{labels: {{app: web}}, annotations: {{{annotations}}}}}\n    spec: {{containers: [{containers}]}}\n"
    );
    std::fs::write(&path, text).unwrap();
    Scenario::open(&path).map_err(|error| error.to_string())
}

const APP: &str = "{name: app, image: 'registry.shop/web:1'}";
const PLAYED: &str = "images: {'registry.shop/*': stand-in}";

fn setting_error(scenario: &Scenario) -> String {
    match scenario.run(&RunOptions::seed(1)) {
        Err(error) => error.to_string(),
        Ok(run) => panic!("{}", report::human(&run, &report::Styles::plain())),
    }
}

#[test]
fn an_annotation_that_cannot_be_read_hides_no_name_and_is_told_of_where_it_stands() {
    let broken = "inject.istio.io/templates: grpc-agent, sidecar.istio.io/userVolume: '{\"roots\": {}'";
    let scenario = scenario(PLAYED, "- fill: {volume: istio-data, of: web}", broken, APP).unwrap();
    let error = setting_error(&scenario);
    let field = "spec.template.metadata.annotations[\"sidecar.istio.io/userVolume\"]: annotation";
    assert!(error.contains(field) && error.contains("s.yaml:19:118: "), "{error}");
}

#[test]
fn a_container_may_ask_for_the_image_of_the_template() {
    let agent = "inject.istio.io/templates: grpc-agent";
    let with = |name: &str| format!("{APP}, {{name: {name}, image: auto, env: [{{name: A, value: b}}]}}");
    let run = scenario(PLAYED, "- wait: {ready: all}", agent, &with("istio-proxy")).unwrap();
    let run = run.run(&RunOptions::seed(1)).unwrap();
    assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    for (annotations, name) in [(agent, "other"), ("a: b", "istio-proxy")] {
        let error = scenario(PLAYED, "- wait: {ready: all}", annotations, &with(name)).unwrap_err();
        assert!(error.contains("nothing plays image \"auto\""), "{error}");
    }
}

#[test]
fn images_that_injection_brings_are_wanted() {
    let (simple, own) = (
        "inject.istio.io/templates: grpc-simple",
        "inject.istio.io/templates: grpc-agent, sidecar.istio.io/proxyImage: 'corp.io/agent:7'",
    );
    let pulled = |image: &str| format!("{PLAYED}, pulls: [{{image: '{image}', takes: 1s}}]");
    let wait = "- wait: {ready: all}";
    for (mesh, annotations) in [
        (pulled("busybox:*"), simple),
        (pulled("corp.io/*"), own),
        (pulled("docker.io/istio/proxyv2:*-debug"), "inject.istio.io/templates: grpc-agent"),
    ] {
        assert_eq!(scenario(&mesh, wait, annotations, APP).map(|_| ()), Ok(()), "{mesh} {annotations}");
    }
    for (mesh, annotations) in [(pulled("busybox:*"), own), (pulled("corp.io/*"), simple)] {
        let error = scenario(&mesh, wait, annotations, APP).unwrap_err();
        assert!(error.contains("no container wants an image that matches"), "{error}");
    }
    let played = "images: {'registry.shop/*': stand-in, 'corp.io/*': agent}";
    let run = scenario(played, wait, own, APP).unwrap().run(&RunOptions::seed(1)).unwrap();
    assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    let error = setting_error(&scenario(PLAYED, wait, own, APP).unwrap());
    let message = "nothing plays image `corp.io/agent:7`, which container `istio-proxy` gets by injection";
    assert!(error.contains(message), "{error}");
}
