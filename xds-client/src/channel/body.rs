//! Bodies: requests kept for another attempt, responses watched to their end.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use http_body::{Body as _, Frame};
use tonic::body::Body;
use tonic::{Code, Status};

use super::call::Outcome;
use crate::cause::Cause;

/// How much of a request may be kept for another attempt, as grpc-go's default.
const RETRY_BUFFER_BYTES: usize = 256 * 1024;

/// A request's body, of which attempts send what is kept and then what comes (gRFC A6).
pub(super) struct Payload(Arc<Mutex<Source>>);

struct Source {
    /// What was read: all of it while it is kept, else what the attempt has still to send.
    frames: VecDeque<Bytes>,
    size_bytes: usize,
    /// How many of the frames the attempt has sent; 0 if they are not kept.
    sent: usize,
    is_kept: bool,
    /// Whether an attempt has taken anything that is not kept.
    is_spent: bool,
    rest: Rest,
    /// The number of the attempt that may read; those before it are over.
    attempt: u64,
}

/// What comes after the frames that were read.
enum Rest {
    More(Body),
    /// Something that is no message, then what follows.
    Frame(Result<Frame<Bytes>, Status>, Body),
    End,
}

impl Payload {
    /// Reads what of `body` is there already, as long as it may be kept. Waits for nothing.
    pub(super) fn keep(body: Body) -> Self {
        let mut source = Source {
            frames: VecDeque::new(),
            size_bytes: 0,
            sent: 0,
            is_kept: true,
            is_spent: false,
            rest: Rest::More(body),
            attempt: 0,
        };
        let mut context = Context::from_waker(Waker::noop());
        while source.is_kept && source.read(&mut context).is_ready() {
            if !matches!(source.rest, Rest::More(_)) {
                break;
            }
        }
        Self(Arc::new(Mutex::new(source)))
    }

    /// The body for an attempt; `None` if something was sent and not kept. The attempt before it sends no more.
    pub(super) fn take(&mut self) -> Option<Body> {
        let mut source = self.lock();
        if source.is_spent {
            return None;
        }
        source.attempt += 1;
        source.sent = 0;
        let attempt = Attempt { source: self.0.clone(), number: source.attempt };
        drop(source);
        Some(Body::new(attempt))
    }

    pub(super) fn is_kept(&self) -> bool {
        self.lock().is_kept
    }

    /// There will be no other attempt: what was sent need not be kept any more, nor what is to come.
    pub(super) fn commit(&self) {
        self.lock().forget();
    }

    fn lock(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// Reads one more frame; [`Self::rest`] tells if there was none.
    fn read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Rest::More(body) = &mut self.rest else { return Poll::Ready(()) };
        let frame = match Pin::new(body).poll_frame(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) => {
                self.rest = Rest::End;
                return Poll::Ready(());
            }
            Poll::Ready(Some(frame)) => frame,
        };
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                self.size_bytes += data.remaining();
                self.frames.push_back(data);
                if self.is_kept && self.size_bytes > RETRY_BUFFER_BYTES {
                    self.forget();
                }
            }
            other => {
                let Rest::More(body) = std::mem::replace(&mut self.rest, Rest::End) else {
                    unreachable!("it was read")
                };
                let frame = match other {
                    Ok(Err(frame)) => Ok(frame),
                    Err(status) => Err(status),
                    Ok(Ok(_)) => unreachable!("data was kept above"),
                };
                self.rest = Rest::Frame(frame, body);
                self.forget();
            }
        }
        Poll::Ready(())
    }

    /// Keeps only what is still to be sent.
    fn forget(&mut self) {
        self.is_spent |= self.sent > 0;
        self.frames.drain(..self.sent);
        self.sent = 0;
        self.is_kept = false;
    }

    /// The next frame that was read and is still to be sent.
    fn next(&mut self) -> Option<Bytes> {
        if self.is_kept {
            let frame = self.frames.get(self.sent)?.clone();
            self.sent += 1;
            return Some(frame);
        }
        let frame = self.frames.pop_front()?;
        self.is_spent = true;
        Some(frame)
    }
}

/// The body of one attempt.
struct Attempt {
    source: Arc<Mutex<Source>>,
    number: u64,
}

impl http_body::Body for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        if source.attempt != self.number {
            return Poll::Ready(Some(Err(Status::cancelled("another attempt has taken over"))));
        }
        loop {
            if let Some(data) = source.next() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match std::mem::replace(&mut source.rest, Rest::End) {
                Rest::End => return Poll::Ready(None),
                Rest::Frame(frame, body) => {
                    source.rest = Rest::More(body);
                    source.is_spent = true;
                    return Poll::Ready(Some(frame));
                }
                more @ Rest::More(_) => source.rest = more,
            }
            if source.read(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        source.frames.len() == source.sent
            && match &source.rest {
                Rest::End => true,
                Rest::More(body) => body.is_end_stream(),
                Rest::Frame(..) => false,
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
                    let cause = Cause::of_answer(status.code(), status.message());
                    this.outcome.finish(status.code(), status.message(), cause, None);
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

    type Write = mpsc::UnboundedSender<Result<Frame<Bytes>, Status>>;

    fn stream() -> (Write, Payload) {
        let (write, read) = mpsc::unbounded_channel();
        let stream = futures::stream::unfold(read, |mut read| async { read.recv().await.map(|item| (item, read)) });
        (write, Payload::keep(Body::new(StreamBody::new(Box::pin(stream)))))
    }

    async fn next(body: &mut Body) -> Bytes {
        body.frame().await.expect("there is more").unwrap().into_data().expect("it is data")
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
    async fn a_request_stream_that_is_still_being_written_is_sent_again_and_goes_on() {
        let (write, mut payload) = stream();
        write.send(Ok(Frame::data(Bytes::from_static(b"a")))).unwrap();
        assert!(payload.is_kept());
        let mut first = payload.take().unwrap();
        assert_eq!(next(&mut first).await, "a");
        write.send(Ok(Frame::data(Bytes::from_static(b"b")))).unwrap();
        assert_eq!(next(&mut first).await, "b");

        let mut second = payload.take().unwrap();
        assert!(first.frame().await.unwrap().is_err(), "the attempt before sends no more");
        assert_eq!(next(&mut second).await, "a");
        assert_eq!(next(&mut second).await, "b");
        write.send(Ok(Frame::data(Bytes::from_static(b"c")))).unwrap();
        assert_eq!(next(&mut second).await, "c");

        payload.commit();
        write.send(Ok(Frame::data(Bytes::from_static(b"d")))).unwrap();
        drop(write);
        assert_eq!(second.collect().await.unwrap().to_bytes(), "d");
        assert!(payload.take().is_none());
    }

    #[tokio::test]
    async fn a_request_stream_is_sent_once_as_soon_as_it_is_too_long_to_keep() {
        let (write, mut payload) = stream();
        let mut first = payload.take().unwrap();
        write.send(Ok(Frame::data(Bytes::from(vec![7; RETRY_BUFFER_BYTES])))).unwrap();
        assert_eq!(next(&mut first).await.len(), RETRY_BUFFER_BYTES);
        assert!(payload.is_kept());
        write.send(Ok(Frame::data(Bytes::from_static(b"!")))).unwrap();
        assert_eq!(next(&mut first).await, "!");
        assert!(!payload.is_kept());
        assert!(payload.take().is_none());
    }

    #[test]
    fn what_was_never_sent_may_be_sent_though_it_is_not_kept() {
        let big = Bytes::from(vec![7; RETRY_BUFFER_BYTES + 1]);
        let mut payload = Payload::keep(body([big.clone(), Bytes::from_static(b"!")]));
        assert!(!payload.is_kept());
        drop(payload.take().unwrap());
        assert_eq!(read(payload.take().unwrap()).len(), big.len() + 1);
        assert!(payload.take().is_none());
    }
}
