//! kube-proxy and cluster DNS: where Services' addresses and names lead.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hermesh_istiod::objects::{ClusterIp, Endpoint, EndpointSlice, Kind, Object, ObjectKey, Service};
use hermesh_runtime::Draws;

use super::dns::Records;
use super::endpoints::{addresses, is_ready, serves_its_end};
use super::events::ServiceRouted;
use super::machines::Outside;
use super::store::{Change, Watch};
use crate::engine::{Resolver, Route, Router, World};

/// What the node knows of Services; clones share it.
#[derive(Clone)]
pub(crate) struct ServiceProxy {
    world: World,
    state: Arc<Mutex<State>>,
    outside: Outside,
}

/// The name of istiod in the hosts file of a machine, and the Service behind it.
const ISTIOD_HOST: &str = "istiod.istio-system.svc";
const ISTIOD_SERVICE: &str = "istio-system/istiod";

#[derive(Default)]
struct State {
    services: BTreeMap<ObjectKey, Arc<Service>>,
    slices: BTreeMap<ObjectKey, Arc<EndpointSlice>>,
    routes: BTreeMap<SocketAddr, Backends>,
    records: Records,
    draws: BTreeMap<String, Draws>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Backends {
    /// `namespace/name`.
    service: String,
    ready: Vec<SocketAddr>,
}

impl ServiceProxy {
    pub(crate) const WATCHED: [Kind; 2] = [Kind::Service, Kind::EndpointSlice];

    /// Takes over names and addresses of the simulation.
    ///
    /// Machines outside of the cluster know no name but that of istiod, from their hosts files, and reach no virtual
    /// address but istiod's.
    pub(crate) fn install(world: &World, outside: Outside) -> Self {
        let proxy = Self { world: world.clone(), state: Arc::default(), outside };
        let resolver: Resolver = {
            let (state, outside) = (Arc::clone(&proxy.state), Arc::clone(&proxy.outside));
            Arc::new(move |pod: &str, host: &str| {
                let namespace = pod.split('/').next().unwrap_or_default();
                if is_outside(&outside, pod) && !["localhost", ISTIOD_HOST].contains(&host) {
                    return None;
                }
                lock(&state).records.resolve(namespace, host)
            })
        };
        world.set_resolver(resolver);
        let router: Router = {
            let proxy = proxy.clone();
            Arc::new(move |pod: &str, to: SocketAddr| proxy.route(pod, to))
        };
        world.set_router(router);
        proxy
    }

    /// Follows the store for good.
    pub(crate) async fn run(self, mut watch: Watch) {
        loop {
            let delivery = watch.next().await;
            let mut state = lock(&self.state);
            match delivery.change {
                Change::Applied(Object::Service(service)) => {
                    state.services.insert(service.key(), service);
                }
                Change::Applied(Object::EndpointSlice(slice)) => {
                    state.slices.insert(slice.key(), slice);
                }
                Change::Deleted(key) => {
                    state.services.remove(&key);
                    state.slices.remove(&key);
                }
                Change::Applied(_) | Change::Synced(_) => continue,
            }
            state.rebuild();
        }
    }

    /// One of the ready endpoints, drawn, as iptables does it. Without any, the connection is refused.
    fn route(&self, pod: &str, to: SocketAddr) -> Route {
        let mut state = lock(&self.state);
        let Some(backends) = state.routes.get(&to).cloned() else { return Route::Direct };
        if is_outside(&self.outside, pod) && backends.service != ISTIOD_SERVICE {
            return Route::Direct;
        }
        let endpoint = match backends.ready.len() {
            0 => None,
            count => {
                let path = format!("kube-proxy/{}", backends.service);
                let fresh = || self.world.runtime().draws(&path);
                let draws = state.draws.entry(backends.service.clone()).or_insert_with(fresh);
                Some(backends.ready[draws.below(count as u64) as usize])
            }
        };
        drop(state);
        self.world.emit(pod, None, ServiceRouted { service: backends.service, endpoint });
        endpoint.map_or(Route::Refuse, Route::To)
    }
}

impl State {
    fn rebuild(&mut self) {
        self.routes.clear();
        self.records = Records::default();
        for service in self.services.values() {
            let (namespace, name) = (&service.metadata.namespace, &service.metadata.name);
            let slices = || {
                self.slices.values().filter(|slice| {
                    slice.metadata.namespace == *namespace && slice.service_name() == Some(name.as_str())
                })
            };
            match service.spec.cluster_ip {
                Some(ClusterIp::Address(address)) => {
                    self.records.add_service(namespace, name, vec![address]);
                    for (port, backends) in backends(service, slices()) {
                        self.routes.insert(SocketAddr::new(address, port), backends);
                    }
                }
                Some(ClusterIp::None) => {
                    let ready: BTreeSet<IpAddr> = slices().flat_map(|slice| addresses(slice, is_ready)).collect();
                    self.records.add_service(namespace, name, ready.into_iter().collect());
                }
                None => {}
            }
            let ready = slices().flat_map(|slice| &slice.endpoints).filter(|endpoint| is_ready(endpoint));
            for (endpoint, address) in ready.filter_map(|endpoint| Some((endpoint, *endpoint.addresses.first()?))) {
                self.records.add_endpoint(namespace, name, endpoint.hostname.as_deref(), address);
            }
        }
    }
}

/// Where connections to a Service's ports go: to the ready endpoints, or if there are none, to those that end and still
/// serve.
///
/// Source: kubernetes `pkg/proxy/topology.go` (`CategorizeEndpoints`).
fn backends<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a Arc<EndpointSlice>> + Clone,
) -> BTreeMap<u16, Backends> {
    let mut backends = backends_of(service, slices.clone(), is_ready);
    for (port, late) in backends_of(service, slices, serves_its_end) {
        let entry = backends.entry(port).or_insert_with(|| late.clone());
        if entry.ready.is_empty() {
            *entry = late;
        }
    }
    backends
}

fn backends_of<'a>(
    service: &Service,
    slices: impl Iterator<Item = &'a Arc<EndpointSlice>>,
    which: fn(&Endpoint) -> bool,
) -> BTreeMap<u16, Backends> {
    let path = format!("{}/{}", service.metadata.namespace, service.metadata.name);
    let empty = || Backends { service: path.clone(), ready: Vec::new() };
    let mut backends: BTreeMap<u16, Backends> = service.spec.ports.iter().map(|port| (port.port, empty())).collect();
    for slice in slices {
        let ready = addresses(slice, which);
        for port in &service.spec.ports {
            let Some(target) = slice.ports.iter().find(|target| target.name == port.name) else { continue };
            let entry = backends.entry(port.port).or_insert_with(empty);
            entry.ready.extend(ready.iter().map(|address| SocketAddr::new(*address, target.port)));
        }
    }
    backends
}

fn is_outside(outside: &Outside, pod: &str) -> bool {
    outside.lock().unwrap_or_else(PoisonError::into_inner).contains(pod)
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
