//! What DestinationRule and PeerAuthentication make of the two ends, as a table and without any mesh: the resources
//! istiod translates to, judged by what gRPC reads in them.
//!
//! Source: Istio `grpcgen/cds.go` and `lds.go`; the article's "Supported Features" for what is treated as `DISABLE`.

use std::collections::BTreeSet;

use hermesh_istiod::node::Node;
use hermesh_istiod::objects;
use hermesh_istiod::snapshot::{Mesh, Snapshot};
use hermesh_istiod::translate;
use hermesh_tests::manifests;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Plain,
    Mtls,
}

#[test]
fn every_pair_of_modes_comes_to_one_of_four_pairs_of_ends() {
    use End::{Mtls, Plain};
    let client_modes = [(None, Plain), (Some("DISABLE"), Plain), (Some("SIMPLE"), Plain), (Some("ISTIO_MUTUAL"), Mtls)];
    let server_modes = [
        (None, Plain),
        (Some("UNSET"), Plain),
        (Some("DISABLE"), Plain),
        (Some("PERMISSIVE"), Plain),
        (Some("STRICT"), Mtls),
    ];
    for (client_mode, client) in client_modes {
        for (server_mode, server) in server_modes {
            let ends = ends(client_mode, server_mode);
            assert_eq!(ends, (client, server), "DestinationRule {client_mode:?}, PeerAuthentication {server_mode:?}");
        }
    }
}

/// What the two ends of a call to echo are told to do.
fn ends(client_mode: Option<&str>, server_mode: Option<&str>) -> (End, End) {
    let mut text = manifests::echo(&["v1"]);
    for document in [client_mode.map(manifests::client_tls), server_mode.map(manifests::server_tls)].iter().flatten() {
        text = text + "---\n" + document;
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
    let end = |resources: &[(String, _)]| {
        assert_eq!(resources.len(), 1);
        let text = translate::describe(&resources[0].1);
        if text.contains("envoy.transport_sockets.tls") { End::Mtls } else { End::Plain }
    };
    (end(&clusters), end(&listeners))
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
