//! Streams as bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::Frame;
use tonic::Status;

/// What the peer sends on a stream. Dropping it before its end says that the rest is not wanted.
pub(crate) struct Received<F, G> {
    stream: RecvStream,
    /// Whether only trailers can come.
    data_is_over: bool,
    /// What an error means to who reads.
    status: F,
    /// Lives as long as the body.
    _guard: G,
}

impl<F, G> Received<F, G> {
    pub(crate) fn new(stream: RecvStream, status: F, guard: G) -> Self {
        Self { stream, data_is_over: false, status, _guard: guard }
    }
}

impl<F: Fn(&h2::Error) -> Status + Unpin, G: Unpin> http_body::Body for Received<F, G> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.data_is_over {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Whoever reads has taken it: the peer may send as much again. That fails on streams that ended.
                    let _ = self.stream.flow_control().release_capacity(data.len());
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(self.failure(&error)),
                None => self.data_is_over = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => self.failure(&error),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}

impl<F: Fn(&h2::Error) -> Status, G> Received<F, G> {
    /// RFC 9113, 8.1: a server that has answered may ask the client to stop sending by a reset without error.
    fn failure<T>(&self, error: &h2::Error) -> Option<Result<T, Status>> {
        let is_over = error.is_reset() && error.reason() == Some(Reason::NO_ERROR);
        (!is_over).then(|| Err((self.status)(error)))
    }
}
