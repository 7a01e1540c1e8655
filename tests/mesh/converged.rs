//! What `wait_converged` waits for beyond istiod, and what it says if that does not come.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh::{Call, Mesh, Process, WaitError, image};
use hermesh_echo::proto::EchoRequest;
use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_tests::shop;
use hermesh_xds::client::XdsRequest;
use hermesh_xds::{ChannelCredentials, XdsChannel};

const MUTUAL: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart
  trafficPolicy:
    tls: {mode: ISTIO_MUTUAL}
";

/// A Deployment whose image has its name.
fn deployment(name: &str) -> String {
    shop::deployment(name, name, &[])
}

fn start(web: impl Fn(Process) -> futures::future::BoxFuture<'static, ()> + Send + Sync + 'static) -> Mesh {
    let mut mesh = hermesh::mesh().image("web", web).image("*", image::stand_in).seed(7).namespace("shop").start();
    mesh.apply(shop::NAMESPACE).apply(shop::service("cart"));
    mesh
}

/// Calls `target` for ever.
async fn call_on(process: Process, target: &'static str) {
    let rt = process.runtime();
    let credentials = ChannelCredentials::xds_with_insecure_fallback();
    let channel = XdsChannel::connect(&rt, target, credentials).await.expect("the bootstrap is there");
    loop {
        let _ = EchoTestServiceClient::new(channel.clone()).echo(EchoRequest::default()).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[test]
fn a_client_that_waits_for_a_resource_is_waited_for_until_it_gives_up() {
    let mut mesh = start(|process| {
        Box::pin(async move {
            // By then the pod is ready.
            tokio::time::sleep(Duration::from_secs(30)).await;
            call_on(process, "xds:///nowhere:7070").await;
        })
    });
    mesh.apply(deployment("web")).wait_ready();
    let asked = |mesh: &Mesh| {
        mesh.with_trace(|trace| {
            let mut requests =
                trace.of::<XdsRequest>().filter(|(_, request)| *request.client == *"xds:///nowhere:7070");
            requests.next().map(|(event, _)| Duration::from_micros(event.t_us))
        })
    };
    while asked(&mesh).is_none() {
        mesh.run_for(Duration::from_millis(100));
    }
    let began = asked(&mesh).expect("it was asked for");
    let error = mesh.try_wait_converged(Duration::from_secs(5)).unwrap_err();
    let WaitError::Timeout { missing, .. } = &error else { panic!("{error}") };
    assert_eq!(missing.len(), 1, "{error}");
    assert!(missing[0].contains("/server: xds:///nowhere:7070 waits for LDS nowhere:7070"), "{error}");
    mesh.wait_converged();
    let took = mesh.now() - began;
    assert!((15..17).contains(&took.as_secs()), "the client gives up after 15 s, not {took:?}");
}

#[test]
fn of_two_clients_of_one_process_for_one_target_each_is_waited_for() {
    const TARGET: &str = "xds:///nowhere:7070";
    let mut mesh = start(|process| {
        Box::pin(async move {
            let rt = process.runtime();
            let first = rt.spawn("first", call_on(process.clone(), TARGET)).abort_on_drop();
            tokio::time::sleep(Duration::from_secs(5)).await;
            rt.spawn("second", call_on(process, TARGET));
            tokio::time::sleep(Duration::from_secs(5)).await;
            drop(first);
            std::future::pending::<()>().await;
        })
    });
    // When each client asked first, in seconds.
    let asked = |mesh: &Mesh| {
        mesh.with_trace(|trace| {
            let mut asked = BTreeMap::new();
            for (event, request) in trace.of::<XdsRequest>().filter(|(_, request)| *request.client == *TARGET) {
                asked.entry(request.client_ordinal).or_insert(event.t_us / 1_000_000);
            }
            asked
        })
    };
    mesh.apply(deployment("web"));
    while asked(&mesh).len() < 2 {
        mesh.run_for(Duration::from_millis(100));
    }
    let asked = asked(&mesh);
    let second = asked[&1];
    assert_eq!(second - asked[&0], 5);
    mesh.run_for(Duration::from_secs(6));
    mesh.wait_converged();
    let took = mesh.now().as_secs() - second;
    assert!((15..17).contains(&took), "the second gives up after 15 s, not {took} s");
}

#[test]
fn a_client_that_rejects_its_configuration_fails_the_wait_with_its_words() {
    let mut mesh = start(|process| {
        Box::pin(async move {
            // A bootstrap of its own, in which no certificates are to be had.
            let rt = process.runtime();
            let given = rt.read("/etc/istio/proxy/grpc-bootstrap.json").await.expect("the agent wrote it");
            let mut bootstrap: serde_json::Value = serde_json::from_slice(&given).expect("it is JSON");
            bootstrap.as_object_mut().expect("it is an object").remove("certificate_providers");
            let path = process.var("GRPC_XDS_BOOTSTRAP").expect("the manifest sets it");
            rt.write(path, bootstrap.to_string(), 0o600).await.expect("there is room");
            call_on(process, "xds:///cart:7070").await;
        })
    });
    let own = "env: [{name: GRPC_XDS_BOOTSTRAP, value: /own.json}]";
    mesh.apply([shop::deployment("web", "web", &[own]), deployment("cart")]).wait_ready().wait_converged();
    mesh.apply(MUTUAL);
    let error = mesh.try_wait_converged(Duration::from_secs(60)).unwrap_err();
    let WaitError::Rejected { rejections } = &error else { panic!("{error}") };
    assert_eq!(rejections.len(), 1, "{error}");
    assert!(rejections[0].starts_with("node sidecar~") && rejections[0].contains("~web-"), "{error}");
    assert!(rejections[0].contains(": CDS ") && rejections[0].contains("default"), "{error}");
    mesh.delete(MUTUAL).wait_converged();
}

#[test]
fn a_client_killed_while_it_has_no_stream_is_not_waited_for() {
    let mut mesh = start(|process| Box::pin(call_on(process, "xds:///cart:7070")));
    mesh.apply([deployment("web"), deployment("cart")]).wait_ready().wait_converged();
    mesh.kill("web/0/istio-proxy").run_for(Duration::from_millis(100));
    mesh.kill("web/0/server");
    mesh.try_wait_converged(Duration::from_secs(30)).unwrap();
    assert!(mesh.call(Call::new("cart", "xds:///cart:7070")).is_ok());
}

/// A pod without an agent and without a Service: istiod reads that it got ready, and has nothing to do.
#[test]
fn a_wait_for_what_is_ready_ends_when_istiod_has_read_of_it() {
    let lone = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: lone}
spec:
  selector: {matchLabels: {app: lone}}
  template:
    metadata: {labels: {app: lone, sidecar.istio.io/inject: 'false'}}
    spec:
      containers: [{name: server, image: lone, readinessProbe: {tcpSocket: {port: 7070}, periodSeconds: 1}}]
";
    for seed in 1..=8 {
        let mut mesh = hermesh::mesh().image("*", image::stand_in).seed(seed).namespace("shop").start();
        mesh.apply(shop::NAMESPACE).apply(lone);
        let took = mesh.try_wait_ready(&[], Duration::from_secs(60)).unwrap();
        assert!(took < Duration::from_secs(5), "seed {seed}: {took:?}");
    }
}
