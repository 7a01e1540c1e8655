//! TCP and Unix sockets of the kernel, and its resolver.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};

use crate::{Address, Listener, Stream};

pub(super) async fn connect(to: Address) -> io::Result<Box<dyn Stream>> {
    match &to {
        Address::Tcp(address) => tcp(TcpStream::connect(address).await?),
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await?;
            Ok(Box::new(Socket { stream, local: Address::Unix(PathBuf::new()), peer: to }))
        }
    }
}

pub(super) async fn listen(at: Address) -> io::Result<Box<dyn Listener>> {
    match &at {
        Address::Tcp(address) => {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            socket.set_reuseaddr(true)?;
            socket.bind(*address)?;
            let listener = socket.listen(BACKLOG)?;
            Ok(Box::new(BoundTcp { local: listener.local_addr()?.into(), listener }))
        }
        Address::Unix(path) => Ok(Box::new(BoundUnix { listener: UnixListener::bind(path)?, local: at })),
    }
}

pub(super) async fn resolve(host: String) -> io::Result<Vec<IpAddr>> {
    let found = match tokio::net::lookup_host((host.as_str(), 0)).await {
        Ok(found) => found,
        // getaddrinfo has error numbers of its own, which reach us as text only.
        Err(error) if error.raw_os_error().is_none() && !error.to_string().contains("emporary") => {
            return Err(io::Error::new(io::ErrorKind::NotFound, error));
        }
        Err(error) => return Err(error),
    };
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address.ip()) {
            addresses.push(address.ip());
        }
    }
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("`{host}` has no address")));
    }
    Ok(addresses)
}

pub(super) fn local_addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let ip = |storage: &nix::sys::socket::SockaddrStorage| {
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    };
    let addresses = interfaces.filter_map(|interface| interface.address.as_ref().and_then(ip));
    addresses.filter(|address| !address.is_loopback()).collect()
}

fn tcp(stream: TcpStream) -> io::Result<Box<dyn Stream>> {
    stream.set_nodelay(true)?;
    let (local, peer) = (canonical(stream.local_addr()?), canonical(stream.peer_addr()?));
    Ok(Box::new(Socket { stream, local, peer }))
}

/// The IPv4 address of an IPv4 peer that reached a dual-stack listener, as Go tells it.
fn canonical(address: SocketAddr) -> Address {
    SocketAddr::new(address.ip().to_canonical(), address.port()).into()
}

/// As many as the system allows (`net.core.somaxconn`), as Go asks for and tokio for Unix sockets; for TCP tokio would
/// ask for 128.
const BACKLOG: u32 = i32::MAX as u32;

struct BoundTcp {
    listener: TcpListener,
    local: Address,
}

impl Listener for BoundTcp {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            loop {
                // A peer that is gone already leaves a socket that has no peer address or takes no options.
                if let Ok(stream) = tcp(self.listener.accept().await?.0) {
                    return Ok(stream);
                }
            }
        })
    }

    fn local_address(&self) -> Address {
        self.local.clone()
    }
}

struct BoundUnix {
    listener: UnixListener,
    local: Address,
}

impl Listener for BoundUnix {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let (stream, peer) = self.listener.accept().await?;
            let peer = Address::Unix(peer.as_pathname().map(PathBuf::from).unwrap_or_default());
            Ok(Box::new(Socket { stream, local: self.local.clone(), peer }) as Box<dyn Stream>)
        })
    }

    fn local_address(&self) -> Address {
        self.local.clone()
    }
}

/// A kernel socket that remembers its addresses: the kernel forgets the peer's once the connection is reset.
struct Socket<S> {
    stream: S,
    local: Address,
    peer: Address,
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for Socket<S> {
    fn local_address(&self) -> Address {
        self.local.clone()
    }

    fn peer_address(&self) -> Address {
        self.peer.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    crate::forward::write_to!(stream);
}
