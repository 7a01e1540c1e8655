//! `boot` and `shutdown`, and hosts of ServiceEntries.

use super::{HEADER, open, refused};

/// What stands in the same file; steps begin in line 8.
const GROUP: &str = "\
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: ledger}
spec: {template: {ports: {grpc: 7070}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: books}
spec:
  hosts: [books.example.com]
  resolution: STATIC
  ports: [{number: 7070, name: grpc, protocol: GRPC}]
  workloadSelector: {labels: {app: ledger}}
";

fn steps(steps: &str) -> String {
    format!("{HEADER}- apply: [more, echo.yaml]\n{steps}\n{GROUP}")
}

const BOOT: &str = "- boot: {machine: ledger-1, group: ledger, address: 192.168.7.11}";

#[test]
fn a_machine_is_a_workload_from_its_boot_to_its_shutdown() {
    let fine = format!(
        "{BOOT}\n- wait: {{ready: [ledger-1]}}\n- call: {{from: ledger-1, url: \"xds:///books.example.com:7070\"}}\n\
         - kill: ledger-1/0/istio-proxy\n- restart: ledger-1/0/app\n- partition: [ledger-1, istiod]\n\
         - get: {{config: ledger-1}}\n- shutdown: ledger-1\n{BOOT}\n- together:\n  - {{at: 1s, shutdown: ledger-1}}\n\
         - boot: {{machine: a, group: ledger, address: 1.2.3.4, image: registry.istio.io/testing/app:latest, args: [--grpc=1, 2]}}"
    );
    open(&steps(&fine)).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    refused(
        &steps(&format!(
            "- restart: ledger-1\n{BOOT}\n{BOOT}\n- shutdown: ledger-1\n- pause: ledger-1\n- shutdown: ledger-1"
        )),
        &[
            "s.yaml:8:12: steps[1].restart: workload `ledger-1` is not deployed at this step",
            "s.yaml:10:19: steps[3].boot.machine: a machine `ledger-1` is there already in namespace shop",
            "s.yaml:12:10: steps[5].pause: workload `ledger-1` is not deployed at this step",
            "s.yaml:13:13: steps[6].shutdown: machine `ledger-1` is not on at this step",
        ],
    );
}

#[test]
fn every_mistake_about_machines_is_named_with_what_would_be_right() {
    for (step, at, expected) in [
        (
            "- boot: {machine: echo-v1, group: ledger, address: 192.168.7.1}",
            "echo-v1",
            "boot.machine: a workload `echo-v1` is there already in namespace shop",
        ),
        (
            "- boot: {machine: A, group: ledger, address: 192.168.7.1}",
            "A",
            "boot.machine: \"A\" is no name of a machine: lower-case letters, digits and inner `-`",
        ),
        (
            "- boot: {machine: vm, group: leger, address: 192.168.7.1}",
            "leger",
            "boot.group: no WorkloadGroup `leger` in namespace shop; did you mean `ledger`?",
        ),
        (
            "- boot: {machine: vm, group: ledger, address: 192.168.7}",
            "192",
            "boot.address: expected an IPv4 address such as `192.168.7.11`, found \"192.168.7\"",
        ),
        (
            "- boot: {machine: vm, group: ledger, address: 10.244.0.1}",
            "10.244",
            "boot.address: 10.244.0.1 is of those that pods get: a machine needs one of its own, such as 192.168.7.11",
        ),
        ("- boot: {machine: vm, group: ledger}", "{", "boot: field `address` is missing"),
        (
            "- boot: {machine: vm, group: ledger, address: 192.168.7.1, labels: {a: b}}",
            "labels",
            "boot.labels: labels are those of the WorkloadGroup's `metadata`",
        ),
        (
            "- boot: {machine: vm, group: ledger, address: 192.168.7.1, image: \"nobody/knows:1\"}",
            "\"nobody",
            "boot.image: nothing plays image \"nobody/knows:1\"; under `mesh.images` add `\"nobody/*\": stand-in`",
        ),
        ("- shutdown: ledger-9", "ledger-9", "shutdown: no machine `ledger-9` in namespace shop"),
    ] {
        let column = step.find(at).expect("it stands there") + 1;
        refused(&steps(step), &[&format!("s.yaml:8:{column}: steps[1].{expected}")]);
    }
}

#[test]
fn hosts_of_service_entries_are_called_by_xds_alone() {
    let call = |url: &str| steps(&format!("- call: {{from: echo-v1, url: \"{url}\"}}"));
    assert!(open(&call("xds:///Books.example.com:7070")).is_ok());
    let help = "if the call is to fail, expect its `error`";
    for (url, message) in [
        ("xds:///books.example.com:7071", "host `books.example.com` has no port 7071; expected 7070"),
        ("grpc://books.example.com:7070", "no Service has the name `books.example.com`"),
        ("xds:///book.example.com:7070", "no Service has the name `book.example.com`"),
    ] {
        refused(&call(url), &[&format!("s.yaml:8:30: steps[1].call.url: {message}; {help}")]);
    }
}

#[test]
fn a_machine_has_no_volumes() {
    refused(
        &steps(&format!("{BOOT}\n- fill: {{volume: istio-data, of: ledger-1}}")),
        &["s.yaml:9:18: steps[2].fill.volume: machine `ledger-1` has no volumes"],
    );
}

#[test]
fn a_workload_stays_one_whose_name_a_machine_cannot_get() {
    refused(
        &steps(
            "- boot: {machine: echo-v1, group: ledger, address: 192.168.7.1}\n- tear: {volume: istio-data, of: echo-v1}",
        ),
        &["s.yaml:8:19: steps[1].boot.machine: a workload `echo-v1` is there already in namespace shop"],
    );
}

#[test]
fn no_workload_gets_the_name_of_a_machine_that_is_on() {
    let boot = |name: &str| format!("- boot: {{machine: {name}, group: ledger, address: 192.168.7.11}}");
    let is_machine = |at: &str, object: &str, machine: &str| {
        let remedy = "a workload needs a name of its own; shut the machine down first, or take another";
        format!("s.yaml:{at}: {object}: shop/{machine} is a machine; {remedy}")
    };
    for machine in ["db", "db-1"] {
        let text = steps(&format!("{}\n- apply: set.yaml", boot(machine)));
        refused(&text, &[&is_machine("9:10", "steps[2].apply: StatefulSet shop/db", machine)]);
        let text = steps(&format!("{}\n- shutdown: {machine}\n- apply: set.yaml", boot(machine)));
        open(&text).unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    }
    open(&steps(&format!("{}\n{}\n- apply: set.yaml", boot("db-2"), boot("db-01").replace(".11}", ".12}"))))
        .unwrap_or_else(|errors| panic!("{}", errors.join("\n")));
    let scaled = steps(&format!("- apply: set.yaml\n{}\n- scale: {{db: 3}}", boot("db-2")));
    refused(&scaled, &[&is_machine("10:10", "steps[3].scale: StatefulSet shop/db", "db-2")]);
    let taken = steps(&format!("- apply: set.yaml\n{}", boot("db-1")));
    refused(&taken, &["s.yaml:9:19: steps[2].boot.machine: `db-1` is a pod of StatefulSet `db` in namespace shop"]);
}
