//! Whether a server port speaks TLS, composed from the policies of mesh, namespace and workload.
//!
//! Source: Istio `pilot/pkg/security/authn/policy_applier.go` (`ComposePeerAuthentication`) and `grpcgen/lds.go`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::objects::{Labels, MtlsMode, ObjectKey, PeerAuthentication, selects};
use crate::snapshot::Snapshot;

/// The label with which a workload says that it takes mutual TLS.
const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// What a server port speaks. A gRPC server cannot do both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerMode {
    /// Plaintext.
    Plaintext,
    /// TLS, with a client certificate.
    MutualTls,
}

/// What the workload's `port` speaks, and the policies that decided it.
pub(super) fn server_mode(
    snapshot: &Snapshot,
    namespace: &str,
    labels: &Labels,
    port: u16,
) -> (ServerMode, BTreeSet<ObjectKey>) {
    let policies = applicable(snapshot, namespace, labels);
    let mut mode = MtlsMode::Permissive;
    let mut from = BTreeSet::new();
    for policy in [policies.mesh, policies.namespace, policies.workload].into_iter().flatten() {
        if policy.spec.mtls.mode != MtlsMode::Unset {
            mode = policy.spec.mtls.mode;
        }
        from.insert(policy.key());
    }
    let of_port = policies.workload.and_then(|policy| policy.spec.port_level_mtls.get(&u32::from(port)));
    if let Some(mtls) = of_port.filter(|mtls| mtls.mode != MtlsMode::Unset) {
        mode = mtls.mode;
    }
    let mode = match mode {
        MtlsMode::Strict => ServerMode::MutualTls,
        // Who says it takes TLS is taken at its word: clients with automatic mTLS would use it.
        MtlsMode::Permissive if labels.get(TLS_MODE_LABEL).is_some_and(|mode| mode == "istio") => ServerMode::MutualTls,
        MtlsMode::Permissive | MtlsMode::Disable | MtlsMode::Unset => ServerMode::Plaintext,
    };
    (mode, from)
}

/// The policy of each level; the oldest where there are several.
#[derive(Default)]
struct Policies<'a> {
    mesh: Option<&'a Arc<PeerAuthentication>>,
    namespace: Option<&'a Arc<PeerAuthentication>>,
    workload: Option<&'a Arc<PeerAuthentication>>,
}

fn applicable<'a>(snapshot: &'a Snapshot, namespace: &str, labels: &Labels) -> Policies<'a> {
    let root = &snapshot.mesh().root_namespace;
    let mut policies = Policies::default();
    for policy in snapshot.peer_authentications() {
        let selector = policy.spec.selector.as_ref().map(|selector| &selector.match_labels);
        let selector = selector.filter(|labels| !labels.is_empty());
        let own = policy.metadata.namespace.as_str();
        let level = match selector {
            None if own == root => &mut policies.mesh,
            None if own == namespace => &mut policies.namespace,
            Some(selector) if own == namespace && own != root && selects(selector, labels) => &mut policies.workload,
            _ => continue,
        };
        level.get_or_insert(policy);
    }
    policies
}
