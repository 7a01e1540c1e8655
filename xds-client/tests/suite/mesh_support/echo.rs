//! A gRPC service without generated code: every message is one string.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hermesh_runtime::server::{ConnectionInfo, Drain, DrainHandle, Router, Server, drain};
use hermesh_runtime::tls::ServerTls;
use hermesh_runtime::{Runtime, TaskGuard};
use hermesh_xds::XdsChannel;
use http::uri::PathAndQuery;
use tokio::sync::Semaphore;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::metadata::MetadataMap;
use tonic::server::{NamedService, UnaryService};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

/// Answers with its name, or as it was told to.
#[derive(Clone)]
pub(crate) struct Echo {
    name: Arc<str>,
    pub(crate) calls: Arc<AtomicUsize>,
    /// Answers for the next calls, before the usual one.
    script: Arc<Mutex<Vec<Status>>>,
    /// Calls to `Hold` take a permit each before they answer.
    pub(crate) hold: Arc<Semaphore>,
    pub(crate) held: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<MetadataMap>>>,
}

impl Echo {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            calls: Arc::default(),
            script: Arc::default(),
            hold: Arc::new(Semaphore::new(0)),
            held: Arc::default(),
            seen: Arc::default(),
        }
    }

    /// Fails the next calls with these.
    pub(crate) fn fail_with(&self, statuses: impl IntoIterator<Item = Status>) {
        let mut script: Vec<Status> = statuses.into_iter().collect();
        script.reverse();
        *self.script.lock().unwrap() = script;
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    /// The metadata of all calls.
    pub(crate) fn seen(&self) -> Vec<MetadataMap> {
        self.seen.lock().unwrap().clone()
    }
}

impl NamedService for Echo {
    const NAME: &'static str = "test.Echo";
}

impl Service<http::Request<Body>> for Echo {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let hold = request.uri().path().ends_with("/Hold");
        let answer = Answer { echo: self.clone(), hold };
        Box::pin(async move {
            let mut grpc = tonic::server::Grpc::new(ProstCodec::<String, String>::default());
            Ok(grpc.unary(answer, request).await)
        })
    }
}

struct Answer {
    echo: Echo,
    hold: bool,
}

impl UnaryService<String> for Answer {
    type Response = String;
    type Future = BoxFuture<'static, Result<Response<String>, Status>>;

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let (echo, hold) = (self.echo.clone(), self.hold);
        Box::pin(async move {
            echo.calls.fetch_add(1, Ordering::SeqCst);
            echo.seen.lock().unwrap().push(request.metadata().clone());
            let scripted = echo.script.lock().unwrap().pop();
            if let Some(status) = scripted {
                return Err(status);
            }
            if hold {
                echo.held.fetch_add(1, Ordering::SeqCst);
                echo.hold.acquire().await.expect("never closed").forget();
            }
            let info = request.extensions().get::<ConnectionInfo>().expect("the server tells of the connection");
            let peer = info.peer_certificate.as_ref().and_then(|peer| peer.spiffe_id().map(str::to_owned));
            Ok(Response::new(match peer {
                Some(peer) => format!("{} to {peer}", echo.name),
                None => echo.name.to_string(),
            }))
        })
    }
}

/// A plain server of [`Echo`], as an application without xDS is.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    pub(crate) echo: Echo,
    drain: DrainHandle,
    _task: TaskGuard,
}

impl Backend {
    pub(crate) async fn start(rt: &Runtime, name: &str) -> Self {
        Self::start_at(rt, name, "127.0.0.1:0".parse().unwrap(), None).await
    }

    pub(crate) async fn start_at(rt: &Runtime, name: &str, at: SocketAddr, tls: Option<ServerTls>) -> Self {
        let echo = Echo::new(name);
        let listener = rt.listen(at.into()).await.expect("the address is free");
        let address = listener.local_address().tcp().expect("a TCP socket");
        let (handle, drained): (DrainHandle, Drain) = drain();
        let server = Server::new(rt).router(Router::new().add_service(echo.clone())).tls(tls);
        let task = rt.spawn("backend", async move {
            server.serve(listener, drained).await.expect("the listener works");
        });
        Self { address, echo, drain: handle, _task: task.abort_on_drop() }
    }

    /// Sends GOAWAY on all connections and closes the listener.
    pub(crate) fn drain(&self) {
        self.drain.drain();
    }
}

/// What tonic would generate.
#[derive(Clone)]
pub(crate) struct EchoClient(tonic::client::Grpc<XdsChannel>);

impl EchoClient {
    pub(crate) fn new(channel: XdsChannel) -> Self {
        Self(tonic::client::Grpc::new(channel))
    }

    /// The name of the backend that answers.
    pub(crate) async fn say(&mut self) -> Result<String, Status> {
        self.send("/test.Echo/Say", Request::new("hello".to_owned())).await
    }

    /// As [`say`](Self::say), but the backend answers when its test lets it.
    pub(crate) async fn hold(&mut self) -> Result<String, Status> {
        self.send("/test.Echo/Hold", Request::new("hello".to_owned())).await
    }

    pub(crate) async fn hold_at_most(&mut self, timeout: Duration) -> Result<String, Status> {
        let mut request = Request::new("hello".to_owned());
        request.set_timeout(timeout);
        self.send("/test.Echo/Hold", request).await
    }

    pub(crate) async fn say_with(&mut self, key: &'static str, value: &'static str) -> Result<String, Status> {
        let mut request = Request::new("hello".to_owned());
        request.metadata_mut().insert(key, value.parse().unwrap());
        self.send("/test.Echo/Say", request).await
    }

    /// How often each backend answered.
    pub(crate) async fn tally(&mut self, calls: usize) -> std::collections::BTreeMap<String, usize> {
        let mut tally = std::collections::BTreeMap::new();
        for _ in 0..calls {
            *tally.entry(self.say().await.expect("the backends are up")).or_default() += 1;
        }
        tally
    }

    /// Calls until the answer is `wanted`; a mesh takes a moment to follow its control plane.
    pub(crate) async fn until(&mut self, wanted: &str) {
        let calling = async {
            while self.say().await.ok().as_deref() != Some(wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let outcome = tokio::time::timeout(Duration::from_secs(10), calling).await;
        outcome.unwrap_or_else(|_| panic!("{wanted} never answered"));
    }

    pub(crate) async fn send(&mut self, path: &'static str, request: Request<String>) -> Result<String, Status> {
        self.0.ready().await?;
        let codec = ProstCodec::<String, String>::default();
        let response = self.0.unary(request, PathAndQuery::from_static(path), codec).await?;
        Ok(response.into_inner())
    }
}
