//! When a mesh has nothing left to do about what was asked of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_xds::client::{ClientClosed, StreamClosed, StreamOpened};

use crate::cluster::{Cluster, ISTIO_NAMESPACE, ISTIOD};
use crate::engine::{ContainerExited, World};
use crate::trace::Trace;

/// How often to look for what tells nobody that it happened.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Ends when nobody is unsettled and nothing has moved for `quiet`, in which time whatever a client sent has reached
/// istiod.
pub(super) async fn converged(world: &World, cluster: &Cluster, clients: &mut Clients, quiet: Duration) {
    let mut store = cluster.store.changes();
    loop {
        let istiod = cluster.istiod();
        let moved = async {
            match &istiod {
                Some(status) => status.changed().await,
                None => std::future::pending().await,
            }
        };
        let settled = unsettled(world, cluster, clients).is_empty();
        tokio::select! {
            biased;
            () = moved => {}
            () = store.raised() => {}
            () = tokio::time::sleep(if settled { quiet } else { LOOK_AGAIN }) => {
                if settled && unsettled(world, cluster, clients).is_empty() {
                    return;
                }
            }
        }
    }
}

/// Who is missing, and for what.
pub(super) fn unsettled(world: &World, cluster: &Cluster, clients: &mut Clients) -> Vec<String> {
    let mut missing = Vec::new();
    let undelivered = cluster.store.undelivered();
    if undelivered > 0 {
        missing.push(format!("{undelivered} watch events are not delivered"));
    }
    let pods = cluster.pods(Some(ISTIO_NAMESPACE));
    let runs = pods
        .iter()
        .filter(|row| row.workload == ISTIOD)
        .any(|row| !cluster.kubelet.running(&ObjectKey::new(Kind::Pod, &row.namespace, &row.name)).is_empty());
    if !runs {
        missing.push("istiod does not run".to_owned());
    }
    match cluster.istiod() {
        Some(status) => missing.extend(status.unsettled().iter().map(ToString::to_string)),
        None => missing.push("istiod has not begun".to_owned()),
    }
    world.with_trace(|trace| clients.follow(trace));
    missing.extend(clients.cut_off.iter().map(|(at, client)| format!("{at}: the xDS stream of {client} is not open")));
    missing
}

/// The xDS clients that live and have lost their stream, as far as the trace tells.
#[derive(Debug, Default)]
pub(super) struct Clients {
    /// Events looked at so far.
    seen: usize,
    /// Where, and which.
    cut_off: BTreeSet<(Arc<str>, Arc<str>)>,
}

impl Clients {
    fn follow(&mut self, trace: &Trace) {
        let events = trace.events();
        for event in &events[self.seen.min(events.len())..] {
            if let Some(closed) = event.get::<StreamClosed>() {
                self.cut_off.insert((Arc::clone(&event.at), Arc::clone(&closed.client)));
            } else if let Some(opened) = event.get::<StreamOpened>() {
                self.cut_off.remove(&(Arc::clone(&event.at), Arc::clone(&opened.client)));
            } else if let Some(closed) = event.get::<ClientClosed>() {
                self.cut_off.remove(&(Arc::clone(&event.at), Arc::clone(&closed.client)));
            } else if event.get::<ContainerExited>().is_some() {
                self.cut_off.retain(|(at, _)| *at != event.at);
            }
        }
        self.seen = events.len();
    }
}
