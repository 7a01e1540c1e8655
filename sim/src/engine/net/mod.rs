//! The network: pods, the links between them, sockets, and the queue of what is on its way.
//!
//! Everything here is a plain state machine: calls take the state and leave wake-ups and events behind. Behaviour
//! follows Linux; its constants stand beside their uses.

mod connect;
mod links;
mod queue;
mod transfer;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::Waker;

use hermesh_runtime::{Address, EventId};

use self::connect::{Conn, Listener};
use self::links::Link;
use self::queue::{Event, Queue};
use super::PodId;
use super::endings::Endings;
use super::events;
use super::ports::Ports;
use super::recorder::Recorder;
use super::slab::{Key, Slab};

pub(super) use self::connect::{Accepted, BACKLOG, SYN_RETRIES};
pub(super) use self::transfer::{SECOND, Side, WINDOW, WRITABLE};

/// Why something is broken: the event that tells, if it was recorded.
pub(super) type Cause = Option<EventId>;

/// Latency bounds in nanoseconds.
pub(super) type Latency = (u64, u64);

/// A process as the network knows it.
#[derive(Clone)]
pub(super) struct Owner {
    pub(super) number: u32,
    pub(super) at: Arc<str>,
}

/// All network state of one simulation.
pub(super) struct Net {
    recorder: Arc<Recorder>,
    seed: u64,
    latency: Latency,
    network: Arc<str>,
    pods: Vec<Pod>,
    by_address: BTreeMap<IpAddr, PodId>,
    links: Vec<Link>,
    /// How many of them are jammed.
    jams: usize,
    link_index: BTreeMap<(PodId, PodId), usize>,
    conns: Slab<Conn>,
    conns_made: u64,
    listeners: Slab<Listener>,
    /// Listeners on Unix sockets by the number in the socket's file.
    unix: BTreeMap<u64, Key>,
    /// Which process's end closed the listener of a Unix socket.
    closed_unix: BTreeMap<u64, Cause>,
    queue: Queue,
    pub(super) endings: Endings,
    /// To be woken once the state is no longer locked.
    pub(super) wakes: Vec<Waker>,
}

struct Pod {
    name: Arc<str>,
    incarnation: u64,
    addresses: Vec<IpAddr>,
    off: Option<Cause>,
    isolated: Option<Cause>,
    removed: Option<Cause>,
    ports: Ports,
    /// Ports of outgoing connections in TIME-WAIT, with their addresses, and until when.
    time_wait: BTreeMap<u16, (IpAddr, u64)>,
    /// By port and address; no address for a dual-stack wildcard.
    listeners: BTreeMap<(u16, Option<IpAddr>), Key>,
    /// Which process's end closed the last listener of a port.
    closed_ports: BTreeMap<u16, Cause>,
}

impl Net {
    pub(super) fn new(recorder: Arc<Recorder>, seed: u64, latency: Latency) -> Self {
        Self {
            recorder,
            seed,
            latency,
            network: "network".into(),
            pods: Vec::new(),
            by_address: BTreeMap::new(),
            links: Vec::new(),
            jams: 0,
            link_index: BTreeMap::new(),
            conns: Slab::new(),
            conns_made: 0,
            listeners: Slab::new(),
            unix: BTreeMap::new(),
            closed_unix: BTreeMap::new(),
            queue: Queue::new(),
            endings: Endings::default(),
            wakes: Vec::new(),
        }
    }

    /// When something next arrives, in nanoseconds.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.next_at()
    }

    /// How many packets and timers were handled so far.
    pub(super) fn packets(&self) -> u64 {
        self.queue.popped()
    }

    /// Handles what has arrived by `now`.
    pub(super) fn advance(&mut self, now: u64) {
        while let Some((at, event)) = self.queue.pop(now) {
            if self.jams > 0 && self.is_jammed(at, event) {
                continue;
            }
            match event {
                Event::Syn(conn) => self.on_syn(at, conn),
                Event::SynAck(conn) => self.on_syn_ack(at, conn),
                Event::Refused(conn) => self.on_refused(at, conn),
                Event::ConnectTimeout(conn) => self.on_connect_timeout(conn),
                Event::Arrive(conn, from) => self.on_arrive(at, conn, from),
                Event::Retransmit(conn, from) => self.on_retransmit(at, conn, from),
                Event::Redeliver(conn, from) => self.on_redeliver(at, conn, from),
                Event::Unacknowledged(conn, from) => self.on_unacknowledged(at, conn, from),
                Event::Reset(conn, to) => self.on_reset(conn, to),
            }
        }
    }

    fn now(&self) -> u64 {
        self.recorder.now()
    }

    fn wake(&mut self, waker: Option<Waker>) {
        self.wakes.extend(waker);
    }
}

/// Pods.
impl Net {
    /// # Panics
    /// If another pod has one of the addresses.
    pub(super) fn add_pod(&mut self, name: Arc<str>, incarnation: u64, addresses: Vec<IpAddr>, cause: Cause) -> PodId {
        let id = PodId(u32::try_from(self.pods.len()).expect("memory ends before four billion pods"));
        for address in &addresses {
            if let Some(other) = self.by_address.insert(*address, id) {
                panic!("pod {name} cannot have the address {address}: pod {} has it", self.pods[other.index()].name);
            }
        }
        let event = events::PodAdded { pod: name.to_string(), addresses: addresses.clone() };
        self.recorder.emit(&self.network, cause, event);
        self.pods.push(Pod {
            name,
            incarnation,
            addresses,
            off: None,
            isolated: None,
            removed: None,
            ports: Ports::new(),
            time_wait: BTreeMap::new(),
            listeners: BTreeMap::new(),
            closed_ports: BTreeMap::new(),
        });
        id
    }

    /// Frees the addresses of a pod whose processes have ended.
    pub(super) fn remove_pod(&mut self, id: PodId, cause: Cause) {
        let event = events::PodRemoved { pod: self.pods[id.index()].name.to_string() };
        let event = self.recorder.emit(&self.network, cause, event);
        let pod = &mut self.pods[id.index()];
        pod.removed = Some(event.or(cause));
        pod.time_wait.clear();
        for address in &pod.addresses {
            self.by_address.remove(address);
        }
    }

    pub(super) fn is_removed(&self, id: PodId) -> bool {
        self.pods[id.index()].removed.is_some()
    }

    pub(super) fn addresses(&self, id: PodId) -> Vec<IpAddr> {
        self.pods[id.index()].addresses.clone()
    }

    fn pod_at(&self, address: IpAddr) -> Option<PodId> {
        self.by_address.get(&address).copied()
    }
}

/// Processes that end.
impl Net {
    pub(super) fn listeners_of(&self, owner: u32) -> Vec<Key> {
        self.listeners.iter().filter(|(_, listener)| listener.owner.number == owner).map(|(key, _)| key).collect()
    }

    pub(super) fn open_ends_of(&self, owner: u32) -> Vec<(Key, Side)> {
        let ends = self.conns.iter().flat_map(|(key, conn)| Side::BOTH.map(|side| (key, side, conn)));
        ends.filter(|(_, side, conn)| conn.ends[side.index()].is_open_to(owner))
            .map(|(key, side, _)| (key, side))
            .collect()
    }
}

pub(super) fn unnamed() -> Address {
    Address::Unix(std::path::PathBuf::new())
}
