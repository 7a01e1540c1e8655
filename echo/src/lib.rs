//! The echo application: `EchoTestService` with `Echo` and `ForwardEcho`, as Istio's test image plays it.
//!
//! [`run`] is the whole server: it reads the command line that Istio's sample manifests pass, opens HTTP, gRPC and TCP
//! ports, and takes ports marked `--xds-grpc-server` through xDS. [`forward`] is the client half, which
//! `grpcurl ... proto.EchoTestService/ForwardEcho` drives. Output follows `pkg/test/echo` line by line; where the
//! original prints headers in random order, this one sorts them.

pub mod args;
mod event;
pub mod forward;
mod health;
mod http;
mod metrics;
mod readiness;
mod reply;
mod serve;
mod service;
mod shutdown;
mod tcp;

pub use event::{EchoReady, EchoRequest};
pub use serve::{EchoError, run, run_with};

/// Messages, client and server of `EchoTestService`, generated from `proto/echo.proto`.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("proto");
}
