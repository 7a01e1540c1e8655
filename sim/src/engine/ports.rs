//! The ephemeral ports of a pod.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};

/// Linux's `net.ipv4.ip_local_port_range`.
pub(super) const EPHEMERAL: (u16, u16) = (32_768, 60_999);

/// Those in use, and which is tried next.
pub(super) struct Ports {
    next: u16,
    taken: BTreeSet<u16>,
}

impl Ports {
    pub(super) fn new() -> Self {
        Self { next: EPHEMERAL.0, taken: BTreeSet::new() }
    }

    /// The next port that nobody has taken and that is not bound by a listener.
    ///
    /// # Errors
    /// If there is none left.
    pub(super) fn take(&mut self, is_bound: impl Fn(u16) -> bool) -> io::Result<u16> {
        let (first, last) = EPHEMERAL;
        for _ in first..=last {
            let port = self.next;
            self.next = if port == last { first } else { port + 1 };
            if !is_bound(port) && self.taken.insert(port) {
                return Ok(port);
            }
        }
        Err(ErrorKind::AddrNotAvailable.into())
    }

    pub(super) fn is_taken(&self, port: u16) -> bool {
        self.taken.contains(&port)
    }

    pub(super) fn release(&mut self, port: u16) {
        self.taken.remove(&port);
    }
}
