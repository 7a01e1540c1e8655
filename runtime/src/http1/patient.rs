//! A stream whose peer has only so much time to take what is written.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// From the moment when the peer no longer takes what is written, it has `patience` until all of it is flushed; then
/// writing fails with [`TimedOut`](io::ErrorKind::TimedOut). A peer that takes a byte now and then gains nothing by it.
pub(super) struct Patient<S> {
    stream: S,
    patience: Duration,
    /// Runs out when the peer has held up the writer for too long.
    held_up: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, patience, held_up: None }
    }

    fn within<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() {
            let patience = self.patience;
            let held_up = self.held_up.get_or_insert_with(|| Box::pin(sleep(patience)));
            ready!(held_up.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, data);
        self.within(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.within(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(cx);
        if polled.is_ready() {
            self.held_up = None;
        }
        self.within(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.within(cx, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_a_byte_now_and_then_gets_no_more_time_than_one_that_takes_none() {
        for bytes in [0, 20] {
            let (stream, mut peer) = duplex(16);
            let begin = Instant::now();
            let take = async {
                for _ in 0..bytes {
                    tokio::time::sleep(Duration::from_secs(10)).await;
                    let _ = peer.read_u8().await;
                }
                std::future::pending::<()>().await
            };
            let mut stream = Patient::new(stream, PATIENCE);
            let written = tokio::select! {
                biased;
                written = async { timeout(10 * PATIENCE, stream.write_all(&[7; 100])).await } => written,
                () = take => unreachable!("it takes for ever"),
            };
            let error = written.expect("the writer does not wait for ever").unwrap_err();
            assert_eq!((error.kind(), begin.elapsed()), (io::ErrorKind::TimedOut, PATIENCE));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_takes_all_of_it_has_as_much_time_for_the_next() {
        let (stream, mut peer) = duplex(16);
        let mut stream = Patient::new(stream, PATIENCE);
        let write = async {
            for _ in 0..3 {
                stream.write_all(&[7; 32]).await?;
                stream.flush().await?;
            }
            io::Result::Ok(())
        };
        let take = async {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(12)).await;
                peer.read_exact(&mut [0; 16]).await?;
            }
            io::Result::Ok(())
        };
        let (written, taken) = tokio::join!(write, take);
        assert!(written.is_ok() && taken.is_ok(), "{written:?} {taken:?}");
    }
}
