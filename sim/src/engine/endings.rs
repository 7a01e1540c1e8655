//! The processes that end, and what the ends of their sockets follow from.

use std::collections::BTreeMap;

use hermesh_runtime::EventId;

use super::net::Cause;

#[derive(Default)]
pub(super) struct Endings {
    /// Those that were asked to.
    asked: BTreeMap<u32, EventId>,
    /// Those whose sockets are just being closed by their end.
    dying: Vec<Dying>,
}

struct Dying {
    owner: u32,
    cause: Cause,
    /// Power loss: nothing is sent.
    silent: bool,
}

impl Endings {
    /// From now on sockets of `owner` close because it was asked to end by `cause`.
    pub(super) fn ask(&mut self, owner: u32, cause: Cause) {
        self.asked.extend(cause.map(|cause| (owner, cause)));
    }

    /// The event that asked `owner` to end.
    pub(super) fn asked(&self, owner: u32) -> Cause {
        self.asked.get(&owner).copied()
    }

    /// Until [`over`](Self::over), sockets of `owner` that close do so because of `cause`; `silent`, as after a power
    /// failure, they send nothing.
    pub(super) fn begin(&mut self, owner: u32, cause: Cause, silent: bool) {
        self.dying.push(Dying { owner, cause, silent });
    }

    /// The sockets of `owner` are closed.
    pub(super) fn over(&mut self, owner: u32) {
        self.dying.retain(|dying| dying.owner != owner);
        self.asked.remove(&owner);
    }

    /// Why sockets of `owner` close now, and whether silently, if that is because it ends.
    pub(super) fn of(&self, owner: u32) -> (Cause, bool) {
        match self.dying.iter().find(|dying| dying.owner == owner) {
            Some(dying) => (dying.cause, dying.silent),
            None => (self.asked(owner), false),
        }
    }
}
