//! An agent between an application and an istiod, on the machine's own sockets and files.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::common::istiod::ControlPlane;
use crate::common::{PodFiles, eventually, free_port, process};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind as ValueKind};
use hermesh_agent::wait::Wait;
use hermesh_agent::{AgentError, publish};
use hermesh_istiod::ca::{AUDIENCE, ServiceAccount, SignedTokens, StoredRoot};
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::tls::PeerCertificate;
use hermesh_runtime::{Address, Runtime, TaskGuard, http1};
use hermesh_test_support::Process;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status, Streaming};

const CDS: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";

struct Mesh {
    root: StoredRoot,
    tokens: Arc<SignedTokens>,
    istiod: Option<ControlPlane>,
    pod: PodFiles,
    status: SocketAddr,
    vars: Vec<(String, String)>,
}

impl Mesh {
    async fn new() -> Self {
        let rt = hermesh_runtime::os::runtime();
        let root = StoredRoot::generate(&rt, "cluster.local");
        let tokens = Arc::new(SignedTokens::new(&rt, root.key_pem.as_bytes()));
        let istiod = ControlPlane::start(&root, &tokens, "127.0.0.1:0".parse().unwrap()).await;
        let pod = PodFiles::new();
        pod.write(&rt, "var/run/secrets/istio/root-cert.pem", &root.cert_pem).await;
        let status = SocketAddr::from(([127, 0, 0, 1], free_port(&rt).await));
        let mut mesh = Self { root, tokens, istiod: Some(istiod), pod, status, vars: Vec::new() };
        mesh.write_token(&rt, "default").await;
        let discovery = mesh.istiod.as_ref().unwrap().address.port();
        let proxy = format!(r#"{{"discoveryAddress":"localhost:{discovery}","statusPort":{}}}"#, status.port());
        let root = mesh.pod.root().display().to_string();
        for (name, value) in [
            ("HERMESH_ROOT", root.as_str()),
            ("OUTPUT_CERTS", "/var/lib/istio/data"),
            ("POD_NAME", "app-0"),
            ("POD_NAMESPACE", "demo"),
            ("SERVICE_ACCOUNT", "default"),
            ("INSTANCE_IP", "127.0.0.1"),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("PROXY_CONFIG", &proxy),
        ] {
            mesh.set(name, value);
        }
        mesh
    }

    fn set(&mut self, name: &str, value: &str) {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value.to_owned()));
    }

    async fn write_token(&self, rt: &Runtime, account: &str) {
        let token = self.tokens.mint(&ServiceAccount::new("demo", account), AUDIENCE, Duration::from_secs(600));
        self.pod.write(rt, "var/run/secrets/tokens/istio-token", &token).await;
    }

    fn start_agent(&self) -> RunningAgent {
        let vars: Vec<(&str, &str)> = self.vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let process = process(&["proxy", "sidecar"], &vars);
        let (ended_tx, ended) = oneshot::channel();
        let rt = process.rt.clone();
        let task = process.rt.spawn("agent", async move {
            let _ = ended_tx.send(hermesh_agent::run(rt).await);
        });
        RunningAgent { process, ended, _task: task.abort_on_drop() }
    }

    async fn started_agent(&self) -> RunningAgent {
        let agent = self.start_agent();
        eventually("the agent is ready", async || self.is_ready(&agent).await).await;
        agent
    }

    async fn is_ready(&self, agent: &RunningAgent) -> bool {
        let answer = self.http(&agent.process.rt, http::Method::GET, "/healthz/ready").await;
        answer == Some(http::StatusCode::OK)
    }

    async fn http(&self, rt: &Runtime, method: http::Method, path: &str) -> Option<http::StatusCode> {
        let request = http::Request::builder().method(method).uri(path).body(bytes::Bytes::new()).unwrap();
        http1::send(rt, self.status, request, Duration::from_secs(5)).await.ok().map(|response| response.status)
    }

    async fn read(&self, rt: &Runtime, file: &str) -> Option<String> {
        let contents = rt.read(self.pod.path("var/lib/istio/data").join(file)).await.ok()?;
        Some(String::from_utf8(contents.into()).unwrap())
    }

    fn socket(&self) -> std::path::PathBuf {
        self.pod.path("etc/istio/proxy/XDS")
    }
}

struct RunningAgent {
    process: Process,
    ended: oneshot::Receiver<Result<(), AgentError>>,
    _task: TaskGuard,
}

/// An application's ADS stream through the agent.
struct Ads {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
}

impl Ads {
    async fn open(mesh: &Mesh, rt: &Runtime) -> Result<Self, Status> {
        let target = Address::Unix(mesh.socket()).to_string();
        let channel = Channel::new(rt, &target, ChannelOptions::default()).unwrap();
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.stream_aggregated_resources(UnboundedReceiverStream::new(receiver)).await?.into_inner();
        Ok(Self { requests, responses })
    }

    /// Asks for all clusters and takes the answer.
    async fn ask(&mut self) -> Result<DiscoveryResponse, Status> {
        let grpc = Value { kind: Some(ValueKind::StringValue("grpc".to_owned())) };
        let node = Node {
            id: "sidecar~127.0.0.1~app-0.demo~demo.svc.cluster.local".to_owned(),
            metadata: Some(Struct { fields: [("GENERATOR".to_owned(), grpc)].into() }),
            ..Node::default()
        };
        let request = DiscoveryRequest { node: Some(node), type_url: CDS.to_owned(), ..DiscoveryRequest::default() };
        let _ = self.requests.send(request);
        self.next().await
    }

    async fn next(&mut self) -> Result<DiscoveryResponse, Status> {
        let message = tokio::time::timeout(Duration::from_secs(20), self.responses.message()).await;
        message.expect("a response or the stream's end")?.ok_or_else(|| Status::ok("end of stream"))
    }
}

async fn certificate(mesh: &Mesh, rt: &Runtime) -> PeerCertificate {
    let chain = mesh.read(rt, "cert-chain.pem").await.unwrap();
    let certificates = pem::parse_many(chain).unwrap().into_iter().map(|pem| pem.into_contents().into()).collect();
    PeerCertificate::from_chain(certificates).unwrap()
}

#[tokio::test]
async fn the_bootstrap_is_written_once_the_socket_listens_and_certificates_appear_together() {
    let mesh = Mesh::new().await;
    let agent = mesh.start_agent();
    let rt = agent.process.rt.clone();
    eventually("all three files", async || {
        // Counted in one go through a path that is resolved anew each time: any other number is a broken set.
        let set = mesh.pod.path("var/lib/istio/data/..data");
        let visible = rt.list(&set).await.map_or(0, |files| files.len());
        assert!(visible == 0 || visible == 3, "{visible} of 3 files are visible");
        visible == 3
    })
    .await;
    eventually("readiness", async || mesh.is_ready(&agent).await).await;

    let kinds = agent.process.events.kinds();
    let position = |kind| kinds.iter().position(|known| *known == kind).expect(kind);
    assert!(position("agent.socket.listening") < position("agent.bootstrap.written"), "{kinds:?}");
    assert_eq!(rt.metadata(mesh.socket()).await.unwrap().mode, 0o666);

    let certificate = certificate(&mesh, &rt).await;
    assert_eq!(certificate.uri_sans, ["spiffe://cluster.local/ns/demo/sa/default"]);
    assert_eq!(certificate.chain.len(), 2, "the chain file ends with the root");
    assert_eq!(mesh.read(&rt, "root-cert.pem").await.as_deref(), Some(mesh.root.cert_pem.as_str()));
    let key = mesh.read(&rt, "key.pem").await.unwrap();
    let chain = mesh.read(&rt, "cert-chain.pem").await.unwrap();
    hermesh_runtime::tls::Identity::from_pem(&rt, chain.as_bytes(), key.as_bytes()).expect("key and certificate match");
    assert_eq!(rt.metadata(mesh.pod.path("var/lib/istio/data/key.pem")).await.unwrap().mode, 0o600);

    let causes = agent.process.events.causes(&agent.process.events.last("cert.published"));
    assert_eq!(causes, ["cert.published", "cert.issued", "cert.requested", "agent.started"]);
    assert!(!agent.process.events.all().iter().any(|event| event.mentions("PRIVATE KEY")));
}

#[tokio::test]
async fn two_streams_are_served_side_by_side() {
    let mesh = Mesh::new().await;
    let agent = mesh.started_agent().await;
    let mut first = Ads::open(&mesh, &agent.process.rt).await.unwrap();
    assert_eq!(first.ask().await.unwrap().type_url, CDS);
    let mut second = Ads::open(&mesh, &agent.process.rt).await.unwrap();
    assert_eq!(second.ask().await.unwrap().type_url, CDS);
    // The first still lives: it is answered again.
    assert_eq!(first.ask().await.unwrap().type_url, CDS);
    assert_eq!(agent.process.events.count("agent.stream.closed"), 0);
    let istiod = &mesh.istiod.as_ref().unwrap().process;
    assert_eq!(istiod.events.count("istiod.stream.opened"), 2, "each stream has an upstream of its own");
    drop(first);
    eventually("the upstream ends with its stream", async || istiod.events.count("istiod.stream.closed") == 1).await;
    assert_eq!(second.ask().await.unwrap().type_url, CDS);
}

#[tokio::test]
async fn in_istio_s_profile_a_new_stream_closes_the_one_before() {
    let mut mesh = Mesh::new().await;
    mesh.set("HERMESH_PROFILE", "istio");
    let agent = mesh.started_agent().await;
    let mut first = Ads::open(&mesh, &agent.process.rt).await.unwrap();
    first.ask().await.unwrap();
    let mut second = Ads::open(&mesh, &agent.process.rt).await.unwrap();
    assert_eq!(first.next().await.unwrap_err().code(), Code::Ok, "the application sees a normal end");
    assert_eq!(second.ask().await.unwrap().type_url, CDS);
}

#[tokio::test]
async fn a_certificate_is_replaced_in_the_middle_of_its_life() {
    let mut mesh = Mesh::new().await;
    mesh.set("SECRET_TTL", "3s");
    let agent = mesh.started_agent().await;
    let rt = &agent.process.rt;
    let first = mesh.read(rt, "key.pem").await.unwrap();
    // It is told once the old set is gone.
    eventually("a second set", async || agent.process.events.count("cert.published") >= 2).await;
    assert_ne!(mesh.read(rt, "key.pem").await.unwrap(), first);
    let causes = agent.process.events.causes(&agent.process.events.last("cert.published"));
    assert_eq!(causes[..4], ["cert.published", "cert.issued", "cert.requested", "cert.rotation.scheduled"]);
    let files = rt.list(mesh.pod.path("var/lib/istio/data")).await.unwrap();
    assert_eq!(files.len(), publish::FILES.len() + 2, "the old set is gone: {files:?}");
}

#[tokio::test]
async fn files_that_cannot_be_written_are_written_once_they_can() {
    let mesh = Mesh::new().await;
    let rt = hermesh_runtime::os::runtime();
    let data = mesh.pod.path("var/lib/istio/data");
    rt.remove(&data).await.unwrap();
    let agent = mesh.start_agent();
    eventually("two failures", async || agent.process.events.count("cert.publish.failed") >= 2).await;
    assert!(agent.process.events.last("cert.publish.failed").mentions("retry_in_ms"));
    rt.create_dir_all(&data, 0o755).await.unwrap();
    eventually("readiness", async || mesh.is_ready(&agent).await).await;
    let certificate = certificate(&mesh, &rt).await;
    assert_eq!(certificate.uri_sans, ["spiffe://cluster.local/ns/demo/sa/default"]);
    assert_eq!(agent.process.events.count("cert.requested"), 1, "the certificate that came is the one that is written");
}

#[tokio::test]
async fn streams_end_with_istiod_and_work_again_when_it_is_back() {
    let mut mesh = Mesh::new().await;
    let agent = mesh.started_agent().await;
    let rt = agent.process.rt.clone();
    let mut stream = Ads::open(&mesh, &rt).await.unwrap();
    stream.ask().await.unwrap();
    let istiod = mesh.istiod.take().unwrap();
    istiod.process.kill();
    let address = istiod.address;
    assert_eq!(stream.next().await.unwrap_err().code(), Code::Unavailable);

    let refused = Ads::open(&mesh, &rt).await.unwrap().ask().await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(mesh.is_ready(&agent).await, "readiness looks at files only");

    mesh.istiod = Some(ControlPlane::start(&mesh.root, &mesh.tokens, address).await);
    let mut stream = Ads::open(&mesh, &rt).await.unwrap();
    assert_eq!(stream.ask().await.unwrap().type_url, CDS);
}

#[tokio::test]
async fn without_a_token_nothing_is_issued_until_it_appears() {
    let mesh = Mesh::new().await;
    let token = mesh.pod.path("var/run/secrets/tokens/istio-token");
    mesh.istiod.as_ref().unwrap().process.rt.remove(&token).await.unwrap();
    let agent = mesh.start_agent();
    let rt = &agent.process.rt;
    eventually("a refusal", async || agent.process.events.count("cert.request.failed") > 0).await;
    assert!(agent.process.events.last("cert.request.failed").mentions("Unauthenticated"));
    assert!(agent.process.events.count("agent.token.missing") > 0);
    assert!(!mesh.is_ready(&agent).await);
    assert_eq!(mesh.read(rt, "key.pem").await, None);
    eventually("the socket", async || rt.exists(mesh.socket()).await).await;
    let refused = Ads::open(&mesh, rt).await.unwrap().ask().await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "authentication failure"));

    mesh.write_token(rt, "default").await;
    eventually("readiness", async || mesh.is_ready(&agent).await).await;
    Ads::open(&mesh, rt).await.unwrap().ask().await.expect("the token is read for each stream");
}

#[tokio::test]
async fn the_certificate_names_who_the_token_proves_and_not_what_the_agent_asks_for() {
    let mut mesh = Mesh::new().await;
    mesh.set("SERVICE_ACCOUNT", "someone-else");
    let agent = mesh.started_agent().await;
    let certificate = certificate(&mesh, &agent.process.rt).await;
    assert_eq!(certificate.uri_sans, ["spiffe://cluster.local/ns/demo/sa/default"]);
}

#[tokio::test]
async fn a_replaced_root_comes_into_use_without_a_restart() {
    let mesh = Mesh::new().await;
    let rt = hermesh_runtime::os::runtime();
    let other = StoredRoot::generate(&rt, "cluster.local");
    mesh.pod.write(&rt, "var/run/secrets/istio/root-cert.pem", &other.cert_pem).await;
    let agent = mesh.start_agent();
    eventually("a refusal", async || agent.process.events.count("cert.request.failed") > 0).await;
    assert!(agent.process.events.last("conn.failed").mentions("tls-handshake"));
    mesh.pod.write(&rt, "var/run/secrets/istio/root-cert.pem", &mesh.root.cert_pem).await;
    eventually("readiness", async || mesh.is_ready(&agent).await).await;
    Ads::open(&mesh, &rt).await.unwrap().ask().await.unwrap();
}

#[tokio::test]
async fn sigterm_ends_the_agent_its_streams_and_its_socket_but_leaves_the_files() {
    let mesh = Mesh::new().await;
    let agent = mesh.started_agent().await;
    let rt = agent.process.rt.clone();
    let mut stream = Ads::open(&mesh, &rt).await.unwrap();
    stream.ask().await.unwrap();
    agent.process.terminate();
    agent.ended.await.unwrap().expect("exit code 0");
    stream.next().await.unwrap_err();
    assert!(!rt.exists(mesh.socket()).await);
    assert!(mesh.read(&rt, "key.pem").await.is_some());
    assert!(rt.exists(mesh.pod.path("etc/istio/proxy/grpc-bootstrap.json")).await);
}

#[tokio::test]
async fn quitquitquit_ends_the_agent_and_takes_only_a_post() {
    let mesh = Mesh::new().await;
    let agent = mesh.started_agent().await;
    let rt = agent.process.rt.clone();
    assert_eq!(mesh.http(&rt, http::Method::GET, "/quitquitquit").await, Some(http::StatusCode::METHOD_NOT_ALLOWED));
    assert_eq!(mesh.http(&rt, http::Method::GET, "/elsewhere").await, Some(http::StatusCode::NOT_FOUND));
    assert_eq!(mesh.http(&rt, http::Method::POST, "/quitquitquit").await, Some(http::StatusCode::OK));
    agent.ended.await.unwrap().expect("exit code 0");
    assert!(agent.process.events.last("agent.stopped").mentions("quitquitquit"));
}

#[tokio::test]
async fn a_drained_agent_is_not_ready_and_goes_on_serving_its_streams() {
    let mesh = Mesh::new().await;
    let agent = mesh.started_agent().await;
    let rt = agent.process.rt.clone();
    let mut stream = Ads::open(&mesh, &rt).await.unwrap();
    stream.ask().await.unwrap();
    assert_eq!(mesh.http(&rt, http::Method::POST, "/drain").await, Some(http::StatusCode::OK));
    assert!(!mesh.is_ready(&agent).await);
    assert_eq!(stream.ask().await.unwrap().type_url, CDS);
}

#[tokio::test]
async fn wait_ends_once_the_agent_is_ready_and_tells_why_it_gave_up() {
    let mesh = Mesh::new().await;
    let rt = hermesh_runtime::os::runtime();
    let url = format!("--url=http://localhost:{}/healthz/ready", mesh.status.port());
    let args = |timeout: &str| [&url, timeout, "--periodMillis=20"].map(str::to_owned);
    let error = Wait::parse(&args("--timeoutSeconds=1")).unwrap().run(&rt).await.unwrap_err();
    assert!(error.to_string().starts_with("timeout waiting for http://localhost:"), "{error}");
    let _agent = mesh.start_agent();
    Wait::parse(&args("--timeoutSeconds=20")).unwrap().run(&rt).await.unwrap();
}

#[tokio::test]
async fn a_missing_root_is_an_error_that_names_the_file() {
    let mesh = Mesh::new().await;
    let root = mesh.pod.path("var/run/secrets/istio/root-cert.pem");
    hermesh_runtime::os::runtime().remove(&root).await.unwrap();
    let error = mesh.start_agent().ended.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("root-cert.pem") && error.contains("istio-ca-root-cert"), "{error}");
}

#[tokio::test]
async fn a_stale_bootstrap_does_not_make_a_restarted_agent_ready() {
    let mesh = Mesh::new().await;
    let rt = hermesh_runtime::os::runtime();
    let first = mesh.started_agent().await;
    first.process.terminate();
    first.ended.await.unwrap().unwrap();
    // Files of the first run are complete; without the root the second never gets to listen.
    rt.remove(mesh.pod.path("var/run/secrets/istio/root-cert.pem")).await.unwrap();
    mesh.start_agent().ended.await.unwrap().unwrap_err();
    assert!(!rt.exists(mesh.pod.path("etc/istio/proxy/grpc-bootstrap.json")).await);
}

#[tokio::test]
async fn an_agent_that_has_a_certificate_needs_its_token_no_more() {
    let mut mesh = Mesh::new().await;
    let rt = hermesh_runtime::os::runtime();
    let root = "/var/run/secrets/istio/root-cert.pem";
    mesh.set("PROV_CERT", "/var/lib/istio/data");
    mesh.set("XDS_ROOT_CA", root);
    mesh.set("CA_ROOT_CA", root);
    let first = mesh.started_agent().await;
    first.process.terminate();
    first.ended.await.unwrap().unwrap();

    // The second knows the root, too, from what the first has left.
    mesh.pod.write(&rt, "var/run/secrets/tokens/istio-token", "long expired").await;
    mesh.vars.retain(|(name, _)| !name.ends_with("_ROOT_CA"));
    let key = mesh.read(&rt, "key.pem").await.unwrap();
    let second = mesh.start_agent();
    eventually("a new certificate", async || mesh.read(&rt, "key.pem").await.is_some_and(|now| now != key)).await;
    assert_eq!(second.process.events.count("cert.request.failed"), 0);
    eventually("readiness", async || mesh.is_ready(&second).await).await;
    Ads::open(&mesh, &rt).await.unwrap().ask().await.expect("istiod knows the certificate");
    second.process.terminate();
    second.ended.await.unwrap().unwrap();

    mesh.vars.retain(|(name, _)| name != "PROV_CERT");
    let third = mesh.start_agent();
    eventually("a refusal", async || third.process.events.count("cert.request.failed") > 0).await;
    assert!(third.process.events.last("cert.request.failed").mentions("Unauthenticated"));
}

#[tokio::test]
async fn health_is_told_after_the_first_request_for_listeners_and_whenever_it_changes() {
    let mut mesh = Mesh::new().await;
    let rt = hermesh_runtime::os::runtime();
    let port = free_port(&rt).await;
    let discovery = mesh.istiod.as_ref().unwrap().address.port();
    let probe = format!(r#"{{"tcpSocket":{{"port":{port}}},"periodSeconds":1}}"#);
    let config = format!(
        r#"{{"discoveryAddress":"localhost:{discovery}","statusPort":{},"readinessProbe":{probe}}}"#,
        mesh.status.port()
    );
    mesh.set("PROXY_CONFIG", &config);
    let agent = mesh.started_agent().await;
    let events = &agent.process.events;
    let told = || events.all().iter().filter(|event| event.mentions("istio.v1.HealthInformation")).count();
    eventually("it is not healthy", async || events.count("agent.health") == 1).await;
    assert!(events.last("agent.health").mentions("dial tcp 127.0.0.1"));

    let mut stream = Ads::open(&mesh, &rt).await.unwrap();
    stream.ask().await.unwrap();
    assert_eq!(told(), 0, "a request for clusters does not count");
    let listeners = "type.googleapis.com/envoy.config.listener.v3.Listener".to_owned();
    let names = vec!["echo:7070".to_owned()];
    let request = DiscoveryRequest { type_url: listeners, resource_names: names, ..DiscoveryRequest::default() };
    stream.requests.send(request.clone()).unwrap();
    eventually("istiod is told", async || told() == 1).await;
    stream.requests.send(request).unwrap();

    let _listener = rt.listen(SocketAddr::from(([127, 0, 0, 1], port)).into()).await.unwrap();
    eventually("it is healthy", async || events.count("agent.health") == 2).await;
    eventually("istiod is told again", async || told() == 2).await;
    assert!(!events.last("agent.health").mentions("dial tcp"));
    stream.ask().await.expect("istiod goes on with the stream");
}
