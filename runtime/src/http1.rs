//! A little HTTP for probes and status ports: HTTP/1.1 at both ends, and HTTP/2 with prior knowledge at the server's.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::header::{CONNECTION, HOST};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tonic::body::Body;

use crate::http2::{self, ServeSettings};
use crate::server::{Acceptor, Calls, ConnectionInfo, Preface, Replayed, drain, read_preface};
use crate::{Listener, Runtime, Stream};

mod patient;

use patient::Patient;

/// Longer bodies are refused; probes and status pages are small.
const MAX_BODY_BYTES: usize = 16 << 20;

/// How long a server waits for a client: for its first bytes, for the head of each request, for its body, and until it
/// has taken the answer.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A response with all of its body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HttpResponse {
    /// Such as 200.
    pub status: StatusCode,
    /// All headers.
    pub headers: HeaderMap,
    /// All of the body.
    pub body: Bytes,
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// No connection.
    #[error("dial tcp {to}: connect: {error}")]
    Connect {
        /// Whom we wanted.
        to: SocketAddr,
        /// Such as `connection refused`.
        error: String,
    },
    /// The response was not complete in time.
    #[error("no complete answer from {to} within {timeout:?}")]
    Timeout {
        /// Whom we asked.
        to: SocketAddr,
        /// How long we waited.
        timeout: Duration,
    },
    /// The connection broke, or the peer speaks something else.
    #[error("request to {to}: {error}")]
    Exchange {
        /// Whom we asked.
        to: SocketAddr,
        /// What happened.
        error: String,
    },
    /// The request cannot be written.
    #[error("request for host `{host}` and path `{path}` is malformed: {error}")]
    Request {
        /// The host asked for.
        host: String,
        /// The path asked for.
        path: String,
        /// What is wrong with it.
        error: String,
    },
}

/// Sends `GET path` on a connection of its own.
///
/// # Errors
/// If there is no complete response within `timeout`. A status such as 503 is no error.
pub async fn get(
    rt: &Runtime,
    to: SocketAddr,
    host: &str,
    path: &str,
    timeout: Duration,
) -> Result<HttpResponse, HttpError> {
    let request = Request::get(path).header(HOST, host).body(Bytes::new());
    let malformed = |error: http::Error| HttpError::Request {
        host: host.to_owned(),
        path: path.to_owned(),
        error: error.to_string(),
    };
    send(rt, to, request.map_err(malformed)?, timeout).await
}

/// Sends any request on a connection of its own. `Host` is `to` unless the request says otherwise.
///
/// # Errors
/// If there is no complete response within `timeout`.
pub async fn send(
    rt: &Runtime,
    to: SocketAddr,
    mut request: Request<Bytes>,
    timeout: Duration,
) -> Result<HttpResponse, HttpError> {
    if !request.headers().contains_key(HOST) {
        let host = HeaderValue::try_from(to.to_string()).expect("an address makes a header value");
        request.headers_mut().insert(HOST, host);
    }
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let exchange = async {
        let stream = rt.connect(to.into()).await;
        let stream = stream.map_err(|error| HttpError::Connect { to, error: crate::net::describe_io(&error) })?;
        exchange(stream, request.map(Full::new)).await.map_err(|error| HttpError::Exchange { to, error })
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or(Err(HttpError::Timeout { to, timeout }))
}

async fn exchange(stream: Box<dyn Stream>, request: Request<Full<Bytes>>) -> Result<HttpResponse, String> {
    let text = |error: hyper::Error| crate::http2::failure_text(&error);
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let response = async {
        let (head, body) = send.send_request(request).await.map_err(text)?.into_parts();
        let body = Limited::new(body, MAX_BODY_BYTES).collect().await.map_err(|error| error.to_string())?;
        Ok(HttpResponse { status: head.status, headers: head.headers, body: body.to_bytes() })
    };
    let drive = async {
        // Its error is the response's as well.
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        biased;
        response = response => response,
        never = drive => never,
    }
}

/// Answers requests by `handler`: HTTP/1.1, and HTTP/2 of clients that know beforehand. Among a request's extensions is
/// the [`ConnectionInfo`] of the connection that it came on. It ends when the listener fails; connections live on until
/// their clients close them or are silent for longer than [`PATIENCE`].
///
/// # Errors
/// If the listener fails for good; see [`Acceptor`].
pub async fn serve<H, F>(rt: &Runtime, listener: Box<dyn Listener>, handler: H) -> io::Result<()>
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let mut acceptor = Acceptor::new(rt, listener);
    loop {
        let stream = acceptor.accept().await?;
        let (runtime, handler) = (rt.clone(), handler.clone());
        rt.spawn("http connection", async move { serve_connection(&runtime, stream, handler).await });
    }
}

async fn serve_connection<H, F>(rt: &Runtime, mut stream: Box<dyn Stream>, handler: H)
where
    H: Fn(Request<Bytes>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let info = ConnectionInfo::plain(&*stream);
    // A client that connects and says nothing is a port probe.
    let Ok(Ok((preface, head))) = tokio::time::timeout(PATIENCE, read_preface(&mut stream)).await else { return };
    let stream = Replayed::new(head, stream);
    let calls = Calls::new();
    let answer = |mut request: Request<Body>| {
        let (handler, call) = (handler.clone(), calls.begin());
        request.extensions_mut().insert(info.clone());
        async move {
            let response = answer(request, handler).await.map(Full::new);
            drop(call);
            response
        }
    };
    match preface {
        Preface::Http2 => {
            let (handle, told) = drain();
            let served = http2::serve(rt, stream, ServeSettings::default(), told.wait(), answer);
            let idle = async {
                calls.idle_for(PATIENCE).await;
                handle.drain();
                // Who takes no notice of GOAWAY has had its answers.
                tokio::time::sleep(PATIENCE).await;
            };
            tokio::select! {
                biased;
                // How a connection ends is for its client to judge.
                _ended = served => {}
                () = idle => {}
            }
        }
        Preface::Tls | Preface::Other => {
            let service =
                service_fn(|request: Request<Incoming>| answer(request.map(Body::new)).map(Ok::<_, Infallible>));
            let mut builder = http1::Builder::new();
            // This bounds the time between requests, too.
            builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).auto_date_header(false);
            let stream = Patient::new(stream, PATIENCE);
            let _ended = builder.serve_connection(TokioIo::new(stream), service).await;
        }
    }
}

async fn answer<H, F>(request: Request<Body>, handler: H) -> Response<Bytes>
where
    H: Fn(Request<Bytes>) -> F,
    F: Future<Output = Response<Bytes>>,
{
    let (head, body) = request.into_parts();
    let refusal = match tokio::time::timeout(PATIENCE, Limited::new(body, MAX_BODY_BYTES).collect()).await {
        Ok(Ok(body)) => return handler(Request::from_parts(head, body.to_bytes())).await,
        Ok(Err(error)) if error.is::<LengthLimitError>() => StatusCode::PAYLOAD_TOO_LARGE,
        Ok(Err(_)) => StatusCode::BAD_REQUEST,
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    };
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = refusal;
    response
}
