//! Probes and lifecycle hooks of a container.

use serde::Deserialize;

use super::{IntOrString, numbers};

/// A probe: what is asked, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawProbe")]
pub struct Probe {
    /// What is asked.
    pub handler: ProbeHandler,
    /// How long after the container's start the first one comes.
    pub initial_delay_seconds: u32,
    /// How often.
    pub period_seconds: u32,
    /// How long an answer may take.
    pub timeout_seconds: u32,
    /// How many successes in a row count as one.
    pub success_threshold: u32,
    /// How many failures in a row count as one.
    pub failure_threshold: u32,
}

impl Probe {
    /// A probe with Kubernetes' defaults: every 10 s, 1 s for the answer, 3 failures.
    #[must_use]
    pub fn new(handler: ProbeHandler) -> Self {
        Self {
            handler,
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeHandler {
    /// An HTTP GET, answered with 200 to 399.
    HttpGet(HttpGetAction),
    /// A TCP connection.
    TcpSocket(TcpSocketAction),
    /// A command that exits with 0.
    Exec(ExecAction),
    /// The gRPC health service.
    Grpc(GrpcAction),
}

/// The fields of which a probe has one.
pub(super) const PROBE_HANDLERS: [&str; 4] = ["httpGet", "tcpSocket", "exec", "grpc"];

/// What is wrong with a probe that has none of them, or several.
pub(super) const ONE_PROBE_HANDLER: &str = "expected exactly one of httpGet, tcpSocket, exec or grpc";

#[derive(Deserialize)]
#[serde(rename = "Probe", rename_all = "camelCase", default)]
struct RawProbe {
    http_get: Option<HttpGetAction>,
    tcp_socket: Option<TcpSocketAction>,
    exec: Option<ExecAction>,
    grpc: Option<GrpcAction>,
    #[serde(deserialize_with = "numbers::count")]
    initial_delay_seconds: u32,
    #[serde(deserialize_with = "numbers::count")]
    period_seconds: u32,
    #[serde(deserialize_with = "numbers::count")]
    timeout_seconds: u32,
    #[serde(deserialize_with = "numbers::count")]
    success_threshold: u32,
    #[serde(deserialize_with = "numbers::count")]
    failure_threshold: u32,
}

impl Default for RawProbe {
    fn default() -> Self {
        Self {
            http_get: None,
            tcp_socket: None,
            exec: None,
            grpc: None,
            initial_delay_seconds: 0,
            period_seconds: 10,
            timeout_seconds: 1,
            success_threshold: 1,
            failure_threshold: 3,
        }
    }
}

impl TryFrom<RawProbe> for Probe {
    type Error = &'static str;

    fn try_from(raw: RawProbe) -> Result<Self, &'static str> {
        // That there is no second one is looked at where everything else in them is.
        let handler = match (raw.http_get, raw.tcp_socket, raw.exec, raw.grpc) {
            (Some(action), ..) => ProbeHandler::HttpGet(action),
            (None, Some(action), ..) => ProbeHandler::TcpSocket(action),
            (None, None, Some(action), _) => ProbeHandler::Exec(action),
            (None, None, None, Some(action)) => ProbeHandler::Grpc(action),
            (None, None, None, None) => return Err(ONE_PROBE_HANDLER),
        };
        // Zero means unset in Kubernetes' Go types.
        let or = |value, default| if value == 0 { default } else { value };
        Ok(Self {
            handler,
            initial_delay_seconds: raw.initial_delay_seconds,
            period_seconds: or(raw.period_seconds, 10),
            timeout_seconds: or(raw.timeout_seconds, 1),
            success_threshold: or(raw.success_threshold, 1),
            failure_threshold: or(raw.failure_threshold, 3),
        })
    }
}

/// An HTTP GET.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpGetAction {
    /// The path; `/` if empty.
    #[serde(default)]
    pub path: String,
    /// The port or its name.
    #[serde(default = "no_port")]
    pub port: IntOrString,
    /// The host; the pod's address if absent.
    #[serde(default)]
    pub host: Option<String>,
    /// Plain or over TLS.
    #[serde(default)]
    pub scheme: HttpScheme,
    /// Additional headers.
    #[serde(default)]
    pub http_headers: Vec<HttpHeader>,
}

/// What stands in for a port that is missing, which is looked at where everything else in the pod is.
fn no_port() -> IntOrString {
    IntOrString::Int(0)
}

/// Plain or over TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[expect(missing_docs, reason = "Kubernetes' own names")]
pub enum HttpScheme {
    #[default]
    HTTP,
    HTTPS,
}

/// A header of an HTTP GET.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpHeader {
    /// The header's name.
    #[serde(default)]
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: String,
}

/// A TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcpSocketAction {
    /// The port or its name.
    #[serde(default = "no_port")]
    pub port: IntOrString,
    /// The host; the pod's address if absent.
    #[serde(default)]
    pub host: Option<String>,
}

/// A command in the container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExecAction {
    /// The command and its arguments.
    pub command: Vec<String>,
}

/// A call of the gRPC health service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GrpcAction {
    /// The port.
    #[serde(default, deserialize_with = "numbers::port")]
    pub port: u16,
    /// The service asked about; the server as a whole if empty.
    #[serde(default)]
    pub service: String,
}

/// What runs after a container's start and before its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lifecycle {
    /// Runs right after the start; if it fails, the container is killed.
    pub post_start: Option<LifecycleHandler>,
    /// Runs before SIGTERM.
    pub pre_stop: Option<LifecycleHandler>,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawLifecycleHandler")]
pub enum LifecycleHandler {
    /// A command in the container.
    Exec(ExecAction),
    /// An HTTP GET.
    HttpGet(HttpGetAction),
    /// A pause.
    Sleep(SleepAction),
}

/// The fields of which a hook has one.
pub(super) const LIFECYCLE_HANDLERS: [&str; 3] = ["exec", "httpGet", "sleep"];

/// What is wrong with a hook that has none of them, or several.
pub(super) const ONE_LIFECYCLE_HANDLER: &str = "expected exactly one of exec, httpGet or sleep";

#[derive(Deserialize)]
#[serde(rename = "LifecycleHandler", rename_all = "camelCase")]
struct RawLifecycleHandler {
    exec: Option<ExecAction>,
    http_get: Option<HttpGetAction>,
    sleep: Option<SleepAction>,
}

impl TryFrom<RawLifecycleHandler> for LifecycleHandler {
    type Error = &'static str;

    fn try_from(raw: RawLifecycleHandler) -> Result<Self, &'static str> {
        match (raw.exec, raw.http_get, raw.sleep) {
            (Some(action), ..) => Ok(Self::Exec(action)),
            (None, Some(action), _) => Ok(Self::HttpGet(action)),
            (None, None, Some(action)) => Ok(Self::Sleep(action)),
            (None, None, None) => Err(ONE_LIFECYCLE_HANDLER),
        }
    }
}

/// A pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SleepAction {
    /// How long.
    #[serde(default)]
    pub seconds: u64,
}
