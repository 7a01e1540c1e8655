//! The cluster's objects as istiod sees them: a stream of changes in, snapshots and what to push out.
//!
//! Istio's `pilot/pkg/config/kube` and `serviceregistry/kube`. Kinds are watched one by one, so that nothing is
//! promised about the order of changes to different kinds; within a kind they come in order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hermesh_runtime::EventId;
use tokio::sync::mpsc;

use crate::objects::{Kind, Labels, Object, ObjectKey, Pod, ServiceEntry, selects};
use crate::push::{ServiceName, Update};
use crate::snapshot::{Mesh, Snapshot, with_own_labels};

/// The kinds that istiod watches. It is ready once each of them is [`Synced`](WatchEvent::Synced); others it ignores.
pub const KINDS: [Kind; 13] = [
    Kind::Namespace,
    Kind::Node,
    Kind::ConfigMap,
    Kind::Service,
    Kind::EndpointSlice,
    Kind::Pod,
    Kind::ServiceEntry,
    Kind::WorkloadEntry,
    Kind::WorkloadGroup,
    Kind::DestinationRule,
    Kind::VirtualService,
    Kind::PeerAuthentication,
    Kind::AuthorizationPolicy,
];

/// The ConfigMap of the root namespace that holds the mesh's configuration.
const MESH_CONFIG: &str = "istio";

/// One change to the cluster.
#[derive(Clone, Debug, PartialEq)]
pub enum WatchEvent {
    /// An object is new or different.
    Applied(Object),
    /// An object is gone.
    Deleted(ObjectKey),
    /// All objects of the kind that were there at the start have been applied.
    Synced(Kind),
}

/// A change and the event that tells of it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// What changed.
    pub event: WatchEvent,
    /// Why.
    pub cause: Option<EventId>,
}

/// The two ends of a watch.
#[must_use]
pub fn watch() -> (WatchSender, WatchSource) {
    let (changes_tx, changes) = mpsc::unbounded_channel();
    let undelivered = Arc::new(AtomicUsize::new(0));
    let sender = WatchSender { changes: changes_tx, undelivered: Arc::clone(&undelivered) };
    (sender, WatchSource { changes, undelivered })
}

/// Where changes go in.
#[derive(Clone, Debug)]
pub struct WatchSender {
    changes: mpsc::UnboundedSender<Watched>,
    undelivered: Arc<AtomicUsize>,
}

impl WatchSender {
    /// Tells of a change. Nobody hears it if istiod is gone.
    pub fn send(&self, event: WatchEvent, cause: Option<EventId>) {
        self.undelivered.fetch_add(1, Ordering::AcqRel);
        if self.changes.send(Watched { event, cause }).is_err() {
            self.undelivered.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Tells of `objects` and that there are no more for now.
    pub fn send_all(&self, objects: impl IntoIterator<Item = Object>) {
        for object in objects {
            self.send(WatchEvent::Applied(object), None);
        }
        for kind in KINDS {
            self.send(WatchEvent::Synced(kind), None);
        }
    }

    /// Whether istiod no longer listens.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.changes.is_closed()
    }
}

/// Where changes come out: what an [`Istiod`](crate::Istiod) reads.
#[derive(Debug)]
pub struct WatchSource {
    changes: mpsc::UnboundedReceiver<Watched>,
    undelivered: Arc<AtomicUsize>,
}

impl WatchSource {
    /// The next change; never, if no sender is left. To be followed by [`delivered`](Self::delivered).
    pub(crate) async fn next(&mut self) -> Watched {
        match self.changes.recv().await {
            Some(watched) => watched,
            None => std::future::pending().await,
        }
    }

    /// The change that came last is taken care of. Whether there is no other.
    pub(crate) fn delivered(&self) -> bool {
        self.undelivered.fetch_sub(1, Ordering::AcqRel) == 1
    }

    pub(crate) fn undelivered(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.undelivered)
    }
}

/// The objects as they are now.
#[derive(Debug)]
pub(crate) struct Store {
    mesh: Mesh,
    objects: BTreeMap<ObjectKey, Object>,
    /// The event of each object's last change.
    changes: Arc<BTreeMap<ObjectKey, EventId>>,
    unsynced: BTreeSet<Kind>,
}

impl Store {
    pub(crate) fn new(mesh: Mesh) -> Self {
        Self { mesh, objects: BTreeMap::new(), changes: Arc::default(), unsynced: KINDS.into() }
    }

    pub(crate) fn is_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.len()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.mesh.clone(), self.objects.values().cloned())
    }

    /// The event of each object's last change, as far as events are recorded.
    pub(crate) fn changes(&self) -> Arc<BTreeMap<ObjectKey, EventId>> {
        Arc::clone(&self.changes)
    }

    /// Takes in a change; what has to be pushed because of it.
    pub(crate) fn apply(&mut self, watched: Watched) -> Option<Update> {
        let (before, after) = match watched.event {
            WatchEvent::Synced(kind) => {
                self.unsynced.remove(&kind);
                return None;
            }
            WatchEvent::Applied(object) => {
                let before = self.objects.insert(object.key(), object.clone());
                (before, Some(object))
            }
            WatchEvent::Deleted(key) => (self.objects.remove(&key), None),
        };
        let by_readiness = [&before, &after].into_iter().flatten().any(|object| self.counts_once_ready(object));
        if is_unchanged(before.as_ref(), after.as_ref(), by_readiness) {
            return None;
        }
        match (&after, &before, watched.cause) {
            (Some(object), _, Some(cause)) => drop(Arc::make_mut(&mut self.changes).insert(object.key(), cause)),
            (None, Some(object), _) => drop(Arc::make_mut(&mut self.changes).remove(&object.key())),
            _ => {}
        }
        let mut update = Update { causes: watched.cause.into_iter().collect(), ..Update::default() };
        // What an object meant before the change needs a push as much as what it means now.
        let mut wanted = false;
        for object in [before, after].iter().flatten() {
            wanted |= self.concern(object, &mut update);
        }
        wanted.then_some(update)
    }

    /// Adds to `update` what depends on `object`. False if nothing does.
    fn concern(&self, object: &Object, update: &mut Update) -> bool {
        let metadata = object.metadata();
        let own_namespace = || metadata.namespace.clone();
        match object {
            // Endpoints are where their node was when they became known.
            Object::Node(_) => return false,
            Object::Namespace(_)
            | Object::ServiceAccount(_)
            | Object::Deployment(_)
            | Object::StatefulSet(_)
            | Object::Job(_)
            | Object::WorkloadGroup(_)
            | Object::ProxyConfig(_) => return false,
            Object::ConfigMap(_) => {
                if metadata.namespace != self.mesh.root_namespace || metadata.name != MESH_CONFIG {
                    return false;
                }
                update.all_endpoints = true;
            }
            Object::Service(_) => {
                update.services.insert((own_namespace(), metadata.name.clone()));
            }
            Object::EndpointSlice(slice) => {
                let Some(service) = slice.service_name() else { return false };
                update.services.insert((own_namespace(), service.to_owned()));
            }
            Object::Pod(pod) => {
                let services = self.services_of(pod);
                update.pods.insert((own_namespace(), metadata.name.clone()));
                if services.is_empty() {
                    return true;
                }
                update.services.extend(services);
            }
            // Routes and listeners come anew with every push.
            Object::VirtualService(_) | Object::AuthorizationPolicy(_) => {}
            Object::ServiceEntry(entry) => {
                update.services.extend(entry.spec.hosts.iter().map(|host| service_name(host)));
            }
            Object::WorkloadEntry(entry) => {
                let entry = with_own_labels(Arc::clone(entry));
                update.services.extend(self.services_that_select(&metadata.namespace, &entry.spec.labels));
                update.services.extend(self.external_services_that_select(&metadata.namespace, &entry.spec.labels));
            }
            Object::DestinationRule(rule) => match service_of_host(&rule.spec.host, &metadata.namespace) {
                Some(service) => {
                    update.services.insert(service);
                    update.services.extend(self.is_external(&rule.spec.host).then(|| service_name(&rule.spec.host)));
                }
                None => update.all_endpoints = true,
            },
            Object::PeerAuthentication(_) if metadata.namespace == self.mesh.root_namespace => {
                update.all_endpoints = true;
            }
            Object::PeerAuthentication(_) => {
                let services = self.objects.keys().filter(|key| key.kind == Kind::Service);
                let own = services.filter(|key| key.namespace == metadata.namespace);
                update.services.extend(own.map(|key| (key.namespace.clone(), key.name.clone())));
                let entries = self.service_entries(&metadata.namespace);
                let hosts = entries.flat_map(|entry| &entry.spec.hosts).map(|host| service_name(host));
                update.services.extend(hosts);
            }
        }
        update.everyone = true;
        true
    }

    /// The services that have `pod` among their endpoints.
    fn services_of(&self, pod: &Pod) -> Vec<(String, String)> {
        let slices = self.objects.values().filter_map(|object| match object {
            Object::EndpointSlice(slice) if slice.metadata.namespace == pod.metadata.namespace => Some(slice),
            _ => None,
        });
        let holds_pod = |slice: &&Arc<crate::objects::EndpointSlice>| {
            slice.endpoints.iter().any(|endpoint| {
                endpoint.target_ref.as_ref().is_some_and(|target| target.name == pod.metadata.name)
                    || pod.status.pod_ip.is_some_and(|address| endpoint.addresses.contains(&address))
            })
        };
        let named = slices.filter(holds_pod).filter_map(|slice| slice.service_name());
        let named = named.map(|service| (pod.metadata.namespace.clone(), service.to_owned()));
        named.chain(self.external_services_that_select(&pod.metadata.namespace, &pod.metadata.labels)).collect()
    }

    fn service_entries<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Arc<ServiceEntry>> {
        self.objects.values().filter_map(move |object| match object {
            Object::ServiceEntry(entry) if entry.metadata.namespace == namespace => Some(entry),
            _ => None,
        })
    }

    /// Whether a ServiceEntry has this host.
    fn is_external(&self, host: &str) -> bool {
        self.objects.values().any(|object| match object {
            Object::ServiceEntry(entry) => entry.spec.hosts.iter().any(|own| own == host),
            _ => false,
        })
    }

    /// The hosts of the namespace's ServiceEntries that have workloads with `labels` behind them.
    fn external_services_that_select(&self, namespace: &str, labels: &Labels) -> Vec<ServiceName> {
        let selecting = self.service_entries(namespace).filter(|entry| {
            entry.spec.workload_selector.as_ref().is_some_and(|selector| selects(&selector.labels, labels))
        });
        selecting.flat_map(|entry| &entry.spec.hosts).map(|host| service_name(host)).collect()
    }

    /// The Services of the namespace that select workloads with `labels`.
    fn services_that_select(&self, namespace: &str, labels: &Labels) -> Vec<ServiceName> {
        let selecting = self.objects.values().filter_map(|object| match object {
            Object::Service(service) if service.metadata.namespace == namespace => Some(service),
            _ => None,
        });
        let selecting = selecting.filter(|service| {
            let selector = &service.spec.selector;
            !selector.is_empty() && selects(selector, labels)
        });
        selecting.map(|service| (namespace.to_owned(), service.metadata.name.clone())).collect()
    }

    /// Whether an object is a pod that a ServiceEntry has behind it while it is ready.
    fn counts_once_ready(&self, object: &Object) -> bool {
        let Object::Pod(pod) = object else { return false };
        !self.external_services_that_select(&pod.metadata.namespace, &pod.metadata.labels).is_empty()
    }
}

/// Whether nothing that istiod reads differs. Of a pod it reads little, and kubelet writes much; whether it is ready
/// counts `by_readiness` alone.
fn is_unchanged(before: Option<&Object>, after: Option<&Object>, by_readiness: bool) -> bool {
    let (before, after) = match (before, after) {
        (None, None) => return true,
        (Some(before), Some(after)) => (before, after),
        _ => return false,
    };
    if let (Object::Pod(before), Object::Pod(after)) = (before, after) {
        let read = |pod: &Pod| {
            let spec = (pod.spec.service_account().to_owned(), pod.spec.node_name.clone());
            let ready = by_readiness && pod.status.ready;
            (pod.metadata.labels.clone(), pod.metadata.uid.clone(), spec, pod.status.pod_ip, pod.status.phase, ready)
        };
        return read(before) == read(after) && before.spec.containers == after.spec.containers;
    }
    let (mut before, mut after) = (before.clone(), after.clone());
    for object in [&mut before, &mut after] {
        object.metadata_mut().resource_version = 0;
    }
    before == after
}

/// The service with a host: of `<name>.<namespace>.svc.<domain>` namespace and name, else no namespace and the host.
pub(crate) fn service_name(host: &str) -> ServiceName {
    let mut labels = host.split('.');
    match (labels.next(), labels.next(), labels.next()) {
        (Some(name), Some(namespace), Some("svc")) => (namespace.to_owned(), name.to_owned()),
        _ => (String::new(), host.to_owned()),
    }
}

/// The service that a DestinationRule's host names from within `namespace`; none for a wildcard.
fn service_of_host(host: &str, namespace: &str) -> Option<ServiceName> {
    let mut labels = host.split('.');
    let name = labels.next().filter(|name| !name.contains('*'))?;
    match (labels.next(), labels.next()) {
        (None, _) => Some((namespace.to_owned(), name.to_owned())),
        (Some(namespace), None | Some("svc")) => Some((namespace.to_owned(), name.to_owned())),
        _ => Some(service_name(host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::load;

    fn object(text: &str) -> Object {
        let mut loaded = load("test.yaml", text, "demo");
        assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
        loaded.objects.remove(0)
    }

    fn apply(store: &mut Store, object: Object) -> Option<Update> {
        store.apply(Watched { event: WatchEvent::Applied(object), cause: None })
    }

    fn services(names: &[&str]) -> BTreeSet<(String, String)> {
        names.iter().map(|name| ("demo".to_owned(), (*name).to_owned())).collect()
    }

    fn service(name: &str) -> Object {
        object(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 1}}]}}"))
    }

    fn rule(name: &str, host: &str) -> Object {
        object(&format!(
            "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}}}\nspec: {{host: '{host}'}}"
        ))
    }

    fn peer_authentication(namespace: &str) -> Object {
        object(&format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: {namespace}}}\n\
             spec: {{mtls: {{mode: STRICT}}}}"
        ))
    }

    fn slice() -> Object {
        object(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\naddressType: IPv4\n\
             endpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: pod}}]\nports: [{port: 1}]",
        )
    }

    fn pod(labels: &str) -> Object {
        object(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: pod, labels: {labels}}}\n\
             spec: {{containers: [{{name: app, image: x}}]}}"
        ))
    }

    #[test]
    fn a_destination_rule_concerns_the_service_it_names_before_and_after() {
        let mut store = Store::new(Mesh::default());
        assert_eq!(apply(&mut store, rule("r", "a")).unwrap().services, services(&["a"]));
        assert_eq!(apply(&mut store, rule("r", "b.demo.svc.cluster.local")).unwrap().services, services(&["a", "b"]));
        assert!(apply(&mut store, rule("r", "*.demo")).unwrap().all_endpoints);
        let key = rule("r", "a").key();
        assert!(store.apply(Watched { event: WatchEvent::Deleted(key), cause: None }).unwrap().all_endpoints);
    }

    #[test]
    fn peer_authentication_concerns_its_namespace_or_from_the_root_namespace_all() {
        let mut store = Store::new(Mesh::default());
        apply(&mut store, service("a"));
        apply(&mut store, service("b"));
        assert_eq!(apply(&mut store, peer_authentication("demo")).unwrap().services, services(&["a", "b"]));
        assert!(apply(&mut store, peer_authentication("istio-system")).unwrap().all_endpoints);
    }

    #[test]
    fn a_pod_concerns_its_own_stream_and_if_it_is_an_endpoint_everyone() {
        let mut store = Store::new(Mesh::default());
        let update = apply(&mut store, pod("{app: a}")).unwrap();
        assert_eq!((update.everyone, &update.pods), (false, &services(&["pod"])));
        apply(&mut store, slice());
        let update = apply(&mut store, pod("{app: a, version: v2}")).unwrap();
        assert_eq!((update.everyone, &update.services), (true, &services(&["a"])));
    }

    #[test]
    fn what_only_kubelet_cares_about_is_no_change() {
        let mut store = Store::new(Mesh::default());
        apply(&mut store, pod("{}"));
        let Object::Pod(before) = pod("{}") else { unreachable!("it is a pod") };
        let mut after = Pod::clone(&before);
        after.status.ready = true;
        after.metadata.resource_version = 7;
        assert_eq!(apply(&mut store, after.clone().into()), None);
        after.status.pod_ip = Some([10, 0, 0, 1].into());
        assert!(apply(&mut store, after.into()).is_some());
    }

    #[test]
    fn an_object_written_again_as_it_is_makes_no_push() {
        let mut store = Store::new(Mesh::default());
        assert!(apply(&mut store, service("a")).is_some());
        let mut again = service("a");
        again.metadata_mut().resource_version = 9;
        assert_eq!(apply(&mut store, again), None);
    }

    #[test]
    fn it_is_synced_once_every_kind_is() {
        let mut store = Store::new(Mesh::default());
        for kind in KINDS {
            assert!(!store.is_synced());
            assert_eq!(store.apply(Watched { event: WatchEvent::Synced(kind), cause: None }), None);
        }
        assert!(store.is_synced());
    }
}
