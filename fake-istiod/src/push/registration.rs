//! Workloads outside of the cluster that register themselves: a WorkloadEntry comes with the first stream of one, and
//! goes some time after its last.
//!
//! What agents say of the health of their workloads becomes a condition of the WorkloadEntry: of those whose group has
//! a probe, only the healthy are endpoints.
//!
//! Source: Istio `pilot/pkg/autoregistration/controller.go` and `internal/health`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hermesh_runtime::{EventId, Runtime};
use tonic::Status;

use super::rfc3339;
use crate::authentication::Caller;
use crate::node::Node;
use crate::objects::{
    HEALTH_CHECKS, Health, Kind, Metadata, Object, ObjectKey, OwnerReference, WorkloadEntry, WorkloadGroup,
};
use crate::watch::WatchEvent;

/// How long an entry outlives the last stream of its workload (`PILOT_WORKLOAD_ENTRY_GRACE_PERIOD`).
const GRACE: Duration = Duration::from_secs(10);
/// How often istiod looks for entries that nobody cleans up.
const PERIOD: Duration = Duration::from_secs(100);

/// On an entry that istiod made: the group.
const GROUP: &str = "istio.io/autoRegistrationGroup";
/// The istiod that its workload is or was connected to.
const CONTROLLER: &str = "istio.io/workloadController";
const CONNECTED_AT: &str = "istio.io/connectedAt";
const DISCONNECTED_AT: &str = "istio.io/disconnectedAt";

/// The longest name that an object may have.
const NAME_MAX: usize = 253;

hermesh_runtime::event! {
    /// A workload outside of the cluster opened its first stream, and has a WorkloadEntry now.
    Registered = "istiod.workload.registered" {
        node: String,
        /// `namespace/name` of the WorkloadEntry.
        entry: String,
        /// The name of its WorkloadGroup.
        group: String,
        /// Whether the entry was there already.
        again: bool,
    }

    /// The agent of such a workload says whether it is healthy.
    HealthReported = "istiod.workload.health" {
        entry: String,
        healthy: bool,
        /// What is wrong with it.
        message: Option<String>,
    }

    /// The last stream of such a workload ended.
    Disconnected = "istiod.workload.disconnected" {
        entry: String,
    }

    /// Such a workload has not come back, and its WorkloadEntry goes.
    CleanedUp = "istiod.workload.cleaned-up" {
        entry: String,
    }
}

/// What istiod writes into the cluster.
#[derive(Clone, Debug)]
pub enum Write {
    /// The object is to be like this.
    Apply(Object),
    /// The object is to go.
    Delete(ObjectKey),
}

/// Writes into the cluster, because of an event.
pub type Writer = Arc<dyn Fn(Write, Option<EventId>) + Send + Sync>;

/// The workloads that have registered themselves; clones share them.
#[derive(Clone)]
pub(crate) struct Registrations {
    rt: Runtime,
    writer: Writer,
    state: Arc<Mutex<State>>,
}

/// Namespace and name.
type Name = (String, String);

#[derive(Default)]
struct State {
    groups: BTreeMap<Name, Arc<WorkloadGroup>>,
    entries: BTreeMap<Name, Arc<WorkloadEntry>>,
    /// How many streams the workloads of entries have.
    streams: BTreeMap<Name, usize>,
}

impl Registrations {
    pub(crate) fn new(rt: &Runtime, writer: Writer) -> Self {
        Self { rt: rt.clone(), writer, state: Arc::default() }
    }

    /// Looks at groups and entries, as they come and go.
    pub(crate) fn follow(&self, event: &WatchEvent) {
        let name = |metadata: &Metadata| (metadata.namespace.clone(), metadata.name.clone());
        let mut state = self.lock();
        match event {
            WatchEvent::Applied(Object::WorkloadGroup(group)) => {
                state.groups.insert(name(&group.metadata), Arc::clone(group));
            }
            WatchEvent::Applied(Object::WorkloadEntry(entry)) => {
                state.entries.insert(name(&entry.metadata), Arc::clone(entry));
            }
            WatchEvent::Deleted(ObjectKey { kind, namespace, name }) => {
                let name = (namespace.clone(), name.clone());
                match kind {
                    Kind::WorkloadGroup => drop(state.groups.remove(&name)),
                    Kind::WorkloadEntry => drop(state.entries.remove(&name)),
                    _ => {}
                }
            }
            WatchEvent::Applied(_) | WatchEvent::Synced(_) => {}
        }
    }

    /// Enters a stream of `node`, if that is a workload which registers itself. It is left when the answer is dropped.
    pub(crate) fn connect(
        &self,
        node: &Node,
        caller: Option<&Caller>,
        cause: Option<EventId>,
    ) -> Result<Option<Connected>, Status> {
        let group = node.auto_register_group().filter(|group| !group.is_empty());
        let (Some(group), Some(namespace)) = (group, node.metadata_namespace()) else { return Ok(None) };
        let address = node.addresses().first().expect("a node without an address is none");
        let mut entry = format!("{group}-{}", address.to_string().replace(':', "-"));
        if let Some(network) = node.network() {
            entry = format!("{entry}-{network}");
        }
        // Nothing of it but ASCII: group and network are names, of which the webhook has seen to one.
        let entry = entry.get(entry.len().saturating_sub(NAME_MAX)..).unwrap_or(&entry).to_owned();
        let name = (namespace.to_owned(), entry);
        let mut state = self.lock();
        let there = state.entries.get(&name).cloned();
        let again = there.is_some();
        let mut entry = match there {
            Some(there) => there,
            None => {
                let found = state.groups.get(&(namespace.to_owned(), group.to_owned()));
                let found = found.ok_or_else(|| {
                    let id = node.id();
                    let message = "cannot find WorkloadGroup";
                    Status::failed_precondition(format!(
                        "auto-registration WorkloadEntry of {id} failed: {message} {namespace}/{group}"
                    ))
                })?;
                Arc::new(of_group(&name, node, found))
            }
        };
        may_control(caller, &entry)?;
        let streams = state.streams.entry(name.clone()).or_default();
        *streams += 1;
        let is_first = *streams == 1;
        if is_first || !again {
            let annotations = &mut Arc::make_mut(&mut entry).metadata.annotations;
            annotations.insert(CONTROLLER.to_owned(), self.rt.hostname());
            annotations.insert(CONNECTED_AT.to_owned(), rfc3339(self.rt.wall()));
            annotations.remove(DISCONNECTED_AT);
            state.entries.insert(name.clone(), Arc::clone(&entry));
        }
        drop(state);
        if is_first || !again {
            let event = Registered {
                node: node.id().to_owned(),
                entry: format!("{}/{}", name.0, name.1),
                group: group.to_owned(),
                again,
            };
            let event = self.rt.emit_because(cause, event).or(cause);
            (self.writer)(Write::Apply(entry.into()), event);
        }
        Ok(Some(Connected { registrations: self.clone(), name, cause }))
    }

    /// Looks for entries whose workloads an earlier istiod has lost, for good.
    pub(crate) async fn clean_up_periodically(self) {
        loop {
            tokio::time::sleep(PERIOD).await;
            let names: Vec<Name> = self.lock().entries.keys().cloned().collect();
            for name in names {
                self.clean_up(&name, None);
            }
        }
    }

    /// The workload has no stream any more.
    async fn disconnected(self, name: Name, cause: Option<EventId>) {
        let text = format!("{}/{}", name.0, name.1);
        let own = self.rt.hostname();
        let entry = {
            let mut state = self.lock();
            let Some(entry) = state.entries.get_mut(&name) else { return };
            if entry.metadata.annotations.get(CONTROLLER) != Some(&own) {
                return;
            }
            let annotations = &mut Arc::make_mut(entry).metadata.annotations;
            annotations.remove(CONNECTED_AT);
            annotations.insert(DISCONNECTED_AT.to_owned(), rfc3339(self.rt.wall()));
            Arc::clone(entry)
        };
        let event = self.rt.emit_because(cause, Disconnected { entry: text }).or(cause);
        (self.writer)(Write::Apply(entry.into()), event);
        tokio::time::sleep(GRACE).await;
        self.clean_up(&name, event);
    }

    /// Deletes an entry that istiod made for a workload which is gone.
    fn clean_up(&self, name: &Name, cause: Option<EventId>) {
        let mut state = self.lock();
        if state.streams.contains_key(name) {
            return;
        }
        // Times that are written alike have the order of their texts.
        let before = rfc3339(self.rt.wall().saturating_sub(GRACE));
        let is_over = |entry: &Arc<WorkloadEntry>| {
            let annotations = &entry.metadata.annotations;
            annotations.contains_key(GROUP)
                && annotations.get(DISCONNECTED_AT).is_some_and(|since| *since <= before)
                && !annotations.contains_key(CONNECTED_AT)
        };
        if !state.entries.get(name).is_some_and(is_over) {
            return;
        }
        state.entries.remove(name);
        drop(state);
        let event = self.rt.emit_because(cause, CleanedUp { entry: format!("{}/{}", name.0, name.1) }).or(cause);
        (self.writer)(Write::Delete(ObjectKey::new(Kind::WorkloadEntry, &name.0, &name.1)), event);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One stream of a registered workload.
pub(crate) struct Connected {
    registrations: Registrations,
    name: Name,
    cause: Option<EventId>,
}

impl Connected {
    /// Takes note of what the workload's agent says of it.
    pub(crate) fn health(&self, health: Health, cause: Option<EventId>) {
        let Registrations { rt, writer, .. } = &self.registrations;
        let entry = {
            let mut state = self.registrations.lock();
            let Some(entry) = state.entries.get_mut(&self.name) else { return };
            Arc::make_mut(entry).status.health = Some(health.clone());
            Arc::clone(entry)
        };
        let message = match health {
            Health::Healthy => None,
            Health::Unhealthy { message } => Some(message),
        };
        let entry_name = format!("{}/{}", self.name.0, self.name.1);
        let event = HealthReported { entry: entry_name, healthy: message.is_none(), message };
        let event = rt.emit_because(cause, event).or(cause);
        writer(Write::Apply(entry.into()), event);
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        let mut state = self.registrations.lock();
        let left = state.streams.get_mut(&self.name).map(|streams| {
            *streams -= 1;
            *streams
        });
        if left != Some(0) {
            return;
        }
        state.streams.remove(&self.name);
        drop(state);
        // An istiod that is killed writes nothing any more: its tasks are gone with it.
        let registrations = self.registrations.clone();
        let gone = registrations.clone().disconnected(self.name.clone(), self.cause);
        registrations.rt.spawn("unregister", gone);
    }
}

/// Whether a workload may write an entry: only in its own namespace, and as the service account that stands there.
fn may_control(caller: Option<&Caller>, entry: &WorkloadEntry) -> Result<(), Status> {
    let Some(caller) = caller else {
        return Err(Status::unknown("registration of WorkloadEntry requires a verified identity"));
    };
    let (namespace, account) = (&entry.metadata.namespace, &entry.spec.service_account);
    if !caller.is(namespace, None) {
        let message = format!("registration of WorkloadEntry namespace mismatch: {caller} vs {namespace:?}");
        return Err(Status::unknown(message));
    }
    if !account.is_empty() && !caller.is(namespace, Some(account)) {
        let message = format!("registration of WorkloadEntry service account mismatch: {caller} vs {account:?}");
        return Err(Status::unknown(message));
    }
    Ok(())
}

/// The entry of a workload: the group's template, under labels of the group's metadata, under those of the node.
fn of_group(name: &Name, node: &Node, group: &WorkloadGroup) -> WorkloadEntry {
    let mut spec = group.spec.template.clone().unwrap_or_default();
    spec.address = node.addresses().first().map(ToString::to_string).unwrap_or_default();
    spec.labels.extend(group.spec.metadata.labels.clone());
    spec.labels.extend(node.labels().clone());
    if let Some(network) = node.network() {
        network.clone_into(&mut spec.network);
    }
    if let Some(locality) = node.own_locality() {
        let parts = [&locality.region, &locality.zone, &locality.sub_zone].map(String::as_str);
        spec.locality = parts.join("/").trim_end_matches('/').to_owned();
    }
    let mut annotations = group.spec.metadata.annotations.clone();
    annotations.insert(GROUP.to_owned(), group.metadata.name.clone());
    if group.spec.probe.is_some() {
        annotations.insert(HEALTH_CHECKS.to_owned(), "true".to_owned());
    }
    let owner = OwnerReference {
        kind: Kind::WorkloadGroup,
        name: group.metadata.name.clone(),
        uid: group.metadata.uid.clone(),
    };
    let metadata =
        Metadata { labels: spec.labels.clone(), annotations, owner: Some(owner), ..Metadata::named(&name.0, &name.1) };
    WorkloadEntry { metadata, spec, ..WorkloadEntry::default() }
}
