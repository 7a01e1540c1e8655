//! An xDS server and xDS channels against a control plane on the loopback: serving modes, routes, mTLS, draining.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::ads_support::{
    CDS, EDS, LDS, RDS, address, any, eds_cluster, filter_chain, lb_endpoint, listener, load_assignment, locality,
    manager_with_rds, routes, server_listener,
};
use crate::mesh_support::echo::Echo;
use crate::mesh_support::{Authority, EchoClient, Mesh, eventually};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::{TransportSocket, transport_socket};
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::route::Action;
use envoy_types::pb::envoy::config::route::v3::{NonForwardingAction, RouteConfiguration};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::common_tls_context::{
    CombinedCertificateValidationContext, ValidationContextType,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext, DownstreamTlsContext,
    UpstreamTlsContext,
};
use envoy_types::pb::envoy::r#type::matcher::v3::StringMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::google::protobuf::{Any, BoolValue};
use hermesh_runtime::server::{DrainHandle, drain};
use hermesh_runtime::{Runtime, TaskGuard};
use hermesh_xds::{ChannelCredentials, ServingMode, XdsChannel, XdsServer};
use tokio::io::AsyncReadExt;
use tonic::Code;

const NAME: &str = "echo.shop:80";
const TARGET: &str = "xds:///echo.shop:80";
const SPIFFE: &str = "spiffe://cluster.local/ns/shop/sa/default";

/// A server on a free port, not yet known to the control plane.
struct Running {
    address: SocketAddr,
    echo: Echo,
    modes: Arc<Mutex<Vec<ServingMode>>>,
    drain: DrainHandle,
    _task: TaskGuard,
}

impl Running {
    async fn start(mesh: &Mesh) -> Self {
        let listener = mesh.rt.listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_address().tcp().unwrap();
        let echo = Echo::new("server");
        let modes: Arc<Mutex<Vec<ServingMode>>> = Arc::default();
        let (handle, drained) = drain();
        let server = XdsServer::new(&mesh.rt).pool(&mesh.pool()).add_service(echo.clone()).on_serving_mode({
            let modes = modes.clone();
            move |_, mode| modes.lock().unwrap().push(mode.clone())
        });
        let task = mesh.rt.spawn("xds server", async move {
            server.serve_on(listener, drained).await.expect("the listener works");
        });
        Self { address, echo, modes, drain: handle, _task: task.abort_on_drop() }
    }

    fn listener_name(&self) -> String {
        format!("xds.istio.io/grpc/lds/inbound/{}", self.address)
    }

    fn modes(&self) -> Vec<ServingMode> {
        self.modes.lock().unwrap().clone()
    }

    fn last_mode(&self) -> Option<ServingMode> {
        self.modes().pop()
    }

    async fn serving(&self) {
        eventually("the server serves", || self.last_mode() == Some(ServingMode::Serving)).await;
    }

    /// As istiod makes it.
    fn listener(&self) -> Listener {
        Listener { address: address("127.0.0.1", self.address.port().into()), ..server_listener(&self.listener_name()) }
    }

    fn mtls_listener(&self) -> Listener {
        let mut listener = self.listener();
        let tls = DownstreamTlsContext {
            common_tls_context: Some(common_tls(&[])),
            require_client_certificate: Some(BoolValue { value: true }),
            ..Default::default()
        };
        listener.filter_chains[0].transport_socket = Some(transport_socket(any(&tls)));
        listener
    }

    /// Tells the control plane of the server and of a cluster that leads to it.
    fn publish(&self, mesh: &Mesh, listener_resource: &Listener, cluster: &Cluster) {
        let endpoint = lb_endpoint("127.0.0.1", self.address.port().into());
        mesh.control_plane.set([
            (LDS, self.listener_name().as_str(), any(listener_resource)),
            (LDS, NAME, listener(NAME, "routes")),
            (RDS, "routes", routes("routes", &["one"])),
            (CDS, "one", any(cluster)),
            (EDS, "one", any(&load_assignment("one", vec![locality("a", 1, 0, vec![endpoint])]))),
        ]);
    }
}

fn common_tls(sans: &[&str]) -> CommonTlsContext {
    let instance = |certificate: &str| {
        Some(CertificateProviderPluginInstance {
            instance_name: "default".to_owned(),
            certificate_name: certificate.to_owned(),
        })
    };
    let exact = |san: &&str| StringMatcher {
        match_pattern: Some(MatchPattern::Exact((*san).to_owned())),
        ..Default::default()
    };
    #[allow(deprecated, reason = "the field that istiod fills")]
    let validation = CertificateValidationContext {
        ca_certificate_provider_instance: instance("ROOTCA"),
        match_subject_alt_names: sans.iter().map(exact).collect(),
        ..Default::default()
    };
    CommonTlsContext {
        tls_certificate_provider_instance: instance("default"),
        validation_context_type: Some(ValidationContextType::CombinedValidationContext(
            CombinedCertificateValidationContext { default_validation_context: Some(validation), ..Default::default() },
        )),
        ..Default::default()
    }
}

fn transport_socket(config: Any) -> TransportSocket {
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(config)),
    }
}

fn mtls_cluster(sans: &[&str]) -> Cluster {
    let tls = UpstreamTlsContext { common_tls_context: Some(common_tls(sans)), ..Default::default() };
    Cluster { transport_socket: Some(transport_socket(any(&tls))), ..eds_cluster("one") }
}

/// Connects and waits for the end; tells whether it came within a moment.
async fn is_closed_at_once(rt: &Runtime, address: SocketAddr) -> bool {
    let mut stream = rt.connect(address.into()).await.expect("connections are accepted");
    let read = tokio::time::timeout(Duration::from_millis(500), stream.read_u8()).await;
    matches!(read, Ok(Err(_)))
}

#[tokio::test]
async fn a_server_does_not_serve_before_the_control_plane_has_told_of_it() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    assert!(is_closed_at_once(&mesh.rt, server.address).await);
    assert!(server.modes().is_empty());
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    server.serving().await;
    assert!(!is_closed_at_once(&mesh.rt, server.address).await);
    assert_eq!(mesh.client(TARGET).await.say().await.unwrap(), "server");
    let serving = mesh.recorder.last("server.serving");
    assert_eq!(serving.fields["mode"], "SERVING");
    assert_eq!(mesh.recorder.causes(&serving)[..3], ["server.serving", "listener.applied", "xds.response"]);
}

#[tokio::test]
async fn a_call_to_a_server_that_does_not_serve_says_so() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    server.serving().await;
    mesh.control_plane.remove(LDS, &server.listener_name());
    eventually("the server stops", || matches!(server.last_mode(), Some(ServingMode::NotServing(_)))).await;
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    let finished = mesh.recorder.last("rpc.finished");
    assert_eq!(finished.fields["cause_kind"], "xds-server-not-serving");
}

//
#[tokio::test]
async fn a_server_whose_listener_comes_back_serves_again() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    let mut client = mesh.client(TARGET).await;
    client.until("server").await;
    mesh.control_plane.remove(LDS, &server.listener_name());
    eventually("the server stops", || matches!(server.last_mode(), Some(ServingMode::NotServing(_)))).await;
    assert!(is_closed_at_once(&mesh.rt, server.address).await);
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    server.serving().await;
    client.until("server").await;
    assert_eq!(server.modes().len(), 3);
}

#[tokio::test]
async fn a_listener_for_another_address_or_for_clients_is_refused() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    let wrong = Listener { address: address("10.0.0.1", 80), ..server.listener() };
    server.publish(&mesh, &wrong, &eds_cluster("one"));
    eventually("the server is told", || !server.modes().is_empty()).await;
    let expected =
        format!("address (10.0.0.1:80) in Listener update does not match listening address: ({})", server.address);
    assert_eq!(server.last_mode(), Some(ServingMode::NotServing(expected)));

    let name = server.listener_name();
    mesh.control_plane.set([(LDS, name.as_str(), listener(&name, "routes"))]);
    eventually("the server is told again", || server.modes().len() == 2).await;
    let Some(ServingMode::NotServing(reason)) = server.last_mode() else { panic!("it must not serve") };
    assert!(reason.contains("received client-side listener resource"), "{reason}");
    assert!(is_closed_at_once(&mesh.rt, server.address).await);
}

#[tokio::test]
async fn an_update_without_a_change_is_neither_told_nor_felt() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    let mut client = mesh.client(TARGET).await;
    client.until("server").await;
    let connections = mesh.recorder.of("conn.accepted").len();
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    server.publish(&mesh, &Listener { stat_prefix: "x".to_owned(), ..server.listener() }, &eds_cluster("one"));
    let acknowledged = || {
        let requests = mesh.recorder.of("xds.request");
        requests.iter().any(|event| event.fields["client"] == "#server" && event.fields["version"] == "4")
    };
    eventually("the last version is acknowledged", acknowledged).await;
    assert_eq!(client.say().await.unwrap(), "server");
    assert_eq!(server.modes(), [ServingMode::Serving]);
    assert_eq!(mesh.recorder.of("conn.accepted").len(), connections);
}

#[tokio::test]
async fn a_changed_filter_chain_is_for_new_connections_and_old_ones_finish() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    let mut client = mesh.client(TARGET).await;
    client.until("server").await;
    let mut holder = client.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    mesh.rt.spawn("holding", async move {
        let _ = tell.send(holder.hold().await);
    });
    eventually("the call is held", || server.echo.held() == 1).await;

    server.publish(&mesh, &server.mtls_listener(), &mtls_cluster(&[SPIFFE]));
    client.until(&format!("server to {SPIFFE}")).await;
    server.echo.hold.add_permits(1);
    assert_eq!(told.await.unwrap().unwrap(), "server", "the old connection finished its call in plaintext");
    assert_eq!(server.modes(), [ServingMode::Serving], "the server never stopped serving");
}

#[tokio::test]
async fn mtls_goes_on_and_off_on_a_long_lived_channel() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    let mut client = mesh.client(TARGET).await;
    for _ in 0..3 {
        server.publish(&mesh, &server.listener(), &eds_cluster("one"));
        client.until("server").await;
        server.publish(&mesh, &server.mtls_listener(), &mtls_cluster(&[SPIFFE]));
        client.until(&format!("server to {SPIFFE}")).await;
    }
    let tls: Vec<_> = mesh.recorder.of("conn.ready").iter().map(|event| event.fields["tls"].clone()).collect();
    assert!(tls.contains(&true.into()) && tls.contains(&false.into()), "{tls:?}");
}

/// The article's step between "client" and "server": the client wants mTLS, the server does not speak it.
#[tokio::test]
async fn a_client_that_wants_mtls_of_a_plaintext_server_fails_in_the_handshake() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &mtls_cluster(&[SPIFFE]));
    server.serving().await;
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert!(error.message().contains("authentication handshake failed"), "{error}");
    let finished = mesh.recorder.last("rpc.finished");
    assert_eq!(finished.fields["cause_kind"], "tls-handshake");
    assert_eq!(mesh.recorder.causes(&finished)[..3], ["rpc.finished", "subchannel.state", "conn.failed"]);
}

#[tokio::test]
async fn a_plaintext_client_of_an_mtls_server_is_unavailable() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.mtls_listener(), &eds_cluster("one"));
    server.serving().await;
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert_eq!(error.code(), Code::Unavailable);
    assert_eq!(server.echo.calls(), 0);
}

#[tokio::test]
async fn insecure_credentials_ignore_what_the_cluster_asks_for() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &mtls_cluster(&[SPIFFE]));
    server.serving().await;
    let channel = mesh.channel_with(TARGET, ChannelCredentials::Insecure).await;
    assert_eq!(EchoClient::new(channel).say().await.unwrap(), "server");
}

#[tokio::test]
async fn a_server_of_another_identity_is_refused() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.mtls_listener(), &mtls_cluster(&["spiffe://cluster.local/ns/shop/sa/other"]));
    server.serving().await;
    let error = mesh.client(TARGET).await.say().await.unwrap_err();
    assert!(error.message().contains("do not match any of the accepted SANs"), "{error}");
    assert_eq!(mesh.recorder.last("rpc.finished").fields["cause_kind"], "tls-handshake");
}

#[tokio::test]
async fn handshakes_wait_for_certificates_that_are_not_there_yet() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.mtls_listener(), &mtls_cluster(&[SPIFFE]));
    server.serving().await;
    let mut client = mesh.client(TARGET).await;
    let authority = Authority::new(&mesh.rt);
    let (answer, ()) = tokio::join!(client.say(), async {
        let waiting = || mesh.recorder.of("subchannel.state").iter().any(|event| event.fields["state"] == "CONNECTING");
        eventually("the handshake waits", waiting).await;
        mesh.write_certificates(&authority, SPIFFE).await;
    });
    assert_eq!(answer.unwrap(), format!("server to {SPIFFE}"));
}

#[tokio::test]
async fn new_certificates_drain_nothing() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.mtls_listener(), &mtls_cluster(&[SPIFFE]));
    let mut client = mesh.client(TARGET).await;
    client.until(&format!("server to {SPIFFE}")).await;
    let connections = mesh.recorder.of("conn.accepted").len();
    mesh.write_certificates(&authority, SPIFFE).await;
    for _ in 0..20 {
        client.say().await.unwrap();
    }
    assert_eq!(mesh.recorder.of("conn.accepted").len(), connections);
    assert_eq!(server.modes(), [ServingMode::Serving]);
}

#[tokio::test]
async fn certificates_are_read_once_an_interval_and_not_for_every_handshake() {
    let mesh = Mesh::start().await;
    let authority = Authority::new(&mesh.rt);
    mesh.write_certificates(&authority, SPIFFE).await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.mtls_listener(), &mtls_cluster(&[SPIFFE]));
    server.serving().await;
    let pool = mesh.pool();
    for _ in 0..3 {
        let credentials = ChannelCredentials::xds_with_insecure_fallback();
        let channel = XdsChannel::connect_in(&pool, TARGET, credentials).await.unwrap();
        EchoClient::new(channel).say().await.unwrap();
    }
    let identities = mesh.recorder.of("cert.loaded").iter().filter(|it| it.fields["what"] == "identity").count();
    assert_eq!(identities, 2, "the server's pool and the clients' pool read them once each");
}

#[tokio::test]
async fn rpcs_take_the_servers_routes_as_they_are_now() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    let mut from_rds = server.listener();
    from_rds.filter_chains = vec![filter_chain(&manager_with_rds("inbound"))];
    let inbound = |domain: &str, action: Action| {
        let mut host = crate::ads_support::virtual_host(domain, "");
        host.routes[0].action = Some(action);
        any(&RouteConfiguration { name: "inbound".to_owned(), virtual_hosts: vec![host], ..Default::default() })
    };
    let here = || Action::NonForwardingAction(NonForwardingAction {});
    mesh.control_plane.set([(RDS, "inbound", inbound("*", here()))]);
    server.publish(&mesh, &from_rds, &eds_cluster("one"));
    let mut client = mesh.client(TARGET).await;
    client.until("server").await;
    let connections = mesh.recorder.of("conn.accepted").len();

    let elsewhere = crate::ads_support::to_cluster("x").action.unwrap();
    for (resource, expected) in [
        (inbound("other.shop", here()), "the incoming RPC did not match a configured Virtual Host"),
        (inbound("*", elsewhere), "the incoming RPC matched to a route that was not of action type non forwarding"),
    ] {
        mesh.control_plane.set([(RDS, "inbound", resource)]);
        let mut last = String::new();
        for _ in 0..2000 {
            match client.say().await {
                Err(error) if error.message() == expected => {
                    last = expected.to_owned();
                    break;
                }
                other => last = format!("{other:?}"),
            }
        }
        assert_eq!(last, expected);
    }
    mesh.control_plane.set([(RDS, "inbound", inbound("*", here()))]);
    client.until("server").await;
    let accepted = mesh.recorder.of("conn.accepted").len();
    assert_eq!(accepted, connections, "routes change on connections that stand");
}

#[tokio::test]
async fn a_server_told_to_stop_finishes_its_calls() {
    let mesh = Mesh::start().await;
    let server = Running::start(&mesh).await;
    server.publish(&mesh, &server.listener(), &eds_cluster("one"));
    let mut client = mesh.client(TARGET).await;
    client.until("server").await;
    let mut holder = client.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    mesh.rt.spawn("holding", async move {
        let _ = tell.send(holder.hold().await);
    });
    eventually("the call is held", || server.echo.held() == 1).await;
    server.drain.drain();
    let refused = async {
        while client.say().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.expect("no new calls are taken");
    server.echo.hold.add_permits(1);
    assert_eq!(told.await.unwrap().unwrap(), "server");
}
