//! What DestinationRule and PeerAuthentication make of a call, as a table: the two ends as a gRPC client and a server
//! read the resources istiod translates to, and what comes of a call between them.
//!
//! Source: Istio `grpcgen/cds.go` and `lds.go`; the article's "Supported Features" for what is treated as `DISABLE`.

use std::collections::BTreeSet;

use hermesh::Call;
use hermesh_istiod::node::Node;
use hermesh_istiod::objects;
use hermesh_istiod::snapshot::{Mesh, Snapshot};
use hermesh_istiod::translate;
use hermesh_tests::{for_each_seed, manifests};
use hermesh_xds::Cause;
use hermesh_xds::resource::{Decoded, ListenerKind, Resource, ResourceType, Validation, decode};
use tonic::Code;

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Plaintext,
    Mtls,
    Fails(Code, Cause),
}

/// DestinationRule, PeerAuthentication, whether the client and the server are told to use TLS, and the call.
type Row = (Option<&'static str>, Option<&'static str>, bool, bool, Outcome);

/// The client speaks plaintext; the server answers with a TLS alert and closes the connection.
const TO_STRICT: Outcome = Outcome::Fails(Code::Unavailable, Cause::TlsHandshake);
/// The client begins a TLS handshake, which the server takes for broken HTTP/2.
const TO_PLAIN: Outcome = Outcome::Fails(Code::Unavailable, Cause::TlsHandshake);

#[rustfmt::skip]
const TABLE: [Row; 20] = [
    (None,                 None,               false, false, Outcome::Plaintext),
    (None,                 Some("UNSET"),      false, false, Outcome::Plaintext),
    (None,                 Some("DISABLE"),    false, false, Outcome::Plaintext),
    (None,                 Some("PERMISSIVE"), false, false, Outcome::Plaintext),
    (None,                 Some("STRICT"),     false, true,  TO_STRICT),
    (Some("DISABLE"),      None,               false, false, Outcome::Plaintext),
    (Some("DISABLE"),      Some("UNSET"),      false, false, Outcome::Plaintext),
    (Some("DISABLE"),      Some("DISABLE"),    false, false, Outcome::Plaintext),
    (Some("DISABLE"),      Some("PERMISSIVE"), false, false, Outcome::Plaintext),
    (Some("DISABLE"),      Some("STRICT"),     false, true,  TO_STRICT),
    (Some("SIMPLE"),       None,               false, false, Outcome::Plaintext),
    (Some("SIMPLE"),       Some("UNSET"),      false, false, Outcome::Plaintext),
    (Some("SIMPLE"),       Some("DISABLE"),    false, false, Outcome::Plaintext),
    (Some("SIMPLE"),       Some("PERMISSIVE"), false, false, Outcome::Plaintext),
    (Some("SIMPLE"),       Some("STRICT"),     false, true,  TO_STRICT),
    (Some("ISTIO_MUTUAL"), None,               true,  false, TO_PLAIN),
    (Some("ISTIO_MUTUAL"), Some("UNSET"),      true,  false, TO_PLAIN),
    (Some("ISTIO_MUTUAL"), Some("DISABLE"),    true,  false, TO_PLAIN),
    (Some("ISTIO_MUTUAL"), Some("PERMISSIVE"), true,  false, TO_PLAIN),
    (Some("ISTIO_MUTUAL"), Some("STRICT"),     true,  true,  Outcome::Mtls),
];

#[test]
fn each_end_reads_in_its_resources_what_the_table_says() {
    for (client_mode, server_mode, client, server, _) in TABLE {
        let row = format!("DestinationRule {client_mode:?}, PeerAuthentication {server_mode:?}");
        assert_eq!(ends(client_mode, server_mode), (client, server), "{row}");
    }
}

#[test]
fn a_call_goes_as_the_table_says() {
    for_each_seed(1..=TABLE.len() as u64, |seed| {
        let (client_mode, server_mode, _, _, expected) = TABLE[seed as usize - 1];
        let mut mesh = hermesh::mesh().seed(seed).namespace(manifests::NAMESPACE).start();
        mesh.apply(manifests::echo(&["v1"])).wait_ready();
        for document in documents(client_mode, server_mode) {
            mesh.apply(document);
        }
        mesh.wait_converged();
        let report = mesh.call(Call::new("echo-v1", manifests::TARGET));
        let seen = match (&report.failure, report.answers.first()) {
            (Some(failure), _) => Outcome::Fails(
                failure.request_code.expect("the request has a code"),
                failure.cause.expect("the client knows the cause"),
            ),
            (None, Some(answer)) if answer.caller.is_some() => Outcome::Mtls,
            (None, _) => Outcome::Plaintext,
        };
        assert_eq!(seen, expected, "DestinationRule {client_mode:?}, PeerAuthentication {server_mode:?}: {report:?}");
    });
}

fn documents(client_mode: Option<&str>, server_mode: Option<&str>) -> Vec<String> {
    [client_mode.map(manifests::client_tls), server_mode.map(manifests::server_tls)].into_iter().flatten().collect()
}

/// Whether the client's cluster and the server's listener ask for mutual TLS, as the two programs read them.
fn ends(client_mode: Option<&str>, server_mode: Option<&str>) -> (bool, bool) {
    let mut text = manifests::echo(&["v1"]);
    for document in documents(client_mode, server_mode) {
        text = text + "---\n" + &document;
    }
    text = text + "---\n" + POD;
    let loaded = objects::load("matrix.yaml", &text, "default");
    assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
    let snapshot = Snapshot::new(Mesh::default(), loaded.objects);
    let node = node();
    let names = |name: &str| BTreeSet::from([name.to_owned()]);
    let clusters = translate::clusters(&snapshot, &node, &names(&format!("outbound|7070||{}", manifests::HOST)));
    let listener = format!("{}0.0.0.0:17070", translate::INBOUND_LISTENER_PREFIX);
    let listeners = translate::listeners(&snapshot, &node, &names(&listener));

    // The one provider that the agent's bootstrap has.
    let validation = Validation { certificate_providers: BTreeSet::from(["default".to_owned()]) };
    let read = |kind, resources: &[(String, _)]| match resources {
        [(_, any)] => match decode(kind, any, &validation) {
            Decoded::Named { outcome: Ok(resource), .. } => resource,
            other => panic!("{other:?}"),
        },
        others => panic!("{} resources", others.len()),
    };
    let Resource::Cluster(cluster) = read(ResourceType::Cluster, &clusters) else { panic!("CDS brings clusters") };
    let Resource::Listener(listener) = read(ResourceType::Listener, &listeners) else { panic!("LDS brings listeners") };
    let ListenerKind::Server(listener) = &listener.kind else { panic!("it is a server's listener") };
    let client = cluster.security.as_ref().is_some_and(|tls| tls.identity.is_some());
    assert_eq!(client, cluster.security.is_some(), "a client that uses TLS proves who it is: {:?}", cluster.security);
    let chains = listener.filter_chains.iter().chain(&listener.default_filter_chain);
    let server: BTreeSet<bool> = chains
        .map(|chain| chain.security.as_ref().is_some_and(|tls| tls.roots.is_some() && tls.require_client_certificate))
        .collect();
    assert_eq!(server.len(), 1, "all filter chains are alike: {listener:?}");
    (client, server.contains(&true))
}

fn node() -> Node {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::google::protobuf::{Struct, Value, value::Kind};
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let fields = [("GENERATOR", "grpc"), ("NAMESPACE", "echo-grpc"), ("INSTANCE_IPS", "10.244.0.9")];
    let metadata = Struct { fields: fields.iter().map(|(key, value)| ((*key).to_owned(), text(value))).collect() };
    let id = "sidecar~10.244.0.9~echo-v1-0.echo-grpc~echo-grpc.svc.cluster.local".to_owned();
    Node::parse(&core::Node { id, metadata: Some(metadata), ..core::Node::default() }).expect("the node is well formed")
}

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: echo-v1-0
  namespace: echo-grpc
  labels:
    app: echo
    version: v1
spec:
  containers:
  - name: app
    image: registry.istio.io/testing/app:latest
status:
  podIP: 10.244.0.9
";
