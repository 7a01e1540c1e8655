//! The only door to the outside world.
//!
//! Everything Hermesh runs - agent, control plane, application, xDS client - takes a [`Runtime`] and reaches sockets,
//! files, names, wall time, entropy, tasks, arguments and signals through it and through nothing else. `main` passes
//! [`os::runtime`]; the simulator passes one of its containers. The code in between cannot tell which.
//!
//! Monotonic time is `tokio::time`, in both worlds. [`spawn`] starts a task of whoever calls it, for code that was not
//! handed a `Runtime`.
//!
//! What lives here besides the door is what both ends of every connection need: [`tls`], [`http2`], a gRPC [`server`],
//! a plain [`channel`], the buffers of calls ([`codec`]), gRPC's [`deadline`]s and [`backoff`], a little HTTP/1.1 for
//! probes and status ports ([`http1`]), a watch channel whose readers wake in order ([`latest`]), and durations as
//! Istio's files and tools spell them ([`go_duration`]).

pub mod backoff;
pub mod channel;
pub mod codec;
pub mod crypto;
pub mod deadline;
mod draws;
mod event;
mod forward;
pub mod go_duration;
pub mod http1;
pub mod http2;
mod latch;
pub mod latest;
mod net;
pub mod os;
mod process_state;
mod runtime;
pub mod server;
mod spawn;
pub mod tls;
mod trail;

pub use draws::Draws;
pub use event::{AnyEvent, Event, EventId, Level};
pub use net::{Address, Listener, ParseAddressError, Stream, describe_io};
pub use process_state::ProcessState;
pub use runtime::{Backend, FileKind, Metadata, Runtime, Task, TaskGuard};
pub use spawn::{CurrentProcess, JoinError, JoinHandle, processes_on_this_thread, spawn};
pub use trail::Trail;
