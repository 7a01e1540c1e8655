//! Machines outside of the cluster: the scenario about them, and what booting one needs.

use std::path::Path;
use std::time::Duration;

use hermesh::engine::Network;
use hermesh::report;
use hermesh::scenario::{RunOptions, Scenario, Verdict};
use hermesh::{ApplyError, BootError, Call, Machine, Mesh};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/virtual-machines");

#[track_caller]
fn holds(name: &str, networks: &[Network]) {
    let scenario = Scenario::open(Path::new(EXAMPLES).join(name)).unwrap_or_else(|error| panic!("{error}"));
    let simulated = [(1, Network::Simulated), (2, Network::Simulated)];
    let others = networks.iter().map(|network| (1, *network));
    for (seed, network) in simulated.into_iter().chain(others) {
        let run = scenario.run(&RunOptions::seed(seed).network(network)).unwrap();
        assert_eq!(run.verdict, Verdict::Held, "{}", report::human(&run, &report::Styles::plain()));
    }
}

#[test]
fn a_machine_joins_is_called_calls_back_and_goes_away() {
    holds("virtual-machines.yaml", &[Network::Turmoil]);
}

#[test]
fn machines_get_calls_while_their_agents_say_that_they_are_healthy() {
    holds("health-checks.yaml", &[]);
}

#[test]
fn an_agent_goes_on_with_its_certificate_when_its_token_has_expired() {
    holds("old-token.yaml", &[]);
}

#[test]
fn a_new_istiod_is_told_of_the_health_of_machines() {
    let mut mesh = bank();
    mesh.apply(Path::new(EXAMPLES).join("checked.yaml"));
    mesh.boot(Machine::new("vm", "ledger", [192, 168, 0, 1])).wait_ready();
    mesh.run_for(Duration::from_secs(5));
    let (found, told) = (count(&mesh, "agent.health"), count(&mesh, "istiod.workload.health"));
    assert!(found >= 1 && told >= 1, "{found} {told}");
    mesh.run_for(Duration::from_secs(30));
    assert_eq!(count(&mesh, "istiod.workload.health"), told, "what does not change is not told again");
    mesh.kill("istiod").wait_ready();
    mesh.run_for(Duration::from_secs(60));
    assert_eq!(count(&mesh, "istiod.workload.health"), told + 1);
    assert_eq!(count(&mesh, "agent.health"), found, "nothing has changed");
    // An agent that starts anew asks anew.
    mesh.kill("vm/0/istio-proxy");
    mesh.run_for(Duration::from_secs(60));
    assert_eq!(count(&mesh, "agent.health"), found + 1);
    mesh.wait_converged();
    let report = mesh.call(Call::new("teller", "xds:///ledger:7070"));
    assert!(report.is_ok(), "{report:?}");
}

#[test]
fn who_applies_an_entry_says_nothing_of_its_health() {
    let mut mesh = bank();
    mesh.apply(Path::new(EXAMPLES).join("checked.yaml"));
    let entry = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\n\
        metadata:\n  name: ledger-192.168.0.1\n  annotations: {proxy.istio.io/health-checks-enabled: 'true'}\n\
        spec: {address: 192.168.0.1, labels: {app: ledger}, ports: {grpc: 17070}, serviceAccount: ledger, weight: WEIGHT}\n";
    mesh.apply(entry.replace("WEIGHT", "1"));
    let call = || Call::new("teller", "xds:///ledger:7070");
    mesh.wait_converged();
    assert!(!mesh.call(call()).is_ok(), "nobody has said that it is healthy");
    mesh.boot(Machine::new("vm", "ledger", [192, 168, 0, 1])).wait_ready();
    mesh.run_for(Duration::from_secs(5));
    mesh.wait_converged();
    assert!(mesh.call(call()).is_ok());
    mesh.apply(entry.replace("WEIGHT", "2"));
    mesh.wait_converged();
    assert!(mesh.call(call()).is_ok(), "its agent has nothing new to tell");
}

fn bank() -> Mesh {
    let mesh = hermesh::mesh().namespace("bank").image("registry.bank/*", hermesh::stand_in);
    let mut mesh = mesh.start();
    for file in ["namespace.yaml", "bank.yaml"] {
        mesh.apply(Path::new(EXAMPLES).join(file));
    }
    mesh.wait_ready();
    mesh
}

/// How often an event of this kind happened.
fn count(mesh: &Mesh, kind: &str) -> usize {
    mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == kind).count())
}

#[test]
fn what_a_machine_needs_is_asked_for_before_anything_happens() {
    let mut mesh = bank();
    let boot = |mesh: &mut Mesh, name: &str, group: &str, address: [u8; 4]| {
        mesh.try_boot(&Machine::new(name, group, address)).map_err(|error| error.to_string())
    };
    assert_eq!(
        boot(&mut mesh, "vm", "leger", [192, 168, 0, 1]).unwrap_err(),
        "there is no WorkloadGroup `bank/leger`: apply it first"
    );
    assert!(
        boot(&mut mesh, "teller", "ledger", [192, 168, 0, 1])
            .unwrap_err()
            .starts_with("Deployment bank/teller is there")
    );
    assert!(boot(&mut mesh, "vm", "ledger", [10, 96, 0, 1]).unwrap_err().contains("of those that Services get"));
    let image = mesh.try_boot(&Machine::new("vm", "ledger", [192, 168, 0, 1]).image("nobody")).unwrap_err();
    assert!(matches!(image, BootError::Image { .. }), "{image}");
    assert_eq!(count(&mesh, "machine.booted"), 0);
    boot(&mut mesh, "ledger-1", "ledger", [192, 168, 0, 1]).unwrap();
    let again = boot(&mut mesh, "vm-2", "ledger", [192, 168, 0, 1]).unwrap_err();
    assert!(again.contains("that of machine bank/ledger-1"), "{again}");
    assert!(
        boot(&mut mesh, "ledger-1", "ledger", [192, 168, 0, 2])
            .unwrap_err()
            .starts_with("a machine bank/ledger-1 is there")
    );
    let error = mesh.try_shut_down("ledgr-1").unwrap_err();
    assert_eq!(error.to_string(), "machine `ledgr-1` does not exist; did you mean `ledger-1`?");
}

#[test]
fn an_entry_stays_while_its_machine_is_away_for_less_than_ten_seconds() {
    let mut mesh = bank();
    mesh.boot(Machine::new("vm", "ledger", [192, 168, 0, 1])).wait_ready();
    assert_eq!(count(&mesh, "istiod.workload.registered"), 1);
    mesh.partition("vm", "istiod");
    mesh.kill("vm/0/istio-proxy");
    mesh.heal("vm", "istiod");
    mesh.run_for(Duration::from_secs(9));
    assert_eq!(count(&mesh, "istiod.workload.cleaned-up"), 0);
    // systemd starts the agent again after ten seconds, which is too late; the entry comes back with it.
    mesh.run_for(Duration::from_secs(90));
    assert_eq!(count(&mesh, "istiod.workload.cleaned-up"), 1);
    assert_eq!(count(&mesh, "istiod.workload.registered"), 2);
    let report = mesh.call(Call::new("teller", "xds:///ledger:7070"));
    assert!(report.is_ok(), "{report:?}");
}

#[test]
fn istiod_may_restart_while_a_machine_is_in_the_mesh() {
    let mut mesh = bank();
    mesh.boot(Machine::new("vm", "ledger", [192, 168, 0, 1])).wait_ready();
    mesh.kill("istiod").wait_ready();
    mesh.run_for(Duration::from_secs(60));
    mesh.wait_converged();
    assert_eq!(count(&mesh, "istiod.workload.cleaned-up"), 0, "the new istiod finds the entry and keeps it");
    assert_eq!(count(&mesh, "istiod.workload.registered"), 2);
    let report = mesh.call(Call::new("teller", "xds:///ledger:7070"));
    assert!(report.is_ok(), "{report:?}");
}

#[test]
fn no_workload_gets_the_name_of_a_machine() {
    let mut mesh = bank();
    mesh.boot(Machine::new("web-1", "ledger", [192, 168, 0, 1]));
    let pods = "spec: {containers: [{name: a, image: registry.bank/a}]}";
    let labelled = "selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: \
                    registry.bank/a}]}}";
    let pod = |name: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n{pods}\n");
    let workload = |kind: &str, name: &str, spec: &str| {
        format!("apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}, {labelled}}}\n")
    };
    let refused = |mesh: &mut Mesh, yaml: &str| match mesh.try_apply(yaml) {
        Err(ApplyError::Refused(errors)) => errors.iter().map(ToString::to_string).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    let message = "metadata.name: bank/web-1 is a machine; a workload needs a name of its own; shut the machine down \
                   first, or take another";
    for yaml in [
        pod("web-1"),
        workload("Deployment", "web-1", "replicas: 0"),
        // Its second pod would have the name.
        workload("StatefulSet", "web", "replicas: 2"),
    ] {
        assert_eq!(refused(&mut mesh, &yaml), [format!("inline:3:18: {message}")], "{yaml}");
    }
    let both = format!("{}---\n{}", pod("web-1"), pod("web-2"));
    assert_eq!(refused(&mut mesh, &both).len(), 1, "only one of them is a machine");
    mesh.apply(workload("StatefulSet", "web", "replicas: 1"));
    mesh.shut_down("web-1").run_for(Duration::from_secs(100));
    mesh.apply(pod("web-1"));
}

#[test]
fn nobody_waits_for_a_machine_that_is_off() {
    let mut mesh = bank();
    mesh.boot(Machine::new("vm", "ledger", [192, 168, 0, 1])).wait_ready();
    mesh.shut_down("vm").wait_ready();
    mesh.boot(Machine::new("vm-2", "ledger", [192, 168, 0, 2])).wait_ready();
    // What is paused does not end before it is killed.
    mesh.pause("vm-2/0/app").shut_down("vm-2").wait_ready();
    let lacks =
        |mesh: &mut Mesh, time| mesh.try_wait_ready(&["vm-2"], Duration::from_secs(time)).unwrap_err().to_string();
    let error = lacks(&mut mesh, 1);
    assert!(error.contains("vm-2 is a machine, and it shuts down"), "{error}");
    let error = lacks(&mut mesh, 120);
    assert!(error.contains("vm-2 is a machine, and is off"), "{error}");
}

#[test]
fn no_machine_gets_the_name_of_a_pod_that_a_stateful_set_wants() {
    let mut mesh = bank();
    mesh.apply(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec: {replicas: 3, \
         selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: \
         registry.bank/a}]}}}\n",
    );
    let mut boot = |name: &str| mesh.try_boot(&Machine::new(name, "ledger", [192, 168, 0, 1]));
    assert_eq!(
        boot("db-2").unwrap_err().to_string(),
        "StatefulSet bank/db with a pod db-2 is there already: a machine needs a name of its own"
    );
    boot("db-3").unwrap();
}

#[test]
fn what_waits_for_a_machine_to_be_gone_is_told_so() {
    let mut mesh = bank();
    mesh.boot(Machine::new("vm", "ledger", [192, 168, 0, 1])).wait_ready();
    // What is paused does not end before it is killed.
    mesh.pause("vm/0/app").shut_down("vm");
    let boot = |mesh: &mut Mesh, name: &str| mesh.try_boot(&Machine::new(name, "ledger", [192, 168, 0, 1]));
    let again = boot(&mut mesh, "vm").unwrap_err().to_string();
    assert_eq!(again, "machine bank/vm still shuts down, which may take 90 s: let time pass, and boot it then");
    let other = boot(&mut mesh, "other").unwrap_err().to_string();
    assert!(other.contains("that of machine bank/vm, which still shuts down"), "{other}");
    let pod =
        "apiVersion: v1\nkind: Pod\nmetadata: {name: vm}\nspec: {containers: [{name: a, image: registry.bank/a}]}\n";
    let refused = mesh.try_apply(pod).unwrap_err().to_string();
    assert!(refused.contains("bank/vm is a machine; it still shuts down: let time pass until it is gone"), "{refused}");
    mesh.run_for(Duration::from_secs(91));
    boot(&mut mesh, "vm").unwrap();
}
