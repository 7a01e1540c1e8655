//! What istiod's validation webhook refuses of faults that routes inject, and which of them never happen.
//!
//! Source: Istio `pkg/config/validation/validation.go` (`validateHTTPFaultInjection`).

use super::Check;
use crate::objects::{GRPC_STATUSES, HttpFaultInjection};
use crate::yaml::nearest;

pub(super) fn fault(check: &mut Check<'_>, path: &str, injection: &HttpFaultInjection) {
    if injection.delay.is_none() && injection.abort.is_none() && check.is_whole(path) {
        check.error("missing-field", path, "needs a delay or an abort");
    }
    let never = |check: &mut Check<'_>, path: &str, what: &str| {
        check.warning("never-happens", path, format!("without a percentage no call is {what}"));
    };
    if let Some(delay) = &injection.delay {
        let path = format!("{path}.delay");
        if delay.fixed_delay.is_none() && check.is_whole(&path) {
            check.warning("never-happens", &path, "without a fixedDelay no call is held back");
        }
        if !(0..=100).contains(&delay.percent) {
            let message = format!("expected a percentage from 0 to 100, found {}", delay.percent);
            check.error("out-of-range", &format!("{path}.percent"), message);
        }
        if !check.is_given(&format!("{path}.percentage")) && !check.is_given(&format!("{path}.percent")) {
            never(check, &path, "held back");
        }
    }
    if let Some(abort) = &injection.abort {
        let path = format!("{path}.abort");
        check.only_one(&path, &["httpStatus", "grpcStatus"], "expected one of httpStatus or grpcStatus");
        if abort.http_status.is_none() && abort.grpc_status.is_none() && check.is_whole(&path) {
            check.warning("never-happens", &path, "without httpStatus or grpcStatus no call is aborted");
        }
        if let Some(status) = abort.http_status
            && !(200..=599).contains(&status)
        {
            let message = format!("expected an HTTP status from 200 to 599, found {status}");
            check.error("out-of-range", &format!("{path}.httpStatus"), message);
        }
        if let Some(name) = &abort.grpc_status
            && !GRPC_STATUSES.contains(&name.as_str())
        {
            let near = nearest(name, GRPC_STATUSES);
            let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            check.error("invalid-value", &format!("{path}.grpcStatus"), format!("unknown gRPC status {name:?}{meant}"));
        }
        if !check.is_given(&format!("{path}.percentage")) {
            never(check, &path, "aborted");
        }
    }
}
