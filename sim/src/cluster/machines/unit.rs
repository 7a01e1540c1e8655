//! A machine's units: what systemd starts, and starts again ten seconds after it ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hermesh_agent::wait::Wait;
use hermesh_runtime::EventId;

use super::{Machines, Name};
use crate::engine::{ContainerSpec, Exit, PodId, Volume};
use crate::image::{Process, Program, ServedPort};
use crate::signal::Signal;

/// The unit that runs the agent, and the one that runs the application.
pub(super) const AGENT: &str = "istio-proxy";
pub(super) const APPLICATION: &str = "app";
/// `RestartSec` of the unit `istio`.
const RESTART: Duration = Duration::from_secs(10);
/// How long the application waits for the agent before it is started again.
const WAIT: Duration = Duration::from_secs(60);
const READY_URL: &str = "http://localhost:15020/healthz/ready";

/// One of a machine's units.
pub(super) struct Unit {
    pub(super) machines: Machines,
    pub(super) machine: Name,
    pub(super) net: PodId,
    pub(super) root: Volume,
    pub(super) name: &'static str,
    pub(super) program: Program,
    pub(super) env: BTreeMap<String, String>,
    pub(super) args: Vec<String>,
    pub(super) ports: Arc<[ServedPort]>,
    pub(super) version: Option<Arc<str>>,
    pub(super) off: Signal,
}

impl Unit {
    /// Runs it, again and again, until the machine is shut down.
    pub(super) async fn run(self, mut cause: Option<EventId>) {
        let (machines, world) = (&self.machines, &self.machines.world);
        while !self.off.is_raised() {
            let id = world.start(self.net, self.spec(), cause);
            machines.change(&self.machine, |machine| {
                machine.running.insert(self.name, id);
            });
            let status = world.exited(id).await;
            machines.change(&self.machine, |machine| {
                machine.running.remove(self.name);
                machine.ready &= self.name != APPLICATION;
                machine.restarts += 1;
            });
            let container = format!("{}/{}/{}", self.machine.0, self.machine.1, self.name);
            machines.kubelet.note_crash(self.program.built_in, &container, &status);
            cause = status.event;
            tokio::select! {
                biased;
                () = self.off.first() => {}
                () = tokio::time::sleep(RESTART) => {}
            }
        }
    }

    fn spec(&self) -> ContainerSpec {
        let program = self.program.clone();
        let (ports, version) = (Arc::clone(&self.ports), self.version.clone());
        let (machines, machine, waits) = (self.machines.clone(), self.machine.clone(), self.name == APPLICATION);
        let mut spec = ContainerSpec::new(self.name, move |rt| async move {
            if waits {
                let mut wait = Wait::default();
                READY_URL.clone_into(&mut wait.url);
                wait.timeout = WAIT;
                if let Err(error) = wait.run(&rt).await {
                    return Exit { code: 1, message: Some(error.to_string()) };
                }
                machines.change(&machine, |machine| machine.ready = true);
            }
            program.run(Process::new(rt, ports, version)).await
        });
        spec.env = self.env.clone();
        spec.args = self.args.clone();
        spec.root = self.root.clone();
        spec
    }
}
