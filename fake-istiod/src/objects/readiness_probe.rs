//! Istio's ReadinessProbe: how the agent of a workload outside of Kubernetes finds out whether that is healthy.

use serde::{Deserialize, Serialize};

use super::{ExecAction, numbers};

/// `networking.istio.io ReadinessProbe`. Zero stands for Istio's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReadinessProbe {
    /// How long after the agent's start the first one comes.
    #[serde(deserialize_with = "numbers::count")]
    pub initial_delay_seconds: u32,
    /// How long an answer may take.
    #[serde(deserialize_with = "numbers::count")]
    pub timeout_seconds: u32,
    /// How often.
    #[serde(deserialize_with = "numbers::count")]
    pub period_seconds: u32,
    /// How many successes in a row count as one.
    #[serde(deserialize_with = "numbers::count")]
    pub success_threshold: u32,
    /// How many failures in a row count as one.
    #[serde(deserialize_with = "numbers::count")]
    pub failure_threshold: u32,
    /// An HTTP GET, answered with 200 to 399.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_get: Option<HttpHealthCheck>,
    /// A TCP connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tcp_socket: Option<TcpHealthCheck>,
    /// A command, which nothing here can run.
    #[serde(skip_serializing)]
    pub exec: Option<ExecAction>,
    /// The gRPC health service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealthCheck>,
}

/// An HTTP GET.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHealthCheck {
    /// The path; `/` if empty.
    pub path: String,
    /// The port.
    #[serde(deserialize_with = "numbers::port")]
    pub port: u32,
    /// The host; the workload's address if empty.
    pub host: String,
    /// Plain or over TLS.
    pub scheme: String,
    /// Additional headers.
    pub http_headers: Vec<HealthCheckHeader>,
}

/// A header of an HTTP GET.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct HealthCheckHeader {
    /// The header's name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// A TCP connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct TcpHealthCheck {
    /// The host; the workload's address if empty.
    pub host: String,
    /// The port.
    #[serde(deserialize_with = "numbers::port")]
    pub port: u32,
}

/// A call of the gRPC health service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct GrpcHealthCheck {
    /// The port.
    #[serde(deserialize_with = "numbers::port")]
    pub port: u32,
    /// The service asked about; the server as a whole if empty.
    pub service: String,
}
