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
    match tokio::time::timeout(timeout, ask(rt, address, options, service)).await {
        Err(_) => Err(Unhealthy::Late(timeout)),
        Ok(Err(error)) => Err(error),
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => Err(Unhealthy::Status(status)),
    }
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

async fn ask(rt: &Runtime, address: SocketAddr, options: ChannelOptions, service: &str) -> Result<i32, Unhealthy> {
    let channel = Channel::new(rt, &address.to_string(), options);
    let channel = channel.map_err(|error| Unhealthy::Target(error.to_string()))?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(Unhealthy::Call)?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let response = grpc.unary(tonic::Request::new(request), path, codec).await;
    response.map(|response| response.into_inner().status).map_err(Unhealthy::Call)
}
