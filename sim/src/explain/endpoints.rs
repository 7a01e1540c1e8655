//! What became of the endpoints behind a Service, and of a client's connections to them.

use std::collections::{BTreeMap, BTreeSet};

use hermesh_istiod::objects::{Labels, selects};
use serde_json::{Map, Value};

use super::{fields, text};
use crate::cluster::events::{Entered, ObjectApplied, ObjectDeleted, SlicePods};
use crate::trace::Recorded;

/// Of so many calls one must have gone elsewhere before it is worth telling.
const WORTH_TELLING: usize = 10;

/// What all EndpointSlices of one Service tell, and the WorkloadEntries that it selects. Pods and WorkloadEntries go by
/// `namespace/name`, what is neither by its address.
#[derive(Default)]
pub(super) struct Endpoints<'t> {
    /// By what is gone or not ready, the change since which it is so; of what is gone, only what the Service lost when
    /// its last ready endpoint went, or later.
    pub(super) lost: BTreeMap<String, &'t Recorded>,
    /// What takes connections.
    pub(super) ready: BTreeSet<String>,
    /// What is there and not ready.
    pub(super) unready: BTreeSet<String>,
    /// The last change.
    pub(super) last: Option<&'t Recorded>,
}

impl<'t> Endpoints<'t> {
    /// Those of `service`, `namespace/name`, after `events`.
    pub(super) fn of(events: &'t [Recorded], service: &str) -> Self {
        let mut endpoints = Self::default();
        let mut slices: BTreeMap<&str, &SlicePods> = BTreeMap::new();
        let mut selected = Selected::of(service);
        for event in events {
            if selected.changes(event) {
                endpoints.change(event, &slices, &selected);
                continue;
            }
            let (object, slice) = match (event.get::<ObjectApplied>(), event.get::<ObjectDeleted>()) {
                (Some(applied), _) => (&*applied.object, applied.endpoints.as_ref()),
                (_, Some(deleted)) => (&*deleted.object, None),
                _ => continue,
            };
            let before = match slice.filter(|slice| slice.service == service) {
                Some(slice) => slices.insert(object, slice),
                None => slices.remove(object),
            };
            if before.is_some() || slices.contains_key(object) {
                endpoints.change(event, &slices, &selected);
            }
        }
        endpoints
    }

    fn change(&mut self, event: &'t Recorded, slices: &BTreeMap<&str, &SlicePods>, selected: &Selected<'_>) {
        let ready = slices.values().flat_map(|slice| slice.ready.iter().cloned());
        let ready: BTreeSet<String> = ready.chain(selected.names(true)).collect();
        let unready = slices.values().flat_map(|slice| slice.unready.iter().cloned()).chain(selected.names(false));
        let unready: BTreeSet<String> = unready.filter(|name| !ready.contains(name)).collect();
        if ready.is_empty() && !self.ready.is_empty() {
            // What went before was made up for by others until now.
            self.lost.retain(|name, _| unready.contains(name));
        }
        let without = self.ready.difference(&ready).chain(unready.difference(&self.unready));
        self.lost.extend(without.map(|name| (name.clone(), event)));
        self.lost.retain(|name, _| !ready.contains(name));
        (self.ready, self.unready, self.last) = (ready, unready, Some(event));
    }
}

/// The WorkloadEntries that one Service selects.
struct Selected<'t> {
    namespace: &'t str,
    /// As events name it.
    service: String,
    selector: Option<&'t Labels>,
    /// All of the namespace, by name.
    entries: BTreeMap<&'t str, &'t Entered>,
}

impl<'t> Selected<'t> {
    /// Those of `service`, `namespace/name`, before anything happened.
    fn of(service: &'t str) -> Self {
        let namespace = service.split_once('/').map_or("", |(namespace, _)| namespace);
        Self { namespace, service: format!("Service {service}"), selector: None, entries: BTreeMap::new() }
    }

    /// Whether an event changes which there are, or whether they are healthy.
    fn changes(&mut self, event: &'t Recorded) -> bool {
        let (object, applied) = match (event.get::<ObjectApplied>(), event.get::<ObjectDeleted>()) {
            (Some(applied), _) => (&*applied.object, Some(applied)),
            (_, Some(deleted)) => (&*deleted.object, None),
            _ => return false,
        };
        let seen = |own: &Self| (own.names(true).collect::<Vec<_>>(), own.names(false).collect::<Vec<_>>());
        if object == self.service {
            let before = seen(self);
            self.selector = applied.and_then(|applied| applied.selector.as_ref());
            return seen(self) != before;
        }
        let name = object.strip_prefix("WorkloadEntry ").and_then(|name| name.split_once('/'));
        let Some((_, name)) = name.filter(|(namespace, _)| *namespace == self.namespace) else { return false };
        let before = seen(self);
        match applied.and_then(|applied| applied.entry.as_ref()) {
            Some(entry) => drop(self.entries.insert(name, entry)),
            None => drop(self.entries.remove(name)),
        }
        seen(self) != before
    }

    /// Those that are healthy, or that are not.
    fn names(&self, healthy: bool) -> impl Iterator<Item = String> {
        let selects = |entry: &Entered| self.selector.is_some_and(|selector| selects(selector, &entry.labels));
        let entries = self.entries.iter().filter(move |(_, entry)| entry.healthy == healthy && selects(entry));
        entries.map(|(name, _)| format!("{}/{name}", self.namespace))
    }
}

/// The Service, `namespace/name`, of the EndpointSlice `object` as it was last applied in `events`.
pub(super) fn service_of<'t>(events: &'t [Recorded], object: &str) -> Option<&'t str> {
    let mut applied = events.iter().rev().filter_map(Recorded::get::<ObjectApplied>);
    Some(&applied.find(|applied| applied.object == object)?.endpoints.as_ref()?.service)
}

/// The Services behind the clusters of a client's configuration of which `wanted` holds, `namespace/name`.
pub(super) fn services(applied: &Map<String, Value>, wanted: impl Fn(&Map<String, Value>) -> bool) -> BTreeSet<String> {
    let clusters = applied.get("clusters").and_then(Value::as_array).into_iter().flatten();
    let clusters = clusters.filter_map(Value::as_object).filter(|cluster| wanted(cluster));
    clusters.filter_map(|cluster| service(text(cluster, "name")?)).collect()
}

/// `outbound|7070|v1|echo.shop.svc.cluster.local` is of `shop/echo`.
pub(super) fn service(cluster: &str) -> Option<String> {
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
    use std::sync::Arc;
    use std::time::Duration;

    use hermesh_runtime::{AnyEvent, Event, Level};

    use super::*;
    use crate::trace::{Header, Trace};

    fn trace() -> Trace {
        Trace::new(Header::of_test(Level::Info), true)
    }

    fn record<E: Event>(trace: &mut Trace, event: E) {
        let event: Arc<dyn AnyEvent> = Arc::new(event);
        trace.record(Duration::ZERO, &"cluster".into(), None, event).expect("it is recorded");
    }

    fn apply(trace: &mut Trace, slice: &str, ready: &[&str], unready: &[&str]) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let endpoints = SlicePods { service: "shop/web".into(), ready: names(ready), unready: names(unready) };
        let (object, endpoints) = (format!("EndpointSlice shop/{slice}"), Some(endpoints));
        record(trace, ObjectApplied { object, endpoints, ..applied() });
    }

    fn applied() -> ObjectApplied {
        let (object, resource_version, change) = (String::new(), 1, "configured");
        let (endpoints, workload, selector, entry) = (None, None, None, None);
        ObjectApplied { object, resource_version, change, endpoints, workload, selector, entry }
    }

    fn select(trace: &mut Trace, value: &str) {
        let selector = Some(Labels::from([("app".to_owned(), value.to_owned())]));
        record(trace, ObjectApplied { object: "Service shop/web".into(), selector, ..applied() });
    }

    fn enter(trace: &mut Trace, namespace: &str, healthy: bool) {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        let (object, entry) = (format!("WorkloadEntry {namespace}/vm"), Some(Entered { labels, healthy }));
        record(trace, ObjectApplied { object, entry, ..applied() });
    }

    #[test]
    fn a_service_has_the_workload_entries_that_it_selects() {
        let lost_at = |seq| vec![("shop/vm".to_owned(), seq)];
        let mut trace = trace();
        enter(&mut trace, "shop", true);
        apply(&mut trace, "web-1", &[], &[]);
        assert!(Endpoints::of(trace.events(), "shop/web").ready.is_empty(), "no selector, nobody selected");
        select(&mut trace, "web");
        assert_eq!(Endpoints::of(trace.events(), "shop/web").ready, ["shop/vm".to_owned()].into());
        enter(&mut trace, "elsewhere", false);
        enter(&mut trace, "shop", true);
        assert_eq!(Endpoints::of(trace.events(), "shop/web").last.map(|event| event.seq), Some(3), "nothing changed");
        enter(&mut trace, "shop", false);
        assert_eq!(lost(&trace), lost_at(6));
        enter(&mut trace, "shop", true);
        assert_eq!(lost(&trace), []);
        record(&mut trace, ObjectDeleted { object: "WorkloadEntry shop/vm".into(), resource_version: 1 });
        assert_eq!(lost(&trace), lost_at(8));
        enter(&mut trace, "shop", true);
        select(&mut trace, "other");
        assert_eq!(lost(&trace), lost_at(10));
    }

    fn delete(trace: &mut Trace, slice: &str) {
        record(trace, ObjectDeleted { object: format!("EndpointSlice shop/{slice}"), resource_version: 1 });
    }

    /// What is lost, with the event since which it is.
    fn lost(trace: &Trace) -> Vec<(String, u64)> {
        let Endpoints { lost, .. } = Endpoints::of(trace.events(), "shop/web");
        lost.into_iter().map(|(name, event)| (name, event.seq)).collect()
    }

    #[test]
    fn a_service_has_what_all_its_slices_have() {
        let mut trace = trace();
        apply(&mut trace, "web-1", &["shop/web-0"], &[]);
        apply(&mut trace, "web-2", &["10.9.9.9"], &[]);
        assert_eq!(lost(&trace), [], "one slice does not take the place of the other");
        delete(&mut trace, "web-2");
        delete(&mut trace, "of-another");
        assert_eq!(lost(&trace), [("10.9.9.9".to_owned(), 3)]);
        delete(&mut trace, "web-1");
        assert_eq!(lost(&trace), [("shop/web-0".to_owned(), 5)]);
        assert_eq!(service_of(trace.events(), "EndpointSlice shop/web-2"), Some("shop/web"));
        assert_eq!(service_of(trace.events(), "EndpointSlice shop/of-another"), None);
    }

    #[test]
    fn what_went_while_others_were_ready_is_no_reason() {
        let mut trace = trace();
        apply(&mut trace, "web-1", &["shop/old", "shop/broken"], &[]);
        apply(&mut trace, "web-1", &["shop/old", "shop/new"], &["shop/broken"]);
        apply(&mut trace, "web-1", &["shop/new"], &["shop/broken"]);
        apply(&mut trace, "web-1", &[], &["shop/broken", "shop/new"]);
        apply(&mut trace, "web-1", &[], &["shop/broken"]);
        assert_eq!(lost(&trace), [("shop/broken".to_owned(), 2), ("shop/new".to_owned(), 4)]);
    }

    #[test]
    fn clusters_tell_their_service() {
        assert_eq!(service("outbound|7070|v1|echo.shop.svc.cluster.local").as_deref(), Some("shop/echo"));
        assert_eq!(service("outbound|7070||example.com"), None);
        assert_eq!(service("PassthroughCluster"), None);
    }
}
