//! Whether an RPC is held back or fails on purpose (gRFC A33).
//!
//! Each RPC is judged once, before its first attempt; attempts that follow are not. Whether it is held back and whether
//! it fails are two draws, and an RPC may meet both: then it waits first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hermesh_runtime::Draws;
use http::HeaderMap;
use tonic::Code;

use crate::resource::{FaultPolicy, Fraction, code_of_grpc, code_of_http};

/// What an RPC that fails on purpose says.
pub const MESSAGE: &str = "RPC terminated due to fault injection";

/// How long to hold an RPC back, in milliseconds.
pub const DELAY: &str = "x-envoy-fault-delay-request";
/// Which share of such RPCs is held back: a numerator that counts if it is below the policy's.
pub const DELAY_PERCENTAGE: &str = "x-envoy-fault-delay-request-percentage";
/// The HTTP status to fail with; takes precedence.
pub const ABORT_HTTP: &str = "x-envoy-fault-abort-request";
/// The gRPC status to fail with.
pub const ABORT_GRPC: &str = "x-envoy-fault-abort-grpc-request";
/// Which share of such RPCs fails: a numerator that counts if it is below the policy's.
pub const ABORT_PERCENTAGE: &str = "x-envoy-fault-abort-request-percentage";

/// The faults that one RPC meets.
#[derive(Debug, Default)]
pub struct Injection {
    /// How long it is held back.
    pub delay: Option<Duration>,
    /// What it ends with after that. With OK it ends at once, and without a message.
    pub abort: Option<Code>,
    /// Counts as an active fault while it is held.
    _active: Option<Active>,
}

/// How many faults are under way in a process.
#[derive(Clone, Debug, Default)]
pub struct ActiveFaults(Arc<AtomicU32>);

/// One fault under way.
#[derive(Debug)]
struct Active(Arc<AtomicU32>);

impl FaultPolicy {
    /// What an RPC with these headers meets. A draw is taken for each fault that it could meet.
    #[must_use]
    pub fn judge(&self, headers: &HeaderMap, active: &ActiveFaults, draws: &mut Draws) -> Injection {
        let delay = self.draw_delay(headers, draws);
        let abort = self.draw_abort(headers, draws);
        if delay.is_none() && abort.is_none() {
            return Injection::default();
        }
        match active.begin(self.max_active_faults) {
            Some(begun) => Injection { delay, abort, _active: Some(begun) },
            None => Injection::default(),
        }
    }

    fn draw_delay(&self, headers: &HeaderMap, draws: &mut Draws) -> Option<Duration> {
        let policy = self.delay?;
        let (delay, fraction) = match policy.fixed {
            Some(delay) => (delay, policy.fraction),
            None => {
                let delay = Duration::from_millis(number(headers, DELAY)?.into());
                (delay, policy.fraction.lowered_by(headers, DELAY_PERCENTAGE))
            }
        };
        (!delay.is_zero() && fraction.takes(draws)).then_some(delay)
    }

    fn draw_abort(&self, headers: &HeaderMap, draws: &mut Draws) -> Option<Code> {
        let policy = self.abort?;
        let (code, fraction) = match policy.fixed {
            Some(code) => (code, policy.fraction),
            None => {
                let code = if headers.contains_key(ABORT_HTTP) {
                    code_of_http(number(headers, ABORT_HTTP)?)?
                } else {
                    code_of_grpc(number(headers, ABORT_GRPC)?)
                };
                (code, policy.fraction.lowered_by(headers, ABORT_PERCENTAGE))
            }
        };
        fraction.takes(draws).then_some(code)
    }
}

impl Fraction {
    /// A percentage that is no number is as if it were not there.
    fn lowered_by(self, headers: &HeaderMap, name: &str) -> Self {
        let numerator = number(headers, name).map_or(self.numerator, |number| number.min(self.numerator));
        Self { numerator, ..self }
    }

    fn takes(self, draws: &mut Draws) -> bool {
        draws.below(self.denominator.into()) < u64::from(self.numerator)
    }
}

impl ActiveFaults {
    /// One more, unless there are as many as there may be.
    fn begin(&self, max: Option<u32>) -> Option<Active> {
        if max.is_some_and(|max| self.0.load(Ordering::Relaxed) >= max) {
            return None;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Active(self.0.clone()))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The last value of a header, if it is a number.
fn number(headers: &HeaderMap, name: &str) -> Option<u32> {
    headers.get_all(name).iter().next_back()?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::resource::{FaultAbort, FaultDelay};

    const ALWAYS: Fraction = Fraction { numerator: 100, denominator: 100 };
    const HALF: Fraction = Fraction { numerator: 500_000, denominator: 1_000_000 };

    fn aborting(fixed: Option<Code>, fraction: Fraction) -> FaultPolicy {
        FaultPolicy { abort: Some(FaultAbort { fixed, fraction }), ..FaultPolicy::default() }
    }

    fn delaying(fixed: Option<Duration>, fraction: Fraction) -> FaultPolicy {
        FaultPolicy { delay: Some(FaultDelay { fixed, fraction }), ..FaultPolicy::default() }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    fn judge(policy: &FaultPolicy, pairs: &[(&'static str, &'static str)]) -> (Option<u128>, Option<Code>) {
        let met = policy.judge(&headers(pairs), &ActiveFaults::default(), &mut Draws::new(1, "test", 0));
        (met.delay.map(|delay| delay.as_millis()), met.abort)
    }

    #[test]
    fn what_is_fixed_takes_its_share_whatever_the_headers_say() {
        for (fraction, expected) in [
            (HALF, 19_400..20_600),
            (Fraction { numerator: 5, denominator: 100 }, 1_800..2_200),
            (Fraction { numerator: 2_500, denominator: 10_000 }, 9_600..10_400),
            (ALWAYS, 40_000..40_001),
            (Fraction { numerator: 0, denominator: 100 }, 0..1),
        ] {
            let policy = aborting(Some(Code::Aborted), fraction);
            let (active, mut draws) = (ActiveFaults::default(), Draws::new(1, "test", 0));
            let headers = headers(&[(ABORT_PERCENTAGE, "0"), (ABORT_GRPC, "3")]);
            let met: Vec<_> = (0..40_000).filter_map(|_| policy.judge(&headers, &active, &mut draws).abort).collect();
            assert!(expected.contains(&met.len()), "{fraction:?}: {}", met.len());
            assert!(met.iter().all(|code| *code == Code::Aborted));
        }
    }

    #[test]
    fn delay_and_abort_are_drawn_apart() {
        let both = FaultPolicy {
            abort: aborting(Some(Code::Aborted), HALF).abort,
            ..delaying(Some(Duration::from_secs(1)), HALF)
        };
        let (active, mut draws) = (ActiveFaults::default(), Draws::new(1, "test", 0));
        let mut seen = [0; 4];
        for _ in 0..40_000 {
            let met = both.judge(&HeaderMap::new(), &active, &mut draws);
            seen[usize::from(met.delay.is_some()) + 2 * usize::from(met.abort.is_some())] += 1;
        }
        assert!(seen.iter().all(|count| (9_500..10_500).contains(count)), "{seen:?}");
        assert_eq!(draws.index(), 80_000);
    }

    #[test]
    fn headers_say_how_if_the_policy_leaves_it_to_them() {
        let policy = delaying(None, ALWAYS);
        for (pairs, expected) in [
            (&[][..], None),
            (&[(DELAY, "53")], Some(53)),
            (&[(DELAY, "0")], None),
            (&[(DELAY, "soon")], None),
            (&[(DELAY, "-5")], None),
            (&[(DELAY, "53"), (DELAY, "54")], Some(54)),
            (&[(DELAY, "53"), (DELAY_PERCENTAGE, "0")], None),
            (&[(DELAY, "53"), (DELAY_PERCENTAGE, "few")], Some(53)),
            (&[(DELAY, "53"), (DELAY_PERCENTAGE, "1000")], Some(53)),
            (&[(ABORT_HTTP, "503")], None),
        ] {
            assert_eq!(judge(&policy, pairs), (expected, None), "{pairs:?}");
        }
        let policy = aborting(None, ALWAYS);
        for (pairs, expected) in [
            (&[][..], None),
            (&[(ABORT_HTTP, "404")], Some(Code::Unimplemented)),
            (&[(ABORT_HTTP, "200")], Some(Code::Unknown)),
            (&[(ABORT_HTTP, "199")], None),
            (&[(ABORT_HTTP, "600")], None),
            (&[(ABORT_GRPC, "3")], Some(Code::InvalidArgument)),
            (&[(ABORT_GRPC, "0")], Some(Code::Ok)),
            (&[(ABORT_GRPC, "17")], Some(Code::Unknown)),
            (&[(ABORT_HTTP, "503"), (ABORT_GRPC, "3")], Some(Code::Unavailable)),
            (&[(ABORT_HTTP, "bad"), (ABORT_GRPC, "3")], None),
            (&[(ABORT_GRPC, "3"), (ABORT_PERCENTAGE, "0")], None),
            (&[(DELAY, "53")], None),
        ] {
            assert_eq!(judge(&policy, pairs), (None, expected), "{pairs:?}");
        }
    }

    #[test]
    fn a_percentage_in_the_headers_is_capped_by_the_policys() {
        let policy = aborting(None, Fraction { numerator: 10, denominator: 100 });
        for (percentage, expected) in [("5", 1_800..2_200), ("50", 3_700..4_300)] {
            let headers = headers(&[(ABORT_GRPC, "14"), (ABORT_PERCENTAGE, percentage)]);
            let (active, mut draws) = (ActiveFaults::default(), Draws::new(1, "test", 0));
            let met = (0..40_000).filter(|_| policy.judge(&headers, &active, &mut draws).abort.is_some()).count();
            assert!(expected.contains(&met), "{percentage}: {met}");
        }
    }

    #[test]
    fn no_more_faults_begin_than_may_be_under_way() {
        let policy = FaultPolicy { max_active_faults: Some(2), ..delaying(Some(Duration::from_secs(1)), ALWAYS) };
        let (active, mut draws) = (ActiveFaults::default(), Draws::new(1, "test", 0));
        let mut met = || policy.judge(&HeaderMap::new(), &active, &mut draws);
        let (first, second) = (met(), met());
        assert!(first.delay.is_some() && second.delay.is_some());
        assert!(met().delay.is_none());
        drop(first);
        let third = met();
        assert!(third.delay.is_some() && met().delay.is_none());
        let none = FaultPolicy { max_active_faults: Some(0), ..policy.clone() };
        assert!(none.judge(&HeaderMap::new(), &ActiveFaults::default(), &mut Draws::new(1, "test", 0)).delay.is_none());
    }

    #[test]
    fn an_http_status_becomes_the_code_of_the_mapping() {
        for (status, code) in [
            (400, Code::Internal),
            (401, Code::Unauthenticated),
            (403, Code::PermissionDenied),
            (404, Code::Unimplemented),
            (429, Code::Unavailable),
            (502, Code::Unavailable),
            (503, Code::Unavailable),
            (504, Code::Unavailable),
            (200, Code::Unknown),
            (500, Code::Unknown),
            (599, Code::Unknown),
        ] {
            assert_eq!(code_of_http(status), Some(code), "{status}");
        }
        assert_eq!((code_of_http(199), code_of_http(600)), (None, None));
    }
}
