//! A tonic service that takes part in a proxyless mesh: [`serve`] is all there is to it.
//!
//! `main` calls it with the operating system's runtime, the tests with that of a simulated container. It opens sockets,
//! tells time, starts tasks and hears SIGTERM through `hermesh_runtime` only; that is what makes it testable.

mod service;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hermesh_runtime::server::{Router, Server, drain};
use hermesh_runtime::{Runtime, http1};
use hermesh_xds::{ServerCredentials, ServingMode, XdsServer};
use http::StatusCode;

use proto::greeter_server::GreeterServer;
use proto::guestbook_server::GuestbookServer;
pub use service::{Greeter, Guestbook, PAUSE};

/// Messages, clients and servers, generated from `proto/greeter.proto`.
#[allow(missing_docs, clippy::all, reason = "generated")]
pub mod proto {
    tonic::include_proto!("greeter");
}

/// Why the greeter ends before it is asked to.
pub type Failure = Box<dyn Error + Send + Sync>;

/// gRPC, as the control plane configures it.
const GREETER: SocketAddr = any(50051);
/// gRPC without xDS, for those who run the greeter.
const GUESTBOOK: SocketAddr = any(50052);
/// HTTP for the kubelet, which has no certificate to show where mTLS is strict.
const HEALTH: SocketAddr = any(8080);

/// Serves the greeter until SIGTERM; calls in flight finish.
///
/// # Errors
/// If there is no xDS bootstrap, or if a port is taken.
pub async fn serve(rt: Runtime, version: &str) -> Result<(), Failure> {
    let ready = Arc::new(AtomicBool::new(false));
    let (connections, drained) = drain();
    rt.spawn("drain on SIGTERM", {
        let terminated = rt.terminated();
        async move {
            terminated.await;
            connections.drain();
        }
    });

    let greeter = Greeter::new(version);
    let guestbook = GuestbookServer::new(greeter.guestbook());
    let mesh = XdsServer::new(&rt)
        .credentials(ServerCredentials::xds_with_fallback())
        .add_service(GreeterServer::new(greeter))
        .add_service(guestbook.clone())
        .on_serving_mode({
            let ready = ready.clone();
            move |_, mode| ready.store(*mode == ServingMode::Serving, Ordering::Relaxed)
        })
        .serve_until(GREETER, drained.clone());
    let plain = Server::new(&rt)
        .router(Router::new().add_service(guestbook))
        .serve(rt.listen(GUESTBOOK.into()).await?, drained);
    let health = http1::serve(&rt, rt.listen(HEALTH.into()).await?, move |_| {
        let mut response = http::Response::default();
        if !ready.load(Ordering::Relaxed) {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(response)
    });
    let mesh = async { mesh.await.map_err(Failure::from) };
    let plain = async { plain.await.map_err(Failure::from) };
    tokio::select! {
        biased;
        served = async { tokio::try_join!(mesh, plain) } => served.map(drop),
        failed = health => Ok(failed?),
    }
}

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}
