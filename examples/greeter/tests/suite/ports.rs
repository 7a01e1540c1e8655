//! Several services on a server, several servers in a process, several containers in a pod, and plain gRPC beside xDS.

use std::net::{Ipv4Addr, SocketAddr};

use greeter::proto::greeter_client::GreeterClient;
use greeter::proto::greeter_server::GreeterServer;
use greeter::proto::guestbook_client::GuestbookClient;
use greeter::proto::guestbook_server::GuestbookServer;
use greeter::proto::{GuestsRequest, HelloRequest};
use greeter::{Failure, Greeter};
use hermesh::image::stand_in;
use hermesh_runtime::Runtime;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::server::{Drain, Router, Server};
use hermesh_xds::{AnyChannel, ChannelCredentials, ConfigApplied, XdsChannel, XdsServer, XdsServerError};
use tonic::{Code, Request, Status};

use crate::canary::{GREETER, deployed, mesh};

#[test]
fn a_second_service_is_beside_the_first_on_its_server_and_on_a_plain_port() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    mesh.scale("greeter-v2", 0).wait_converged();
    let (by_xds, plain, astray) = mesh.run_in("web", |process| async move {
        let rt = process.runtime();
        let credentials = ChannelCredentials::xds_with_insecure_fallback();
        let channel = XdsChannel::connect(&rt, GREETER, credentials).await.expect("there is a bootstrap");
        for name in ["ann", "bob"] {
            GreeterClient::new(channel.clone()).say_hello(named(name)).await.expect("greeted");
        }
        let by_xds = GuestbookClient::new(channel).guests(GuestsRequest {}).await;
        // No xDS, no mTLS: the name is DNS's, the address the Service's.
        let plain = Channel::new(&rt, "greeter:50052", ChannelOptions::default()).expect("host and port");
        let guests = GuestbookClient::new(plain.clone()).guests(GuestsRequest {}).await;
        let astray = GreeterClient::new(plain).say_hello(named("eve")).await;
        (names(by_xds), names(guests), astray.unwrap_err().code())
    });
    assert_eq!(by_xds, ["ann", "bob"]);
    assert_eq!(plain, ["ann", "bob"]);
    assert_eq!(astray, Code::Unimplemented, "the greeter is not served there");
}

#[test]
fn a_target_says_whether_a_channel_needs_xds() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let (by_xds, plain, neither) = mesh.run_in("web", |process| async move {
        let rt = process.runtime();
        let by_xds = guests(&rt, GREETER).await;
        let plain = guests(&rt, "greeter:50052").await;
        (by_xds.unwrap(), plain.unwrap(), guests(&rt, "http://greeter").await.unwrap_err().to_string())
    });
    assert_eq!((by_xds, plain), (vec![], vec![]), "nobody was greeted, and both say so");
    assert!(neither.contains("`http://greeter` is not understood"), "{neither}");
    let channels = mesh.finish().of::<ConfigApplied>().filter(|(event, _)| event.at.starts_with("shop/web-")).count();
    assert_eq!(channels, 1, "one of them asked the control plane");
}

async fn guests(rt: &Runtime, target: &str) -> Result<Vec<String>, Failure> {
    let channel = AnyChannel::connect(rt, target, ChannelCredentials::xds_with_insecure_fallback()).await?;
    Ok(GuestbookClient::new(channel).guests(GuestsRequest {}).await?.into_inner().names)
}

#[test]
fn a_plain_client_is_turned_away_from_a_port_with_strict_mtls() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let refused = mesh.run_in("web", |process| async move {
        let plain =
            Channel::new(&process.runtime(), "greeter:50051", ChannelOptions::default()).expect("host and port");
        GreeterClient::new(plain).say_hello(named("eve")).await.unwrap_err()
    });
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
}

/// A pod of two containers: one with two servers that xDS configures, the other with a plain one.
const TWO_CONTAINERS: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: duo, namespace: shop}
spec:
  selector: {app: duo}
  ports:
  - {name: grpc-greeter, port: 7001}
  - {name: grpc-guestbook, port: 7002}
  - {name: grpc-plain, port: 7003}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: duo, namespace: shop}
spec:
  selector: {matchLabels: {app: duo}}
  template:
    metadata:
      labels: {app: duo}
      annotations:
        inject.istio.io/templates: grpc-agent
        proxy.istio.io/config: '{"holdApplicationUntilProxyStarts": true}'
    spec:
      containers:
      - {name: meshed, image: "registry.corp/two-servers:1"}
      - {name: plain, image: "registry.corp/plain-server:1"}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: duo, namespace: shop}
spec:
  host: duo.shop.svc.cluster.local
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
"#;

#[test]
fn each_server_of_a_pod_has_a_port_of_its_own_with_or_without_xds() {
    let mut mesh = hermesh::mesh()
        .namespace("shop")
        .image("registry.corp/two-servers:1", |p| two_servers(p.runtime()))
        .image("registry.corp/plain-server:1", |p| plain_server(p.runtime()))
        .image("*", stand_in)
        .start();
    mesh.apply("k8s/00-namespace.yaml").apply("k8s/web.yaml").apply(TWO_CONTAINERS).wait_ready();
    let (meshed, plain, mixed_up) = mesh.run_in("web", |process| async move {
        let rt = process.runtime();
        let open = |target: &'static str| {
            let rt = rt.clone();
            async move {
                let credentials = ChannelCredentials::xds_with_insecure_fallback();
                XdsChannel::connect(&rt, target, credentials).await.expect("there is a bootstrap")
            }
        };
        let (greeter, guestbook) = (open("xds:///duo:7001").await, open("xds:///duo:7002").await);
        GreeterClient::new(greeter.clone()).say_hello(named("ann")).await.expect("greeted");
        let meshed = GuestbookClient::new(guestbook).guests(GuestsRequest {}).await;
        let mixed_up = GuestbookClient::new(greeter).guests(GuestsRequest {}).await;
        let plain = Channel::new(&rt, "duo:7003", ChannelOptions::default()).expect("host and port");
        let plain = GreeterClient::new(plain).say_hello(named("bob")).await;
        (names(meshed), plain.map(|reply| reply.into_inner()), mixed_up.unwrap_err().code())
    });
    assert_eq!(meshed, ["ann"]);
    let plain = plain.unwrap();
    assert_eq!((&*plain.version, &*plain.caller), ("plain", ""));
    assert_eq!(mixed_up, Code::Unimplemented, "the guestbook is served at the other port only");
}

async fn two_servers(rt: Runtime) -> Result<(), XdsServerError> {
    let greeter = Greeter::new("1");
    let guestbook = GuestbookServer::new(greeter.guestbook());
    tokio::try_join!(
        XdsServer::new(&rt).add_service(GreeterServer::new(greeter)).serve(any(7001)),
        XdsServer::new(&rt).add_service(guestbook).serve(any(7002)),
    )?;
    Ok(())
}

async fn plain_server(rt: Runtime) -> Result<(), Failure> {
    let router = Router::new().add_service(GreeterServer::new(Greeter::new("plain")));
    let listener = rt.listen(any(7003).into()).await?;
    Ok(Server::new(&rt).router(router).serve(listener, Drain::never()).await?)
}

fn names(guests: Result<tonic::Response<greeter::proto::GuestsReply>, Status>) -> Vec<String> {
    guests.expect("the guestbook answers").into_inner().names
}

fn named(name: &str) -> Request<HelloRequest> {
    Request::new(HelloRequest { name: name.to_owned() })
}

const fn any(port: u16) -> SocketAddr {
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)
}
