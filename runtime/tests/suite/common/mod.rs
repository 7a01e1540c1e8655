//! What the tests share: a certificate authority, a small gRPC service, and a server around it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::http2::{ConnectError, ConnectOptions, Connection, connect};
use hermesh_runtime::server::{
    ConnectionInfo, Drain, DrainHandle, Router, ServeError, ServeOptions, Server, drain, serve_connection,
};
use hermesh_runtime::tls::{ClientAuth, ClientTls, Identity, PeerCertificate, PeerRule, ServerTls, TrustBundle};
use hermesh_runtime::{Address, Runtime};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, SanType};
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codec::Streaming;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

pub(crate) const WEB: &str = "spiffe://cluster.local/ns/default/sa/web";
pub(crate) const DB: &str = "spiffe://cluster.local/ns/default/sa/db";

/// A certificate authority.
pub(crate) struct Ca {
    rt: Runtime,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// When a certificate is valid, in hours from now.
pub(crate) type Hours = std::ops::Range<i64>;
pub(crate) const NOW: Hours = -1..1;

impl Ca {
    pub(crate) fn new(rt: &Runtime, name: &str) -> Self {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::OrganizationName, name);
        let key = KeyPair::generate(rt);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { rt: rt.clone(), issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn trust(&self) -> TrustBundle {
        TrustBundle::from_pem(self.pem.as_bytes()).unwrap()
    }

    /// A chain for the holder of `key`.
    pub(crate) fn sign(&self, key: &impl rcgen::PublicKeyData, spiffe: &str, valid: Hours) -> String {
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.subject_alt_names = vec![SanType::URI(spiffe.try_into().unwrap())];
        let now = OffsetDateTime::from_unix_timestamp(self.rt.wall().as_secs() as i64).unwrap();
        params.not_before = now + time::Duration::hours(valid.start);
        params.not_after = now + time::Duration::hours(valid.end);
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    pub(crate) fn identity(&self, spiffe: &str, valid: Hours) -> Identity {
        let key = KeyPair::generate(&self.rt);
        let chain = self.sign(&key, spiffe, valid);
        Identity::from_pem(&self.rt, chain.as_bytes(), key.to_pem().as_bytes()).unwrap()
    }
}

/// The peer must be `spiffe`.
pub(crate) fn only(spiffe: &'static str) -> PeerRule {
    PeerRule::new(move |peer| match peer.spiffe_id() {
        Some(id) if id == spiffe => Ok(()),
        other => Err(format!("expected {spiffe}, got {other:?}")),
    })
}

pub(crate) fn client_tls(rt: &Runtime, trust: TrustBundle, identity: Option<Identity>, rule: PeerRule) -> ClientTls {
    ClientTls::new(rt, "", trust, identity, rule).unwrap()
}

pub(crate) fn server_tls(rt: &Runtime, identity: Identity, clients: ClientAuth) -> ServerTls {
    ServerTls::new(rt, identity, clients).unwrap()
}

/// Connects a client and a server over loopback; both ends tell how it went, the client with whom it met. It hangs up
/// at once.
pub(crate) async fn meet(
    rt: &Runtime,
    client: Option<ClientTls>,
    server: Option<ServerTls>,
) -> (Result<Option<PeerCertificate>, ConnectError>, Result<(), ServeError>) {
    let mut listener = rt.listen(loopback()).await.unwrap();
    let to = listener.local_address();
    let serve = async {
        let stream = listener.accept().await.unwrap();
        let options = ServeOptions::default();
        serve_connection(rt, stream, server.as_ref(), &options, Router::new(), Drain::never()).await
    };
    let connect = async {
        let options = ConnectOptions { tls: client, ..ConnectOptions::default() };
        connect(rt, to, &options).await.map(|(connection, _closed)| connection.peer_certificate().cloned())
    };
    let both = async { tokio::join!(connect, serve) };
    tokio::time::timeout(Duration::from_secs(10), both).await.expect("both ends end quickly")
}

pub(crate) fn loopback() -> Address {
    SocketAddr::from(([127, 0, 0, 1], 0)).into()
}

/// Where nothing listens: the port of a service that went out of use in the last century.
pub(crate) fn nobody() -> Address {
    SocketAddr::from(([127, 0, 0, 1], 1)).into()
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Text {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
}

/// A service with these methods: `Echo` answers with what it got; `WhoAmI` with the caller's SPIFFE ID and address;
/// `Wait` when the test lets it; anything else never.
#[derive(Clone)]
pub(crate) struct TestService {
    pub(crate) gate: Arc<Semaphore>,
    /// Gets a permit for each call of `Wait` that has begun.
    pub(crate) waiting: Arc<Semaphore>,
}

impl Default for TestService {
    fn default() -> Self {
        Self { gate: Arc::new(Semaphore::new(0)), waiting: Arc::new(Semaphore::new(0)) }
    }
}

impl NamedService for TestService {
    const NAME: &'static str = "test.Test";
}

impl Service<http::Request<Body>> for TestService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let service = self.clone();
        let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<Text, Text>::default());
            Ok(match method.as_str() {
                "Stream" => grpc.server_streaming(Silent, request).await,
                _ => grpc.unary(Method { service, name: method }, request).await,
            })
        })
    }
}

struct Method {
    service: TestService,
    name: String,
}

impl UnaryService<Text> for Method {
    type Response = Text;
    type Future = BoxFuture<'static, Result<Response<Text>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        let (service, name) = (self.service.clone(), self.name.clone());
        Box::pin(async move {
            match name.as_str() {
                "Echo" => Ok(Response::new(request.into_inner())),
                "WhoAmI" => {
                    let info = request.extensions().get::<ConnectionInfo>().expect("the server inserts it");
                    let spiffe = info.peer_certificate.as_ref().and_then(|peer| peer.spiffe_id());
                    Ok(Response::new(Text { text: format!("{} from {}", spiffe.unwrap_or("nobody"), info.peer) }))
                }
                "Wait" => {
                    service.waiting.add_permits(1);
                    service.gate.acquire().await.expect("the gate is never closed").forget();
                    Ok(Response::new(request.into_inner()))
                }
                _ => std::future::pending().await,
            }
        })
    }
}

/// Sends one message and then nothing.
struct Silent;

impl tonic::server::ServerStreamingService<Text> for Silent {
    type Response = Text;
    type ResponseStream = BoxStream;
    type Future = BoxFuture<'static, Result<Response<BoxStream>, Status>>;

    fn call(&mut self, request: Request<Text>) -> Self::Future {
        use futures::StreamExt as _;
        let once = futures::stream::once(async { Ok(request.into_inner()) });
        Box::pin(async { Ok(Response::new(once.chain(futures::stream::pending()).boxed())) })
    }
}

type BoxStream = futures::stream::BoxStream<'static, Result<Text, Status>>;

/// Calls a method of the test service through any client.
pub(crate) async fn call<C>(client: C, method: &'static str, text: &str) -> Result<String, Status>
where
    C: tonic::client::GrpcService<Body, ResponseBody = Body>,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    call_with(client, method, Request::new(Text { text: text.to_owned() })).await
}

pub(crate) async fn call_with<C>(client: C, method: &'static str, request: Request<Text>) -> Result<String, Status>
where
    C: tonic::client::GrpcService<Body, ResponseBody = Body>,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut grpc = tonic::client::Grpc::new(client);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = http::uri::PathAndQuery::from_static(method);
    let response = grpc.unary(request, path, ProstCodec::<Text, Text>::default()).await?;
    Ok(response.into_inner().text)
}

pub(crate) async fn stream<C>(client: C, request: Request<Text>) -> Result<Streaming<Text>, Status>
where
    C: tonic::client::GrpcService<Body, ResponseBody = Body>,
    C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut grpc = tonic::client::Grpc::new(client);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    let path = http::uri::PathAndQuery::from_static("/test.Test/Stream");
    let response = grpc.server_streaming(request, path, ProstCodec::<Text, Text>::default()).await?;
    Ok(response.into_inner())
}

/// A connection as a tonic client: no retries, no deadline of its own.
#[derive(Clone)]
pub(crate) struct Direct(pub(crate) Connection);

impl Service<http::Request<Body>> for Direct {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path();
        *request.uri_mut() = format!("http://localhost{path}").parse().unwrap();
        let response = self.0.call(request);
        Box::pin(async { response.await.map_err(|error| error.into_status()) })
    }
}

/// A running server.
pub(crate) struct Running {
    pub(crate) address: Address,
    pub(crate) handle: DrainHandle,
    done: tokio::sync::oneshot::Receiver<()>,
}

impl Running {
    pub(crate) async fn start(rt: &Runtime, at: Address, server: Server) -> Self {
        let listener = rt.listen(at).await.unwrap();
        let address = listener.local_address();
        let (handle, drained) = drain();
        let (over, done) = tokio::sync::oneshot::channel();
        rt.spawn("test server", async move {
            server.serve(listener, drained).await.unwrap();
            let _ = over.send(());
        });
        Self { address, handle, done }
    }

    /// Drains and waits until all connections are closed.
    pub(crate) async fn stop(self) {
        self.handle.drain();
        tokio::time::timeout(Duration::from_secs(10), self.done).await.expect("the server ends").unwrap();
    }
}
