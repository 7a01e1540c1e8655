//! The watch graph of one target, step by step.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::slot::Slot;
use super::{Action, ClusterState, DependencyError, XdsConfig};
use crate::ads::client::WatchEvent;
use crate::resource::{
    Cluster, Endpoints, Listener, ListenerKind, Resource, ResourceType, RouteAction, RouteConfiguration, RouteSource,
};
use crate::routing::find_virtual_host;

/// Follows the watch graph of one target.
#[derive(Debug)]
pub struct DependencyManager {
    node_id: Arc<str>,
    listener_name: String,
    authority: String,
    listener: Slot<Listener>,
    /// The route configuration under watch, if the listener names one.
    routes: Option<(String, Slot<RouteConfiguration>)>,
    /// The last listener and routes that belong together. They stay in force while a newer listener waits for its
    /// routes.
    active: Option<Active>,
    clusters: BTreeMap<String, Slot<Cluster>>,
    endpoints: BTreeMap<String, Slot<Endpoints>>,
    retained: BTreeMap<String, usize>,
    /// What the owner was told last.
    told: Option<Result<Arc<XdsConfig>, DependencyError>>,
    actions: VecDeque<Action>,
}

/// A listener with its routes.
#[derive(Debug)]
struct Active {
    listener: Arc<Listener>,
    listener_version: Arc<str>,
    routes: Arc<RouteConfiguration>,
    /// Name and version of the route configuration, unless it is inline.
    routes_version: Option<(String, Arc<str>)>,
}

impl DependencyManager {
    /// Starts by watching the listener `listener_name`. `authority` selects the virtual host: the target's endpoint
    /// part with its port, unless the application says otherwise.
    #[must_use]
    pub fn new(node_id: impl Into<Arc<str>>, listener_name: impl Into<String>, authority: impl Into<String>) -> Self {
        let listener_name = listener_name.into();
        Self {
            node_id: node_id.into(),
            authority: authority.into(),
            listener: Slot::Waiting,
            routes: None,
            active: None,
            clusters: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            retained: BTreeMap::new(),
            told: None,
            actions: VecDeque::from([Action::Watch(ResourceType::Listener, listener_name.clone())]),
            listener_name,
        }
    }

    /// Takes in what a watch brought. What comes of a watch that has ended is ignored.
    pub fn on_event(&mut self, resource_type: ResourceType, name: &str, event: WatchEvent) {
        match resource_type {
            ResourceType::Listener if name == self.listener_name => {
                self.listener.on_event(event, |resource| match resource {
                    Resource::Listener(listener) => Some(listener),
                    _ => None,
                });
                self.on_listener();
            }
            ResourceType::RouteConfiguration => {
                if let Some((_, slot)) = self.routes.as_mut().filter(|(watched, _)| watched == name) {
                    slot.on_event(event, |resource| match resource {
                        Resource::RouteConfiguration(routes) => Some(routes),
                        _ => None,
                    });
                    self.on_routes();
                }
            }
            ResourceType::Cluster => {
                if let Some(slot) = self.clusters.get_mut(name) {
                    slot.on_event(event, |resource| match resource {
                        Resource::Cluster(cluster) => Some(cluster),
                        _ => None,
                    });
                    self.evaluate();
                }
            }
            ResourceType::Endpoints => {
                if let Some(slot) = self.endpoints.get_mut(name) {
                    slot.on_event(event, |resource| match resource {
                        Resource::Endpoints(endpoints) => Some(endpoints),
                        _ => None,
                    });
                    self.evaluate();
                }
            }
            ResourceType::Listener => {}
        }
    }

    /// Keeps `cluster` watched and in the configuration even if no route names it: some RPC has chosen it. Every call
    /// must be matched by one of [`release_cluster`](Self::release_cluster). A configuration does not wait for it.
    pub fn retain_cluster(&mut self, cluster: &str) {
        let count = self.retained.entry(cluster.to_owned()).or_default();
        *count += 1;
        if *count == 1 {
            self.evaluate();
        }
    }

    /// Ends one [`retain_cluster`](Self::retain_cluster).
    pub fn release_cluster(&mut self, cluster: &str) {
        let Some(count) = self.retained.get_mut(cluster) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.retained.remove(cluster);
            self.evaluate();
        }
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn on_listener(&mut self) {
        let (listener, listener_version) = match &self.listener {
            Slot::Waiting => return,
            Slot::Data { resource, version } => (Arc::clone(resource), Arc::clone(version)),
            Slot::Error(error) => {
                let error = DependencyError::Listener(error.clone());
                self.watch_routes(None);
                return self.fail(error);
            }
        };
        let ListenerKind::Client(http) = &listener.kind else {
            let (node_id, name) = (Arc::clone(&self.node_id), self.listener_name.clone());
            self.watch_routes(None);
            return self.fail(DependencyError::ServerListener { node_id, name });
        };
        match &http.routes {
            RouteSource::Inline(routes) => {
                let routes = Arc::clone(routes);
                self.watch_routes(None);
                self.active = Some(Active { listener, listener_version, routes, routes_version: None });
                self.evaluate();
            }
            RouteSource::Rds(name) => {
                let name = name.clone();
                self.watch_routes(Some(name));
                self.on_routes();
            }
        }
    }

    /// Moves the watch of the route configuration to another name, or ends it.
    fn watch_routes(&mut self, name: Option<String>) {
        if self.routes.as_ref().map(|(watched, _)| watched) == name.as_ref() {
            return;
        }
        if let Some(name) = &name {
            self.actions.push_back(Action::Watch(ResourceType::RouteConfiguration, name.clone()));
        }
        let old = std::mem::replace(&mut self.routes, name.map(|name| (name, Slot::Waiting)));
        if let Some((old, _)) = old {
            self.actions.push_back(Action::Unwatch(ResourceType::RouteConfiguration, old));
        }
    }

    fn on_routes(&mut self) {
        let (Slot::Data { resource: listener, version: listener_version }, Some((name, slot))) =
            (&self.listener, &self.routes)
        else {
            return;
        };
        match slot {
            Slot::Waiting => {}
            Slot::Data { resource, version } => {
                self.active = Some(Active {
                    listener: Arc::clone(listener),
                    listener_version: Arc::clone(listener_version),
                    routes: Arc::clone(resource),
                    routes_version: Some((name.clone(), Arc::clone(version))),
                });
                self.evaluate();
            }
            Slot::Error(error) => {
                let error = DependencyError::RouteConfiguration(error.clone());
                self.fail(error);
            }
        }
    }

    fn fail(&mut self, error: DependencyError) {
        self.active = None;
        self.watch_clusters(&BTreeSet::new());
        if self.told.as_ref() != Some(&Err(error.clone())) {
            self.told = Some(Err(error.clone()));
            self.actions.push_back(Action::Fail(error));
        }
    }

    /// Watches what is referred to and nothing else, and shows a new configuration once it is whole.
    fn evaluate(&mut self) {
        let Some(active) = &self.active else {
            return self.watch_clusters(&BTreeSet::new());
        };
        let Some(virtual_host) = find_virtual_host(&active.routes.virtual_hosts, &self.authority) else {
            let (node_id, authority) = (Arc::clone(&self.node_id), self.authority.clone());
            return self.fail(DependencyError::NoVirtualHost { node_id, authority });
        };
        let routes = active.routes.virtual_hosts[virtual_host].routes.iter();
        let routed: BTreeSet<String> = routes
            .filter_map(|route| match &route.action {
                RouteAction::Forward { clusters, .. } => Some(clusters),
                RouteAction::NonForwarding | RouteAction::Unsupported(_) => None,
            })
            .flat_map(|clusters| clusters.iter().map(|cluster| cluster.name.clone()))
            .collect();
        self.watch_clusters(&routed);
        let Some(config) = self.assemble(virtual_host, &routed) else {
            return;
        };
        if !matches!(&self.told, Some(Ok(told)) if **told == config) {
            let config = Arc::new(config);
            self.told = Some(Ok(Arc::clone(&config)));
            self.actions.push_back(Action::Apply(config));
        }
    }

    /// Watches the clusters that routes name and those that are retained, and the endpoints of those that are there.
    /// New watches start before old ones end, lest the client has none in between and closes its stream.
    fn watch_clusters(&mut self, routed: &BTreeSet<String>) {
        let wanted: BTreeSet<String> = routed.iter().chain(self.retained.keys()).cloned().collect();
        rewatch(ResourceType::Cluster, &mut self.clusters, &wanted, &mut self.actions);
        let wanted = self
            .clusters
            .values()
            .filter_map(|slot| match slot {
                Slot::Data { resource, .. } => Some(resource.endpoints_name().to_owned()),
                Slot::Waiting | Slot::Error(_) => None,
            })
            .collect();
        rewatch(ResourceType::Endpoints, &mut self.endpoints, &wanted, &mut self.actions);
    }

    /// The configuration; `None` while a routed cluster or its endpoints are on their way.
    fn assemble(&self, virtual_host: usize, routed: &BTreeSet<String>) -> Option<XdsConfig> {
        let active = self.active.as_ref()?;
        let mut versions = BTreeMap::new();
        versions.insert((ResourceType::Listener, self.listener_name.clone()), Arc::clone(&active.listener_version));
        if let Some((name, version)) = &active.routes_version {
            versions.insert((ResourceType::RouteConfiguration, name.clone()), Arc::clone(version));
        }
        let mut clusters = BTreeMap::new();
        for (name, slot) in &self.clusters {
            match self.cluster_state(name, slot, &mut versions) {
                Some(state) => drop(clusters.insert(name.clone(), state)),
                None if routed.contains(name) => return None,
                // What an RPC has already chosen stays as it was.
                None => {
                    if let Some(Ok(told)) = &self.told
                        && let Some(state) = told.clusters.get(name)
                    {
                        clusters.insert(name.clone(), state.clone());
                    }
                }
            }
        }
        Some(XdsConfig {
            listener: Arc::clone(&active.listener),
            route_configuration: Arc::clone(&active.routes),
            virtual_host,
            clusters,
            versions,
        })
    }

    fn cluster_state(
        &self,
        name: &str,
        slot: &Slot<Cluster>,
        versions: &mut BTreeMap<(ResourceType, String), Arc<str>>,
    ) -> Option<ClusterState> {
        let (cluster, version) = match slot {
            Slot::Waiting => return None,
            Slot::Data { resource, version } => (resource, version),
            Slot::Error(error) => return Some(ClusterState::Failed(error.clone())),
        };
        let endpoints_name = cluster.endpoints_name();
        let endpoints = match self.endpoints.get(endpoints_name)? {
            Slot::Waiting => return None,
            Slot::Data { resource, version } => {
                versions.insert((ResourceType::Endpoints, endpoints_name.to_owned()), Arc::clone(version));
                Ok(Arc::clone(resource))
            }
            Slot::Error(error) => Err(error.clone()),
        };
        versions.insert((ResourceType::Cluster, name.to_owned()), Arc::clone(version));
        Some(ClusterState::Ready { cluster: Arc::clone(cluster), endpoints })
    }
}

/// Starts the watches of `wanted` that are missing and ends those that are not wanted.
fn rewatch<T>(
    resource_type: ResourceType,
    slots: &mut BTreeMap<String, Slot<T>>,
    wanted: &BTreeSet<String>,
    actions: &mut VecDeque<Action>,
) {
    for name in wanted {
        if !slots.contains_key(name) {
            slots.insert(name.clone(), Slot::Waiting);
            actions.push_back(Action::Watch(resource_type, name.clone()));
        }
    }
    slots.retain(|name, _| {
        let keep = wanted.contains(name);
        if !keep {
            actions.push_back(Action::Unwatch(resource_type, name.clone()));
        }
        keep
    });
}
