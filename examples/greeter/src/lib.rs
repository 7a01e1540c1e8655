//! A tonic service that takes part in a proxyless mesh: [`serve`] is all there is to it.
//!
//! `main` calls it with the operating system's runtime, the tests with that of a simulated container. It opens sockets,
//! tells time and hears SIGTERM through the [`Runtime`] only; that is what makes it testable.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hermesh_runtime::server::{ConnectionInfo, drain};
use hermesh_runtime::{Runtime, http1};
use hermesh_xds::{ServerCredentials, ServingMode, XdsServer};
use http::StatusCode;
use tonic::{Request, Response, Status};

use proto::greeter_server::GreeterServer;
use proto::{HelloReply, HelloRequest};

/// Messages, client and server, generated from `proto/greeter.proto`.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("greeter");
}

/// gRPC, as the control plane configures it.
const GREETER: SocketAddr = any(50051);
/// HTTP for the kubelet, which has no certificate to show where mTLS is strict.
const HEALTH: SocketAddr = any(8080);

/// Serves the greeter until SIGTERM; calls in flight finish.
///
/// # Errors
/// If there is no xDS bootstrap, or if a port is taken.
pub async fn serve(rt: Runtime, version: &str) -> Result<(), Box<dyn Error + Send + Sync>> {
    let ready = Arc::new(AtomicBool::new(false));
    let (connections, drained) = drain();
    rt.spawn("drain on SIGTERM", {
        let terminated = rt.terminated();
        async move {
            terminated.await;
            connections.drain();
        }
    });

    let greeter = XdsServer::new(&rt)
        .credentials(ServerCredentials::xds_with_fallback())
        .add_service(GreeterServer::new(Greeter { version: version.to_owned() }))
        .on_serving_mode({
            let ready = ready.clone();
            move |_, mode| ready.store(*mode == ServingMode::Serving, Ordering::Relaxed)
        })
        .serve_until(GREETER, drained);
    let health = http1::serve(&rt, rt.listen(HEALTH.into()).await?, move |_| {
        let mut response = http::Response::default();
        if !ready.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(response)
    });
    tokio::select! {
        biased;
        served = greeter => Ok(served?),
        failed = health => Ok(failed?),
    }
}

struct Greeter {
    version: String,
}

#[tonic::async_trait]
impl proto::greeter_server::Greeter for Greeter {
    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let connection = request.extensions().get::<ConnectionInfo>();
        let certificate = connection.and_then(|connection| connection.peer_certificate.as_ref());
        let caller = certificate.and_then(|certificate| certificate.spiffe_id()).unwrap_or_default().to_owned();
        let message = format!("Hello {}", request.get_ref().name);
        Ok(Response::new(HelloReply { message, version: self.version.clone(), caller }))
    }
}

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}
