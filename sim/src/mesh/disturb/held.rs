//! Links that are held and released: packets wait, and nothing is lost.

use std::time::Duration;

use super::super::{DisturbError, Mesh};
use super::Ending;
use super::links::Sides;
use crate::engine::{LinkFault, World};

/// Links that are held, between the pods of two targets as they are now. Of one direction alone
/// [`impair`](Mesh::impair) and [`mend`](Mesh::mend) do so with [`LinkFault::Jammed`].
impl Mesh {
    /// Holds the links between the pods of two targets, in both directions: packets wait, and arrive in order when the
    /// links are [released](Self::release_link). Nothing is lost, and no connection ends unless its sender waits for an
    /// ACK for longer than a kernel does.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # let mut mesh = hermesh::mesh().start();
    /// mesh.hold_link("web", "cart").run_for(Duration::from_secs(3));
    /// mesh.release_link("web", "cart");
    /// ```
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn hold_link(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_hold_link(a, b);
        self.must("hold_link", result);
        self
    }

    /// [`hold_link`](Self::hold_link) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_hold_link(&mut self, a: &str, b: &str) -> Result<Sides, DisturbError> {
        self.hold_link_lasting("hold", a, b, None)
    }

    /// [`hold_link`](Self::hold_link) for a time: then they are released. Time does not pass within this.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn hold_link_for(&mut self, a: &str, b: &str, time: Duration) -> &mut Self {
        let result = self.try_hold_link_for(a, b, time);
        self.must("hold_link_for", result);
        self
    }

    /// [`hold_link_for`](Self::hold_link_for) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_hold_link_for(&mut self, a: &str, b: &str, time: Duration) -> Result<Sides, DisturbError> {
        self.hold_link_lasting("hold", a, b, Some(time))
    }

    /// `what` is what the trace calls it.
    pub(crate) fn hold_link_lasting(
        &mut self,
        what: &'static str,
        a: &str,
        b: &str,
        lasting: Option<Duration>,
    ) -> Result<Sides, DisturbError> {
        let hold = |world: &World, a, b, cause| {
            world.hold(a, b, cause);
            Ok(())
        };
        let links = self.links(what, a, b, hold)?;
        for (a, b) in links.pairs.iter().copied() {
            self.broken(a, b, &LinkFault::Jammed, (Duration::ZERO, lasting), links.cause);
            self.broken(b, a, &LinkFault::Jammed, (Duration::ZERO, lasting), links.cause);
        }
        Ok(links.sides)
    }

    /// Releases the links between the pods of two targets, in both directions: what waits arrives now, in order. What
    /// else is wrong with them stays so.
    ///
    /// # Panics
    /// If nothing of either name runs.
    #[track_caller]
    pub fn release_link(&mut self, a: &str, b: &str) -> &mut Self {
        let result = self.try_release_link(a, b);
        self.must("release_link", result);
        self
    }

    /// [`release_link`](Self::release_link) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs.
    pub fn try_release_link(&mut self, a: &str, b: &str) -> Result<Sides, DisturbError> {
        self.mend_links("release", a, b, &LinkFault::Jammed, true)
    }

    /// Ends one kind of fault of the way from the pods of one target to those of another; what else is wrong with it
    /// stays so. Whatever the bounds of the fault are, it is the kind that counts.
    ///
    /// # Panics
    /// If nothing of either name runs, and on turmoil's network, which knows no single direction.
    #[track_caller]
    pub fn mend(&mut self, from: &str, to: &str, fault: LinkFault) -> &mut Self {
        let result = self.try_mend(from, to, &fault);
        self.must("mend", result);
        self
    }

    /// [`mend`](Self::mend) without panics; answers with the pods on either side.
    ///
    /// # Errors
    /// If nothing of either name runs, and on turmoil's network, which knows no single direction.
    pub fn try_mend(&mut self, from: &str, to: &str, fault: &LinkFault) -> Result<Sides, DisturbError> {
        self.world().has_ways()?;
        self.mend_links("mend", from, to, fault, false)
    }

    /// [`try_mend`](Self::try_mend) of what is held, by another name in the trace.
    pub(crate) fn release_way(&mut self, from: &str, to: &str) -> Result<Sides, DisturbError> {
        self.world().has_ways()?;
        self.mend_links("release", from, to, &LinkFault::Jammed, false)
    }

    fn mend_links(
        &mut self,
        what: &'static str,
        a: &str,
        b: &str,
        fault: &LinkFault,
        both: bool,
    ) -> Result<Sides, DisturbError> {
        let mend = |world: &World, a, b, cause| {
            world.mend(a, b, fault, cause);
            if both {
                world.mend(b, a, fault, cause);
            }
            Ok(())
        };
        let links = self.links(what, a, b, mend)?;
        for (a, b) in links.pairs {
            self.forget(&Ending::Link(a, b, fault.name()));
            if both {
                self.forget(&Ending::Link(b, a, fault.name()));
            }
        }
        Ok(links.sides)
    }

    /// Releases every link that is held, whatever has become of the workloads.
    ///
    /// # Panics
    /// If the simulation fails.
    #[track_caller]
    pub fn release_links(&mut self) -> &mut Self {
        let result = self.try_release_links();
        self.must("release_links", result);
        self
    }

    /// [`release_links`](Self::release_links) without panics.
    ///
    /// # Errors
    /// If the simulation fails.
    pub fn try_release_links(&mut self) -> Result<(), DisturbError> {
        let (pairs, fault) = (self.broken_links.pairs(), LinkFault::Jammed);
        if pairs.is_empty() {
            return Ok(());
        }
        let cause = self.disturb("release", vec!["all".to_owned()]);
        let world = self.world().clone();
        self.at_once(|| {
            for (a, b) in &pairs {
                world.mend(*a, *b, &fault, cause);
                world.mend(*b, *a, &fault, cause);
            }
        })?;
        self.forget_all(|over| matches!(over, Ending::Link(_, _, kind) if *kind == fault.name()));
        Ok(())
    }
}
