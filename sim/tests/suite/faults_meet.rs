//! Faults that meet: what one leaves behind is right for the next.

use std::path::Path;

use hermesh::report;
use hermesh::scenario::{RunOptions, Scenario, Verdict};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples");

/// A namespace of injected pods.
const NAMESPACE: &str =
    "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio-injection: enabled}}\n";

/// A StatefulSet of one pod on the node of this name.
fn db(node: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: db}}\n\
         spec: {{clusterIP: None, selector: {{app: db}}, ports: [{{name: grpc, port: 7070}}]}}\n\
         ---\napiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec:\n  serviceName: db\n  replicas: 1\n\
         \x20 selector: {{matchLabels: {{app: db}}}}\n  template:\n    metadata:\n      labels: {{app: db}}\n\
         \x20     annotations: {{inject.istio.io/templates: grpc-agent}}\n    spec:\n\
         \x20     nodeSelector: {{kubernetes.io/hostname: {node}}}\n\
         \x20     containers: [{{name: app, image: registry.shop/db}}]\n"
    )
}

/// Plays steps beside the manifests `db.yaml` and `nowhere.yaml`, whose pod no node takes; all must hold.
#[expect(clippy::disallowed_methods, reason = "the test makes files of the machine")]
#[track_caller]
fn holds(namespace: &str, steps: &str) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("db.yaml"), db("a")).unwrap();
    std::fs::write(folder.path().join("nowhere.yaml"), db("nowhere")).unwrap();
    let images = format!("{{\"registry.{namespace}/*\": stand-in}}");
    let text = format!(
        "apiVersion: hermesh/v1alpha1\nkind: Scenario\nname: t\nnamespace: {namespace}\n\
         mesh: {{istio: \"1.32\", images: {images}, nodes: {{a: {{}}, b: {{}}}}}}\n\
         steps:\n{steps}{NAMESPACE}"
    );
    let path = folder.path().join("s.yaml");
    std::fs::write(&path, text).unwrap();
    let scenario = Scenario::open(Path::new(&path)).unwrap_or_else(|error| panic!("{error}"));
    let run = scenario.run(&RunOptions::seed(1)).unwrap();
    assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
}

#[test]
fn tokens_that_are_healed_while_their_node_has_no_power_are_replaced_afterwards() {
    holds(
        "shop",
        "- apply: db.yaml\n- wait: {ready: all}\n- expire: {tokens: db, in: 30s}\n- power: {off: a}\n- heal: all\n- wait: 40s\n\
         - power: {on: a}\n- wait: {ready: all, within: 5m}\n- wait: 13h\n- kill: db/0/istio-proxy\n- wait: 1m\n\
         - wait: {ready: all, within: 5m}\n",
    );
}

#[test]
fn a_pod_whose_volume_is_full_at_its_start_starts_when_there_is_room() {
    holds(
        "shop",
        "- apply: db.yaml\n- wait: {ready: all}\n- fill: {volume: istio-token, of: db}\n- power: {off: a}\n- wait: 2s\n\
         - power: {on: a}\n- wait: 5s\n- heal: all\n- wait: {ready: all, within: 5m}\n",
    );
}

#[test]
fn a_token_that_could_not_be_written_is_written_when_there_is_room() {
    holds(
        "shop",
        "- apply: db.yaml\n- wait: {ready: all}\n- wait: 34000s\n- fill: {volume: istio-token, of: db}\n- wait: 700s\n\
         - heal: all\n- wait: 12000s\n- kill: db/0/istio-proxy\n- wait: 1m\n- wait: {ready: all, within: 5m}\n",
    );
}

#[test]
fn a_pod_without_a_node_is_healed_with_the_others() {
    holds(
        "shop",
        "- apply: db.yaml\n- wait: {ready: all}\n- expire: {tokens: db, in: 1m}\n- delete: db.yaml\n- wait: 40s\n\
         - apply: nowhere.yaml\n- wait: 10s\n- heal: all\n- wait: 5s\n",
    );
}

/// Those steps after the machine `ledger-1` is ready.
fn with_machine(steps: &str) -> String {
    let folder = format!("{EXAMPLES}/virtual-machines");
    format!(
        "- apply: [{folder}/namespace.yaml, {folder}/bank.yaml, {folder}/mtls.yaml]\n- wait: {{ready: all}}\n\
         - boot: {{machine: ledger-1, group: ledger, address: 192.168.7.11}}\n- wait: {{ready: [ledger-1]}}\n\
         - wait: {{converged: all}}\n{steps}"
    )
}

#[test]
fn a_unit_of_a_machine_that_does_not_end_when_it_is_restarted_is_killed() {
    holds(
        "bank",
        &with_machine(
            "- pause: ledger-1/0/app\n- restart: ledger-1/0/app\n- wait: 5m\n- wait: {ready: [ledger-1]}\n\
         - wait: {converged: all}\n- call: {from: teller, url: \"xds:///ledger:7070\"}\n  expect: {ok: all}\n",
        ),
    );
}

#[test]
fn a_disruption_may_be_of_a_machine() {
    holds(
        "bank",
        &with_machine(
            "- disrupt: {service: xds, to: ledger-1, error: UNAVAILABLE}\n- restart: ledger-1/0/app\n- wait: 30s\n\
         - call: {from: ledger-1, url: \"xds:///teller:7070\"}\n  expect: {error: UNAVAILABLE}\n\
         - heal: all\n- wait: 2m\n- wait: {converged: all}\n\
         - call: {from: ledger-1, url: \"xds:///teller:7070\"}\n  expect: {ok: all}\n",
        ),
    );
}
