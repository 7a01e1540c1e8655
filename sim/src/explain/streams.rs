//! Pods that get no configuration, or get it late, because somebody has istiod's discovery service do so.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use super::faults::client;
use super::{fields, text, texts};
use crate::trace::Recorded;

/// What a pod's streams wait for.
#[derive(Default)]
struct Streams<'t> {
    /// Calls that have not been looked at.
    late: VecDeque<&'t Recorded>,
    /// What closed or refused a stream, since when none was opened.
    closed: Option<&'t Recorded>,
}

/// What keeps the xDS streams of pods, `namespace/name`, from being there after `events`, by what somebody did.
pub(super) fn disturbed(events: &[Recorded]) -> Vec<(String, &Recorded)> {
    let mut pod_at: BTreeMap<String, String> = BTreeMap::new();
    let mut pods: BTreeMap<String, Streams<'_>> = BTreeMap::new();
    let wanted = |event: &Recorded| {
        let cause = event.cause.and_then(|seq| events.get(usize::try_from(seq).ok()?.checked_sub(1)?));
        cause.is_some_and(|cause| cause.kind == "mesh.disturbed")
    };
    for event in events {
        match event.kind {
            "netns.added" => {
                let told = fields(event);
                let pod = text(&told, "pod").unwrap_or_default();
                pod_at.extend(texts(&told, "addresses").map(|address| (address.to_owned(), pod.to_owned())));
            }
            "netns.removed" => {
                pods.remove(text(&fields(event), "pod").unwrap_or_default());
            }
            "istiod.call.delayed" if text(&fields(event), "service") == Some("xds") => {
                let Some(pod) = caller(event, &pod_at) else { continue };
                pods.entry(pod).or_default().late.push_back(event);
            }
            "istiod.stream.refused" => {
                let Some(pod) = caller(event, &pod_at) else { continue };
                let streams = pods.entry(pod).or_default();
                streams.late.pop_front();
                streams.closed = Some(event).filter(|event| wanted(event)).or(streams.closed);
            }
            "istiod.stream.closed" if wanted(event) => {
                let Some(pod) = client(event) else { continue };
                pods.entry(pod).or_default().closed = Some(event);
            }
            "istiod.stream.opened" => {
                let Some(streams) = client(event).and_then(|pod| pods.get_mut(&pod)) else { continue };
                streams.late.pop_front();
                streams.closed = None;
            }
            _ => {}
        }
    }
    // Who has given up waiting tells nobody.
    let now_us = events.last().map_or(0, |event| event.t_us);
    let waits = |event: &&Recorded| {
        let by_ms = fields(event).get("by_ms").and_then(Value::as_u64).unwrap_or_default();
        now_us <= event.t_us + by_ms * 1_000
    };
    let standing = pods.into_iter().flat_map(|(pod, Streams { late, closed })| {
        let standing: Vec<_> = closed.into_iter().chain(late.into_iter().find(waits)).collect();
        standing.into_iter().map(move |event| (pod.clone(), event))
    });
    standing.collect()
}

/// The pod that a call of istiod came from.
fn caller(event: &Recorded, pod_at: &BTreeMap<String, String>) -> Option<String> {
    let told = fields(event);
    let peer = text(&told, "peer")?;
    pod_at.get(peer.rsplit_once(':').map_or(peer, |(ip, _)| ip)).cloned()
}
