//! Machines outside of the cluster: virtual machines on which an agent and an application run without a pod.
//!
//! A machine is what `istioctl x workload entry configure` and the package `istio-sidecar` make of one: files with a
//! token and a root certificate, variables that name its WorkloadGroup, an entry for istiod in its hosts file, and two
//! units that systemd starts again ten seconds after they end. Services' names and virtual addresses are the cluster's:
//! a machine knows none but istiod's, which stands for a load balancer in front of it.

mod package;
mod unit;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_istiod::ca::{AUDIENCE, ServiceAccount, SignedTokens};
use hermesh_istiod::objects::{Kind, Object, ObjectKey, WorkloadGroup};
use hermesh_runtime::EventId;

use super::kubectl::human_duration;
use super::kubelet::{Inside, Kubelet, stand_in, volumes};
use super::store::Store;
use crate::engine::{ContainerId, PodId, PodSpec, World};
use crate::image::{Images, Program, ServedPort};
use crate::mesh::{Fault, PodRow};
use crate::signal::Signal;
use unit::{AGENT, APPLICATION, Unit};

/// How long systemd waits for a unit to stop before it kills it (`DefaultTimeoutStopSec`).
const STOP: Duration = Duration::from_secs(90);
/// The life of the token (`istioctl x workload entry configure --tokenDuration`).
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// What plays the application of a machine that names no image.
pub(crate) const STAND_IN: &str = "stand-in";

/// The machines of a simulation; clones share them.
#[derive(Clone)]
pub(crate) struct Machines {
    world: World,
    store: Store,
    images: Images,
    tokens: Arc<SignedTokens>,
    kubelet: Kubelet,
    /// The image of the mesh's agents.
    agent_image: String,
    state: Arc<Mutex<State>>,
    outside: Outside,
}

/// `namespace/name` of every machine there has been, for those who serve names and addresses.
pub(crate) type Outside = Arc<Mutex<BTreeSet<String>>>;

/// Namespace and name.
type Name = (String, String);

#[derive(Default)]
struct State {
    machines: BTreeMap<Name, Machine>,
}

struct Machine {
    net: PodId,
    address: IpAddr,
    booted: Duration,
    running: BTreeMap<&'static str, ContainerId>,
    inside: Inside,
    /// Whether the application has begun to serve.
    ready: bool,
    restarts: u32,
    off: Signal,
}

/// A machine to boot.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// The name of its WorkloadGroup.
    pub(crate) group: String,
    pub(crate) address: IpAddr,
    /// What plays the application.
    pub(crate) image: String,
    pub(crate) args: Vec<String>,
}

/// Why a machine is not booted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// Its WorkloadGroup is not there.
    #[error("there is no WorkloadGroup `{0}`: apply it first")]
    Group(String),
    /// Its service account is not there.
    #[error("there is no ServiceAccount `{0}` for its token: apply it first")]
    Account(String),
    /// The namespace has no root certificate to give it.
    #[error("namespace {0} has no ConfigMap istio-ca-root-cert yet: let a second pass first")]
    Root(String),
    /// Something else has the name.
    #[error("{0} is there already: a machine needs a name of its own")]
    Name(String),
    /// The machine of that name is not gone yet.
    #[error("machine {0} still shuts down, which may take {max} s: let time pass, and boot it then", max = STOP.as_secs())]
    ShutsDown(String),
    /// Somebody else has the address, or it is one of those that the cluster gives out.
    #[error("the address {address} is {whose}: a machine needs one of its own, such as 192.168.0.1")]
    Address {
        /// The address.
        address: IpAddr,
        /// Whose it is.
        whose: String,
    },
    /// Nothing plays the image.
    #[error("no image `{image}`; those there are: {known}")]
    Image {
        /// The image.
        image: String,
        /// Those there are.
        known: String,
    },
    /// See [`Fault`].
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A machine of which everything is there.
pub(crate) struct Bootable {
    boot: Boot,
    group: Arc<WorkloadGroup>,
    account: String,
    root_certificate: String,
    agent: Program,
    application: Program,
}

impl Machines {
    pub(crate) fn new(
        world: &World,
        store: &Store,
        mut images: Images,
        tokens: SignedTokens,
        kubelet: &Kubelet,
        agent_image: String,
    ) -> Self {
        images.add_named(STAND_IN, STAND_IN).expect("it is one of those built in");
        let (world, store, kubelet) = (world.clone(), store.clone(), kubelet.clone());
        let tokens = Arc::new(tokens);
        Self { world, store, images, tokens, kubelet, agent_image, state: Arc::default(), outside: Arc::default() }
    }

    /// The names of all there have been.
    pub(crate) fn outside(&self) -> Outside {
        Arc::clone(&self.outside)
    }

    /// Looks whether a machine can be booted. Nothing is changed.
    pub(crate) fn prepare(&self, boot: Boot) -> Result<Bootable, BootError> {
        let (namespace, group) = (&boot.namespace, &boot.group);
        let key = ObjectKey::new(Kind::WorkloadGroup, namespace, group);
        let Some(Object::WorkloadGroup(group)) = self.store.get(&key) else {
            return Err(BootError::Group(format!("{namespace}/{group}")));
        };
        self.is_free(&boot)?;
        let account = group.spec.template.as_ref().map(|template| template.service_account.as_str());
        let account = account.filter(|account| !account.is_empty()).unwrap_or("default").to_owned();
        if !self.store.contains(&ObjectKey::new(Kind::ServiceAccount, namespace, &account)) {
            return Err(BootError::Account(format!("{namespace}/{account}")));
        }
        let root_certificate = volumes::find_config_map(&self.store, namespace, "istio-ca-root-cert");
        let root_certificate = root_certificate.and_then(|map| map.data.get("root-cert.pem").cloned());
        let root_certificate = root_certificate.ok_or_else(|| BootError::Root(namespace.clone()))?;
        let find = |image: &str| {
            let known = || self.images.globs().collect::<Vec<_>>().join(", ");
            let missing = || BootError::Image { image: image.to_owned(), known: known() };
            self.images.find(image).cloned().ok_or_else(missing)
        };
        let (agent, application) = (find(&self.agent_image)?, find(&boot.image)?);
        Ok(Bootable { boot, group, account, root_certificate, agent, application })
    }

    /// Boots a machine: its files are there, and its units start.
    pub(crate) fn boot(&self, machine: Bootable, cause: Option<EventId>) {
        let Bootable { boot, group, account, root_certificate, agent, application } = machine;
        let Boot { namespace, name, group: group_name, address, args, .. } = boot;
        let qualified = format!("{namespace}/{name}");
        let token = self.tokens.mint(&ServiceAccount::new(namespace.clone(), account.clone()), AUDIENCE, TOKEN_LIFE);
        let root = package::disk(root_certificate, token, &group);
        let net = self.world.add_pod(PodSpec::new(qualified.clone(), [address]), cause);
        let env = package::environment(&namespace, &group_name, &account, &group);
        let machine = Machine {
            net,
            address,
            booted: self.world.now(),
            running: BTreeMap::new(),
            inside: Inside { env: env.clone(), mounts: Vec::new() },
            ready: false,
            restarts: 0,
            off: Signal::default(),
        };
        let off = machine.off.clone();
        self.lock().machines.insert((namespace.clone(), name.clone()), machine);
        self.outside.lock().unwrap_or_else(PoisonError::into_inner).insert(qualified);

        let labels = package::labels(&group_name, &group);
        let unit = |unit, program, env: &BTreeMap<String, String>, args: Vec<String>, ports: Vec<ServedPort>| Unit {
            machines: self.clone(),
            machine: (namespace.clone(), name.clone()),
            net,
            root: root.clone(),
            name: unit,
            program,
            env: env.clone(),
            args,
            ports: ports.into(),
            version: labels.get("version").map(|version| version.as_str().into()),
            off: off.clone(),
        };
        let domain = format!("{namespace}.svc.cluster.local");
        let agent_args = ["proxy", "sidecar", "--domain", &domain].map(str::to_owned).to_vec();
        let agent = unit(AGENT, agent, &env, agent_args, Vec::new());
        let template_ports = group.spec.template.as_ref().map(|template| template.ports.clone()).unwrap_or_default();
        let ports = stand_in::outside(&namespace, &labels, &template_ports, &self.store);
        let application = unit(APPLICATION, application, &env, args, ports);
        let rt = self.world.runtime();
        rt.spawn("machine.agent", agent.run(cause));
        rt.spawn("machine.application", application.run(cause));
    }

    /// Shuts a machine down: its units are asked to stop, and killed if they do not; then it is gone.
    pub(crate) fn shut_down(&self, name: &Name, cause: Option<EventId>) -> bool {
        let state = self.lock();
        let Some(machine) = state.machines.get(name) else { return false };
        let (off, net, running) = (machine.off.clone(), machine.net, machine.running.clone());
        drop(state);
        if off.is_raised() {
            return true;
        }
        off.raise();
        let (own, name) = (self.clone(), name.clone());
        self.world.runtime().spawn("machine.shutdown", async move {
            for id in running.values() {
                own.world.terminate(*id, cause);
            }
            let ended = async {
                for id in running.values() {
                    own.world.exited(*id).await;
                }
            };
            // What does not end by then is killed with its machine.
            let _ = tokio::time::timeout(STOP, ended).await;
            own.world.remove_pod(net, cause);
            own.lock().machines.remove(&name);
            own.store.touch();
        });
        true
    }

    /// Asks a unit to end, and kills it if it does not; it is started again.
    pub(crate) fn stop(&self, unit: ContainerId, cause: Option<EventId>) {
        self.world.terminate(unit, cause);
        let world = self.world.clone();
        self.world.runtime().spawn("machine.stop", async move {
            if tokio::time::timeout(STOP, world.exited(unit)).await.is_err() {
                world.kill(unit, cause);
            }
        });
    }

    /// The machine with an address, as `(namespace, name)`.
    pub(crate) fn at(&self, address: IpAddr) -> Option<(String, String)> {
        self.lock().machines.iter().find(|(_, machine)| machine.address == address).map(|(name, _)| name.clone())
    }

    /// The network of a machine.
    pub(crate) fn net(&self, key: &ObjectKey) -> Option<PodId> {
        self.of(key, |machine| machine.net)
    }

    /// What runs on a machine.
    pub(crate) fn running(&self, key: &ObjectKey) -> Option<BTreeMap<String, ContainerId>> {
        self.of(key, |machine| machine.running.iter().map(|(name, id)| ((*name).to_owned(), *id)).collect())
    }

    /// What a further process on a machine would see.
    pub(crate) fn inside(&self, key: &ObjectKey) -> Option<Inside> {
        self.of(key, |machine| machine.inside.clone())
    }

    /// Why a machine is not ready; nothing inside if it is, and nothing at all if there is none.
    pub(crate) fn unready(&self, key: &ObjectKey) -> Option<Option<String>> {
        let name = &key.name;
        self.of(key, |machine| {
            let on = !machine.off.is_raised();
            let what = if on { "its application waits for the agent" } else { "it shuts down" };
            (!machine.ready || !on).then(|| format!("{name} is a machine, and {what}"))
        })
    }

    /// Those that are on, by namespace and name.
    pub(crate) fn on(&self) -> Vec<(String, String)> {
        let state = self.lock();
        let on = state.machines.iter().filter(|(_, machine)| !machine.off.is_raised());
        on.map(|(name, _)| name.clone()).collect()
    }

    /// Whether there is no machine of this name any more.
    pub(crate) fn is_gone(&self, key: &ObjectKey) -> bool {
        let ObjectKey { namespace, name, .. } = key;
        let outside = self.outside.lock().unwrap_or_else(PoisonError::into_inner);
        outside.contains(&format!("{namespace}/{name}")) && !self.contains(namespace, name)
    }

    /// All machines, as if they were pods.
    pub(crate) fn rows(&self, namespace: Option<&str>) -> Vec<PodRow> {
        let state = self.lock();
        let machines = state.machines.iter().filter(|((of, _), _)| namespace.is_none_or(|namespace| namespace == of));
        machines
            .map(|((namespace, name), machine)| PodRow {
                namespace: namespace.clone(),
                name: name.clone(),
                workload: name.clone(),
                hostname: name.clone(),
                ordinal: 0,
                ready: format!("{}/2", if machine.ready { 2 } else { 0 }),
                status: if machine.off.is_raised() { "Terminating" } else { "Running" }.to_owned(),
                restarts: machine.restarts,
                exits: BTreeMap::new(),
                age: human_duration(self.world.now().saturating_sub(machine.booted)),
                ip: Some(machine.address),
                node: None,
                containers: vec![AGENT.to_owned(), APPLICATION.to_owned()],
            })
            .collect()
    }

    /// Whether there is a machine of this name.
    pub(crate) fn contains(&self, namespace: &str, name: &str) -> bool {
        self.lock().machines.contains_key(&(namespace.to_owned(), name.to_owned()))
    }

    /// Whether there is a machine of this name, on its way to be gone.
    pub(crate) fn shuts_down(&self, namespace: &str, name: &str) -> bool {
        let key = (namespace.to_owned(), name.to_owned());
        self.lock().machines.get(&key).is_some_and(|machine| machine.off.is_raised())
    }

    fn is_free(&self, boot: &Boot) -> Result<(), BootError> {
        let Boot { namespace, name, address, .. } = boot;
        let qualified = format!("{namespace}/{name}");
        if self.shuts_down(namespace, name) {
            return Err(BootError::ShutsDown(qualified));
        }
        if self.contains(namespace, name) {
            return Err(BootError::Name(format!("a machine {qualified}")));
        }
        let kinds = super::WORKLOADS.into_iter().chain([Kind::Pod]);
        let mut taken = kinds.map(|kind| ObjectKey::new(kind, namespace, name));
        if let Some(taken) = taken.find(|key| self.store.contains(key)) {
            return Err(BootError::Name(taken.to_string()));
        }
        let is_pod_of = |set: &Object| match set {
            Object::StatefulSet(set) => is_pod_of(name, &set.metadata.name, &set.spec.wanted()),
            _ => false,
        };
        if let Some(set) = self.store.list_in(Kind::StatefulSet, namespace).into_iter().find(is_pod_of) {
            return Err(BootError::Name(format!("{} with a pod {name}", set.key())));
        }
        let whose = |whose: &str| Err(BootError::Address { address: *address, whose: whose.to_owned() });
        if let Some(reserved) = reserved(*address) {
            return whose(reserved);
        }
        let state = self.lock();
        let other = state.machines.iter().find(|(_, machine)| machine.address == *address);
        match other {
            Some(((namespace, name), machine)) => {
                let state = if machine.off.is_raised() { ", which still shuts down" } else { "" };
                whose(&format!("that of machine {namespace}/{name}{state}"))
            }
            None => Ok(()),
        }
    }

    fn of<T>(&self, key: &ObjectKey, look: impl FnOnce(&Machine) -> T) -> Option<T> {
        self.lock().machines.get(&(key.namespace.clone(), key.name.clone())).map(look)
    }

    fn change(&self, name: &Name, change: impl FnOnce(&mut Machine)) {
        if let Some(machine) = self.lock().machines.get_mut(name) {
            change(machine);
        }
        self.store.touch();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a name is that of one of a StatefulSet's pods.
pub(crate) fn is_pod_of(name: &str, set: &str, ordinals: &Range<u32>) -> bool {
    let ordinal = name.strip_prefix(set).and_then(|rest| rest.strip_prefix('-'));
    let parsed = ordinal.and_then(|ordinal| ordinal.parse::<u32>().ok());
    // `web-01` is no pod's.
    parsed.is_some_and(|parsed| ordinals.contains(&parsed) && ordinal == Some(&*parsed.to_string()))
}

/// Whose an address is that no machine can have.
pub(crate) fn reserved(address: IpAddr) -> Option<&'static str> {
    if let IpAddr::V4(v4) = address {
        match v4.octets() {
            [10, 244, ..] => return Some("of those that pods get"),
            [10, 96, ..] => return Some("of those that Services get"),
            [10, 0, 0, _] => return Some("of those that nodes have"),
            [255, 255, 255, 255] => return Some("everybody's"),
            _ => {}
        }
    }
    let nobody = address.is_loopback() || address.is_unspecified() || address.is_multicast();
    nobody.then_some("nobody's own")
}
