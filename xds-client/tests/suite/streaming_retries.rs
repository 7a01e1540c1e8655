//! Streaming RPCs are tried again with what was written so far, and go on with what is written then (gRFC A6, A44).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use crate::ads_support::{
    CDS, EDS, LDS, RDS, any, cluster, lb_endpoint, listener, load_assignment, locality, virtual_host,
};
use crate::mesh_support::{Mesh, eventually};
use envoy_types::pb::envoy::config::route::v3::{RetryPolicy, RouteConfiguration};
use futures::future::BoxFuture;
use hermesh_runtime::server::{Drain, Router, Server};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::{ClientStreamingService, NamedService};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

const NAME: &str = "echo.shop:80";
const TARGET: &str = "xds:///echo.shop:80";

/// Fails its first call after the first message; joins the messages of all others.
#[derive(Clone, Default)]
struct Join {
    calls: Arc<AtomicUsize>,
}

impl NamedService for Join {
    const NAME: &'static str = "test.Join";
}

impl Service<http::Request<Body>> for Join {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.client_streaming(service, request).await)
        })
    }
}

impl ClientStreamingService<String> for Join {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let calls = self.calls.clone();
        Box::pin(async move {
            let mut messages = request.into_inner();
            let mut joined = messages.message().await?.unwrap_or_default();
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                return Err(Status::unavailable("not now"));
            }
            while let Some(message) = messages.message().await? {
                joined.push_str(&message);
            }
            Ok(Response::new(joined))
        })
    }
}

#[tokio::test]
async fn a_stream_that_is_still_being_written_is_tried_again() {
    let mesh = Mesh::start().await;
    let service = Join::default();
    let listening = mesh.rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let port = listening.local_address().tcp().unwrap().port();
    let server = Server::new(&mesh.rt).router(Router::new().add_service(service.clone()));
    let _server =
        mesh.rt.spawn("server", async move { drop(server.serve(listening, Drain::never()).await) }).abort_on_drop();

    let mut host = virtual_host("*", "one");
    host.retry_policy = Some(RetryPolicy { retry_on: "unavailable".to_owned(), ..Default::default() });
    let routes = RouteConfiguration { name: "routes".to_owned(), virtual_hosts: vec![host], ..Default::default() };
    let endpoints = vec![lb_endpoint("127.0.0.1", port.into())];
    mesh.control_plane.set([
        (LDS, NAME, listener(NAME, "routes")),
        (RDS, "routes", any(&routes)),
        (CDS, "one", cluster("one")),
        (EDS, "one", any(&load_assignment("one", vec![locality("a", 1, 0, endpoints)]))),
    ]);

    let (write, read) = mpsc::unbounded_channel::<String>();
    let messages = futures::stream::unfold(read, |mut read| async { Some((read.recv().await?, read)) });
    let mut client = tonic::client::Grpc::new(mesh.channel(TARGET).await);
    let (tell, told) = tokio::sync::oneshot::channel();
    mesh.rt.spawn("call", async move {
        client.ready().await.unwrap();
        let codec = ProstCodec::<String, String>::default();
        let path = PathAndQuery::from_static("/test.Join/All");
        let _ = tell.send(client.client_streaming(Request::new(Box::pin(messages)), path, codec).await);
    });
    write.send("a".to_owned()).unwrap();
    eventually("it is tried again", || service.calls.load(Ordering::SeqCst) == 2).await;
    write.send("b".to_owned()).unwrap();
    drop(write);
    let answer = told.await.unwrap().unwrap();
    assert_eq!(answer.into_inner(), "ab");
    let finished = mesh.recorder.last("rpc.finished").fields;
    assert_eq!((&finished["code"], &finished["attempts"]), (&"Ok".into(), &2.into()));
}
