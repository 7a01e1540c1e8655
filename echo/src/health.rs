//! `grpc.health.v1.Health` (grpc/doc/health-checking.md): the server as a whole serves from the start, as in Istio's
//! echo; no service has a status of its own.

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use tonic::{Request, Response, Status};

use proto::health_check_response::ServingStatus;
use proto::health_server::{Health, HealthServer};
use proto::{HealthCheckRequest, HealthCheckResponse};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod proto {
    tonic::include_proto!("grpc.health.v1");
}

/// The service as every gRPC port serves it.
pub(crate) fn service() -> HealthServer<AlwaysServing> {
    HealthServer::new(AlwaysServing)
}

pub(crate) struct AlwaysServing;

#[tonic::async_trait]
impl Health for AlwaysServing {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        match status(&request.get_ref().service) {
            ServingStatus::ServiceUnknown => Err(Status::not_found("unknown service")),
            status => Ok(Response::new(HealthCheckResponse { status: status.into() })),
        }
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let first = HealthCheckResponse { status: status(&request.get_ref().service).into() };
        // The status never changes, and the protocol keeps the stream open all the same.
        Ok(Response::new(stream::iter([Ok(first)]).chain(stream::pending()).boxed()))
    }
}

fn status(service: &str) -> ServingStatus {
    if service.is_empty() { ServingStatus::Serving } else { ServingStatus::ServiceUnknown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn the_server_serves_and_services_are_unknown() {
        let whole = AlwaysServing.check(asking("")).await.unwrap();
        assert_eq!(whole.into_inner().status(), ServingStatus::Serving);
        let one = AlwaysServing.check(asking("proto.EchoTestService")).await.unwrap_err();
        assert_eq!(one.code(), tonic::Code::NotFound);
        let mut watch = AlwaysServing.watch(asking("proto.EchoTestService")).await.unwrap().into_inner();
        assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
    }
}
