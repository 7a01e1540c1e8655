//! EndpointSlices: the pods behind a Service, and whether they are ready.
//!
//! Source: kubernetes `staging/src/k8s.io/endpointslice` and `pkg/controller/endpointslice`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hermesh_istiod::objects::{
    AddressType, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, IntOrString, Kind, Labels, Metadata,
    Object, ObjectKey, Pod, PodPhase, SERVICE_NAME_LABEL, Service, ServicePort, TargetReference, selects,
};
use hermesh_runtime::EventId;

use super::names;
use super::store::{Change, Store, Watch};
use crate::engine::World;

/// The controller.
pub(crate) struct Endpoints {
    world: World,
    store: Store,
    /// The labels that each pod had when it was last seen: a Service that selected it then may have to let it go.
    labels: BTreeMap<ObjectKey, Labels>,
}

impl Endpoints {
    pub(crate) const WATCHED: [Kind; 2] = [Kind::Service, Kind::Pod];

    pub(crate) fn new(world: &World, store: &Store) -> Self {
        Self { world: world.clone(), store: store.clone(), labels: BTreeMap::new() }
    }

    /// Follows the store for good.
    pub(crate) async fn run(mut self, mut watch: Watch) {
        loop {
            let delivery = watch.next().await;
            match delivery.change {
                Change::Applied(Object::Service(service)) => self.service(&service, delivery.cause),
                Change::Deleted(key) if key.kind == Kind::Service => {
                    self.store.delete(&self.slice_key(&key), delivery.cause);
                }
                Change::Applied(Object::Pod(pod)) => {
                    let labels = pod.metadata.labels.clone();
                    let before = self.labels.insert(pod.key(), labels.clone());
                    self.services_of(&pod.metadata.namespace, [Some(&labels), before.as_ref()], delivery.cause);
                }
                Change::Deleted(key) if key.kind == Kind::Pod => {
                    let before = self.labels.remove(&key);
                    self.services_of(&key.namespace, [None, before.as_ref()], delivery.cause);
                }
                _ => {}
            }
        }
    }

    /// The Services that select a pod by the labels that it has or had.
    fn services_of(&self, namespace: &str, pod: [Option<&Labels>; 2], cause: Option<EventId>) {
        for object in self.store.list_in(Kind::Service, namespace) {
            if let Object::Service(service) = object
                && pod.into_iter().flatten().any(|labels| selects(&service.spec.selector, labels))
            {
                self.service(&service, cause);
            }
        }
    }

    fn service(&self, service: &Service, cause: Option<EventId>) {
        if service.spec.selector.is_empty() || !self.store.contains(&service.key()) {
            return;
        }
        let pods =
            self.store.list_in(Kind::Pod, &service.metadata.namespace).into_iter().filter_map(|object| match object {
                Object::Pod(pod) => Some(pod),
                _ => None,
            });
        let key = self.slice_key(&service.key());
        self.store.apply(slice(service, pods, &key.name).into(), cause);
    }

    fn slice_key(&self, service: &ObjectKey) -> ObjectKey {
        let path = format!("endpointslice/{}/{}", service.namespace, service.name);
        let name = names::generated(&service.name, &mut self.world.runtime().draws(&path));
        ObjectKey::new(Kind::EndpointSlice, &service.namespace, name)
    }
}

/// The slice of `service`, from all pods of the cluster.
pub(crate) fn slice(service: &Service, pods: impl Iterator<Item = Arc<Pod>>, name: &str) -> EndpointSlice {
    let namespace = &service.metadata.namespace;
    let selected: Vec<Arc<Pod>> = pods
        .filter(|pod| pod.metadata.namespace == *namespace && selects(&service.spec.selector, &pod.metadata.labels))
        .filter(|pod| !matches!(pod.status.phase, PodPhase::Succeeded | PodPhase::Failed))
        .collect();
    let mut metadata = Metadata::named(namespace, name);
    metadata.labels.insert(SERVICE_NAME_LABEL.to_owned(), service.metadata.name.clone());
    EndpointSlice {
        metadata,
        address_type: AddressType::IPv4,
        endpoints: selected.iter().filter_map(|pod| endpoint(service, pod)).collect(),
        ports: service.spec.ports.iter().filter_map(|port| slice_port(port, &selected)).collect(),
    }
}

fn endpoint(service: &Service, pod: &Pod) -> Option<Endpoint> {
    let address = pod.status.pod_ip?;
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = pod.status.ready;
    let is_named = !pod.spec.hostname.is_empty() && pod.spec.subdomain == service.metadata.name;
    Some(Endpoint {
        addresses: vec![address],
        hostname: is_named.then(|| pod.spec.hostname.clone()),
        conditions: EndpointConditions {
            // Whoever publishes all addresses wants them until the end.
            ready: Some(service.spec.publish_not_ready_addresses || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        },
        target_ref: Some(TargetReference {
            kind: "Pod".to_owned(),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
        }),
        node_name: pod.spec.node_name.clone(),
        zone: None,
    })
}

/// A port that no pod has by that name is left out.
fn slice_port(port: &ServicePort, pods: &[Arc<Pod>]) -> Option<EndpointPort> {
    let number = match &port.target_port {
        None => port.port,
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok()?,
        Some(IntOrString::String(name)) => pods.iter().find_map(|pod| pod.named_port(name))?,
    };
    Some(EndpointPort {
        name: port.name.clone(),
        protocol: port.protocol,
        app_protocol: port.app_protocol.clone(),
        port: number,
    })
}

/// Whether an endpoint wants traffic.
pub(crate) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.ready.unwrap_or(true)
}

/// Whether an endpoint that is about to end still takes traffic.
pub(crate) fn serves_its_end(endpoint: &Endpoint) -> bool {
    let EndpointConditions { ready, serving, terminating } = endpoint.conditions;
    terminating == Some(true) && serving.or(ready).unwrap_or(true)
}

/// The addresses of those endpoints of a slice.
pub(crate) fn addresses(slice: &EndpointSlice, which: fn(&Endpoint) -> bool) -> BTreeSet<std::net::IpAddr> {
    let chosen = slice.endpoints.iter().filter(|endpoint| which(endpoint));
    chosen.filter_map(|endpoint| endpoint.addresses.first().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        let mut service = Service { metadata: Metadata::named("shop", "cart"), ..Service::default() };
        service.spec.selector.insert("app".to_owned(), "cart".to_owned());
        let port = |name: &str, port, target: Option<IntOrString>| ServicePort {
            name: Some(name.to_owned()),
            port,
            target_port: target,
            ..ServicePort::default()
        };
        service.spec.ports = vec![
            port("http", 80, Some(IntOrString::Int(8080))),
            port("grpc", 7070, None),
            port("named", 90, Some(IntOrString::String("absent".to_owned()))),
        ];
        service
    }

    fn pod(name: &str, last: u8, ready: bool, change: impl FnOnce(&mut Pod)) -> Arc<Pod> {
        let mut pod = Pod { metadata: Metadata::named("shop", name), ..Pod::default() };
        pod.metadata.labels.insert("app".to_owned(), "cart".to_owned());
        pod.status.pod_ip = Some([10, 244, 0, last].into());
        pod.status.ready = ready;
        pod.status.phase = PodPhase::Running;
        change(&mut pod);
        Arc::new(pod)
    }

    fn states(slice: &EndpointSlice) -> Vec<String> {
        let letter = |value: Option<bool>, letter| if value == Some(true) { letter } else { '-' };
        let states = slice.endpoints.iter().map(|endpoint| {
            let EndpointConditions { ready, serving, terminating } = endpoint.conditions;
            let name = &endpoint.target_ref.as_ref().expect("endpoints are pods").name;
            format!("{name} {}{}{}", letter(ready, 'r'), letter(serving, 's'), letter(terminating, 't'))
        });
        states.collect()
    }

    #[test]
    fn endpoints_follow_readiness_and_deletion() {
        let pods = [
            pod("a", 2, true, |_| {}),
            pod("b", 3, false, |_| {}),
            pod("c", 4, true, |pod| pod.metadata.deletion_timestamp = Some(1)),
            pod("d", 5, true, |pod| pod.status.pod_ip = None),
            pod("e", 6, false, |pod| pod.status.phase = PodPhase::Succeeded),
            pod("f", 7, true, |pod| pod.metadata.namespace = "other".to_owned()),
            pod("g", 8, true, |pod| pod.metadata.labels.clear()),
        ];
        let slice = slice(&service(), pods.into_iter(), "cart-x");
        assert_eq!(states(&slice), ["a rs-", "b ---", "c -st"]);
        let last = |which| addresses(&slice, which).into_iter().map(|address| address.to_string()).collect::<Vec<_>>();
        assert_eq!((last(is_ready), last(serves_its_end)), (vec!["10.244.0.2".into()], vec!["10.244.0.4".into()]));
        assert_eq!(slice.service_name(), Some("cart"));
    }

    #[test]
    fn whoever_publishes_addresses_that_are_not_ready_publishes_all_of_them() {
        let mut service = service();
        service.spec.publish_not_ready_addresses = true;
        let pods = [
            pod("a", 2, true, |_| {}),
            pod("b", 3, false, |_| {}),
            pod("c", 4, true, |pod| pod.metadata.deletion_timestamp = Some(1)),
            pod("d", 5, false, |pod| pod.metadata.deletion_timestamp = Some(1)),
            pod("e", 6, false, |pod| pod.status.phase = PodPhase::Failed),
        ];
        let slice = slice(&service, pods.into_iter(), "cart-x");
        assert_eq!(states(&slice), ["a rs-", "b r--", "c rst", "d r-t"]);
    }

    #[test]
    fn an_endpoint_has_its_pods_hostname_if_the_pods_subdomain_is_the_service() {
        let with = |hostname: &'static str, subdomain: &'static str| {
            move |pod: &mut Pod| {
                pod.spec.hostname = hostname.to_owned();
                pod.spec.subdomain = subdomain.to_owned();
            }
        };
        let pods = [
            pod("a", 2, true, with("a-host", "cart")),
            pod("b", 3, true, with("b-host", "other")),
            pod("c", 4, true, with("", "cart")),
        ];
        let slice = slice(&service(), pods.into_iter(), "cart-x");
        let names: Vec<_> = slice.endpoints.iter().map(|endpoint| endpoint.hostname.as_deref()).collect();
        assert_eq!(names, [Some("a-host"), None, None]);
    }

    #[test]
    fn ports_are_the_pods_own() {
        let slice = slice(&service(), std::iter::once(pod("a", 2, true, |_| {})), "cart-x");
        let ports: Vec<(Option<&str>, u16)> =
            slice.ports.iter().map(|port| (port.name.as_deref(), port.port)).collect();
        assert_eq!(ports, [(Some("http"), 8080), (Some("grpc"), 7070)]);
    }
}
