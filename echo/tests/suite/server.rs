//! The echo server on the machine's own sockets, called as Istio's tests call it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hermesh_echo::proto::echo_test_service_client::EchoTestServiceClient;
use hermesh_echo::proto::{ForwardEchoRequest, Header};
use hermesh_echo::{EchoError, run};
use hermesh_runtime::channel::{Channel, ChannelOptions};
use hermesh_runtime::{Address, Runtime, TaskGuard, http1, os};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Code, Status};

struct Echo {
    rt: Runtime,
    grpc: u16,
    http: u16,
    tcp: u16,
    _task: TaskGuard,
}

impl Echo {
    /// A server on ports that are free just now, once it says it is ready.
    async fn start() -> Self {
        let [grpc, http, tcp] = free_ports();
        let arg = |flag: &str, value: &str| format!("--{flag}={value}");
        let args = vec![
            arg("grpc", &grpc.to_string()),
            arg("port", &http.to_string()),
            arg("tcp", &tcp.to_string()),
            arg("version", "v7"),
            "--bind-localhost".to_owned(),
        ];
        let rt = os::with_args(args);
        let server = rt.clone();
        let task = rt.spawn("echo", async move {
            let ended = run(server).await;
            panic!("the server ended: {ended:?}");
        });
        let echo = Self { rt, grpc, http, tcp, _task: task.abort_on_drop() };
        let ready = async {
            while echo.get("/").await.is_none_or(|(status, _)| status != 200) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), ready).await.expect("the server becomes ready");
        echo
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.http));
        let response = http1::get(&self.rt, to, "echo", path, Duration::from_secs(5)).await.ok()?;
        Some((response.status.as_u16(), String::from_utf8(response.body.to_vec()).unwrap()))
    }

    async fn forward(&self, request: ForwardEchoRequest) -> Result<Vec<String>, Status> {
        let channel = Channel::new(&self.rt, &format!("127.0.0.1:{}", self.grpc), ChannelOptions::default()).unwrap();
        let response = EchoTestServiceClient::new(channel).forward_echo(request).await?;
        Ok(response.into_inner().output)
    }

    fn to_itself(&self) -> ForwardEchoRequest {
        ForwardEchoRequest { url: format!("grpc://127.0.0.1:{}", self.grpc), ..ForwardEchoRequest::default() }
    }
}

/// Ports that were free a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

#[tokio::test]
async fn forwarded_requests_come_back_with_what_the_server_saw() {
    let echo = Echo::start().await;
    let headers = vec![Header { key: "End-User".into(), value: "jason".into() }];
    let request = ForwardEchoRequest { count: 3, message: "hi".into(), headers, ..echo.to_itself() };
    let output = echo.forward(request).await.unwrap();
    assert_eq!(output.len(), 3);
    for (index, text) in output.iter().enumerate() {
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with(&format!("[{index}] Latency=")), "{text}");
        assert!(lines[1].starts_with(&format!("[{index}] ActiveRequests=")), "{text}");
        let body = |line: &str| lines.contains(&format!("[{index} body] {line}").as_str());
        assert!(body(&format!("Host=127.0.0.1:{}", echo.grpc)), "{text}");
        assert!(body("RequestHeader=end-user:jason"), "{text}");
        assert!(body("StatusCode=200") && body("ServiceVersion=v7") && body("Echo=hi"), "{text}");
        assert!(body(&format!("ServicePort={}", echo.grpc)) && body("IP=127.0.0.1"), "{text}");
        assert!(body(&format!("Hostname={}", echo.rt.hostname())), "{text}");
        assert!(lines.contains(&format!("[{index}] ResponseHeader=content-type:application/grpc").as_str()), "{text}");
    }
}

#[tokio::test]
async fn the_host_header_becomes_the_authority_and_connections_may_be_fresh() {
    let echo = Echo::start().await;
    let headers = vec![Header { key: "Host".into(), value: "other:1".into() }];
    let request = ForwardEchoRequest { headers, new_connection_per_request: true, count: 2, ..echo.to_itself() };
    let output = echo.forward(request).await.unwrap();
    assert!(output.iter().all(|text| text.contains("body] Host=other:1\n")), "{output:?}");

    for url in [echo.to_itself().url, "xds:///echo:7070".to_owned()] {
        let headers = vec![Header { key: "Host".into(), value: "no authority".into() }];
        let refused = echo.forward(ForwardEchoRequest { url, headers, ..echo.to_itself() }).await.unwrap_err();
        assert_eq!(refused.message(), "header Host: `no authority` is no authority");
    }
}

#[tokio::test]
async fn a_rate_spreads_the_batch_over_time() {
    let echo = Echo::start().await;
    let begin = tokio::time::Instant::now();
    echo.forward(ForwardEchoRequest { count: 4, qps: 20, ..echo.to_itself() }).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(200), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_failed_request_fails_the_batch_with_code_unknown() {
    let echo = Echo::start().await;
    let [nobody] = free_ports();
    let request = ForwardEchoRequest { url: format!("grpc://127.0.0.1:{nobody}"), ..ForwardEchoRequest::default() };
    let status = echo.forward(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unknown);
    let beginning = "1/1 requests had errors; first error: rpc error: code = Unavailable desc = ";
    assert!(status.message().starts_with(beginning), "{}", status.message());

    let status = echo.forward(ForwardEchoRequest::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unknown, "missing protocol scheme in the request URL: "));
}

#[tokio::test]
async fn without_a_bootstrap_xds_calls_fail_and_xds_ports_end_the_server() {
    let echo = Echo::start().await;
    let request = ForwardEchoRequest { url: "xds:///echo:7070".into(), ..ForwardEchoRequest::default() };
    let status = echo.forward(request).await.unwrap_err();
    assert!(status.message().contains("bootstrap"), "{}", status.message());

    let [grpc, http, tcp] = free_ports();
    let args = [format!("--xds-grpc-server={grpc}"), format!("--grpc={grpc}"), format!("--port={http}")];
    let args = args.into_iter().chain([format!("--tcp={tcp}"), "--bind-localhost".to_owned()]).collect();
    let error = run(os::with_args(args)).await.unwrap_err();
    assert!(matches!(error, EchoError::XdsServer { port, .. } if port == grpc), "{error:?}");
    assert!(error.to_string().contains("bootstrap"), "{error}");
}

#[tokio::test]
async fn http_tells_what_it_saw_and_is_forwarded_to() {
    let echo = Echo::start().await;
    let (status, body) = echo.get("/path?x=1").await.unwrap();
    assert_eq!(status, 200);
    let expected =
        format!("ServiceVersion=v7\nServicePort={}\nHost=echo\nURL=/path?x=1\nMethod=GET\nProto=HTTP/1.1\n", echo.http);
    assert!(body.starts_with(&expected), "{body}");
    assert!(body.contains("\nIP=127.0.0.1\n"), "{body}");

    let url = format!("http://127.0.0.1:{}/there", echo.http);
    let output = echo.forward(ForwardEchoRequest { url: url.clone(), ..ForwardEchoRequest::default() }).await.unwrap();
    assert!(output[0].contains(&format!("[0] Url={url}\n[0] StatusCode=200\n")), "{}", output[0]);
    assert!(output[0].contains("[0 body] URL=/there\n"), "{}", output[0]);
}

#[tokio::test]
async fn tcp_tells_about_itself_and_returns_every_byte() {
    let echo = Echo::start().await;
    let to = Address::Tcp((Ipv4Addr::LOCALHOST, echo.tcp).into());
    let mut stream = echo.rt.connect(to).await.unwrap();
    stream.write_all(b"one ").await.unwrap();
    stream.write_all(b"two").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    assert!(text.starts_with("StatusCode=200\nServiceVersion=v7\n"), "{text}");
    assert!(text.ends_with(&format!("Proto=TCP\nHostname={}\none two", echo.rt.hostname())), "{text}");
}
