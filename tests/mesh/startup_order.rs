//! Who starts first matters: an application that needs its bootstrap file waits for the agent with
//! `holdApplicationUntilProxyStarts`, and crashes until it is there without.

use hermesh::{Call, Mesh};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};

#[test]
fn held_applications_start_once_and_last() {
    for_each_seed(1..=50, |seed| {
        let mut mesh = started(seed, true);
        for row in &mesh.get_pods().0 {
            assert_eq!((row.ready.as_str(), row.restarts), ("2/2", 0), "{}", mesh.get_pods());
        }
        let order = container_starts(&mesh);
        assert_eq!(order, ["istio-proxy", "app"], "the agent is up before the application starts");
        assert!(mesh.call(Call::new("echo-v1", TARGET)).is_ok());
    });
}

#[test]
fn unheld_applications_crash_until_the_bootstrap_file_is_there_and_then_serve() {
    for_each_seed(1..=50, |seed| {
        let mut mesh = started(seed, false);
        let pods = mesh.get_pods();
        let row = &pods.0[0];
        assert_eq!(row.ready, "2/2", "{pods}");
        assert!(row.restarts >= 1, "echo ends when it finds no bootstrap file, as Go's does\n{pods}");
        let order = container_starts(&mesh);
        assert_eq!(order[0], "app", "{order:?}");
        assert!(mesh.call(Call::new("echo-v1", TARGET)).is_ok());
    });
}

fn started(seed: u64, hold: bool) -> Mesh {
    let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&[])).apply(manifests::deployment("echo-v1", &[("version", "v1")], hold)).wait_ready();
    mesh.wait_converged();
    mesh
}

/// The containers of echo's pod in the order in which they were started, hooks and probes left out.
fn container_starts(mesh: &Mesh) -> Vec<String> {
    mesh.with_trace(|trace| {
        let started = trace.events().iter().filter(|event| event.kind == "container.started");
        let names = started.filter_map(|event| event.at.strip_prefix("echo-grpc/echo-v1-")?.split_once('/'));
        names.map(|(_, container)| container.to_owned()).filter(|name| name == "app" || name == "istio-proxy").collect()
    })
}
