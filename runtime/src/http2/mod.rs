//! HTTP/2 client connections that know their own state: what a gRPC subchannel needs and a pooled client hides.
//!
//! [`connect`] answers when the peer's SETTINGS frame came, not before: a TLS 1.3 client learns only after its own
//! handshake that the server refuses its certificate. [`Closed`] tells of a GOAWAY at once, while calls in flight go
//! on. A call that never left is handed back ([`CallError::Unsent`]) and may be sent elsewhere (gRFC A6, transparent
//! retries).
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use hermesh_runtime::http2::{ConnectOptions, connect};
//!
//! let rt = hermesh_runtime::os::runtime();
//! let (connection, closed) = connect(&rt, "127.0.0.1:7070".parse()?, &ConnectOptions::default()).await?;
//! let request = http::Request::post("http://localhost/grpc.health.v1.Health/Check").body(tonic::body::Body::empty())?;
//! let response = connection.call(request).await?;
//! drop(connection); // nothing in flight: it closes
//! closed.await;
//! # Ok(())
//! # }
//! ```

mod connection;
mod failure;
mod headers;
mod keepalive;
mod pump;
mod received;
mod serve;
mod signals;
mod slots;
mod tap;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::Builder;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tonic::Status;

pub use connection::{CallError, Connection};
pub(crate) use failure::text as failure_text;
pub use keepalive::Keepalive;
pub(crate) use serve::{ServeSettings, serve};
pub use signals::{CloseReason, Closed};

use keepalive::{Heard, Pinger};
use signals::Signals;
use tap::FrameTap;

use crate::tls::{self, ClientTls, PeerCertificate};
use crate::{Address, EventId, Runtime, Stream, Trail};

/// gRPC gives a connection attempt this long (gRFC A6, `MIN_CONNECT_TIMEOUT`).
const CONNECT_DEADLINE: Duration = Duration::from_secs(20);

/// How long h2 remembers streams it has reset, up to 50 of a connection. It measures that on a clock which nobody can
/// stop; a year is never. What comes for one that it does not remember is answered by one more RST_STREAM.
const REMEMBER_RESET_STREAMS: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest head and the longest trailers that are taken, in bytes.
const MAX_HEADER_LIST_SIZE: u32 = 16 << 10;

/// How much a server may send ahead on a stream.
const STREAM_WINDOW: u32 = 2 << 20;

/// How much a server may send ahead on all streams.
const CONNECTION_WINDOW: u32 = 5 << 20;

/// How much of a stream waits to be sent before whoever writes has to wait.
const SEND_BUFFER: usize = 1 << 20;

/// How many calls may be sent before the server has said how many it allows, as grpc-go has it.
const FIRST_STREAMS: usize = 100;

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Speaks plain text if `None`.
    pub tls: Option<ClientTls>,
    /// Limits the whole attempt until the peer's SETTINGS; 20 s unless set.
    pub deadline: Duration,
    /// No pings if `None`.
    pub keepalive: Option<Keepalive>,
    /// What made us connect: the cause of [`ConnectionReady`], and of [`ConnectionFailed`] unless the network knows
    /// better.
    pub cause: Option<EventId>,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self { tls: None, deadline: CONNECT_DEADLINE, keepalive: None, cause: None }
    }
}

/// How far a connection came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub enum Stage {
    /// The socket: refused, unreachable, no such file.
    #[serde(rename = "tcp-connect")]
    Tcp,
    /// Certificates, or a peer that speaks no TLS.
    #[serde(rename = "tls-handshake")]
    Tls,
    /// The peer closed or speaks something else before its SETTINGS.
    #[serde(rename = "http2-settings")]
    Http2,
    /// It took too long; the message says what was waited for.
    #[serde(rename = "connect-deadline")]
    Deadline,
}

/// Why no connection came about, told as grpc-go does.
#[derive(Clone, Debug, thiserror::Error)]
#[error("connection error: desc = \"{message}\"")]
#[non_exhaustive]
pub struct ConnectError {
    /// How far it came.
    pub stage: Stage,
    /// Of [`Stage::Deadline`], what was waited for; else the stage itself.
    pub reached: Stage,
    /// Whether the peer answered, and in something else than HTTP/2.
    pub not_http2: bool,
    /// What happened then.
    pub message: String,
    /// The [`ConnectionFailed`] event, a cause for what follows.
    pub event: Option<EventId>,
}

impl ConnectError {
    /// UNAVAILABLE with this error's text: what calls fail with that needed the connection.
    #[must_use]
    pub fn status(&self) -> Status {
        Status::unavailable(self.to_string())
    }
}

crate::event! {
    /// A connection can take calls.
    ConnectionReady = "conn.ready" {
        /// The peer.
        address: Address,
        /// Our end.
        local: Address,
        tls: bool,
        /// Who the peer has proved to be.
        peer_spiffe: Option<String>,
    }

    /// A connection attempt failed.
    ConnectionFailed = "conn.failed" {
        /// Whom we wanted.
        address: Address,
        stage: Stage,
        error: String,
    }
}

/// Connects to a server and waits until it takes calls.
///
/// # Errors
/// If the socket, TLS or the server says no, or the deadline passes. A server that refuses our certificate is an error
/// of stage [`Stage::Tls`], although it comes after the handshake; so is one that just hangs up there.
pub async fn connect(
    rt: &Runtime,
    to: Address,
    options: &ConnectOptions,
) -> Result<(Connection, Closed), ConnectError> {
    connect_on(rt, &Trail::because(options.cause), to, options).await
}

/// [`connect`]s and leaves on `trail` what the trace knows of the connection, from the first packet on.
///
/// # Errors
/// As [`connect`].
pub async fn connect_on(
    rt: &Runtime,
    trail: &Trail,
    to: Address,
    options: &ConnectOptions,
) -> Result<(Connection, Closed), ConnectError> {
    let attempt = Attempt { rt, to: &to, options, deadline: Instant::now() + options.deadline, trail: trail.clone() };
    match attempt.run().await {
        Ok(established) => {
            let event = rt.emit_because(
                options.cause,
                ConnectionReady {
                    address: to,
                    local: established.local.clone(),
                    tls: options.tls.is_some(),
                    peer_spiffe: established.peer.as_ref().and_then(|peer| peer.spiffe_id()).map(str::to_owned),
                },
            );
            Ok(established.finish(event))
        }
        Err(Failure { stage, reached, not_http2, message }) => {
            let failed = ConnectionFailed { address: to, stage, error: message.clone() };
            let event = rt.emit_because(trail.trouble().or(options.cause), failed);
            Err(ConnectError { stage, reached, not_http2, message, event })
        }
    }
}

/// A stream of any kind, with or without TLS.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

struct Attempt<'a> {
    rt: &'a Runtime,
    to: &'a Address,
    options: &'a ConnectOptions,
    deadline: Instant,
    trail: Trail,
}

struct Failure {
    stage: Stage,
    reached: Stage,
    not_http2: bool,
    message: String,
}

impl Failure {
    fn at(stage: Stage, message: String) -> Self {
        Self { stage, reached: stage, not_http2: false, message }
    }

    /// The deadline passed at `reached`.
    fn late(reached: Stage, message: String) -> Self {
        Self { stage: Stage::Deadline, reached, not_http2: false, message }
    }
}

impl Attempt<'_> {
    async fn run(&self) -> Result<connection::Established, Failure> {
        let stream = self.dial().await?;
        let (local, remote) = (stream.local_address(), stream.peer_address());
        let (stream, peer) = self.secure(stream).await?;

        let signals = Arc::new(Signals::default());
        let heard = self.options.keepalive.map(|_| Heard::now());
        let tap = FrameTap::new(stream, Arc::clone(&signals), heard.clone());
        let settings = async {
            let (send, mut connection) =
                builder().handshake::<_, Bytes>(tap).await.map_err(|error| match signals.ended.get() {
                    Some(reason) => reason.text(),
                    None => failure_text(&error),
                })?;
            let pinger = self.options.keepalive.zip(heard).map(|(keepalive, heard)| {
                Pinger::new(keepalive, connection.ping_pong().expect("asked for once"), heard)
            });
            // Whoever stops waiting for this attempt ends its task, too.
            let driver = self.rt.spawn("http2 client", Arc::clone(&signals).watch(connection, pinger)).abort_on_drop();
            tokio::select! {
                biased;
                () = signals.settings.wait() => {
                    driver.release();
                    Ok(send)
                }
                reason = signals.ended.wait() => Err(reason.text()),
            }
        };
        let preface = |error: String| {
            // The server judges our certificate after our handshake is over; if it hangs up there, that is why.
            let stage = match self.options.tls {
                Some(_) if !signals.peer_spoke() => Stage::Tls,
                None if error == tap::SPEAKS_TLS => Stage::Tls,
                _ => Stage::Http2,
            };
            let message = format!("error reading server preface: {error}");
            Failure { not_http2: signals.is_foreign(), ..Failure::at(stage, message) }
        };
        let send = match tokio::time::timeout_at(self.deadline, settings).await {
            Ok(outcome) => outcome.map_err(preface)?,
            Err(_) => {
                let waited = "error reading server preface: no SETTINGS frame came: context deadline exceeded";
                return Err(Failure::late(Stage::Http2, waited.to_owned()));
            }
        };
        Ok(connection::Established {
            rt: self.rt.clone(),
            send,
            signals,
            peer: peer.map(Arc::new),
            local,
            remote,
            trail: self.trail.clone(),
        })
    }

    async fn dial(&self) -> Result<Box<dyn Stream>, Failure> {
        let dial = match self.to {
            Address::Tcp(address) => format!("dial tcp {address}"),
            Address::Unix(path) => format!("dial unix {}", path.display()),
        };
        match tokio::time::timeout_at(self.deadline, self.rt.connect_on(&self.trail, self.to.clone())).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => {
                let error = crate::net::describe_io(&error);
                Err(Failure::at(Stage::Tcp, format!("transport: Error while dialing: {dial}: connect: {error}")))
            }
            Err(_) => Err(Failure::late(Stage::Tcp, format!("transport: Error while dialing: {dial}: i/o timeout"))),
        }
    }

    async fn secure(&self, stream: Box<dyn Stream>) -> Result<(Box<dyn Io>, Option<PeerCertificate>), Failure> {
        let Some(tls) = &self.options.tls else { return Ok((Box::new(stream), None)) };
        let failed = |error: &str| format!("transport: authentication handshake failed: {error}");
        match tokio::time::timeout_at(self.deadline, tls.connect(stream)).await {
            Ok(Ok((stream, peer))) => Ok((Box::new(stream), Some(peer))),
            Ok(Err(error)) => Err(Failure::at(Stage::Tls, failed(&tls::describe(&error)))),
            Err(_) => Err(Failure::late(Stage::Tls, failed("context deadline exceeded"))),
        }
    }
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_HEADER_LIST_SIZE)
        .max_send_buffer_size(SEND_BUFFER)
        .initial_max_send_streams(FIRST_STREAMS)
        // Frames that come late for a stream that h2 has forgotten are no attack.
        .max_local_error_reset_streams(None)
        .reset_stream_duration(REMEMBER_RESET_STREAMS)
        .enable_push(false);
    builder
}
