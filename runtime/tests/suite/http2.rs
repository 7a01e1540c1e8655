//! When a connection counts as ready, how it ends, and what becomes of the calls on it.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::common::{Direct, Running, TestService, call, loopback, nobody};
use futures::FutureExt as _;
use hermesh_runtime::http2::{CallError, CloseReason, Closed, ConnectOptions, Connection, Keepalive, Stage, connect};
use hermesh_runtime::server::{Router, Server};
use hermesh_runtime::{Address, Runtime, Stream, os};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;
use tonic::body::Body;

const PREFACE_LEN: usize = 24;
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];

pub(crate) fn options() -> ConnectOptions {
    ConnectOptions::default()
}

pub(crate) async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens soon")
}

pub(crate) fn echo_request(path: &str) -> http::Request<Body> {
    http::Request::post(format!("http://localhost{path}"))
        .header("content-type", "application/grpc")
        .body(Body::empty())
        .unwrap()
}

/// A server that a test plays by hand, and the client's attempt to connect to it.
pub(crate) async fn by_hand(
    rt: &Runtime,
    options: ConnectOptions,
) -> (Box<dyn Stream>, impl Future<Output = Result<(Connection, Closed), hermesh_runtime::http2::ConnectError>> + use<>)
{
    let mut listener = rt.listen(loopback()).await.unwrap();
    let (rt2, to) = (rt.clone(), listener.local_address());
    let mut client = Box::pin(async move { connect(&rt2, to, &options).await });
    let server = tokio::select! {
        biased;
        stream = listener.accept() => stream.unwrap(),
        _ = &mut client => panic!("nobody has answered yet"),
    };
    (server, client)
}

/// Drives a call until its head has come to a server that is played by hand.
pub(crate) async fn begun(server: &mut Box<dyn Stream>, stream: u32, call: &mut (impl Future<Output: Debug> + Unpin)) {
    let mut seen = Vec::new();
    while !seen.windows(9).any(|bytes| bytes[3] == 1 && bytes[5..] == stream.to_be_bytes()) {
        tokio::select! {
            biased;
            read = server.read_buf(&mut seen) => assert!(read.unwrap() > 0, "the client has hung up"),
            answer = &mut *call => panic!("nobody answered, and yet there is {answer:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_is_ready_when_settings_came_and_not_before() {
    let rt = os::runtime();
    let (mut server, mut client) = by_hand(&rt, options()).await;
    // The client has done all it can do by itself once its preface and SETTINGS are here.
    let mut hello = [0; PREFACE_LEN + 9];
    tokio::select! {
        biased;
        read = server.read_exact(&mut hello) => drop(read.unwrap()),
        _ = &mut client => panic!("ready without SETTINGS"),
    }
    assert!(hello.starts_with(b"PRI * HTTP/2.0"));
    assert!((&mut client).now_or_never().is_none(), "ready without SETTINGS");
    server.write_all(SETTINGS).await.unwrap();
    let (connection, _closed) = soon(client).await.unwrap();
    assert!(!connection.is_closed());
}

#[tokio::test]
async fn a_refused_connection_is_told_as_grpc_go_tells_it() {
    let rt = os::runtime();
    let address = nobody();
    let error = connect(&rt, address.clone(), &options()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Tcp);
    let text = format!(
        "connection error: desc = \"transport: Error while dialing: dial tcp {address}: connect: connection refused\""
    );
    assert_eq!(error.to_string(), text);
    assert_eq!((error.status().code(), error.status().message()), (Code::Unavailable, text.as_str()));
}

#[tokio::test]
async fn a_server_that_hangs_up_before_settings_is_told_from_one_that_speaks_http1() {
    let rt = os::runtime();
    let (mut server, client) = by_hand(&rt, options()).await;
    server.shutdown().await.unwrap();
    let error = soon(client).await.unwrap_err();
    assert_eq!((error.stage, error.message.as_str()), (Stage::Http2, "error reading server preface: EOF"));
    assert_eq!((error.reached, error.not_http2), (Stage::Http2, false));

    let (mut server, client) = by_hand(&rt, options()).await;
    server.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = soon(client).await.unwrap_err();
    assert_eq!((error.stage, error.not_http2), (Stage::Http2, true));
    assert!(error.message.contains("HTTP/1"), "{error}");
}

#[tokio::test]
async fn a_silent_server_fails_at_the_deadline() {
    let rt = os::runtime();
    let (_server, client) = by_hand(&rt, ConnectOptions { deadline: Duration::from_millis(100), ..options() }).await;
    let error = soon(client).await.unwrap_err();
    assert_eq!((error.stage, error.reached), (Stage::Deadline, Stage::Http2));
    assert!(error.message.contains("no SETTINGS frame came"), "{error}");
}

#[tokio::test]
async fn an_abandoned_attempt_closes_its_socket() {
    let rt = os::runtime();
    let (mut server, client) = by_hand(&rt, options()).await;
    drop(client);
    soon(server.read_to_end(&mut Vec::new())).await.unwrap();
}

pub(crate) async fn running(rt: &Runtime) -> (TestService, Running) {
    let service = TestService::default();
    let server = Server::new(rt).router(Router::new().add_service(service.clone()));
    (service, Running::start(rt, loopback(), server).await)
}

#[tokio::test]
async fn goaway_is_told_at_once_while_the_call_in_flight_completes() {
    let rt = os::runtime();
    let (service, server) = running(&rt).await;
    let (connection, closed) = connect(&rt, server.address.clone(), &options()).await.unwrap();
    let in_flight = call(Direct(connection.clone()), "/test.Test/Wait", "still here");
    let mut in_flight = std::pin::pin!(in_flight);
    tokio::select! {
        biased;
        _ = service.waiting.acquire() => {}
        _ = &mut in_flight => panic!("nobody opened the gate"),
    }
    server.handle.drain();
    assert_eq!(soon(closed).await, CloseReason::GoAway);
    assert!(connection.is_closed());

    let unsent = connection.call(echo_request("/test.Test/Echo")).await.unwrap_err();
    let CallError::Unsent { request, status } = unsent else { panic!("{unsent}") };
    assert_eq!((request.uri().path(), status.code()), ("/test.Test/Echo", Code::Unavailable));

    service.gate.add_permits(1);
    assert_eq!(soon(in_flight).await.unwrap(), "still here");
    soon(server.stop()).await;
}

#[tokio::test]
async fn calls_in_flight_on_a_lost_connection_are_unavailable_and_later_ones_unsent() {
    let rt = os::runtime();
    let (mut server, client) = by_hand(&rt, options()).await;
    server.write_all(SETTINGS).await.unwrap();
    let (connection, closed) = soon(client).await.unwrap();
    let mut in_flight = std::pin::pin!(connection.call(echo_request("/in/flight")));
    begun(&mut server, 1, &mut in_flight).await;
    drop(server);
    let error = soon(in_flight).await.unwrap_err();
    assert!(matches!(&error, CallError::Failed(status) if status.code() == Code::Unavailable), "{error:?}");
    assert!(error.to_string().contains("error reading from server: "), "{error}");
    assert!(matches!(soon(closed).await, CloseReason::Closed(_)));
    let later = connection.call(echo_request("/later")).await.unwrap_err();
    assert!(matches!(later, CallError::Unsent { .. }), "{later:?}");
}

#[tokio::test]
async fn a_refused_stream_may_be_sent_again() {
    let rt = os::runtime();
    let (mut server, client) = by_hand(&rt, options()).await;
    server.write_all(SETTINGS).await.unwrap();
    let (connection, _closed) = soon(client).await.unwrap();
    let refused_stream = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 7];
    let mut in_flight = std::pin::pin!(connection.call(echo_request("/refused")));
    begun(&mut server, 1, &mut in_flight).await;
    server.write_all(&refused_stream).await.unwrap();
    let error = soon(in_flight).await.unwrap_err();
    assert!(matches!(&error, CallError::Refused(status) if status.code() == Code::Unavailable), "{error:?}");
}

#[tokio::test]
async fn dropping_the_last_clone_closes_the_connection_after_its_calls() {
    let rt = os::runtime();
    let (service, server) = running(&rt).await;
    let (connection, mut closed) = connect(&rt, server.address.clone(), &options()).await.unwrap();
    let mut in_flight = Box::pin(call(Direct(connection), "/test.Test/Wait", "the last one"));
    tokio::select! {
        biased;
        _ = service.waiting.acquire() => {}
        _ = &mut in_flight => panic!("nobody opened the gate"),
    }
    assert!((&mut closed).now_or_never().is_none(), "a call is in flight");
    service.gate.add_permits(1);
    assert_eq!(soon(in_flight).await.unwrap(), "the last one");
    assert_eq!(soon(closed).await, CloseReason::Closed("closed by this side".to_owned()));
    // The server's drain ends only when the client has hung up.
    soon(server.stop()).await;
}

#[tokio::test]
async fn keepalive_finds_a_peer_that_has_fallen_silent() {
    let rt = os::runtime();
    let brief = Duration::from_millis(50);
    let keepalive = Some(Keepalive { interval: brief, timeout: brief, while_idle: true });
    let (mut server, client) = by_hand(&rt, ConnectOptions { keepalive, ..options() }).await;
    server.write_all(&[SETTINGS, SETTINGS_ACK].concat()).await.unwrap();
    let (_connection, closed) = soon(client).await.unwrap();
    let CloseReason::Closed(text) = soon(closed).await else { panic!("nobody sent GOAWAY") };
    assert_eq!(text, "keepalive ping failed to receive ACK within timeout");
}

#[tokio::test]
async fn unix_sockets_carry_calls() {
    let rt = os::runtime();
    let folder = tempfile::tempdir().unwrap();
    let address = Address::Unix(folder.path().join("XDS"));
    let error = connect(&rt, address.clone(), &options()).await.unwrap_err();
    assert!(error.message.ends_with("XDS: connect: no such file or directory"), "{error}");

    let server = Server::new(&rt).router(Router::new().add_service(TestService::default()));
    let server = Running::start(&rt, address, server).await;
    let (connection, _closed) = connect(&rt, server.address.clone(), &options()).await.unwrap();
    assert_eq!(call(Direct(connection), "/test.Test/Echo", "hello").await.unwrap(), "hello");
    soon(server.stop()).await;
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let rt = os::runtime();
    let (service, server) = running(&rt).await;
    let (connection, _closed) = connect(&rt, server.address.clone(), &options()).await.unwrap();
    let service = Arc::new(service);
    let calls = (0..300).map(|_| call(Direct(connection.clone()), "/test.Test/Wait", "x"));
    let open = async {
        // All are in flight at once: the server has no limit, as in gRPC.
        service.waiting.acquire_many(300).await.unwrap().forget();
        service.gate.add_permits(300);
    };
    let (answers, ()) = soon(async { tokio::join!(futures::future::join_all(calls), open) }).await;
    assert!(answers.iter().all(|answer| matches!(answer.as_deref(), Ok("x"))), "{answers:?}");
}
