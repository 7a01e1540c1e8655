//! What a server does with calls and connections.

use std::io;
use std::time::Duration;

use crate::common::{
    Ca, DB, Direct, NOW, Running, TestService, Text, WEB, call, call_with, client_tls, loopback, only, stream,
};
use futures::future::BoxFuture;
use hermesh_runtime::http2::{CloseReason, Closed, ConnectOptions, Connection, Stage, connect};
use hermesh_runtime::server::{Drain, Router, ServeError, ServeOptions, Server, drain, serve_connection};
use hermesh_runtime::tls::{ClientAuth, ServerTls};
use hermesh_runtime::{Address, Listener, Runtime, Stream, http1, os};
use tonic::{Code, Request};

async fn running(rt: &Runtime, server: Server) -> Running {
    let router = Router::new().add_service(TestService::default());
    Running::start(rt, loopback(), server.router(router)).await
}

async fn connected(rt: &Runtime, server: &Running) -> (Connection, Closed) {
    connect(rt, server.address.clone(), &ConnectOptions::default()).await.unwrap()
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens soon")
}

fn limited(timeout: Duration) -> Request<Text> {
    let mut request = Request::new(Text::default());
    request.set_timeout(timeout);
    request
}

#[tokio::test]
async fn unknown_services_are_unimplemented() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt)).await;
    let (connection, _closed) = connected(&rt, &server).await;
    let status = call(Direct(connection.clone()), "/no.Such/Method", "").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "unknown service no.Such"));
    let status = call(Direct(connection), "/nonsense", "").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "malformed method name: \"/nonsense\""));
}

#[tokio::test]
async fn requests_that_are_not_grpc_get_415_and_no_answer_a_date() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt)).await;
    let (connection, _closed) = connected(&rt, &server).await;
    let request = http::Request::post("http://localhost/test.Test/Echo").body(tonic::body::Body::empty()).unwrap();
    let response = connection.call(request).await.unwrap();
    assert_eq!(response.status(), 415);
    assert!(!response.headers().contains_key("date"));
}

#[tokio::test]
async fn the_server_ends_calls_at_their_deadline() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt)).await;
    let (connection, _closed) = connected(&rt, &server).await;
    // `Direct` knows no deadlines: the status is the server's.
    let never = call_with(Direct(connection), "/test.Test/Never", limited(Duration::from_millis(50)));
    assert_eq!(soon(never).await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn the_server_ends_streams_at_their_deadline() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt)).await;
    let (connection, _closed) = connected(&rt, &server).await;
    let mut messages = stream(Direct(connection), limited(Duration::from_millis(50))).await.unwrap();
    assert!(soon(messages.message()).await.unwrap().is_some());
    assert_eq!(soon(messages.message()).await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_malformed_timeout_is_an_error_of_the_client() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt)).await;
    let (connection, _closed) = connected(&rt, &server).await;
    let mut request = Request::new(Text::default());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    let status = call_with(Direct(connection), "/test.Test/Echo", request).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(status.message().contains("malformed grpc-timeout \"soon\""), "{status}");
}

#[tokio::test]
async fn services_know_who_calls() {
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let tls = ServerTls::new(&rt, ca.identity(DB, NOW), ClientAuth::Required(ca.trust())).unwrap();
    let server = running(&rt, Server::new(&rt).tls(Some(tls))).await;
    let tls = client_tls(&rt, ca.trust(), Some(ca.identity(WEB, NOW)), only(DB));
    let options = ConnectOptions { tls: Some(tls), ..ConnectOptions::default() };
    let (connection, _closed) = connect(&rt, server.address.clone(), &options).await.unwrap();
    assert_eq!(connection.peer_certificate().unwrap().spiffe_id(), Some(DB));
    let local = connection.local_address().clone();
    assert_eq!(call(Direct(connection), "/test.Test/WhoAmI", "").await.unwrap(), format!("{WEB} from {local}"));
}

#[tokio::test]
async fn idle_connections_are_sent_away() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt).max_idle(Some(Duration::from_millis(50)))).await;
    let (connection, closed) = connected(&rt, &server).await;
    assert_eq!(call(Direct(connection.clone()), "/test.Test/Echo", "a").await.unwrap(), "a");
    assert_eq!(soon(closed).await, CloseReason::GoAway);
}

#[tokio::test]
async fn a_drained_server_takes_no_more_connections() {
    let rt = os::runtime();
    let server = running(&rt, Server::new(&rt)).await;
    let address = server.address.clone();
    let (_connection, closed) = connected(&rt, &server).await;
    soon(server.stop()).await;
    assert_eq!(soon(closed).await, CloseReason::GoAway);
    let error = connect(&rt, address, &ConnectOptions::default()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Tcp);
}

#[tokio::test]
async fn a_client_that_says_nothing_is_sent_away_at_the_deadline() {
    let rt = os::runtime();
    let mut listener = rt.listen(loopback()).await.unwrap();
    let _client = rt.connect(listener.local_address()).await.unwrap();
    let stream = listener.accept().await.unwrap();
    let options = ServeOptions { handshake_deadline: Duration::from_millis(50), ..ServeOptions::default() };
    let served = soon(serve_connection(&rt, stream, None, &options, Router::new(), Drain::never())).await;
    let ServeError::Rejected { stage, .. } = served.unwrap_err() else { panic!("the client never spoke") };
    assert_eq!(stage, Stage::Deadline);
}

#[tokio::test]
async fn one_drain_spans_connections_of_different_listeners() {
    let rt = os::runtime();
    let (handle, drained) = drain();
    let mut closed = Vec::new();
    for _ in 0..2 {
        let mut listener = rt.listen(loopback()).await.unwrap();
        let (to, runtime, drained) = (listener.local_address(), rt.clone(), drained.clone());
        rt.spawn("listener", async move {
            let stream = listener.accept().await.unwrap();
            let options = ServeOptions::default();
            serve_connection(&runtime, stream, None, &options, Router::new(), drained).await.unwrap();
        });
        closed.push(connect(&rt, to, &ConnectOptions::default()).await.unwrap());
    }
    drop(drained);
    handle.drain();
    for (_connection, closed) in closed {
        assert_eq!(soon(closed).await, CloseReason::GoAway);
    }
    soon(handle.finished()).await;
}

/// A listener of a process that has no file descriptors left for its first connections.
struct ShortOfFiles {
    listener: Box<dyn Listener>,
    failures: usize,
}

impl Listener for ShortOfFiles {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        match self.failures.checked_sub(1) {
            Some(left) => {
                self.failures = left;
                const EMFILE: i32 = 24;
                Box::pin(std::future::ready(Err(io::Error::from_raw_os_error(EMFILE))))
            }
            None => self.listener.accept(),
        }
    }

    fn local_address(&self) -> Address {
        self.listener.local_address()
    }
}

#[tokio::test]
async fn servers_outlive_a_shortage_of_files() {
    let rt = os::runtime();
    let short_of_files = async || {
        let listener = rt.listen(loopback()).await.unwrap();
        Box::new(ShortOfFiles { listener, failures: 3 })
    };

    let listener = short_of_files().await;
    let to = listener.local_address();
    let grpc = Server::new(&rt).router(Router::new().add_service(TestService::default()));
    rt.spawn("grpc", async move { grpc.serve(listener, Drain::never()).await.unwrap() });
    let (connection, _closed) = soon(connect(&rt, to, &ConnectOptions::default())).await.unwrap();
    assert_eq!(soon(call(Direct(connection), "/test.Test/Echo", "hi")).await.unwrap(), "hi");

    let listener = short_of_files().await;
    let to = listener.local_address().tcp().unwrap();
    let runtime = rt.clone();
    rt.spawn("http", async move {
        let handler = |_| std::future::ready(http::Response::new(bytes::Bytes::new()));
        http1::serve(&runtime, listener, handler).await.unwrap();
    });
    assert_eq!(http1::get(&rt, to, "web", "/", Duration::from_secs(10)).await.unwrap().status, 200);
}
