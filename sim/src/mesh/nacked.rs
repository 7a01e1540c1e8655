//! Waiting for a client to reject what it got.

use std::time::Duration;

use hermesh_istiod::push::gate::Pods;
use hermesh_istiod::push::{ConnectionStatus, State, Verdict};
use hermesh_xds::ResourceType;

use super::{Fault, Mesh, PATIENCE, Responses, WaitError};
use crate::cluster::Cluster;

impl Mesh {
    /// Waits until a client has answered one of these responses by a NACK, the last of its type on its stream.
    ///
    /// # Panics
    /// If there is no such workload or pod, or if that takes more than [`PATIENCE`].
    #[track_caller]
    pub fn wait_nacked(&mut self, responses: Responses) -> &mut Self {
        let result = self.try_wait_nacked(&responses, PATIENCE);
        self.must("wait_nacked", result);
        self
    }

    /// [`wait_nacked`](Self::wait_nacked) without panics; answers with who rejects what, and in which words.
    ///
    /// # Errors
    /// If there is no such workload or pod; if time is up: then with what the clients have said instead.
    pub fn try_wait_nacked(&mut self, responses: &Responses, within: Duration) -> Result<Vec<String>, WaitError> {
        let pods = responses.to.as_deref().map(|to| self.clients_of(to)).transpose()?;
        let wanted = Wanted { responses, pods };
        let cluster = self.cluster.clone();
        let nacked = wanted.nacked(&cluster);
        let waited = self.simulation.block_on(async { tokio::time::timeout(within, nacked).await.ok() });
        self.check_fault()?;
        match waited.map_err(Fault::from)? {
            Some(rejections) => Ok(rejections),
            None => {
                let mut missing =
                    self.cluster.istiod().map(|status| wanted.answers(&status.state())).unwrap_or_default();
                if missing.is_empty() {
                    missing.push(format!("no response of {} has been sent", responses.described()));
                }
                Err(WaitError::Timeout { what: "rejected", within, missing })
            }
        }
    }
}

struct Wanted<'r> {
    responses: &'r Responses,
    pods: Option<Pods>,
}

impl Wanted<'_> {
    async fn nacked(&self, cluster: &Cluster) -> Vec<String> {
        let mut store = cluster.store.changes();
        loop {
            let istiod = cluster.istiod();
            let rejections = istiod.as_ref().map(|status| self.rejections(&status.state())).unwrap_or_default();
            if !rejections.is_empty() {
                return rejections;
            }
            let moved = async {
                match &istiod {
                    Some(status) => status.changed().await,
                    None => std::future::pending().await,
                }
            };
            // Another istiod may take the place of this one.
            tokio::select! {
                biased;
                () = moved => {}
                () = store.raised() => {}
            }
        }
    }

    fn rejections(&self, state: &State) -> Vec<String> {
        let rejected = |(connection, kind): (&ConnectionStatus, ResourceType)| match &connection.last[&kind].verdict {
            Verdict::Rejected(error) => Some(format!("node {}: {}: {error}", connection.node, kind.short())),
            Verdict::Pending | Verdict::Accepted => None,
        };
        self.about(state).filter_map(rejected).collect()
    }

    /// What clients have said to the responses.
    fn answers(&self, state: &State) -> Vec<String> {
        let answer = |(connection, kind): (&ConnectionStatus, ResourceType)| {
            let last = &connection.last[&kind];
            let said = match last.verdict {
                Verdict::Pending => "has no answer yet",
                Verdict::Accepted => "is accepted",
                Verdict::Rejected(_) => "is rejected",
            };
            format!("node {}: {} {} {said}", connection.node, kind.short(), last.version)
        };
        self.about(state).map(answer).collect()
    }

    fn about<'s>(&'s self, state: &'s State) -> impl Iterator<Item = (&'s ConnectionStatus, ResourceType)> {
        let types = &self.responses.types;
        let mine = move |connection: &&ConnectionStatus| {
            let (namespace, name) = &connection.pod;
            self.pods.as_ref().is_none_or(|pods| pods.contain(namespace, name))
        };
        state.connections.values().filter(mine).flat_map(move |connection| {
            let kinds = connection.last.keys().copied();
            kinds.filter(move |kind| types.is_empty() || types.contains(kind)).map(move |kind| (connection, kind))
        })
    }
}
