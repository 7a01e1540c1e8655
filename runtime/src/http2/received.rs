//! Streams as bodies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::Frame;
use tonic::Status;

/// What the peer sends on a stream.
pub(crate) struct Received<F, G> {
    stream: RecvStream,
    /// Whether only trailers can come.
    data_is_over: bool,
    /// What an error means to who reads; `None` if it is as good as the end.
    status: F,
    /// Lives as long as the body.
    _guard: G,
}

impl<F, G> Received<F, G> {
    pub(crate) fn new(stream: RecvStream, status: F, guard: G) -> Self {
        Self { stream, data_is_over: false, status, _guard: guard }
    }
}

impl<F: Fn(&h2::Error) -> Option<Status> + Unpin, G: Unpin> http_body::Body for Received<F, G> {
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
                Some(Err(error)) => return Poll::Ready((self.status)(&error).map(Err)),
                None => self.data_is_over = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => (self.status)(&error).map(Err),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
