//! Faults that routes inject.
//!
//! Source: Istio `pilot/pkg/networking/core/route/route.go` (`TranslateFault`). The listener has the filter for them
//! without a fault; each route brings its own.

use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as filter;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf::Any;

use super::proto;
use crate::objects::{GRPC_STATUSES, HttpFaultAbort, HttpFaultDelay, HttpFaultInjection, Percent};

/// The filter's name in the listener.
pub(super) const FILTER: &str = "envoy.filters.http.fault";

/// What a route says to the filter; nothing if there is neither delay nor abort.
pub(super) fn filter_config(fault: &HttpFaultInjection) -> Option<(String, Any)> {
    let delay = fault.delay.as_ref().and_then(delay);
    let abort = fault.abort.as_ref().and_then(abort);
    if delay.is_none() && abort.is_none() {
        return None;
    }
    let fault = filter::HttpFault { delay, abort, ..filter::HttpFault::default() };
    Some((FILTER.to_owned(), proto::any(&fault)))
}

fn delay(delay: &HttpFaultDelay) -> Option<common::FaultDelay> {
    let whole = || FractionalPercent {
        numerator: u32::try_from(delay.percent).unwrap_or_default(),
        denominator: DenominatorType::Hundred.into(),
    };
    Some(common::FaultDelay {
        percentage: Some(delay.percentage.map_or_else(whole, fraction)),
        fault_delay_secifier: Some(common::fault_delay::FaultDelaySecifier::FixedDelay(proto::duration(
            delay.fixed_delay?,
        ))),
    })
}

fn abort(abort: &HttpFaultAbort) -> Option<filter::FaultAbort> {
    use filter::fault_abort::ErrorType;
    let number = |name: &String| GRPC_STATUSES.iter().position(|status| status == name).unwrap_or_default();
    let error_type = match (abort.http_status, &abort.grpc_status) {
        (Some(status), _) => ErrorType::HttpStatus(u32::try_from(status).ok()?),
        (None, Some(name)) => ErrorType::GrpcStatus(u32::try_from(number(name)).ok()?),
        (None, None) => return None,
    };
    Some(filter::FaultAbort {
        percentage: abort.percentage.map(fraction),
        error_type: Some(error_type),
        ..filter::FaultAbort::default()
    })
}

fn fraction(percent: Percent) -> FractionalPercent {
    FractionalPercent { numerator: percent.per_million, denominator: DenominatorType::Million.into() }
}
