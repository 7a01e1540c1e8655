//! What the tests of the mesh share: manifests made to measure, small independent models, and many seeds at once.

pub mod bounds;
pub mod manifests;
mod seeds;
pub mod shop;

pub use seeds::for_each_seed;
