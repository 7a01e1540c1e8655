//! What the simulator itself tells the trace.

use std::net::IpAddr;

use hermesh_runtime::Address;

use super::ExitReason;

hermesh_runtime::event! {
    /// A pod's network namespace came to be.
    PodAdded = "netns.added" { pod: String, addresses: Vec<IpAddr>, }
    /// A pod's network namespace went; its addresses are free.
    PodRemoved = "netns.removed" { pod: String, }
    /// A container's program began.
    ContainerStarted = "container.started" {
        args: Vec<String>,
        /// How many runs of the container there were before.
        incarnation: u64,
    }
    /// SIGSTOP: none of a container's processes runs.
    ContainerPaused = "container.paused" {}
    /// SIGCONT: they run again.
    ContainerResumed = "container.resumed" {}
    /// SIGTERM was delivered.
    ContainerTerminating = "container.terminating" {}
    /// A container is gone, with all its tasks and sockets.
    ContainerExited = "container.exited" { code: i32, reason: ExitReason, message: Option<String>, }
    /// A container was killed by SIGKILL.
    ContainerKilled = "container.killed" {}

    /// A TCP or Unix connection is wanted.
    NetConnect = "net.connect" {
        /// Numbers the connection in all its events.
        conn: u64,
        from: Address,
        to: Address,
        /// Where a Service's virtual address led.
        backend: Option<Address>,
    }
    /// Nobody listens there, or the network rejects it.
    NetRefused = "net.refused" { conn: u64, to: Address, }
    /// The kernel gave up: on connecting after 127 s, on retransmitting after 924.6 s.
    NetTimeout = "net.timeout" { conn: u64, to: Address, while_connecting: bool, }
    /// A connection's first end was closed.
    NetClosed = "net.closed" {
        conn: u64,
        peer: Address,
        /// Whether the peer gets RST, not FIN, since data was left unread.
        abort: bool,
    }
    /// RST arrived.
    NetReset = "net.reset" { conn: u64, peer: Address, }
    /// Data meets a broken path and waits for retransmission.
    NetStalled = "net.stalled" @ Debug { conn: u64, to: Address, }
    /// Data that waited is under way again.
    NetRetransmitted = "net.retransmitted" @ Debug { conn: u64, to: Address, segments: u32, }
    /// Data arrived.
    NetData = "net.data" @ Wire {
        conn: u64,
        from: Address,
        len: usize,
        /// The first 8 bytes of SHA-256, in hex.
        digest: String,
    }
    /// Packets between two pods are lost.
    NetPartitioned = "net.partitioned" { a: String, b: String, }
    /// Packets from one pod to another are lost; those the other way are not.
    NetBlocked = "net.blocked" { from: String, to: String, }
    /// Packets from one pod to another take longer, by a time drawn for each.
    NetSlowed = "net.slowed" { from: String, to: String, least_us: u64, most_us: u64, }
    /// Some packets from one pod to another are lost, drawn for each.
    NetLossy = "net.lossy" { from: String, to: String, loss_percent: f64, }
    /// Packets from one pod to another wait.
    NetJammed = "net.jammed" { from: String, to: String, }
    /// One of the things that are wrong with the way from a pod to another is over.
    NetMended = "net.mended" { from: String, to: String, fault: &'static str, }
    /// Packets between two pods arrive again, at their usual pace; those that waited arrive now.
    NetHealed = "net.healed" { a: String, b: String, }
    /// Packets from and to a pod are lost.
    NetIsolated = "net.isolated" { pod: String, }
    /// Packets from and to a pod arrive again.
    NetRejoined = "net.rejoined" { pod: String, }
    /// The wall clock of a pod's node was set: it is ahead of the right time by so much, or behind.
    ClockSet = "clock.set" { pod: String, ahead_ms: i64, }
    /// A write stopped in the middle, without a word to who wrote.
    FileTorn = "file.torn" { path: String, written: usize, of: usize, }
    /// A pod's node lost power: nothing closes, nothing answers.
    PowerOff = "power.off" { pod: String, }
    /// A pod's node has power again; its containers have not been started.
    PowerOn = "power.on" { pod: String, }
}
