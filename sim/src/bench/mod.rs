//! Measurements of Hermesh itself.

pub mod sim;
