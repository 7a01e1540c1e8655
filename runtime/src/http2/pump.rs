//! Bodies onto streams.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

/// Sends a body on a stream, as fast as the peer's windows allow, and ends there: because the body does, because it
/// fails, which resets the stream, or because the peer wants no more of it.
///
/// Only data waits for the windows (RFC 9113, 5.2.1): the end of a body and its trailers leave when they come.
pub(crate) struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
    /// Data that waits for the window, and whether it is the last.
    waiting: Option<(Bytes, bool)>,
}

impl<B: Body<Data = Bytes> + Unpin> Pump<B> {
    pub(crate) fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream, waiting: None }
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.waiting.is_some() {
                ready!(self.poll_window(cx))?;
                let Some((data, is_last)) = self.waiting.take() else { return Poll::Ready(Ok(())) };
                self.stream.send_data(data, is_last)?;
                if is_last {
                    return Poll::Ready(Ok(()));
                }
            }
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => {
                    ready!(self.stream.poll_reset(cx)?);
                    return Poll::Ready(Ok(()));
                }
            };
            match frame.map(|frame| frame.map(http_body::Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    let is_last = self.body.is_end_stream();
                    if !data.is_empty() {
                        self.waiting = Some((data, is_last));
                    } else if is_last {
                        return Poll::Ready(self.stream.send_data(data, true));
                    }
                }
                Some(Ok(Err(frame))) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(self.stream.send_trailers(trailers));
                    }
                }
                Some(Err(_)) => {
                    self.stream.send_reset(Reason::INTERNAL_ERROR);
                    return Poll::Ready(Ok(()));
                }
                None => return Poll::Ready(self.stream.send_data(Bytes::new(), true)),
            }
        }
    }

    /// Ready when data may be sent, or the stream is closed; nothing waits then any more.
    fn poll_window(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        while self.stream.capacity() == 0 {
            // One byte of the window lets a frame of any size through: h2 cuts it and keeps the rest.
            self.stream.reserve_capacity(1);
            match self.stream.poll_capacity(cx)? {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => {
                    self.waiting = None;
                    break;
                }
                Poll::Pending => {
                    ready!(self.stream.poll_reset(cx)?);
                    self.waiting = None;
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// What a stream ended with is told where its other half is read.
impl<B: Body<Data = Bytes> + Unpin> Future for Pump<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_pump(cx).map(drop)
    }
}
