//! The RPC path of an xDS server: virtual host, route, filters, then the application (gRFC A36).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hermesh_runtime::Draws;
use hermesh_runtime::server::Router;
use http::header;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use super::authorization::Authorization;
use crate::resource::{RouteAction, RouteConfiguration, RouteSource};
use crate::routing::{Metadata, find_route, find_virtual_host};

/// Route configurations by name, as RDS has them now. RPCs on connections that stand see changes at once.
#[derive(Clone, Debug, Default)]
pub(super) struct RouteTable(Arc<Mutex<BTreeMap<String, Routes>>>);

/// A route configuration, or why there is none.
type Routes = Result<Arc<RouteConfiguration>, String>;

impl RouteTable {
    pub(super) fn set(&self, name: &str, routes: Routes) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), routes);
    }

    pub(super) fn remove(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    pub(super) fn get(&self, name: &str) -> Option<Routes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }
}

/// Serves the RPCs of one connection.
#[derive(Clone)]
pub(super) struct RpcService {
    pub(super) router: Router,
    /// Of the connection's filter chain.
    pub(super) routes: RouteSource,
    pub(super) table: RouteTable,
    pub(super) draws: Arc<Mutex<Draws>>,
    pub(super) authorization: Authorization,
}

impl RpcService {
    /// Whether the configuration lets the RPC in.
    fn admit(&self, request: &http::Request<Body>) -> Result<(), Status> {
        let routes = self.routes().map_err(|error| {
            Status::unavailable(format!("error from xDS configuration for matched route configuration: {error}"))
        })?;
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let authority = request.uri().authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
        let Some(index) = find_virtual_host(&routes.virtual_hosts, authority) else {
            return Err(Status::unavailable("the incoming RPC did not match a configured Virtual Host"));
        };
        let virtual_host = &routes.virtual_hosts[index];
        let route = {
            let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
            find_route(&virtual_host.routes, request.uri().path(), Metadata::new(request.headers()), &mut draws)
        };
        let Some(route) = route else {
            return Err(Status::unavailable("the incoming RPC did not match a configured Route"));
        };
        if route.action != RouteAction::NonForwarding {
            let message = "the incoming RPC matched to a route that was not of action type non forwarding";
            return Err(Status::unavailable(message));
        }
        self.authorization.check(request, authority, [&route.overrides, &virtual_host.overrides])
    }

    fn routes(&self) -> Routes {
        match &self.routes {
            RouteSource::Inline(routes) => Ok(routes.clone()),
            RouteSource::Rds(name) => {
                self.table.get(name).unwrap_or_else(|| Err(format!("route configuration {name:?} is not known")))
            }
        }
    }
}

impl Service<http::Request<Body>> for RpcService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.admit(&request) {
            Ok(()) => self.router.call(request),
            Err(status) => Box::pin(std::future::ready(Ok(status.into_http()))),
        }
    }
}
