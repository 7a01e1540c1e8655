//! [`Simulated`]: every process is a container of a simulation.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hermesh::engine::{Config, ContainerId, ContainerSpec, Mount, PodId, PodSpec, Simulation, Volume};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::case::Need;
use crate::network::{Network, World};
use crate::process::{Patience, Process};

/// A network of the simulator.
pub struct Simulated {
    /// As a column's title.
    pub name: &'static str,
    /// Where processes live.
    pub pods: Pods,
    /// What the simulation is made from.
    pub config: Config,
}

/// Where processes live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// In one pod, as on one host.
    Shared,
    /// Each in a pod of its own.
    Apart,
}

/// So long every packet on its way has arrived, and every waiting process has learnt of it.
const SETTLED: Duration = Duration::from_millis(50);

const FOLDER: &str = "/run/sockets";

impl Network for Simulated {
    fn name(&self) -> &'static str {
        self.name
    }

    fn has(&self, need: Need) -> bool {
        match need {
            Need::OneHost | Need::Unix => self.pods == Pods::Shared,
            Need::Ipv6 | Need::FullBacklog => true,
        }
    }

    fn backlog(&self) -> u64 {
        // Linux's default of net.core.somaxconn.
        4096
    }

    fn begin(&self) -> Box<dyn World> {
        Box::new(Cluster {
            simulation: Simulation::new(self.config.clone()),
            pods: self.pods,
            folder: Volume::new(),
            pods_by_name: BTreeMap::new(),
            containers: BTreeMap::new(),
        })
    }
}

struct Cluster {
    simulation: Simulation,
    pods: Pods,
    folder: Volume,
    pods_by_name: BTreeMap<String, PodId>,
    containers: BTreeMap<String, Running>,
}

struct Running {
    container: ContainerId,
    orders: UnboundedSender<(String, bool)>,
    answers: UnboundedReceiver<String>,
}

impl Cluster {
    fn pod(&mut self, process: &str) -> PodId {
        let name = if self.pods == Pods::Shared { "host" } else { process };
        if let Some(pod) = self.pods_by_name.get(name) {
            return *pod;
        }
        let last = u8::try_from(self.pods_by_name.len() + 1).expect("a case has few processes");
        let address = IpAddr::from([10, 0, 0, last]);
        let pod = self.simulation.add_pod(PodSpec::new(format!("default/{name}"), [address]), None);
        self.pods_by_name.insert(name.to_owned(), pod);
        pod
    }

    fn process(&mut self, name: &str) -> &mut Running {
        let pod = self.pod(name);
        let (simulation, folder) = (&mut self.simulation, &self.folder);
        self.containers.entry(name.to_owned()).or_insert_with(|| {
            let (orders, mut inbox) = unbounded_channel::<(String, bool)>();
            let (outbox, answers) = unbounded_channel();
            let mut spec = ContainerSpec::new(name, move |runtime| async move {
                let mut process = Process::new(runtime, Patience::Time(SETTLED / 2));
                loop {
                    let order = tokio::select! {
                        biased;
                        order = inbox.recv() => order,
                        () = process.run() => None,
                    };
                    let Some((order, wait)) = order else { return };
                    let _ = outbox.send(process.obey(&order, wait).await);
                }
            });
            spec.mounts.push(Mount { path: FOLDER.into(), volume: folder.clone() });
            let container = simulation.start(pod, spec, None);
            Running { container, orders, answers }
        })
    }
}

impl World for Cluster {
    fn host(&mut self, process: &str) -> IpAddr {
        self.process(process);
        match self.pods {
            Pods::Shared => [127, 0, 0, 1].into(),
            Pods::Apart => {
                let pod = self.pod(process);
                self.simulation.addresses(pod)[0]
            }
        }
    }

    fn folder(&self) -> &Path {
        Path::new(FOLDER)
    }

    fn tell(&mut self, process: &str, order: &str, wait: bool) -> String {
        let running = self.process(process);
        let sent = running.orders.send((order.to_owned(), wait));
        let Self { simulation, containers, .. } = self;
        let answers = &mut containers.get_mut(process).expect("it runs").answers;
        let answer = match sent {
            Ok(()) => simulation.block_on(answers.recv()),
            Err(_) => Ok(None),
        };
        let settled = simulation.run_for(SETTLED);
        match (answer, settled) {
            (Ok(Some(answer)), Ok(())) => answer,
            (Ok(None), _) => "the process has ended".to_owned(),
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        }
    }

    fn kill(&mut self, process: &str) {
        if let Some(running) = self.containers.remove(process) {
            self.simulation.kill(running.container, None);
            // A world that stands still is told of by the next order.
            let _ = self.simulation.run_for(SETTLED);
        }
    }
}
