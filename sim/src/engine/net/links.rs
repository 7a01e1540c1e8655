//! Links between pods, one for each direction, and how they break.

use std::time::Duration;

use hermesh_runtime::Draws;

use super::super::PodId;
use super::super::events;
use super::super::fault::{LOSS_WHOLE, LinkFault};
use super::super::slab::Key;
use super::queue::Event;
use super::transfer::Side;
use super::{Cause, Latency, Net};

/// The way from one pod to another.
pub(super) struct Link {
    cut: Option<Cause>,
    jam: Option<Jam>,
    /// By how much longer packets take.
    slow: Option<Latency>,
    loss: Option<Loss>,
    latency: Latency,
    draws: Draws,
    /// What faults draw from: they leave alone what the link draws without them.
    fault_draws: Draws,
}

struct Jam {
    cause: Cause,
    /// What would have arrived, in order.
    waiting: Vec<Event>,
}

struct Loss {
    cause: Cause,
    /// Of [`LOSS_WHOLE`] packets.
    lost: u64,
}

impl Net {
    pub(in super::super) fn partition(&mut self, a: PodId, b: PodId, cause: Cause) -> Cause {
        let event = events::NetPartitioned { a: self.name(a), b: self.name(b) };
        let event = self.recorder.emit(&self.network, cause, event);
        for (from, to) in [(a, b), (b, a)] {
            let link = self.link(from, to);
            self.links[link].cut = Some(event.or(cause));
        }
        event
    }

    /// Breaks the way from one pod to another. A fault takes the place of one of its kind.
    pub(in super::super) fn impair(&mut self, from: PodId, to: PodId, fault: &LinkFault, cause: Cause) -> Cause {
        let event = fault.event(self.name(from), self.name(to));
        let event = self.recorder.emit_any(&self.network, cause, event);
        let cause = event.or(cause);
        let link = self.link(from, to);
        let link = &mut self.links[link];
        match fault {
            LinkFault::Cut => link.cut = Some(cause),
            LinkFault::Slow(latency) => link.slow = Some(super::super::world::nanos(latency)),
            LinkFault::Lossy(_) => link.loss = Some(Loss { cause, lost: fault.lost() }),
            LinkFault::Jammed => {
                self.jams += usize::from(link.jam.is_none());
                link.jam.get_or_insert_with(|| Jam { cause, waiting: Vec::new() }).cause = cause;
            }
        }
        event
    }

    /// Ends one kind of fault of the way from a pod to another, if it has it; the others stay.
    pub(in super::super) fn mend(&mut self, from: PodId, to: PodId, fault: &LinkFault, cause: Cause) -> Cause {
        let (now, link) = (self.now(), self.link(from, to));
        let link = &mut self.links[link];
        let mended = match fault {
            LinkFault::Cut => link.cut.take().is_some(),
            LinkFault::Slow(_) => link.slow.take().is_some(),
            LinkFault::Lossy(_) => link.loss.take().is_some(),
            LinkFault::Jammed => match link.jam.take() {
                Some(jam) => {
                    self.jams -= 1;
                    jam.waiting.into_iter().for_each(|event| self.queue.push(now, event));
                    true
                }
                None => false,
            },
        };
        if !mended {
            return None;
        }
        let event = events::NetMended { from: self.name(from), to: self.name(to), fault: fault.name() };
        self.recorder.emit(&self.network, cause, event)
    }

    /// Ends whatever is wrong with the links of a pod.
    pub(in super::super) fn mend_all(&mut self, pod: PodId, cause: Cause) {
        for other in 0..self.pods.len() {
            let other = PodId(other as u32);
            for (from, to) in [(pod, other), (other, pod)] {
                let link = self.link_index.get(&(from, to)).map(|link| &self.links[*link]);
                for fault in link.map(Link::faults).unwrap_or_default() {
                    self.mend(from, to, &fault, cause);
                }
            }
        }
    }

    /// Mends the link between two pods in both directions; what waits there arrives.
    pub(in super::super) fn heal(&mut self, a: PodId, b: PodId, cause: Cause) -> Cause {
        let now = self.now();
        for (from, to) in [(a, b), (b, a)] {
            let link = self.link(from, to);
            let link = &mut self.links[link];
            (link.cut, link.slow, link.loss) = (None, None, None);
            if let Some(jam) = link.jam.take() {
                self.jams -= 1;
                jam.waiting.into_iter().for_each(|event| self.queue.push(now, event));
            }
        }
        let event = events::NetHealed { a: self.name(a), b: self.name(b) };
        self.recorder.emit(&self.network, cause, event)
    }

    pub(in super::super) fn isolate(&mut self, pod: PodId, cause: Cause) -> Cause {
        let event = self.recorder.emit(&self.network, cause, events::NetIsolated { pod: self.name(pod) });
        self.pods[pod.index()].isolated = Some(event.or(cause));
        event
    }

    pub(in super::super) fn rejoin(&mut self, pod: PodId, cause: Cause) -> Cause {
        self.pods[pod.index()].isolated = None;
        self.recorder.emit(&self.network, cause, events::NetRejoined { pod: self.name(pod) })
    }

    pub(in super::super) fn power_off(&mut self, pod: PodId, cause: Cause) -> Cause {
        let event = self.recorder.emit(&self.network, cause, events::PowerOff { pod: self.name(pod) });
        let pod = &mut self.pods[pod.index()];
        pod.off = Some(event.or(cause));
        pod.time_wait.clear();
        event
    }

    pub(in super::super) fn power_on(&mut self, pod: PodId, cause: Cause) -> Cause {
        self.pods[pod.index()].off = None;
        self.recorder.emit(&self.network, cause, events::PowerOn { pod: self.name(pod) })
    }

    pub(in super::super) fn is_off(&self, pod: PodId) -> bool {
        self.pods[pod.index()].off.is_some()
    }

    pub(in super::super) fn set_latency(&mut self, from: PodId, to: PodId, latency: Latency) {
        let link = self.link(from, to);
        self.links[link].latency = latency;
    }

    fn name(&self, pod: PodId) -> String {
        self.pods[pod.index()].name.to_string()
    }
}

/// What becomes of packets.
impl Net {
    /// Why all packets from one pod to another are lost where the link between the two is `link`, if they are.
    pub(super) fn broken_on(&self, from: PodId, to: PodId, link: Option<usize>) -> Option<Cause> {
        let (a, b) = (&self.pods[from.index()], &self.pods[to.index()]);
        a.off.or(b.off).or_else(|| {
            if from == to {
                return None;
            }
            a.isolated.or(b.isolated).or_else(|| self.links[link?].cut)
        })
    }

    /// Why a packet from one pod to another is lost, if it is. Each packet asks once.
    pub(super) fn loses(&mut self, from: PodId, to: PodId) -> Option<Cause> {
        let link = if from == to { None } else { self.link_index.get(&(from, to)).copied() };
        self.broken_on(from, to, link).or_else(|| self.links[link?].drops())
    }

    /// Why a packet that this end sent is lost, if it is. Each packet asks once.
    pub(super) fn drops(&mut self, key: Key, from: Side) -> Option<Cause> {
        self.lost(key, from).or_else(|| {
            let link = self.conns.get(key)?.ends[from.index()].link?;
            self.links[link].drops()
        })
    }

    /// Why the ACK of what this end has sent cannot arrive, if it cannot.
    pub(super) fn withheld_ack(&self, key: Key, from: Side) -> Option<Cause> {
        let conn = self.conns.get(key)?;
        let jam = |link: Option<usize>| Some(self.links[link?].jam.as_ref()?.cause);
        let [forth, back] = [from, from.other()].map(|side| &conn.ends[side.index()]);
        jam(forth.link).or_else(|| jam(back.link)).or_else(|| self.broken_on(back.pod?, forth.pod?, back.link))
    }

    /// Keeps what would arrive over a jammed link.
    pub(super) fn is_jammed(&mut self, at: u64, event: Event) -> bool {
        let Some(link) = self.link_of(event) else { return false };
        let Some(jam) = &mut self.links[link].jam else { return false };
        jam.waiting.push(event);
        match event {
            Event::Syn(key) | Event::SynAck(key) | Event::Refused(key) => self.await_handshake(key),
            Event::Arrive(key, from) => self.await_ack(at, key, from),
            _ => {}
        }
        true
    }

    /// The link over which something arrives.
    fn link_of(&self, event: Event) -> Option<usize> {
        let sent_by = |key: Key, side: Side| self.conns.get(key)?.ends[side.index()].link;
        let between = |(from, to): (PodId, PodId)| self.link_index.get(&(from, to)).copied();
        match event {
            Event::Syn(key) => between(self.route(key)?),
            Event::SynAck(key) | Event::Refused(key) => {
                let (client, server) = self.route(key)?;
                between((server, client))
            }
            Event::Arrive(key, from) | Event::Redeliver(key, from) => sent_by(key, from),
            Event::Reset(key, to) => sent_by(key, to.other()),
            Event::ConnectTimeout(_) | Event::Retransmit(..) | Event::Unacknowledged(..) => None,
        }
    }

    pub(super) fn link(&mut self, from: PodId, to: PodId) -> usize {
        if let Some(&link) = self.link_index.get(&(from, to)) {
            return link;
        }
        let (a, b) = (&self.pods[from.index()], &self.pods[to.index()]);
        let incarnation = a.incarnation << 32 | b.incarnation;
        let draws = |path: String| Draws::new(self.seed, &path, incarnation);
        self.links.push(Link {
            cut: None,
            jam: None,
            slow: None,
            loss: None,
            latency: self.latency,
            draws: draws(format!("net/{}->{}", a.name, b.name)),
            fault_draws: draws(format!("net/{}->{}/faults", a.name, b.name)),
        });
        self.link_index.insert((from, to), self.links.len() - 1);
        self.links.len() - 1
    }

    /// When a packet sent at `now` arrives.
    pub(super) fn arrival(&mut self, now: u64, from: PodId, to: PodId) -> u64 {
        if from == to {
            return now;
        }
        let link = self.link(from, to);
        self.arrival_on(now, link)
    }

    pub(super) fn arrival_on(&mut self, now: u64, link: usize) -> u64 {
        let Link { latency, draws, slow, fault_draws, .. } = &mut self.links[link];
        let drawn = |(low, high): Latency, draws: &mut Draws| if low == high { low } else { draws.between(low, high) };
        now + drawn(*latency, draws) + slow.map_or(0, |slow| drawn(slow, fault_draws))
    }
}

impl Link {
    /// What is wrong with it, by its kinds alone.
    fn faults(&self) -> Vec<LinkFault> {
        let faults = [
            self.cut.as_ref().map(|_| LinkFault::Cut),
            self.slow.map(|_| LinkFault::Slow(Duration::ZERO..=Duration::ZERO)),
            self.loss.as_ref().map(|_| LinkFault::Lossy(0.0)),
            self.jam.as_ref().map(|_| LinkFault::Jammed),
        ];
        faults.into_iter().flatten().collect()
    }

    /// Why the packet that arrives just now does not, if it is one of those that are lost.
    fn drops(&mut self) -> Option<Cause> {
        let loss = self.loss.as_ref()?;
        (self.fault_draws.below(LOSS_WHOLE) < loss.lost).then_some(loss.cause)
    }
}
