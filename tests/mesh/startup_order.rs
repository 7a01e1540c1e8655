//! Who starts first matters: an application that needs its bootstrap file waits for the agent with
//! `holdApplicationUntilProxyStarts`, and crashes until it is there without.

use std::path::Path;
use std::time::Duration;

use hermesh::{Call, Disruption, Images, IstiodService, Mesh, Process, Responses, image};
use hermesh_tests::for_each_seed;
use hermesh_tests::manifests::{self, TARGET};
use tonic::Code;

#[test]
fn held_applications_start_once_and_last() {
    for_each_seed(1..=50, |seed| {
        let mut mesh = started(seed, true);
        for row in &mesh.get_pods().rows {
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
        let row = &pods.rows[0];
        assert_eq!(row.ready, "2/2", "{pods}");
        assert!(row.restarts >= 1, "echo ends when it finds no bootstrap file, as Go's does\n{pods}");
        let order = container_starts(&mesh);
        assert_eq!(order[0], "app", "{order:?}");
        assert!(mesh.call(Call::new("echo-v1", TARGET)).is_ok());
    });
}

/// What a pod needs before it serves, and who brings it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The application's image can be pulled.
    Application,
    /// The agent's can.
    Agent,
    /// istiod runs, with its CA unless that comes later.
    Istiod,
    /// Its CA signs certificates.
    Authority,
    /// It sends its responses; certificates it issues all the same.
    Responses,
    /// The DestinationRule and the PeerAuthentication that ask for mTLS are there.
    Configuration,
}

const PARTS: [Part; 5] = [Part::Application, Part::Agent, Part::Istiod, Part::Responses, Part::Configuration];

/// Two kinds of applications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Application {
    /// Ends if there is no bootstrap file.
    Fragile,
    /// Waits for it.
    Robust,
}

/// Whether the application is held, and which it is.
const KINDS: [(bool, Application); 4] = [
    (false, Application::Fragile),
    (false, Application::Robust),
    (true, Application::Fragile),
    (true, Application::Robust),
];

/// istiod serves xDS before it signs certificates: the CA comes at any time after it, and in between whatever else
/// there is. Each order is played with one kind of application.
#[test]
fn in_whatever_order_the_ca_comes_after_xds_the_pod_serves_by_mtls_in_the_end() {
    let at = |order: &[Part], part| order.iter().position(|it| *it == part).expect("it is one of all");
    let mut orders = permutations(&[PARTS.as_slice(), &[Part::Authority]].concat());
    orders.retain(|order| at(order, Part::Istiod) < at(order, Part::Authority));
    assert_eq!(orders.len(), 360);
    for_each_seed(1..=orders.len() as u64, |seed| {
        let case = seed as usize - 1;
        let (order, (hold, application)) = (&orders[case], KINDS[case % KINDS.len()]);
        let what = format!("{order:?}, held: {hold}, {application:?}");
        let mut world = World::new(seed, hold, application);
        world.mesh.disrupt(Disruption::of(IstiodService::Authority).error(Code::Unavailable));
        for part in order {
            assert_eq!(certificates(&world.mesh), 0, "before {part:?}: {what}");
            world.bring(*part);
            if *part == Part::Authority {
                break;
            }
            world.mesh.run_for(Duration::from_secs(7));
        }
        for part in &order[at(order, Part::Authority) + 1..] {
            world.mesh.run_for(Duration::from_secs(7));
            world.bring(*part);
        }
        world.mesh.try_wait_ready(&[], Duration::from_secs(200)).unwrap_or_else(|error| panic!("{error}: {what}"));
        world.mesh.wait_converged();
        // The agent waits a minute at most before it asks again.
        let report = world.mesh.try_call_until(&Call::new("echo-v1", TARGET), Duration::from_secs(70), |report| {
            report.is_ok() && report.answers[0].caller.is_some()
        });
        report.unwrap_or_else(|error| panic!("{error}: {what}"));
        assert!(certificates(&world.mesh) > 0, "{what}");
    });
}

/// How many certificates agents have got.
fn certificates(mesh: &Mesh) -> usize {
    mesh.with_trace(|trace| trace.events().iter().filter(|event| event.kind == "cert.issued").count())
}

#[test]
fn in_whatever_order_all_comes_the_pod_serves_by_mtls_in_the_end() {
    let orders = permutations(&PARTS);
    assert_eq!(orders.len(), 120);
    for_each_seed(1..=(orders.len() * KINDS.len()) as u64, |seed| {
        let case = seed as usize - 1;
        let (order, (hold, application)) = (&orders[case / KINDS.len()], KINDS[case % KINDS.len()]);
        let what = format!("{order:?}, held: {hold}, {application:?}");
        let mut world = World::new(seed, hold, application);
        for part in order {
            let needed = [Part::Application, Part::Agent, Part::Istiod].contains(part);
            let is_ready = world.mesh.get_pods().rows.iter().any(|row| row.ready == "2/2");
            assert!(!(needed && is_ready), "before {part:?}: {what}");
            world.bring(*part);
            world.mesh.run_for(Duration::from_secs(7));
        }
        // An image that was away is pulled again after 40 s at the latest, a container that crashed runs after 80 s.
        world.mesh.try_wait_ready(&[], Duration::from_secs(200)).unwrap_or_else(|error| panic!("{error}: {what}"));
        world.mesh.wait_converged();
        let report = world.mesh.call(Call::new("echo-v1", TARGET));
        assert!(report.is_ok(), "{report:?}: {what}");
        assert!(report.answers[0].caller.is_some(), "{report:?}: {what}");

        let crashed = world.mesh.get_pods().rows[0].restarts > 0;
        // Whose image is there when it is tried again starts first, held or not: a kubelet that cannot pull the agent's
        // image goes on to the application, and what would hold that is a hook of an agent that has started.
        let starts = container_starts(&world.mesh);
        let alone = application == Application::Fragile && starts[0] == "app";
        assert_eq!(crashed, alone, "{}{what}, {starts:?}", world.mesh.get_pods());
    });
}

/// A mesh with one pod of echo, and nothing of what it needs.
struct World {
    mesh: Mesh,
    registry: hermesh::Registry,
}

/// The images of the pod.
const APPLICATION: &str = "registry.test/*";
const AGENT: &str = "*/proxyv2:*";

impl World {
    fn new(seed: u64, hold: bool, application: Application) -> Self {
        let images = Images::new().add("registry.test/fragile", image::echo).add("registry.test/robust", robust);
        let registry = images.registry();
        let mut mesh = hermesh::mesh().images(images).seed(seed).namespace(manifests::NAMESPACE).start();
        registry.withhold(APPLICATION);
        registry.withhold(AGENT);
        let image = format!("registry.test/{application:?}").to_lowercase();
        let pod = manifests::deployment("echo-v1", &[("version", "v1")], hold);
        mesh.apply(manifests::echo(&[])).apply(pod.replace("registry.istio.io/testing/app:latest", &image));
        mesh.pause("istiod").hold(Responses::all());
        Self { mesh, registry }
    }

    fn bring(&mut self, part: Part) {
        match part {
            Part::Application => self.registry.restore(APPLICATION),
            Part::Agent => self.registry.restore(AGENT),
            Part::Istiod => drop(self.mesh.resume("istiod")),
            Part::Authority => drop(self.mesh.end_disruption(Disruption::of(IstiodService::Authority))),
            Part::Responses => drop(self.mesh.release(Responses::all())),
            Part::Configuration => {
                self.mesh.apply(manifests::client_tls("ISTIO_MUTUAL")).apply(manifests::server_tls("STRICT"));
            }
        }
    }
}

async fn robust(process: Process) -> impl Into<hermesh::engine::Exit> {
    let bootstrap = process.var("GRPC_XDS_BOOTSTRAP").expect("the pod is injected");
    while process.runtime().read(Path::new(&bootstrap)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    image::echo(process).await
}

fn permutations(parts: &[Part]) -> Vec<Vec<Part>> {
    if parts.is_empty() {
        return vec![Vec::new()];
    }
    let first = |index: usize| {
        let mut rest = parts.to_vec();
        let first = rest.remove(index);
        permutations(&rest).into_iter().map(move |rest| [vec![first], rest].concat())
    };
    (0..parts.len()).flat_map(first).collect()
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
