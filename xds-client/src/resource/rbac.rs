//! Which RPCs a server takes, as a control plane says it (gRFC A41), and who is told of its decisions (gRFC A59).

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::rbac::v3 as proto;
use envoy_types::pb::envoy::config::rbac::v3::rbac::audit_logging_options::AuditCondition as AuditConditionProto;
use envoy_types::pb::envoy::config::rbac::v3::rbac::{Action as ActionProto, AuditLoggingOptions};
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3 as filter;

use crate::resource::{CidrRange, DecodeError, HeaderMatcher, StringMatcher};

mod read;

/// The only audit logger that every gRPC has: to the standard output.
const STDOUT_LOGGER: &str = "envoy.extensions.rbac.audit_loggers.stream.v3.StdoutAuditLog";

/// `envoy.config.rbac.v3.RBAC` that decides: what of it says nothing, or only what is to be logged, is no value of this
/// type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RbacRules {
    /// What becomes of RPCs that a policy matches.
    pub action: RbacAction,
    /// By name.
    pub policies: BTreeMap<String, RbacPolicy>,
    /// Which decisions are told to audit loggers; nobody listens if `None`.
    pub audit: Option<AuditCondition>,
}

/// What becomes of RPCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RbacAction {
    /// They are let in if a policy matches, else denied.
    Allow,
    /// They are denied if a policy matches, else let in.
    Deny,
}

/// One policy: it matches if one of the permissions and one of the principals do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RbacPolicy {
    /// What may be done.
    pub permissions: Vec<RbacMatcher>,
    /// By whom.
    pub principals: Vec<RbacMatcher>,
}

/// `envoy.config.rbac.v3.Permission` or `Principal`; either may look at anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RbacMatcher {
    /// Matches every RPC.
    Always,
    /// Matches no RPC: it asks for dynamic metadata, of which gRPC has none.
    Never,
    /// All of them match.
    All(Vec<Self>),
    /// One of them matches.
    One(Vec<Self>),
    /// It does not match.
    Not(Box<Self>),
    /// Of the metadata, or of `:method`, `:path` or `:authority`.
    Header(HeaderMatcher),
    /// Of the method's full name, such as `/echo.EchoService/Echo`.
    Path(StringMatcher),
    /// Of the server's address.
    DestinationIp(CidrRange),
    /// Of the server's port.
    DestinationPort(u32),
    /// Of the name the client asked for in TLS, which gRPC takes to be empty.
    RequestedServerName(StringMatcher),
    /// Of the client's address.
    SourceIp(CidrRange),
    /// Of whom the client has proved to be; `None` matches whoever came by TLS.
    Authenticated(Option<StringMatcher>),
}

/// Which decisions are audited (gRFC A59).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCondition {
    /// RPCs that are let in.
    pub on_allow: bool,
    /// RPCs that are denied.
    pub on_deny: bool,
}

/// The rules of the filter; `None` if it does nothing. All of it is checked either way.
pub(crate) fn read_filter(proto: &filter::Rbac) -> Result<Option<RbacRules>, DecodeError> {
    let Some(rules) = &proto.rules else { return Ok(None) };
    // In order of names, so that equal input gives an equal message.
    let policies: BTreeMap<&String, &proto::Policy> = rules.policies.iter().collect();
    let policies = policies.into_iter().map(|(name, policy)| {
        let policy =
            read::policy(policy).map_err(|error| DecodeError::new(format!("RBAC policy {name:?}: {error}")))?;
        Ok((name.clone(), policy))
    });
    let policies = policies.collect::<Result<_, DecodeError>>()?;
    let audit = rules.audit_logging_options.as_ref().map(read_audit).transpose()?.flatten();
    let action = match ActionProto::try_from(rules.action) {
        Ok(ActionProto::Allow) => RbacAction::Allow,
        Ok(ActionProto::Deny) => RbacAction::Deny,
        Ok(ActionProto::Log) => return Ok(None),
        Err(_) => return Err(DecodeError::new(format!("RBAC action {} is unknown", rules.action))),
    };
    Ok(Some(RbacRules { action, policies, audit }))
}

/// `None` if no logger is left or no decision is told.
fn read_audit(proto: &AuditLoggingOptions) -> Result<Option<AuditCondition>, DecodeError> {
    let (on_allow, on_deny) = match AuditConditionProto::try_from(proto.audit_condition) {
        Ok(AuditConditionProto::None) => (false, false),
        Ok(AuditConditionProto::OnDeny) => (false, true),
        Ok(AuditConditionProto::OnAllow) => (true, false),
        Ok(AuditConditionProto::OnDenyAndAllow) => (true, true),
        Err(_) => {
            return Err(DecodeError::new(format!("RBAC audit_condition {} is unknown", proto.audit_condition)));
        }
    };
    let mut listens = false;
    for config in &proto.logger_configs {
        let typed = config.audit_logger.as_ref().and_then(|logger| logger.typed_config.as_ref());
        let Some(typed) = typed else {
            return Err(DecodeError::new("RBAC audit logger has no typed_config"));
        };
        let name = typed.type_url.rsplit('/').next().unwrap_or_default();
        if name == STDOUT_LOGGER {
            listens = true;
        } else if !config.is_optional {
            return Err(DecodeError::new(format!("RBAC audit logger {name:?} is unknown; gRPC has {STDOUT_LOGGER}")));
        }
    }
    Ok((listens && (on_allow || on_deny)).then_some(AuditCondition { on_allow, on_deny }))
}
