//! Istio's AuthorizationPolicy: which requests workloads take.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Metadata, WorkloadSelector};

/// `security.istio.io AuthorizationPolicy`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// Name, namespace and age.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: AuthorizationPolicySpec,
}

/// An AuthorizationPolicy's spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    /// The workloads it is for; without one, those of the namespace, or of the mesh if that is the root namespace.
    pub selector: Option<WorkloadSelector>,
    /// A gateway or a Service it is for; such a policy is for no workload with a server of its own.
    pub target_ref: Option<PolicyTargetReference>,
    /// Several of them.
    pub target_refs: Vec<PolicyTargetReference>,
    /// The requests it is about, any of them.
    pub rules: Vec<AuthorizationRule>,
    /// What becomes of them.
    pub action: AuthorizationAction,
    /// Who decides, for `CUSTOM`.
    pub provider: Option<ExtensionProvider>,
}

/// What becomes of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename = "action", rename_all = "UPPERCASE")]
pub enum AuthorizationAction {
    /// They are let in; others are not, once a workload has a policy like this.
    #[default]
    Allow,
    /// They are not let in, whatever allows them.
    Deny,
    /// They are logged; istiod sends gRPC servers nothing of it.
    Audit,
    /// Somebody else decides; istiod sends gRPC servers nothing of it.
    Custom,
}

/// A gateway or a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTargetReference {
    /// Its API group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Somebody else who decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ExtensionProvider {
    /// Its name in the mesh's configuration.
    pub name: String,
}

/// One rule: a request is of it if one of `from`, one of `to` and all of `when` hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct AuthorizationRule {
    /// Who asks; anybody if empty.
    pub from: Vec<RuleFrom>,
    /// For what; anything if empty.
    pub to: Vec<RuleTo>,
    /// What else must hold.
    pub when: Vec<RuleCondition>,
}

/// An entry of `from`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RuleFrom {
    /// Who asks.
    pub source: Option<RuleSource>,
}

/// Who asks: all fields must hold, each by one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "Istio's own names; `not_` is what must not hold")]
pub struct RuleSource {
    /// Identities without `spiffe://`, such as `cluster.local/ns/shop/sa/web`.
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    /// Identities of JWTs, which gRPC servers know nothing of.
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    /// Namespaces of identities.
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    /// Service accounts, `name` or `namespace/name`.
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    /// Trust domains of identities.
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
    /// Addresses or ranges of them.
    pub ip_blocks: Vec<String>,
    pub not_ip_blocks: Vec<String>,
    /// The same, in front of proxies; there are none.
    pub remote_ip_blocks: Vec<String>,
    pub not_remote_ip_blocks: Vec<String>,
}

/// An entry of `to`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RuleTo {
    /// For what.
    pub operation: Option<RuleOperation>,
}

/// For what: all fields must hold, each by one of its values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "Istio's own names; `not_` is what must not hold")]
pub struct RuleOperation {
    /// Authorities.
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    /// Ports of the workload.
    pub ports: Vec<String>,
    pub not_ports: Vec<String>,
    /// HTTP methods; that of every gRPC call is POST.
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    /// Paths, `/package.Service/Method` for gRPC.
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

/// What else must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleCondition {
    /// An attribute, such as `request.headers[x-user]`.
    pub key: String,
    /// One of them must match.
    pub values: Vec<String>,
    /// None of them may.
    pub not_values: Vec<String>,
}

impl AuthorizationPolicySpec {
    /// Whether it is for a gateway or a waypoint.
    #[must_use]
    pub fn has_target(&self) -> bool {
        self.target_ref.is_some() || !self.target_refs.is_empty()
    }
}

/// An address, or a range of them such as `10.0.0.0/8`, with how many of its leading bits count.
#[must_use]
pub(crate) fn ip_range(text: &str) -> Option<(IpAddr, u8)> {
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let all = if address.is_ipv4() { 32 } else { 128 };
    let len = len.map_or(Some(all), |len| len.parse().ok().filter(|len| *len <= all))?;
    Some((address, len))
}
