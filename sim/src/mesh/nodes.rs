//! The nodes of the cluster: how many there are, where they are, and their power.

use std::collections::BTreeSet;

use hermesh_istiod::objects::{Labels, is_dns_subdomain, is_label_key, is_label_value};
use hermesh_runtime::EventId;

use super::target::unknown;
use super::{DisturbError, Mesh, StartError};
use crate::cluster::{Cluster, NODES_MAX, NodeSpec};

/// The nodes that a cluster is to have. A number stands for as many without labels, called `node-1` and so on.
///
/// ```
/// use hermesh::Nodes;
///
/// let three = hermesh::mesh().nodes(3);
/// let zone = |zone| [("topology.kubernetes.io/region", "eu"), ("topology.kubernetes.io/zone", zone)];
/// let two_zones = hermesh::mesh().nodes(Nodes::new().node("a", zone("eu-a")).node("b", zone("eu-b")));
/// # drop((three, two_zones));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Nodes(pub(super) Vec<NodeSpec>);

impl Nodes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those, and one with this name and these labels.
    #[must_use]
    pub fn node<K: Into<String>, V: Into<String>>(
        mut self,
        name: impl Into<String>,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let labels: Labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        self.0.push(NodeSpec { name: name.into(), labels });
        self
    }
}

impl From<Vec<NodeSpec>> for Nodes {
    fn from(nodes: Vec<NodeSpec>) -> Self {
        Self(nodes)
    }
}

impl From<usize> for Nodes {
    fn from(count: usize) -> Self {
        Self(NodeSpec::numbered(count))
    }
}

/// Refuses what is no cluster.
pub(super) fn check(nodes: &[NodeSpec]) -> Result<(), StartError> {
    let refuse = |message: String| Err(StartError::Nodes { message });
    if nodes.is_empty() || nodes.len() > NODES_MAX {
        return refuse(format!("{} of them; expected 1 to {NODES_MAX}", nodes.len()));
    }
    let mut names = BTreeSet::new();
    for NodeSpec { name, labels } in nodes {
        if !is_dns_subdomain(name) {
            return refuse(format!("{name:?} is no name of a node: lower-case letters, digits, `-` and `.`"));
        }
        if !names.insert(name) {
            return refuse(format!("two are called {name:?}"));
        }
        if let Some((key, value)) = labels.iter().find(|(key, value)| !is_label_key(key) || !is_label_value(value)) {
            return refuse(format!("{name} cannot have the label {key:?}: {value:?}"));
        }
    }
    Ok(())
}

/// The power of nodes. [`PodRow::node`](crate::PodRow::node) tells where a pod runs.
impl Mesh {
    /// Turns a node's power off: all that runs there is gone, and nothing is sent any more, neither FIN nor RST. About
    /// 50 s later the cluster takes the node and its pods for not ready; after 300 s more it deletes them, and what
    /// they belong to makes others elsewhere.
    ///
    /// # Panics
    /// If there is no such node, or if it is off already.
    #[track_caller]
    pub fn power_off(&mut self, node: &str) -> &mut Self {
        let result = self.try_power_off(node);
        self.must("power_off", result);
        self
    }

    /// [`power_off`](Self::power_off) without panics.
    ///
    /// # Errors
    /// If there is no such node, or if it is off already.
    pub fn try_power_off(&mut self, node: &str) -> Result<(), DisturbError> {
        self.switch(node, true, Cluster::power_off)
    }

    /// Turns a node's power on again: its kubelet starts the containers of the pods that it still has, and lets go of
    /// those that were deleted meanwhile.
    ///
    /// # Panics
    /// If there is no such node, or if it is on.
    #[track_caller]
    pub fn power_on(&mut self, node: &str) -> &mut Self {
        let result = self.try_power_on(node);
        self.must("power_on", result);
        self
    }

    /// [`power_on`](Self::power_on) without panics.
    ///
    /// # Errors
    /// If there is no such node, or if it is on.
    pub fn try_power_on(&mut self, node: &str) -> Result<(), DisturbError> {
        self.switch(node, false, Cluster::power_on)
    }

    fn switch(
        &mut self,
        node: &str,
        off: bool,
        act: impl FnOnce(&Cluster, usize, Option<EventId>),
    ) -> Result<(), DisturbError> {
        let names = self.cluster.kubelet.nodes();
        let Some(index) = names.iter().position(|name| name == node) else {
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            return Err(unknown("node", node, &known).into());
        };
        if self.cluster.kubelet.is_on(index) != off {
            return Err(DisturbError::Power { node: node.to_owned(), on: !off });
        }
        let what = if off { "power off" } else { "power on" };
        let cause = self.disturb(what, vec![node.to_owned()]);
        let cluster = self.cluster.clone();
        self.at_once(|| act(&cluster, index, cause))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_that_are_no_cluster_are_refused() {
        let no_labels = || Vec::<(String, String)>::new();
        let refused = |nodes: Nodes| check(&nodes.0).map_err(|error| error.to_string());
        assert_eq!(refused(3.into()), Ok(()));
        assert_eq!(refused(0.into()), Err("nodes: 0 of them; expected 1 to 100".to_owned()));
        assert_eq!(refused(101.into()), Err("nodes: 101 of them; expected 1 to 100".to_owned()));
        let twice = Nodes::new().node("a", no_labels()).node("a", no_labels());
        assert_eq!(refused(twice), Err("nodes: two are called \"a\"".to_owned()));
        assert!(refused(Nodes::new().node("A", no_labels())).is_err());
        assert!(refused(Nodes::new().node("a", [("zone", "-")])).is_err());
    }
}
