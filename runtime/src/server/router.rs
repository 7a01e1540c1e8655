//! From a request's path to a service, and the call's deadline.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::StdError;
use tonic::server::NamedService;
use tower_layer::Layer;
use tower_service::Service;

use crate::deadline;

/// Services by name. Cheap to clone.
///
/// It enforces `grpc-timeout`: when time is up, the service's future is dropped and the call ends with
/// DEADLINE_EXCEEDED.
#[derive(Clone, Default)]
pub struct Router {
    services: Arc<BTreeMap<&'static str, Box<dyn Route>>>,
}

impl Router {
    /// A router without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a service as tonic generates it, also `with_interceptor` or in a layer of its own (tonic's
    /// `LayerExt::named_layer`); one of the same name is replaced.
    #[must_use]
    pub fn add_service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        let mut services: BTreeMap<_, _> =
            self.services.iter().map(|(name, route)| (*name, route.clone_route())).collect();
        services.insert(S::NAME, Box::new(service));
        self.services = Arc::new(services);
        self
    }

    /// Puts each of the services added so far into `layer`: interceptors (tonic's `InterceptorLayer`) and the layers of
    /// tower. Of several the one added last sees a request first. Those that can fail by themselves, such as tower's
    /// timeouts, need tonic's `RecoverErrorLayer` around them.
    #[must_use]
    pub fn layer<L, B>(mut self, layer: L) -> Self
    where
        L: Layer<Routed>,
        L::Service: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
        <L::Service as Service<Request<Body>>>::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<StdError>,
    {
        let layered = |route: &dyn Route| Box::new(layer.layer(Routed(route.clone_route()))) as Box<dyn Route>;
        self.services = Arc::new(self.services.iter().map(|(name, route)| (*name, layered(&**route))).collect());
        self
    }

    /// The names of the services, in order.
    pub fn services(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.services.keys().copied()
    }

    fn route(&self, request: Request<Body>) -> Answer {
        let content_type = request.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
        if !content_type.is_some_and(|value| value.starts_with(b"application/grpc")) {
            let mut refusal = Response::new(Body::empty());
            *refusal.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return answer(refusal);
        }
        let path = request.uri().path();
        let Some((name, _method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) else {
            return answer(Status::unimplemented(format!("malformed method name: {path:?}")).into_http());
        };
        match self.services.get(name) {
            Some(service) => service.serve(request),
            None => answer(Status::unimplemented(format!("unknown service {name}")).into_http()),
        }
    }
}

impl Service<Request<Body>> for Router {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let timeout = match deadline::timeout(request.headers()) {
            Ok(timeout) => timeout,
            Err(error) => return answer(Status::internal(error.to_string()).into_http()),
        };
        let answer = self.route(request);
        let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) else { return answer };
        Box::pin(async move {
            match tokio::time::timeout_at(deadline, answer).await {
                Ok(Ok(response)) => Ok(response.map(|body| deadline::end_at(body, deadline))),
                Err(_) => Ok(deadline::exceeded().into_http()),
            }
        })
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.services()).finish()
    }
}

type Answer = BoxFuture<'static, Result<Response<Body>, Infallible>>;

fn answer(response: Response<Body>) -> Answer {
    Box::pin(std::future::ready(Ok(response)))
}

/// One of a [`Router`]'s services, as a [layer](Router::layer) finds it.
pub struct Routed(Box<dyn Route>);

impl Clone for Routed {
    fn clone(&self) -> Self {
        Self(self.0.clone_route())
    }
}

impl Service<Request<Body>> for Routed {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.serve(request)
    }
}

impl fmt::Debug for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Routed").finish_non_exhaustive()
    }
}

/// A service of any type.
trait Route: Send + Sync {
    fn serve(&self, request: Request<Body>) -> Answer;
    fn clone_route(&self) -> Box<dyn Route>;
}

impl<S, B> Route for S
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<StdError>,
{
    fn serve(&self, request: Request<Body>) -> Answer {
        let mut service = self.clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            let Ok(response) = service.call(request).await;
            Ok(response.map(Body::new))
        })
    }

    fn clone_route(&self) -> Box<dyn Route> {
        Box::new(self.clone())
    }
}
