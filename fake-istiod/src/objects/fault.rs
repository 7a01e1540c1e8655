//! Faults that a VirtualService's routes inject.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::duration;

/// The names of gRPC's status codes (`grpc/doc/statuscodes.md`); each stands at its number.
pub const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Which calls of a route are held back or fail on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultInjection {
    /// Calls are held back before they are sent.
    pub delay: Option<HttpFaultDelay>,
    /// Calls fail instead of being sent.
    pub abort: Option<HttpFaultAbort>,
}

/// How long calls are held back, and which share of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultDelay {
    /// How long.
    #[serde(deserialize_with = "duration::optional")]
    pub fixed_delay: Option<Duration>,
    /// Which share; none if neither this nor `percent` is there.
    pub percentage: Option<Percent>,
    /// Which share in the older form, in whole percent.
    pub percent: i32,
}

/// How calls fail, and which share of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpFaultAbort {
    /// The HTTP status.
    pub http_status: Option<i32>,
    /// The name of the gRPC status.
    pub grpc_status: Option<String>,
    /// Which share; none if absent.
    pub percentage: Option<Percent>,
}

/// A share, as istiod hands it on: in parts of a million.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Percent {
    /// So many of a million; 10 000 are 1 %.
    #[serde(rename = "value", deserialize_with = "per_million")]
    pub per_million: u32,
}

/// Reads a percentage as istiod's webhook does: zero, or from 0.0001 to 100.
fn per_million<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let percent = f64::deserialize(deserializer)?;
    if percent != 0.0 && !(0.0001..=100.0).contains(&percent) {
        return Err(de::Error::custom(format!("expected 0 or a percentage from 0.0001 to 100, found {percent}")));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is at most 1 000 000")]
    Ok((percent * 10_000.0) as u32)
}
