//! One listening socket: its LDS and RDS watches, its serving mode and its connections.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use hermesh_runtime::server::{Acceptor, Drain, DrainHandle, ServeOptions, drain, serve_connection};
use hermesh_runtime::tls::{ClientAuth, ServerTls};
use hermesh_runtime::{Address, Draws, EventId, Listener, Runtime, Stream};
use tokio::sync::mpsc;

use super::authorization::Authorization;
use super::filter_chain::find_filter_chain;
use super::service::{RouteTable, RpcService};
use super::{ServingMode, XdsServer};
use crate::ads::client::WatchEvent;
use crate::certificate_provider::CertificateProviders;
use crate::client::{Notice, Watch, XdsClient, draws_path};
use crate::credentials::ServerCredentials;
use crate::resource::{
    DownstreamTlsContext, FilterChain, ListenerKind, Resource, ResourceType, RouteSource, ServerListener,
};

hermesh_runtime::event! {
    /// A listening socket began to serve, or was told why it does not.
    ServingModeChanged = "server.serving" {
        /// Where it listens.
        address: SocketAddr,
        /// The number of its xDS client in the process.
        client_ordinal: u64,
        /// `SERVING` or `NOT_SERVING`.
        mode: &'static str,
        /// Why it does not serve.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    }

    /// A connection was closed right after it was accepted.
    ConnectionTurnedAway = "server.turned_away" {
        /// Where it was accepted.
        address: SocketAddr,
        /// Who connected.
        peer: Address,
        /// Why it is not served.
        error: String,
    }

    /// New connections of a listening socket use this configuration from now on.
    ListenerApplied = "listener.applied" {
        /// Where it listens.
        address: SocketAddr,
        /// The number of its xDS client in the process.
        client_ordinal: u64,
        /// The listener resource's name.
        listener: String,
        /// The version of the response that brought it.
        listener_version: Arc<str>,
        /// The filter chains' names and whether they want TLS.
        filter_chains: AppliedChains,
        /// Whether there was another before, whose connections were told to finish.
        draining: bool,
    }
}

/// The filter chains of a listener in use: in the trace their names and whether they want TLS.
#[derive(Clone, Debug, serde::Serialize)]
#[serde(into = "BTreeMap<String, bool>")]
pub struct AppliedChains(pub Arc<ServerListener>);

impl From<AppliedChains> for BTreeMap<String, bool> {
    fn from(AppliedChains(listener): AppliedChains) -> Self {
        chains(&listener).map(|it| (it.name.clone(), it.security.is_some())).collect()
    }
}

pub(super) type OnServingMode = Arc<dyn Fn(SocketAddr, &ServingMode) + Send + Sync>;

pub(super) struct ListenerTask {
    server: XdsServer,
    client: Arc<XdsClient>,
    address: SocketAddr,
    name: String,

    tell: mpsc::UnboundedSender<Notice>,
    notices: mpsc::UnboundedReceiver<Notice>,
    routes: BTreeMap<String, Watch>,
    table: RouteTable,

    pending: Option<Candidate>,
    active: Option<Active>,
    draws: Arc<Mutex<Draws>>,
    /// Tells when the last connection is gone.
    open: (DrainHandle, Option<Drain>),
    /// The event that last told of the serving mode.
    told: Option<EventId>,
}

/// A listener that waits for its routes.
struct Candidate {
    listener: Arc<ServerListener>,
    version: Arc<str>,
}

/// The listener in force.
struct Active {
    listener: Arc<ServerListener>,
    version: Arc<str>,
    connections: DrainHandle,
    drain: Drain,
    /// The event that recorded its use.
    event: Option<EventId>,
}

struct TurnAway {
    rt: Runtime,
    address: SocketAddr,
    peer: Address,
}

impl TurnAway {
    fn because(self, cause: Option<EventId>, error: String) {
        let Self { rt, address, peer } = self;
        rt.emit_because(cause, ConnectionTurnedAway { address, peer, error });
    }
}

impl ListenerTask {
    pub(super) fn new(server: XdsServer, client: Arc<XdsClient>, address: SocketAddr, name: String) -> Self {
        let (tell, notices) = mpsc::unbounded_channel();
        let draws = server.rt.draws(&draws_path(&server.rt, &format!("xds-server/{address}")));
        let (handle, open) = drain();
        Self {
            server,
            client,
            address,
            name,
            tell,
            notices,
            routes: BTreeMap::new(),
            table: RouteTable::default(),
            pending: None,
            active: None,
            draws: Arc::new(Mutex::new(draws)),
            open: (handle, Some(open)),
            told: None,
        }
    }

    pub(super) async fn run(mut self, socket: Box<dyn Listener>, stop: Drain) -> io::Result<()> {
        let _watch = self.client.watch(ResourceType::Listener, &self.name, self.tell.clone());
        let mut acceptor = Acceptor::new(&self.server.rt, socket);
        loop {
            tokio::select! {
                biased;
                () = stop.wait() => break,
                Some(notice) = self.notices.recv() => self.notice(notice),
                accepted = acceptor.accept() => self.accept(accepted?),
            }
        }
        drop(acceptor);
        // What is not taken in any more must not keep the client from reading on.
        self.notices.close();
        while self.notices.try_recv().is_ok() {}
        if let Some(active) = self.active.take() {
            active.connections.drain();
        }
        self.open.1 = None;
        self.open.0.finished().await;
        Ok(())
    }

    fn notice(&mut self, notice: Notice) {
        match (notice.resource_type, notice.event) {
            (ResourceType::Listener, WatchEvent::Update { resource: Resource::Listener(listener), version }) => {
                match &listener.kind {
                    ListenerKind::Server(server) => self.listener(server, version, notice.cause),
                    ListenerKind::Client(_) => {
                        let message = format!("received client-side listener resource {:?} on server-side", self.name);
                        self.stop_serving(message, notice.cause);
                    }
                }
            }
            (ResourceType::Listener, WatchEvent::ResourceError(error)) => {
                self.stop_serving(error.to_string(), notice.cause);
            }
            (ResourceType::RouteConfiguration, event) => self.route_configuration(&notice.name, event, notice.cause),
            // What is in use stays in use.
            _ => {}
        }
        drop(notice.processing);
    }

    fn listener(&mut self, listener: &ServerListener, version: Arc<str>, cause: Option<EventId>) {
        let port_matches = listener.port == 0 || listener.port == self.address.port();
        if listener.address != self.address.ip().to_string() || !port_matches {
            let message = format!(
                "address ({}:{}) in Listener update does not match listening address: ({})",
                listener.address, listener.port, self.address
            );
            return self.stop_serving(message, cause);
        }
        self.pending = Some(Candidate { listener: Arc::new(listener.clone()), version });
        self.follow_routes();
        self.activate(cause);
    }

    fn route_configuration(&mut self, name: &str, event: WatchEvent, cause: Option<EventId>) {
        if !self.routes.contains_key(name) {
            // Its watch ended while this was on its way.
            return;
        }
        match event {
            WatchEvent::Update { resource: Resource::RouteConfiguration(routes), .. } => {
                self.table.set(name, Ok(routes));
            }
            WatchEvent::ResourceError(error) => self.table.set(name, Err(error.to_string())),
            WatchEvent::Update { .. } | WatchEvent::AmbientError(_) => return,
        }
        self.activate(cause);
    }

    /// Watches the route configurations that the listeners in force and to come name, and no others.
    fn follow_routes(&mut self) {
        let listeners = self.pending.iter().map(|it| &it.listener).chain(self.active.iter().map(|it| &it.listener));
        let wanted: BTreeSet<String> = listeners.flat_map(|listener| route_names(listener)).collect();
        let table = &self.table;
        self.routes.retain(|name, _| {
            let keep = wanted.contains(name);
            if !keep {
                table.remove(name);
            }
            keep
        });
        for name in wanted {
            let watch = |name: &String| self.client.watch(ResourceType::RouteConfiguration, name, self.tell.clone());
            self.routes.entry(name).or_insert_with_key(watch);
        }
    }

    /// Puts the pending listener in force once all its routes are known or known to be in error.
    fn activate(&mut self, cause: Option<EventId>) {
        let Some(candidate) = &self.pending else { return };
        if route_names(&candidate.listener).any(|name| self.table.get(&name).is_none()) {
            return;
        }
        let Some(Candidate { listener, version }) = self.pending.take() else { return };
        let same = self.active.as_ref().is_some_and(|active| active.listener == listener);
        let event = self.server.rt.emit_because(
            cause,
            ListenerApplied {
                address: self.address,
                client_ordinal: self.client.ordinal(),
                listener: self.name.clone(),
                listener_version: version.clone(),
                filter_chains: AppliedChains(listener.clone()),
                draining: self.active.is_some() && !same,
            },
        );
        if let Some(active) = self.active.as_mut().filter(|_| same) {
            // What is in force is still so because of the event that put it there.
            active.version = version;
            return;
        }
        let (connections, drain) = drain();
        let was_serving = match self.active.replace(Active { listener, version, connections, drain, event }) {
            Some(old) => {
                old.connections.drain();
                true
            }
            None => false,
        };
        self.follow_routes();
        if !was_serving {
            self.tell_mode(ServingMode::Serving, event.or(cause));
        }
    }

    fn stop_serving(&mut self, reason: String, cause: Option<EventId>) {
        self.pending = None;
        if let Some(old) = self.active.take() {
            old.connections.drain();
        }
        self.follow_routes();
        self.tell_mode(ServingMode::NotServing(reason), cause);
    }

    fn tell_mode(&mut self, mode: ServingMode, cause: Option<EventId>) {
        let (name, error) = match &mode {
            ServingMode::Serving => ("SERVING", None),
            ServingMode::NotServing(reason) => ("NOT_SERVING", Some(reason.clone())),
        };
        let (address, client_ordinal) = (self.address, self.client.ordinal());
        let told = ServingModeChanged { address, client_ordinal, mode: name, error };
        self.told = self.server.rt.emit_because(cause, told);
        (self.server.on_serving_mode)(self.address, &mode);
    }

    fn accept(&self, stream: Box<dyn Stream>) {
        let turn_away = TurnAway { rt: self.server.rt.clone(), address: self.address, peer: stream.peer_address() };
        let (Address::Tcp(local), Address::Tcp(peer)) = (stream.local_address(), stream.peer_address()) else {
            return turn_away.because(None, "it is no TCP connection".to_owned());
        };
        let (active, chain) = match self.chain_for(local, peer) {
            Ok(chosen) => chosen,
            Err((error, cause)) => return turn_away.because(cause, error),
        };
        let (router, routes, table) = (self.server.router.clone(), chain.http.routes.clone(), self.table.clone());
        let (draws, filters) = (self.draws.clone(), chain.http.http_filters.clone().into());
        let serve = {
            let (rt, cause) = (self.server.rt.clone(), active.event);
            move |is_tls| {
                let authorization = Authorization { rt, filters, local, peer, is_tls, cause };
                RpcService { router, routes, table, draws, authorization }
            }
        };
        let rt = self.server.rt.clone();
        let security = self.security(chain);
        let options = ServeOptions { cause: active.event, ..self.server.options.clone() };
        let (drain, open, cause) = (active.drain.clone(), self.open.1.clone(), active.event);
        self.server.rt.spawn("xds-server connection", async move {
            // Certificates may be late; the peer is not kept waiting for ever, nor past the listener's end.
            let tls = tokio::select! {
                biased;
                () = drain.wait() => Err("the listener is draining".to_owned()),
                tls = tokio::time::timeout(options.handshake_deadline, security) => {
                    tls.unwrap_or_else(|_| Err("no certificates came in time".to_owned()))
                }
            };
            match tls {
                // How it ended is told by events.
                Ok(tls) => {
                    let service = serve(tls.is_some());
                    drop(serve_connection(&rt, stream, tls.as_ref(), &options, service, drain).await);
                }
                Err(error) => turn_away.because(cause, error),
            }
            drop(open);
        });
    }

    fn chain_for(
        &self,
        local: SocketAddr,
        peer: SocketAddr,
    ) -> Result<(&Active, &FilterChain), (String, Option<EventId>)> {
        let Some(active) = &self.active else {
            return Err(("the listener is not serving".to_owned(), self.told));
        };
        let wildcard = self.address.ip().is_unspecified();
        match find_filter_chain(&active.listener, wildcard, local.ip(), peer) {
            Ok(chain) => Ok((active, chain)),
            Err(error) => Err((error, active.event)),
        }
    }

    fn security(&self, chain: &FilterChain) -> BoxFuture<'static, Result<Option<ServerTls>, String>> {
        match (&self.server.credentials, &chain.security) {
            (ServerCredentials::Xds { .. }, Some(context)) => {
                let (rt, providers, context) =
                    (self.server.rt.clone(), self.client.providers().clone(), context.clone());
                Box::pin(async move { tls(&rt, &providers, &context).await.map(Some) })
            }
            (credentials, _) => Box::pin(std::future::ready(Ok(credentials.fallback_tls()))),
        }
    }
}

/// TLS with the certificates in force now; waits until there are some.
async fn tls(
    rt: &Runtime,
    providers: &CertificateProviders,
    context: &DownstreamTlsContext,
) -> Result<ServerTls, String> {
    let provider = |name: &str| {
        let missing = || format!("certificate provider instance name {name:?} missing in bootstrap configuration");
        providers.provider(name).ok_or_else(missing)
    };
    let identity = provider(&context.identity.instance_name)?.identity().await;
    let clients = match &context.roots {
        Some(roots) if context.require_client_certificate => {
            ClientAuth::Required(provider(&roots.instance_name)?.roots().await)
        }
        _ => ClientAuth::None,
    };
    ServerTls::new(rt, identity, clients).map_err(|error| error.to_string())
}

fn chains(listener: &ServerListener) -> impl Iterator<Item = &FilterChain> {
    listener.filter_chains.iter().chain(&listener.default_filter_chain)
}

fn route_names(listener: &ServerListener) -> impl Iterator<Item = String> {
    chains(listener).filter_map(|chain| match &chain.http.routes {
        RouteSource::Rds(name) => Some(name.clone()),
        RouteSource::Inline(_) => None,
    })
}
