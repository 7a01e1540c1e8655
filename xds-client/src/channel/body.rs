//! Bodies: requests kept for another attempt, responses watched to their end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame};
use tonic::body::Body;
use tonic::{Code, Status};

use super::call::Outcome;
use crate::cause::Cause;

/// How much of a request may be kept for another attempt, as grpc-go's default.
const RETRY_BUFFER_BYTES: usize = 256 * 1024;

/// A request's body before the first attempt.
pub(super) enum Payload {
    /// Complete and small: every attempt sends it.
    Kept(VecDeque<Bytes>),
    /// To be sent once.
    Once(Option<Body>),
}

impl Payload {
    /// Keeps `body` if all of it is there already and within the limit: a unary request, or a stream whose messages
    /// were all at hand. Waits for nothing.
    pub(super) fn keep(mut body: Body) -> Self {
        let mut frames = VecDeque::new();
        let mut size = 0;
        let mut context = Context::from_waker(Waker::noop());
        let rest = loop {
            match Pin::new(&mut body).poll_frame(&mut context) {
                Poll::Ready(None) => return Self::Kept(frames),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => {
                        size += data.remaining();
                        frames.push_back(data);
                        if size > RETRY_BUFFER_BYTES {
                            break Next::More(body);
                        }
                    }
                    Err(trailers) => break Next::Frame(Ok(trailers), body),
                },
                Poll::Ready(Some(Err(status))) => break Next::Frame(Err(status), body),
                Poll::Pending => break Next::More(body),
            }
        };
        Self::Once(Some(Body::new(Resumed { frames, next: Some(rest) })))
    }

    /// The body for an attempt; `None` if it was sent and not kept.
    pub(super) fn take(&mut self) -> Option<Body> {
        match self {
            Self::Kept(frames) => Some(Body::new(Resumed { frames: frames.clone(), next: None })),
            Self::Once(body) => body.take(),
        }
    }

    /// Takes the body back of a request that never left.
    pub(super) fn put_back(&mut self, unsent: Body) {
        if let Self::Once(body) = self {
            *body = Some(unsent);
        }
    }

    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

/// Frames read ahead, then what comes after them.
struct Resumed {
    frames: VecDeque<Bytes>,
    next: Option<Next>,
}

enum Next {
    More(Body),
    Frame(Result<Frame<Bytes>, Status>, Body),
}

impl http_body::Body for Resumed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(data) = self.frames.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.next.take() {
            None => Poll::Ready(None),
            Some(Next::Frame(frame, body)) => {
                self.next = Some(Next::More(body));
                Poll::Ready(Some(frame))
            }
            Some(Next::More(mut body)) => {
                let polled = Pin::new(&mut body).poll_frame(context);
                self.next = Some(Next::More(body));
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
            && match &self.next {
                None => true,
                Some(Next::More(body)) => body.is_end_stream(),
                Some(Next::Frame(..)) => false,
            }
    }
}

/// A response's body that reports how the RPC ended: by its trailers, its error, or being dropped before.
pub(super) struct Watched {
    pub(super) body: Body,
    pub(super) outcome: Outcome,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map) {
                    this.outcome.finish(status.code(), status.message(), Cause::of_answer(status.code()), None);
                }
            }
            Poll::Ready(Some(Err(status))) => {
                let cause = match status.code() {
                    Code::DeadlineExceeded => Cause::Deadline,
                    Code::Unavailable => Cause::ConnectionLost,
                    _ => Cause::Application,
                };
                this.outcome.finish(status.code(), status.message(), Some(cause), None);
            }
            Poll::Ready(None) => {
                let message = "server closed the stream without sending trailers";
                this.outcome.finish(Code::Internal, message, Some(Cause::Application), None);
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    fn body(frames: impl IntoIterator<Item = Bytes>) -> Body {
        let frames: Vec<_> = frames.into_iter().map(|data| Ok::<_, Status>(Frame::data(data))).collect();
        Body::new(StreamBody::new(futures::stream::iter(frames)))
    }

    fn read(body: Body) -> Bytes {
        body.collect().now_or_never().expect("all frames are at hand").unwrap().to_bytes()
    }

    #[test]
    fn a_unary_request_can_be_sent_again_and_again() {
        let mut payload = Payload::keep(body([Bytes::from_static(b"head"), Bytes::from_static(b"body")]));
        assert!(payload.is_kept());
        for _ in 0..3 {
            assert_eq!(read(payload.take().unwrap()), "headbody");
        }
    }

    #[test]
    fn a_large_request_is_sent_whole_but_once() {
        let big = Bytes::from(vec![7; RETRY_BUFFER_BYTES]);
        let mut payload = Payload::keep(body([big.clone(), Bytes::from_static(b"!"), big.clone()]));
        assert!(!payload.is_kept());
        assert_eq!(read(payload.take().unwrap()).len(), 2 * RETRY_BUFFER_BYTES + 1);
        assert!(payload.take().is_none());
    }

    #[tokio::test]
    async fn a_request_stream_that_is_still_being_written_is_sent_once_and_whole() {
        let (write, read) = mpsc::unbounded_channel::<Result<Frame<Bytes>, Status>>();
        write.send(Ok(Frame::data(Bytes::from_static(b"a")))).unwrap();
        let stream = futures::stream::unfold(read, |mut read| async { read.recv().await.map(|item| (item, read)) });
        let mut payload = Payload::keep(Body::new(StreamBody::new(Box::pin(stream))));
        assert!(!payload.is_kept());
        write.send(Ok(Frame::data(Bytes::from_static(b"b")))).unwrap();
        drop(write);
        let body = payload.take().unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(body, "ab");
    }
}
