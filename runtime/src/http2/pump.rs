//! Bodies onto streams.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

/// Sends a body on a stream, as fast as the peer's windows allow, and ends there: because the body does, because it
/// fails, which resets the stream, or because the peer wants no more of it.
pub(crate) struct Pump<B> {
    body: B,
    stream: SendStream<Bytes>,
}

impl<B: Body<Data = Bytes> + Unpin> Pump<B> {
    pub(crate) fn new(body: B, stream: SendStream<Bytes>) -> Self {
        Self { body, stream }
    }

    fn poll_pump(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.stream.capacity() == 0 {
                // One byte of the window lets a frame of any size through: h2 cuts it and keeps the rest.
                self.stream.reserve_capacity(1);
                match self.stream.poll_capacity(cx)? {
                    Poll::Ready(Some(_)) => continue,
                    // The stream is closed.
                    Poll::Ready(None) => return Poll::Ready(Ok(())),
                    Poll::Pending => {
                        ready!(self.stream.poll_reset(cx)?);
                        return Poll::Ready(Ok(()));
                    }
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
                    self.stream.send_data(data, is_last)?;
                    if is_last {
                        return Poll::Ready(Ok(()));
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
}

/// What a stream ended with is told where its other half is read.
impl<B: Body<Data = Bytes> + Unpin> Future for Pump<B> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_pump(cx).map(drop)
    }
}
