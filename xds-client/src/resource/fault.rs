//! Which faults a client injects into its RPCs (gRFC A33).

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::common::fault::v3 as common;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3 as proto;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use tonic::Code;

use crate::resource::DecodeError;
use crate::resource::decode::duration;

/// `envoy.extensions.filters.http.fault.v3.HTTPFault`. What it may say of clusters, nodes, headers and the response's
/// rate has no effect in gRPC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPolicy {
    /// RPCs are held back before anything is sent.
    pub delay: Option<FaultDelay>,
    /// RPCs fail before anything is sent.
    pub abort: Option<FaultAbort>,
    /// How many faults may be under way in the process for another to begin.
    pub max_active_faults: Option<u32>,
}

/// Which RPCs are held back, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultDelay {
    /// How long; `None` if the RPC's headers say so.
    pub fixed: Option<Duration>,
    /// Which share of the RPCs.
    pub fraction: Fraction,
}

/// Which RPCs fail, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultAbort {
    /// With which code; `None` if the RPC's headers say so.
    pub fixed: Option<Code>,
    /// Which share of the RPCs.
    pub fraction: Fraction,
}

/// `envoy.type.v3.FractionalPercent`; headers may lower the numerator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fraction {
    /// So many.
    pub numerator: u32,
    /// Of so many.
    pub denominator: u32,
}

impl FaultPolicy {
    pub(super) fn from_proto(proto: &proto::HttpFault) -> Result<Self, DecodeError> {
        Ok(Self {
            delay: proto.delay.as_ref().map(read_delay).transpose()?.flatten(),
            abort: proto.abort.as_ref().and_then(read_abort),
            max_active_faults: proto.max_active_faults.map(|max| max.value),
        })
    }
}

/// The code that a client makes of an HTTP status that no gRPC status came with (`doc/http-grpc-status-mapping.md`);
/// none if it is no status at all.
#[must_use]
pub fn code_of_http(status: u32) -> Option<Code> {
    Some(match status {
        400 => Code::Internal,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502 | 503 | 504 => Code::Unavailable,
        200..=599 => Code::Unknown,
        _ => return None,
    })
}

/// A number as a gRPC status; those that mean nothing are UNKNOWN.
#[must_use]
pub fn code_of_grpc(number: u32) -> Code {
    i32::try_from(number).map_or(Code::Unknown, Code::from_i32)
}

fn read_delay(proto: &common::FaultDelay) -> Result<Option<FaultDelay>, DecodeError> {
    use common::fault_delay::FaultDelaySecifier;
    let fixed = match &proto.fault_delay_secifier {
        Some(FaultDelaySecifier::FixedDelay(delay)) => Some(duration("fixed_delay", delay)?),
        Some(FaultDelaySecifier::HeaderDelay(_)) => None,
        None => return Ok(None),
    };
    Ok(Some(FaultDelay { fixed, fraction: read_fraction(proto.percentage.as_ref()) }))
}

/// A status that is none fails no RPC.
fn read_abort(proto: &proto::FaultAbort) -> Option<FaultAbort> {
    use proto::fault_abort::ErrorType;
    let fixed = match proto.error_type {
        Some(ErrorType::HttpStatus(status)) => Some(code_of_http(status)?),
        Some(ErrorType::GrpcStatus(number)) => Some(code_of_grpc(number)),
        Some(ErrorType::HeaderAbort(_)) => None,
        None => return None,
    };
    Some(FaultAbort { fixed, fraction: read_fraction(proto.percentage.as_ref()) })
}

/// Nothing said is none of a hundred.
fn read_fraction(proto: Option<&FractionalPercent>) -> Fraction {
    let Some(proto) = proto else { return Fraction { numerator: 0, denominator: 100 } };
    let denominator = match DenominatorType::try_from(proto.denominator) {
        Ok(DenominatorType::Million) => 1_000_000,
        Ok(DenominatorType::TenThousand) => 10_000,
        Ok(DenominatorType::Hundred) | Err(_) => 100,
    };
    Fraction { numerator: proto.numerator, denominator }
}
