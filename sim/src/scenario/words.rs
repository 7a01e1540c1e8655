//! The closed vocabularies of expectations: status codes and causes. Message texts may change; these may not.

use hermesh_istiod::objects::GRPC_STATUSES;

/// gRPC's status codes but `OK`, as the specification spells them.
pub(super) const CODES: &[&str] = GRPC_STATUSES.split_at(1).1;

/// With `OK`.
pub(super) const ALL_CODES: &[&str] = &GRPC_STATUSES;

/// Why a call failed, as `rpc.finished` events say it.
pub(super) const CAUSES: [&str; 14] = [
    "name-resolution",
    "no-route",
    "no-cluster",
    "no-endpoints",
    "dropped",
    "max-requests",
    "fault-injected",
    "tcp-connect",
    "tls-handshake",
    "connection-lost",
    "deadline",
    "application",
    "rbac-denied",
    "xds-server-not-serving",
];

/// The specification's name of a code (`grpc/doc/statuscodes.md`).
#[must_use]
pub(super) fn code_name(code: tonic::Code) -> &'static str {
    match code as i32 {
        0 => "OK",
        code => usize::try_from(code - 1).ok().and_then(|index| CODES.get(index)).copied().unwrap_or("UNKNOWN"),
    }
}

/// The code that the specification calls so.
pub(super) fn code_of(name: &str) -> tonic::Code {
    let number = CODES.iter().position(|code| *code == name).map_or(2, |index| index + 1);
    tonic::Code::from_i32(i32::try_from(number).unwrap_or(2))
}

/// The specification's name of a code that events give in Rust's spelling, such as `DeadlineExceeded`.
pub(super) fn code_named(rust: &str) -> &'static str {
    let same = |name: &&&str| name.replace('_', "").eq_ignore_ascii_case(rust);
    CODES.iter().find(same).copied().unwrap_or("UNKNOWN")
}

/// The specification's name of a code that grpc-go's texts give, such as `DeadlineExceeded`; it spells one of them in
/// its own way.
pub(super) fn code_in_go(go: &str) -> &'static str {
    if go == "Canceled" { code_name(tonic::Code::Cancelled) } else { code_named(go) }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    #[test]
    fn codes_stand_in_the_order_of_their_numbers() {
        assert_eq!(code_name(Code::Ok), "OK");
        assert_eq!(code_name(Code::Unavailable), "UNAVAILABLE");
        assert_eq!(code_name(Code::Unauthenticated), "UNAUTHENTICATED");
        for number in 1..=16 {
            let code = Code::from_i32(number);
            assert_eq!(code_named(&format!("{code:?}")), code_name(code));
            assert_eq!(code_of(code_name(code)), code);
        }
        assert_eq!(code_in_go("Canceled"), "CANCELLED");
        assert_eq!(code_in_go("DeadlineExceeded"), "DEADLINE_EXCEEDED");
    }

    #[test]
    fn causes_are_those_the_client_tells() {
        use hermesh_xds::cause::Cause;
        let told = [
            Cause::NameResolution,
            Cause::NoRoute,
            Cause::NoCluster,
            Cause::NoEndpoints,
            Cause::Dropped,
            Cause::MaxRequests,
            Cause::FaultInjected,
            Cause::TcpConnect,
            Cause::TlsHandshake,
            Cause::ConnectionLost,
            Cause::Deadline,
            Cause::Application,
            Cause::RbacDenied,
            Cause::XdsServerNotServing,
        ];
        let names = told.map(|cause| serde_json::to_value(cause).unwrap());
        assert_eq!(names, CAUSES.map(serde_json::Value::from));
    }
}
