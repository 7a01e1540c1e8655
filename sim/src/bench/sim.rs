//! How fast the simulator is: pods that call one another over mutual TLS, with seeded cryptography and the trace's
//! digest on, and no mesh.

use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::http2::{ConnectOptions, Connection, connect};
use hermesh_runtime::server::{Drain, Router, Server};
use hermesh_runtime::tls::{ClientAuth, ClientTls, Identity, PeerRule, ServerTls, TrustBundle};
use hermesh_runtime::{Address, Draws, Level, Runtime};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, SanType};
use serde::Serialize;
use time::OffsetDateTime;
use tonic::body::Body;
use tonic::server::NamedService;
use tower_service::Service;

use super::memory::peak_rss;
use crate::engine::{Config, ContainerSpec, PodId, PodSpec, Simulation, SimulationError};

const PORT: u16 = 7070;

/// A unary request without compression: five bytes of frame and a small message.
const REQUEST: &[u8] = b"\0\0\0\0\x08\x0a\x06hermes";

/// What is simulated.
#[derive(Clone, Debug, Serialize)]
pub struct Load {
    /// How many pods.
    pub pods: u32,
    /// Simulated time.
    pub time: Duration,
    /// Connections each pod opens to others.
    pub connections: u32,
    /// Calls each pod makes per second, over its connections in turn.
    pub rps: u32,
    /// Decides addresses, times, keys and latencies.
    pub seed: u64,
    /// Which events go into the trace's digest.
    #[serde(skip)]
    pub level: Level,
}

impl Default for Load {
    fn default() -> Self {
        Self { pods: 1000, time: Duration::from_secs(60), connections: 5, rps: 1, seed: 1, level: Level::Info }
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measurement {
    /// Wall time to issue certificates and create pods, in seconds.
    pub setup_s: f64,
    /// Wall time of the simulation itself, in seconds.
    pub run_s: f64,
    /// Packets and timers of the network.
    pub packets: u64,
    /// Polls of tasks.
    pub polls: u64,
    /// Events in the trace.
    pub events: u64,
    /// Connections that became ready.
    pub connections: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls and connections that failed.
    pub failed: u64,
    /// The most memory the process ever had, in bytes; `None` where the kernel does not tell.
    pub peak_rss_bytes: Option<u64>,
    /// The trace's digest, in hex.
    pub digest: String,
}

impl Measurement {
    /// Wall time per packet or poll, in microseconds.
    #[must_use]
    pub fn per_step_us(&self) -> f64 {
        self.run_s * 1e6 / (self.packets + self.polls).max(1) as f64
    }
}

impl fmt::Display for Measurement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { setup_s, run_s, packets, polls, events, connections, answered, failed, .. } = self;
        writeln!(f, "wall time    {run_s:.2} s, after {setup_s:.2} s to set up")?;
        writeln!(f, "connections  {connections}")?;
        writeln!(f, "calls        {answered} answered, {failed} failures")?;
        writeln!(f, "steps        {packets} packets, {polls} polls, {:.2} us each", self.per_step_us())?;
        writeln!(f, "trace        {events} events, digest {}", &self.digest[..16])?;
        match self.peak_rss_bytes {
            Some(bytes) => write!(f, "memory       {} MiB at most", bytes >> 20),
            None => write!(f, "memory       unknown here"),
        }
    }
}

/// Runs a load on this thread.
///
/// # Errors
/// If simulated time does not pass under this load.
///
/// # Panics
/// If another simulation lives on this thread.
#[expect(clippy::disallowed_methods, reason = "how long a simulation takes in real time is what is measured")]
pub fn run(load: &Load) -> Result<Measurement, SimulationError> {
    let start = std::time::Instant::now();
    let mut config = Config::new(load.seed);
    config.level = load.level;
    config.keep_events = false;
    let mut simulation = Simulation::new(config);
    let tally = Arc::new(Tally::default());
    let pods: Vec<PodId> = (0..load.pods)
        .map(|pod| simulation.add_pod(PodSpec::new(format!("bench/app-{pod}"), [address(pod)]), None))
        .collect();
    if load.connections > 0 {
        let authority = Authority::new(&simulation.runtime());
        for (index, pod) in (0..).zip(&pods) {
            let app = App {
                index,
                load: load.clone(),
                chain: authority.issue(&simulation.runtime(), index),
                trust: authority.trust.clone(),
                tally: Arc::clone(&tally),
            };
            simulation.start(*pod, ContainerSpec::new("app", |rt| app.run(rt)), None);
        }
    } else {
        for pod in &pods {
            simulation.start(*pod, ContainerSpec::new("app", |_| std::future::pending::<()>()), None);
        }
    }
    let setup_s = start.elapsed().as_secs_f64();
    let start = std::time::Instant::now();
    simulation.run_for(load.time)?;
    let run_s = start.elapsed().as_secs_f64();
    let (packets, polls) = (simulation.packets_total(), simulation.polls_total());
    let trace = simulation.finish();
    Ok(Measurement {
        setup_s,
        run_s,
        packets,
        polls,
        events: trace.len(),
        connections: tally.connections.load(Relaxed),
        answered: tally.answered.load(Relaxed),
        failed: tally.failed.load(Relaxed),
        peak_rss_bytes: peak_rss(),
        digest: trace.digest_hex(),
    })
}

#[derive(Default)]
struct Tally {
    connections: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// A pod's program: a server, and a client to other pods.
struct App {
    index: u32,
    load: Load,
    chain: (String, String),
    trust: TrustBundle,
    tally: Arc<Tally>,
}

impl App {
    async fn run(self, rt: Runtime) {
        let (chain, key) = &self.chain;
        let identity =
            Identity::from_pem(&rt, chain.as_bytes(), key.as_bytes()).expect("the authority issues pairs that match");
        let clients = ClientAuth::Required(self.trust.clone());
        let server_tls = ServerTls::new(&rt, identity.clone(), clients).expect("a P-256 identity serves TLS");
        let client_tls = ClientTls::new(&rt, "app", self.trust.clone(), Some(identity), PeerRule::any());
        let client_tls = client_tls.expect("a P-256 identity serves TLS");
        let at = Address::Tcp(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT));
        let listener = rt.listen(at).await.expect("nobody else listens here");
        let server = Server::new(&rt).router(Router::new().add_service(Echo)).tls(Some(server_tls));
        rt.spawn("serve", async move {
            let _drained = server.serve(listener, Drain::never()).await;
        });

        let mut draws = rt.draws("load");
        // Nobody starts at the same moment as everybody else.
        tokio::time::sleep(Duration::from_millis(1 + draws.below(1000))).await;
        let mut connections = Vec::new();
        for _ in 0..self.load.connections {
            connections.extend(self.connect(&rt, &mut draws, client_tls.clone()).await);
        }
        if connections.is_empty() || self.load.rps == 0 {
            return std::future::pending().await;
        }
        let every = Duration::from_secs(1) / self.load.rps;
        for turn in 0.. {
            tokio::time::sleep(every).await;
            self.call(&connections[turn % connections.len()]).await;
        }
    }

    async fn connect(&self, rt: &Runtime, draws: &mut Draws, tls: ClientTls) -> Option<Connection> {
        let others = u64::from(self.load.pods.saturating_sub(1)).max(1);
        let to = (u64::from(self.index) + 1 + draws.below(others)) % u64::from(self.load.pods);
        let options = ConnectOptions { tls: Some(tls), ..ConnectOptions::default() };
        let to = SocketAddr::new(address(to as u32), PORT);
        match connect(rt, to.into(), &options).await {
            Ok((connection, closed)) => {
                self.tally.connections.fetch_add(1, Relaxed);
                rt.spawn("closed", async move {
                    let _reason = closed.await;
                });
                Some(connection)
            }
            Err(_) => {
                self.tally.failed.fetch_add(1, Relaxed);
                None
            }
        }
    }

    async fn call(&self, connection: &Connection) {
        let request = Request::post("https://app/hermesh.bench.Echo/Echo")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Body::new(Full::new(Bytes::from_static(REQUEST)).map_err(|never| match never {})))
            .expect("a well-formed request");
        let answered = match connection.call(request).await {
            Ok(response) => match response.into_body().collect().await {
                Ok(body) => {
                    let status = body.trailers().and_then(|trailers| trailers.get("grpc-status"));
                    status.is_some_and(|status| status == "0") && body.to_bytes() == REQUEST
                }
                Err(_) => false,
            },
            Err(_) => false,
        };
        let counter = if answered { &self.tally.answered } else { &self.tally.failed };
        counter.fetch_add(1, Relaxed);
    }
}

/// Sends back what it gets, without a codec.
#[derive(Clone)]
struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "hermesh.bench.Echo";
}

impl Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            let message = match request.into_body().collect().await {
                Ok(body) => body.to_bytes(),
                Err(status) => return Ok(status.into_http()),
            };
            let ok = async { Some(Ok(HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]))) };
            let body = Full::new(message).map_err(|never| match never {}).with_trailers(ok);
            let mut response = Response::new(Body::new(body));
            response.headers_mut().insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            Ok(response)
        })
    }
}

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");

/// Issues every pod's certificate.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    trust: TrustBundle,
}

impl Authority {
    fn new(rt: &Runtime) -> Self {
        let key = KeyPair::generate(rt);
        let mut params = valid(rt);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).expect("these parameters make a certificate");
        let trust = TrustBundle::from_pem(root.pem().as_bytes()).expect("just written");
        Self { issuer: Issuer::new(params, key), trust }
    }

    /// Chain and key, in PEM.
    fn issue(&self, rt: &Runtime, pod: u32) -> (String, String) {
        let key = KeyPair::generate(rt);
        let mut params = valid(rt);
        let spiffe = format!("spiffe://cluster.local/ns/bench/sa/app-{pod}");
        params.subject_alt_names = vec![SanType::URI(spiffe.try_into().expect("ASCII"))];
        let chain = params.signed_by(&key, &self.issuer).expect("these parameters make a certificate");
        (chain.pem(), key.to_pem())
    }
}

/// From an hour ago, for a day.
fn valid(rt: &Runtime) -> CertificateParams {
    let mut params = CertificateParams::default();
    let now = OffsetDateTime::UNIX_EPOCH + rt.wall();
    params.not_before = now - time::Duration::hours(1);
    params.not_after = now + time::Duration::days(1);
    params
}

fn address(pod: u32) -> IpAddr {
    // 10.0.0.1 and on.
    Ipv4Addr::from(0x0a00_0001 + pod).into()
}
