//! Probes and status ports.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{loopback, nobody};
use bytes::Bytes;
use hermesh_runtime::http1::{HttpError, get, send, serve};
use hermesh_runtime::http2::{ConnectOptions, connect};
use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::{Runtime, os};
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;

const SECOND: Duration = Duration::from_secs(1);

async fn status_port(rt: &Runtime) -> SocketAddr {
    let listener = rt.listen(loopback()).await.unwrap();
    let address = listener.local_address().tcp().unwrap();
    let runtime = rt.clone();
    rt.spawn("status port", async move {
        let handler = |request: Request<Bytes>| async move {
            let status = match request.uri().path() {
                "/ready" => StatusCode::OK,
                "/never" => std::future::pending().await,
                _ => StatusCode::SERVICE_UNAVAILABLE,
            };
            let host = request.headers().get(HOST).map(|host| host.to_str().unwrap()).unwrap_or_default();
            let body = format!("{} {host} {}", request.method(), String::from_utf8_lossy(request.body()));
            Response::builder().status(status).body(body.into()).unwrap()
        };
        serve(&runtime, listener, handler).await.unwrap();
    });
    address
}

#[tokio::test]
async fn a_probe_gets_status_headers_and_body() {
    let rt = os::runtime();
    let to = status_port(&rt).await;
    let response = get(&rt, to, "web", "/ready", SECOND).await.unwrap();
    assert_eq!((response.status, &response.body[..]), (StatusCode::OK, &b"GET web "[..]));
    assert!(!response.headers.contains_key("date"), "{:?}", response.headers);
    assert_eq!(get(&rt, to, "web", "/other", SECOND).await.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn any_request_can_be_sent() {
    let rt = os::runtime();
    let to = status_port(&rt).await;
    let request = Request::post("/ready").body(Bytes::from_static(b"quit")).unwrap();
    assert_eq!(send(&rt, to, request, SECOND).await.unwrap().body, format!("POST {to} quit"));
}

#[tokio::test]
async fn what_goes_wrong_has_its_own_error() {
    let rt = os::runtime();
    let nobody = nobody().tcp().unwrap();
    let error = get(&rt, nobody, "web", "/", SECOND).await.unwrap_err();
    assert_eq!(error.to_string(), format!("dial tcp {nobody}: connect: connection refused"));

    let to = status_port(&rt).await;
    let error = get(&rt, to, "web", "/never", Duration::from_millis(50)).await.unwrap_err();
    assert!(matches!(error, HttpError::Timeout { .. }), "{error}");
    let error = get(&rt, to, "web", "/ready now", SECOND).await.unwrap_err();
    assert!(matches!(error, HttpError::Request { .. }), "{error}");
}

#[tokio::test]
async fn a_peer_that_hangs_up_is_an_error_of_the_exchange() {
    let rt = os::runtime();
    let mut listener = rt.listen(loopback()).await.unwrap();
    let to = listener.local_address().tcp().unwrap();
    let hang_up = async { drop(listener.accept().await.unwrap()) };
    let (error, ()) = tokio::join!(get(&rt, to, "web", "/", SECOND), hang_up);
    assert!(matches!(error, Err(HttpError::Exchange { .. })), "{error:?}");
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_served_as_well() {
    let rt = os::runtime();
    let to = status_port(&rt).await;
    let (connection, _closed) = connect(&rt, to.into(), &ConnectOptions::default()).await.unwrap();
    let request = Request::get(format!("http://{to}/ready")).body(tonic::body::Body::empty()).unwrap();
    let response = connection.call(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key("date"));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "GET  ");
}

#[tokio::test]
async fn a_handler_is_told_the_connection() {
    let rt = os::runtime();
    let listener = rt.listen(loopback()).await.unwrap();
    let to = listener.local_address().tcp().unwrap();
    let runtime = rt.clone();
    rt.spawn("http port", async move {
        let handler = |request: Request<Bytes>| {
            let info = request.extensions().get::<ConnectionInfo>().expect("the server inserts it");
            std::future::ready(Response::new(format!("{} to {}", info.peer.tcp().unwrap().ip(), info.local).into()))
        };
        serve(&runtime, listener, handler).await.unwrap();
    });
    assert_eq!(get(&rt, to, "web", "/", SECOND).await.unwrap().body, format!("127.0.0.1 to {to}"));
}
