//! Istiod itself: a watch in, xDS and certificates out.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::http2::Keepalive;
use hermesh_runtime::server::{Drain, Router, Server};
use hermesh_runtime::tls::{ClientAuth, Identity, ServerTls, TrustBundle};
use hermesh_runtime::{Address, Draws, EventId, Listener, Runtime, TaskGuard, http1};
use hermesh_xds::ads::server::Rules;
use http::{Request, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::authentication::Authenticator;
use crate::ca::proto::istio_certificate_service_server::IstioCertificateServiceServer;
use crate::ca::{
    self, CertificateAuthority, CertificateService, DEFAULT_LEAF_TTL, MAX_LEAF_TTL, SignError, StoredRoot,
    StoredRootError, TokenReview,
};
use crate::debug;
use crate::disruption::{Disruptions, Door, Service};
use crate::push::{
    Addresses, Debounce, DebounceTimes, DiscoveryService, Gate, Hub, IstiodStatus, Registrations, Update, Writer,
};
use crate::snapshot::Mesh;
use crate::watch::{Store, WatchSource, Watched};

/// What istiod pings clients with, and how long it waits for them (`pilot/pkg/keepalive`, Helm's defaults).
const KEEPALIVE: Keepalive =
    Keepalive { interval: Duration::from_secs(30), timeout: Duration::from_secs(10), while_idle: true };

hermesh_runtime::event! {
    /// All ports listen.
    Serving = "istiod.serving" {
        plaintext: Option<Address>,
        tls: Option<Address>,
    }

    /// All kinds have been listed: streams are served from now on.
    Ready = "istiod.ready" {
        objects: usize,
    }

    /// The root certificate is handed to the cluster, which puts it into every namespace.
    RootPublished = "istiod.root.published" {
        trust_domain: String,
        /// Whether it is the root of an earlier istiod.
        stored: bool,
    }
}

/// What an istiod is told at its start.
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// The domain of all SPIFFE IDs.
    pub trust_domain: String,
    /// Where mesh-wide configuration lives, and istiod itself.
    pub root_namespace: String,
    /// The domain of all services.
    pub cluster_domain: String,
    /// How changes are gathered into pushes.
    pub debounce: DebounceTimes,
    /// Where istiod's bookkeeping of streams departs from the protocol.
    pub rules: Rules,
    /// How many streams may prepare responses at once (`PILOT_PUSH_THROTTLE`).
    pub push_concurrency: usize,
    /// Where to serve xDS without TLS; nowhere if none.
    pub plaintext: Option<SocketAddr>,
    /// Where to serve xDS and certificates with TLS.
    pub tls: Option<SocketAddr>,
    /// Where to serve `/ready` for kubelet.
    pub readiness: Option<SocketAddr>,
    /// Where to serve `/ready`, `/version` and `/debug/syncz` for those who monitor.
    pub monitoring: Option<SocketAddr>,
    /// The names in the server's certificate.
    pub server_names: Vec<String>,
    /// The life of a certificate for who does not ask for one.
    pub default_leaf_ttl: Duration,
    /// The longest life one may ask for.
    pub max_leaf_ttl: Duration,
    /// The root of an earlier istiod, from where [`publish_root`](Self::publish_root) put it.
    pub stored_root: Option<StoredRoot>,
    /// Takes the root: its certificate goes into ConfigMap `istio-ca-root-cert` of every namespace, the whole into
    /// Secret `istio-ca-secret`.
    pub publish_root: Arc<dyn Fn(&StoredRoot) + Send + Sync>,
    /// Says whose a bearer token is.
    pub token_review: Arc<dyn TokenReview>,
    /// What is done to responses before they leave for their clients; nothing if none.
    pub gate: Option<Gate>,
    /// What makes services late or wrong; nothing if none.
    pub disruptions: Option<Disruptions>,
    /// Writes WorkloadEntries of workloads that register themselves into the cluster; nobody registers if none
    /// (`PILOT_ENABLE_WORKLOAD_ENTRY_AUTOREGISTRATION`).
    pub writer: Option<Writer>,
}

impl Config {
    /// Istio's defaults: trust domain and cluster domain `cluster.local`, namespace `istio-system`, the well-known
    /// ports on all interfaces, a root of its own that nobody is told of.
    #[must_use]
    pub fn new(token_review: Arc<dyn TokenReview>) -> Self {
        let port = |port| Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
        Self {
            trust_domain: "cluster.local".to_owned(),
            root_namespace: "istio-system".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            debounce: DebounceTimes::default(),
            rules: Rules::ISTIO,
            // min(15 + 5 * cores, 100), for one core.
            push_concurrency: 20,
            plaintext: port(15010),
            tls: port(15012),
            readiness: port(8080),
            monitoring: port(15014),
            server_names: server_names("istio-system"),
            default_leaf_ttl: DEFAULT_LEAF_TTL,
            max_leaf_ttl: MAX_LEAF_TTL,
            stored_root: None,
            publish_root: Arc::new(|_| ()),
            token_review,
            gate: None,
            disruptions: None,
            writer: None,
        }
    }
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("trust_domain", &self.trust_domain)
            .field("root_namespace", &self.root_namespace)
            .field("plaintext", &self.plaintext)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// The names istiod is called by in `namespace`.
#[must_use]
pub fn server_names(namespace: &str) -> Vec<String> {
    let mut names = Vec::new();
    for service in ["istiod", "istiod-remote", "istio-pilot"] {
        names.push(format!("{service}.{namespace}.svc"));
    }
    names.push(format!("istiod.{namespace}.svc.cluster.local"));
    names.push(format!("istiod.{namespace}"));
    names.push("istiod".to_owned());
    names
}

/// Why an istiod ended other than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IstiodError {
    /// The root that was stored is none.
    #[error(transparent)]
    StoredRoot(#[from] StoredRootError),
    /// No certificate for the TLS port.
    #[error("server certificate: {0}")]
    ServerCertificate(String),
    /// A port could not be opened, or broke.
    #[error("listen on {address}: {error}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// What the kernel says.
        error: io::Error,
    },
}

/// A control plane that has not begun.
pub struct Istiod {
    rt: Runtime,
    config: Config,
    watch: WatchSource,
    status: IstiodStatus,
    authority: Arc<CertificateAuthority>,
    serials: Arc<Mutex<Draws>>,
}

impl Istiod {
    /// An istiod that serves what `watch` delivers.
    ///
    /// # Errors
    /// If [`Config::stored_root`] is no root.
    pub fn new(rt: Runtime, config: Config, watch: WatchSource) -> Result<Self, IstiodError> {
        let serials = Arc::new(Mutex::new(rt.draws("istiod/serial")));
        let authority = match config.stored_root.clone() {
            Some(stored) => CertificateAuthority::load(stored)?,
            None => {
                let key = KeyPair::generate(&rt);
                CertificateAuthority::self_signed(key, &config.trust_domain, rt.wall(), ca::draw_serial(&serials))
            }
        };
        let authority = Arc::new(authority.with_leaf_ttls(config.default_leaf_ttl, config.max_leaf_ttl));
        let status = IstiodStatus::new(watch.undelivered());
        Ok(Self { rt, config, watch, status, authority, serials })
    }

    /// Tells from outside what this istiod is doing.
    #[must_use]
    pub fn status(&self) -> IstiodStatus {
        self.status.clone()
    }

    /// The root of all certificates.
    #[must_use]
    pub fn root(&self) -> &StoredRoot {
        self.authority.root()
    }

    /// Serves until SIGTERM.
    ///
    /// # Errors
    /// If a port cannot be opened, or breaks.
    pub async fn run(self) -> Result<(), IstiodError> {
        let Self { rt, config, mut watch, status, authority, serials } = self;
        let hub = Hub::new(&rt, status.clone(), config.push_concurrency, config.gate.clone());
        (config.publish_root)(authority.root());
        let stored = config.stored_root.is_some();
        let started = rt.emit(RootPublished { trust_domain: config.trust_domain.clone(), stored });

        let authenticator = Authenticator::new(Arc::clone(&config.token_review), &config.trust_domain);
        let tls = server_tls(&rt, &config, &authority, &serials)?;
        let door = |service| Door::new(&rt, service, config.disruptions.clone());
        let ca_door = door(Service::Authority);
        let certificates =
            CertificateService::new(&rt, Arc::clone(&authority), authenticator.clone(), serials, ca_door);
        let registrations = config.writer.clone().map(|writer| Registrations::new(&rt, writer));
        let _cleaning = registrations
            .clone()
            .map(|registrations| rt.spawn("registrations", registrations.clean_up_periodically()).abort_on_drop());
        let xds_door = door(Service::Discovery);
        let discovery = |authenticator| {
            let (door, registrations) = (xds_door.clone(), registrations.clone());
            DiscoveryService::new(&rt, &hub, config.rules, authenticator, door, registrations)
        };
        let plaintext = Router::new().add_service(discovery(None));
        let secure = Router::new()
            .add_service(discovery(Some(authenticator)))
            .add_service(IstioCertificateServiceServer::new(certificates));

        let (failed_tx, mut failed) = mpsc::channel(1);
        let mut ports = Ports { rt: rt.clone(), failed: failed_tx, tasks: Vec::new() };
        let addresses = Addresses {
            plaintext: ports.grpc(config.plaintext, plaintext, None).await?,
            tls: ports.grpc(config.tls, secure, Some(tls)).await?,
            readiness: ports.http(config.readiness, &status).await?,
            monitoring: ports.http(config.monitoring, &status).await?,
        };
        status.update(|state| {
            state.addresses = addresses;
            state.listening = true;
        });
        let event = Serving { plaintext: addresses.plaintext.map(Into::into), tls: addresses.tls.map(Into::into) };
        let serving = rt.emit_because(started, event);

        let mut pushes = Pushes::new(&rt, &config, hub, status, serving);
        let terminated = rt.terminated();
        tokio::pin!(terminated);
        loop {
            let deadline = pushes.debounce.deadline();
            tokio::select! {
                biased;
                () = &mut terminated => return Ok(()),
                Some(error) = failed.recv() => return Err(error),
                () = sleep_until(deadline) => pushes.on_time(Instant::now()),
                watched = watch.next() => {
                    if let Some(registrations) = &registrations {
                        registrations.follow(&watched.event);
                    }
                    pushes.on_watched(watched, Instant::now());
                    if watch.delivered() {
                        pushes.status.all_read();
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for Istiod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Istiod").field("config", &self.config).finish_non_exhaustive()
    }
}

/// From watch events to pushes.
struct Pushes {
    rt: Runtime,
    store: Store,
    debounce: Debounce,
    update: Update,
    hub: Hub,
    status: IstiodStatus,
    serving: Option<EventId>,
}

impl Pushes {
    fn new(rt: &Runtime, config: &Config, hub: Hub, status: IstiodStatus, serving: Option<EventId>) -> Self {
        Self {
            rt: rt.clone(),
            store: Store::new(Mesh {
                trust_domain: config.trust_domain.clone(),
                root_namespace: config.root_namespace.clone(),
                cluster_domain: config.cluster_domain.clone(),
            }),
            debounce: Debounce::new(config.debounce),
            update: Update::default(),
            hub,
            status,
            serving,
        }
    }

    fn on_watched(&mut self, watched: Watched, now: Instant) {
        let was_synced = self.store.is_synced();
        let update = self.store.apply(watched);
        if !self.store.is_synced() {
            return;
        }
        if !was_synced {
            self.rt.emit_because(self.serving, Ready { objects: self.store.len() });
            self.update = Update { everyone: true, all_endpoints: true, ..update.unwrap_or_default() };
            self.push();
        } else if let Some(update) = update {
            self.update.merge(update);
            self.debounce.event(now);
            self.status.update(|state| state.debouncing = true);
        }
    }

    fn on_time(&mut self, now: Instant) {
        if self.debounce.poll(now) {
            self.push();
            self.debounce.pushed();
            self.status.update(|state| state.debouncing = false);
        }
    }

    fn push(&mut self) {
        let update = std::mem::take(&mut self.update);
        self.hub.push(self.store.snapshot(), self.store.changes(), &update);
    }
}

/// The open ports; dropping this closes them.
struct Ports {
    rt: Runtime,
    failed: mpsc::Sender<IstiodError>,
    tasks: Vec<TaskGuard>,
}

impl Ports {
    async fn grpc(
        &mut self,
        at: Option<SocketAddr>,
        router: Router,
        tls: Option<ServerTls>,
    ) -> Result<Option<SocketAddr>, IstiodError> {
        let Some(address) = at else { return Ok(None) };
        let listener = self.listen(address).await?;
        let local = listener.local_address().tcp();
        let server = Server::new(&self.rt).router(router).tls(tls).keepalive(KEEPALIVE);
        self.watch_over(address, async move { server.serve(listener, Drain::never()).await });
        Ok(local)
    }

    async fn http(&mut self, at: Option<SocketAddr>, status: &IstiodStatus) -> Result<Option<SocketAddr>, IstiodError> {
        let Some(address) = at else { return Ok(None) };
        let listener = self.listen(address).await?;
        let local = listener.local_address().tcp();
        let (rt, status) = (self.rt.clone(), status.clone());
        let handler = move |request: Request<Bytes>| std::future::ready(answer(&status, &request));
        self.watch_over(address, async move { http1::serve(&rt, listener, handler).await });
        Ok(local)
    }

    async fn listen(&self, address: SocketAddr) -> Result<Box<dyn Listener>, IstiodError> {
        self.rt.listen(address.into()).await.map_err(|error| IstiodError::Listen { address, error })
    }

    fn watch_over(&mut self, address: SocketAddr, server: impl Future<Output = io::Result<()>> + Send + 'static) {
        let failed = self.failed.clone();
        let task = self.rt.spawn("port", async move {
            let error = server.await.err().unwrap_or_else(|| io::Error::other("the server ended"));
            let _ = failed.send(IstiodError::Listen { address, error }).await;
        });
        self.tasks.push(task.abort_on_drop());
    }
}

fn answer(status: &IstiodStatus, request: &Request<Bytes>) -> Response<Bytes> {
    let (code, body) = match request.uri().path() {
        "/ready" if status.state().ready => (StatusCode::OK, Bytes::new()),
        "/ready" => (StatusCode::SERVICE_UNAVAILABLE, Bytes::new()),
        "/version" => (StatusCode::OK, Bytes::from_static(env!("CARGO_PKG_VERSION").as_bytes())),
        "/debug/syncz" => (StatusCode::OK, Bytes::from(debug::syncz(&status.state()))),
        _ => (StatusCode::NOT_FOUND, Bytes::new()),
    };
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}

/// A fresh key and a certificate of our own authority; clients may show certificates of it too.
fn server_tls(
    rt: &Runtime,
    config: &Config,
    authority: &CertificateAuthority,
    serials: &Mutex<Draws>,
) -> Result<ServerTls, IstiodError> {
    let unusable = |error: &dyn std::fmt::Display| IstiodError::ServerCertificate(error.to_string());
    let key = KeyPair::generate(rt);
    let issued = authority
        .sign_server(&key, &config.server_names, rt.wall(), ca::draw_serial(serials))
        .map_err(|error: SignError| unusable(&error))?;
    let root = authority.root().cert_pem.as_bytes();
    let identity = Identity::from_pem(rt, issued.cert_pem.as_bytes(), key.to_pem().as_bytes());
    let identity = identity.map_err(|error| unusable(&error))?;
    let trust = TrustBundle::from_pem(root).map_err(|error| unusable(&error))?;
    ServerTls::new(rt, identity, ClientAuth::Optional(trust)).map_err(|error| unusable(&error))
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
