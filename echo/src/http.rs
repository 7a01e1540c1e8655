//! The HTTP ports: `503` until every endpoint is up, then what the server saw of the request. Pods point their
//! readiness probes here.

use bytes::Bytes;
use hermesh_runtime::server::ConnectionInfo;
use http::{Request, Response, StatusCode, Version, header};

use crate::metrics::Protocol;
use crate::readiness::Readiness;
use crate::reply::{self, HttpRequest};
use crate::service::Shared;

/// Answers a request on an HTTP port.
pub(crate) fn answer(shared: &Shared, readiness: &Readiness, port: u16, request: &Request<Bytes>) -> Response<Bytes> {
    shared.activity.note();
    shared.metrics.count(Protocol::Http, port);
    if !readiness.is_ready() {
        return respond(StatusCode::SERVICE_UNAVAILABLE, String::new());
    }
    let peer = request.extensions().get::<ConnectionInfo>().and_then(|connection| connection.peer.tcp());
    let host = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    let seen = HttpRequest {
        method: request.method().as_str(),
        url: request.uri().path_and_query().map_or("/", |path| path.as_str()),
        proto: match request.version() {
            Version::HTTP_2 => "HTTP/2.0",
            Version::HTTP_10 => "HTTP/1.0",
            _ => "HTTP/1.1",
        },
        host: host.or(authority).unwrap_or_default(),
    };
    let headers = request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
    let body = reply::http(&shared.about, port, peer.map(|peer| peer.ip()), seen, headers.collect());
    respond(StatusCode::OK, body)
}

/// Answers a request on the metrics port.
pub(crate) fn metrics(shared: &Shared, request: &Request<Bytes>) -> Response<Bytes> {
    match request.uri().path() {
        "/metrics" => respond(StatusCode::OK, shared.metrics.text()),
        _ => respond(StatusCode::NOT_FOUND, String::new()),
    }
}

fn respond(status: StatusCode, body: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/plain"));
    response
}
