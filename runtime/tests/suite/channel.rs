//! A plain channel through the ups and downs of its server.

use std::time::Duration;

use crate::common::{
    Ca, DB, NOW, Running, TestService, Text, call, call_with, client_tls, loopback, nobody, only, server_tls, stream,
};
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::server::{Router, Server};
use hermesh_runtime::tls::ClientAuth;
use hermesh_runtime::{Address, Runtime, os};
use tonic::{Code, Request};

const ECHO: &str = "/test.Test/Echo";

async fn start(rt: &Runtime, at: Address) -> Running {
    Running::start(rt, at, Server::new(rt).router(Router::new().add_service(TestService::default()))).await
}

fn channel(rt: &Runtime, to: &Address) -> Channel {
    Channel::new(rt, &to.to_string(), ChannelOptions::default()).unwrap()
}

async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("it happens soon")
}

#[tokio::test]
async fn a_channel_connects_with_its_first_call_and_keeps_the_connection() {
    let rt = os::runtime();
    let server = start(&rt, loopback()).await;
    let channel = channel(&rt, &server.address);
    let first = call(channel.clone(), "/test.Test/WhoAmI", "").await.unwrap();
    assert_eq!(call(channel, "/test.Test/WhoAmI", "").await.unwrap(), first, "same client port");
}

#[tokio::test]
async fn calls_fail_fast_while_the_server_is_down_and_succeed_after_it_is_back() {
    let rt = os::runtime();
    let server = start(&rt, loopback()).await;
    let (address, failing) = (server.address.clone(), channel(&rt, &server.address));
    assert_eq!(call(failing.clone(), ECHO, "up").await.unwrap(), "up");
    soon(server.stop()).await;

    let status = soon(call(failing.clone(), ECHO, "down")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let text = format!("connection error: desc = \"transport: Error while dialing: dial tcp {address}: ");
    assert!(status.message().starts_with(&text), "{status}");

    let options = ChannelOptions { wait_for_ready: true, ..ChannelOptions::default() };
    let patient = Channel::new(&rt, &address.to_string(), options).unwrap();
    let waiting = call(patient, ECHO, "patient");
    let back = async {
        // It has failed once when the other channel has: both began before the server was back.
        let status = call(failing.clone(), ECHO, "down").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        start(&rt, address).await
    };
    let (answer, _server) = soon(async { tokio::join!(waiting, back) }).await;
    assert_eq!(answer.unwrap(), "patient");
    // The other one is back within its backoff as well.
    soon(async {
        while call(failing.clone(), ECHO, "back").await.is_err() {
            tokio::task::yield_now().await
        }
    })
    .await;
}

#[tokio::test]
async fn a_restart_between_two_calls_goes_unnoticed() {
    let rt = os::runtime();
    let server = start(&rt, loopback()).await;
    let (address, channel) = (server.address.clone(), channel(&rt, &server.address));
    assert_eq!(call(channel.clone(), ECHO, "before").await.unwrap(), "before");
    soon(server.stop()).await;
    let _server = start(&rt, address).await;
    assert_eq!(soon(call(channel, ECHO, "after")).await.unwrap(), "after");
}

#[tokio::test]
async fn the_client_ends_calls_at_their_deadline_even_while_it_waits_to_connect() {
    let rt = os::runtime();
    let options = ChannelOptions { wait_for_ready: true, ..ChannelOptions::default() };
    let channel = Channel::new(&rt, &nobody().to_string(), options).unwrap();
    let mut request = Request::new(Text::default());
    request.set_timeout(Duration::from_millis(50));
    let status = soon(call_with(channel, ECHO, request)).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "context deadline exceeded"));
}

#[tokio::test]
async fn streams_end_at_their_deadline() {
    let rt = os::runtime();
    let server = start(&rt, loopback()).await;
    let mut request = Request::new(Text::default());
    request.set_timeout(Duration::from_millis(50));
    let mut messages = stream(channel(&rt, &server.address), request).await.unwrap();
    assert!(soon(messages.message()).await.unwrap().is_some());
    assert_eq!(soon(messages.message()).await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn names_are_resolved_and_unknown_ones_are_unavailable() {
    let rt = os::runtime();
    let server = start(&rt, loopback()).await;
    let port = server.address.tcp().unwrap().port();
    let named = Channel::new(&rt, &format!("dns:///localhost:{port}"), ChannelOptions::default()).unwrap();
    assert_eq!(soon(call(named, ECHO, "by name")).await.unwrap(), "by name");

    let unknown = Channel::new(&rt, "no-such-host.invalid:80", ChannelOptions::default()).unwrap();
    let status = call(unknown, ECHO, "").await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().starts_with("dns: A record lookup error: lookup no-such-host.invalid"), "{status}");
}

#[tokio::test]
async fn a_channel_speaks_tls() {
    let rt = os::runtime();
    let ca = Ca::new(&rt, "ours");
    let tls = server_tls(&rt, ca.identity(DB, NOW), ClientAuth::None);
    let router = Router::new().add_service(TestService::default());
    let server = Running::start(&rt, loopback(), Server::new(&rt).router(router).tls(Some(tls))).await;
    let tls = Some(client_tls(&rt, ca.trust(), None, only(DB)));
    let options = ChannelOptions { tls, authority: Some("echo".to_owned()), ..ChannelOptions::default() };
    let channel = Channel::new(&rt, &server.address.to_string(), options).unwrap();
    assert_eq!(call(channel, ECHO, "secret").await.unwrap(), "secret");
}
