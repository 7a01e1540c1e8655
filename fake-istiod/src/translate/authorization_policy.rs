//! RBAC filters of server listeners, from AuthorizationPolicies.
//!
//! Source: Istio `grpcgen/lds.go` (`buildRBAC`) and `pilot/pkg/security/authz/model`. What istiod does for gRPC servers
//! is less than for sidecars: policies that AUDIT or ask CUSTOM providers are left out, so are those without rules, and
//! `istio.io/dry-run` is not looked at.

mod principals;
mod rule;

use std::collections::{BTreeMap, BTreeSet};

use envoy_types::pb::envoy::config::rbac::v3 as rbac;
use envoy_types::pb::google::protobuf::Any;

use super::proto;
use crate::objects::{AuthorizationAction, AuthorizationPolicy, Labels, ObjectKey, selects};
use crate::snapshot::Snapshot;

/// Names of filters; gRPC wants them to differ (istio#37748).
const DENY: &str = "envoy.filters.http.rbac.DENY";
const ALLOW: &str = "envoy.filters.http.rbac";

/// The filters for a workload, by name, in the order in which they decide, and the policies that they come from.
pub(super) fn rbac_filters(
    snapshot: &Snapshot,
    namespace: &str,
    labels: &Labels,
) -> (Vec<(&'static str, Any)>, BTreeSet<ObjectKey>) {
    let policies = applicable(snapshot, namespace, labels);
    let mut from = BTreeSet::new();
    let mut filters = Vec::new();
    for (name, wanted, action) in [
        (DENY, AuthorizationAction::Deny, rbac::rbac::Action::Deny),
        (ALLOW, AuthorizationAction::Allow, rbac::rbac::Action::Allow),
    ] {
        let policies: Vec<&AuthorizationPolicy> =
            policies.iter().copied().filter(|policy| policy.spec.action == wanted).collect();
        from.extend(policies.iter().map(|policy| policy.key()));
        let rules = rules(action, &policies);
        if !rules.policies.is_empty() {
            filters.push((name, proto::any(&Filter { rules: Some(rules) })));
        }
    }
    (filters, from)
}

/// Those of the root namespace, then those of the workload's own, each oldest first. Policies for gateways and
/// waypoints are for no workload.
fn applicable<'a>(snapshot: &'a Snapshot, namespace: &str, labels: &Labels) -> Vec<&'a AuthorizationPolicy> {
    let root = snapshot.mesh().root_namespace.as_str();
    let of = |wanted: &str| {
        let all = snapshot.authorization_policies().iter().map(|policy| &**policy);
        let selected = all.filter(move |policy| {
            let selector = policy.spec.selector.as_ref();
            policy.metadata.namespace == wanted
                && !policy.spec.has_target()
                && selector.is_none_or(|selector| selects(&selector.match_labels, labels))
        });
        selected.collect::<Vec<_>>()
    };
    let mut policies = of(root);
    if namespace != root {
        policies.extend(of(namespace));
    }
    policies
}

fn rules(action: rbac::rbac::Action, policies: &[&AuthorizationPolicy]) -> Rules {
    let mut rules = Rules { action: action.into(), policies: BTreeMap::new() };
    for policy in policies {
        let (namespace, name) = (&policy.metadata.namespace, &policy.metadata.name);
        for (index, rule) in policy.spec.rules.iter().enumerate() {
            // A rule that cannot be said is one that never matches.
            let policy = rule::policy(namespace, rule).unwrap_or_default();
            rules.policies.insert(format!("{namespace}-{name}-{index}"), policy);
        }
    }
    rules
}

/// `envoy.extensions.filters.http.rbac.v3.RBAC`, whose generated form would encode policies in a random order.
#[derive(Clone, PartialEq, prost::Message)]
struct Filter {
    #[prost(message, optional, tag = "1")]
    rules: Option<Rules>,
}

impl prost::Name for Filter {
    const NAME: &'static str = "RBAC";
    const PACKAGE: &'static str = "envoy.extensions.filters.http.rbac.v3";
}

/// `envoy.config.rbac.v3.RBAC`.
#[derive(Clone, PartialEq, prost::Message)]
struct Rules {
    #[prost(enumeration = "rbac::rbac::Action", tag = "1")]
    action: i32,
    #[prost(btree_map = "string, message", tag = "2")]
    policies: BTreeMap<String, rbac::Policy>,
}
