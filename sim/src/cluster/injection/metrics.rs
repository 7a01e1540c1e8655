//! What a pod is told of metrics: the agent serves its own with those of the application.

use hermesh_istiod::objects::{EnvVar, Pod};
use serde_json::json;

use super::annotations::MERGE_METRICS;
use super::grpc_agent::STATUS_PORT;
use super::proxy_config::Effective;

const SCRAPE: &str = "prometheus.io/scrape";
const PATH: &str = "prometheus.io/path";
const PORT: &str = "prometheus.io/port";

/// Whether the pod's metrics are those that the agent serves.
fn are_merged(pod: &Pod, effective: &Effective) -> bool {
    let annotations = &pod.metadata.annotations;
    // Other values are refused before.
    let asked = annotations.get(MERGE_METRICS).map(|merge| merge == "true");
    annotations.get(SCRAPE).is_none_or(|scrape| scrape != "false") && asked.unwrap_or(effective.merge_metrics)
}

/// What the user's own annotations say of metrics, for the agent: they are replaced by its own.
pub(super) fn of_user(pod: &Pod, effective: &Effective) -> Option<EnvVar> {
    let text = |name: &str| pod.metadata.annotations.get(name).cloned().unwrap_or_default();
    let (scrape, path, port) = (text(SCRAPE), text(PATH), text(PORT));
    let says_something = [&scrape, &path, &port].iter().any(|text| !text.is_empty());
    let scraping = json!({"scrape": scrape, "path": path, "port": port});
    let is_told = says_something && are_merged(pod, effective);
    is_told.then(|| EnvVar::new("ISTIO_PROMETHEUS_ANNOTATIONS", scraping.to_string()))
}

/// The annotations that Prometheus reads, unless the pod or the mesh want none.
pub(super) fn annotations(original: &Pod, effective: &Effective) -> Vec<(String, String)> {
    if !are_merged(original, effective) {
        return Vec::new();
    }
    let own = [(PATH, "/stats/prometheus".to_owned()), (PORT, STATUS_PORT.to_string()), (SCRAPE, "true".to_owned())];
    own.map(|(name, value)| (name.to_owned(), value)).into()
}
