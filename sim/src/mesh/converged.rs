//! When a mesh has nothing left to do about what was asked of it.

use std::collections::BTreeMap;
use std::time::Duration;

use hermesh_istiod::objects::{Kind, ObjectKey};
use hermesh_istiod::push::{Unsettled, Verdict};

use super::clients::Clients;
use crate::cluster::{Cluster, ISTIO_NAMESPACE, ISTIOD};
use crate::engine::World;

/// How often to look at a client that may change without a word to istiod: one without a stream may be dropped.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How far what was asked of a mesh is to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// istiod has told everyone of it.
    Told,
    /// Everyone uses it.
    Used,
}

/// Ends when nobody is unsettled and nothing has moved for `quiet`, in which time whatever a client sent has reached
/// istiod.
pub(super) async fn converged(world: &World, cluster: &Cluster, clients: &mut Clients, until: Until, quiet: Duration) {
    let mut store = cluster.store.changes();
    loop {
        let istiod = cluster.istiod();
        let moved = async {
            match &istiod {
                Some(status) => status.changed().await,
                None => std::future::pending().await,
            }
        };
        let settled = unsettled(world, cluster, clients, until).is_empty();
        let rest = if settled { Some(quiet) } else { patience(world, clients) };
        tokio::select! {
            biased;
            () = moved => {}
            () = store.raised() => {}
            () = sleep(rest) => {
                if settled && unsettled(world, cluster, clients, until).is_empty() {
                    return;
                }
            }
        }
    }
}

/// How long until something may have changed of which neither istiod nor the store tells.
fn patience(world: &World, clients: &Clients) -> Option<Duration> {
    let now = world.now();
    let timeout = clients.next_timeout(now).map(|until| until - now);
    let look = clients.any_silent().then_some(LOOK_AGAIN);
    timeout.into_iter().chain(look).min()
}

async fn sleep(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Who is missing, and for what.
pub(super) fn unsettled(world: &World, cluster: &Cluster, clients: &mut Clients, until: Until) -> Vec<String> {
    let mut missing = Vec::new();
    let undelivered = cluster.store.undelivered();
    if undelivered > 0 {
        missing.push(format!("{undelivered} watch events are not delivered"));
    }
    let runs = cluster
        .pods_of(ISTIO_NAMESPACE, ISTIOD)
        .iter()
        .any(|row| !cluster.kubelet.running(&ObjectKey::new(Kind::Pod, &row.namespace, &row.name)).is_empty());
    if !runs {
        missing.push("istiod does not run".to_owned());
    }
    match cluster.istiod() {
        Some(status) => {
            // What somebody keeps back or has dropped on purpose, istiod has told as far as it goes.
            let on_purpose = |it: &Unsettled| matches!(it, Unsettled::Kept { .. } | Unsettled::Dropped { .. });
            let unsettled = status.unsettled();
            let unsettled = unsettled.iter().filter(|it| until == Until::Used || !on_purpose(it));
            missing.extend(unsettled.map(ToString::to_string));
        }
        None => missing.push("istiod has not begun".to_owned()),
    }
    world.with_trace(|trace| clients.follow(trace));
    missing.extend(clients.unsettled(until, world.now()));
    if until == Until::Used {
        missing.extend(unserved(cluster, clients));
    }
    missing
}

/// Pods whose applications have streams to their agent that istiod does not have: what istiod says does not reach them.
fn unserved(cluster: &Cluster, clients: &Clients) -> Vec<String> {
    let mut served: BTreeMap<String, usize> = BTreeMap::new();
    for connection in cluster.istiod().iter().flat_map(|status| status.state().connections.into_values()) {
        let (namespace, name) = connection.pod;
        *served.entry(format!("{namespace}/{name}")).or_default() += 1;
    }
    let streams = clients.streams_by_pod();
    let behind = streams.iter().map(|(pod, open)| (pod, *open, served.get(*pod).copied().unwrap_or_default()));
    let behind = behind.filter(|(_, open, served)| served < open);
    behind
        .map(|(pod, open, served)| format!("{pod}: of {open} xDS streams to its agent {served} reach istiod"))
        .collect()
}

/// Who has answered the last response of a type with a NACK, and goes on with what it had before.
pub(super) fn rejections(cluster: &Cluster) -> Vec<String> {
    let Some(status) = cluster.istiod() else { return Vec::new() };
    let mut rejections = Vec::new();
    for connection in status.state().connections.values() {
        for (resource_type, last) in &connection.last {
            if let Verdict::Rejected(error) = &last.verdict {
                let (node, version) = (&connection.node, &last.version);
                rejections.push(format!("node {node}: {} {version}: {error}", resource_type.short()));
            }
        }
    }
    rejections.sort();
    rejections.dedup();
    rejections
}
