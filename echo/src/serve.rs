//! Opens the ports the command line asks for and keeps them open until the process is to end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hermesh_runtime::server::{Drain, Router, Server};
use hermesh_runtime::{Listener, Runtime, TaskGuard, http1};
use hermesh_xds::{ClientStatusDiscovery, ServerCredentials, XdsClientPool, XdsServer};
use tokio::sync::mpsc;

use crate::args::{ArgumentError, Arguments, Bind};
use crate::readiness::{self, Readiness};
use crate::reply::About;
use crate::service::Shared;
use crate::shutdown::Activity;
use crate::{health, http, service, tcp};

/// How long a gRPC connection may idle before it is asked to go.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// Why the server ended, other than because it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EchoError {
    /// The command line is not understood.
    #[error(transparent)]
    Arguments(#[from] ArgumentError),
    /// `--bind-ip` without an address to bind.
    #[error("--bind-ip needs an address in INSTANCE_IP or INSTANCE_IPS; {0}")]
    NoInstanceAddress(String),
    /// A port cannot be bound, or its socket failed.
    #[error("port {port}: {error}")]
    Listener {
        /// The port.
        port: u16,
        /// What the socket said.
        error: io::Error,
    },
    /// The xDS server could not start, most often for want of a bootstrap file. Istio's echo panics here.
    #[error("port {port}: xDS server: {message}")]
    XdsServer {
        /// The port.
        port: u16,
        /// What it said.
        message: String,
    },
}

/// Runs the echo server with the arguments of `rt` until it is asked to terminate, and then until requests cease.
///
/// # Errors
/// A command line it does not understand, a port it cannot bind, an xDS port without a usable bootstrap.
pub async fn run(rt: Runtime) -> Result<(), EchoError> {
    let arguments = Arguments::parse(&rt.args())?;
    run_with(rt, arguments).await
}

/// As [`run`], with these arguments whatever those of `rt` are.
///
/// # Errors
/// A port that cannot be bound, an xDS port without a usable bootstrap.
pub async fn run_with(rt: Runtime, arguments: Arguments) -> Result<(), EchoError> {
    let shared = Shared {
        rt: rt.clone(),
        pool: XdsClientPool::new(&rt),
        about: Arc::new(About {
            version: arguments.version.clone(),
            cluster: arguments.cluster.clone(),
            istio_version: arguments.istio_version.clone(),
            hostname: rt.hostname(),
        }),
        activity: Activity::default(),
        metrics: crate::metrics::Metrics::default(),
    };
    let activity = shared.activity.clone();
    let (failed, mut failures) = mpsc::unbounded_channel();
    let endpoints = Endpoints { shared, failed, tasks: Vec::new() };
    // The tasks end with this function.
    let _tasks = endpoints.open(&arguments).await?;

    tokio::select! {
        biased;
        error = failures.recv() => Err(error.expect("every endpoint holds a sender")),
        () = async {
            rt.terminated().await;
            activity.quiet().await;
        } => Ok(()),
    }
}

struct Endpoints {
    shared: Shared,
    failed: mpsc::UnboundedSender<EchoError>,
    tasks: Vec<TaskGuard>,
}

impl Endpoints {
    async fn open(mut self, arguments: &Arguments) -> Result<Self, EchoError> {
        let hosts = hosts(&self.shared.rt, arguments.bind)?;
        let readiness = Readiness::waiting_for(hosts.len() * arguments.grpc.len() + 1);
        for host in &hosts {
            for port in &arguments.http {
                let listener = self.listen(*host, *port).await?;
                self.http(listener, *port, readiness.clone());
            }
            for port in &arguments.tcp {
                let listener = self.listen(*host, *port).await?;
                self.spawn("echo-tcp", *port, tcp::serve(self.shared.clone(), *port, listener));
            }
            if let Some(port) = arguments.metrics {
                let listener = self.listen(*host, port).await?;
                self.metrics(listener, port);
            }
            for port in &arguments.grpc {
                let listener = self.listen(*host, *port).await?;
                if arguments.xds.contains(port) {
                    self.xds(listener, *port);
                } else {
                    self.grpc(listener, *port);
                }
                let own = reachable(&self.shared.rt, *host);
                let check = readiness::self_check(self.shared.pool.clone(), own, *port, readiness.clone());
                self.tasks.push(self.shared.rt.spawn("echo-self-check", check).abort_on_drop());
            }
        }
        // Every port is bound or on its way: that was the first thing to wait for.
        readiness.report();
        Ok(self)
    }

    async fn listen(&self, host: IpAddr, port: u16) -> Result<Box<dyn Listener>, EchoError> {
        let listened = self.shared.rt.listen(SocketAddr::new(host, port).into()).await;
        listened.map_err(|error| EchoError::Listener { port, error })
    }

    fn http(&mut self, listener: Box<dyn Listener>, port: u16, readiness: Readiness) {
        let (shared, rt) = (self.shared.clone(), self.shared.rt.clone());
        self.spawn("echo-http", port, async move {
            let handler = move |request: ::http::Request<bytes::Bytes>| {
                std::future::ready(http::answer(&shared, &readiness, port, &request))
            };
            http1::serve(&rt, listener, handler).await
        });
    }

    fn metrics(&mut self, listener: Box<dyn Listener>, port: u16) {
        let (shared, rt) = (self.shared.clone(), self.shared.rt.clone());
        self.spawn("echo-metrics", port, async move {
            let handler =
                move |request: ::http::Request<bytes::Bytes>| std::future::ready(http::metrics(&shared, &request));
            http1::serve(&rt, listener, handler).await
        });
    }

    fn grpc(&mut self, listener: Box<dyn Listener>, port: u16) {
        let server = Server::new(&self.shared.rt).router(self.services(port)).max_idle(Some(IDLE_MAX));
        self.spawn("echo-grpc", port, server.serve(listener, Drain::never()));
    }

    /// What every gRPC port serves. Istio's echo adds channelz to the status of its xDS clients, and reflection always.
    fn services(&self, port: u16) -> Router {
        let rt = &self.shared.rt;
        let router = Router::new().add_service(service::echo(self.shared.clone(), port)).add_service(health::service());
        if rt.var("EXPOSE_GRPC_ADMIN").is_some_and(|value| is_true(&value)) {
            return router.add_service(ClientStatusDiscovery::new(rt));
        }
        router
    }

    fn xds(&mut self, listener: Box<dyn Listener>, port: u16) {
        let server = XdsServer::new(&self.shared.rt)
            .pool(&self.shared.pool)
            .credentials(ServerCredentials::xds_with_fallback())
            .router(self.services(port));
        let failed = self.failed.clone();
        let serving = async move {
            if let Err(error) = server.serve_on(listener, Drain::never()).await {
                // Nobody listens only when the process is ending anyway.
                let _ = failed.send(EchoError::XdsServer { port, message: error.to_string() });
            }
        };
        self.tasks.push(self.shared.rt.spawn("echo-xds", serving).abort_on_drop());
    }

    fn spawn(&mut self, name: &'static str, port: u16, serving: impl Future<Output = io::Result<()>> + Send + 'static) {
        let failed = self.failed.clone();
        let task = self.shared.rt.spawn(name, async move {
            if let Err(error) = serving.await {
                // As above.
                let _ = failed.send(EchoError::Listener { port, error });
            }
        });
        self.tasks.push(task.abort_on_drop());
    }
}

/// What Go's `strconv.ParseBool`, which reads Istio's variables, takes for true; all else is not.
fn is_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// The addresses to bind. The wildcard's family is the one the host has: a listener's name in xDS comes of it,
/// `0.0.0.0:17070`. On a host with both families only IPv4 is served.
fn hosts(rt: &Runtime, bind: Bind) -> Result<Vec<IpAddr>, EchoError> {
    match bind {
        Bind::All => {
            let own = rt.local_addresses();
            let only_v6 = !own.is_empty() && own.iter().all(IpAddr::is_ipv6);
            Ok(vec![if only_v6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() }])
        }
        Bind::Localhost => Ok(vec![Ipv4Addr::LOCALHOST.into()]),
        Bind::Instance => {
            let listed = rt.var("INSTANCE_IP").or_else(|| rt.var("INSTANCE_IPS"));
            let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
                return Err(EchoError::NoInstanceAddress("neither is set".to_owned()));
            };
            listed
                .split(',')
                .map(|address| {
                    address.trim().parse().map_err(|_| EchoError::NoInstanceAddress(format!("`{address}` is none")))
                })
                .collect()
        }
    }
}

/// An address at which this host reaches what it binds at `host`.
fn reachable(rt: &Runtime, host: IpAddr) -> IpAddr {
    if !host.is_unspecified() {
        return host;
    }
    let own = rt.local_addresses().into_iter().find(|own| own.is_ipv4() == host.is_ipv4());
    let loopback = || if host.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    own.unwrap_or_else(loopback)
}
