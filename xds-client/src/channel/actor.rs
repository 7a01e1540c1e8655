//! The task behind a channel: it feeds the dependency manager and the balancer, does what they ask for, and publishes
//! what RPCs go by.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};

use hermesh_runtime::http2::Connection;
use hermesh_runtime::latest::Latest;
use hermesh_runtime::{Address, Draws, EventId, Runtime, Trail};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::connector::{Connector, Heard, Running};
use super::events::{ClusterPriority, ConfigApplied, ConfigFailed};
use super::selector::{ClusterRef, ConfigSelector};
use crate::balancer::{
    Balancer, ClusterConfig, Command, EndpointConfig, LocalityConfig, Picker, SubchannelId, SubchannelState,
};
use crate::cause::{Cause, Failure};
use crate::client::{Notice, Watch, XdsClient, XdsClientPool, sleep_until};
use crate::credentials::ChannelCredentials;
use crate::dependency_manager::{Action, ClusterState, DependencyManager, XdsConfig};
use crate::resource::{Cluster, DropOverload, Endpoints, ResourceType};

/// What the task is told.
#[derive(Debug)]
pub(super) enum Event {
    /// A subchannel reports; with a connection if it is READY.
    Subchannel { id: SubchannelId, state: SubchannelState, connection: Option<Connection>, heard: Heard },
    /// An RPC waits for a subchannel that nobody has connected yet.
    Wanted { cluster: Arc<str>, id: SubchannelId },
    /// The last holder of a [`ClusterRef`] is gone.
    Released(Arc<str>),
}

/// What RPCs go by at one moment.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) resolution: Resolution,
    pub(super) clusters: Arc<BTreeMap<Arc<str>, ClusterPicker>>,
    pub(super) ready: Arc<BTreeMap<SubchannelId, (Address, Connection)>>,
    /// The attempts under way.
    pub(super) attempts: Arc<BTreeMap<SubchannelId, Trail>>,
    /// The last the channel heard of the control plane and its subchannels.
    pub(super) heard: Option<EventId>,
}

/// What name resolution came to.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    Pending,
    Failed(Failure),
    Done(Arc<ConfigSelector>),
}

/// How RPCs to one cluster find their connection.
#[derive(Clone, Debug)]
pub(super) struct ClusterPicker {
    pub(super) picker: Picker,
    pub(super) ready: bool,
    pub(super) limits: Arc<Limits>,
}

/// Which RPCs a cluster takes at all: `xds_cluster_impl_experimental`.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub(super) drops: Vec<DropOverload>,
    /// RPCs in flight from the whole process, and how many there may be (gRFC A32).
    pub(super) requests: Option<(Arc<AtomicU32>, u32)>,
}

impl Snapshot {
    pub(super) fn pending() -> Self {
        Self {
            resolution: Resolution::Pending,
            clusters: Arc::default(),
            ready: Arc::default(),
            attempts: Arc::default(),
            heard: None,
        }
    }

    /// Why RPCs that wait do so: what keeps an attempt from its end, else the last that was heard.
    pub(super) fn waits_for(&self) -> Option<EventId> {
        self.attempts.values().find_map(Trail::trouble).or(self.heard)
    }
}

/// What a channel's task starts with.
pub(super) struct Parts {
    pub(super) rt: Runtime,
    pub(super) pool: XdsClientPool,
    pub(super) client: Arc<XdsClient>,
    pub(super) target: Arc<str>,
    pub(super) listener_name: String,
    pub(super) authority: String,
    pub(super) server_name: String,
    pub(super) credentials: ChannelCredentials,
    pub(super) draws: String,
    pub(super) publish: Latest<Snapshot>,
}

pub(super) struct Actor {
    rt: Runtime,
    pool: XdsClientPool,
    client: Arc<XdsClient>,
    target: Arc<str>,
    node_id: Arc<str>,
    credentials: ChannelCredentials,
    publish: Latest<Snapshot>,

    manager: DependencyManager,
    watches: BTreeMap<(ResourceType, String), Watch>,
    tell: mpsc::UnboundedSender<Notice>,
    notices: mpsc::UnboundedReceiver<Notice>,

    resolution: Resolution,
    /// The event that recorded the configuration in use.
    applied: Option<EventId>,
    /// The last event of the control plane or of a subchannel.
    heard: Option<EventId>,
    references: BTreeMap<String, Weak<ClusterRef>>,
    limits: BTreeMap<String, Arc<Limits>>,

    balancer: Balancer,
    /// The priority that was last told of, by cluster.
    priorities: BTreeMap<String, usize>,
    draws: Draws,
    connector: Arc<Connector>,
    subchannels: BTreeMap<SubchannelId, (Address, Running)>,
    attempts: BTreeMap<SubchannelId, Trail>,
    ready: BTreeMap<SubchannelId, (Address, Connection)>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Actor {
    pub(super) fn new(parts: Parts) -> Self {
        let node_id: Arc<str> = parts.client.bootstrap().node.id.as_str().into();
        let (tell, notices) = mpsc::unbounded_channel();
        let (report, events) = mpsc::unbounded_channel();
        let connector = Connector {
            rt: parts.rt.clone(),
            target: parts.target.clone(),
            server_name: parts.server_name,
            credentials: parts.credentials.clone(),
            providers: parts.client.providers().clone(),
            keepalive: None,
            draws: parts.draws.clone(),
            events: report,
        };
        Self {
            manager: DependencyManager::new(node_id.clone(), parts.listener_name, parts.authority),
            draws: parts.rt.draws(&format!("{}/balancer", parts.draws)),
            rt: parts.rt,
            pool: parts.pool,
            client: parts.client,
            target: parts.target,
            node_id,
            credentials: parts.credentials,
            publish: parts.publish,
            watches: BTreeMap::new(),
            tell,
            notices,
            resolution: Resolution::Pending,
            applied: None,
            heard: None,
            references: BTreeMap::new(),
            limits: BTreeMap::new(),
            balancer: Balancer::default(),
            priorities: BTreeMap::new(),
            connector: Arc::new(connector),
            subchannels: BTreeMap::new(),
            attempts: BTreeMap::new(),
            ready: BTreeMap::new(),
            events,
        }
    }

    pub(super) async fn run(mut self) {
        self.act(None);
        loop {
            let deadline = self.balancer.deadline();
            tokio::select! {
                biased;
                Some(event) = self.events.recv() => self.event(event),
                Some(notice) = self.notices.recv() => {
                    self.manager.on_event(notice.resource_type, &notice.name, notice.event);
                    self.hear(notice.cause);
                    self.act(notice.cause);
                    drop(notice.processing);
                }
                () = sleep_until(deadline) => self.settle(),
            }
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Subchannel { id, state, connection, heard: Heard { event, trail } } => {
                self.heard = event.or(self.heard);
                match trail.filter(|_| self.subchannels.contains_key(&id)) {
                    Some(trail) => drop(self.attempts.insert(id, trail)),
                    None => drop(self.attempts.remove(&id)),
                }
                match (connection, self.subchannels.get(&id)) {
                    (Some(connection), Some((address, _))) => {
                        self.ready.insert(id, (address.clone(), connection));
                    }
                    _ => {
                        self.ready.remove(&id);
                    }
                }
                self.balancer.subchannel(id, state);
                self.settle();
            }
            Event::Wanted { cluster, id } => {
                self.balancer.connect(&cluster, id);
                self.settle();
            }
            Event::Released(cluster) => {
                if self.references.get(&*cluster).is_some_and(|reference| reference.strong_count() == 0) {
                    self.references.remove(&*cluster);
                }
                self.manager.release_cluster(&cluster);
                self.act(None);
            }
        }
    }

    /// Notes what the control plane said last; RPCs that wait for it to say more learn of it.
    fn hear(&mut self, event: Option<EventId>) {
        self.heard = event.or(self.heard);
        if let Resolution::Pending = self.resolution {
            self.publish.replace(Snapshot { heard: self.heard, ..Snapshot::pending() });
        }
    }

    /// Does what the dependency manager asks for.
    fn act(&mut self, cause: Option<EventId>) {
        while let Some(action) = self.manager.poll_action() {
            match action {
                Action::Watch(resource_type, name) => {
                    let watch = self.client.watch(resource_type, &name, self.tell.clone());
                    self.watches.insert((resource_type, name), watch);
                }
                Action::Unwatch(resource_type, name) => {
                    self.watches.remove(&(resource_type, name));
                }
                Action::Apply(config) => self.apply(config, cause),
                Action::Fail(error) => {
                    let (target, error) = (self.target.clone(), error.to_string());
                    let failed = ConfigFailed { target, client_ordinal: self.client.ordinal(), error: error.clone() };
                    let event = self.rt.emit_because(cause, failed);
                    let message = format!(
                        "name resolver error: [xDS node id: {}]: rpc error: code = Unavailable desc = {error}",
                        self.node_id
                    );
                    self.resolution = Resolution::Failed(Failure::new(Cause::NameResolution, message).because(event));
                    self.balancer.update(BTreeMap::new());
                    self.settle();
                }
            }
        }
    }

    fn apply(&mut self, config: Arc<XdsConfig>, cause: Option<EventId>) {
        let applied = ConfigApplied::new(self.target.clone(), self.client.ordinal(), &config);
        let event = self.rt.emit_because(cause, applied);
        let configs = config.clusters.iter().map(|(name, state)| {
            let security = |cluster: &Cluster| self.credentials.security(cluster.security.as_ref());
            let built = match state {
                ClusterState::Failed(error) => Err(Failure::new(Cause::NoCluster, error)),
                ClusterState::Ready { cluster, endpoints: Ok(endpoints) } => {
                    let (security, lb_policy) = (security(cluster), cluster.lb_policy);
                    Ok(ClusterConfig { security, lb_policy, priorities: priorities(endpoints) })
                }
                ClusterState::Ready { endpoints: Err(note), .. } => {
                    let message = format!("weighted-target: no targets to pick from: {note}");
                    Err(Failure::new(Cause::NoEndpoints, message))
                }
            };
            (name.clone(), built)
        });
        let configs = configs.collect();
        self.applied = event;
        self.limits = self.limits_of(&config);
        self.resolution = Resolution::Done(Arc::new(self.selector(config, event)));
        self.balancer.update(configs);
        self.settle();
    }

    fn limits_of(&self, config: &XdsConfig) -> BTreeMap<String, Arc<Limits>> {
        let limits = config.clusters.iter().filter_map(|(name, state)| {
            let ClusterState::Ready { cluster, endpoints } = state else { return None };
            let counter = self.pool.requests(name, cluster.endpoints_name());
            let drops = endpoints.as_ref().map(|endpoints| endpoints.drops.clone()).unwrap_or_default();
            Some((name.clone(), Arc::new(Limits { drops, requests: Some((counter, cluster.max_requests)) })))
        });
        limits.collect()
    }

    /// A selector that holds the clusters of its routes. RPCs that chose by an older one hold theirs.
    fn selector(&mut self, config: Arc<XdsConfig>, event: Option<EventId>) -> ConfigSelector {
        let routed = config.virtual_host().routes.iter().flat_map(|route| match &route.action {
            crate::resource::RouteAction::Forward { clusters, .. } => clusters.as_slice(),
            _ => &[],
        });
        let mut held = BTreeMap::new();
        for cluster in routed {
            if held.contains_key(&cluster.name) {
                continue;
            }
            let reference = self.references.get(&cluster.name).and_then(Weak::upgrade).unwrap_or_else(|| {
                self.manager.retain_cluster(&cluster.name);
                Arc::new(ClusterRef::new(&cluster.name, self.connector.events.clone()))
            });
            self.references.insert(cluster.name.clone(), Arc::downgrade(&reference));
            held.insert(cluster.name.clone(), reference);
        }
        ConfigSelector::new(config, held, self.node_id.clone(), event)
    }

    /// Lets the balancer follow, and publishes what comes of it.
    fn settle(&mut self) {
        for command in self.balancer.settle(Instant::now(), &mut self.draws) {
            match command {
                Command::Create(id, key) => {
                    let address = key.address.clone();
                    self.subchannels.insert(id, (address, Running::start(&self.connector, id, key, self.applied)));
                }
                Command::Connect(id) => {
                    if let Some((_, subchannel)) = self.subchannels.get(&id) {
                        subchannel.connect();
                    }
                }
                Command::Drop(id) => {
                    self.subchannels.remove(&id);
                    self.attempts.remove(&id);
                    self.ready.remove(&id);
                }
            }
        }
        self.tell_priorities();
        let clusters = self.balancer.pickers().map(|(name, state, picker)| {
            let picker = ClusterPicker {
                picker: picker.clone().because(self.applied),
                ready: state == crate::subchannel::ConnectivityState::Ready,
                limits: self.limits.get(name).cloned().unwrap_or_default(),
            };
            (name.into(), picker)
        });
        let clusters = Arc::new(clusters.collect());
        let (ready, attempts) = (Arc::new(self.ready.clone()), Arc::new(self.attempts.clone()));
        let resolution = self.resolution.clone();
        self.publish.replace(Snapshot { resolution, clusters, ready, attempts, heard: self.heard });
    }

    /// Tells of clusters that use another priority than before.
    fn tell_priorities(&mut self) {
        let mut told = BTreeMap::new();
        for (cluster, priority, localities) in self.balancer.priorities() {
            told.insert(cluster.to_owned(), priority);
            let cause = match self.priorities.get(cluster) {
                Some(before) if *before == priority => continue,
                Some(_) => self.heard,
                None => self.applied,
            };
            let event = ClusterPriority {
                target: self.target.clone(),
                cluster: cluster.to_owned(),
                priority,
                localities: localities.iter().map(|locality| locality.name.clone()).collect(),
            };
            self.rt.emit_because(cause, event);
        }
        self.priorities = told;
    }
}

fn priorities(endpoints: &Endpoints) -> Vec<Vec<LocalityConfig>> {
    let mut priorities: BTreeMap<u32, Vec<LocalityConfig>> = BTreeMap::new();
    for locality in &endpoints.localities {
        let usable = locality.endpoints.iter().map(|endpoint| {
            let addresses = std::iter::once(&endpoint.address).chain(&endpoint.additional_addresses);
            EndpointConfig {
                addresses: addresses.map(|address| (*address).into()).collect(),
                weight: endpoint.weight,
                hash_key: endpoint.hash_key.clone(),
            }
        });
        priorities.entry(locality.priority).or_default().push(LocalityConfig {
            name: locality.id.to_string(),
            weight: locality.weight,
            endpoints: usable.collect(),
        });
    }
    priorities.into_values().collect()
}
