//! Links between pods: cut, slow, lossy, jammed, reset, healed.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh_istiod::disruption::Service;
use hermesh_runtime::EventId;

use super::super::{DisturbError, Mesh, TargetError};
use super::Ending;
use crate::engine::{LinkFault, PodId, World};

/// The longest by which packets may take longer: a handshake of TCP takes two of them and has 127 s.
pub const SLOW_MAX: Duration = Duration::from_secs(30);

/// In how long what a lossy link has lost arrives, but for one packet in ten thousand at 10 %.
const LOSS_DELAY: Duration = Duration::from_secs(3);

/// The pods between which links are broken.
#[derive(Debug, Default)]
pub(in super::super) struct BrokenLinks(BTreeMap<(PodId, PodId), Broken>);

#[derive(Clone, Copy, Debug)]
struct Broken {
    /// By how much longer what is under way there may take.
    delay: Duration,
    /// When all of it is over, if that is known.
    until: Option<Duration>,
}

impl BrokenLinks {
    /// How much longer it may take until nothing is under way any more. Between pods that are gone nothing is.
    pub(in super::super) fn delay(&self, world: &World) -> Duration {
        let lives = |(a, b): &(PodId, PodId)| !world.is_removed(*a) && !world.is_removed(*b);
        // What was sent while it was broken is still on its way.
        let stands = |broken: &Broken| broken.until.is_none_or(|until| world.now() <= until + broken.delay);
        let counts = self.0.iter().filter(|(pods, broken)| lives(pods) && stands(broken));
        counts.map(|(_, broken)| broken.delay).max().unwrap_or_default()
    }

    /// Every two pods between which a link was broken and has not been healed.
    pub(super) fn pairs(&self) -> Vec<(PodId, PodId)> {
        self.0.keys().copied().collect()
    }

    fn add(&mut self, a: PodId, b: PodId, delay: Duration, until: Option<Duration>) {
        let known = self.0.entry((a.min(b), a.max(b))).or_insert(Broken { delay, until });
        let until = known.until.zip(until).map(|(one, other)| one.max(other));
        *known = Broken { delay: delay.max(known.delay), until };
    }
}

/// The names of the pods on either side.
pub(in super::super) type Sides = (Vec<String>, Vec<String>);

/// What something was done to.
pub(super) struct Links {
    pub(super) sides: Sides,
    pub(super) pairs: Vec<(PodId, PodId)>,
    /// The event of what was done.
    pub(super) cause: Option<EventId>,
}

/// Links, between the pods of two targets as they are now.
impl Mesh {
    /// Loses all packets between the pods of two targets.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn partition(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_partition(a, b);
        self.must("partition", result);
        self
    }

    /// [`partition`](Self::partition) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_partition(&mut self, a: &str, b: &str) -> Result<Sides, DisturbError> {
        self.partition_lasting(a, b, None)
    }

    /// [`partition`](Self::partition) for a time: then packets pass again. Time does not pass within this.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn partition_for(&mut self, a: &str, b: &str, time: Duration) -> &mut Self {
        let result = self.try_partition_for(a, b, time);
        self.must("partition_for", result);
        self
    }

    /// [`partition_for`](Self::partition_for) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_partition_for(&mut self, a: &str, b: &str, time: Duration) -> Result<Sides, DisturbError> {
        self.partition_lasting(a, b, Some(time))
    }

    pub(crate) fn partition_lasting(
        &mut self,
        a: &str,
        b: &str,
        lasting: Option<Duration>,
    ) -> Result<Sides, DisturbError> {
        let cut = |world: &World, a, b, cause| {
            world.partition(a, b, cause);
            Ok(())
        };
        let links = self.links("partition", a, b, cut)?;
        for (a, b) in links.pairs.iter().copied() {
            self.broken(a, b, &LinkFault::Cut, (Duration::ZERO, lasting), links.cause);
            self.broken(b, a, &LinkFault::Cut, (Duration::ZERO, lasting), links.cause);
        }
        Ok(links.sides)
    }

    /// Breaks the way from the pods of one target to those of another; that back stays whole. [`heal`](Self::heal)
    /// mends it.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # use hermesh::LinkFault;
    /// # let mut mesh = hermesh::mesh().start();
    /// mesh.impair("web", "cart", LinkFault::Slow(Duration::from_millis(200)..=Duration::from_secs(1)));
    /// mesh.impair("web", "istiod", LinkFault::Lossy(0.1)).impair("istiod", "web", LinkFault::Lossy(0.1));
    /// ```
    ///
    /// # Panics
    /// If nothing of either name runs, if the fault makes no sense, and on turmoil's network, which cannot show it.
    #[track_caller]
    pub fn impair(&mut self, from: &str, to: &str, fault: LinkFault) -> &mut Self {
        let result = self.try_impair(from, to, &fault);
        self.must("impair", result);
        self
    }

    /// [`impair`](Self::impair) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs, if the fault makes no sense, and on turmoil's network, which cannot show it.
    pub fn try_impair(&mut self, from: &str, to: &str, fault: &LinkFault) -> Result<Sides, DisturbError> {
        self.impair_lasting(from, to, fault, None)
    }

    /// [`impair`](Self::impair) for a time: then this is wrong with the way no more. Time does not pass within this.
    ///
    /// # Panics
    /// If nothing of either name runs, if the fault makes no sense, and on turmoil's network, which cannot show it.
    #[track_caller]
    pub fn impair_for(&mut self, from: &str, to: &str, fault: LinkFault, time: Duration) -> &mut Self {
        let result = self.try_impair_for(from, to, &fault, time);
        self.must("impair_for", result);
        self
    }

    /// [`impair_for`](Self::impair_for) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs, if the fault makes no sense, and on turmoil's network, which cannot show it.
    pub fn try_impair_for(
        &mut self,
        from: &str,
        to: &str,
        fault: &LinkFault,
        time: Duration,
    ) -> Result<Sides, DisturbError> {
        self.impair_lasting(from, to, fault, Some(time))
    }

    pub(crate) fn impair_lasting(
        &mut self,
        from: &str,
        to: &str,
        fault: &LinkFault,
        lasting: Option<Duration>,
    ) -> Result<Sides, DisturbError> {
        let (what, delay) = match fault {
            LinkFault::Cut => ("partition", Duration::ZERO),
            LinkFault::Jammed => ("jam", Duration::ZERO),
            LinkFault::Slow(latency) => {
                sensible(latency)?;
                ("slow", *latency.end() * 4)
            }
            LinkFault::Lossy(share) if *share > 0.0 && *share < 1.0 => ("lossy", LOSS_DELAY),
            LinkFault::Lossy(share) => return Err(DisturbError::Loss { share: *share }),
        };
        let impair = |world: &World, a, b, cause| Ok(world.impair(a, b, fault, cause).map(|_| ())?);
        let links = self.links(what, from, to, impair)?;
        links.pairs.iter().for_each(|(a, b)| self.broken(*a, *b, fault, (delay, lasting), links.cause));
        Ok(links.sides)
    }

    /// Notes that the way from one pod to another is broken: by how much longer what is under way there may take, and
    /// for how long.
    pub(super) fn broken(
        &mut self,
        from: PodId,
        to: PodId,
        fault: &LinkFault,
        (delay, lasting): (Duration, Option<Duration>),
        cause: Option<EventId>,
    ) {
        let until = lasting.map(|time| self.now() + time);
        self.broken_links.add(from, to, delay, until);
        let (world, over) = (self.world().clone(), fault.clone());
        self.ends(Ending::Link(from, to, fault.name()), lasting, move || world.mend(from, to, &over, cause));
    }

    /// Ends every connection between the pods of two targets by RST, as a firewall that forgets them does. Those that
    /// are opened afterwards are not concerned.
    ///
    /// # Panics
    /// If nothing of either name runs, and on turmoil's network, which cannot show it.
    #[track_caller]
    pub fn reset(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_reset(a, b);
        self.must("reset", result);
        self
    }

    /// [`reset`](Self::reset) without panics; answers with the number of connections.
    ///
    /// # Errors
    /// If nothing of either name runs, and on turmoil's network, which cannot show it.
    pub fn try_reset(&mut self, a: &str, b: &str) -> Result<usize, DisturbError> {
        let mut connections = 0;
        let reset = |world: &World, a, b, cause| {
            connections += world.reset(a, b, cause)?;
            Ok(())
        };
        self.links("reset", a, b, reset)?;
        Ok(connections)
    }

    /// Mends the links between the pods of two targets, in both directions and whatever is wrong with them. What was
    /// lost is sent once more, what waited arrives.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn heal(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_heal(a, b);
        self.must("heal", result);
        self
    }

    /// [`heal`](Self::heal) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_heal(&mut self, a: &str, b: &str) -> Result<Sides, DisturbError> {
        let heal = |world: &World, a, b, cause| {
            world.heal(a, b, cause);
            Ok(())
        };
        let links = self.links("heal", a, b, heal)?;
        for (a, b) in links.pairs {
            self.broken_links.0.remove(&(a.min(b), a.max(b)));
            self.forget_all(
                |over| matches!(over, Ending::Link(from, to, _) if [(a, b), (b, a)].contains(&(*from, *to))),
            );
        }
        Ok(links.sides)
    }

    /// Mends every link that is broken, whatever has become of the workloads, and whatever else of the world around the
    /// processes is wrong: istiod's services, clocks, tokens and volumes. Answers with the number of pairs of pods.
    ///
    /// # Errors
    /// If the simulation fails.
    pub fn try_heal_all(&mut self) -> Result<usize, DisturbError> {
        let broken = std::mem::take(&mut self.broken_links).0;
        let cause = self.disturb("heal", vec!["all".to_owned()]);
        let world = self.world().clone();
        self.at_once(|| {
            for (a, b) in broken.keys() {
                world.heal(*a, *b, cause);
            }
        })?;
        self.forget_all(|over| matches!(over, Ending::Link(..)));
        self.cluster.disruptions().lift(Service::Authority, None);
        self.cluster.disruptions().lift(Service::Discovery, None);
        self.set_all_clocks_right(cause);
        self.renew_all_tokens(cause);
        self.free_all_volumes(cause);
        Ok(broken.len())
    }

    pub(super) fn links(
        &mut self,
        what: &'static str,
        a: &str,
        b: &str,
        mut act: impl FnMut(&World, PodId, PodId, Option<EventId>) -> Result<(), DisturbError>,
    ) -> Result<Links, DisturbError> {
        let (left, right) = (self.nets(a)?, self.nets(b)?);
        let names = |side: &BTreeMap<String, PodId>| side.keys().cloned().collect::<Vec<_>>();
        let cause = self.disturb(what, [names(&left), names(&right)].concat());
        let with_right = |a: &PodId| right.values().filter(|b| *b != a).map(|b| (*a, *b)).collect::<Vec<_>>();
        let pairs: Vec<(PodId, PodId)> = left.values().flat_map(with_right).collect();
        let world = self.world().clone();
        self.at_once(|| pairs.iter().try_for_each(|(a, b)| act(&world, *a, *b, cause)))??;
        Ok(Links { sides: (names(&left), names(&right)), pairs, cause })
    }

    pub(in super::super) fn nets(&self, target: &str) -> Result<BTreeMap<String, PodId>, TargetError> {
        let pods = self.choose(target)?.pods;
        let nets = pods.iter().filter_map(|row| Some((format!("{}/{}", row.namespace, row.name), self.net(row)?)));
        let nets: BTreeMap<String, PodId> = nets.collect();
        if nets.is_empty() { Err(TargetError::NotRunning(target.to_owned())) } else { Ok(nets) }
    }
}

fn sensible(latency: &RangeInclusive<Duration>) -> Result<(), DisturbError> {
    let (from, to) = (*latency.start(), *latency.end());
    if from > to || to > SLOW_MAX || to.is_zero() {
        return Err(DisturbError::Latency { from, to });
    }
    Ok(())
}
