//! The xDS client: watches over ADS streams, shared by whoever has the same key (gRFC A27, A47, A71).
//!
//! A channel's client is keyed by its target, that of all servers by `#server`. The pool belongs to the process and is
//! passed on explicitly; clients in it live as long as someone holds them. Management servers after the first of a
//! list are not used: fallback (gRFC A71) is not implemented.

mod events;
mod opening;
mod registry;
mod server;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hermesh_runtime::{EventId, Runtime};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::ads::client::{WatchError, WatchErrorKind, WatchEvent};
use crate::bootstrap::{Bootstrap, BootstrapError, ServerConfig};
use crate::certificate_provider::CertificateProviders;
use crate::fault::ActiveFaults;
use crate::resource::ResourceType;
pub use events::{ClientClosed, StreamClosed, StreamOpened, XdsNack, XdsRequest, XdsResponse};
pub(crate) use registry::{ClientState, states};
use server::{Command, ServerTask};

/// The key under which all servers of a process share a client.
pub(crate) const SERVER_KEY: &str = "#server";

/// The xDS clients of one process; cheap to clone.
///
/// A program that opens several channels to one target passes the same pool to each, and they share one ADS stream.
/// [`XdsChannel::connect`](crate::XdsChannel::connect) makes a pool of its own.
#[derive(Clone, Debug)]
pub struct XdsClientPool {
    rt: Runtime,
    inner: Arc<Mutex<Pool>>,
}

#[derive(Debug, Default)]
struct Pool {
    bootstrap: Option<Arc<Bootstrap>>,
    providers: Option<CertificateProviders>,
    clients: BTreeMap<String, Weak<XdsClient>>,
    /// RPCs in flight by cluster and EDS service name, for circuit breaking (gRFC A32).
    requests: BTreeMap<(String, String), Weak<AtomicU32>>,
    /// Faults under way (gRFC A33).
    faults: ActiveFaults,
}

impl XdsClientPool {
    /// An empty pool. The bootstrap is read from where the environment says when it is first needed.
    #[must_use]
    pub fn new(rt: &Runtime) -> Self {
        Self { rt: rt.clone(), inner: Arc::default() }
    }

    /// An empty pool with this bootstrap.
    #[must_use]
    pub fn with_bootstrap(rt: &Runtime, bootstrap: Bootstrap) -> Self {
        let pool = Self::new(rt);
        pool.lock().bootstrap = Some(Arc::new(bootstrap));
        pool
    }

    /// The runtime that its clients use.
    #[must_use]
    pub fn runtime(&self) -> &Runtime {
        &self.rt
    }

    /// The bootstrap, read once per process as gRPC does.
    pub(crate) async fn bootstrap(&self) -> Result<Arc<Bootstrap>, BootstrapError> {
        let known = self.lock().bootstrap.clone();
        if let Some(bootstrap) = known {
            return Ok(bootstrap);
        }
        let bootstrap = Arc::new(Bootstrap::from_runtime(&self.rt).await?);
        Ok(self.lock().bootstrap.get_or_insert(bootstrap).clone())
    }

    /// The client for `key`, made if there is none.
    pub(crate) fn client(&self, key: &str, bootstrap: &Arc<Bootstrap>) -> Arc<XdsClient> {
        let mut pool = self.lock();
        if let Some(client) = pool.clients.get(key).and_then(Weak::upgrade) {
            return client;
        }
        let providers = pool
            .providers
            .get_or_insert_with(|| CertificateProviders::new(&self.rt, bootstrap.certificate_providers.clone()))
            .clone();
        let client = Arc::new(XdsClient {
            rt: self.rt.clone(),
            key: key.to_owned(),
            ordinal: self.rt.ordinal("xds-client"),
            bootstrap: bootstrap.clone(),
            providers,
            servers: Mutex::default(),
            watches: AtomicU64::new(0),
        });
        pool.clients.retain(|_, client| client.strong_count() > 0);
        pool.clients.insert(key.to_owned(), Arc::downgrade(&client));
        registry::register(&client);
        client
    }

    /// The counter of RPCs in flight that all channels of the process share.
    pub(crate) fn requests(&self, cluster: &str, eds_service: &str) -> Arc<AtomicU32> {
        let mut pool = self.lock();
        let key = (cluster.to_owned(), eds_service.to_owned());
        if let Some(counter) = pool.requests.get(&key).and_then(Weak::upgrade) {
            return counter;
        }
        pool.requests.retain(|_, counter| counter.strong_count() > 0);
        let counter = Arc::new(AtomicU32::new(0));
        pool.requests.insert(key, Arc::downgrade(&counter));
        counter
    }

    /// The counter of faults under way that all channels of the process share.
    pub(crate) fn faults(&self) -> ActiveFaults {
        self.lock().faults.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches resources, each from the management server of its authority.
#[derive(Debug)]
pub(crate) struct XdsClient {
    rt: Runtime,
    key: String,
    /// Tells it from other clients of the process, which may have the same key in another pool or at another time.
    ordinal: u64,
    bootstrap: Arc<Bootstrap>,
    providers: CertificateProviders,
    servers: Mutex<BTreeMap<ServerConfig, ServerTask>>,
    watches: AtomicU64,
}

/// What a watcher receives.
#[derive(Clone, Debug)]
pub(crate) struct Notice {
    pub(crate) resource_type: ResourceType,
    pub(crate) name: Arc<str>,
    pub(crate) event: WatchEvent,
    /// What brought it about: a response, a closed stream.
    pub(crate) cause: Option<EventId>,
    /// Dropped when the watcher is done with a part of a response, and with the notice at the latest.
    pub(crate) processing: Option<Processing>,
}

/// While any of these is held that came of a response, the stream's next response is not read (gRFC A27's flow
/// control). Nobody sends anything: that the last one is dropped is the message.
pub(crate) type Processing = mpsc::Sender<std::convert::Infallible>;

/// Ends its watch when dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    id: u64,
    commands: Option<mpsc::UnboundedSender<Command>>,
}

impl XdsClient {
    pub(crate) fn bootstrap(&self) -> &Arc<Bootstrap> {
        &self.bootstrap
    }

    /// Its number among all clients that the process has had.
    pub(crate) fn ordinal(&self) -> u64 {
        self.ordinal
    }

    pub(crate) fn providers(&self) -> &CertificateProviders {
        &self.providers
    }

    /// Starts a watch that tells `watcher`.
    pub(crate) fn watch(
        &self,
        resource_type: ResourceType,
        name: &str,
        watcher: mpsc::UnboundedSender<Notice>,
    ) -> Watch {
        let id = self.watches.fetch_add(1, Ordering::Relaxed);
        let name: Arc<str> = name.into();
        let server = match self.server_of(&name) {
            Ok(server) => server.clone(),
            Err(message) => {
                let node_id = self.bootstrap.node.id.as_str().into();
                let error = WatchError { kind: WatchErrorKind::DoesNotExist, node_id, message: message.into() };
                let event = WatchEvent::ResourceError(error);
                // A watcher that is gone need not be told.
                let _ = watcher.send(Notice { resource_type, name, event, cause: None, processing: None });
                return Watch { id, commands: None };
            }
        };
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let task = servers
            .entry(server.clone())
            .or_insert_with(|| ServerTask::start(&self.rt, (&self.key, self.ordinal), &self.bootstrap, server));
        let commands = task.commands();
        let _ = commands.send(Command::Watch { id, resource_type, name, watcher });
        Watch { id, commands: Some(commands) }
    }

    /// The management server for a resource: that of an `xdstp:` name's authority, else the top-level one.
    fn server_of(&self, name: &str) -> Result<&ServerConfig, String> {
        let top_level = &self.bootstrap.xds_servers;
        let servers = match name.strip_prefix("xdstp://") {
            None => top_level,
            Some(rest) => {
                let authority = rest.split('/').next().unwrap_or_default();
                match self.bootstrap.authorities.get(authority) {
                    Some(found) if found.xds_servers.is_empty() => top_level,
                    Some(found) => &found.xds_servers,
                    None => {
                        return Err(format!("authority {authority:?} not found in the config for resource {name:?}"));
                    }
                }
            }
        };
        Ok(servers.first().expect("a validated bootstrap lists a management server"))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(commands) = &self.commands {
            // A client that is gone has no watches.
            let _ = commands.send(Command::Unwatch { id: self.id });
        }
    }
}

/// The path of the draws of a component called `name`, of which a process may have several: each is to draw its own
/// random choices.
pub(crate) fn draws_path(rt: &Runtime, name: &str) -> String {
    format!("{name}/{}", rt.ordinal(name))
}

/// Ends at `deadline`, or never.
pub(crate) async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
