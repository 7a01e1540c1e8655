//! What is on its way, in the order (time, sequence).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::super::slab::Key;
use super::transfer::Side;

/// Something that arrives or falls due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    Syn(Key),
    SynAck(Key),
    Refused(Key),
    ConnectTimeout(Key),
    /// The next segment of this end arrives at the other.
    Arrive(Key, Side),
    /// This end's retransmission timer fires.
    Retransmit(Key, Side),
    /// What this end retransmitted arrives at the other.
    Redeliver(Key, Side),
    /// This end has seen no ACK for so long.
    Unacknowledged(Key, Side),
    /// RST arrives at this end.
    Reset(Key, Side),
}

pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pushed: u64,
    popped: u64,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), pushed: 0, popped: 0 }
    }

    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.pushed += 1;
        self.heap.push(Reverse((at, self.pushed, event)));
    }

    /// How many events were popped so far.
    pub(super) fn popped(&self) -> u64 {
        self.popped
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, ..))| *at)
    }

    /// The first event due by `now`, and when it was due.
    pub(super) fn pop(&mut self, now: u64) -> Option<(u64, Event)> {
        if self.next_at()? > now {
            return None;
        }
        self.popped += 1;
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::slab::Slab;
    use super::*;

    #[test]
    fn what_is_due_at_once_keeps_its_order() {
        let mut slab = Slab::new();
        let keys = [(); 3].map(|()| slab.insert(()));
        let mut queue = Queue::new();
        for (at, key) in [(2, keys[0]), (1, keys[2]), (1, keys[1])] {
            queue.push(at, Event::Syn(key));
        }
        assert_eq!(queue.pop(0), None);
        assert_eq!(queue.pop(2), Some((1, Event::Syn(keys[2]))));
        assert_eq!(queue.pop(2), Some((1, Event::Syn(keys[1]))));
        assert_eq!(queue.pop(2), Some((2, Event::Syn(keys[0]))));
    }
}
