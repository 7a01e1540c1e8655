//! A canary of the greeter, from 20 % back to nothing, in a mesh of its own for each test.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use greeter::proto::greeter_client::GreeterClient;
use greeter::proto::{HelloReply, HelloRequest};
use hermesh::image::stand_in;
use hermesh::{Load, Mesh, MeshBuilder};
use hermesh_runtime::Runtime;
use hermesh_xds::{ChannelCredentials, XdsChannel, XdsChannelError};
use tonic::{Code, Request, Status};

pub(crate) const GREETER: &str = "xds:///greeter:50051";

/// `greeter::serve` is what `main` calls too, there with `os::runtime()`.
pub(crate) fn mesh() -> MeshBuilder {
    hermesh::mesh()
        .istio("1.32")
        .namespace("shop")
        .image("registry.corp/greeter:1", |p| greeter::serve(p.runtime(), "1"))
        .image("registry.corp/greeter:1-rebuilt", |p| greeter::serve(p.runtime(), "1-rebuilt"))
        .image("registry.corp/greeter:2", |p| greeter::serve(p.runtime(), "2"))
        .image("*", stand_in)
}

pub(crate) fn deployed(mesh: MeshBuilder, canary: &str) -> Mesh {
    let mut mesh = mesh.start();
    mesh.apply("k8s").apply(canary).wait_ready();
    mesh
}

#[test]
fn a_canary_of_20_percent_gets_a_fifth_of_all_calls() {
    let mut mesh = deployed(mesh(), "canary-20.yaml");
    let replies = call(&mut mesh, 1000);
    // 200 by the weights; 50 is four standard deviations.
    assert!((150..=250).contains(&answered_by("2", &replies)), "{}", answered_by("2", &replies));
    assert_none_lost(&replies);
}

#[test]
fn a_canary_rolled_back_gets_no_calls() {
    let mut mesh = deployed(mesh(), "canary-20.yaml");
    mesh.apply("canary-0.yaml").wait_converged();
    assert_eq!(answered_by("1", &call(&mut mesh, 200)), 200);
}

#[test]
fn a_canary_rolled_back_while_istiod_restarts_loses_no_call() {
    let mut mesh = deployed(mesh(), "canary-20.yaml");
    let shoppers = mesh.load_with(Load::new("web", GREETER).qps(100), |channel| async move {
        GreeterClient::new(channel).say_hello(HelloRequest { name: "ann".to_owned() }).await
    });
    let canary = shoppers.during(mesh.run_for(Duration::from_secs(10)));
    assert!((150..=250).contains(&canary.workloads()["greeter-v2"]), "{:?}", canary.workloads());

    mesh.restart("istiod").apply("canary-0.yaml").wait_converged();
    let after = shoppers.during(mesh.run_for(Duration::from_secs(10)));
    after.assert_all_to("greeter-v1");

    mesh.stop(&shoppers).assert_no_errors();
}

#[test]
fn a_new_build_of_release_1_is_rolled_out_without_a_lost_call() {
    let (mut mesh, shoppers) = deployed_with_shoppers("canary-0.yaml");
    let rebuilt = include_str!("../../k8s/greeter.yaml").replace("greeter:1", "greeter:1-rebuilt");
    mesh.apply(rebuilt).wait_ready().run_for(Duration::from_secs(10));
    let replies = shoppers.replies();
    assert!(answered_by("1", &replies) > 0 && answered_by("1-rebuilt", &replies) > 0);
    assert_none_lost(&replies);
}

#[test]
fn the_greeter_knows_who_calls() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let reply = call(&mut mesh, 1).remove(0).unwrap();
    assert_eq!((&*reply.message, &*reply.caller), ("Hello ann", "spiffe://cluster.local/ns/shop/sa/web"));
}

#[test]
fn callers_without_mtls_are_turned_away() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let plaintext = include_str!("../../canary-0.yaml").replace("ISTIO_MUTUAL", "DISABLE");
    mesh.apply(plaintext).wait_converged();
    assert_eq!(call(&mut mesh, 1).remove(0).unwrap_err().code(), Code::Unavailable);
}

#[test]
fn a_caller_cut_off_from_the_greeter_is_told_in_time_and_served_once_the_network_is_back() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    mesh.partition("web", "greeter-v1");
    assert_eq!(call(&mut mesh, 1).remove(0).unwrap_err().code(), Code::DeadlineExceeded);
    mesh.heal("web", "greeter-v1").run_for(Duration::from_secs(5));
    assert_eq!(answered_by("1", &call(&mut mesh, 10)), 10);
}

#[test]
fn a_greeter_that_crashed_serves_again() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    mesh.kill("greeter-v1/0/greeter").run_for(Duration::from_secs(1));
    mesh.wait_ready();
    assert_eq!(answered_by("1", &call(&mut mesh, 10)), 10);
}

#[test]
fn a_seed_decides_everything_the_greeter_included() {
    let run = |seed| {
        let mut mesh = deployed(mesh().seed(seed), "canary-20.yaml");
        call(&mut mesh, 20);
        mesh.finish().digest_hex()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

type Reply = Result<HelloReply, Status>;

/// Calls from `web`, one after another on one new channel.
fn call(mesh: &mut Mesh, count: usize) -> Vec<Reply> {
    mesh.call_with("web", GREETER, move |channel| async move {
        let mut greeter = GreeterClient::new(channel);
        let mut replies = Vec::new();
        for _ in 0..count {
            replies.push(hello(&mut greeter).await);
        }
        replies
    })
}

async fn hello(greeter: &mut GreeterClient<XdsChannel>) -> Reply {
    let mut request = Request::new(HelloRequest { name: "ann".to_owned() });
    request.set_timeout(Duration::from_secs(5));
    greeter.say_hello(request).await.map(tonic::Response::into_inner)
}

fn answered_by(version: &str, replies: &[Reply]) -> usize {
    replies.iter().flatten().filter(|reply| reply.version == version).count()
}

#[track_caller]
fn assert_none_lost(replies: &[Reply]) {
    let lost: Vec<&Status> = replies.iter().filter_map(|reply| reply.as_ref().err()).collect();
    assert!(lost.is_empty(), "{} of {} calls were lost: {lost:#?}", lost.len(), replies.len());
}

fn deployed_with_shoppers(canary: &str) -> (Mesh, Shoppers) {
    let shoppers = Shoppers::default();
    let web = shoppers.clone();
    let mesh = deployed(mesh().image("registry.corp/web:*", move |p| web.clone().shop(p.runtime())), canary);
    shoppers.replies(); // those from before the greeter was ready
    (mesh, shoppers)
}

/// Plays `web`: calls on one channel that lives through whatever happens meanwhile.
#[derive(Clone, Default)]
struct Shoppers(Arc<Mutex<Vec<Reply>>>);

impl Shoppers {
    async fn shop(self, rt: Runtime) -> Result<(), XdsChannelError> {
        let credentials = ChannelCredentials::xds_with_insecure_fallback();
        let mut greeter = GreeterClient::new(XdsChannel::connect(&rt, GREETER, credentials).await?);
        loop {
            let reply = hello(&mut greeter).await;
            self.0.lock().unwrap().push(reply);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The replies since they were last asked for.
    fn replies(&self) -> Vec<Reply> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}
