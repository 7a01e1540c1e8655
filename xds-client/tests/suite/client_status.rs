//! The client status discovery service, asked over a connection, against a control plane on the loopback (gRFC A40).

use std::time::Duration;

use crate::ads_support::*;
use crate::mesh_support::echo::{Backend, Echo};
use crate::mesh_support::{EchoClient, Mesh, NODE_ID};
use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientConfig, ClientStatusRequest};
use envoy_types::pb::envoy::r#type::matcher::v3::NodeMatcher;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Any, Struct, Value};
use futures::stream;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::server::{Drain, Router, Server};
use hermesh_runtime::{Runtime, TaskGuard};
use hermesh_xds::bootstrap::Node;
use hermesh_xds::{ChannelCredentials, ClientStatusDiscovery, ResourceType, XdsChannel, XdsServer};
use tonic::Code;

const NAME: &str = "echo.shop:80";
const TARGET: &str = "xds:///echo.shop:80";

/// The service of a process, and a client of it.
struct Admin {
    client: ClientStatusDiscoveryServiceClient<Channel>,
    _task: TaskGuard,
}

impl Admin {
    async fn start(rt: &Runtime) -> Self {
        let listener = rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address().to_string();
        let server = Server::new(rt).router(Router::new().add_service(ClientStatusDiscovery::new(rt)));
        let task = rt.spawn("admin", async move { server.serve(listener, Drain::never()).await.unwrap() });
        let channel = Channel::new(rt, &address, ChannelOptions::default()).unwrap();
        Self { client: ClientStatusDiscoveryServiceClient::new(channel), _task: task.abort_on_drop() }
    }

    async fn clients(&mut self) -> Vec<ClientConfig> {
        self.client.fetch_client_status(ClientStatusRequest::default()).await.unwrap().into_inner().config
    }

    /// Asks until the only client has this to tell.
    async fn until(&mut self, expected: &[&str]) -> ClientConfig {
        let mut told = Vec::new();
        let asking = async {
            loop {
                if let [config] = &self.clients().await[..] {
                    told = config.generic_xds_configs.iter().map(line).collect();
                    if told == expected {
                        return config.clone();
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(10), asking).await;
        found.unwrap_or_else(|_| panic!("expected {expected:?}, was told {told:?}"))
    }
}

/// A resource in short.
fn line(resource: &GenericXdsConfig) -> String {
    let kind = ResourceType::from_type_url(&resource.type_url).expect("a type URL as on the wire");
    let status = ClientResourceStatus::try_from(resource.client_status).unwrap().as_str_name();
    format!("{kind} {} {status} {}", resource.name, resource.version_info).trim_end().to_owned()
}

fn scopes(clients: &[ClientConfig]) -> Vec<&str> {
    clients.iter().map(|client| client.client_scope.as_str()).collect()
}

fn endpoints(backend: &Backend) -> Any {
    let endpoint = lb_endpoint("127.0.0.1", backend.address.port().into());
    any(&load_assignment("one", vec![locality("a", 1, 0, vec![endpoint])]))
}

// F-13, F-14, F-15
#[tokio::test]
async fn resources_are_followed_from_the_request_to_their_end() {
    let mesh = Mesh::start().await;
    let backend = Backend::start(&mesh.rt, "a").await;
    let mut admin = Admin::start(&mesh.rt).await;
    assert_eq!(admin.clients().await, [], "a process without clients has nothing to tell");

    mesh.control_plane.set([(LDS, NAME, listener(NAME, "routes"))]);
    let mut client = mesh.client(TARGET).await;
    let mut first = client.clone();
    let called = mesh.rt.spawn("call", async move { drop(first.say().await) });
    let told = admin.until(&["LDS echo.shop:80 ACKED 2", "RDS routes REQUESTED"]).await;
    assert_eq!(told.client_scope, TARGET);
    let generator = Value { kind: Some(Kind::StringValue("grpc".to_owned())) };
    let node = core::Node {
        id: NODE_ID.to_owned(),
        metadata: Some(Struct { fields: [("GENERATOR".to_owned(), generator)].into() }),
        user_agent_name: "hermesh-xds".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentVersion(env!("CARGO_PKG_VERSION").to_owned())),
        client_features: ["envoy.lb.does_not_support_overprovisioning", "xds.config.resource-in-sotw"]
            .map(str::to_owned)
            .to_vec(),
        ..Default::default()
    };
    assert_eq!(told.node, Some(node), "user agent and features are told as well");
    let requested = &told.generic_xds_configs[1];
    assert_eq!((&requested.xds_config, &requested.last_updated, &requested.error_state), (&None, &None, &None));

    let before = mesh.rt.wall();
    let resources = [
        (LDS, NAME, listener(NAME, "routes")),
        (RDS, "routes", routes("routes", &["one"])),
        (CDS, "one", cluster("one")),
        (EDS, "one", endpoints(&backend)),
    ];
    mesh.control_plane.set(resources.clone());
    client.until("a").await;
    called.abort();
    let all = ["LDS echo.shop:80 ACKED 3", "RDS routes ACKED 3", "CDS one ACKED 3", "EDS one ACKED 3"];
    let told = admin.until(&all).await;
    for (resource, (_, _, sent)) in told.generic_xds_configs.iter().zip(resources) {
        assert_eq!(resource.xds_config.as_ref(), Some(&sent), "byte for byte what was sent");
        let updated = resource.last_updated.unwrap();
        let updated = Duration::new(updated.seconds.try_into().unwrap(), updated.nanos.try_into().unwrap());
        assert!(before <= updated && updated <= mesh.rt.wall(), "{updated:?}");
    }
    let good = told.generic_xds_configs[2].clone();

    mesh.control_plane.set([(CDS, "one", bad_cluster("one"))]);
    let rejected = ["LDS echo.shop:80 ACKED 4", "RDS routes ACKED 4", "CDS one NACKED 3", "EDS one ACKED 4"];
    let told = admin.until(&rejected).await;
    let rejected = &told.generic_xds_configs[2];
    assert_eq!((&rejected.xds_config, rejected.last_updated), (&good.xds_config, good.last_updated));
    let UpdateFailureState { details, version_info, last_update_attempt, failed_configuration } =
        rejected.error_state.clone().unwrap();
    assert_eq!((version_info.as_str(), failed_configuration), ("4", None));
    assert!(details.contains("unsupported cluster type STATIC"), "{details}");
    let seconds = |time: Option<envoy_types::pb::google::protobuf::Timestamp>| time.map(|it| (it.seconds, it.nanos));
    assert!(seconds(last_update_attempt) > seconds(good.last_updated));
    assert_eq!(client.say().await.unwrap(), "a", "the good one stays in use");

    mesh.control_plane.set([(CDS, "one", cluster("one"))]);
    let all = ["LDS echo.shop:80 ACKED 5", "RDS routes ACKED 5", "CDS one ACKED 5", "EDS one ACKED 5"];
    assert_eq!(admin.until(&all).await.generic_xds_configs[2].error_state, None);

    mesh.control_plane.remove(LDS, NAME);
    let told = admin.until(&["LDS echo.shop:80 DOES_NOT_EXIST"]).await;
    assert_eq!(told.generic_xds_configs[0].xds_config, None);
}

#[tokio::test]
async fn every_client_of_the_process_is_told_in_order_and_no_other_process_is() {
    let (mesh, (other, _)) = (Mesh::start().await, crate::mesh_support::recorder::runtime());
    let (mut admin, mut others) = (Admin::start(&mesh.rt).await, Admin::start(&other).await);
    let listener = mesh.rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let server = XdsServer::new(&mesh.rt).pool(&mesh.pool()).add_service(Echo::new("server"));
    let server = mesh.rt.spawn("server", async move { drop(server.serve_on(listener, Drain::never()).await) });
    let _server = server.abort_on_drop();

    let mut calls = Vec::new();
    let mut call = |rt: &Runtime, channel: XdsChannel| {
        let call = async move { drop(EchoClient::new(channel).say().await) };
        calls.push(rt.spawn("call", call).abort_on_drop());
    };
    // Each in a pool of its own: what counts is the process.
    for target in ["xds:///b", "xds:///a", "xds:///b"] {
        call(&mesh.rt, mesh.channel(target).await);
    }
    let pool = hermesh_xds::XdsClientPool::with_bootstrap(&other, mesh.bootstrap());
    call(&other, XdsChannel::connect_in(&pool, "xds:///c", ChannelCredentials::Insecure).await.unwrap());

    let told = async {
        while scopes(&admin.clients().await) != ["#server", "xds:///a", "xds:///b", "xds:///b"] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        while scopes(&others.clients().await) != ["xds:///c"] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.expect("both processes tell of their own clients");
    drop(calls);
    let gone = async {
        while scopes(&admin.clients().await) != ["#server"] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("clients go with their channels");
}

#[tokio::test]
async fn a_stream_answers_request_by_request_and_node_matchers_are_refused() {
    let mesh = Mesh::start().await;
    let mut admin = Admin::start(&mesh.rt).await;
    mesh.control_plane.set([(LDS, NAME, inline_listener(NAME, "one"))]);
    let mut client = mesh.client(TARGET).await;
    let _call = mesh.rt.spawn("call", async move { drop(client.say().await) }).abort_on_drop();
    admin.until(&["LDS echo.shop:80 ACKED 2", "CDS one REQUESTED"]).await;

    let plain = ClientStatusRequest { node: Some(Node::default().to_proto()), ..Default::default() };
    let lean = ClientStatusRequest { exclude_resource_contents: true, ..Default::default() };
    let picky = ClientStatusRequest { node_matchers: vec![NodeMatcher::default()], ..Default::default() };
    let refused = admin.client.fetch_client_status(picky.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("node_matchers are not supported"), "{refused:?}");

    let requests = stream::iter([plain, lean, picky, ClientStatusRequest::default()]);
    let mut responses = admin.client.stream_client_status(requests).await.unwrap().into_inner();
    for has_contents in [true, false] {
        let response = responses.message().await.unwrap().unwrap();
        let resources = &response.config[0].generic_xds_configs;
        assert_eq!(resources.iter().map(line).collect::<Vec<_>>(), ["LDS echo.shop:80 ACKED 2", "CDS one REQUESTED"]);
        assert_eq!(resources[0].xds_config.is_some(), has_contents);
    }
    assert_eq!(responses.message().await.unwrap_err().code(), Code::InvalidArgument);
}
