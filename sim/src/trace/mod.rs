//! The log of everything observable in a run: reports, invariants and explanations are functions of it.
//!
//! `docs/trace.md` describes the format on disk.

mod difference;
mod log;

pub use difference::{Difference, first_difference};
pub use log::{Header, Recorded, Trace};
