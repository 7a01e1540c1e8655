//! `EchoTestService` on one gRPC port.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use hermesh_runtime::Runtime;
use hermesh_runtime::server::ConnectionInfo;
use hermesh_xds::XdsClientPool;
use http::uri::Authority;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::KeyAndValueRef;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};

use crate::event::EchoRequest as EchoRequestEvent;
use crate::metrics::{Metrics, Protocol};
use crate::proto::echo_test_service_server::{EchoTestService, EchoTestServiceServer};
use crate::proto::{EchoRequest, EchoResponse, ForwardEchoRequest, ForwardEchoResponse};
use crate::reply::{self, About};
use crate::shutdown::Activity;

/// What all endpoints of the process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) rt: Runtime,
    /// The process's xDS clients, of its servers and of what it forwards.
    pub(crate) pool: XdsClientPool,
    pub(crate) about: Arc<About>,
    pub(crate) activity: Activity,
    pub(crate) metrics: Metrics,
}

/// The service as a port serves it.
pub(crate) fn echo(shared: Shared, port: u16) -> WithAuthority<EchoTestServiceServer<Echo>> {
    WithAuthority(EchoTestServiceServer::new(Echo { shared, port }))
}

pub(crate) struct Echo {
    shared: Shared,
    port: u16,
}

#[tonic::async_trait]
impl EchoTestService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let Shared { rt, about, activity, metrics, .. } = &self.shared;
        activity.note();
        metrics.count(Protocol::Grpc, self.port);
        let connection = request.extensions().get::<ConnectionInfo>();
        let event = EchoRequestEvent {
            port: self.port,
            version: about.version.clone(),
            hostname: about.hostname.clone(),
            caller: connection
                .and_then(|connection| connection.peer_certificate.as_ref())
                .and_then(|certificate| certificate.spiffe_id().map(|id| id.to_string())),
        };
        rt.emit_because(connection.and_then(|connection| connection.event), event);

        let peer = connection.and_then(|connection| connection.peer.tcp()).map(|peer| peer.ip());
        let authority = request.extensions().get::<Authority>().map(Authority::as_str);
        let headers = request.metadata().iter().filter_map(|entry| match entry {
            KeyAndValueRef::Ascii(name, value) => Some((name.as_str(), value.to_str().ok()?)),
            KeyAndValueRef::Binary(..) => None,
        });
        let message = reply::grpc(about, self.port, peer, authority, headers.collect(), &request.get_ref().message);
        Ok(Response::new(EchoResponse { message }))
    }

    async fn forward_echo(
        &self,
        request: Request<ForwardEchoRequest>,
    ) -> Result<Response<ForwardEchoResponse>, Status> {
        let forwarded = crate::forward::forward(&self.shared.pool, request.into_inner()).await;
        let output = forwarded.map_err(|error| Status::unknown(error.to_string()))?;
        Ok(Response::new(ForwardEchoResponse { output }))
    }
}

/// Hands the service the request's `:authority`, which tonic drops with the rest of the URI.
#[derive(Clone, Debug)]
pub(crate) struct WithAuthority<S>(S);

impl<S> Service<http::Request<Body>> for WithAuthority<S>
where
    S: Service<http::Request<Body>, Error = Infallible>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        if let Some(authority) = request.uri().authority().cloned() {
            request.extensions_mut().insert(authority);
        }
        self.0.call(request)
    }
}

impl<S: NamedService> NamedService for WithAuthority<S> {
    const NAME: &'static str = S::NAME;
}
