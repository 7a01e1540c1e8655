//! Orders to a process.
//!
//! Sockets have names: a listener is called `listener` and a connection `connection` unless `as` (for one that comes
//! to be) or `on` (for one that is there) says otherwise. Places are `tcp NAME`, `unix NAME` and others that `wire.rs`
//! tells; a process sees them as addresses.
//!
//! | order | answer |
//! |---|---|
//! | `listen PLACE`, `connect PLACE`, `accept` | `ok` |
//! | `connect until it waits PLACE` | how many connections, then why no more |
//! | `accept until it waits` | how many connections |
//! | `write 5`, `write 3 4` (vectored, one call) | `ok`, or how many bytes a call took |
//! | `write until it waits` | how many bytes, or `pending` if none |
//! | `write until it fails` | the error |
//! | `read 5` | how many bytes, and why not five |
//! | `read to end` | how many bytes, and how it ended |
//! | `shutdown`, `close`, `close NAME` | `ok` |
//! | `finish VERB` | what an operation that was `pending` answers in the end |
//! | `abandon VERB` | `ok`; the operation is dropped |
//! | `local address`, `peer address`, `address` (of a listener) | the address |
//! | `remove PLACE`, `rename PLACE PLACE`, `link PLACE PLACE`, `file PLACE`, `folder PLACE` | `ok` |

use hermesh_runtime::Address;

/// What a process is told to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Listen { at: Address, name: String },
    Connect { to: Address, name: String },
    ConnectMany { to: Address, name: String },
    Accept { listener: String, name: String },
    AcceptMany { listener: String },
    Write { bytes: usize, name: String },
    WriteVectored { parts: Vec<usize>, name: String },
    WriteUntilPending { name: String },
    WriteUntilFailed { name: String },
    Read { bytes: usize, name: String },
    ReadToEnd { name: String },
    Shutdown { name: String },
    Close { name: String },
    Finish { verb: String, name: String },
    Abandon { verb: String, name: String },
    LocalAddress { name: String },
    PeerAddress { name: String },
    ListenerAddress { name: String },
    Remove { path: Address },
    Rename { from: Address, to: Address },
    Link { target: Address, link: Address },
    File { path: Address },
    Folder { path: Address },
}

impl Order {
    /// Reads an order whose places are addresses; `None` if there is no such order.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (text, new) = option(text, " as ");
        let (text, old) = option(text, " on ");
        let named = |name: Option<&str>, default: &str| name.unwrap_or(default).to_owned();
        let name = named(new.or(old), "connection");
        let words: Vec<&str> = text.split_whitespace().collect();
        Some(match words.as_slice() {
            ["listen", at] => Self::Listen { at: at.parse().ok()?, name: named(new, "listener") },
            ["connect", "until", "it", "waits", to] => Self::ConnectMany { to: to.parse().ok()?, name },
            ["connect", to] => Self::Connect { to: to.parse().ok()?, name },
            ["accept"] => Self::Accept { listener: named(old, "listener"), name: named(new, "connection") },
            ["accept", "until", "it", "waits"] => Self::AcceptMany { listener: named(old, "listener") },
            ["write", "until", "it", "waits"] => Self::WriteUntilPending { name },
            ["write", "until", "it", "fails"] => Self::WriteUntilFailed { name },
            ["write", bytes] => Self::Write { bytes: bytes.parse().ok()?, name },
            ["write", parts @ ..] => {
                let parts = parts.iter().map(|part| part.parse().ok()).collect::<Option<_>>()?;
                Self::WriteVectored { parts, name }
            }
            ["read", "to", "end"] => Self::ReadToEnd { name },
            ["read", bytes] => Self::Read { bytes: bytes.parse().ok()?, name },
            ["shutdown"] => Self::Shutdown { name },
            ["close"] => Self::Close { name },
            ["close", name] => Self::Close { name: (*name).to_owned() },
            ["finish", verb @ ("connect" | "read" | "write")] => Self::Finish { verb: (*verb).to_owned(), name },
            ["finish", "accept"] => Self::Finish { verb: "accept".to_owned(), name: named(old, "listener") },
            ["abandon", verb @ ("connect" | "read" | "write")] => Self::Abandon { verb: (*verb).to_owned(), name },
            ["abandon", "accept"] => Self::Abandon { verb: "accept".to_owned(), name: named(old, "listener") },
            ["local", "address"] => Self::LocalAddress { name },
            ["peer", "address"] => Self::PeerAddress { name },
            ["address"] => Self::ListenerAddress { name: named(old, "listener") },
            ["remove", path] => Self::Remove { path: path.parse().ok()? },
            ["rename", from, to] => Self::Rename { from: from.parse().ok()?, to: to.parse().ok()? },
            ["link", target, link] => Self::Link { target: target.parse().ok()?, link: link.parse().ok()? },
            ["file", path] => Self::File { path: path.parse().ok()? },
            ["folder", path] => Self::Folder { path: path.parse().ok()? },
            _ => return None,
        })
    }
}

/// Takes ` as NAME` or ` on NAME` from the end.
fn option<'a>(text: &'a str, word: &str) -> (&'a str, Option<&'a str>) {
    match text.rsplit_once(word) {
        Some((rest, name)) if !name.contains(' ') => (rest, Some(name)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_name_their_sockets_or_take_the_usual_names() {
        let accept = |listener: &str, name: &str| Order::Accept { listener: listener.into(), name: name.into() };
        assert_eq!(Order::read("accept"), Some(accept("listener", "connection")));
        assert_eq!(Order::read("accept on second as third"), Some(accept("second", "third")));
        assert_eq!(Order::read("read 5 on x"), Some(Order::Read { bytes: 5, name: "x".into() }));
        assert_eq!(
            Order::read("write 3 4"),
            Some(Order::WriteVectored { parts: vec![3, 4], name: "connection".into() })
        );
        assert_eq!(Order::read("sing"), None);
    }
}
