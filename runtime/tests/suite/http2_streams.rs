//! Calls as streams: what they may say, when their ends come, who waits for whom, and what becomes of the cancelled.

use crate::common::{Direct, TestService, call, loopback};
use crate::http2::{SETTINGS, begun, by_hand, echo_request, options, running, soon};
use bytes::Bytes;
use futures::FutureExt as _;
use hermesh_runtime::http2::{CallError, Closed, Connection, connect};
use hermesh_runtime::server::{DrainHandle, Router, ServeOptions, drain, serve_connection};
use hermesh_runtime::{Runtime, os};
use http_body_util::BodyExt as _;
use tokio::io::AsyncWriteExt as _;
use tonic::Code;

/// A connection to a server that takes one call at a time, and what tells the server to finish.
async fn one_at_a_time(rt: &Runtime) -> (TestService, Connection, Closed, DrainHandle) {
    let service = TestService::default();
    let router = Router::new().add_service(service.clone());
    let mut listener = rt.listen(loopback()).await.unwrap();
    let (to, runtime, (handle, told)) = (listener.local_address(), rt.clone(), drain());
    rt.spawn("server", async move {
        let stream = listener.accept().await.unwrap();
        let options = ServeOptions { max_concurrent_streams: Some(1), ..ServeOptions::default() };
        serve_connection(&runtime, stream, None, &options, router, told).await.unwrap();
    });
    let (connection, closed) = connect(rt, to, &options()).await.unwrap();
    (service, connection, closed, handle)
}

/// Has a call begin that lasts until the gate opens.
async fn hold_the_place(rt: &Runtime, service: &TestService, connection: &Connection) {
    let holder = call(Direct(connection.clone()), "/test.Test/Wait", "first");
    rt.spawn("holder", async { drop(holder.await) });
    soon(service.waiting.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn who_gives_up_waiting_for_a_place_is_never_sent() {
    let rt = os::runtime();
    let (service, connection, _closed, handle) = one_at_a_time(&rt).await;
    hold_the_place(&rt, &service, &connection).await;
    let mut waits = Box::pin(call(Direct(connection.clone()), "/test.Test/Wait", "second"));
    assert!((&mut waits).now_or_never().is_none());
    drop(waits);
    service.gate.add_permits(1);
    let third = call(Direct(connection.clone()), "/test.Test/Echo", "third");
    assert_eq!(soon(third).await.unwrap(), "third");
    assert!(service.waiting.try_acquire().is_err(), "the second call has come");
    handle.drain();
    soon(handle.finished()).await;
}

#[tokio::test]
async fn who_waits_for_a_place_when_the_server_finishes_goes_elsewhere_at_once() {
    let rt = os::runtime();
    let (service, connection, _closed, handle) = one_at_a_time(&rt).await;
    hold_the_place(&rt, &service, &connection).await;
    let mut waits = Box::pin(connection.call(echo_request("/test.Test/Echo")));
    assert!((&mut waits).now_or_never().is_none());
    handle.drain();
    let error = soon(waits).await.unwrap_err();
    assert!(matches!(error, CallError::Unsent { .. }), "{error:?}");
}

#[tokio::test]
async fn headers_of_a_connection_of_http1_go_no_further() {
    let rt = os::runtime();
    let (_service, server) = running(&rt).await;
    let (connection, _closed) = connect(&rt, server.address.clone(), &options()).await.unwrap();
    for (name, value) in [("connection", "close"), ("upgrade", "h2c"), ("keep-alive", "5"), ("te", "gzip")] {
        let mut request = echo_request("/test.Test/Nobody");
        request.headers_mut().insert(name, value.parse().unwrap());
        let response = soon(connection.call(request)).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(response.status(), 200);
    }
}

#[tokio::test]
async fn the_end_of_a_response_needs_no_window() {
    let rt = os::runtime();
    let (_service, server) = running(&rt).await;
    let stream = rt.connect(server.address.clone()).await.unwrap();
    let message = Bytes::from_static(&[0, 0, 0, 0, 4, 0x0a, 2, b'h', b'i']);
    // All of the response's message, and not a byte more.
    let window = message.len().try_into().unwrap();
    let (mut client, connection) =
        h2::client::Builder::new().initial_window_size(window).handshake(stream).await.unwrap();
    rt.spawn("client", async { drop(connection.await) });
    let request = echo_request("/test.Test/Echo").map(drop);
    let (response, mut body) = client.send_request(request, false).unwrap();
    body.send_data(message.clone(), true).unwrap();
    let mut response = soon(response).await.unwrap().into_body();
    assert_eq!(soon(response.data()).await.unwrap().unwrap(), message);
    let trailers = soon(response.trailers()).await.unwrap().expect("the status of the call");
    assert_eq!(trailers["grpc-status"], "0");
}

/// A link that is slower than the patience of its callers: all they get comes after they have gone.
#[tokio::test]
async fn answers_to_calls_that_were_given_up_do_no_harm_however_many() {
    let rt = os::runtime();
    let (mut server, client) = by_hand(&rt, options()).await;
    server.write_all(SETTINGS).await.unwrap();
    let (connection, _closed) = soon(client).await.unwrap();
    // A head that says `:status: 200`.
    let head = |stream: u32, flags: u8| [&[0, 0, 1, 1, flags][..], &stream.to_be_bytes(), &[0x88]].concat();
    let calls = 1500;
    for stream in (1..).step_by(2).take(calls) {
        let mut call = Box::pin(connection.call(echo_request("/late")));
        begun(&mut server, stream, &mut call).await;
        drop(call);
        server.write_all(&head(stream, 4)).await.unwrap();
    }
    let mut last = Box::pin(connection.call(echo_request("/in/time")));
    let stream = 2 * u32::try_from(calls).unwrap() + 1;
    begun(&mut server, stream, &mut last).await;
    server.write_all(&head(stream, 5)).await.unwrap();
    assert_eq!(soon(last).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_stream_that_is_cancelled_after_its_head_fails_so() {
    let rt = os::runtime();
    let (mut server, client) = by_hand(&rt, options()).await;
    server.write_all(SETTINGS).await.unwrap();
    let (connection, _closed) = soon(client).await.unwrap();
    let mut call = Box::pin(connection.call(echo_request("/half")));
    begun(&mut server, 1, &mut call).await;
    let head = [0, 0, 1, 1, 4, 0, 0, 0, 1, 0x88];
    // RST_STREAM, CANCEL.
    let cancel = [0, 0, 4, 3, 0, 0, 0, 0, 1, 0, 0, 0, 8];
    server.write_all(&head).await.unwrap();
    let body = soon(call).await.unwrap().into_body();
    server.write_all(&cancel).await.unwrap();
    let status = soon(body.collect()).await.map(drop).unwrap_err();
    assert_eq!(
        (status.code(), status.message()),
        (Code::Cancelled, "stream terminated by RST_STREAM with error code: CANCEL")
    );
}
