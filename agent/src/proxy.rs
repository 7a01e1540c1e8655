//! The xDS proxy: each ADS stream of an application gets an upstream stream of its own, on a connection of its own.
//!
//! As istio-agent's, it never retries and caches nothing: when the upstream ends, so does the stream, with the same
//! status, and the application's xDS client opens another. Requests queue without bound, since bounded buffers in both
//! directions once deadlocked agent and istiod (istio#39209); responses wait for the application.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures::Stream;
use futures::future::BoxFuture;
use hermesh_runtime::codec::small_buffers;
use hermesh_runtime::server::{ConnectionInfo, Router};
use hermesh_runtime::{EventId, Runtime, TaskGuard, Trail};
use http::uri::PathAndQuery;
use tokio::sync::{mpsc, oneshot};
use tonic::body::Body;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, StreamingService};
use tonic::{Request, Response, Status, Streaming};

use crate::bootstrap;
use crate::forward::{self, EndClass, Streams, Variant};
use crate::health::Health;
use crate::settings::Settings;
use crate::upstream::{self, Unreached, Upstream};
use crate::{RequestForwarded, ResponseForwarded, StreamClosed, StreamOpened};

const SERVICE: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
/// What istio-agent lets an application send at once (`ISTIO_GPRC_MAXRECVMSGSIZE`).
const MAX_REQUEST_BYTES: usize = 4 << 20;

/// Serves ADS to the applications of the pod.
#[derive(Clone)]
pub(crate) struct XdsProxy {
    shared: Arc<Shared>,
}

struct Shared {
    rt: Runtime,
    settings: Arc<Settings>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    streams: Streams,
    /// Dropping one ends its stream with OK.
    open: BTreeMap<u64, oneshot::Sender<()>>,
    /// What is known of the application's health.
    health: Option<Health>,
    /// The ways to istiod of the streams that have asked for listeners: they tell of the health.
    told: BTreeMap<u64, (Variant, mpsc::UnboundedSender<Bytes>)>,
}

impl XdsProxy {
    pub(crate) fn new(rt: &Runtime, settings: &Arc<Settings>) -> Self {
        let shared = Shared { rt: rt.clone(), settings: Arc::clone(settings), state: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// What to serve on the Unix socket.
    pub(crate) fn router(&self) -> Router {
        Router::new().add_service(self.clone())
    }

    /// Takes note of the application's health, and tells istiod on all streams on which it may be told. Others are told
    /// when their time comes.
    pub(crate) fn tell_health(&self, health: Health, cause: Option<EventId>) {
        let mut state = self.shared.state();
        for (stream, (variant, upstream)) in &state.told {
            self.shared.send_health(*stream, *variant, &health, upstream, cause);
        }
        state.health = Some(health);
    }

    /// Ends all streams.
    pub(crate) fn stop(&self) {
        self.shared.state().open.clear();
    }
}

impl NamedService for XdsProxy {
    const NAME: &'static str = SERVICE;
}

impl tower_service::Service<http::Request<Body>> for XdsProxy {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let variant = [Variant::StateOfTheWorld, Variant::Delta].into_iter().find(|variant| variant.method() == method);
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let Some(variant) = variant else { return Ok(Status::unimplemented("unknown method").into_http()) };
            let mut grpc = tonic::server::Grpc::new(Raw).max_decoding_message_size(MAX_REQUEST_BYTES);
            Ok(grpc.streaming(Accept { shared, variant }, request).await)
        })
    }
}

/// Answers an application's stream at once; what goes over it comes from a task.
struct Accept {
    shared: Arc<Shared>,
    variant: Variant,
}

impl StreamingService<Bytes> for Accept {
    type Response = Bytes;
    type ResponseStream = Responses;
    type Future = BoxFuture<'static, Result<Response<Responses>, Status>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (shared, variant) = (Arc::clone(&self.shared), self.variant);
        Box::pin(async move {
            let connection = request.extensions().get::<ConnectionInfo>().cloned();
            let (cause, trail) = connection.map(|connection| (connection.event, connection.trail)).unwrap_or_default();
            let (responses_tx, responses) = mpsc::channel(1);
            let rt = shared.rt.clone();
            let (stream, closed) = shared.open();
            let opened = rt.emit_because(cause, StreamOpened { stream, method: variant.method() });
            trail.set_told(opened);
            let stream = OpenStream { shared, stream, variant, opened, trail, ended: false };
            let task = rt.spawn("ads-stream", stream.run(request.into_inner(), responses_tx, closed));
            Ok(Response::new(Responses { responses, _task: task.abort_on_drop() }))
        })
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is known of the application's health, as one of the requests of a stream.
    fn send_health(
        &self,
        stream: u64,
        variant: Variant,
        health: &Health,
        upstream: &mpsc::UnboundedSender<Bytes>,
        cause: Option<EventId>,
    ) {
        let message = forward::health_request(variant, health);
        let forward::Head { type_url, version, nonce, error } = forward::request_head(variant, &message);
        let sent = forward::health_name(&bootstrap::node_id(&self.settings));
        let event = self.rt.emit_because(cause, RequestForwarded { stream, type_url, version, nonce, error });
        self.rt.sent(&sent, event.or(cause));
        // A stream that is ending tells nobody; the next one does.
        let _ = upstream.send(message);
    }

    fn open(&self) -> (u64, oneshot::Receiver<()>) {
        let (close_tx, closed) = oneshot::channel();
        let mut state = self.state();
        let (stream, replaced) = state.streams.open(self.settings.profile);
        for replaced in replaced {
            state.open.remove(&replaced);
        }
        state.open.insert(stream, close_tx);
        (stream, closed)
    }
}

/// One stream while it lives. Dropping it closes the books, however it ends.
struct OpenStream {
    shared: Arc<Shared>,
    stream: u64,
    variant: Variant,
    opened: Option<EventId>,
    /// Of the application's connection.
    trail: Trail,
    ended: bool,
}

impl OpenStream {
    async fn run(
        mut self,
        requests: Streaming<Bytes>,
        responses: mpsc::Sender<Result<Bytes, Status>>,
        closed: oneshot::Receiver<()>,
    ) {
        let outcome = tokio::select! {
            biased;
            _ = closed => Ok(()),
            () = responses.closed() => Err(Status::cancelled("the application closed the stream").into()),
            outcome = self.forward(requests, &responses) => outcome,
        };
        let Ended { status, cause } = outcome.err().unwrap_or_else(|| Status::ok("").into());
        self.end(&status, cause);
        if status.code() != tonic::Code::Ok {
            // Nobody hears it if the application is gone.
            let _ = responses.send(Err(status)).await;
        }
    }

    async fn forward(
        &self,
        mut requests: Streaming<Bytes>,
        responses: &mpsc::Sender<Result<Bytes, Status>>,
    ) -> Result<(), Ended> {
        let Shared { rt, settings, .. } = &*self.shared;
        let (upstream_tx, upstream_rx) = mpsc::unbounded_channel();
        let upward = async {
            while let Some(message) = requests.message().await? {
                self.tell_request(&message);
                let wants_listeners = forward::request_head(self.variant, &message).type_url == forward::LISTENERS;
                if upstream_tx.send(message).is_err() {
                    break;
                }
                if wants_listeners {
                    self.begin_to_tell_health(&upstream_tx);
                }
            }
            Ok::<(), Ended>(())
        };
        let downward = async {
            let client = Upstream::xds(settings).connect(rt, self.opened).await?;
            let path = format!("/{SERVICE}/{}", self.variant.method());
            let broken = |status| Ended { status, cause: client.refusal(rt, &path).or_else(|| client.trouble()) };
            let upstream = self.open_upstream(client.clone(), rt, settings, upstream_rx).await;
            let mut upstream = upstream.map_err(broken)?;
            while let Some(message) = upstream.message().await.map_err(broken)? {
                if self.tell_response(&message) && responses.send(Ok(message)).await.is_err() {
                    break;
                }
            }
            Ok::<(), Ended>(())
        };
        tokio::select! {
            biased;
            outcome = downward => outcome,
            outcome = upward => outcome,
        }
    }

    async fn open_upstream(
        &self,
        client: upstream::Client,
        rt: &Runtime,
        settings: &Settings,
        requests: mpsc::UnboundedReceiver<Bytes>,
    ) -> Result<Streaming<Bytes>, Status> {
        let mut request = Request::new(tokio_stream::wrappers::UnboundedReceiverStream::new(requests));
        upstream::credentials(rt, settings, &settings.xds_headers, self.opened, request.metadata_mut()).await;
        let mut grpc = tonic::client::Grpc::with_origin(client, Upstream::xds(settings).origin())
            .max_decoding_message_size(usize::MAX);
        grpc.ready().await?;
        let path = format!("/{SERVICE}/{}", self.variant.method());
        let path = PathAndQuery::try_from(path).expect("service and method are letters and dots");
        grpc.streaming(request, path, Raw).await.map(Response::into_inner)
    }

    /// From its first request for listeners on a stream tells istiod of the application's health.
    fn begin_to_tell_health(&self, upstream: &mpsc::UnboundedSender<Bytes>) {
        if self.shared.settings.proxy.readiness_probe.is_none() {
            return;
        }
        let mut state = self.shared.state();
        if state.told.contains_key(&self.stream) {
            return;
        }
        state.told.insert(self.stream, (self.variant, upstream.clone()));
        if let Some(health) = &state.health {
            self.shared.send_health(self.stream, self.variant, health, upstream, self.opened);
        }
    }

    fn tell_request(&self, message: &Bytes) {
        let rt = &self.shared.rt;
        if rt.records(hermesh_runtime::Level::Debug) {
            let head = forward::request_head(self.variant, message);
            let forward::Head { type_url, version, nonce, error } = head;
            let event = RequestForwarded { stream: self.stream, type_url, version, nonce, error };
            rt.emit_because(self.opened, event);
        }
    }

    /// Whether the response is for the application.
    fn tell_response(&self, message: &Bytes) -> bool {
        let forward::Head { type_url, version, nonce, .. } = forward::response_head(message);
        let forwarded = forward::is_forwarded(&type_url);
        let rt = &self.shared.rt;
        let sent = rt.received(&nonce);
        let event = ResponseForwarded { stream: self.stream, type_url, version, nonce: nonce.clone(), forwarded };
        let event = rt.emit_because(sent.or(self.opened), event).or(sent);
        if forwarded {
            rt.sent(&nonce, event);
        }
        forwarded
    }

    /// `cause` is the event of what broke the upstream.
    fn end(&mut self, status: &Status, cause: Option<EventId>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        {
            let mut state = self.shared.state();
            state.streams.close(self.stream);
            state.open.remove(&self.stream);
            state.told.remove(&self.stream);
        }
        let event = StreamClosed {
            stream: self.stream,
            code: format!("{:?}", status.code()),
            message: status.message().to_owned(),
            class: EndClass::of(status),
        };
        let event = self.shared.rt.emit_because(cause.or(self.opened), event);
        self.trail.set_told(event.or(cause));
    }
}

/// How a stream ended, and the event of what broke the upstream if that did.
struct Ended {
    status: Status,
    cause: Option<EventId>,
}

impl From<Status> for Ended {
    fn from(status: Status) -> Self {
        Self { status, cause: None }
    }
}

impl From<Unreached> for Ended {
    fn from(Unreached { status, event }: Unreached) -> Self {
        Self { status, cause: event }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.end(&Status::cancelled("the application closed the stream"), None);
    }
}

/// The responses of one stream; dropping it ends the task behind it.
struct Responses {
    responses: mpsc::Receiver<Result<Bytes, Status>>,
    _task: TaskGuard,
}

impl Stream for Responses {
    type Item = Result<Bytes, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.responses.poll_recv(cx)
    }
}

/// Messages as the bytes they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        small_buffers()
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let length = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(length)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        small_buffers()
    }
}
