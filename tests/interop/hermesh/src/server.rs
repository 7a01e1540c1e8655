//! The echo service on one address, with or without xDS, which tells who called.

use std::time::Duration;

use hermesh_echo::proto::echo_test_service_server::{EchoTestService, EchoTestServiceServer};
use hermesh_echo::proto::{EchoRequest, EchoResponse, ForwardEchoRequest, ForwardEchoResponse};
use hermesh_runtime::server::{ConnectionInfo, Drain, Router, Server};
use hermesh_runtime::{Runtime, TaskGuard};
use hermesh_xds::{ServingMode, XdsServer};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status};

use crate::command::Serve;

/// A server; dropping it closes its socket.
pub(crate) struct EchoServer {
    _task: TaskGuard,
}

impl EchoServer {
    /// Starts the server, and waits until it serves or its time is over.
    pub(crate) async fn start(rt: &Runtime, serve: Serve) -> Result<(Self, Value), String> {
        let address = serve.address.parse().map_err(|_| format!("`{}` is no address", serve.address))?;
        let listener = rt.listen(std::net::SocketAddr::into(address)).await.map_err(|error| error.to_string())?;
        let router = Router::new().add_service(EchoTestServiceServer::new(Echo {
            version: serve.version.clone(),
            hostname: serve.hostname.clone(),
        }));
        let (modes_tx, mut modes) = mpsc::unbounded_channel();
        let task = if serve.xds {
            let server = XdsServer::new(rt).router(router).on_serving_mode(move |_, mode| {
                // Nobody listens any more once the first answer is given.
                let _ = modes_tx.send(mode.clone());
            });
            rt.spawn("xds-server", async move { drop(server.serve_on(listener, Drain::never()).await) })
        } else {
            let _ = modes_tx.send(ServingMode::Serving);
            let server = Server::new(rt).router(router);
            rt.spawn("server", async move { drop(server.serve(listener, Drain::never()).await) })
        };
        let server = Self { _task: task.abort_on_drop() };

        let mut error = "no word about the serving mode".to_owned();
        let serving = async {
            while let Some(mode) = modes.recv().await {
                match mode {
                    ServingMode::Serving => return true,
                    ServingMode::NotServing(reason) => error = reason,
                }
            }
            false
        };
        let serves = tokio::time::timeout(Duration::from_millis(serve.timeout_ms), serving).await.unwrap_or(false);
        let mode = if serves { json!({"serving": true}) } else { json!({"serving": false, "error": error}) };
        Ok((server, mode))
    }
}

struct Echo {
    version: String,
    hostname: String,
}

#[tonic::async_trait]
impl EchoTestService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let mut message = format!("ServiceVersion={}\nHostname={}\n", self.version, self.hostname);
        let connection = request.extensions().get::<ConnectionInfo>();
        let certificate = connection.and_then(|connection| connection.peer_certificate.as_ref());
        if let Some(identity) = certificate.and_then(|certificate| certificate.spiffe_id()) {
            message += &format!("PeerIdentity={identity}\n");
        }
        Ok(Response::new(EchoResponse { message }))
    }

    async fn forward_echo(&self, _: Request<ForwardEchoRequest>) -> Result<Response<ForwardEchoResponse>, Status> {
        Err(Status::unimplemented("this server forwards nothing"))
    }
}
