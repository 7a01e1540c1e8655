//! What the trace tells of pods and containers, in the words of tests.

use hermesh::Mesh;
use serde_json::Value;

/// A namespace without injection.
pub(crate) const NAMESPACE: &str = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n";

/// What the trace has of these kinds, in order.
pub(crate) fn events(mesh: &Mesh, kinds: &[&str]) -> Vec<Value> {
    mesh.with_trace(|trace| {
        let events = trace.events().iter().map(|event| event.to_json());
        let events = events.map(|json| serde_json::from_str::<Value>(&json).expect("the trace is JSON"));
        events.filter(|event| kinds.iter().any(|kind| event["kind"] == *kind)).collect()
    })
}

/// The columns READY and STATUS of a pod over time: `1/2 Running`.
pub(crate) fn statuses(mesh: &Mesh, pod: &str) -> Vec<String> {
    let own = events(mesh, &["pod.status"]).into_iter().filter(|event| event["pod"] == pod);
    let text = |event: Value| format!("{} {}", text(&event, "ready"), text(&event, "status"));
    let mut statuses: Vec<String> = own.map(text).collect();
    statuses.dedup();
    statuses
}

/// How the containers of a pod came and went: `db started`, `db terminating`, `db exited`.
pub(crate) fn lives(mesh: &Mesh, pod: &str) -> Vec<String> {
    let kinds = ["container.started", "container.terminating", "container.killed", "container.exited"];
    let word = |event: &Value| text(event, "kind").trim_start_matches("container.").to_owned();
    let own = events(mesh, &kinds).into_iter().filter_map(|event| {
        let name = text(&event, "at").strip_prefix(pod)?.strip_prefix('/')?.to_owned();
        Some(format!("{name} {}", word(&event)))
    });
    own.collect()
}

pub(crate) fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_default()
}

/// When an event happened, in whole seconds of simulated time.
pub(crate) fn second(event: &Value) -> u64 {
    event["t_us"].as_u64().unwrap_or_default() / 1_000_000
}
