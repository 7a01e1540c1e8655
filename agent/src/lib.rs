//! The proxyless half of istio-agent: what runs as `pilot-agent proxy sidecar` beside a gRPC application.
//!
//! The agent writes the application's gRPC [`bootstrap`], stands between it and istiod as an xDS proxy on a Unix
//! socket, obtains and rotates the workload's certificate, and says when all that is ready. Arguments, environment and
//! files are istio-agent's; [`Settings`] names those that count. Deviations from it:
//!
//! - As many ADS streams as the applications open, each with an upstream stream of its own; istio-agent closes all but
//!   the last (istio#53532). [`Profile::Istio`] brings that back.
//! - Keys are always ECDSA P-256 in PKCS #8, where istio-agent makes RSA 2048 unless told otherwise.
//! - Key, certificate and root become visible together (see [`publish`]).
//! - A bootstrap left by an earlier run is removed at the start, so that readiness never passes before the socket
//!   listens.
//! - `/quitquitquit` and `/drain` work without Envoy.
//!
//! Not modelled: Envoy, the SDS socket, DNS capture, file-mounted certificates, health checks by commands.
//!
//! The process exits with 0 after SIGTERM or `/quitquitquit` and with [`AgentError::EXIT_CODE`] after any error, as
//! pilot-agent does; kubelet restarts it then.

mod authority;
pub mod bootstrap;
mod events;
mod forward;
pub mod health;
mod proxy;
pub mod proxy_config;
pub mod publish;
pub mod readiness;
pub mod rotation;
mod secrets;
pub mod settings;
mod status;
mod upstream;
pub mod wait;
mod yaml;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt as _;
use hermesh_runtime::server::Server;
use hermesh_runtime::tls::TrustBundle;
use hermesh_runtime::{Address, EventId, Listener, Runtime};

pub use events::{
    BootstrapWritten, CertificateIssued, CertificatePublishFailed, CertificateRequestFailed, CertificateRequested,
    CertificatesPublished, HealthChanged, ReadinessChanged, RequestForwarded, ResponseForwarded, RootChanged,
    RotationScheduled, SocketListening, Started, Stopped, StreamClosed, StreamOpened, TokenMissing,
};
pub use settings::{Profile, Settings, SettingsError};

use proxy::XdsProxy;
use secrets::SecretManager;
use status::StatusServer;

/// Why an agent ended other than by being told to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgentError {
    /// It is told what cannot work.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The roots to trust istiod by are not there, or are none.
    #[error("root certificate for istiod: {path}: {error}; istiod publishes it as ConfigMap istio-ca-root-cert")]
    Root {
        /// Where they should be.
        path: PathBuf,
        /// What the file system says, or what is wrong with the contents.
        error: io::Error,
    },
    /// A socket could not be opened, or broke.
    #[error("listen on {address}: {error}")]
    Listen {
        /// Which.
        address: Address,
        /// What the kernel says.
        error: io::Error,
    },
    /// The bootstrap could not be written.
    #[error("write {path}: {error}")]
    Bootstrap {
        /// Where to.
        path: PathBuf,
        /// What the file system says.
        error: io::Error,
    },
}

impl AgentError {
    /// What the process exits with: pilot-agent's -1.
    pub const EXIT_CODE: u8 = 255;
}

/// Runs an agent as `rt`'s arguments, environment and files say, until it is told to end.
///
/// # Errors
/// See [`AgentError`].
pub async fn run(rt: Runtime) -> Result<(), AgentError> {
    let settings = Settings::read(&rt).await?;
    Agent::new(rt, settings).run().await
}

/// An agent with its settings.
#[derive(Debug)]
pub struct Agent {
    rt: Runtime,
    settings: Arc<Settings>,
}

impl Agent {
    /// An agent that has not begun.
    #[must_use]
    pub fn new(rt: Runtime, settings: Settings) -> Self {
        Self { rt, settings: Arc::new(settings) }
    }

    /// Runs until SIGTERM or `/quitquitquit`. PEM files and bootstrap stay behind; the socket does not.
    ///
    /// # Errors
    /// See [`AgentError`].
    pub async fn run(self) -> Result<(), AgentError> {
        let Self { rt, settings } = &self;
        let started = rt.emit(Started {
            node: bootstrap::node_id(settings),
            discovery_address: settings.proxy.discovery_address.clone(),
            profile: settings.profile,
        });
        if let (Profile::Hermesh, Some(path)) = (settings.profile, &settings.bootstrap) {
            // None there is the usual case.
            let _ = rt.remove(path).await;
        }

        let (drain_handle, drain) = hermesh_runtime::server::drain();
        let status = StatusServer::new(rt, settings, drain_handle.clone(), started);
        let (quit, status_task) = (status.quit(), self.serve_status(status).await?);
        let _secrets = settings
            .output_certs
            .is_some()
            .then(|| rt.spawn("secrets", SecretManager::new(rt, settings).run(started)).abort_on_drop());

        self.check_root().await?;
        let socket = settings.socket();
        let listener = self.listen_on_socket(&socket).await?;
        let listening = rt.emit_because(started, SocketListening { path: socket.display().to_string() });
        let proxy = XdsProxy::new(rt, settings);
        let server = Server::new(rt).router(proxy.router()).keepalive(upstream::KEEPALIVE);
        let served = server.serve(listener, drain);
        let server_rt = rt.clone();
        let (failed_tx, failed) = tokio::sync::oneshot::channel();
        let _proxy_task = server_rt
            .spawn("xds-proxy", async move {
                // A drained server has ended well and leaves the agent running.
                if let Err(error) = served.await {
                    let _ = failed_tx.send(error);
                }
            })
            .abort_on_drop();
        let _health = settings.proxy.readiness_probe.clone().map(|probe| {
            let own = settings.addresses.first().copied().expect("a host has an address");
            let told = proxy.clone();
            let changed = move |health, event| told.tell_health(health, event);
            rt.spawn("health", health::check(rt.clone(), probe, own, started, changed)).abort_on_drop()
        });
        let outcome = match self.write_bootstrap(listening).await {
            Err(error) => Err(error),
            Ok(()) => tokio::select! {
                biased;
                () = rt.terminated() => Ok("terminated"),
                () = quit.notified() => Ok("quitquitquit"),
                error = status_task => Err(error),
                Ok(error) = failed => Err(AgentError::Listen { address: Address::Unix(socket.clone()), error }),
            },
        };
        proxy.stop();
        let _ = rt.remove(&socket).await;
        let reason = match &outcome {
            Ok(reason) => (*reason).to_owned(),
            Err(error) => error.to_string(),
        };
        rt.emit_because(started, Stopped { reason });
        outcome.map(|_| ())
    }

    /// Serves the status port; the answer ends only when that fails, and never if there is none.
    async fn serve_status(
        &self,
        status: StatusServer,
    ) -> Result<futures::future::BoxFuture<'static, AgentError>, AgentError> {
        let Some(address) = status.address() else { return Ok(futures::future::pending().boxed()) };
        let failed = move |error| AgentError::Listen { address: address.into(), error };
        let listener = self.rt.listen(address.into()).await.map_err(&failed)?;
        let (gone_tx, gone) = tokio::sync::oneshot::channel();
        let task = self
            .rt
            .spawn("status", async move {
                let _ = gone_tx.send(status.serve(listener).await);
            })
            .abort_on_drop();
        Ok(async move {
            let error = match gone.await {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => io::Error::other("the status server ended"),
            };
            drop(task);
            failed(error)
        }
        .boxed())
    }

    /// As pilot-agent, which cannot make its dial options without a root; connections read the file anew.
    async fn check_root(&self) -> Result<(), AgentError> {
        let path = &self.settings.xds_root;
        if !self.settings.proxy.control_plane_tls {
            return Ok(());
        }
        let unusable = |error| AgentError::Root { path: path.clone(), error };
        let pem = self.rt.read(path).await.map_err(unusable)?;
        TrustBundle::from_pem(&pem).map_err(|error| unusable(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        Ok(())
    }

    async fn listen_on_socket(&self, path: &Path) -> Result<Box<dyn Listener>, AgentError> {
        let rt = &self.rt;
        let address = Address::Unix(path.to_owned());
        let listening = async {
            match rt.remove(path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            if let Some(directory) = path.parent() {
                rt.create_dir_all(directory, 0o750).await?;
            }
            let listener = rt.listen(address.clone()).await?;
            // Applications run as other users.
            rt.set_mode(path, 0o666).await?;
            Ok(listener)
        };
        listening.await.map_err(|error| AgentError::Listen { address: address.clone(), error })
    }

    async fn write_bootstrap(&self, cause: Option<EventId>) -> Result<(), AgentError> {
        let Some(path) = &self.settings.bootstrap else { return Ok(()) };
        let written = async {
            if let Some(directory) = path.parent() {
                self.rt.create_dir_all(directory, 0o700).await?;
            }
            self.rt.write_atomic(path, bootstrap::bootstrap_file(&self.settings), 0o644).await
        };
        written.await.map_err(|error| AgentError::Bootstrap { path: path.clone(), error })?;
        self.rt.emit_because(cause, BootstrapWritten { path: path.display().to_string() });
        Ok(())
    }
}
