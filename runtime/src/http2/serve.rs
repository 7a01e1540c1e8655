//! The server's end of a connection: streams to a service and back.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Poll, ready};

use bytes::Bytes;
use h2::Reason;
use h2::server::{Builder, SendResponse};
use http::header::CONTENT_LENGTH;
use http::{Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::io::InspectReader;
use tonic::Status;
use tonic::body::Body;

use super::headers::strip_connection_headers;
use super::keepalive::{Heard, Keepalive, Pinger, UNANSWERED};
use super::pump::Pump;
use super::received::Received;
use super::{MAX_HEADER_LIST_SIZE, REMEMBER_RESET_STREAMS, failure};
use crate::Runtime;

/// How much clients may send ahead, on a stream and on all of them.
const WINDOW: u32 = 1 << 20;

/// How much of a stream waits to be sent before whoever writes has to wait.
const SEND_BUFFER: usize = 400 << 10;

/// How many calls may have come and be cancelled before anybody looks at them. What waited for a link to come back can
/// be seconds of traffic whose callers have given up; a client that floods the server with nothing else is cut off.
const UNSEEN_STREAMS: usize = 4096;

/// What the server's end needs to know.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ServeSettings {
    pub(crate) keepalive: Option<Keepalive>,
    pub(crate) max_concurrent_streams: Option<u32>,
}

/// Has `answer` answer the requests of a connection, each in a task of its own, until the client closes it; or, once
/// `finish` is over, until the calls in flight are.
///
/// A call whose stream the client resets is dropped.
///
/// # Errors
/// If the connection breaks, says how.
pub(crate) async fn serve<S, F, B>(
    rt: &Runtime,
    stream: S,
    settings: ServeSettings,
    finish: impl Future<Output = ()>,
    mut answer: impl FnMut(Request<Body>) -> F,
) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<B>> + Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let heard = settings.keepalive.map(|_| Heard::now());
    let hear = heard.clone();
    let stream = InspectReader::new(stream, move |_: &[u8]| hear.iter().for_each(Heard::again));
    let text = |error: h2::Error| failure::text(&error);
    let mut connection = builder(settings).handshake::<_, Bytes>(stream).await.map_err(text)?;
    let mut pinger = settings.keepalive.zip(heard).map(|(keepalive, heard)| {
        let pings = connection.ping_pong().expect("asked for once");
        Pinger::new(Keepalive { while_idle: true, ..keepalive }, pings, heard)
    });
    let mut finish = pin!(finish);
    let mut finishing = false;
    poll_fn(|cx| {
        if let Some(pinger) = &mut pinger
            && pinger.poll_lost(cx, true).is_ready()
        {
            return Poll::Ready(Err(UNANSWERED.to_owned()));
        }
        loop {
            match connection.poll_accept(cx) {
                Poll::Ready(Some(accepted)) => {
                    let (request, reply) = accepted.map_err(text)?;
                    let request = request.map(|body| Body::new(Received::new(body, cancelled, ())));
                    let call = answer(request);
                    rt.spawn("http2", respond(call, reply));
                }
                Poll::Ready(None) => return Poll::Ready(Ok(())),
                Poll::Pending if !finishing && finish.as_mut().poll(cx).is_ready() => {
                    finishing = true;
                    connection.graceful_shutdown();
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await
}

fn builder(settings: ServeSettings) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(MAX_HEADER_LIST_SIZE)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(UNSEEN_STREAMS)
        // Frames that come late for a stream that h2 has forgotten are no attack.
        .max_local_error_reset_streams(None)
        .reset_stream_duration(REMEMBER_RESET_STREAMS);
    if let Some(max) = settings.max_concurrent_streams {
        builder.max_concurrent_streams(max);
    }
    builder
}

/// To a server, a stream that broke is a call that was cancelled, whatever broke it.
fn cancelled(error: &h2::Error) -> Option<Status> {
    Some(Status::cancelled(failure::text(error)))
}

async fn respond<B>(call: impl Future<Output = Response<B>>, mut reply: SendResponse<Bytes>)
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let response = {
        let mut call = pin!(call);
        poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Ready(response) => Poll::Ready(Some(response)),
            Poll::Pending => {
                let _reset = ready!(reply.poll_reset(cx));
                Poll::Ready(None)
            }
        })
        .await
    };
    let Some(response) = response else { return };
    let (mut head, body) = response.into_parts();
    strip_connection_headers(&mut head.headers);
    let is_last = body.is_end_stream();
    if let Some(length) = body.size_hint().exact().filter(|_| !is_last) {
        head.headers.entry(CONTENT_LENGTH).or_insert(length.into());
    }
    match reply.send_response(Response::from_parts(head, ()), is_last) {
        Ok(stream) if !is_last => Pump::new(body, stream).await,
        Ok(_) => {}
        // The client has reset the stream, or the response is not fit for HTTP/2.
        Err(_) => reply.send_reset(Reason::INTERNAL_ERROR),
    }
}
