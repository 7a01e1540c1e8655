//! What injected pods do: the scenario about `grpc-simple` and volumes of the user, and what Istio's defect is like.

use std::time::Duration;

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Verdict};
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
