//! Who was at the other end of a call, as the trace tells: by address whose pod it was, by connection which version
//! answered and whom its server took the caller for.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hermesh_echo::EchoRequest;
use hermesh_runtime::Address;
use hermesh_runtime::http2::ConnectionReady;
use hermesh_runtime::server::ConnectionAccepted;
use hermesh_xds::RpcFinished;

use super::events::MachineBooted;
use super::pods::qualified;
use crate::cluster::events::ObjectApplied;
use crate::engine::PodAdded;
use crate::trace::{Recorded, Trace};

/// What is known at the moment that was reached.
pub(super) struct Peers<'t> {
    trace: &'t Trace,
    /// The namespace that names leave out.
    own: &'t str,
    /// `namespace/name` by address.
    by_address: BTreeMap<IpAddr, Arc<str>>,
    /// By `namespace/name`.
    workloads: BTreeMap<&'t str, Arc<str>>,
    /// The last connection that a server has accepted, by the client's end and its own.
    accepted: BTreeMap<(SocketAddr, SocketAddr), Accepted>,
    /// Which version serves an accepted connection, by the event that tells of it.
    versions: BTreeMap<u64, Arc<str>>,
}

/// A connection at its server.
#[derive(Clone)]
struct Accepted {
    event: u64,
    caller: Option<Arc<str>>,
}

/// Who answered a call.
#[derive(Default)]
pub(super) struct Server {
    /// Its workload, with the namespace if that is not the mesh's; an address that is no pod's stands for itself.
    pub(super) workload: Option<Arc<str>>,
    /// `namespace/name`
    pub(super) pod: Option<Arc<str>>,
    /// What it says of its version, if it is the echo application.
    pub(super) version: Option<Arc<str>>,
    /// Whom it took the caller for.
    pub(super) caller: Option<Arc<str>>,
}

impl<'t> Peers<'t> {
    pub(super) fn new(trace: &'t Trace, own: &'t str) -> Self {
        let (by_address, workloads, accepted, versions) = Default::default();
        Self { trace, own, by_address, workloads, accepted, versions }
    }

    pub(super) fn learn(&mut self, event: &'t Recorded) {
        if let Some(added) = event.get::<PodAdded>() {
            let pod: Arc<str> = added.pod.as_str().into();
            self.by_address.extend(added.addresses.iter().map(|address| (*address, Arc::clone(&pod))));
        } else if let Some(MachineBooted { machine, .. }) = event.get()
            && let Some((namespace, name)) = machine.split_once('/')
        {
            self.workloads.insert(machine, qualified(namespace, name, self.own).into());
        } else if let Some(ObjectApplied { object, workload: Some(workload), .. }) = event.get()
            && let Some(pod) = object.strip_prefix("Pod ")
        {
            let namespace = pod.split('/').next().unwrap_or_default();
            self.workloads.insert(pod, qualified(namespace, workload, self.own).into());
        } else if let Some(accepted) = event.get::<ConnectionAccepted>() {
            if let (Some(peer), Some(local)) = (accepted.peer.tcp(), accepted.local.tcp()) {
                let caller = accepted.peer_spiffe.as_deref().map(Arc::from);
                self.accepted.insert((peer, local), Accepted { event: event.seq, caller });
            }
        } else if let Some(request) = event.get::<EchoRequest>()
            && let Some(connection) = event.cause
        {
            self.versions.entry(connection).or_insert_with(|| request.version.as_str().into());
        }
    }

    /// Who was sent the last attempt of an RPC that has just ended.
    pub(super) fn server(&self, event: &Recorded, rpc: &RpcFinished) -> Server {
        let Some(endpoint) = &rpc.endpoint else { return Server::default() };
        let pod = endpoint.tcp().and_then(|address| self.by_address.get(&address.ip()));
        let workload = pod.and_then(|pod| self.workloads.get(&**pod)).cloned();
        let accepted = self.connection(event, endpoint).and_then(|ends| self.accepted.get(&ends));
        Server {
            workload: Some(workload.unwrap_or_else(|| endpoint.to_string().into())),
            pod: pod.cloned(),
            version: accepted.and_then(|accepted| self.versions.get(&accepted.event)).cloned(),
            caller: accepted.and_then(|accepted| accepted.caller.clone()),
        }
    }

    /// The two ends of the connection that an RPC was sent over: its event follows from that of the connection, at once
    /// or by way of the pick.
    fn connection(&self, event: &Recorded, endpoint: &Address) -> Option<(SocketAddr, SocketAddr)> {
        let ready = self.trace.causes(event.seq).skip(1).take(2).find_map(Recorded::get::<ConnectionReady>)?;
        let to = ready.address.tcp().filter(|to| Some(*to) == endpoint.tcp())?;
        Some((ready.local.tcp()?, to))
    }
}
