//! Retry policies.
//!
//! Source: Istio `pilot/pkg/networking/core/route/retry/retry.go`. gRPC retries UNAVAILABLE and CANCELLED twice by
//! it, for every client of the mesh.

use envoy_types::pb::envoy::config::route::v3 as route;
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;

use super::proto;
use crate::objects::HttpRetry;

const DEFAULT_RETRY_ON: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
const RETRIABLE_STATUS_CODES: &str = "retriable-status-codes";

/// The policy of a route without one of its own.
pub(super) fn default_policy() -> route::RetryPolicy {
    let previous_hosts = route::retry_policy::RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(route::retry_policy::retry_host_predicate::ConfigType::TypedConfig(proto::any(
            &PreviousHostsPredicate {},
        ))),
    };
    route::RetryPolicy {
        retry_on: DEFAULT_RETRY_ON.to_owned(),
        num_retries: Some(proto::uint32(2)),
        retry_host_predicate: vec![previous_hosts],
        host_selection_retry_max_attempts: 5,
        ..route::RetryPolicy::default()
    }
}

/// A route's policy; none if it turns retries off.
pub(super) fn policy(retries: Option<&HttpRetry>) -> Option<route::RetryPolicy> {
    let Some(retries) = retries else { return Some(default_policy()) };
    let attempts = u32::try_from(retries.attempts).ok().filter(|attempts| *attempts > 0)?;
    let mut policy = route::RetryPolicy {
        num_retries: Some(proto::uint32(attempts)),
        per_try_timeout: retries.per_try_timeout.map(proto::duration),
        retry_back_off: retries.backoff.map(|backoff| route::retry_policy::RetryBackOff {
            base_interval: Some(proto::duration(backoff)),
            max_interval: None,
        }),
        ..default_policy()
    };
    if !retries.retry_on.is_empty() {
        (policy.retry_on, policy.retriable_status_codes) = retry_on(&retries.retry_on);
    }
    Some(policy)
}

/// HTTP status numbers become status codes, and the word that makes them count is added.
fn retry_on(text: &str) -> (String, Vec<u32>) {
    let status = |token: &str| token.parse().ok().filter(|status| (100..=599).contains(status));
    let tokens = || text.split(',').map(str::trim).filter(|token| !token.is_empty());
    let codes: Vec<u32> = tokens().filter_map(status).collect();
    let mut words: Vec<&str> = tokens().filter(|token| status(token).is_none()).collect();
    if !codes.is_empty() && !words.contains(&RETRIABLE_STATUS_CODES) {
        words.push(RETRIABLE_STATUS_CODES);
    }
    (words.join(","), codes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn status_numbers_become_status_codes() {
        assert_eq!(retry_on("unavailable, cancelled"), ("unavailable,cancelled".to_owned(), vec![]));
        assert_eq!(retry_on("503,unavailable,429"), ("unavailable,retriable-status-codes".to_owned(), vec![503, 429]));
        assert_eq!(retry_on("700"), ("700".to_owned(), vec![]));
    }

    #[test]
    fn a_route_without_retries_has_the_default_and_zero_attempts_turn_them_off() {
        assert_eq!(policy(None), Some(default_policy()));
        assert_eq!(policy(Some(&HttpRetry::default())), None);
        let three = HttpRetry { attempts: 3, backoff: Some(Duration::from_millis(50)), ..HttpRetry::default() };
        let three = policy(Some(&three)).unwrap();
        assert_eq!(three.num_retries, Some(proto::uint32(3)));
        assert_eq!(three.retry_on, DEFAULT_RETRY_ON);
        assert_eq!(three.retry_back_off.unwrap().base_interval.unwrap().nanos, 50_000_000);
    }
}
