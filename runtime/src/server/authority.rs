//! Authorities that name a Unix socket, as gRPC's C core writes them.
//!
//! Its clients of `unix:///etc/istio/proxy/XDS` send `:authority: %2Fetc%2Fistio%2Fproxy%2FXDS`. RFC 3986 allows that,
//! grpc-go's servers take it, but to the `http` crate a percent sign in a host is a malformed request, which h2 answers
//! with RST_STREAM before anyone here sees it. [`Authorities`] reads along on a Unix socket and makes each of these
//! percent signs an underscore; nobody routes by the authority there. Lengths stay, and with them frames and the sizes
//! in HPACK's dynamic table (RFC 7541). The C core spells name and value out, never in Huffman codes; who uses those is
//! left alone.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// RFC 9113, 4.1.
const FRAME_HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

const NAME: &[u8] = b":authority";
/// Its index in HPACK's static table.
const AUTHORITY: u32 = 1;

/// A connection of which the HTTP/2 preface has been read.
pub(super) struct Authorities<S> {
    stream: S,
    frames: Frames,
}

impl<S> Authorities<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, frames: Frames::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Authorities<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.frames.pass(&mut buf.filled_mut()[before..]);
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Authorities<S> {
    crate::forward::write_to!(stream);
}

/// How far the client's frames have been read. Bytes may come in pieces of any size.
#[derive(Default)]
struct Frames {
    header: [u8; FRAME_HEADER],
    /// How much of the header has come.
    known: usize,
    /// How much of the payload has not.
    left: usize,
    /// How much of that comes before the header block: pad length and priority.
    prefix: usize,
    /// How much of it comes behind: padding.
    padding: usize,
    block: Block,
}

impl Frames {
    fn pass(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.known < FRAME_HEADER {
                self.header[self.known] = *byte;
                self.known += 1;
                if self.known == FRAME_HEADER {
                    self.begin();
                }
            } else {
                self.payload(byte);
            }
            if self.known == FRAME_HEADER && self.left == 0 {
                self.known = 0;
            }
        }
    }

    fn begin(&mut self) {
        let [a, b, c, kind, flags, ..] = self.header;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        (self.prefix, self.padding) = (0, 0);
        if kind == HEADERS {
            self.prefix = usize::from(flags & PADDED != 0) + if flags & PRIORITY != 0 { 5 } else { 0 };
            self.block = Block::default();
        }
    }

    fn payload(&mut self, byte: &mut u8) {
        let [.., kind, flags, _, _, _, _] = self.header;
        self.left -= 1;
        if self.prefix > 0 {
            if flags & PADDED != 0 && self.is_first() {
                self.padding = usize::from(*byte);
            }
            self.prefix -= 1;
        } else if (kind == HEADERS || kind == CONTINUATION) && self.left >= self.padding {
            self.block.pass(byte);
        }
    }

    /// Whether the byte at hand is the payload's first.
    fn is_first(&self) -> bool {
        let [.., flags, _, _, _, _] = self.header;
        self.prefix == 1 + if flags & PRIORITY != 0 { 5 } else { 0 }
    }
}

/// How far a header block has been read: one field representation after the other (RFC 7541, 6).
#[derive(Default)]
enum Block {
    /// A representation begins.
    #[default]
    Begin,
    /// A number goes on; what follows it is known.
    Number { value: u32, shift: u32, then: Then },
    /// The length of a text begins.
    Length(Text),
    /// A text, of which so much has not come.
    Text { left: u32, text: Text },
}

/// What follows a number.
#[derive(Clone, Copy)]
enum Then {
    /// The next representation.
    Begin,
    /// A name if the number is 0, else the value of the field with that index.
    Literal,
    /// So many bytes of this text.
    Text(Text),
}

/// A field's name or value.
#[derive(Clone, Copy)]
enum Text {
    /// How much of it is `:authority`, if all so far is.
    Name { alike: Option<usize> },
    /// Whether it is the authority, in plain bytes.
    Value { authority: bool },
}

impl Block {
    fn pass(&mut self, byte: &mut u8) {
        *self = match std::mem::take(self) {
            Self::Begin => match *byte {
                // 6.1 indexed field, 6.3 table size update, 6.2.1 literal with indexing, 6.2.2 and 6.2.3 without.
                byte if byte & 0x80 != 0 => number(byte, 7, Then::Begin),
                byte if byte & 0xe0 == 0x20 => number(byte, 5, Then::Begin),
                byte if byte & 0xc0 == 0x40 => number(byte, 6, Then::Literal),
                byte => number(byte, 4, Then::Literal),
            },
            Self::Number { value, shift, then } => {
                let part = u32::from(*byte & 0x7f).checked_shl(shift).unwrap_or(u32::MAX);
                let (value, shift) = (value.saturating_add(part), shift.saturating_add(7));
                if *byte & 0x80 != 0 { Self::Number { value, shift, then } } else { next(value, then) }
            }
            Self::Length(text) => {
                let text = if *byte & 0x80 == 0 { text } else { text.in_huffman_code() };
                number(*byte, 7, Then::Text(text))
            }
            Self::Text { left, mut text } => {
                text.pass(byte);
                rest(left - 1, text)
            }
        };
    }
}

impl Text {
    fn in_huffman_code(self) -> Self {
        match self {
            Self::Name { .. } => Self::Name { alike: None },
            Self::Value { .. } => Self::Value { authority: false },
        }
    }

    fn pass(&mut self, byte: &mut u8) {
        match self {
            Self::Name { alike } => *alike = alike.filter(|at| NAME.get(*at) == Some(byte)).map(|at| at + 1),
            Self::Value { authority: true } if *byte == b'%' => *byte = b'_',
            Self::Value { .. } => {}
        }
    }
}

/// A number of which `byte` holds the first `bits` (RFC 7541, 5.1).
fn number(byte: u8, bits: u32, then: Then) -> Block {
    let all = (1 << bits) - 1;
    let value = u32::from(byte) & all;
    if value == all { Block::Number { value, shift: 0, then } } else { next(value, then) }
}

fn next(value: u32, then: Then) -> Block {
    match then {
        Then::Begin => Block::Begin,
        Then::Literal if value == 0 => Block::Length(Text::Name { alike: Some(0) }),
        Then::Literal => Block::Length(Text::Value { authority: value == AUTHORITY }),
        Then::Text(text) => rest(value, text),
    }
}

fn rest(left: u32, text: Text) -> Block {
    match (left, text) {
        (0, Text::Name { alike }) => Block::Length(Text::Value { authority: alike == Some(NAME.len()) }),
        (0, Text::Value { .. }) => Block::Begin,
        _ => Block::Text { left, text },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame on stream 1.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags, 0, 0, 0, 1], payload].concat()
    }

    /// A literal field with indexing whose name has this index.
    fn literal(index: u8, value: &[u8]) -> Vec<u8> {
        [&[0x40 | index, u8::try_from(value.len()).unwrap()], value].concat()
    }

    /// A literal field without indexing.
    fn named(name: &[u8], value: &[u8]) -> Vec<u8> {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
        [&[0, length(name)], name, &[length(value)], value].concat()
    }

    /// What becomes of `bytes` that come in pieces of `size`.
    fn passed(mut bytes: Vec<u8>, size: usize) -> Vec<u8> {
        let mut frames = Frames::default();
        bytes.chunks_mut(size).for_each(|piece| frames.pass(piece));
        bytes
    }

    const C_CORE: &[u8] = b"%2Ftmp%2FXDS";
    const TAKEN: &[u8] = b"_2Ftmp_2FXDS";

    #[test]
    fn a_percent_sign_in_an_authority_becomes_an_underscore_wherever_the_bytes_are_cut() {
        let fields = |authority: &[u8]| {
            let path = literal(4, b"/a%20path");
            let spelt_out = named(b":authority", authority);
            [
                &[0x83, 0x86][..],
                &path,
                &literal(1, authority),
                &spelt_out,
                &named(b":authorities", b"%"),
                &named(b"x-percent", b"100%"),
                &[0x3f, 0xe1, 0x1f],
            ]
            .concat()
        };
        let stream = |authority: &[u8]| {
            let data = frame(0, 0, b"\x41\x0c%2Ftmp%2FXDS");
            [frame(4, 0, &[0; 6]), frame(HEADERS, 4, &fields(authority)), data, frame(HEADERS, 4, &fields(authority))]
                .concat()
        };
        for size in 1..60 {
            assert_eq!(passed(stream(C_CORE), size), stream(TAKEN), "in pieces of {size}");
        }
    }

    #[test]
    fn padding_priority_and_continuation_are_seen_for_what_they_are() {
        let stream = |authority: &[u8]| {
            let block = literal(1, authority);
            let (head, tail) = block.split_at(5);
            let padded = [&[3, 0, 0, 0, 0, 16], head, b"%%%"].concat();
            [frame(HEADERS, PADDED | PRIORITY, &padded), frame(CONTINUATION, 4, tail)].concat()
        };
        assert_eq!(passed(stream(C_CORE), 7), stream(TAKEN));
    }

    #[test]
    fn long_authorities_have_their_length_in_several_bytes() {
        let stream = |percent: u8| {
            let value = [percent; 300];
            // 300 is 127 and 173, and 173 is 0x2d with a byte to come, which is 1.
            let block = [&[0x41, 0x7f, 0xad, 0x01][..], &value, &literal(1, b"a")].concat();
            frame(HEADERS, 4, &block)
        };
        assert_eq!(passed(stream(b'%'), 11), stream(b'_'));
    }

    #[test]
    fn huffman_codes_are_left_alone() {
        let block = [&[0x41, 0x82][..], b"%%", &literal(1, b"a")].concat();
        let stream = frame(HEADERS, 4, &block);
        assert_eq!(passed(stream.clone(), 3), stream);
    }

    proptest! {
        #[test]
        fn nothing_but_percent_signs_ever_changes(bytes in prop::collection::vec(any::<u8>(), 0..400), size in 1usize..50) {
            let after = passed(bytes.clone(), size);
            for (before, after) in bytes.iter().zip(&after) {
                prop_assert!(before == after || (*before, *after) == (b'%', b'_'));
            }
            prop_assert_eq!(bytes.len(), after.len());
        }
    }
}
