//! Listens to the frames a server sends before h2 does: h2 tells nobody of SETTINGS, and of a GOAWAY only those who try
//! to send the next request.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::keepalive::Heard;
use super::signals::{CloseReason, Signals};

/// A stream whose incoming frames raise [`Signals`].
pub(super) struct FrameTap<S> {
    stream: S,
    frames: FrameHeaders,
    signals: Arc<Signals>,
    heard: Option<Heard>,
}

impl<S> FrameTap<S> {
    /// `heard` is told when something comes.
    pub(super) fn new(stream: S, signals: Arc<Signals>, heard: Option<Heard>) -> Self {
        Self { stream, frames: FrameHeaders::default(), signals, heard }
    }

    fn listen(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            let unfinished = self.frames.unfinished_greeting();
            if unfinished.is_some() {
                self.signals.note_foreign();
            }
            let reason = unfinished.unwrap_or("EOF");
            self.signals.ended.set(CloseReason::Closed(reason.to_owned()));
            return;
        }
        self.signals.note_peer_spoke();
        if let Some(heard) = &self.heard {
            heard.again();
        }
        let signals = &self.signals;
        self.frames.walk(bytes, |frame| match frame {
            Frame::Settings => drop(signals.settings.set(())),
            Frame::GoAway => drop(signals.ended.set(CloseReason::GoAway)),
            Frame::NotHttp2(what) => {
                signals.note_foreign();
                signals.ended.set(CloseReason::Closed(what.to_owned()));
            }
        });
    }

    fn note_failure<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &polled {
            self.signals.ended.set(CloseReason::Closed(crate::tls::describe(error)));
        }
        polled
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameTap<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Poll::Ready(Ok(())) = polled
            && room > 0
        {
            self.listen(&buf.filled()[before..]);
        }
        self.note_failure(polled)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameTap<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note_failure(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note_failure(polled)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Settings,
    GoAway,
    /// The first bytes are something else; this says what.
    NotHttp2(&'static str),
}

/// RFC 9113, 4.1: length (24 bits), type, flags, stream (32 bits).
const HEADER_LEN: usize = 9;
const SETTINGS: u8 = 0x4;
const GOAWAY: u8 = 0x7;
const ACK: u8 = 0x1;
/// RFC 8446, 5.1: the first byte of an alert record.
const TLS_ALERT: u8 = 0x15;

pub(super) const SPEAKS_TLS: &str =
    "the server answered with a TLS alert; it expects TLS, and this side spoke plain text";

/// Walks from frame header to frame header, however the bytes are cut.
#[derive(Debug, Default)]
struct FrameHeaders {
    header: [u8; HEADER_LEN],
    filled: usize,
    /// What is left of the current frame's payload.
    payload: usize,
    /// The current frame is SETTINGS.
    in_settings: bool,
    greeted: bool,
    /// The peer speaks something else: nothing more to find.
    deaf: bool,
}

impl FrameHeaders {
    fn walk(&mut self, mut bytes: &[u8], mut found: impl FnMut(Frame)) {
        while !bytes.is_empty() && !self.deaf {
            let skipped = self.payload.min(bytes.len());
            self.payload -= skipped;
            bytes = &bytes[skipped..];
            if self.payload == 0 && std::mem::take(&mut self.in_settings) {
                found(Frame::Settings);
            }

            let taken = bytes.len().min(HEADER_LEN - self.filled);
            self.header[self.filled..self.filled + taken].copy_from_slice(&bytes[..taken]);
            self.filled += taken;
            bytes = &bytes[taken..];
            if !self.greeted && self.filled >= 2 && self.header[0] != 0 {
                // No SETTINGS frame is that long. To wait for the whole header would be too late: h2 has judged then.
                self.deaf = true;
                found(Frame::NotHttp2(self.guess()));
            } else if self.filled == HEADER_LEN {
                self.filled = 0;
                let [high, middle, low, kind, flags, ..] = self.header;
                self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                match kind {
                    SETTINGS if flags & ACK == 0 => {
                        self.greeted = true;
                        // They count when all of them are there.
                        self.in_settings = self.payload > 0;
                        if !self.in_settings {
                            found(Frame::Settings);
                        }
                    }
                    _ if !self.greeted => {
                        // RFC 9113, 3.4: a server's first frame is SETTINGS.
                        self.deaf = true;
                        found(Frame::NotHttp2(self.guess()));
                    }
                    GOAWAY => found(Frame::GoAway),
                    _ => {}
                }
            }
        }
    }

    /// What the server speaks if it ended the stream within what should have been the header of its first frame, and
    /// what came of that begins no SETTINGS. The first byte of a length that a server sends there is 0.
    fn unfinished_greeting(&self) -> Option<&'static str> {
        let [high, _, _, kind, ..] = self.header;
        let foreign = self.filled > 0 && high != 0 || self.filled > 3 && kind != SETTINGS;
        (!self.greeted && foreign).then(|| self.guess())
    }

    fn guess(&self) -> &'static str {
        match self.header {
            [TLS_ALERT, 0x03, ..] => SPEAKS_TLS,
            [b'H', b'T', ..] => "the server speaks HTTP/1, not HTTP/2",
            _ => "the server's first frame is not SETTINGS; it does not speak HTTP/2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0, 0, payload.len() as u8, kind, flags, 0, 0, 0, 0];
        bytes.extend_from_slice(payload);
        bytes
    }

    fn walk_in_pieces(bytes: &[u8], size: usize) -> Vec<Frame> {
        let mut headers = FrameHeaders::default();
        let mut found = Vec::new();
        bytes.chunks(size).for_each(|piece| headers.walk(piece, |frame| found.push(frame)));
        found
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let bytes = [frame(4, 0, &[0; 18]), frame(4, 1, &[]), frame(8, 0, &[7; 4]), frame(7, 0, &[4; 8])].concat();
        for size in 1..=bytes.len() {
            assert_eq!(walk_in_pieces(&bytes, size), [Frame::Settings, Frame::GoAway], "pieces of {size}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_mean_the_same_however_they_are_cut(
            first in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
            greeted in proptest::prelude::any::<bool>(),
            size in 1_usize..20,
        ) {
            let bytes = if greeted { [frame(4, 0, &[]), first].concat() } else { first };
            proptest::prop_assert_eq!(walk_in_pieces(&bytes, size), walk_in_pieces(&bytes, 1));
        }
    }

    #[test]
    fn a_payload_that_looks_like_frames_is_none() {
        let bytes = [frame(4, 0, &[]), frame(0, 0, &frame(7, 0, &[0; 8]))].concat();
        assert_eq!(walk_in_pieces(&bytes, 5), [Frame::Settings]);
    }

    #[test]
    fn what_is_not_http2_is_named() {
        let [Frame::NotHttp2(text)] = walk_in_pieces(b"HTTP/1.1 400 Bad Request", 1)[..] else { panic!() };
        assert!(text.contains("HTTP/1"));
        assert_eq!(walk_in_pieces(&[0x15, 3, 3, 0, 2, 2, 10], 1), [Frame::NotHttp2(SPEAKS_TLS)]);
        let mut headers = FrameHeaders::default();
        headers.walk(&[0x15], |frame| panic!("{frame:?}"));
        assert!(headers.unfinished_greeting().is_some());
    }

    #[test]
    fn who_dies_within_a_greeting_that_could_have_been_settings_spoke_http2_for_all_anyone_knows() {
        let settings = frame(4, 0, &[0; 18]);
        for known in 1..HEADER_LEN {
            let mut headers = FrameHeaders::default();
            headers.walk(&settings[..known], |frame| panic!("{frame:?}"));
            assert_eq!(headers.unfinished_greeting(), None, "after {known} bytes");
        }
        let mut headers = FrameHeaders::default();
        headers.walk(&frame(0, 0, &[])[..4], |frame| panic!("{frame:?}"));
        assert!(headers.unfinished_greeting().is_some(), "DATA is no greeting");
    }
}
