//! The client status discovery service: what the xDS clients of this process have, and of what version (gRFC A40).
//!
//! `grpcdebug <address> xds status` and the like ask it. It answers for every client of the process, in whatever pool:
//! that of each channel target and that of the servers, which `client_scope` names by the target and by `#server`
//! (gRFC A71). Clients stand in the order of their scopes, those of one scope in that of their age, resources in that
//! of their types (LDS, RDS, CDS, EDS) and names.
//!
//! In two points it follows grpc-go where A40's text says otherwise: requests with `node_matchers` are refused, which
//! A40 would ignore, and after a NACK the reason stands at the rejected resources alone, each being judged by itself
//! (gRFC A46), and not at all resources of the response.

mod codec;
mod message;

use std::convert::Infallible;
use std::task::{Context, Poll};

use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server::SERVICE_NAME;
use envoy_types::pb::envoy::service::status::v3::{ClientStatusRequest, ClientStatusResponse};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use hermesh_runtime::Runtime;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::{Request, Response, Status, Streaming};
use tower_service::Service;

use crate::client;
use codec::CsdsCodec;

/// `envoy.service.status.v3.ClientStatusDiscoveryService`, for any server of this process.
///
/// It knows the clients of the `Runtime` it is made with and of that one's clones: a program calls
/// `hermesh_runtime::os::runtime` once, as each call stands for a process of its own.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use hermesh_runtime::server::{Drain, Router, Server};
/// use hermesh_xds::ClientStatusDiscovery;
///
/// let rt = hermesh_runtime::os::runtime();
/// let admin = rt.listen("127.0.0.1:50052".parse().expect("an address")).await?;
/// let router = Router::new().add_service(ClientStatusDiscovery::new(&rt));
/// Server::new(&rt).router(router).serve(admin, Drain::never()).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientStatusDiscovery {
    rt: Runtime,
}

impl ClientStatusDiscovery {
    /// The service for the clients of the process that `rt` belongs to, those to come included.
    #[must_use]
    pub fn new(rt: &Runtime) -> Self {
        Self { rt: rt.clone() }
    }

    /// What `FetchClientStatus` answers.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if the request has `node_matchers`: all clients of a process have the same node.
    pub async fn client_status(&self, request: &ClientStatusRequest) -> Result<ClientStatusResponse, Status> {
        if !request.node_matchers.is_empty() {
            return Err(Status::invalid_argument(
                "node_matchers are not supported: a gRPC process answers for all of its own xDS clients; leave them out",
            ));
        }
        let with_contents = !request.exclude_resource_contents;
        let states = client::states(&self.rt).await;
        Ok(ClientStatusResponse {
            config: states.into_iter().map(|state| message::client_config(state, with_contents)).collect(),
        })
    }
}

impl NamedService for ClientStatusDiscovery {
    const NAME: &'static str = SERVICE_NAME;
}

impl Service<http::Request<Body>> for ClientStatusDiscovery {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let method = request.uri().path().rsplit('/').next().unwrap_or_default();
            Ok(match method {
                "FetchClientStatus" => Grpc::new(CsdsCodec).unary(service, request).await,
                "StreamClientStatus" => Grpc::new(CsdsCodec).streaming(service, request).await,
                other => {
                    Status::unimplemented(format!("unknown method {other} for service {SERVICE_NAME}")).into_http()
                }
            })
        })
    }
}

impl UnaryService<ClientStatusRequest> for ClientStatusDiscovery {
    type Response = ClientStatusResponse;
    type Future = BoxFuture<'static, Result<Response<ClientStatusResponse>, Status>>;

    fn call(&mut self, request: Request<ClientStatusRequest>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { service.client_status(request.get_ref()).await.map(Response::new) })
    }
}

/// One response for each request, in the order of the requests; the first that is refused ends the stream.
impl StreamingService<ClientStatusRequest> for ClientStatusDiscovery {
    type Response = ClientStatusResponse;
    type ResponseStream = BoxStream<'static, Result<ClientStatusResponse, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<ClientStatusRequest>>) -> Self::Future {
        let service = self.clone();
        let responses = stream::try_unfold(request.into_inner(), move |mut requests| {
            let service = service.clone();
            async move {
                let Some(request) = requests.try_next().await? else { return Ok(None) };
                let response = service.client_status(&request).await?;
                Ok(Some((response, requests)))
            }
        });
        Box::pin(async move { Ok(Response::new(responses.boxed())) })
    }
}
