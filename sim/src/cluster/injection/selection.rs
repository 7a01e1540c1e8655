//! Who is injected: the webhook's selectors, then istiod's own rules.

use hermesh_istiod::objects::{Labels, Pod};

const INJECT: &str = "sidecar.istio.io/inject";
const REVISION: &str = "istio.io/rev";
/// Istio without a revision of its own.
const DEFAULT_REVISION: &str = "default";
/// Namespaces that istiod never injects into.
const SYSTEM_NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

/// Whether a pod is injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Inject,
    Skip,
    /// Not, though somebody asked for it.
    Note(String),
}

pub(super) fn decide(namespace: &str, namespace_labels: &Labels, pod: &Pod) -> Decision {
    let (labels, annotations) = (&pod.metadata.labels, &pod.metadata.annotations);
    if !selected(namespace_labels, labels) {
        return if annotations.contains_key(super::TEMPLATES) {
            Decision::Note(format!(
                "namespace {namespace} is not labelled istio-injection=enabled: the annotation inject.istio.io/templates has no effect"
            ))
        } else {
            Decision::Skip
        };
    }
    if SYSTEM_NAMESPACES.contains(&namespace) {
        return Decision::Skip;
    }
    // The label wins; anything but `true` and `false` leaves the default, which is to inject.
    let asked = labels.get(INJECT).or_else(|| annotations.get(INJECT)).map(String::as_str);
    if asked == Some("false") { Decision::Skip } else { Decision::Inject }
}

/// The four webhook entries of an installation without revisions.
fn selected(namespace: &Labels, pod: &Labels) -> bool {
    let refused = pod.get(INJECT).is_some_and(|value| value == "false");
    let asked = pod.get(INJECT).is_some_and(|value| value == "true");
    let is_default = |labels: &Labels| labels.get(REVISION).is_some_and(|rev| rev == DEFAULT_REVISION);
    match namespace.get("istio-injection").map(String::as_str) {
        Some("enabled") => !refused,
        Some(_) => false,
        None if namespace.contains_key(REVISION) => is_default(namespace) && !refused,
        None => (is_default(pod) && !refused) || (asked && !pod.contains_key(REVISION)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn pod(labels: &[(&str, &str)], annotations: &[(&str, &str)]) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.labels = map(labels);
        pod.metadata.annotations = map(annotations);
        pod
    }

    #[test]
    fn labels_of_namespace_and_pod_decide_who_is_injected() {
        const ENABLED: &[(&str, &str)] = &[("istio-injection", "enabled")];
        const DISABLED: &[(&str, &str)] = &[("istio-injection", "disabled")];
        const REVISED: &[(&str, &str)] = &[("istio.io/rev", "default")];
        const OTHER_REVISION: &[(&str, &str)] = &[("istio.io/rev", "canary")];
        const BOTH: &[(&str, &str)] = &[("istio-injection", "enabled"), ("istio.io/rev", "canary")];
        const TRUE: &[(&str, &str)] = &[("sidecar.istio.io/inject", "true")];
        const FALSE: &[(&str, &str)] = &[("sidecar.istio.io/inject", "false")];
        const ODD: &[(&str, &str)] = &[("sidecar.istio.io/inject", "yes")];
        const NONE: &[(&str, &str)] = &[];
        for (namespace, labels, expected) in [
            (ENABLED, NONE, true),
            (ENABLED, FALSE, false),
            (ENABLED, ODD, true),
            (DISABLED, TRUE, false),
            (REVISED, NONE, true),
            (REVISED, FALSE, false),
            (OTHER_REVISION, TRUE, false),
            (BOTH, NONE, true),
            (NONE, NONE, false),
            (NONE, TRUE, true),
            (NONE, REVISED, true),
            (NONE, OTHER_REVISION, false),
        ] {
            let decision = decide("shop", &map(namespace), &pod(labels, &[]));
            assert_eq!(decision == Decision::Inject, expected, "{namespace:?} {labels:?}");
        }
    }

    #[test]
    fn the_pods_label_beats_its_annotation() {
        let enabled = map(&[("istio-injection", "enabled")]);
        let both = pod(&[(INJECT, "true")], &[(INJECT, "false")]);
        assert_eq!(decide("shop", &enabled, &both), Decision::Inject);
        assert_eq!(decide("shop", &enabled, &pod(&[], &[(INJECT, "false")])), Decision::Skip);
    }

    #[test]
    fn system_namespaces_are_left_alone() {
        let enabled = map(&[("istio-injection", "enabled")]);
        assert_eq!(decide("kube-system", &enabled, &Pod::default()), Decision::Skip);
    }

    #[test]
    fn a_template_without_injection_is_worth_a_note() {
        let decision = decide("shop", &Labels::new(), &pod(&[], &[("inject.istio.io/templates", "grpc-agent")]));
        assert!(matches!(decision, Decision::Note(note) if note.contains("istio-injection=enabled")));
    }
}
