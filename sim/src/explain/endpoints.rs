//! What became of the endpoints behind a Service, and of a client's connections to them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{fields, text, texts};
use crate::trace::Recorded;

/// Of so many calls one must have gone elsewhere before it is worth telling.
const WORTH_TELLING: usize = 10;

/// What the EndpointSlices of one Service tell.
#[derive(Default)]
pub(super) struct Endpoints<'t> {
    /// By pod that is gone or not ready, the change since which it is so.
    pub(super) lost: BTreeMap<String, &'t Recorded>,
    /// The pods that are there and not ready.
    pub(super) unready: BTreeSet<String>,
    /// The last change.
    pub(super) last: Option<&'t Recorded>,
}

impl<'t> Endpoints<'t> {
    /// Those of `service`, `namespace/name`, after `events`.
    pub(super) fn of(events: &'t [Recorded], service: &str) -> Self {
        let mut endpoints = Self::default();
        let mut ready: BTreeSet<String> = BTreeSet::new();
        for event in events.iter().filter(|event| event.kind == "object.applied") {
            let told = fields(event);
            let Some(slice) = told.get("endpoints").and_then(Value::as_object) else { continue };
            if text(slice, "service") != Some(service) {
                continue;
            }
            let pods = |name| texts(slice, name).map(str::to_owned).collect::<BTreeSet<_>>();
            let (now, unready) = (pods("ready"), pods("unready"));
            let without = ready.difference(&now).chain(unready.difference(&endpoints.unready));
            endpoints.lost.extend(without.map(|pod| (pod.clone(), event)));
            endpoints.lost.retain(|pod, _| !now.contains(pod));
            (ready, endpoints.unready, endpoints.last) = (now, unready, Some(event));
        }
        endpoints
    }
}

/// The Services behind the clusters of a client's configuration of which `wanted` holds, `namespace/name`.
pub(super) fn services(applied: &Map<String, Value>, wanted: impl Fn(&Map<String, Value>) -> bool) -> BTreeSet<String> {
    let clusters = applied.get("clusters").and_then(Value::as_array).into_iter().flatten();
    let clusters = clusters.filter_map(Value::as_object).filter(|cluster| wanted(cluster));
    clusters.filter_map(|cluster| service(text(cluster, "name")?)).collect()
}

/// `outbound|7070|v1|echo.shop.svc.cluster.local` is of `shop/echo`.
fn service(cluster: &str) -> Option<String> {
    let (name, domain) = cluster.rsplit('|').next()?.split_once('.')?;
    let (namespace, _) = domain.split_once(".svc.")?;
    Some(format!("{namespace}/{name}"))
}

/// A connection that calls of a batch did not wait for.
pub(super) struct Late<'t> {
    /// It is ready now, or is still under way, or has failed.
    pub(super) event: &'t Recorded,
    pub(super) address: String,
    pub(super) state: Option<String>,
    /// How many calls had ended before, of how many.
    pub(super) calls: (usize, usize),
}

/// The connections of the last batch of calls from `at` to `target` that came too late for a good part of it.
pub(super) fn late<'t>(events: &'t [Recorded], at: &str, target: &str) -> Vec<Late<'t>> {
    let asked = |event: &&Recorded| {
        let told = fields(event);
        text(&told, "from") == Some(at) && text(&told, "url") == Some(target)
    };
    let started = events.iter().rev().filter(|event| event.kind == "call.started").find(asked);
    let first = started.and_then(|event| usize::try_from(event.seq).ok()).unwrap_or_default();
    let mut ended = Vec::new();
    let mut connections: BTreeMap<String, Late<'t>> = BTreeMap::new();
    for event in events.get(first..).unwrap_or_default().iter().filter(|event| event.is_at(at)) {
        if !matches!(event.kind, "rpc.finished" | "subchannel.state") {
            continue;
        }
        let told = fields(event);
        if text(&told, "target") != Some(target) {
            continue;
        }
        let Some(address) = text(&told, "address") else {
            ended.push(event.seq);
            continue;
        };
        let state = text(&told, "state").map(str::to_owned);
        let before = connections.get(address).and_then(|connection| connection.state.as_deref());
        if before != Some("READY") && state.as_deref() != Some("IDLE") {
            let address = address.to_owned();
            connections.insert(address.clone(), Late { event, address, state, calls: (0, 0) });
        }
    }
    let late = connections.into_values().filter_map(|mut connection| {
        let ready = connection.state.as_deref() == Some("READY");
        let before = ended.iter().filter(|seq| !ready || **seq < connection.event.seq).count();
        connection.calls = (before, ended.len());
        (before > 0 && before * WORTH_TELLING >= ended.len()).then_some(connection)
    });
    late.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_tell_their_service() {
        assert_eq!(service("outbound|7070|v1|echo.shop.svc.cluster.local").as_deref(), Some("shop/echo"));
        assert_eq!(service("outbound|7070||example.com"), None);
        assert_eq!(service("PassthroughCluster"), None);
    }
}
