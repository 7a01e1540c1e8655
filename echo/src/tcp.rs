//! The TCP ports: facts about the server, then every byte back. A connection lives fifteen seconds at most.

use std::io;
use std::time::Duration;

use hermesh_runtime::server::Acceptor;
use hermesh_runtime::{Listener, Stream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::metrics::Protocol;
use crate::reply;
use crate::service::Shared;

const LIFETIME: Duration = Duration::from_secs(15);

/// Serves until the listener fails for good.
pub(crate) async fn serve(shared: Shared, port: u16, listener: Box<dyn Listener>) -> io::Result<()> {
    let mut acceptor = Acceptor::new(&shared.rt, listener);
    loop {
        let stream = acceptor.accept().await?;
        let serving = shared.clone();
        shared.rt.spawn("echo-tcp-connection", async move {
            // What goes wrong on one connection, or its time being up, ends that connection and nothing else.
            let _ended = tokio::time::timeout(LIFETIME, connection(serving, port, stream)).await;
        });
    }
}

async fn connection(shared: Shared, port: u16, mut stream: Box<dyn Stream>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    // Probes connect and leave without a word: that is no request.
    let mut length = stream.read(&mut buffer).await?;
    if length == 0 {
        return stream.shutdown().await;
    }
    shared.activity.note();
    shared.metrics.count(Protocol::Tcp, port);
    let peer = stream.peer_address().tcp().map(|peer| peer.ip());
    stream.write_all(reply::tcp(&shared.about, port, peer).as_bytes()).await?;
    while length > 0 {
        stream.write_all(&buffer[..length]).await?;
        stream.flush().await?;
        length = stream.read(&mut buffer).await?;
    }
    stream.shutdown().await
}
