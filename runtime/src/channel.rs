//! A plain gRPC channel: one target, one connection at a time, as grpc-go's `pick_first` with one address.
//!
//! It connects when the first call needs it. While it connects, calls wait; once an attempt has failed, calls fail at
//! once (unless they [wait](ChannelOptions::wait_for_ready)) until a later attempt succeeds. A call that never left
//! is sent again on the next connection. `grpc-timeout` is enforced here as well.
//!
//! ```no_run
//! use hermesh_runtime::channel::{Channel, ChannelOptions};
//!
//! let rt = hermesh_runtime::os::runtime();
//! let channel = Channel::new(&rt, "localhost:7070", ChannelOptions::default())?;
//! let client = tonic::client::Grpc::new(channel); // or any client that tonic generates
//! # Ok::<(), hermesh_runtime::channel::TargetError>(())
//! ```

use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower_service::Service;

use crate::backoff::Backoff;
use crate::http2::{CallError, ConnectOptions, Connection, Keepalive, connect_on};
use crate::latch::Latch;
use crate::tls::ClientTls;
use crate::{Address, Draws, EventId, Runtime, TaskGuard, Trail, deadline};

/// grpc-go's resolver takes this port where none is given.
const DEFAULT_PORT: u16 = 443;

/// How often a call may find that its connection has just closed.
const MAX_SENDS: usize = 5;

/// How a channel connects.
#[derive(Clone, Debug, Default)]
pub struct ChannelOptions {
    /// Speaks plain text if `None`.
    pub tls: Option<ClientTls>,
    /// The `:authority` of requests; the target's `host:port` if `None`, `localhost` for a Unix socket.
    pub authority: Option<String>,
    /// No pings if `None`.
    pub keepalive: Option<Keepalive>,
    /// Whether calls wait through failed attempts, up to their deadline.
    pub wait_for_ready: bool,
}

/// A gRPC channel for clients that tonic generates. Cheap to clone; the last clone closes it.
#[derive(Clone)]
pub struct Channel {
    shared: Arc<Shared>,
}

impl Channel {
    /// A channel to `host:port`, `ip:port` or `unix:path`, also written as `dns:///host:port` or
    /// `passthrough:///ip:port`. It draws its jitter from the stream `channel/<target>`.
    ///
    /// # Errors
    /// If `target` is neither, or the authority is not one.
    pub fn new(rt: &Runtime, target: &str, options: ChannelOptions) -> Result<Self, TargetError> {
        let endpoint: Target = target.parse()?;
        let authority = options.authority.clone().unwrap_or_else(|| endpoint.authority());
        let authority = Authority::try_from(authority)
            .map_err(|_| TargetError { target: target.to_owned(), problem: "its authority is not one".to_owned() })?;
        let scheme = if options.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let connect = ConnectOptions { tls: options.tls, keepalive: options.keepalive, ..ConnectOptions::default() };
        let draws = rt.draws(&format!("channel/{target}"));
        Ok(Self {
            shared: Arc::new(Shared {
                target: target.to_owned(),
                dialer: Dialer { rt: rt.clone(), endpoint, connect },
                wait_for_ready: options.wait_for_ready,
                origin: (scheme, authority),
                state: Mutex::new(State {
                    phase: Phase::Idle,
                    attempt: Trail::default(),
                    backoff: Backoff::default(),
                    draws,
                    connector: None,
                }),
            }),
        })
    }

    /// Connects, unless it has a connection.
    ///
    /// # Errors
    /// As a call would fail for want of a connection.
    pub async fn connect(&self) -> Result<(), Status> {
        self.shared.connection().await.map(drop)
    }

    /// The event behind what goes wrong with the channel: what holds up the attempt under way, why the last one failed,
    /// or [what troubles its connection](Connection::trouble).
    #[must_use]
    pub fn trouble(&self) -> Option<EventId> {
        let state = self.shared.state();
        match &state.phase {
            Phase::Idle => None,
            Phase::Connecting { failure, .. } => {
                state.attempt.trouble().or_else(|| failure.as_ref().and_then(|failure| failure.event))
            }
            Phase::Ready(connection) => connection.trouble(),
        }
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Response<Body>, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let timeout = deadline::timeout(request.headers()).map_err(|error| Status::internal(error.to_string()))?;
            let Some(deadline) = timeout.and_then(|timeout| Instant::now().checked_add(timeout)) else {
                return shared.call(request).await;
            };
            match tokio::time::timeout_at(deadline, shared.call(request)).await {
                Ok(response) => response.map(|response| response.map(|body| deadline::fail_at(body, deadline))),
                Err(_) => Err(deadline::exceeded()),
            }
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Channel({})", self.shared.target)
    }
}

/// The target names no place to connect to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("target `{target}` is not understood: {problem}; expected `host:port`, `ip:port` or `unix:path`")]
#[non_exhaustive]
pub struct TargetError {
    /// What was given.
    pub target: String,
    /// What is wrong with it.
    pub problem: String,
}

struct Shared {
    target: String,
    dialer: Dialer,
    wait_for_ready: bool,
    origin: (Scheme, Authority),
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    /// What is known of the attempt under way.
    attempt: Trail,
    backoff: Backoff,
    draws: Draws,
    /// Ends with the channel.
    connector: Option<TaskGuard>,
}

enum Phase {
    Idle,
    Connecting {
        /// How the last attempt failed, if one did since the channel was last ready.
        failure: Option<Failure>,
        outcome: Arc<Outcome>,
    },
    Ready(Connection),
}

/// Why an attempt failed, and the event that tells of it.
#[derive(Clone)]
struct Failure {
    status: Status,
    event: Option<EventId>,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, event: None }
    }
}

/// How the current attempt ends.
type Outcome = Latch<Result<Connection, Failure>>;

impl Shared {
    async fn call(self: &Arc<Self>, request: Request<Body>) -> Result<Response<Body>, Status> {
        let mut request = self.addressed(request)?;
        let mut sends = 0;
        loop {
            sends += 1;
            match self.connection().await?.call(request).await {
                Ok(response) => return Ok(response),
                Err(CallError::Unsent { request: unsent, .. }) if sends < MAX_SENDS => request = *unsent,
                Err(error) => return Err(error.into_status()),
            }
        }
    }

    fn addressed(&self, request: Request<Body>) -> Result<Request<Body>, Status> {
        let (mut head, body) = request.into_parts();
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        let (scheme, authority) = &self.origin;
        uri.scheme = Some(scheme.clone());
        uri.authority.get_or_insert_with(|| authority.clone());
        head.uri = Uri::from_parts(uri).map_err(|error| Status::internal(format!("request URI: {error}")))?;
        Ok(Request::from_parts(head, body))
    }

    async fn connection(self: &Arc<Self>) -> Result<Connection, Status> {
        loop {
            let outcome = {
                let mut state = self.state();
                match &state.phase {
                    Phase::Ready(connection) if !connection.is_closed() => return Ok(connection.clone()),
                    Phase::Connecting { failure: Some(failure), .. } if !self.wait_for_ready => {
                        return Err(failure.status.clone());
                    }
                    Phase::Connecting { outcome, .. } => Arc::clone(outcome),
                    Phase::Idle | Phase::Ready(_) => {
                        let outcome = Arc::<Outcome>::default();
                        state.phase = Phase::Connecting { failure: None, outcome: Arc::clone(&outcome) };
                        let connector = keep_trying(Arc::downgrade(self), self.dialer.clone());
                        state.connector = Some(self.dialer.rt.spawn("channel", connector).abort_on_drop());
                        outcome
                    }
                }
            };
            match outcome.wait().await {
                Ok(connection) => return Ok(connection),
                Err(failure) if !self.wait_for_ready => return Err(failure.status),
                Err(_) => {}
            }
        }
    }

    /// Notes how an attempt ended. Says how long to wait before the next one, if it failed.
    fn note(&self, result: Result<Connection, Failure>) -> Option<std::time::Duration> {
        let mut state = self.state();
        state.attempt = Trail::default();
        let (next, delay) = match &result {
            Ok(connection) => {
                state.backoff.reset();
                (Phase::Ready(connection.clone()), None)
            }
            Err(failure) => {
                let State { backoff, draws, .. } = &mut *state;
                let delay = backoff.next_delay(draws);
                (Phase::Connecting { failure: Some(failure.clone()), outcome: Arc::default() }, Some(delay))
            }
        };
        let last = std::mem::replace(&mut state.phase, next);
        drop(state);
        if let Phase::Connecting { outcome, .. } = last {
            outcome.set(result);
        }
        delay
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries to connect until it succeeds. It must not keep the channel alive.
async fn keep_trying(channel: Weak<Shared>, dialer: Dialer) {
    loop {
        let begin = Instant::now();
        let trail = Trail::default();
        let Some(()) = channel.upgrade().map(|channel| channel.state().attempt = trail.clone()) else { return };
        let result = dialer.dial(&trail).await;
        let Some(delay) = channel.upgrade().and_then(|channel| channel.note(result)) else { return };
        tokio::time::sleep_until(begin + delay).await;
    }
}

#[derive(Clone)]
struct Dialer {
    rt: Runtime,
    endpoint: Target,
    connect: ConnectOptions,
}

impl Dialer {
    /// One attempt: the addresses of the target in turn.
    async fn dial(&self, trail: &Trail) -> Result<Connection, Failure> {
        let addresses: Vec<Address> = match &self.endpoint {
            Target::Unix(path) => vec![Address::Unix(path.clone())],
            Target::Ip(address) => vec![Address::Tcp(*address)],
            Target::Host(host, port) => {
                let found = within(self.connect.deadline, self.rt.resolve(host)).await.map_err(|error| {
                    let error = match error.kind() {
                        std::io::ErrorKind::NotFound => "no such host".to_owned(),
                        std::io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
                        _ => error.to_string(),
                    };
                    Status::unavailable(format!("dns: A record lookup error: lookup {host}: {error}"))
                })?;
                found.into_iter().map(|ip| Address::Tcp(SocketAddr::new(ip, *port))).collect()
            }
        };
        let mut failure = Status::unavailable("name resolver error: produced zero addresses").into();
        for address in addresses {
            match connect_on(&self.rt, trail, address, &self.connect).await {
                // That it closes is noticed by the next call.
                Ok((connection, _closed)) => return Ok(connection),
                Err(error) => failure = Failure { status: error.status(), event: error.event },
            }
        }
        Err(failure)
    }
}

async fn within<T>(limit: std::time::Duration, work: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// What a target names.
///
/// ```
/// use hermesh_runtime::channel::Target;
///
/// let istiod = Target::Host("istiod.istio-system.svc".to_owned(), 15012);
/// assert_eq!("dns:///istiod.istio-system.svc:15012".parse(), Ok(istiod));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A name that DNS resolves, and a port.
    Host(String, u16),
}

impl Target {
    /// The `:authority` of requests unless someone says otherwise.
    #[must_use]
    pub fn authority(&self) -> String {
        match self {
            Self::Unix(_) => "localhost".to_owned(),
            Self::Ip(address) => address.to_string(),
            Self::Host(host, port) => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads what gRPC's `naming.md` describes, as far as grpc-go has it. The port is 443 unless given.
    fn from_str(target: &str) -> Result<Self, Self::Err> {
        let error = |problem: &str| TargetError { target: target.to_owned(), problem: problem.to_owned() };
        if target.starts_with("unix:") {
            return match target.parse() {
                Ok(Address::Unix(path)) => Ok(Self::Unix(path)),
                _ => Err(error("it has no path")),
            };
        }
        let schemes = ["dns:///", "passthrough:///", "dns:", "passthrough:"];
        let name = schemes.iter().find_map(|scheme| target.strip_prefix(scheme)).unwrap_or(target);
        if name.contains('/') {
            return Err(error("its scheme is not known here"));
        }
        if let Ok(address) = name.parse() {
            return Ok(Self::Ip(address));
        }
        if let Ok(ip) = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            return Ok(Self::Ip(SocketAddr::new(ip, DEFAULT_PORT)));
        }
        let (host, port) = match name.rsplit_once(':') {
            Some((host, port)) => {
                let not_a_port = |_| error(&format!("port {port:?} is not from 0 to 65535"));
                (host, port.parse().map_err(not_a_port)?)
            }
            None => (name, DEFAULT_PORT),
        };
        if host.is_empty() || host.contains([':', '@', '[', ']', ' ']) {
            return Err(error("it names no host"));
        }
        Ok(Self::Host(host.to_owned(), port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_as_grpc_names_them() {
        let host = |name: &str, port| Ok(Target::Host(name.to_owned(), port));
        assert_eq!("echo:7070".parse(), host("echo", 7070));
        assert_eq!("dns:///echo.ns.svc:7070".parse(), host("echo.ns.svc", 7070));
        assert_eq!("echo".parse(), host("echo", 443));
        assert_eq!("10.0.0.1:80".parse(), Ok(Target::Ip("10.0.0.1:80".parse().unwrap())));
        assert_eq!("passthrough:///[::1]:80".parse(), Ok(Target::Ip("[::1]:80".parse().unwrap())));
        assert_eq!("unix:///run/XDS".parse(), Ok(Target::Unix("/run/XDS".into())));
    }

    #[test]
    fn other_targets_are_refused_by_name() {
        let rt = crate::os::runtime();
        for (target, problem) in [
            ("", "no host"),
            (":80", "no host"),
            ("xds:///echo:7070", "scheme"),
            ("echo:port", "port \"port\""),
            ("unix:", "no path"),
        ] {
            let error = Channel::new(&rt, target, ChannelOptions::default()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{target}`")) && error.contains(problem), "{error}");
        }
    }
}
