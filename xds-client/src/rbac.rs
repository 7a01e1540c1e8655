//! Whether a server takes an RPC (gRFC A41).
//!
//! Policies are looked at in the order of their names, and the first that matches decides; whether one matches does
//! not depend on the order, only whose name is given.

use std::net::SocketAddr;

use hermesh_runtime::tls::PeerCertificate;

use crate::resource::{HeaderMatcher, RbacAction, RbacMatcher, RbacPolicy, RbacRules};
use crate::routing::Metadata;

/// What messages of denials begin with; grpc-go says the same.
pub const DENIED: &str = "Incoming RPC is not allowed: ";

/// What gRPC's C core says instead.
const DENIED_BY_C_CORE: &str = "Unauthorized RPC rejected";

/// What policies see of an RPC.
#[derive(Clone, Copy, Debug)]
pub struct IncomingRpc<'a> {
    /// Such as `/echo.EchoService/Echo`.
    pub path: &'a str,
    /// Whom the client wants to speak to.
    pub authority: &'a str,
    /// What the application sent along.
    pub metadata: Metadata<'a>,
    /// The server's end of the connection.
    pub local: SocketAddr,
    /// The client's end.
    pub peer: SocketAddr,
    /// Who the client is.
    pub caller: Caller<'a>,
}

/// Who a client has proved to be.
#[derive(Clone, Copy, Debug)]
pub enum Caller<'a> {
    /// Anybody: the connection is plaintext.
    Plaintext,
    /// Whoever its certificate names; anybody again, behind TLS, if it showed none.
    Tls(Option<&'a PeerCertificate>),
}

/// What rules say of an RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision<'a> {
    /// It is let in, by the policy of this name, or because none denies it.
    Allowed(Option<&'a str>),
    /// It is denied, by the policy of this name, or because none allows it.
    Denied(Option<&'a str>),
}

impl RbacRules {
    /// What the rules say of an RPC.
    #[must_use]
    pub fn judge(&self, rpc: &IncomingRpc<'_>) -> Decision<'_> {
        let matching = self.policies.iter().find(|(_, policy)| policy.matches(rpc)).map(|(name, _)| name.as_str());
        match (self.action, matching) {
            (RbacAction::Allow, Some(name)) => Decision::Allowed(Some(name)),
            (RbacAction::Allow, None) => Decision::Denied(None),
            (RbacAction::Deny, Some(name)) => Decision::Denied(Some(name)),
            (RbacAction::Deny, None) => Decision::Allowed(None),
        }
    }
}

impl RbacPolicy {
    fn matches(&self, rpc: &IncomingRpc<'_>) -> bool {
        self.permissions.iter().any(|permission| permission.matches(rpc))
            && self.principals.iter().any(|principal| principal.matches(rpc))
    }
}

impl RbacMatcher {
    /// Whether an RPC matches.
    #[must_use]
    pub fn matches(&self, rpc: &IncomingRpc<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::All(matchers) => matchers.iter().all(|matcher| matcher.matches(rpc)),
            Self::One(matchers) => matchers.iter().any(|matcher| matcher.matches(rpc)),
            Self::Not(matcher) => !matcher.matches(rpc),
            Self::Header(matcher) => header_matches(matcher, rpc),
            Self::Path(matcher) => matcher.matches(rpc.path),
            Self::DestinationIp(range) => range.contains(rpc.local.ip()),
            Self::DestinationPort(port) => u32::from(rpc.local.port()) == *port,
            Self::RequestedServerName(matcher) => matcher.matches(""),
            Self::SourceIp(range) => range.contains(rpc.peer.ip()),
            Self::Authenticated(name) => match (rpc.caller, name) {
                (Caller::Plaintext, _) => false,
                (Caller::Tls(_), None) => true,
                (Caller::Tls(certificate), Some(matcher)) => {
                    names(certificate).iter().any(|name| matcher.matches(name))
                }
            },
        }
    }
}

/// Why a denied RPC was denied, as its status says it.
#[must_use]
pub(crate) fn denial(policy: Option<&str>) -> String {
    let reason = match policy {
        Some(name) => format!("incoming RPC matched a deny policy {name:?}"),
        None => "incoming RPC did not match an allow policy".to_owned(),
    };
    format!("{DENIED}rpc error: code = PermissionDenied desc = {reason}")
}

/// Whether a message is one with which gRPC's servers deny RPCs.
pub(crate) fn is_denial(message: &str) -> bool {
    message.starts_with(DENIED) || message == DENIED_BY_C_CORE
}

fn header_matches(matcher: &HeaderMatcher, rpc: &IncomingRpc<'_>) -> bool {
    match matcher.name.as_str() {
        // Every RPC is one.
        ":method" => matcher.matches(Some("POST")),
        ":path" => matcher.matches(Some(rpc.path)),
        ":authority" => matcher.matches(Some(rpc.authority)),
        name => matcher.matches(rpc.metadata.value(name).as_deref()),
    }
}

/// The names in a certificate that count: URIs if there are any, else DNS names, else the subject; a client without a
/// certificate has the empty name.
fn names(certificate: Option<&PeerCertificate>) -> &[String] {
    static NOBODY: [String; 1] = [String::new()];
    match certificate {
        None => &NOBODY,
        Some(certificate) if !certificate.uri_sans.is_empty() => &certificate.uri_sans,
        Some(certificate) if !certificate.dns_sans.is_empty() => &certificate.dns_sans,
        Some(certificate) => std::slice::from_ref(&certificate.subject),
    }
}

#[cfg(test)]
mod tests;
