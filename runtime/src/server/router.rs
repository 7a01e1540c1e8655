//! From a request's path to a service, and the call's deadline.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
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

    /// Adds a service as tonic generates it; one of the same name is replaced.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        let mut services: BTreeMap<_, _> =
            self.services.iter().map(|(name, route)| (*name, route.clone_route())).collect();
        services.insert(S::NAME, Box::new(service));
        self.services = Arc::new(services);
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

/// A service of any type.
trait Route: Send + Sync {
    fn serve(&self, request: Request<Body>) -> Answer;
    fn clone_route(&self) -> Box<dyn Route>;
}

impl<S> Route for S
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
{
    fn serve(&self, request: Request<Body>) -> Answer {
        let mut service = self.clone();
        Box::pin(async move {
            let Ok(()) = poll_fn(|cx| service.poll_ready(cx)).await;
            service.call(request).await
        })
    }

    fn clone_route(&self) -> Box<dyn Route> {
        Box::new(self.clone())
    }
}
