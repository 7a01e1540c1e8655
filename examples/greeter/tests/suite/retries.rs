//! Streams under a retry policy: what a release that comes and goes costs them, and what it does not.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use greeter::proto::greeter_client::GreeterClient;
use greeter::proto::{HelloRequest, OftenRequest};
use hermesh::Mesh;
use hermesh_runtime::Runtime;
use hermesh_xds::{ChannelCredentials, XdsChannel, XdsChannelError};
use tokio_stream::StreamExt as _;
use tonic::{Code, Status};

use crate::canary::{GREETER, deployed, mesh};

/// `canary-0.yaml`, whose route says this besides.
fn with(route: &str) -> String {
    let routes = include_str!("../../canary-0.yaml");
    let with = routes.replace("  http:\n  - route:", &format!("  http:\n  - {route}\n    route:"));
    assert_ne!(routes, with, "the manifest reads otherwise now");
    with
}

/// A mesh whose `web` says ten names, one a second, and is to have one reply to all of them.
fn deployed_with_talker(route: &str) -> (Mesh, Talker) {
    let talker = Talker::default();
    let web = talker.clone();
    let mut mesh = mesh().image("registry.corp/web:*", move |p| web.clone().talk(p.runtime())).start();
    mesh.apply("k8s").apply(with(route));
    (mesh, talker)
}

/// Plays `web`: says ten names once the greeter is there, and notes what comes of it.
#[derive(Clone, Default)]
struct Talker(Arc<Mutex<Said>>);

#[derive(Default)]
struct Said {
    names: u32,
    reply: Option<Result<String, Status>>,
}

impl Talker {
    async fn talk(self, rt: Runtime) -> Result<(), XdsChannelError> {
        let credentials = ChannelCredentials::xds_with_insecure_fallback();
        let mut greeter = GreeterClient::new(XdsChannel::connect(&rt, GREETER, credentials).await?);
        while greeter.say_hello(HelloRequest::default()).await.is_err() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let said = self.0.clone();
        let names = tokio_stream::iter(0..10).then(move |name| {
            let said = said.clone();
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                said.lock().unwrap().names += 1;
                HelloRequest { name: name.to_string() }
            }
        });
        let reply = greeter.say_hello_to_all(names).await.map(|reply| reply.into_inner().message);
        self.0.lock().unwrap().reply = Some(reply);
        std::future::pending().await
    }

    /// Has time pass until so many names are said.
    fn says(&self, mesh: &mut Mesh, names: u32) {
        while self.0.lock().unwrap().names < names {
            mesh.run_for(Duration::from_millis(100));
        }
    }

    fn reply(&self) -> Result<String, Status> {
        self.0.lock().unwrap().reply.take().expect("the call has ended")
    }
}

#[test]
fn a_client_that_streams_does_not_notice_that_its_connection_was_reset() {
    let (mut mesh, talker) = deployed_with_talker("retries: {attempts: 2, retryOn: unavailable}");
    talker.says(&mut mesh, 5);
    mesh.reset("web", "greeter-v1").run_for(Duration::from_secs(10));
    assert_eq!(talker.reply().unwrap(), "Hello 0, 1, 2, 3, 4, 5, 6, 7, 8, 9");
}

#[test]
fn without_retries_it_does() {
    let (mut mesh, talker) = deployed_with_talker("retries: {attempts: 0}");
    talker.says(&mut mesh, 5);
    mesh.reset("web", "greeter-v1").run_for(Duration::from_secs(10));
    assert_eq!(talker.reply().unwrap_err().code(), Code::Unavailable);
}

#[test]
fn a_server_that_streams_is_not_asked_for_it_all_again() {
    let routes = with("retries: {attempts: 2, retryOn: unavailable}\n    timeout: 4500ms");
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    mesh.apply(routes).wait_converged();
    let (heard, end) = mesh.call_with("web", GREETER, |channel| async move {
        let request = OftenRequest { name: "ann".to_owned(), times: 10 };
        let mut replies = GreeterClient::new(channel).say_hello_often(request).await.unwrap().into_inner();
        let mut heard = 0;
        loop {
            match replies.message().await {
                Ok(Some(_)) => heard += 1,
                Ok(None) => break (heard, Code::Ok),
                Err(status) => break (heard, status.code()),
            }
        }
    });
    // A reply a second from the beginning on, until the route's time is over.
    assert_eq!((heard, end), (5, Code::DeadlineExceeded));
}
