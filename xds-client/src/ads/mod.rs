//! The two ends of an aggregated discovery stream (ADS), state of the world, without the stream.
//!
//! [`client`] is what a gRPC channel or server runs, [`server`] what a management server runs. Both are tested against
//! each other; neither has ever seen a socket. [`AdsCodec`] is what the client's shell writes requests with.

pub mod client;
mod codec;
pub mod server;

pub use codec::{AdsCodec, METHOD_PATH};
pub(crate) use codec::{node_bytes, put_message};
