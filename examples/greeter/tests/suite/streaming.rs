//! Streams in all directions, through the mesh and with mTLS, on simulated time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use greeter::PAUSE;
use greeter::proto::greeter_client::GreeterClient;
use greeter::proto::{HelloReply, HelloRequest, OftenRequest};
use hermesh_runtime::{Runtime, spawn};
use hermesh_xds::{ChannelCredentials, XdsChannel, XdsChannelError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::canary::{GREETER, deployed, mesh};

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[test]
fn a_server_streams_for_ten_minutes_which_take_no_time() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let (replies, took) = mesh.call_with("web", GREETER, |channel| async move {
        let begin = Instant::now();
        (listen(channel, 600).await.unwrap(), begin.elapsed())
    });
    assert_eq!(replies.len(), 600);
    assert!(replies.iter().all(|reply| reply.message == "Hello ann" && reply.caller == WEB));
    assert!((PAUSE * 600..PAUSE * 601).contains(&took), "{took:?}");
}

#[test]
fn a_client_streams_and_has_one_reply() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let reply = mesh.call_with("web", GREETER, |channel| async move {
        let names = tokio_stream::iter(["ann", "bob", "eve"].map(named));
        GreeterClient::new(channel).say_hello_to_all(names).await
    });
    let HelloReply { message, caller, .. } = reply.unwrap().into_inner();
    assert_eq!((&*message, &*caller), ("Hello ann, bob, eve", WEB));
}

#[test]
fn both_stream_and_each_reply_comes_before_the_next_request() {
    let mut mesh = deployed(mesh(), "canary-0.yaml");
    let heard = mesh.call_with("web", GREETER, |channel| async move {
        let (say, said) = mpsc::channel(1);
        let mut replies = GreeterClient::new(channel).converse(ReceiverStream::new(said)).await?.into_inner();
        let mut heard = Vec::new();
        for name in ["ann", "bob", "eve"] {
            say.send(named(name)).await.expect("the stream is open");
            heard.extend(replies.message().await?.map(|reply| reply.message));
        }
        drop(say);
        assert_eq!(replies.message().await?, None, "the server ends when the client does");
        Ok::<_, Status>(heard)
    });
    assert_eq!(heard.unwrap(), ["Hello ann", "Hello bob", "Hello eve"]);
}

#[test]
fn streams_share_a_channel_in_tasks_of_their_own() {
    let mut mesh = deployed(mesh(), "canary-20.yaml");
    let counts = mesh.call_with("web", GREETER, |channel| async move {
        let listeners: Vec<_> = (1..=5).map(|times| spawn(listen(channel.clone(), times))).collect();
        let mut counts = Vec::new();
        for listener in listeners {
            counts.push(listener.await.expect("it does not panic").unwrap().len());
        }
        counts
    });
    assert_eq!(counts, [1, 2, 3, 4, 5]);
}

#[test]
fn a_stream_ends_with_the_server_that_feeds_it() {
    let heard = Heard::default();
    let hears = heard.clone();
    let mesh = mesh().image("registry.corp/web:*", move |p| keep_listening(p.runtime(), hears.clone()));
    let mut mesh = deployed(mesh, "canary-0.yaml");
    mesh.run_for(Duration::from_secs(20));
    mesh.kill("greeter-v1/0/greeter").run_for(Duration::from_secs(1));
    let heard = heard.0.lock().unwrap();
    let (last, before) = heard.split_last().expect("something was heard");
    assert_eq!(last.as_ref().unwrap_err().code(), Code::Unavailable, "{last:?}");
    assert!(before.len() >= 15 && before.iter().all(Result::is_ok), "{before:?}");
}

async fn listen(channel: XdsChannel, times: u32) -> Result<Vec<HelloReply>, Status> {
    let request = OftenRequest { name: "ann".to_owned(), times };
    let mut stream = GreeterClient::new(channel).say_hello_often(request).await?.into_inner();
    let mut replies = Vec::new();
    while let Some(reply) = stream.message().await? {
        replies.push(reply);
    }
    Ok(replies)
}

/// What came on a stream, and how it ended.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Result<HelloReply, Status>>>>);

/// Plays `web`: opens one stream as soon as the greeter is there, and hears it to its end.
async fn keep_listening(rt: Runtime, heard: Heard) -> Result<(), XdsChannelError> {
    let channel = XdsChannel::connect(&rt, GREETER, ChannelCredentials::xds_with_insecure_fallback()).await?;
    let mut greeter = GreeterClient::new(channel);
    let mut stream = loop {
        match greeter.say_hello_often(OftenRequest { name: "ann".to_owned(), times: 1000 }).await {
            Ok(stream) => break stream.into_inner(),
            Err(_not_there_yet) => tokio::time::sleep(PAUSE).await,
        }
    };
    while let Some(reply) = stream.message().await.transpose() {
        let failed = reply.is_err();
        heard.0.lock().unwrap().push(reply);
        if failed {
            break;
        }
    }
    std::future::pending().await
}

fn named(name: &str) -> HelloRequest {
    HelloRequest { name: name.to_owned() }
}
