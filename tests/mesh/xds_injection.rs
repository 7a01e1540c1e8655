//! Resources of the test's own: clients use them in the place of istiod's, or reject them and go on with what they had.

use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, Locality, SocketAddress, address};
use envoy_types::pb::envoy::config::endpoint::v3::lb_endpoint::HostIdentifier;
use envoy_types::pb::envoy::config::endpoint::v3::{ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints};
use envoy_types::pb::google::protobuf::UInt32Value;
use hermesh::{Load, Mesh, ResourceType, Responses, RunningLoad, WaitError};
use hermesh_tests::manifests::{self, HOST, TARGET};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn cluster() -> String {
    format!("outbound|7070||{HOST}")
}

/// Two versions of echo, and a load from the first over one channel.
fn start() -> (Mesh, RunningLoad) {
    let mut mesh = hermesh::mesh().seed(7).namespace(manifests::NAMESPACE).start();
    mesh.apply(manifests::echo(&["v1", "v2"])).wait_ready().wait_converged();
    let load = mesh.load(Load::new("echo-v1", TARGET));
    mesh.run_for(secs(2));
    (mesh, load)
}

/// Endpoints that are one pod.
fn only(mesh: &Mesh, workload: &str) -> ClusterLoadAssignment {
    let pods = mesh.get_pods().rows;
    let ip = pods.iter().find(|row| row.workload == workload).and_then(|row| row.ip).expect("it has an address");
    let port_specifier = Some(PortSpecifier::PortValue(17070));
    let address = SocketAddress { address: ip.to_string(), port_specifier, ..SocketAddress::default() };
    let address = Some(Address { address: Some(address::Address::SocketAddress(address)) });
    let endpoint = HostIdentifier::Endpoint(Endpoint { address, ..Endpoint::default() });
    let locality = LocalityLbEndpoints {
        locality: Some(Locality { region: "r".to_owned(), ..Locality::default() }),
        lb_endpoints: vec![LbEndpoint { host_identifier: Some(endpoint), ..LbEndpoint::default() }],
        load_balancing_weight: Some(UInt32Value { value: 1 }),
        ..LocalityLbEndpoints::default()
    };
    ClusterLoadAssignment { cluster_name: cluster(), endpoints: vec![locality], ..ClusterLoadAssignment::default() }
}

#[test]
fn a_cluster_that_is_rejected_leaves_the_one_before_in_use() {
    let (mut mesh, load) = start();
    // Of no type that gRPC knows.
    mesh.inject("echo-v1", Cluster { name: cluster(), ..Cluster::default() });
    let error = mesh.try_wait_converged(secs(30)).unwrap_err();
    let WaitError::Rejected { rejections } = &error else { panic!("{error}") };
    assert!(rejections.len() == 1 && rejections[0].contains("~echo-v1-"), "{rejections:?}");

    let config = mesh.client_config("echo-v1");
    let rejected = config.get(ResourceType::Cluster, &cluster()).expect("the load asked for it");
    assert_eq!(rejected.status, "NACKED", "{config}");
    assert!(!rejected.version.is_empty() && rejected.error.is_some(), "{config}");
    assert!(config.0.iter().filter(|resource| resource.status != "ACKED").count() == 1, "{config}");
    let after = load.during(mesh.run_for(secs(5)));
    assert_eq!(after.workloads().len(), 2, "{:?}", after.workloads());

    mesh.eject(Responses::of([ResourceType::Cluster]).to("echo-v1")).wait_converged();
    let config = mesh.client_config("echo-v1");
    assert!(config.0.iter().all(|resource| resource.status == "ACKED" && resource.error.is_none()), "{config}");
    mesh.stop(&load).assert_no_errors();
}

#[test]
fn endpoints_of_the_tests_own_are_used_until_they_are_taken_back_whatever_istiod_pushes() {
    let (mut mesh, load) = start();
    let mine = only(&mesh, "echo-v2");
    mesh.inject("echo-v1", mine).wait_converged().run_for(secs(1));
    let injected = load.during(mesh.run_for(secs(5)));
    assert_eq!(injected.workloads().into_keys().collect::<Vec<_>>(), ["echo-v2"]);

    mesh.apply(manifests::deployment("echo-v3", &[("version", "v3")], true)).wait_ready().wait_converged();
    mesh.restart("istiod").run_for(secs(30));
    mesh.wait_converged();
    let still = load.during(mesh.run_for(secs(5)));
    assert_eq!(still.workloads().into_keys().collect::<Vec<_>>(), ["echo-v2"]);

    mesh.eject(Responses::all()).wait_converged().run_for(secs(1));
    let ejected = load.during(mesh.run_for(secs(5)));
    assert_eq!(ejected.workloads().len(), 3, "{:?}", ejected.workloads());
    mesh.stop(&load).assert_no_errors();
}
