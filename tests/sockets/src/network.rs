//! [`Network`]: what a case can run on.

use std::net::IpAddr;
use std::path::Path;

use crate::case::Need;

/// A kind of network.
pub trait Network: Sync {
    /// As a column's title.
    fn name(&self) -> &'static str;
    /// Whether it has what a case needs.
    fn has(&self, need: Need) -> bool;
    /// How many connections a listener keeps for `accept` before it takes one more and no others
    /// (`net.core.somaxconn`).
    fn backlog(&self) -> u64;
    /// A fresh world of this kind, without processes.
    fn begin(&self) -> Box<dyn World>;
}

/// A network with processes, for one case.
pub trait World {
    /// Where a process's host has its address; a process that has not been heard of begins.
    fn host(&mut self, process: &str) -> IpAddr;
    /// A folder that all processes share.
    fn folder(&self) -> &Path;
    /// Gives an order and waits for the answer. With `wait` the operation gets the time it needs, without it may be
    /// pending.
    fn tell(&mut self, process: &str, order: &str, wait: bool) -> String;
    /// Kills a process by SIGKILL.
    fn kill(&mut self, process: &str);
}
