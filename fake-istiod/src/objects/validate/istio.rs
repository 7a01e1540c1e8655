//! What istiod's validation webhook refuses of a PeerAuthentication, and of what several of Istio's kinds have.
//!
//! Source: Istio `pkg/config/validation/validation.go`.

use std::collections::BTreeSet;

use super::Check;
use crate::objects::names::{is_host, is_mesh_label, is_mesh_name};
use crate::objects::{MtlsMode, MutualTls, PeerAuthentication};

pub(in crate::objects) fn peer_authentication(check: &mut Check<'_>, policy: &PeerAuthentication) {
    let spec = &policy.spec;
    let has_selector = spec.selector.as_ref().is_some_and(|selector| !selector.match_labels.is_empty());
    if let Some(selector) = &spec.selector {
        check.selector("spec.selector.matchLabels", &selector.match_labels);
    }
    if !spec.port_level_mtls.is_empty() && !has_selector && check.is_whole("spec.selector") {
        check.error("invalid-value", "spec.portLevelMtls", "needs a selector: ports belong to workloads");
    }
    if spec.port_level_mtls.is_empty() && check.has("spec.portLevelMtls") && check.is_whole("spec.portLevelMtls") {
        check.error("missing-field", "spec.portLevelMtls", "is empty; leave it out");
    }
    mode(check, "spec.mtls.mode", spec.mtls);
    for (port, mtls) in &spec.port_level_mtls {
        let path = format!("spec.portLevelMtls.{port}");
        if !(1..=65535).contains(port) {
            check.error("out-of-range", &path, format!("port {port} is out of range; expected 1 to 65535"));
        }
        mode(check, &format!("{path}.mode"), *mtls);
    }
}

fn mode(check: &mut Check<'_>, path: &str, mtls: MutualTls) {
    if mtls.mode == MtlsMode::Permissive {
        let message = "a gRPC server cannot take both: it gets plaintext, or TLS if its pod has the label security.istio.io/tlsMode=istio";
        check.note("treated-as", path, message);
    }
}

pub(super) fn host(check: &mut Check<'_>, path: &str, host: &str) {
    if host.is_empty() {
        check.error("missing-field", path, "missing; which host?");
    } else if !is_host(host) {
        check.error(
            "invalid-name",
            path,
            format!("invalid host {host:?}; use a DNS name, maybe with a first label `*`"),
        );
    }
}

/// Who of the kinds with `exportTo` it is: each may say something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exporter {
    Routes,
    Rule { is_for_some_workloads: bool },
    Entry,
}

/// Source: `validateExportTo`.
pub(super) fn export_to(check: &mut Check<'_>, namespaces: &[String], exporter: Exporter) {
    let (list, own) = ("spec.exportTo", check.namespace.clone());
    let own = own.as_str();
    let mut seen = BTreeSet::new();
    for (index, namespace) in namespaces.iter().enumerate() {
        let path = format!("{list}[{index}]");
        let meant = if namespace == "." { own } else { namespace };
        if namespace == "~" && exporter != Exporter::Entry {
            check.error("invalid-value", &path, "only a ServiceEntry can be for nobody (`~`); delete it instead");
        } else if !matches!(namespace.as_str(), "." | "*" | "~") && !is_mesh_label(namespace) {
            check.error("invalid-name", &path, format!("expected `.`, `*` or a namespace, found {namespace:?}"));
        } else if !seen.insert(meant) {
            let message = match meant == namespace && namespace != own {
                true => format!("{namespace:?} is already there"),
                false => format!("`.` is {own:?}, and one of them is already there"),
            };
            check.error("duplicate", &path, message);
        }
    }
    if seen.len() < 2 || !check.is_whole(list) {
        let only_own = seen.is_empty() || seen.contains(own);
        if (exporter == Exporter::Rule { is_for_some_workloads: true }) && !only_own && check.is_whole(list) {
            check.error("invalid-value", list, "a rule with a workloadSelector is for its own namespace; write `.`");
        }
    } else if seen.contains("*") {
        check.error("invalid-value", list, "`*` includes all other namespaces; leave them out");
    } else if seen.contains("~") {
        check.error("invalid-value", list, "`~` is nobody, and so has no place beside others");
    } else if exporter == (Exporter::Rule { is_for_some_workloads: true }) {
        check.error("invalid-value", list, "a rule with a workloadSelector is for its own namespace; write `.`");
    }
}

/// Source: `validateGatewayNames`.
pub(super) fn gateways(check: &mut Check<'_>, path: &str, gateways: &[String]) {
    for (index, gateway) in gateways.iter().enumerate() {
        let is_good = match gateway.split_once('/') {
            Some((namespace, name)) => is_mesh_label(namespace) && is_mesh_label(name),
            None => is_mesh_name(gateway),
        };
        if !is_good {
            let message = format!("expected `mesh`, `name` or `namespace/name`, found {gateway:?}");
            check.error("invalid-name", &format!("{path}[{index}]"), message);
        }
    }
}
