//! The simulator under the mesh: time, network, pods, containers and volumes, driven by events.
//!
//! One [`Simulation`] is one thread and one tokio runtime whose clock stands still while anything can run and jumps
//! when nothing can. A pod is a network namespace, a container a set of tasks that live and die together; code inside
//! holds a [`Runtime`] and cannot tell it from the operating system's. Controllers that
//! make the world around the containers hold a [`World`].
//!
//! This is the layer the simulated cluster stands on. It is public for those who bring another cluster or none, and for
//! conformance tests of the network; it may change between minor versions.
//!
//! ```
//! use std::time::Duration;
//! use hermesh::engine::{Config, ContainerSpec, PodSpec, Simulation};
//! use hermesh_runtime::{Address, Runtime};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! let mut simulation = Simulation::new(Config::new(1));
//! let server = simulation.add_pod(PodSpec::new("default/server", ["10.0.0.1".parse().unwrap()]), None);
//! let client = simulation.add_pod(PodSpec::new("default/client", ["10.0.0.2".parse().unwrap()]), None);
//! let serve = |rt: Runtime| async move {
//!     let mut listener = rt.listen(Address::Tcp(([0, 0, 0, 0], 80).into())).await?;
//!     listener.accept().await?.write_all(b"hello").await
//! };
//! let call = |rt: Runtime| async move {
//!     let mut text = String::new();
//!     rt.connect(Address::Tcp(([10, 0, 0, 1], 80).into())).await?.read_to_string(&mut text).await?;
//!     assert_eq!(text, "hello");
//!     std::io::Result::Ok(())
//! };
//! simulation.start(server, ContainerSpec::new("app", serve), None);
//! let app = simulation.start(client, ContainerSpec::new("app", call), None);
//! let exited = simulation.exited(app);
//! assert_eq!(simulation.block_on(exited).unwrap().code, 0);
//! ```

mod container;
mod crypto;
mod endings;
mod events;
mod executor;
mod fault;
mod leaving;
mod net;
mod network;
mod ports;
mod process;
mod recorder;
mod scope;
mod simulation;
mod slab;
mod socket;
mod turmoil;
mod volume;
mod world;

use hermesh_runtime::Runtime;

pub use container::{ContainerId, ContainerSpec, Exit, ExitReason, ExitStatus, Mount, PodId, PodSpec};
pub use events::*;
pub use fault::{LinkFault, NotShown};
pub use network::Network;
pub use simulation::{Config, Simulation, SimulationError};
pub use volume::Volume;
pub use world::{Resolver, Route, Router, World};

/// The runtime of the process whose task is running on this thread, for code that was not handed it.
#[must_use]
pub fn current_runtime() -> Option<Runtime> {
    executor::current().map(process::Process::runtime)
}
