//! A network that others have written: the crate [turmoil](https://docs.rs/turmoil), as a judge of our own.
//!
//! Containers, their clock and their volumes stay what they are; what changes is who carries the bytes. Every pod is a
//! host of turmoil. What runs there is a driver ([`host`]) with one task for each listener and each end of a
//! connection, which hands bytes on between turmoil's socket and the buffers of ours. It must be so since turmoil's
//! world can be reached only while it steps a host. [`World::step`] steps it once in a simulated millisecond.
//!
//! What is not turmoil's: the pods' addresses, which it cannot take back; the ephemeral ports that containers see; the
//! buffers between an application and its kernel; SYNs to addresses nobody has, which turmoil would answer.

mod conn;
mod connect;
mod faults;
mod host;
mod listen;
mod time;
mod world;

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use self::conn::Conn;
use self::faults::{Change, Links};
use self::listen::{Arrival, Listener, UnixSocket};
use self::time::Clock;
use super::PodId;
use super::endings::Endings;
use super::events;
use super::net::{Cause, Latency, Side};
use super::ports::Ports;
use super::recorder::Recorder;
use super::slab::{Key, Slab};

pub(super) use self::time::STEP;
pub(super) use self::world::World;

/// What of the network is ours; turmoil's part is in [`World`].
pub(super) struct Net {
    recorder: Arc<Recorder>,
    network: Arc<str>,
    pods: Vec<Pod>,
    by_address: BTreeMap<IpAddr, PodId>,
    conns: Slab<Conn>,
    conns_made: u64,
    listeners: Slab<Listener>,
    unix: BTreeMap<u64, UnixSocket>,
    /// Connections that a host has accepted, by the client's pod and the port turmoil gave it, until the client learns.
    arrivals: BTreeMap<(PodId, u16), Arrival>,
    links: Links,
    clock: Clock,
    pub(super) endings: Endings,
    /// What turmoil is to be told before its next step.
    changes: Vec<Change>,
    segments: u64,
    /// To be woken once the state is no longer locked.
    pub(super) wakes: Vec<Waker>,
}

struct Pod {
    name: Arc<str>,
    addresses: Vec<IpAddr>,
    /// Its address in turmoil.
    host: Ipv4Addr,
    off: Option<Cause>,
    isolated: Option<Cause>,
    removed: Option<Cause>,
    ports: Ports,
    /// Ports of listeners.
    bound: Vec<u16>,
    /// Which process's end closed the last listener of a port.
    closed_ports: BTreeMap<u16, Cause>,
    orders: VecDeque<Order>,
    driver: Option<Waker>,
}

/// What a host is to do.
enum Order {
    Listen { listener: Key, at: SocketAddr },
    Connect { conn: Key, to: SocketAddr },
}

impl Net {
    pub(super) fn new(recorder: Arc<Recorder>, latency: Latency) -> Self {
        Self {
            recorder,
            network: "network".into(),
            pods: Vec::new(),
            by_address: BTreeMap::new(),
            conns: Slab::new(),
            conns_made: 0,
            listeners: Slab::new(),
            unix: BTreeMap::new(),
            arrivals: BTreeMap::new(),
            links: Links::default(),
            clock: Clock::new(latency),
            endings: Endings::default(),
            changes: Vec::new(),
            segments: 0,
            wakes: Vec::new(),
        }
    }

    /// How many segments arrived and how many steps turmoil made so far.
    pub(super) fn packets(&self) -> u64 {
        self.segments + self.clock.steps
    }

    fn now(&self) -> u64 {
        self.recorder.now()
    }

    fn wake(&mut self, waker: Option<Waker>) {
        self.wakes.extend(waker);
    }

    /// Wakes a task of a host, for which turmoil must step.
    fn wake_host(&mut self, waker: Option<Waker>) {
        self.clock.stir();
        self.wake(waker);
    }
}

/// Pods.
impl Net {
    /// # Panics
    /// If another pod has one of the addresses.
    pub(super) fn add_pod(&mut self, name: Arc<str>, addresses: Vec<IpAddr>, cause: Cause) -> PodId {
        let number = u32::try_from(self.pods.len()).expect("memory ends before four billion pods");
        let id = PodId(number);
        for address in &addresses {
            if let Some(other) = self.by_address.insert(*address, id) {
                panic!("pod {name} cannot have the address {address}: pod {} has it", self.pods[other.index()].name);
            }
        }
        let event = events::PodAdded { pod: name.to_string(), addresses: addresses.clone() };
        self.recorder.emit(&self.network, cause, event);
        let host = Ipv4Addr::from_bits(Ipv4Addr::new(192, 168, 0, 1).to_bits() + number);
        self.pods.push(Pod {
            name,
            addresses,
            host,
            off: None,
            isolated: None,
            removed: None,
            ports: Ports::new(),
            bound: Vec::new(),
            closed_ports: BTreeMap::new(),
            orders: VecDeque::new(),
            driver: None,
        });
        self.changes.push(Change::Host { pod: id, host });
        self.clock.stir();
        self.relink(id);
        id
    }

    /// Frees the addresses of a pod whose processes have ended. Its host ends with its last task.
    pub(super) fn remove_pod(&mut self, id: PodId, cause: Cause) {
        let event = events::PodRemoved { pod: self.pods[id.index()].name.to_string() };
        let event = self.recorder.emit(&self.network, cause, event);
        let pod = &mut self.pods[id.index()];
        pod.removed = Some(event.or(cause));
        for address in &pod.addresses {
            self.by_address.remove(address);
        }
        let driver = pod.driver.take();
        self.wake_host(driver);
        self.lose_syns_to(id);
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

    fn order(&mut self, pod: PodId, order: Order) {
        let pod = &mut self.pods[pod.index()];
        pod.orders.push_back(order);
        let driver = pod.driver.take();
        self.wake_host(driver);
    }

    /// The next order for a host.
    fn poll_order(&mut self, pod: PodId, context: &mut Context<'_>) -> Poll<Order> {
        self.clock.stir();
        let pod = &mut self.pods[pod.index()];
        pod.driver = Some(context.waker().clone());
        pod.orders.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}

impl Pod {
    /// An ephemeral port nobody in the pod uses.
    fn take_port(&mut self) -> std::io::Result<u16> {
        self.ports.take(|port| self.bound.contains(&port))
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
