//! Whether a failed attempt is followed by another, and when (gRFC A6, A44).
//!
//! Only failures before the server sent response headers count: a status in a trailers-only response, a connection
//! lost, or no connection to pick. All attempts of an RPC go to the cluster that its route chose.

use std::time::Duration;

use hermesh_runtime::Draws;
use http::HeaderMap;
use tonic::Code;

use crate::resource::RetryPolicy;

/// How many attempts came before this one, told to the server from the second attempt on.
pub const PREVIOUS_ATTEMPTS: &str = "grpc-previous-rpc-attempts";
/// The server's word on when to retry.
pub const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The attempts of one RPC.
#[derive(Clone, Debug)]
pub struct Attempts<'a> {
    policy: Option<&'a RetryPolicy>,
    failed: u32,
    since_pushback: i32,
}

/// What follows a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Another attempt after this pause.
    Retry(Duration),
    /// The RPC fails as the attempt did.
    Fail,
    /// The RPC fails, since this was the last of several attempts.
    Exhausted {
        /// How many there were.
        attempts: u32,
    },
}

impl<'a> Attempts<'a> {
    /// Before the first attempt. Without a policy nothing is retried.
    #[must_use]
    pub fn new(policy: Option<&'a RetryPolicy>) -> Self {
        Self { policy: policy.filter(|policy| policy.max_attempts() > 1), failed: 0, since_pushback: 0 }
    }

    /// How many attempts have failed so far.
    #[must_use]
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// An attempt failed with `code`; `trailers` are those of the response, if there was one. Takes one draw when the
    /// pause is the policy's.
    pub fn after_failure(&mut self, code: Code, trailers: Option<&HeaderMap>, draws: &mut Draws) -> Verdict {
        self.failed += 1;
        let Some(policy) = self.policy else { return Verdict::Fail };
        if !policy.retry_on.iter().any(|retry_on| retry_on.code() == code) {
            return Verdict::Fail;
        }
        let pushback = Pushback::read(trailers);
        if pushback == Pushback::Stop {
            return Verdict::Fail;
        }
        if self.failed >= policy.max_attempts() {
            return Verdict::Exhausted { attempts: self.failed };
        }
        if let Pushback::Wait(pause) = pushback {
            self.since_pushback = 0;
            return Verdict::Retry(pause);
        }
        let step = policy.base_interval.as_secs_f64() * MULTIPLIER.powi(self.since_pushback);
        let step = step.min(policy.max_interval.as_secs_f64());
        self.since_pushback += 1;
        Verdict::Retry(Duration::from_secs_f64(step * (LEAST_JITTER + JITTER_WIDTH * draws.fraction())))
    }
}

const MULTIPLIER: f64 = 2.0;
const LEAST_JITTER: f64 = 0.8;
const JITTER_WIDTH: f64 = 0.4;

/// `grpc-retry-pushback-ms`: negative, or no number, means not to retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushback {
    None,
    Wait(Duration),
    Stop,
}

impl Pushback {
    fn read(trailers: Option<&HeaderMap>) -> Self {
        let Some(value) = trailers.and_then(|trailers| trailers.get(PUSHBACK)) else { return Self::None };
        match value.to_str().ok().and_then(|value| value.parse::<u32>().ok()) {
            Some(ms) => Self::Wait(Duration::from_millis(ms.into())),
            None => Self::Stop,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;
    use crate::resource::RetryOn;

    /// What Istio sends unless told otherwise, as far as gRPC looks at it.
    fn istio_default() -> RetryPolicy {
        RetryPolicy {
            retry_on: [RetryOn::Unavailable, RetryOn::Cancelled].into(),
            num_retries: 2,
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
        }
    }

    fn draws() -> Draws {
        Draws::new(1, "test", 0)
    }

    fn pushback(value: &'static str) -> HeaderMap {
        [(http::HeaderName::from_static(PUSHBACK), HeaderValue::from_static(value))].into_iter().collect()
    }

    #[test]
    fn istios_default_policy_makes_three_attempts() {
        let policy = istio_default();
        let mut attempts = Attempts::new(Some(&policy));
        for step in [0.025, 0.050] {
            let Verdict::Retry(pause) = attempts.after_failure(Code::Unavailable, None, &mut draws()) else {
                panic!("an unavailable server is tried again")
            };
            assert!((0.8 * step..1.2 * step).contains(&pause.as_secs_f64()), "{pause:?}");
        }
        let verdict = attempts.after_failure(Code::Unavailable, None, &mut draws());
        assert_eq!(verdict, Verdict::Exhausted { attempts: 3 });
    }

    #[test]
    fn other_codes_are_not_retried() {
        let policy = istio_default();
        for code in [Code::Unknown, Code::DeadlineExceeded, Code::Internal, Code::Unimplemented] {
            let mut attempts = Attempts::new(Some(&policy));
            assert_eq!(attempts.after_failure(code, None, &mut draws()), Verdict::Fail, "{code:?}");
        }
        let mut attempts = Attempts::new(Some(&policy));
        assert_ne!(attempts.after_failure(Code::Cancelled, None, &mut draws()), Verdict::Fail);
    }

    #[test]
    fn without_a_policy_or_with_an_empty_one_nothing_is_retried() {
        assert_eq!(Attempts::new(None).after_failure(Code::Unavailable, None, &mut draws()), Verdict::Fail);
        let empty = RetryPolicy { retry_on: [].into(), ..istio_default() };
        let verdict = Attempts::new(Some(&empty)).after_failure(Code::Unavailable, None, &mut draws());
        assert_eq!(verdict, Verdict::Fail);
    }

    #[test]
    fn the_server_decides_the_pause_or_stops_the_retries() {
        let policy = istio_default();
        for (value, expected) in [
            ("0", Verdict::Retry(Duration::ZERO)),
            ("1500", Verdict::Retry(Duration::from_millis(1500))),
            ("-1", Verdict::Fail),
            ("soon", Verdict::Fail),
        ] {
            let mut attempts = Attempts::new(Some(&policy));
            let verdict = attempts.after_failure(Code::Unavailable, Some(&pushback(value)), &mut draws());
            assert_eq!(verdict, expected, "{value}");
        }
    }

    #[test]
    fn a_pushback_starts_the_backoff_anew_but_counts_as_an_attempt() {
        let policy = RetryPolicy { num_retries: 4, ..istio_default() };
        let mut attempts = Attempts::new(Some(&policy));
        attempts.after_failure(Code::Unavailable, None, &mut draws());
        attempts.after_failure(Code::Unavailable, None, &mut draws());
        attempts.after_failure(Code::Unavailable, Some(&pushback("10")), &mut draws());
        let Verdict::Retry(pause) = attempts.after_failure(Code::Unavailable, None, &mut draws()) else {
            panic!("the fourth of five attempts is followed by another")
        };
        assert!(pause <= Duration::from_millis(30), "{pause:?}");
        let verdict = attempts.after_failure(Code::Unavailable, None, &mut draws());
        assert_eq!(verdict, Verdict::Exhausted { attempts: 5 });
    }

    proptest! {
        #[test]
        fn no_policy_asks_for_more_than_five_attempts(num_retries in 1u32.., seed: u64) {
            let policy = RetryPolicy { num_retries, ..istio_default() };
            let mut attempts = Attempts::new(Some(&policy));
            let mut draws = Draws::new(seed, "test", 0);
            let mut pauses = 0;
            while let Verdict::Retry(pause) = attempts.after_failure(Code::Unavailable, None, &mut draws) {
                prop_assert!(pause <= Duration::from_millis(300));
                pauses += 1;
            }
            prop_assert_eq!(pauses, num_retries.min(4));
        }
    }
}
