//! Everything works on streams in memory and on a clock that jumps: nothing looks past the runtime.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{Ca, DB, Direct, NOW, Running, TestService, WEB, call, client_tls, only, server_tls};
use bytes::Bytes;
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::http2::{CloseReason, ConnectOptions, Keepalive, Stage, connect};
use hermesh_runtime::server::{Router, Server};
use hermesh_runtime::tls::ClientAuth;
use hermesh_runtime::{Address, Runtime, http1};
use hermesh_test_support::{InMemory, Process, Setup};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;
use tonic::Code;

fn in_memory() -> Runtime {
    Process::new(Setup::new().network(InMemory::default())).rt
}

fn port(number: u16) -> Address {
    SocketAddr::from(([10, 0, 0, 2], number)).into()
}

fn server(rt: &Runtime) -> Server {
    Server::new(rt).router(Router::new().add_service(TestService::default()))
}

#[tokio::test(start_paused = true)]
async fn mutual_tls_takes_no_time_and_hours_of_idleness_no_patience() {
    let rt = in_memory();
    let ca = Ca::new(&rt, "ours");
    let tls = server_tls(&rt, ca.identity(DB, NOW), ClientAuth::Required(ca.trust()));
    let hour = Duration::from_secs(3600);
    let running = Running::start(&rt, port(1), server(&rt).tls(Some(tls)).max_idle(Some(hour))).await;
    let begin = Instant::now();
    let tls = Some(client_tls(&rt, ca.trust(), Some(ca.identity(WEB, NOW)), only(DB)));
    let options = ConnectOptions { tls, ..ConnectOptions::default() };
    let (connection, closed) = connect(&rt, running.address.clone(), &options).await.unwrap();
    let from = format!("{WEB} from 10.0.0.1:40000");
    assert_eq!(call(Direct(connection), "/test.Test/WhoAmI", "").await.unwrap(), from);
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert!(matches!(closed.await, CloseReason::Closed(_)), "nobody holds the connection any more");
    let (_connection, closed) = connect(&rt, running.address.clone(), &options).await.unwrap();
    assert_eq!(closed.await, CloseReason::GoAway);
    assert_eq!(begin.elapsed().as_secs(), 3600);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_at_its_deadline_to_the_millisecond() {
    let rt = in_memory();
    let _silent = rt.listen(port(1)).await.unwrap();
    let begin = Instant::now();
    let error = connect(&rt, port(1), &ConnectOptions::default()).await.unwrap_err();
    assert_eq!(error.stage, Stage::Deadline);
    assert_eq!(begin.elapsed().as_millis(), 20_000);
}

/// How long a connection lasts, in seconds, that pings after 30 s and waits 10 s, to a server that greets, answers no
/// ping, and sends another frame when told; `None` if it lasts for an hour.
async fn seconds_with_keepalive(while_idle: bool, in_flight: bool, frame_after: Option<u64>) -> Option<u64> {
    let rt = in_memory();
    let mut listener = rt.listen(port(1)).await.unwrap();
    let (interval, timeout) = (Duration::from_secs(30), Duration::from_secs(10));
    let keepalive = Some(Keepalive { interval, timeout, while_idle });
    let options = ConnectOptions { keepalive, ..ConnectOptions::default() };
    let say_hello = async {
        let mut stream = listener.accept().await.unwrap();
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        stream
    };
    let (connected, mut server) = tokio::join!(connect(&rt, port(1), &options), say_hello);
    let (connection, closed) = connected.unwrap();
    let begin = Instant::now();
    let _call = in_flight.then(|| {
        let call = call(Direct(connection.clone()), "/test.Test/Echo", "is anybody there?");
        rt.spawn("call", async { drop(call.await) }).abort_on_drop()
    });
    let _frame = rt.spawn("frame", async move {
        if let Some(after) = frame_after {
            tokio::time::sleep(Duration::from_secs(after)).await;
            // More to send on the connection, RFC 9113, 6.9.
            let _ = server.write_all(&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1]).await;
        }
        std::future::pending().await
    });
    let reason = tokio::time::timeout(Duration::from_secs(3600), closed).await.ok()?;
    let CloseReason::Closed(text) = reason else { panic!("nobody sent GOAWAY") };
    assert_eq!(text, "keepalive ping failed to receive ACK within timeout");
    Some(begin.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn keepalive_takes_interval_and_timeout_and_nothing_more() {
    assert_eq!(seconds_with_keepalive(true, false, None).await, Some(40));
}

#[tokio::test(start_paused = true)]
async fn keepalive_that_is_not_for_idle_connections_needs_a_call() {
    assert_eq!(seconds_with_keepalive(false, false, None).await, None);
    assert_eq!(seconds_with_keepalive(false, true, None).await, Some(40));
}

#[tokio::test(start_paused = true)]
async fn whatever_comes_is_a_sign_of_life() {
    let before_the_ping = seconds_with_keepalive(true, false, Some(20)).await;
    assert_eq!(before_the_ping, Some(20 + 40));
    let after_the_ping = seconds_with_keepalive(true, false, Some(35)).await;
    assert_eq!(after_the_ping, Some(35 + 10));
}

#[tokio::test(start_paused = true)]
async fn a_channel_tries_again_after_its_backoff() {
    let rt = in_memory();
    let options = ChannelOptions { wait_for_ready: true, ..ChannelOptions::default() };
    let patient = Channel::new(&rt, &port(1).to_string(), options).unwrap();
    let brisk = Channel::new(&rt, &port(1).to_string(), ChannelOptions::default()).unwrap();
    let begin = Instant::now();
    let come_late = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        let status = call(brisk.clone(), "/test.Test/Echo", "").await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        Running::start(&rt, port(1), server(&rt)).await
    };
    let (answer, _running) = tokio::join!(call(patient, "/test.Test/Echo", "at last"), come_late);
    assert_eq!(answer.unwrap(), "at last");
    // Attempts at 0, 1, 2.6, 5.2, 9.3 and 15.8 s, each delay 20 % more or less.
    assert!((10.0..=19.0).contains(&begin.elapsed().as_secs_f64()), "{:?}", begin.elapsed());
}

/// What an HTTP port answers to `sent`, and when it hangs up.
async fn http_port_hangs_up(sent: &[u8]) -> (String, Duration) {
    let rt = in_memory();
    let listener = rt.listen(port(1)).await.unwrap();
    let runtime = rt.clone();
    rt.spawn("http port", async move {
        let handler = |_| std::future::ready(http::Response::new(Bytes::from_static(b"hello")));
        http1::serve(&runtime, listener, handler).await.unwrap();
    });
    let begin = Instant::now();
    let mut client = rt.connect(port(1)).await.unwrap();
    client.write_all(sent).await.unwrap();
    let mut answer = Vec::new();
    let _ended = tokio::time::timeout(Duration::from_secs(3600), client.read_to_end(&mut answer)).await;
    (String::from_utf8_lossy(&answer).into_owned(), begin.elapsed())
}

#[tokio::test(start_paused = true)]
async fn an_http_port_does_not_wait_for_ever_for_a_client() {
    let unfinished = "POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 9\r\n\r\n";
    for (what, sent, status) in [
        ("silence", "", ""),
        ("half a preface", "PRI * HT", ""),
        ("half a head", "GET / HTTP/1.1\r\nhost: web\r\n", ""),
        ("half a body", unfinished, "HTTP/1.1 408 "),
        ("silence after an answer", "GET / HTTP/1.1\r\nhost: web\r\n\r\n", "HTTP/1.1 200 "),
        ("HTTP/2 without a request", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "\0"),
    ] {
        let (answer, elapsed) = http_port_hangs_up(sent.as_bytes()).await;
        assert!(answer.starts_with(status), "{what}: {answer}");
        assert!(elapsed >= http1::PATIENCE && elapsed <= 2 * http1::PATIENCE, "{what}: {elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_port_does_not_wait_for_ever_until_its_answer_is_taken() {
    const LEN: usize = 8 << 20;
    let rt = in_memory();
    let listener = rt.listen(port(1)).await.unwrap();
    let runtime = rt.clone();
    rt.spawn("http port", async move {
        let handler = |_| std::future::ready(http::Response::new(Bytes::from(vec![b'x'; LEN])));
        http1::serve(&runtime, listener, handler).await.unwrap();
    });
    let mut client = rt.connect(port(1)).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").await.unwrap();
    tokio::time::sleep(2 * http1::PATIENCE).await;
    let mut answer = Vec::new();
    let _ended = tokio::time::timeout(Duration::from_secs(1), client.read_to_end(&mut answer)).await;
    assert!(answer.len() < LEN, "the server has waited for its client");
}
