//! Which workload a pod belongs to, and which of its pods it is.

use hermesh_istiod::objects::{Kind, Object, ObjectKey, Pod};

use super::deployments::Deployments;
use super::jobs::Jobs;
use super::machines::Machines;
use super::stateful_sets;
use super::store::Store;

/// Knows whose pods are; cheap to clone.
#[derive(Clone)]
pub(crate) struct Members {
    store: Store,
    deployments: Deployments,
    jobs: Jobs,
    machines: Machines,
}

/// A pod's place in its workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its Deployment, StatefulSet or Job, or itself.
    pub(crate) workload: String,
    /// Its number among the workload's pods, from 0.
    pub(crate) ordinal: u32,
}

impl Members {
    pub(super) fn new(store: &Store, deployments: &Deployments, jobs: &Jobs, machines: &Machines) -> Self {
        let (store, machines) = (store.clone(), machines.clone());
        Self { store, deployments: deployments.clone(), jobs: jobs.clone(), machines }
    }

    pub(crate) fn of(&self, pod: &Pod) -> Member {
        let ordinal = match pod.metadata.owner.as_ref().map(|owner| owner.kind) {
            Some(Kind::StatefulSet) => stateful_sets::ordinal(pod),
            Some(Kind::Job) => self.jobs.ordinal(pod),
            _ => self.deployments.membership(&pod.key()).map(|membership| membership.ordinal),
        };
        Member { workload: workload(pod).to_owned(), ordinal: ordinal.unwrap_or_default() }
    }

    /// The same of a pod that goes by its name, or of a machine, which is a workload of its own.
    pub(crate) fn of_name(&self, namespace: &str, name: &str) -> Option<Member> {
        if self.machines.contains(namespace, name) {
            return Some(Member { workload: name.to_owned(), ordinal: 0 });
        }
        match self.store.get(&ObjectKey::new(Kind::Pod, namespace, name))? {
            Object::Pod(pod) => Some(self.of(&pod)),
            _ => None,
        }
    }
}

/// The workload that a pod belongs to: its owner, or itself.
pub(crate) fn workload(pod: &Pod) -> &str {
    pod.metadata.owner.as_ref().map_or(&pod.metadata.name, |owner| &owner.name)
}
