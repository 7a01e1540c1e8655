//! The shell around [`Subchannel`]: dials when asked, and reports.

use std::sync::Arc;
use std::time::Duration;

use hermesh_runtime::http2::{self, CloseReason, ConnectError, ConnectOptions, Connection, Keepalive, Stage};
use hermesh_runtime::tls::ClientTls;
use hermesh_runtime::{EventId, Runtime, TaskGuard, Trail};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::actor::Event;
use super::events::SubchannelStateChanged;
use crate::balancer::{SubchannelId, SubchannelKey, SubchannelState};
use crate::cause::{Cause, Failure};
use crate::certificate_provider::CertificateProviders;
use crate::credentials::{ChannelCredentials, san_rule};
use crate::resource::UpstreamTlsContext;
use crate::subchannel::{ConnectivityState, Subchannel};

/// What all subchannels of a channel have in common.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) rt: Runtime,
    pub(super) target: Arc<str>,
    /// The host of the channel's authority, for SNI.
    pub(super) server_name: String,
    pub(super) credentials: ChannelCredentials,
    pub(super) providers: CertificateProviders,
    pub(super) keepalive: Option<Keepalive>,
    /// The name of the channel's random choices.
    pub(super) draws: String,
    pub(super) events: mpsc::UnboundedSender<Event>,
}

/// A running subchannel; ends when dropped. Its connection lives on while RPCs are in flight.
#[derive(Debug)]
pub(super) struct Running {
    connect: Arc<Notify>,
    _task: TaskGuard,
}

impl Running {
    /// `cause` is the event of the configuration that wants the subchannel.
    pub(super) fn start(
        connector: &Arc<Connector>,
        id: SubchannelId,
        key: SubchannelKey,
        cause: Option<EventId>,
    ) -> Self {
        let connect = Arc::new(Notify::new());
        let task = Task { connector: connector.clone(), id, key, connect: connect.clone(), wanted: cause };
        Self { connect, _task: connector.rt.spawn("subchannel", task.run()).abort_on_drop() }
    }

    /// Starts an attempt if the subchannel is IDLE.
    pub(super) fn connect(&self) {
        self.connect.notify_one();
    }
}

/// The event of a state, and while connecting what becomes of the attempt.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) event: Option<EventId>,
    pub(super) trail: Option<Trail>,
}

impl From<Option<EventId>> for Heard {
    fn from(event: Option<EventId>) -> Self {
        Self { event, trail: None }
    }
}

struct Task {
    connector: Arc<Connector>,
    id: SubchannelId,
    key: SubchannelKey,
    connect: Arc<Notify>,
    /// Why it is to connect: the configuration, later the loss of the last connection.
    wanted: Option<EventId>,
}

impl Task {
    async fn run(mut self) {
        let mut draws = self.connector.rt.draws(&format!("{}/subchannel/{}", self.connector.draws, self.id));
        let mut machine = Subchannel::default();
        loop {
            self.connect.notified().await;
            let Some(limit) = machine.connect(&mut draws) else { continue };
            let attempt = self.emit(ConnectivityState::Connecting, None, self.wanted);
            let trail = Trail::because(attempt);
            self.report(SubchannelState::Connecting, None, Heard { event: attempt, trail: Some(trail.clone()) });
            match self.dial(limit, &trail).await {
                Ok((connection, closed)) => {
                    machine.connected();
                    let ready = self.emit(ConnectivityState::Ready, None, connection.event());
                    let trail = connection.trail().clone();
                    self.report(SubchannelState::Ready, Some(connection), ready.into());
                    let reason = match closed.await {
                        CloseReason::GoAway => "the peer sent GOAWAY".to_owned(),
                        CloseReason::Closed(reason) => reason,
                        other => format!("{other:?}"),
                    };
                    machine.lost();
                    self.wanted = self.emit(ConnectivityState::Idle, Some(reason), trail.trouble().or(ready));
                    self.report(SubchannelState::Idle, None, self.wanted.into());
                }
                Err(failure) => {
                    let until = machine.failed(Instant::now());
                    let message = Some(failure.message.clone());
                    let event = self.emit(ConnectivityState::TransientFailure, message, failure.event);
                    self.report(SubchannelState::TransientFailure(failure.because(event)), None, event.into());
                    tokio::time::sleep_until(until).await;
                    machine.tick(Instant::now());
                    let idle = self.emit(ConnectivityState::Idle, None, event);
                    self.report(SubchannelState::Idle, None, idle.into());
                }
            }
        }
    }

    async fn dial(&self, limit: Duration, trail: &Trail) -> Result<(Connection, http2::Closed), Failure> {
        let started = Instant::now();
        let tls = match &self.key.security.0 {
            None => self.connector.credentials.fallback_tls(),
            Some(context) => match tokio::time::timeout(limit, self.tls(context)).await {
                Ok(tls) => Some(tls.map_err(handshake_failed)?),
                Err(_) => return Err(handshake_failed("context deadline exceeded".to_owned())),
            },
        };
        let deadline = limit.saturating_sub(started.elapsed());
        let keepalive = self.connector.keepalive;
        let options = ConnectOptions { tls, deadline, keepalive, cause: trail.cause() };
        let (rt, address) = (&self.connector.rt, self.key.address.clone());
        http2::connect_on(rt, trail, address, &options).await.map_err(|error| failure(&error))
    }

    /// TLS with the certificates in force now; waits until there are some.
    async fn tls(&self, context: &UpstreamTlsContext) -> Result<ClientTls, String> {
        let provider = |name: &str| {
            let missing = || format!("certificate provider instance name {name:?} missing in bootstrap configuration");
            self.connector.providers.provider(name).ok_or_else(missing)
        };
        let roots = provider(&context.roots.instance_name)?.roots().await;
        let identity = match &context.identity {
            Some(instance) => Some(provider(&instance.instance_name)?.identity().await),
            None => None,
        };
        let rule = san_rule(&context.subject_alt_names);
        ClientTls::new(&self.connector.rt, &self.connector.server_name, roots, identity, rule)
            .map_err(|error| error.to_string())
    }

    fn report(&self, state: SubchannelState, connection: Option<Connection>, heard: Heard) {
        // A channel that is gone needs no reports; this task is about to be dropped.
        let _ = self.connector.events.send(Event::Subchannel { id: self.id, state, connection, heard });
    }

    fn emit(&self, state: ConnectivityState, error: Option<String>, cause: Option<EventId>) -> Option<EventId> {
        let (target, address) = (self.connector.target.clone(), self.key.address.clone());
        let tls = self.key.security.is_tls();
        self.connector.rt.emit_because(cause, SubchannelStateChanged { target, address, tls, state, error })
    }
}

fn handshake_failed(error: String) -> Failure {
    let message = format!("connection error: desc = \"transport: authentication handshake failed: {error}\"");
    Failure::new(Cause::TlsHandshake, message)
}

/// The kind of failure. A deadline that passed is told by what was waited for.
fn failure(error: &ConnectError) -> Failure {
    let cause = match (error.stage, error.reached) {
        (_, Stage::Tls) => Cause::TlsHandshake,
        (Stage::Deadline, Stage::Http2) => Cause::ConnectionLost,
        // Whoever speaks something else than HTTP/2 is not an xDS server that hangs up on everyone.
        (_, Stage::Http2) if error.not_http2 => Cause::ConnectionLost,
        (_, Stage::Http2) => Cause::XdsServerNotServing,
        _ => Cause::TcpConnect,
    };
    Failure::new(cause, error.to_string()).because(error.event)
}
