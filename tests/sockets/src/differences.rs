//! What networks answer otherwise than told, and why they may.

use crate::runner::{Mismatch, Run};

/// What networks do otherwise for one reason.
#[derive(Debug)]
pub struct Difference {
    /// Which networks.
    pub networks: &'static [&'static str],
    /// Why they may.
    pub reason: &'static str,
    /// What they do.
    pub answers: &'static [Answer],
}

/// Another answer than told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The title of the case.
    pub case: &'static str,
    /// Process and order.
    pub step: &'static str,
    /// What is answered there.
    pub answer: &'static str,
}

impl Answer {
    /// Whether this is what a network was seen to answer.
    #[must_use]
    pub fn tells(&self, run: &Run, mismatch: &Mismatch) -> bool {
        (self.case, self.step, self.answer) == (run.case.as_str(), mismatch.step.as_str(), mismatch.seen.as_str())
    }
}

const TURMOIL: &[&str] = &["turmoil, one pod", "turmoil, pods apart"];
const TURMOIL_IN_ONE_POD: &[&str] = &["turmoil, one pod"];

const fn answer(case: &'static str, step: &'static str, answer: &'static str) -> Answer {
    Answer { case, step, answer }
}

/// All there are. One that is not seen fails the suite.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        networks: TURMOIL,
        reason: "turmoil has no TIME-WAIT, and no ports that outlive their sockets.",
        answers: &[answer(
            "The port of an outgoing connection is in use for a while after it closed",
            "client: listen X",
            "ok",
        )],
    },
    Difference {
        networks: TURMOIL,
        reason: "A FIN behind data is seen once the data was read, since what is not read stays in turmoil; so an RST \
                 that comes meanwhile is told by the name it has without one.",
        answers: &[answer(
            "What a peer sent before it closed can be read after a failed write",
            "client: write until it fails",
            "connection reset",
        )],
    },
    Difference {
        networks: TURMOIL,
        reason: "The host has accepted what the process has not, and turmoil resets only what has unread data.",
        answers: &[
            answer("A closed listener resets what nobody accepted", "client: read 1", "end of file"),
            answer("A closed listener resets what nobody accepted", "client: write 1", "ok"),
            answer("A killed server resets what it had not accepted", "client: read 1", "end of file"),
        ],
    },
    Difference {
        networks: TURMOIL_IN_ONE_POD,
        reason: "A host of turmoil has one port table for all its addresses, of both families.",
        answers: &[
            answer("Different addresses share a port", "other: listen loopback2 A", "address in use"),
            answer("Different addresses share a port", "client: connect loopback2 A as second", "connection refused"),
            answer("Different addresses share a port", "other: accept", "no socket `listener`"),
            answer("The IPv4 wildcard keeps the IPv6 one from the port", "other: listen loopback6 A", "address in use"),
        ],
    },
    Difference {
        networks: TURMOIL_IN_ONE_POD,
        reason: "turmoil has no Unix sockets. These are TCP connections of the host with itself: an end that is gone \
                 is learnt of when its answer arrives, not at once.",
        answers: &[
            answer(
                "A writer that waits on a Unix socket learns that its reader closed",
                "client: finish write",
                "connection reset",
            ),
            answer(
                "A writer that waits on a Unix socket learns that its reader closed",
                "client: read 1",
                "end of file",
            ),
            answer("Writing to a Unix socket whose peer closed fails at once", "client: write 1", "ok"),
            answer("Closing a Unix socket with unread data resets", "client: write 1", "ok"),
            answer("The reset of a Unix socket is told even after the end", "client: read 1", "end of file"),
            answer("The reset of a Unix socket is told even after the end", "client: write 1", "ok"),
            answer("A closed Unix listener resets what nobody accepted", "client: write 1", "connection reset"),
            answer("A closed Unix listener resets what nobody accepted", "client: read 1", "end of file"),
            answer("A connection closed before it was accepted can be accepted", "server: write 1", "ok"),
            answer("Both ends of a Unix socket may be one process's", "process: write 1 on client", "ok"),
            answer("A killed server's Unix connections end", "client: write 1 on idle", "ok"),
            answer("A killed server's Unix connections end", "client: read 1 on waiting", "end of file"),
        ],
    },
];
