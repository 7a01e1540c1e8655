//! Links between pods, and how they break.
//!
//! Turmoil's own partition loses what is sent for ever, which no kernel does. So packets that a partition or an
//! isolation would lose are held until it ends: connections stall and go on. Only a power failure loses them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::super::PodId;
use super::super::events;
use super::super::fault::LinkFault;
use super::super::net::Cause;
use super::Net;

/// What turmoil is to be told.
pub(super) enum Change {
    Host { pod: PodId, host: Ipv4Addr },
    Link { a: Ipv4Addr, b: Ipv4Addr, state: LinkState },
}

/// How a link between two hosts is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkState {
    Whole,
    /// Segments wait.
    Held,
    /// Segments are lost.
    Lost,
}

#[derive(Default)]
pub(super) struct Links {
    /// By pods in their order, and why.
    cut: BTreeMap<(PodId, PodId), Cause>,
    /// Likewise.
    held: BTreeMap<(PodId, PodId), Cause>,
    /// Those that are not whole in turmoil.
    broken: BTreeMap<(PodId, PodId), LinkState>,
}

impl Net {
    pub(in super::super) fn partition(&mut self, a: PodId, b: PodId, cause: Cause) -> Cause {
        let event = events::NetPartitioned { a: self.name(a), b: self.name(b) };
        let event = self.recorder.emit(&self.network, cause, event);
        self.links.cut.insert(pair(a, b), event.or(cause));
        self.relink(a);
        event
    }

    pub(in super::super) fn hold(&mut self, a: PodId, b: PodId, cause: Cause) -> Cause {
        let mut held = cause;
        for (from, to) in [(a, b), (b, a)] {
            let event = events::NetJammed { from: self.name(from), to: self.name(to) };
            held = self.recorder.emit(&self.network, cause, event).or(held);
        }
        self.links.held.insert(pair(a, b), held);
        self.relink(a);
        held
    }

    /// Ends a hold or a partition, both of both ways.
    pub(in super::super) fn mend(&mut self, a: PodId, b: PodId, fault: &LinkFault, cause: Cause) -> Cause {
        let broken = match fault {
            LinkFault::Jammed => self.links.held.remove(&pair(a, b)),
            LinkFault::Cut => self.links.cut.remove(&pair(a, b)),
            LinkFault::Slow(_) | LinkFault::Lossy(_) => None,
        };
        broken?;
        let mut mended = cause;
        for (from, to) in [(a, b), (b, a)] {
            let event = events::NetMended { from: self.name(from), to: self.name(to), fault: fault.name() };
            mended = self.recorder.emit(&self.network, cause, event).or(mended);
        }
        self.relink(a);
        mended
    }

    pub(in super::super) fn mend_all(&mut self, pod: PodId, cause: Cause) {
        let of_pod = |links: &BTreeMap<(PodId, PodId), Cause>| {
            links.keys().copied().filter(|(a, b)| [*a, *b].contains(&pod)).collect::<Vec<_>>()
        };
        let (cut, held) = (of_pod(&self.links.cut), of_pod(&self.links.held));
        for (a, b) in cut {
            self.mend(a, b, &LinkFault::Cut, cause);
        }
        for (a, b) in held {
            self.mend(a, b, &LinkFault::Jammed, cause);
        }
    }

    pub(in super::super) fn heal(&mut self, a: PodId, b: PodId, cause: Cause) -> Cause {
        self.links.cut.remove(&pair(a, b));
        self.links.held.remove(&pair(a, b));
        let event = events::NetHealed { a: self.name(a), b: self.name(b) };
        let event = self.recorder.emit(&self.network, cause, event);
        self.relink(a);
        event
    }

    pub(in super::super) fn isolate(&mut self, pod: PodId, cause: Cause) -> Cause {
        let event = self.recorder.emit(&self.network, cause, events::NetIsolated { pod: self.name(pod) });
        self.pods[pod.index()].isolated = Some(event.or(cause));
        self.relink(pod);
        event
    }

    pub(in super::super) fn rejoin(&mut self, pod: PodId, cause: Cause) -> Cause {
        self.pods[pod.index()].isolated = None;
        let event = self.recorder.emit(&self.network, cause, events::NetRejoined { pod: self.name(pod) });
        self.relink(pod);
        event
    }

    pub(in super::super) fn power_off(&mut self, pod: PodId, cause: Cause) -> Cause {
        let event = self.recorder.emit(&self.network, cause, events::PowerOff { pod: self.name(pod) });
        self.pods[pod.index()].off = Some(event.or(cause));
        self.relink(pod);
        event
    }

    pub(in super::super) fn power_on(&mut self, pod: PodId, cause: Cause) -> Cause {
        self.pods[pod.index()].off = None;
        let event = self.recorder.emit(&self.network, cause, events::PowerOn { pod: self.name(pod) });
        self.relink(pod);
        event
    }

    pub(in super::super) fn is_off(&self, pod: PodId) -> bool {
        self.pods[pod.index()].off.is_some()
    }

    fn name(&self, pod: PodId) -> String {
        self.pods[pod.index()].name.to_string()
    }

    /// Why what two pods send each other does not arrive, if it does not.
    pub(super) fn broken(&self, a: PodId, b: PodId) -> Option<Cause> {
        let (one, other) = (&self.pods[a.index()], &self.pods[b.index()]);
        one.off.or(other.off).or_else(|| {
            if a == b {
                return None;
            }
            let link = || self.links.cut.get(&pair(a, b)).or_else(|| self.links.held.get(&pair(a, b))).copied();
            one.isolated.or(other.isolated).or_else(link)
        })
    }

    fn state(&self, a: PodId, b: PodId) -> LinkState {
        if self.is_off(a) || self.is_off(b) {
            LinkState::Lost
        } else if self.broken(a, b).is_some() {
            LinkState::Held
        } else {
            LinkState::Whole
        }
    }

    /// Has turmoil treat the links of a pod as its state demands.
    pub(super) fn relink(&mut self, pod: PodId) {
        for index in 0..self.pods.len() {
            let other = PodId(index as u32);
            if other == pod {
                continue;
            }
            let state = self.state(pod, other);
            let before = match state {
                LinkState::Whole => self.links.broken.remove(&pair(pod, other)),
                _ => self.links.broken.insert(pair(pod, other), state),
            };
            if before.unwrap_or(LinkState::Whole) == state {
                continue;
            }
            let (a, b) = (self.pods[pod.index()].host, self.pods[index].host);
            self.changes.push(Change::Link { a, b, state });
            self.clock.stir();
            if state == LinkState::Whole {
                self.unstall(pod, other);
            }
        }
    }
}

fn pair(a: PodId, b: PodId) -> (PodId, PodId) {
    (a.min(b), a.max(b))
}
