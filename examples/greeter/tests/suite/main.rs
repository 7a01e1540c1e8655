//! The greeter in a simulated mesh.

mod canary;
mod interceptors;
mod ports;
mod retries;
mod streaming;
