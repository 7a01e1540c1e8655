//! The RBAC filters of a filter chain at work (gRFC A41).

use std::net::SocketAddr;
use std::sync::Arc;

use hermesh_runtime::server::ConnectionInfo;
use hermesh_runtime::{Address, EventId, Runtime};
use tonic::Status;
use tonic::body::Body;

use crate::rbac::{Caller, Decision, IncomingRpc, denial};
use crate::resource::{FilterOverride, FilterOverrides, HttpFilter, HttpFilterKind, RbacAction, RbacRules};
use crate::routing::Metadata;

hermesh_runtime::event! {
    /// An RBAC filter did not let an RPC in.
    RpcDenied = "rpc.denied" {
        /// Such as `/echo.EchoService/Echo`.
        method: String,
        /// Who called.
        peer: Address,
        /// Who the caller has proved to be.
        peer_spiffe: Option<String>,
        /// The filter's name.
        filter: String,
        /// The policy that denies it; none if there was none to allow it.
        policy: Option<String>,
        /// The policies of a filter that wanted one to allow it.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        allow_policies: Vec<String>,
    }

    /// An RBAC filter let an RPC in.
    RpcAllowed = "rpc.allowed" @ Debug {
        /// Such as `/echo.EchoService/Echo`.
        method: String,
        /// Who called.
        peer: Address,
        /// Who the caller has proved to be.
        peer_spiffe: Option<String>,
        /// The filter's name.
        filter: String,
        /// The policy that allows it; none if it is enough that none denies it.
        policy: Option<String>,
    }

    /// An audit logger was told of a decision (gRFC A59).
    RpcAudited = "rpc.audited" {
        /// Such as `/echo.EchoService/Echo`.
        rpc_method: String,
        /// Who the caller has proved to be; empty if nobody.
        principal: String,
        /// The filter's name.
        policy_name: String,
        /// The policy that matched; empty if none did.
        matched_rule: String,
        /// Whether the RPC was let in.
        authorized: bool,
    }
}

/// Who is let in on one connection.
#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) rt: Runtime,
    /// Of the connection's filter chain, in order.
    pub(super) filters: Arc<[HttpFilter]>,
    pub(super) local: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) is_tls: bool,
    /// The event that recorded the listener's use.
    pub(super) cause: Option<EventId>,
}

impl Authorization {
    /// Has an RPC pass the filters. Of several overrides of a filter the first counts.
    pub(super) fn check(
        &self,
        request: &http::Request<Body>,
        authority: &str,
        overrides: [&FilterOverrides; 2],
    ) -> Result<(), Status> {
        let info = request.extensions().get::<ConnectionInfo>();
        let certificate = info.and_then(|info| info.peer_certificate.as_deref());
        let rpc = IncomingRpc {
            path: request.uri().path(),
            authority,
            metadata: Metadata::new(request.headers()),
            local: self.local,
            peer: self.peer,
            caller: if self.is_tls { Caller::Tls(certificate) } else { Caller::Plaintext },
        };
        for filter in self.filters.iter() {
            let Some(rules) = rules_in_force(filter, overrides) else { continue };
            let decision = rules.judge(&rpc);
            self.audit(filter, rules, &rpc, decision);
            let (method, peer) = (rpc.path.to_owned(), self.peer.into());
            let peer_spiffe = certificate.and_then(|certificate| certificate.spiffe_id()).map(str::to_owned);
            let name = filter.name.clone();
            match decision {
                Decision::Allowed(policy) => {
                    let policy = policy.map(str::to_owned);
                    let allowed = RpcAllowed { method, peer, peer_spiffe, filter: name, policy };
                    self.rt.emit_because(self.cause, allowed);
                }
                Decision::Denied(policy) => {
                    let allow_policies = match rules.action {
                        RbacAction::Allow => rules.policies.keys().cloned().collect(),
                        RbacAction::Deny => Vec::new(),
                    };
                    let message = denial(policy);
                    let policy = policy.map(str::to_owned);
                    let denied = RpcDenied { method, peer, peer_spiffe, filter: name, policy, allow_policies };
                    let event = self.rt.emit_because(self.cause, denied);
                    if let Some(info) = info {
                        info.trail.set_denied(event);
                    }
                    return Err(Status::permission_denied(message));
                }
            }
        }
        Ok(())
    }

    fn audit(&self, filter: &HttpFilter, rules: &RbacRules, rpc: &IncomingRpc<'_>, decision: Decision<'_>) {
        let (authorized, matched) = match decision {
            Decision::Allowed(matched) => (true, matched),
            Decision::Denied(matched) => (false, matched),
        };
        let wanted = rules.audit.is_some_and(|audit| if authorized { audit.on_allow } else { audit.on_deny });
        if !wanted {
            return;
        }
        let principal = match rpc.caller {
            Caller::Tls(Some(certificate)) => certificate.spiffe_id().unwrap_or_default().to_owned(),
            Caller::Tls(None) | Caller::Plaintext => String::new(),
        };
        let audited = RpcAudited {
            rpc_method: rpc.path.to_owned(),
            principal,
            policy_name: filter.name.clone(),
            matched_rule: matched.unwrap_or_default().to_owned(),
            authorized,
        };
        self.rt.emit_because(self.cause, audited);
    }
}

fn rules_in_force<'a>(filter: &'a HttpFilter, overrides: [&'a FilterOverrides; 2]) -> Option<&'a RbacRules> {
    let HttpFilterKind::Rbac(rules) = &filter.kind else { return None };
    let replaced = overrides.iter().find_map(|overrides| match overrides.get(&filter.name) {
        Some(FilterOverride::Rbac(rules)) => Some(rules),
        _ => None,
    });
    replaced.unwrap_or(rules).as_deref()
}
