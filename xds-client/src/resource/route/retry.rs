//! Retry policies of routes and virtual hosts (gRFC A44).

use std::collections::BTreeSet;
use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3 as proto;

use crate::resource::DecodeError;
use crate::resource::decode::duration;

/// The first pause of a policy that does not say.
const DEFAULT_BASE_INTERVAL: Duration = Duration::from_millis(25);
/// No interval is shorter.
const MIN_INTERVAL: Duration = Duration::from_millis(1);
/// The longest pause of a policy that does not say, in first pauses.
const DEFAULT_MAX_FACTOR: u32 = 10;
/// No RPC is attempted more often (gRFC A6).
const MAX_ATTEMPTS: u32 = 5;

/// Which failures are retried, how often and after which pauses (A44).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Empty means that nothing is retried.
    pub retry_on: BTreeSet<RetryOn>,
    /// How many attempts may follow the first; at least 1.
    pub num_retries: u32,
    /// The first pause is around this long.
    pub base_interval: Duration,
    /// No pause is longer, jitter apart.
    pub max_interval: Duration,
}

impl RetryPolicy {
    /// How many attempts there may be in all: never more than five (A6). grpc-go does not cap them here.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        if self.retry_on.is_empty() { 1 } else { self.num_retries.saturating_add(1).min(MAX_ATTEMPTS) }
    }
}

/// A status code that may be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the variants are gRPC's status codes")]
pub enum RetryOn {
    Cancelled,
    DeadlineExceeded,
    Internal,
    ResourceExhausted,
    Unavailable,
}

impl RetryOn {
    /// The status code.
    #[must_use]
    pub fn code(self) -> tonic::Code {
        match self {
            Self::Cancelled => tonic::Code::Cancelled,
            Self::DeadlineExceeded => tonic::Code::DeadlineExceeded,
            Self::Internal => tonic::Code::Internal,
            Self::ResourceExhausted => tonic::Code::ResourceExhausted,
            Self::Unavailable => tonic::Code::Unavailable,
        }
    }
}

/// Tokens of `retry_on` that mean a gRPC status code.
const TOKENS: [(&str, RetryOn); 5] = [
    ("cancelled", RetryOn::Cancelled),
    ("deadline-exceeded", RetryOn::DeadlineExceeded),
    ("internal", RetryOn::Internal),
    ("resource-exhausted", RetryOn::ResourceExhausted),
    ("unavailable", RetryOn::Unavailable),
];

pub(super) fn read(proto: &proto::RetryPolicy) -> Result<RetryPolicy, DecodeError> {
    let retry_on = proto
        .retry_on
        .split(',')
        .filter_map(|token| {
            let token = token.trim().to_lowercase();
            TOKENS.iter().find(|(name, _)| *name == token).map(|(_, on)| *on)
        })
        .collect();
    let num_retries = proto.num_retries.map_or(1, |retries| retries.value);
    if num_retries == 0 {
        return Err(DecodeError::new("retry_policy.num_retries = 0; must be >= 1"));
    }
    let mut base_interval = DEFAULT_BASE_INTERVAL;
    let mut max_interval = None;
    if let Some(backoff) = &proto.retry_back_off {
        let positive = |field: &str, proto| match duration(field, proto) {
            Ok(Duration::ZERO) | Err(_) => Err(DecodeError::new(format!("retry_policy.{field} must be > 0"))),
            Ok(interval) => Ok(interval.max(MIN_INTERVAL)),
        };
        // gRPC reads an unset base_interval as the default; the API requires it.
        if let Some(base) = &backoff.base_interval {
            base_interval = positive("base_interval", base)?;
        }
        max_interval = backoff.max_interval.as_ref().map(|max| positive("max_interval", max)).transpose()?;
    }
    let max_interval = max_interval.unwrap_or(base_interval * DEFAULT_MAX_FACTOR).max(base_interval);
    Ok(RetryPolicy { retry_on, num_retries, base_interval, max_interval })
}
