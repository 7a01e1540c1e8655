//! Measurements of Hermesh itself.

mod memory;
pub mod mesh;
pub mod sim;
