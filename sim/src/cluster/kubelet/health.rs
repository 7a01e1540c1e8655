//! The client side of gRPC health checking (`grpc.health.v1.Health/Check`), as gRPC probes use it.

use std::net::SocketAddr;
use std::time::Duration;

use hermesh_runtime::Runtime;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use tonic::codegen::http::uri::PathAndQuery;

/// Why a server is not healthy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unhealthy {
    #[error("{0}")]
    Target(String),
    #[error("health check did not complete within {0:?}")]
    Late(Duration),
    #[error("timeout: failed to connect service {address:?} within {limit:?}")]
    Unconnected { address: String, limit: Duration },
    #[error("{:?}: {}", .0.code(), .0.message())]
    Call(tonic::Status),
    #[error("service is unhealthy: status {0}")]
    Status(i32),
}

impl Unhealthy {
    /// That of grpc_health_probe.
    pub(crate) fn exit_status(&self) -> u8 {
        match self {
            Self::Target(_) => 1,
            Self::Unconnected { .. } => 2,
            Self::Call(status) if status.code() == tonic::Code::Unavailable => 2,
            Self::Late(_) | Self::Call(_) => 3,
            Self::Status(_) => 4,
        }
    }
}

/// Asks the server at `address` for the health of `service`; anything but SERVING is an error.
pub(crate) async fn check(
    rt: &Runtime,
    address: SocketAddr,
    options: ChannelOptions,
    service: &str,
    timeout: Duration,
) -> Result<(), Unhealthy> {
    let asking = async { ask(channel(rt, address, options)?, service).await };
    let late = |_| Unhealthy::Late(timeout);
    tokio::time::timeout(timeout, asking).await.map_err(late)?
}

/// How long connecting may take, and the call after that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) connect: Duration,
    pub(super) call: Duration,
}

/// As [`check`], with a limit for each step.
pub(super) async fn check_in_steps(
    rt: &Runtime,
    address: SocketAddr,
    options: ChannelOptions,
    service: &str,
    limits: Limits,
) -> Result<(), Unhealthy> {
    let channel = channel(rt, address, options)?;
    let unconnected = |_| Unhealthy::Unconnected { address: address.to_string(), limit: limits.connect };
    let connected = tokio::time::timeout(limits.connect, channel.connect()).await.map_err(unconnected)?;
    connected.map_err(Unhealthy::Call)?;
    let late = |_| Unhealthy::Late(limits.call);
    tokio::time::timeout(limits.call, ask(channel, service)).await.map_err(late)?
}

/// `HealthCheckResponse.ServingStatus`.
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

fn channel(rt: &Runtime, address: SocketAddr, options: ChannelOptions) -> Result<Channel, Unhealthy> {
    Channel::new(rt, &address.to_string(), options).map_err(|error| Unhealthy::Target(error.to_string()))
}

async fn ask(channel: Channel, service: &str) -> Result<(), Unhealthy> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(Unhealthy::Call)?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let response = grpc.unary(tonic::Request::new(request), path, codec).await;
    match response.map_err(Unhealthy::Call)?.into_inner().status {
        SERVING => Ok(()),
        status => Err(Unhealthy::Status(status)),
    }
}
