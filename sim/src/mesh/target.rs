//! Names of workloads, pods and containers, as people write them: `web`, `web/0`, `web/0/istio-proxy`, `istiod`.

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_istiod::yaml::nearest;

use super::{Mesh, PodRow, TargetError};
use crate::cluster::{ISTIO_NAMESPACE, WORKLOADS};
use crate::engine::PodId;

/// The pods that a name means, and the container if it names one.
pub(super) struct Chosen {
    pub(super) pods: Vec<PodRow>,
    pub(super) container: Option<String>,
}

impl Mesh {
    /// What `name` means: a workload or a pod, then perhaps an ordinal, then perhaps a container; before all that
    /// perhaps a namespace. Without a namespace it is the mesh's own, and istiod's for what that one does not have.
    pub(super) fn choose(&self, name: &str) -> Result<Chosen, TargetError> {
        let parts: Vec<&str> = name.split('/').collect();
        let namespaced = parts.len() > 1 && self.cluster.store.contains(&ObjectKey::new(Kind::Namespace, "", parts[0]));
        let candidates: Vec<(&str, &[&str])> = if namespaced {
            vec![(parts[0], &parts[1..]), (&self.namespace, &parts)]
        } else {
            vec![(&self.namespace, &parts), (ISTIO_NAMESPACE, &parts)]
        };
        let mut error = None;
        for (namespace, parts) in candidates {
            match self.choose_in(namespace, parts) {
                Ok(chosen) => return Ok(chosen),
                // The first namespace is the one that was meant.
                Err(this) => error = Some(error.unwrap_or(this)),
            }
        }
        Err(error.expect("there are candidates"))
    }

    fn choose_in(&self, namespace: &str, parts: &[&str]) -> Result<Chosen, TargetError> {
        let (workload, rest) = (parts[0], &parts[1..]);
        let mut pods = self.cluster.everyone_of(namespace, workload);
        if pods.is_empty() {
            let rows = self.cluster.everyone(Some(namespace));
            let known: Vec<&str> = rows.iter().map(|row| row.workload.as_str()).collect();
            return Err(unknown("workload", workload, &known));
        }
        let (ordinal, container) = match rest {
            [] => (None, None),
            [first] => match first.parse::<u32>() {
                Ok(ordinal) => (Some(ordinal), None),
                Err(_) => (None, Some(*first)),
            },
            [ordinal, container] => {
                let number = ordinal.parse::<u32>().map_err(|_| unknown("pod", &parts[..2].join("/"), &[]))?;
                (Some(number), Some(*container))
            }
            _ => return Err(unknown("container", &parts.join("/"), &[])),
        };
        if let Some(ordinal) = ordinal {
            pods.retain(|row| row.ordinal == ordinal);
            // While a rollout is on, old and new pods share ordinals: the one that stays is meant.
            if !pods.iter().all(PodRow::is_terminating) {
                pods.retain(|row| !row.is_terminating());
            }
            if pods.is_empty() {
                return Err(unknown("pod", &format!("{workload}/{ordinal}"), &[]));
            }
        }
        if let Some(container) = container {
            let known: Vec<&str> = pods.iter().flat_map(|row| &row.containers).map(String::as_str).collect();
            if !known.contains(&container) {
                return Err(unknown("container", container, &known));
            }
        }
        Ok(Chosen { pods, container: container.map(str::to_owned) })
    }

    /// What becomes ready under this name: a Deployment, StatefulSet or Job, even before it has pods, or else pods.
    pub(super) fn workload(&self, name: &str) -> Result<Vec<ObjectKey>, TargetError> {
        let (namespace, workload) = name.split_once('/').unwrap_or((&self.namespace, name));
        let places = [(namespace, workload), (ISTIO_NAMESPACE, name)];
        let of_kinds = |(namespace, name)| WORKLOADS.map(|kind| ObjectKey::new(kind, namespace, name));
        let mut keys = places.into_iter().flat_map(of_kinds);
        if let Some(workload) = keys.find(|key| self.cluster.store.contains(key)) {
            return Ok(vec![workload]);
        }
        match self.choose(name) {
            Ok(chosen) => {
                let key = |row: &PodRow| ObjectKey::new(Kind::Pod, &row.namespace, &row.name);
                Ok(chosen.pods.iter().map(key).collect())
            }
            Err(TargetError::Unknown { what: "workload", name, .. }) => {
                let known = self.cluster.workloads();
                let known: Vec<&str> = known.iter().map(|key| key.name.as_str()).collect();
                Err(unknown("workload", &name, &known))
            }
            Err(error) => Err(error),
        }
    }

    /// A pod that can be asked to call others: the first ready one, else the first that runs, of those that end none as
    /// long as there are others.
    pub(super) fn caller(&self, name: &str) -> Result<(PodId, PodRow), TargetError> {
        let mut pods = self.choose(name)?.pods;
        // Of a node without power the cluster may not know yet.
        pods.retain(|row| self.cluster.is_powered(&ObjectKey::new(Kind::Pod, &row.namespace, &row.name)));
        let ready = pods.iter().find(|row| row.is_ready());
        let runs = |row: &&PodRow| self.net(row).is_some();
        let running = || pods.iter().filter(runs).min_by_key(|row| row.is_terminating());
        let row = ready.or_else(running).ok_or_else(|| TargetError::NotRunning(name.to_owned()))?;
        let net = self.net(row).ok_or_else(|| TargetError::NotRunning(name.to_owned()))?;
        Ok((net, row.clone()))
    }

    pub(super) fn net(&self, row: &PodRow) -> Option<PodId> {
        self.cluster.net(&ObjectKey::new(Kind::Pod, &row.namespace, &row.name))
    }
}

pub(super) fn unknown(what: &'static str, name: &str, known: &[&str]) -> TargetError {
    let nearest = nearest(name, known.iter().copied()).map(str::to_owned);
    TargetError::Unknown { what, name: name.to_owned(), nearest }
}
