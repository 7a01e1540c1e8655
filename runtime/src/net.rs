//! Addresses, streams and listeners, the same for TCP and Unix sockets.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::Trail;

/// Where a socket is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// A path; empty for the unnamed end of a Unix connection.
    Unix(PathBuf),
}

impl Address {
    /// The IP address and port, unless this is a Unix socket.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

/// The text is neither `ip:port` nor `unix:path`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address; expected `ip:port` or `unix:path`")]
pub struct ParseAddressError(String);

impl FromStr for Address {
    type Err = ParseAddressError;

    /// Reads `ip:port`, `unix:path`, and `unix:///path` with any number of slashes: istio-agent writes the latter with
    /// three or four.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = match path.strip_prefix("//") {
                Some(rest) => format!("/{}", rest.trim_start_matches('/')),
                None => path.to_owned(),
            };
            return if path.is_empty() { Err(ParseAddressError(text.to_owned())) } else { Ok(Self::Unix(path.into())) };
        }
        text.parse().map(Self::Tcp).map_err(|_| ParseAddressError(text.to_owned()))
    }
}

impl serde::Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One end of a connection. An IPv4 peer of a dual-stack listener has its IPv4 address.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// This end.
    fn local_address(&self) -> Address;
    /// The other end.
    fn peer_address(&self) -> Address;
    /// What the trace tells of the connection; empty where nothing is recorded.
    fn trail(&self) -> Trail {
        Trail::default()
    }
}

/// A bound socket that takes connections. Dropping it closes the socket; a Unix socket's file stays, as in the kernel.
pub trait Listener: Send + 'static {
    /// The next connection.
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
    /// Where it is bound, with the port the kernel chose if port 0 was asked for.
    fn local_address(&self) -> Address;
}

/// An I/O error in the words of Go's `syscall`, which those who run Istio know from its logs.
///
/// ```
/// let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// assert_eq!(hermesh_runtime::describe_io(&refused), "connection refused");
/// ```
#[must_use]
pub fn describe_io(error: &io::Error) -> String {
    let text = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "connection reset by peer",
        io::ErrorKind::ConnectionAborted => "software caused connection abort",
        io::ErrorKind::BrokenPipe => "broken pipe",
        io::ErrorKind::TimedOut => "connection timed out",
        io::ErrorKind::HostUnreachable => "no route to host",
        io::ErrorKind::NetworkUnreachable => "network is unreachable",
        io::ErrorKind::AddrNotAvailable => "cannot assign requested address",
        io::ErrorKind::NotFound => "no such file or directory",
        io::ErrorKind::PermissionDenied => "permission denied",
        io::ErrorKind::UnexpectedEof => "EOF",
        _ => return error.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unix_addresses_are_read_as_istio_agent_writes_them() {
        let expected = Address::Unix("/etc/istio/proxy/XDS".into());
        for text in ["unix:/etc/istio/proxy/XDS", "unix:///etc/istio/proxy/XDS", "unix:////etc/istio/proxy/XDS"] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
        }
        assert_eq!("unix:etc/XDS".parse(), Ok(Address::Unix("etc/XDS".into())));
    }

    #[test]
    fn what_is_no_address_is_said_to_be_none() {
        for text in ["", "unix:", "10.0.0.1", "echo:7070"] {
            assert!(text.parse::<Address>().unwrap_err().to_string().contains(text));
        }
    }
}
