//! Interceptors and layers around the mesh's channels and servers.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};

use greeter::proto::greeter_client::GreeterClient;
use greeter::proto::greeter_server::GreeterServer;
use greeter::proto::guestbook_client::GuestbookClient;
use greeter::proto::guestbook_server::GuestbookServer;
use greeter::proto::{GuestsRequest, HelloRequest};
use greeter::{Failure, Greeter};
use hermesh::Mesh;
use hermesh_runtime::{Runtime, http1};
use hermesh_xds::{RpcFinished, XdsServer};
use http::HeaderValue;
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::metadata::MetadataValue;
use tonic::service::{InterceptorLayer, LayerExt as _};
use tonic::{Code, Request, Status};
use tower_layer::{Layer as _, layer_fn};
use tower_service::Service;

use crate::canary::{GREETER, deployed, mesh};

/// Who says so gets release 2.
const BY_HEADER: &str = r#"
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: greeter, namespace: shop}
spec:
  hosts: [greeter.shop.svc.cluster.local]
  http:
  - match: [{headers: {x-release: {exact: "2"}}}]
    route: [{destination: {host: greeter.shop.svc.cluster.local, subset: v2}}]
  - route: [{destination: {host: greeter.shop.svc.cluster.local, subset: v1}}]
"#;

#[test]
fn what_an_interceptor_adds_to_a_call_chooses_its_route() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    mesh.apply(BY_HEADER).wait_converged();
    let versions = mesh.call_with("web", GREETER, |channel| async move {
        let mut anyone = GreeterClient::new(channel.clone());
        let mut tester = GreeterClient::with_interceptor(channel, |mut request: Request<()>| {
            request.metadata_mut().insert("x-release", MetadataValue::from_static("2"));
            Ok(request)
        });
        let mut versions = Vec::new();
        for _ in 0..5 {
            versions.push(anyone.say_hello(named("ann")).await?.into_inner().version);
            versions.push(tester.say_hello(named("ann")).await?.into_inner().version);
        }
        Ok::<_, Status>(versions)
    });
    assert_eq!(versions.unwrap(), ["1", "2"].repeat(5));
}

#[test]
fn an_interceptor_of_a_server_refuses_any_kind_of_call_with_a_code_of_its_own() {
    let mut mesh = guarded_mesh();
    let refusals = mesh.call_with("web", GREETER, |channel| async move {
        let mut greeter = GreeterClient::new(channel.clone());
        let names = || tokio_stream::iter(["ann", "bob"].map(named));
        [
            greeter.say_hello(named("ann")).await.map(drop),
            greeter.say_hello_to_all(names()).await.map(drop),
            greeter.converse(names()).await.map(drop),
            GuestbookClient::new(channel).guests(GuestsRequest {}).await.map(drop),
        ]
    });
    for refusal in refusals {
        let status = refusal.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unauthenticated, "who are you?"));
        assert_eq!(status.metadata().get("x-stamp").unwrap(), "shop", "the layer is around the interceptor");
    }
}

#[test]
fn interceptors_at_both_ends_let_streams_through() {
    let mut mesh = guarded_mesh();
    let (heard, guests, stamp) = mesh.call_with("web", GREETER, |channel| async move {
        // One layer serves the clients of any service.
        let channel = InterceptorLayer::new(introduced).layer(channel);
        let names = tokio_stream::iter(["ann", "bob"].map(named));
        let answer = GreeterClient::new(channel.clone()).converse(names).await.unwrap();
        let stamp = answer.metadata().get("x-stamp").cloned();
        let mut replies = answer.into_inner();
        let mut heard = Vec::new();
        while let Some(reply) = replies.message().await.unwrap() {
            heard.push(reply.message);
        }
        let guests = GuestbookClient::new(channel).guests(GuestsRequest {}).await.unwrap();
        (heard, guests.into_inner().names, stamp)
    });
    assert_eq!(heard, ["Hello ann", "Hello bob"]);
    assert_eq!(guests, ["ann", "bob"]);
    assert_eq!(stamp.unwrap(), "shop");
}

#[test]
fn an_interceptor_of_a_client_can_keep_a_call_from_being_made() {
    let mut mesh = guarded_mesh();
    let refusal = mesh.call_with("web", GREETER, |channel| async move {
        let refuse = |_: Request<()>| Err(Status::resource_exhausted("enough for today"));
        GreeterClient::with_interceptor(channel, refuse).say_hello(named("ann")).await.unwrap_err()
    });
    assert_eq!((refusal.code(), refusal.message()), (Code::ResourceExhausted, "enough for today"));
    assert_eq!(mesh.finish().of::<RpcFinished>().count(), 0, "no call reached the channel");
}

/// A mesh whose release 1 asks its callers who they are.
fn guarded_mesh() -> Mesh {
    let mesh = hermesh::mesh().istio("1.32").namespace("shop");
    let mesh = mesh.image("registry.corp/greeter:*", |p| guarded(p.runtime()));
    deployed(mesh.image("*", hermesh::image::stand_in), "canary-0.yaml")
}

/// Plays a greeter that is guarded by interceptors, one of each way to add one, and has a layer around both services.
async fn guarded(rt: Runtime) -> Result<(), Failure> {
    let greeter = Greeter::new("1");
    let guestbook = GuestbookServer::new(greeter.guestbook());
    let server = XdsServer::new(&rt)
        .add_service(GreeterServer::with_interceptor(greeter, known))
        .add_service(InterceptorLayer::new(known).named_layer(guestbook))
        .layer(layer_fn(Stamped))
        .serve(any(50051));
    let health =
        http1::serve(&rt, rt.listen(any(8080).into()).await?, |_| std::future::ready(http::Response::default()));
    tokio::select! {
        biased;
        served = server => Ok(served?),
        failed = health => Ok(failed?),
    }
}

fn known(request: Request<()>) -> Result<Request<()>, Status> {
    match request.metadata().get("x-name") {
        Some(_name) => Ok(request),
        None => Err(Status::unauthenticated("who are you?")),
    }
}

fn introduced(mut request: Request<()>) -> Result<Request<()>, Status> {
    request.metadata_mut().insert("x-name", MetadataValue::from_static("web"));
    Ok(request)
}

/// Adds `x-stamp` to every response.
#[derive(Clone)]
struct Stamped<S>(S);

impl<S, B> Service<http::Request<Body>> for Stamped<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<B>;
    type Error = Infallible;
    type Future = BoxFuture<http::Response<B>, Infallible>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let response = self.0.call(request);
        Box::pin(async move {
            let mut response = response.await?;
            response.headers_mut().insert("x-stamp", HeaderValue::from_static("shop"));
            Ok(response)
        })
    }
}

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}

fn named(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}
