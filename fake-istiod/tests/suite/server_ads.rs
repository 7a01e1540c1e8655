//! Istiod's discovery service, as a client on loopback sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind as ValueKind};
use envoy_types::pb::google::rpc;
use hermesh_istiod::ca::{AUDIENCE, CertificateAuthority, ServiceAccount, SignedTokens, StoredRoot, proto};
use hermesh_istiod::objects::{Kind, Object, load};
use hermesh_istiod::push::{IstiodStatus, Unsettled, Verdict};
use hermesh_istiod::watch::{KINDS, WatchEvent, WatchSender, watch};
use hermesh_istiod::{Config, Istiod};
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::crypto::KeyPair;
use hermesh_runtime::tls::{ClientTls, Identity, PeerCertificate, PeerRule, TrustBundle};
use hermesh_runtime::{Runtime, TaskGuard, http1};
use hermesh_test_support::{Process, Setup, eventually};
use hermesh_xds::ResourceType;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Request, Status, Streaming};

const CLUSTER: &str = "outbound|7070||echo.demo.svc.cluster.local";
const LISTENER: &str = "echo.demo.svc.cluster.local:7070";

fn service(name: &str, address: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: demo}}
spec: {{clusterIP: {address}, selector: {{app: {name}}}, ports: [{{name: grpc, port: 7070}}]}}
"
    )
}

fn slice(service: &str, endpoint: &str) -> String {
    format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {service}-1, namespace: demo, labels: {{kubernetes.io/service-name: {service}}}}}
addressType: IPv4
endpoints: [{{addresses: [{endpoint}], conditions: {{ready: true}}}}]
ports: [{{name: grpc, port: 7070}}]
"
    )
}

fn objects(text: &str) -> Vec<Object> {
    let loaded = load("test.yaml", text, "default");
    assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
    loaded.objects
}

/// An istiod on loopback.
struct ControlPlane {
    process: Process,
    status: IstiodStatus,
    watch: WatchSender,
    root: StoredRoot,
    tokens: Arc<SignedTokens>,
    _task: TaskGuard,
}

impl ControlPlane {
    /// Nothing is listed yet.
    async fn unsynced() -> Self {
        let process = Process::new(Setup::new());
        let root = StoredRoot::generate(&process.rt, "cluster.local");
        let tokens = Arc::new(SignedTokens::new(&process.rt, root.key_pem.as_bytes()));
        let mut config = Config::new(tokens.clone());
        let any: Option<SocketAddr> = Some("127.0.0.1:0".parse().unwrap());
        (config.plaintext, config.tls, config.readiness, config.monitoring) = (any, any, any, None);
        config.stored_root = Some(root.clone());
        let (watch, source) = watch();
        let istiod = Istiod::new(process.rt.clone(), config, source).unwrap();
        let status = istiod.status();
        let task = process.rt.spawn("istiod", async move { istiod.run().await.unwrap() }).abort_on_drop();
        eventually("ports", async || status.state().addresses.plaintext.is_some()).await;
        Self { process, status, watch, root, tokens, _task: task }
    }

    async fn with(text: &str) -> Self {
        let this = Self::unsynced().await;
        this.watch.send_all(objects(text));
        eventually("the first push", async || this.status.state().ready).await;
        this
    }

    async fn echo() -> Self {
        Self::with(&[service("echo", "10.1.0.1"), slice("echo", "10.0.0.1")].join("---")).await
    }

    fn apply(&self, text: &str) {
        for object in objects(text) {
            self.watch.send(WatchEvent::Applied(object), None);
        }
    }

    fn rt(&self) -> &Runtime {
        &self.process.rt
    }

    fn plaintext(&self) -> Channel {
        let address = self.status.state().addresses.plaintext.unwrap();
        Channel::new(self.rt(), &address.to_string(), ChannelOptions::default()).unwrap()
    }

    fn tls(&self) -> Channel {
        self.tls_as(None)
    }

    /// With a certificate of the mesh that carries these identities.
    fn tls_with(&self, identities: &[&str]) -> Channel {
        let (rt, key) = (self.rt(), KeyPair::generate(self.rt()));
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let authority = CertificateAuthority::load(self.root.clone()).unwrap();
        let issued = authority.sign(&csr, identities, 0, rt.wall(), [1; 16]).unwrap();
        self.tls_as(Some(Identity::from_pem(rt, issued.cert_pem.as_bytes(), key.to_pem().as_bytes()).unwrap()))
    }

    fn tls_as(&self, identity: Option<Identity>) -> Channel {
        let address = self.status.state().addresses.tls.unwrap();
        let trust = TrustBundle::from_pem(self.root.cert_pem.as_bytes()).unwrap();
        let name = "istiod.istio-system.svc";
        let tls = ClientTls::new(self.rt(), name, trust, identity, PeerRule::dns(name)).unwrap();
        let options = ChannelOptions { tls: Some(tls), ..ChannelOptions::default() };
        Channel::new(self.rt(), &address.to_string(), options).unwrap()
    }

    async fn open(&self) -> Ads {
        Ads::open(self.plaintext(), None, "app-0").await.unwrap()
    }

    fn token(&self, namespace: &str, account: &str) -> String {
        self.tokens.mint(&ServiceAccount::new(namespace, account), AUDIENCE, Duration::from_secs(60))
    }

    async fn settled(&self) {
        eventually("quiescence", async || self.status.is_quiescent()).await;
    }
}

/// A client's stream. Its first request carries the node.
struct Ads {
    requests: mpsc::UnboundedSender<DiscoveryRequest>,
    responses: Streaming<DiscoveryResponse>,
    node: Option<Node>,
}

impl Ads {
    async fn open(channel: Channel, token: Option<&str>, pod: &str) -> Result<Self, Status> {
        let (requests, receiver) = mpsc::unbounded_channel();
        let mut request = Request::new(UnboundedReceiverStream::new(receiver));
        if let Some(token) = token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let mut client = AggregatedDiscoveryServiceClient::new(channel);
        let responses = client.stream_aggregated_resources(request).await?.into_inner();
        let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
        let fields = [
            ("GENERATOR", "grpc"),
            ("NAMESPACE", "demo"),
            ("SERVICE_ACCOUNT", "default"),
            ("CLUSTER_ID", "Kubernetes"),
        ];
        let node = Node {
            id: format!("sidecar~10.0.0.9~{pod}.demo~demo.svc.cluster.local"),
            metadata: Some(Struct { fields: fields.map(|(name, value)| (name.to_owned(), text(value))).into() }),
            ..Node::default()
        };
        Ok(Self { requests, responses, node: Some(node) })
    }

    fn send(&mut self, request: DiscoveryRequest) {
        let _ = self.requests.send(DiscoveryRequest { node: self.node.take(), ..request });
    }

    fn subscribe(&mut self, resource_type: ResourceType, names: &[&str]) {
        self.send(request(resource_type, names, "", ""));
    }

    /// Subscribes and takes the answer, without judging it.
    async fn ask(&mut self, resource_type: ResourceType, names: &[&str]) -> DiscoveryResponse {
        self.subscribe(resource_type, names);
        self.next().await.unwrap()
    }

    /// Subscribes, takes the answer and accepts it.
    async fn take(&mut self, resource_type: ResourceType, names: &[&str]) -> DiscoveryResponse {
        let response = self.ask(resource_type, names).await;
        self.ack(&response, names);
        response
    }

    fn ack(&mut self, response: &DiscoveryResponse, names: &[&str]) {
        let resource_type = ResourceType::from_type_url(&response.type_url).unwrap();
        self.send(request(resource_type, names, &response.version_info, &response.nonce));
    }

    fn nack(&mut self, response: &DiscoveryResponse, names: &[&str], error: &str) {
        let resource_type = ResourceType::from_type_url(&response.type_url).unwrap();
        let error_detail = Some(rpc::Status { code: 3, message: error.to_owned(), details: Vec::new() });
        self.send(DiscoveryRequest { error_detail, ..request(resource_type, names, "", &response.nonce) });
    }

    async fn next(&mut self) -> Result<DiscoveryResponse, Status> {
        let message = tokio::time::timeout(Duration::from_secs(20), self.responses.message()).await;
        message.expect("a response or the stream's end")?.ok_or_else(|| Status::ok("end of stream"))
    }

    /// All four types, accepted.
    async fn take_all(&mut self) {
        self.take(ResourceType::Listener, &[LISTENER]).await;
        self.take(ResourceType::RouteConfiguration, &[CLUSTER]).await;
        self.take(ResourceType::Cluster, &[CLUSTER]).await;
        self.take(ResourceType::Endpoints, &[CLUSTER]).await;
    }
}

fn request(resource_type: ResourceType, names: &[&str], version: &str, nonce: &str) -> DiscoveryRequest {
    DiscoveryRequest {
        type_url: resource_type.type_url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        version_info: version.to_owned(),
        response_nonce: nonce.to_owned(),
        ..DiscoveryRequest::default()
    }
}

fn short(response: &DiscoveryResponse) -> &'static str {
    ResourceType::from_type_url(&response.type_url).unwrap().short()
}

fn assignments(response: &DiscoveryResponse) -> Vec<ClusterLoadAssignment> {
    response.resources.iter().map(|any| ClusterLoadAssignment::decode(&*any.value).unwrap()).collect()
}

#[tokio::test]
async fn every_type_is_answered_by_name() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    for (resource_type, name) in [
        (ResourceType::Listener, LISTENER),
        (ResourceType::RouteConfiguration, CLUSTER),
        (ResourceType::Cluster, CLUSTER),
        (ResourceType::Endpoints, CLUSTER),
    ] {
        let response = ads.take(resource_type, &[name]).await;
        assert_eq!((response.type_url.as_str(), response.resources.len()), (resource_type.type_url(), 1));
        assert!(response.version_info.ends_with("Z/1"), "{}", response.version_info);
        assert!(response.nonce.starts_with(&response.version_info));
    }
}

#[tokio::test]
async fn a_change_is_pushed_as_clusters_endpoints_listeners_routes_in_one_version() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    ads.take_all().await;
    istiod.settled().await;
    istiod.apply(&slice("echo", "10.0.0.2"));
    let mut pushed = Vec::new();
    for _ in 0..4 {
        pushed.push(ads.next().await.unwrap());
    }
    assert_eq!(pushed.iter().map(short).collect::<Vec<_>>(), ["CDS", "EDS", "LDS", "RDS"]);
    assert!(pushed.iter().all(|response| response.version_info.ends_with("/2")));
    assert!(pushed.iter().all(|response| response.version_info == pushed[0].version_info));
}

#[tokio::test]
async fn an_accepted_response_is_followed_by_silence() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    ads.take_all().await;
    istiod.settled().await;
    let more = tokio::time::timeout(Duration::from_millis(400), ads.responses.message()).await;
    assert!(more.is_err(), "{more:?}");
}

#[tokio::test]
async fn a_rejection_is_remembered_and_the_next_push_comes_all_the_same() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    let response = ads.ask(ResourceType::Cluster, &[CLUSTER]).await;
    ads.nack(&response, &[CLUSTER], "no such policy");
    istiod.settled().await;
    let state = istiod.status.state();
    let connection = state.connections.values().next().unwrap();
    assert_eq!(connection.pod.0, "demo", "{}", connection.node);
    assert_eq!(connection.node.split('~').nth(2), Some(format!("{}.demo", connection.pod.1).as_str()));
    let last = &connection.last[&ResourceType::Cluster];
    assert_eq!(last.verdict, Verdict::Rejected("no such policy".to_owned()));
    let nacked = istiod.process.events.last("xds.nacked");
    assert!(nacked.mentions("no such policy") && nacked.mentions(&response.nonce), "{nacked:?}");
    assert_eq!(istiod.process.events.causes(&nacked)[..2], ["xds.nacked", "xds.push"]);

    istiod.apply(&slice("echo", "10.0.0.2"));
    assert!(ads.next().await.unwrap().version_info.ends_with("/2"));
}

#[tokio::test]
async fn names_that_nobody_has_are_answered_as_istio_does() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    assert_eq!(ads.take(ResourceType::Listener, &["nobody.demo.svc.cluster.local:1"]).await.resources.len(), 0);
    let unknown = "outbound|1||nobody.demo.svc.cluster.local";
    assert_eq!(ads.take(ResourceType::Cluster, &[unknown]).await.resources.len(), 0);
    let routes = ads.take(ResourceType::RouteConfiguration, &[unknown]).await;
    assert_eq!(RouteConfiguration::decode(&*routes.resources[0].value).unwrap().virtual_hosts.len(), 0);
    let endpoints = assignments(&ads.take(ResourceType::Endpoints, &[unknown]).await);
    assert_eq!((endpoints[0].cluster_name.as_str(), endpoints[0].endpoints.len()), (unknown, 0));
}

#[tokio::test]
async fn a_push_carries_only_the_endpoints_that_changed() {
    let other = "outbound|7070||other.demo.svc.cluster.local";
    let all = [
        service("echo", "10.1.0.1"),
        slice("echo", "10.0.0.1"),
        service("other", "10.1.0.2"),
        slice("other", "10.0.0.3"),
    ];
    let istiod = ControlPlane::with(&all.join("---")).await;
    let mut ads = istiod.open().await;
    assert_eq!(assignments(&ads.take(ResourceType::Endpoints, &[CLUSTER, other]).await).len(), 2);
    istiod.apply(&slice("other", "10.0.0.4"));
    let pushed = assignments(&ads.next().await.unwrap());
    assert_eq!(pushed.iter().map(|cla| cla.cluster_name.as_str()).collect::<Vec<_>>(), [other]);
}

#[tokio::test]
async fn changes_in_quick_succession_make_one_push() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    ads.take(ResourceType::Endpoints, &[CLUSTER]).await;
    for last in 2..=9 {
        istiod.apply(&slice("echo", &format!("10.0.0.{last}")));
    }
    let response = ads.next().await.unwrap();
    assert!(response.version_info.ends_with("/2"));
    assert!(format!("{:?}", assignments(&response)).contains("10.0.0.9"));
    ads.ack(&response, &[CLUSTER]);
    istiod.settled().await;
    assert_eq!(istiod.process.events.count("istiod.push.started"), 2);
    assert_eq!(istiod.process.events.count("istiod.push.finished"), 2);
}

#[tokio::test]
async fn what_istiod_does_not_read_is_not_pushed() {
    let istiod = ControlPlane::echo().await;
    istiod.apply(&slice("echo", "10.0.0.1"));
    istiod.apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n");
    istiod.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other, namespace: demo}\n");
    istiod.settled().await;
    assert_eq!(istiod.process.events.count("istiod.push.started"), 1);
}

#[tokio::test]
async fn convergence_waits_for_every_answer_and_names_who_owes_it() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    let response = ads.ask(ResourceType::Cluster, &[CLUSTER]).await;
    let unsettled = istiod.status.unsettled();
    assert!(
        matches!(&unsettled[..], [Unsettled::Response { resource_type: ResourceType::Cluster, .. }]),
        "{unsettled:?}"
    );
    assert!(unsettled[0].to_string().contains("app-0.demo"), "{}", unsettled[0]);
    ads.ack(&response, &[CLUSTER]);
    istiod.settled().await;

    istiod.apply(&slice("echo", "10.0.0.2"));
    assert!(!istiod.status.is_quiescent(), "a watch event is under way from the moment it is sent");
    let response = ads.next().await.unwrap();
    assert!(!istiod.status.is_quiescent());
    ads.ack(&response, &[CLUSTER]);
    istiod.settled().await;
    drop(ads);
    eventually("the stream to end", async || istiod.status.state().connections.is_empty()).await;
}

#[tokio::test]
async fn a_response_can_be_traced_back_to_the_watch_event() {
    let istiod = ControlPlane::echo().await;
    let mut ads = istiod.open().await;
    ads.take(ResourceType::Cluster, &[CLUSTER]).await;
    let cause = istiod.rt().emit(hermesh_istiod::Ready { objects: 0 });
    let object = objects(&slice("echo", "10.0.0.2")).remove(0);
    istiod.watch.send(WatchEvent::Applied(object.clone()), cause);
    ads.next().await.unwrap();
    assert_eq!(
        istiod.process.events.causes(&istiod.process.events.last("xds.push"))[..3],
        ["xds.push", "istiod.push.started", "istiod.ready"]
    );

    istiod.watch.send(WatchEvent::Deleted(object.key()), None);
    assert!(ads.next().await.unwrap().version_info.ends_with("/3"), "a deletion is a change");
}

#[tokio::test]
async fn the_first_request_must_name_a_node() {
    let istiod = ControlPlane::echo().await;
    for (node, part) in [
        (None, "missing node information"),
        (Some(Node::default()), "missing node information"),
        (Some(Node { id: "sidecar~10.0.0.1~x".to_owned(), ..Node::default() }), "missing parts"),
        (Some(Node { id: "boat~10.0.0.1~x.y~z".to_owned(), ..Node::default() }), "invalid node type"),
        (Some(Node { id: "sidecar~somewhere~x.y~z".to_owned(), ..Node::default() }), "no valid IP address"),
    ] {
        let mut ads = istiod.open().await;
        ads.node = node;
        ads.subscribe(ResourceType::Cluster, &[CLUSTER]);
        let refused = ads.next().await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains(part), "{refused}");
    }
}

#[tokio::test]
async fn nothing_is_served_before_every_kind_is_listed() {
    let istiod = ControlPlane::unsynced().await;
    let readiness = istiod.status.state().addresses.readiness.unwrap();
    let ready = async || {
        let response = http1::get(istiod.rt(), readiness, "istiod", "/ready", Duration::from_secs(5)).await;
        response.unwrap().status.as_u16()
    };
    for kind in KINDS.into_iter().filter(|kind| *kind != Kind::PeerAuthentication) {
        istiod.watch.send(WatchEvent::Synced(kind), None);
    }
    let refused = Ads::open(istiod.plaintext(), None, "app-0").await.err().unwrap();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unavailable, "server is not ready to serve discovery information")
    );
    assert_eq!(ready().await, 503);
    istiod.watch.send(WatchEvent::Synced(Kind::PeerAuthentication), None);
    eventually("readiness", async || ready().await == 200).await;
    istiod.open().await;
}

#[tokio::test]
async fn on_the_tls_port_a_node_must_be_who_its_token_says() {
    let istiod = ControlPlane::echo().await;
    let nobody = Ads::open(istiod.tls(), None, "app-0").await.err().unwrap();
    assert_eq!((nobody.code(), nobody.message()), (Code::Unauthenticated, "authentication failure"));
    let forged = Ads::open(istiod.tls(), Some("a.b.c"), "app-0").await.err().unwrap();
    assert_eq!(forged.code(), Code::Unauthenticated);
    for (namespace, account) in [("other", "default"), ("demo", "other")] {
        let mut ads = Ads::open(istiod.tls(), Some(&istiod.token(namespace, account)), "app-0").await.unwrap();
        ads.subscribe(ResourceType::Cluster, &[CLUSTER]);
        let refused = ads.next().await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("demo/default"), "{refused}");
    }
    let mut ads = Ads::open(istiod.tls(), Some(&istiod.token("demo", "default")), "app-0").await.unwrap();
    assert_eq!(ads.ask(ResourceType::Cluster, &[CLUSTER]).await.resources.len(), 1);
}

#[tokio::test]
async fn a_certificate_with_several_identities_stands_for_each_of_them() {
    const ADMIN: &str = "spiffe://other.domain/ns/kube-system/sa/admin";
    const OURS: &str = "spiffe://other.domain/ns/demo/sa/default";
    let istiod = ControlPlane::echo().await;
    let mut ads = Ads::open(istiod.tls_with(&[ADMIN, OURS]), None, "app-0").await.unwrap();
    assert_eq!(ads.ask(ResourceType::Cluster, &[CLUSTER]).await.resources.len(), 1);
    assert_eq!(
        istiod.process.events.last("istiod.stream.opened").fields["identities"],
        serde_json::json!([ADMIN, OURS])
    );

    // Whom a certificate names needs no token, and gets no help from one.
    let token = istiod.token("demo", "default");
    let mut ads = Ads::open(istiod.tls_with(&[ADMIN]), Some(&token), "app-0").await.unwrap();
    ads.subscribe(ResourceType::Cluster, &[CLUSTER]);
    let refused = ads.next().await.unwrap_err();
    let text = format!("authorization failed: no identities ([{ADMIN}]) matched demo/default");
    assert_eq!((refused.code(), refused.message()), (Code::PermissionDenied, text.as_str()));

    let csr = rcgen::CertificateParams::default().serialize_request(&KeyPair::generate(istiod.rt())).unwrap();
    let chain =
        create_certificate(istiod.tls_with(&[ADMIN, OURS]), None, &csr.pem().unwrap()).await.unwrap().cert_chain;
    let leaf = pem::parse(&chain[0]).unwrap().into_contents();
    assert_eq!(
        PeerCertificate::from_chain(vec![leaf.into()]).unwrap().uri_sans,
        [ADMIN, OURS],
        "the trust domain stays"
    );
}

async fn create_certificate(
    channel: Channel,
    token: Option<&str>,
    csr: &str,
) -> Result<proto::IstioCertificateResponse, Status> {
    let mut request = Request::new(proto::IstioCertificateRequest { csr: csr.to_owned(), ..Default::default() });
    if let Some(token) = token {
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let path = http::uri::PathAndQuery::from_static("/istio.v1.auth.IstioCertificateService/CreateCertificate");
    let codec = tonic_prost::ProstCodec::<_, proto::IstioCertificateResponse>::default();
    Ok(tonic::client::Grpc::new(channel).unary(request, path, codec).await?.into_inner())
}

#[tokio::test]
async fn certificates_are_for_who_proves_to_be_someone_and_only_over_tls() {
    let istiod = ControlPlane::unsynced().await;
    let key = KeyPair::generate(istiod.rt());
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
    let token = istiod.token("demo", "default");

    let chain = create_certificate(istiod.tls(), Some(&token), &csr).await.unwrap().cert_chain;
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1], istiod.root.cert_pem);
    assert!(istiod.process.events.last("ca.issued").mentions("spiffe://cluster.local/ns/demo/sa/default"));

    let refused = create_certificate(istiod.tls(), None, &csr).await.unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, "request authenticate failure"));
    let refused = create_certificate(istiod.tls(), Some(&token), "no request").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("CSR signing error ("), "{refused}");
    let refused = create_certificate(istiod.plaintext(), Some(&token), &csr).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(!istiod.process.events.all().iter().any(|event| event.mentions(&token)));
}
