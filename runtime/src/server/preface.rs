//! The first bytes of a connection, which tell what the client speaks.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// RFC 9113, 3.4.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the client's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preface {
    Http2,
    /// A TLS handshake record, RFC 8446, 5.1.
    Tls,
    /// Something else, perhaps HTTP/1.
    Other,
}

/// Reads until it is clear what the client speaks. What was read must be [`Replayed`].
pub(crate) async fn read_preface(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Preface, Bytes)> {
    let mut read = BytesMut::with_capacity(HTTP2.len());
    while read.len() < HTTP2.len() && HTTP2.starts_with(&read) {
        let missing = HTTP2.len() - read.len();
        if (&mut *stream).take(missing as u64).read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    let preface = match read[..] {
        _ if read == HTTP2 => Preface::Http2,
        [0x16, ..] => Preface::Tls,
        _ => Preface::Other,
    };
    Ok((preface, read.freeze()))
}

/// A stream that gives again what was read from it.
pub(crate) struct Replayed<S> {
    head: Bytes,
    stream: S,
}

impl<S> Replayed<S> {
    pub(crate) fn new(head: Bytes, stream: S) -> Self {
        Self { head, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Replayed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let len = self.head.len().min(buf.remaining());
        buf.put_slice(&self.head[..len]);
        self.head.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Replayed<S> {
    crate::forward::write_to!(stream);
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn preface_of(sent: &[u8]) -> (Preface, Vec<u8>) {
        let mut stream = sent;
        let (preface, head) = read_preface(&mut stream).await.unwrap();
        let mut replayed = Vec::new();
        Replayed::new(head, tokio::io::join(stream, tokio::io::sink())).read_to_end(&mut replayed).await.unwrap();
        (preface, replayed)
    }

    #[tokio::test]
    async fn nothing_that_was_read_is_lost() {
        let http2 = [HTTP2, b"and frames"].concat();
        assert_eq!(preface_of(&http2).await, (Preface::Http2, http2));
        let post = b"POST / HTTP/1.1\r\n\r\n";
        assert_eq!(preface_of(post).await, (Preface::Other, post.to_vec()));
        assert_eq!(preface_of(&[0x16, 3, 1, 0, 9]).await, (Preface::Tls, vec![0x16, 3, 1, 0, 9]));
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_told_from_one_that_speaks_otherwise() {
        assert_eq!(read_preface(&mut &HTTP2[..10]).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
