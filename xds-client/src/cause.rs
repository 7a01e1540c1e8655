//! Why an RPC failed: the closed vocabulary that reports and expectations use.

use std::fmt;

use hermesh_runtime::EventId;
use serde::Serialize;
use tonic::{Code, Status};

use crate::rbac::is_denial;

/// The kind of thing that made an RPC fail. Message texts may change; these may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The listener, the route configuration or the virtual host of the target is missing or refused.
    NameResolution,
    /// No route of the virtual host matched, or its action is not one a client can take.
    NoRoute,
    /// The cluster the route chose is missing or refused.
    NoCluster,
    /// The cluster has no endpoint that may be used.
    NoEndpoints,
    /// The cluster's `drop_overload` policy dropped the RPC on purpose (EDS).
    Dropped,
    /// As many RPCs to the cluster are in flight as its circuit breaker's `max_requests` allows (gRFC A32).
    MaxRequests,
    /// The RPC was to fail: the route injects faults (gRFC A33).
    FaultInjected,
    /// No TCP connection: refused, unreachable or timed out.
    TcpConnect,
    /// TCP connected, the TLS handshake failed.
    TlsHandshake,
    /// A connection broke, before or after it carried the RPC.
    ConnectionLost,
    /// The deadline of the application or of the route passed.
    Deadline,
    /// The server answered with this status.
    Application,
    /// The server's RBAC policies do not let the RPC in (gRFC A41).
    RbacDenied,
    /// The peer accepted the connection and closed it without a word, as an xDS server does that is not serving.
    XdsServerNotServing,
}

/// A failure on its way to the RPCs it fails: what they will say, and the event they will give as their cause.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// The message of the status.
    pub message: String,
    /// The kind.
    pub cause: Cause,
    /// The event that recorded it.
    pub event: Option<EventId>,
}

impl Cause {
    /// What a status says that a server sent. DEADLINE_EXCEEDED is its word on the deadline that both ends keep. That
    /// the server's policies and not the application deny an RPC, only the message tells.
    pub(crate) fn of_answer(code: Code, message: &str) -> Option<Self> {
        match code {
            Code::Ok => None,
            Code::DeadlineExceeded => Some(Self::Deadline),
            Code::PermissionDenied if is_denial(message) => Some(Self::RbacDenied),
            _ => Some(Self::Application),
        }
    }
}

impl Failure {
    /// A failure that no event recorded.
    pub fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { message: message.into(), cause, event: None }
    }

    /// The same failure, recorded by `event`.
    #[must_use]
    pub fn because(mut self, event: Option<EventId>) -> Self {
        self.event = event.or(self.event);
        self
    }

    /// The status of an RPC that fails for this before it reached any server: always UNAVAILABLE (gRFC A54 forbids a
    /// control plane to choose another).
    #[must_use]
    pub fn status(&self) -> Status {
        let code = if self.cause == Cause::Deadline { Code::DeadlineExceeded } else { Code::Unavailable };
        Status::new(code, self.message.clone())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
