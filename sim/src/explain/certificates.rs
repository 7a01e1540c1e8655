//! What is wrong with certificates: what keeps an agent from a new one, its files from being used, and clocks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{fields, text, texts};
use crate::trace::Recorded;

/// Words of handshake errors about the time for which a certificate is valid; the last is an alert's.
const OUT_OF_TIME: [&str; 3] = ["has expired", "not yet valid", "expired certificate"];

/// What `cert.request.failed` and `agent.stream.closed` call a token that is refused.
const UNAUTHENTICATED: &str = "Unauthenticated";

/// Whether an error is about the time for which a certificate is valid.
pub(super) fn is_out_of_time(error: &str) -> bool {
    OUT_OF_TIME.iter().any(|words| error.contains(words))
}

/// What kinds of trouble may be behind an event of an agent or an application; none if it tells enough by itself.
pub(super) fn behind(event: &Recorded) -> &'static [&'static str] {
    let told = fields(event);
    let says = |field: &str, words: &str| text(&told, field).is_some_and(|said| said.contains(words));
    match event.kind {
        "cert.request.failed" | "agent.stream.closed" if says("code", UNAUTHENTICATED) => &["pod.tokens", "clock.set"],
        "cert.publish.failed" if says("error", "no space left") => &["volume.full"],
        "agent.stopped" if says("reason", "no space left") => &["volume.full"],
        "container.exited" if says("message", "no space left") => &["volume.full"],
        "cert.refused" => &["file.torn"],
        _ => &[],
    }
}

/// What is wrong after `events` with the certificates of `pods`, `namespace/name`, and around them, in the order in
/// which it began.
pub(super) fn trouble<'t>(events: &'t [Recorded], pods: &BTreeSet<&str>) -> Vec<&'t Recorded> {
    let mut standing: BTreeMap<(String, String), &Recorded> = BTreeMap::new();
    let mut pod_at: BTreeMap<String, String> = BTreeMap::new();
    for event in events {
        if event.kind == "netns.added" {
            let told = fields(event);
            let pod = text(&told, "pod").unwrap_or_default();
            pod_at.extend(texts(&told, "addresses").map(|address| (address.to_owned(), pod.to_owned())));
        }
        let Some((pod, what, stands)) = change(event, &pod_at).filter(|(pod, ..)| pods.contains(pod.as_str())) else {
            continue;
        };
        if stands {
            standing.insert((pod, what), event);
        } else if event.kind == "cert.issued" {
            // A new certificate makes up for what befell the request, and for the files of the one before.
            standing.retain(|(of, what), _| *of != pod || !["request", "delay", "torn"].contains(&what.as_str()));
        } else {
            standing.remove(&(pod, what));
        }
    }
    let mut trouble: Vec<&Recorded> = standing.into_values().collect();
    trouble.sort_by_key(|event| event.seq);
    trouble
}

/// The pod an event is about, what of it, and whether that is wrong from now on.
fn change(event: &Recorded, pod_at: &BTreeMap<String, String>) -> Option<(String, String, bool)> {
    const KINDS: [&str; 12] = [
        "cert.request.failed",
        "cert.issued",
        "cert.publish.failed",
        "cert.published",
        "cert.refused",
        "cert.loaded",
        "clock.set",
        "file.torn",
        "istiod.call.delayed",
        "pod.tokens",
        "volume.full",
        "volume.freed",
    ];
    if !KINDS.contains(&event.kind) {
        return None;
    }
    let told = fields(event);
    let field = |name: &str| text(&told, name).unwrap_or_default().to_owned();
    let own = || event.at.rsplit_once('/').map(|(pod, _)| pod.to_owned()).unwrap_or_default();
    let (pod, what, stands) = match event.kind {
        "cert.request.failed" => (own(), "request".to_owned(), true),
        "cert.issued" => (own(), "request".to_owned(), false),
        "cert.publish.failed" | "cert.published" => (own(), "publish".to_owned(), event.kind == "cert.publish.failed"),
        "cert.refused" | "cert.loaded" => {
            (own(), format!("use {} {}", event.at, field("what")), event.kind == "cert.refused")
        }
        "clock.set" => (field("pod"), "clock".to_owned(), told.get("ahead_ms").and_then(Value::as_i64) != Some(0)),
        "file.torn" => (own(), "torn".to_owned(), true),
        "istiod.call.delayed" if text(&told, "service") == Some("ca") => {
            let peer = field("peer");
            let ip = peer.rsplit_once(':').map_or(peer.as_str(), |(ip, _)| ip);
            (pod_at.get(ip)?.clone(), "delay".to_owned(), true)
        }
        "pod.tokens" => (field("pod"), "tokens".to_owned(), told.get("refreshed") == Some(&Value::Bool(false))),
        "volume.full" | "volume.freed" => {
            (field("pod"), format!("volume {}", field("volume")), event.kind == "volume.full")
        }
        _ => return None,
    };
    Some((pod, what, stands))
}
