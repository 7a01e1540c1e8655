//! What sockets do, written down once in `cases/` and held against every network that processes run on.
//!
//! A case is a list of orders to processes and of what they answer; every network must answer the same. What one
//! answers otherwise stands, with its reason, among the [`DIFFERENCES`]. `docs/sockets.md` is the [`page()`] of both.

mod case;
mod differences;
mod kernel;
mod network;
mod order;
mod page;
mod process;
mod runner;
mod simulated;
mod wire;

pub use case::{Case, Need, Step, Topic, topics};
pub use differences::{Answer, DIFFERENCES, Difference};
pub use kernel::Kernel;
pub use network::{Network, World};
pub use page::page;
pub use process::{Patience, Process};
pub use runner::{Mismatch, Run, run, run_all, table};
pub use simulated::{Pods, Simulated};
