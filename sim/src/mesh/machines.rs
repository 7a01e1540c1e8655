//! Virtual machines and other workloads without a pod, which join the mesh from outside of the cluster.

use std::net::IpAddr;

use super::events::{MachineBooted, MachineShutDown};
use super::{BootError, DisturbError, Mesh, TargetError};
use crate::cluster::machines::{Boot, STAND_IN};

/// A machine outside of the cluster. It has an agent, and an application that starts once the agent is ready.
///
/// ```no_run
/// use hermesh::Machine;
///
/// let mut mesh = hermesh::mesh().namespace("bank").start();
/// mesh.apply("examples/virtual-machines/bank.yaml").wait_ready();
/// mesh.boot(Machine::new("ledger-1", "ledger", [192, 168, 7, 11])).wait_ready();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    name: String,
    group: String,
    address: IpAddr,
    image: Option<String>,
    args: Vec<String>,
}

impl Machine {
    /// A machine `name`, or `namespace/name`, at an address of its own, with the token and the metadata of a
    /// WorkloadGroup of its namespace. Its application serves what the group's template and the Services that select it
    /// expect, as [`stand_in`](crate::stand_in) does in pods.
    pub fn new(name: impl Into<String>, group: impl Into<String>, address: impl Into<IpAddr>) -> Self {
        Self { name: name.into(), group: group.into(), address: address.into(), image: None, args: Vec::new() }
    }

    /// Runs what plays this image instead, one of the mesh's [`Images`](crate::Images).
    #[must_use]
    pub fn image(mut self, image: impl Into<String>) -> Self {
        self.image = Some(image.into());
        self
    }

    /// Gives the application these arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.args = args.into_iter().map(Into::into).collect();
        self
    }
}

/// Machines. Once booted, a machine goes by its name wherever a workload does: it can call and be called, be killed,
/// paused and cut off. Its containers are `istio-proxy` and `app`.
impl Mesh {
    /// Boots a machine.
    ///
    /// # Panics
    /// See [`BootError`].
    #[track_caller]
    pub fn boot(&mut self, machine: Machine) -> &mut Self {
        let result = self.try_boot(&machine);
        self.must("boot", result);
        self
    }

    /// [`boot`](Self::boot) without panics.
    ///
    /// # Errors
    /// See [`BootError`].
    pub fn try_boot(&mut self, machine: &Machine) -> Result<(), BootError> {
        let (namespace, name) = machine.name.split_once('/').unwrap_or((&self.namespace, &machine.name));
        let boot = Boot {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            group: machine.group.clone(),
            address: machine.address,
            image: machine.image.clone().unwrap_or_else(|| STAND_IN.to_owned()),
            args: machine.args.clone(),
        };
        let event = MachineBooted {
            machine: format!("{namespace}/{name}"),
            group: machine.group.clone(),
            address: machine.address,
        };
        let machines = self.cluster.machines.clone();
        let bootable = machines.prepare(boot)?;
        let cause = self.world().emit("mesh", self.cause, event).or(self.cause);
        self.at_once(|| machines.boot(bootable, cause))?;
        Ok(())
    }

    /// Shuts a machine down: its processes are asked to end, and it is gone when they have.
    ///
    /// # Panics
    /// If there is no such machine.
    #[track_caller]
    pub fn shut_down(&mut self, machine: &str) -> &mut Self {
        let result = self.try_shut_down(machine);
        self.must("shut_down", result);
        self
    }

    /// [`shut_down`](Self::shut_down) without panics.
    ///
    /// # Errors
    /// If there is no such machine.
    pub fn try_shut_down(&mut self, machine: &str) -> Result<(), DisturbError> {
        let (namespace, name) = machine.split_once('/').unwrap_or((&self.namespace, machine));
        let name = (namespace.to_owned(), name.to_owned());
        if !self.cluster.machines.contains(&name.0, &name.1) {
            let known = self.cluster.machines.rows(Some(&name.0));
            let nearest = hermesh_istiod::yaml::nearest(&name.1, known.iter().map(|row| row.name.as_str()));
            let nearest = nearest.map(str::to_owned);
            return Err(TargetError::Unknown { what: "machine", name: machine.to_owned(), nearest }.into());
        }
        let event = MachineShutDown { machine: format!("{}/{}", name.0, name.1) };
        let cause = self.world().emit("mesh", self.cause, event).or(self.cause);
        let cluster = self.cluster.clone();
        self.at_once(|| cluster.machines.shut_down(&name, cause))?;
        Ok(())
    }
}
