//! The client side of gRPC health checking (`grpc.health.v1.Health/Check`), as gRPC probes use it.

use std::net::SocketAddr;
use std::time::Duration;

use hermesh_runtime::Runtime;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use tonic::codegen::http::uri::PathAndQuery;

/// Asks the server at `address` for the health of `service`; anything but SERVING is an error.
pub(crate) async fn check(rt: &Runtime, address: SocketAddr, service: &str, timeout: Duration) -> Result<(), String> {
    let asked = tokio::time::timeout(timeout, ask(rt, address, service)).await;
    match asked {
        Err(_) => Err(format!("health check did not complete within {timeout:?}")),
        Ok(Err(error)) => Err(error),
        Ok(Ok(SERVING)) => Ok(()),
        Ok(Ok(status)) => Err(format!("service is unhealthy: status {status}")),
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

async fn ask(rt: &Runtime, address: SocketAddr, service: &str) -> Result<i32, String> {
    let channel = Channel::new(rt, &address.to_string(), ChannelOptions::default());
    let channel = channel.map_err(|error| error.to_string())?;
    let request = HealthCheckRequest { service: service.to_owned() };
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.map_err(|status| status.to_string())?;
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckResponse>::default();
    let response = grpc.unary(tonic::Request::new(request), path, codec).await;
    response
        .map(|response| response.into_inner().status)
        .map_err(|status| format!("{:?}: {}", status.code(), status.message()))
}
