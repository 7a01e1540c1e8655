//! Health checks of the application by the agent, which tells istiod: for workloads outside of Kubernetes, where no
//! kubelet does.
//!
//! istio-agent's `pkg/istio-agent/health`: the ProxyConfig's `readinessProbe` says what is asked. Only changes are
//! told, the first result among them; commands are not played, for there is nothing to run on a simulated machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use hermesh_runtime::{EventId, Runtime, describe_io, http1};
use serde::Deserialize;
use tonic::Request;
use tonic_prost::ProstCodec;

use crate::HealthChanged;
use crate::upstream::Upstream;

/// A ProxyConfig's `readinessProbe`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadinessProbe {
    /// What is asked.
    pub handler: Handler,
    /// How long after the agent's start the first one comes.
    pub initial_delay: Duration,
    /// How often.
    pub period: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How many successes in a row count as one.
    pub success_threshold: u32,
    /// How many failures in a row count as one.
    pub failure_threshold: u32,
}

/// What a probe asks. Without a host it asks the machine's first address.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Handler {
    /// An HTTP GET, answered with 200 to 399.
    Http {
        /// Where.
        host: Option<String>,
        /// Where.
        port: u16,
        /// What.
        path: String,
        /// Further headers.
        headers: Vec<(String, String)>,
    },
    /// A TCP connection.
    Tcp {
        /// Where.
        host: Option<String>,
        /// Where.
        port: u16,
    },
    /// The gRPC health service.
    Grpc {
        /// Where.
        port: u16,
        /// The service asked about; the server as a whole if empty.
        service: String,
    },
}

impl TryFrom<serde_json::Value> for ReadinessProbe {
    type Error = String;

    fn try_from(json: serde_json::Value) -> Result<Self, String> {
        let raw: Raw = serde_json::from_value(json).map_err(|error| error.to_string())?;
        let port = |port: u32| {
            let number = u16::try_from(port).ok().filter(|port| *port != 0);
            number.ok_or_else(|| format!("`{port}` is no port"))
        };
        let host = |host: String| Some(host).filter(|host| !host.is_empty());
        let handler = match (raw.http_get, raw.tcp_socket, raw.exec, raw.grpc) {
            (Some(http), None, None, None) => match &*http.scheme.to_ascii_lowercase() {
                "" | "http" => Handler::Http {
                    host: host(http.host),
                    port: port(http.port)?,
                    path: format!("/{}", http.path.trim_start_matches('/')),
                    headers: http.http_headers.into_iter().map(|header| (header.name, header.value)).collect(),
                },
                _ => return Err(format!("httpGet.scheme `{}` is not played here; expected http", http.scheme)),
            },
            (None, Some(tcp), None, None) => Handler::Tcp { host: host(tcp.host), port: port(tcp.port)? },
            (None, None, None, Some(grpc)) => Handler::Grpc { port: port(grpc.port)?, service: grpc.service },
            (None, None, Some(_), None) => return Err("exec is not played here; ask a port instead".to_owned()),
            _ => return Err("expected exactly one of httpGet, tcpSocket or grpc".to_owned()),
        };
        let or = |value: u32, default: u32| if value == 0 { default } else { value };
        let seconds = |value: u32| Duration::from_secs(value.into());
        Ok(Self {
            handler,
            initial_delay: seconds(raw.initial_delay_seconds),
            period: seconds(or(raw.period_seconds, 10)),
            timeout: seconds(or(raw.timeout_seconds, 1)),
            success_threshold: or(raw.success_threshold, 1),
            failure_threshold: or(raw.failure_threshold, 1),
        })
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    http_get: Option<RawHttp>,
    tcp_socket: Option<RawTcp>,
    exec: Option<serde::de::IgnoredAny>,
    grpc: Option<RawGrpc>,
    initial_delay_seconds: u32,
    period_seconds: u32,
    timeout_seconds: u32,
    success_threshold: u32,
    failure_threshold: u32,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawHttp {
    host: String,
    port: u32,
    path: String,
    scheme: String,
    http_headers: Vec<RawHeader>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawHeader {
    name: String,
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawTcp {
    host: String,
    port: u32,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawGrpc {
    port: u32,
    service: String,
}

/// What the probes say of the application: nothing, or what is wrong with it.
pub(crate) type Health = Result<(), String>;

/// What results in a row make of an application.
struct Verdicts {
    thresholds: (u32, u32),
    healthy: Option<bool>,
    row: (bool, u32),
}

impl Verdicts {
    /// Takes a result; whether it makes a difference.
    fn take(&mut self, success: bool) -> bool {
        let (same, count) = self.row;
        self.row = (success, if same == success { count.saturating_add(1) } else { 1 });
        let threshold = if success { self.thresholds.0 } else { self.thresholds.1 };
        let changes = self.row.1 >= threshold && self.healthy != Some(success);
        if changes {
            self.healthy = Some(success);
        }
        changes
    }
}

/// Asks for ever, and tells `changed` whenever the answer is another one.
pub(crate) async fn check(
    rt: Runtime,
    probe: ReadinessProbe,
    own: IpAddr,
    cause: Option<EventId>,
    changed: impl Fn(Health, Option<EventId>) + Send + 'static,
) {
    let thresholds = (probe.success_threshold, probe.failure_threshold);
    let mut verdicts = Verdicts { thresholds, healthy: None, row: (true, 0) };
    tokio::time::sleep(probe.initial_delay).await;
    loop {
        let next = tokio::time::Instant::now() + probe.period;
        let health = ask(&rt, &probe, own).await;
        if verdicts.take(health.is_ok()) {
            let event = HealthChanged { healthy: health.is_ok(), message: health.as_ref().err().cloned() };
            let event = rt.emit_because(cause, event).or(cause);
            changed(health, event);
        }
        tokio::time::sleep_until(next).await;
    }
}

async fn ask(rt: &Runtime, probe: &ReadinessProbe, own: IpAddr) -> Health {
    match tokio::time::timeout(probe.timeout, ask_handler(rt, probe, own)).await {
        Ok(health) => health,
        Err(_) => Err(format!("no answer within {:?}", probe.timeout)),
    }
}

async fn ask_handler(rt: &Runtime, probe: &ReadinessProbe, own: IpAddr) -> Health {
    match &probe.handler {
        Handler::Http { host, port, path, headers } => {
            let to = address(rt, host.as_deref(), *port, own).await?;
            let mut request = http::Request::get(path.as_str()).header("user-agent", "istio-probe/1.0");
            for (name, value) in headers {
                request = request.header(name.to_ascii_lowercase(), value);
            }
            let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
            let response = http1::send(rt, to, request, probe.timeout).await.map_err(|error| error.to_string())?;
            match response.status.as_u16() {
                200..400 => Ok(()),
                code => Err(format!("status code was not from [200,400), bad code {code}")),
            }
        }
        Handler::Tcp { host, port } => {
            let to = address(rt, host.as_deref(), *port, own).await?;
            let connected = rt.connect(to.into()).await;
            connected.map(drop).map_err(|error| format!("dial tcp {to}: connect: {}", describe_io(&error)))
        }
        Handler::Grpc { port, service } => {
            let to = SocketAddr::new(own, *port).to_string();
            let failed = |status: &dyn std::fmt::Display| {
                format!("failed to connect health check grpc service on port {port}: {status}")
            };
            let upstream = Upstream { address: &to, tls: None, identity: None };
            let client = upstream.connect(rt, None).await.map_err(|error| failed(&error.status.message()))?;
            let mut grpc = tonic::client::Grpc::with_origin(client, upstream.origin());
            grpc.ready().await.map_err(|status| failed(&status.message()))?;
            let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
            let request = Request::new(Check { service: service.clone() });
            let codec: ProstCodec<Check, Checked> = ProstCodec::default();
            let checked = grpc.unary(request, path, codec).await.map_err(|status| failed(&status.message()))?;
            match checked.into_inner().status {
                SERVING => Ok(()),
                status => Err(format!("health check of service {service:?}: status {status} is not SERVING")),
            }
        }
    }
}

async fn address(rt: &Runtime, host: Option<&str>, port: u16, own: IpAddr) -> Result<SocketAddr, String> {
    let address = match host {
        None => own,
        Some("localhost") => Ipv4Addr::LOCALHOST.into(),
        Some(host) => match host.parse() {
            Ok(address) => address,
            Err(_) => {
                let found = rt.resolve(host).await.map_err(|error| error.to_string())?;
                found.first().copied().ok_or_else(|| format!("{host} has no address"))?
            }
        },
    };
    Ok(SocketAddr::new(address, port))
}

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, prost::Message)]
struct Check {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, prost::Message)]
struct Checked {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// Of `ServingStatus`.
const SERVING: i32 = 1;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_changes_are_told_and_the_first_result_is_one() {
        for (thresholds, results, told) in
            [((1, 1), "+---+", "+-+"), ((1, 1), "--+", "-+"), ((2, 3), "+-++--+---", "+-"), ((1, 3), "--", "")]
        {
            let mut verdicts = Verdicts { thresholds, healthy: None, row: (true, 0) };
            let told_now = results.chars().filter(|result| verdicts.take(*result == '+')).collect::<String>();
            assert_eq!(told_now, told, "{thresholds:?} {results}");
        }
    }

    #[test]
    fn zero_stands_for_istios_defaults() {
        let probe = ReadinessProbe::try_from(json!({"httpGet": {"port": 80}})).unwrap();
        let handler = Handler::Http { host: None, port: 80, path: "/".to_owned(), headers: Vec::new() };
        let second = Duration::from_secs(1);
        let expected = ReadinessProbe {
            handler,
            initial_delay: Duration::ZERO,
            period: 10 * second,
            timeout: second,
            success_threshold: 1,
            failure_threshold: 1,
        };
        assert_eq!(probe, expected);
    }

    #[test]
    fn a_probe_that_cannot_work_says_why() {
        for (json, why) in [
            (json!({}), "exactly one of"),
            (json!({"httpGet": {"port": 1}, "grpc": {"port": 1}}), "exactly one of"),
            (json!({"tcpSocket": {"port": 0}}), "`0` is no port"),
            (json!({"grpc": {"port": 70000}}), "`70000` is no port"),
            (json!({"exec": {"command": ["true"]}}), "exec is not played"),
            (json!({"httpGet": {"port": 1, "scheme": "https"}}), "expected http"),
            (json!({"periodSeconds": -1}), "invalid value"),
        ] {
            let error = ReadinessProbe::try_from(json.clone()).unwrap_err();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
