//! Which cluster an RPC goes to and under which terms, from RDS (gRFC A27, A28, A31, A42, A44).

use std::time::Duration;

use regex::Regex;

use crate::resource::{FilterOverrides, HeaderMatcher, PathMatcher};

mod read;
mod retry;

pub(super) use read::{fraction_per_million, from_proto};
pub use retry::{RetryOn, RetryPolicy};

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfiguration {
    /// The resource's name; may be empty when it stands inside a listener.
    pub name: String,
    /// In order.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// The routes of some domains.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualHost {
    /// For messages.
    pub name: String,
    /// Exact names, `*.suffix`, `prefix.*` or `*`.
    pub domains: Vec<String>,
    /// In order; the first that matches wins.
    pub routes: Vec<Route>,
    /// For routes that have none.
    pub retry_policy: Option<RetryPolicy>,
    /// For filters that neither the route nor the cluster overrides (A39).
    pub overrides: FilterOverrides,
}

/// One route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// For messages.
    pub name: String,
    /// Which RPCs it takes.
    pub matches: RouteMatch,
    /// What becomes of them.
    pub action: RouteAction,
    /// For filters that the cluster does not override (A39).
    pub overrides: FilterOverrides,
}

/// All parts must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// Of the method's full name.
    pub path: PathMatcher,
    /// Of the metadata.
    pub headers: Vec<HeaderMatcher>,
    /// Takes an RPC if a random number from 0 to 999 999 is at most this; 1 000 000 or more takes all.
    pub per_million: Option<u32>,
}

/// What becomes of an RPC.
#[derive(Clone, Debug, PartialEq)]
pub enum RouteAction {
    /// A client sends it to a cluster; a server fails it.
    Forward {
        /// Never empty; every weight is at least 1, and their sum fits in 32 bits.
        clusters: Vec<WeightedCluster>,
        /// How long it may take.
        max_stream_duration: MaxStreamDuration,
        /// Takes precedence over the virtual host's.
        retry_policy: Option<RetryPolicy>,
        /// In order.
        hash_policies: Vec<HashPolicy>,
    },
    /// A server handles it; a client fails it.
    NonForwarding,
    /// Neither end can carry it out, so matching RPCs fail with UNAVAILABLE. Holds the action's name.
    Unsupported(&'static str),
}

/// A cluster and its share of the traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// The cluster's name.
    pub name: String,
    /// Its share, in proportion to its siblings.
    pub weight: u32,
    /// Of filters (A39).
    pub overrides: FilterOverrides,
}

/// How long an RPC may take, on top of the application's deadline (A31).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaxStreamDuration(pub Option<Duration>);

impl MaxStreamDuration {
    /// The limit, if any, given the connection manager's default. A route that says zero lifts the default.
    #[must_use]
    pub fn limit(self, default: Option<Duration>) -> Option<Duration> {
        self.0.or(default).filter(|limit| !limit.is_zero())
    }
}

/// One input to an RPC's hash (A42).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashPolicy {
    /// What is hashed.
    pub kind: HashPolicyKind,
    /// Whether later policies are skipped once there is a hash.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Clone, Debug)]
pub enum HashPolicyKind {
    /// A header's values.
    Header {
        /// Its name in lower case.
        name: String,
        /// Replaces every match of the expression, which need not match the whole value, by the text.
        rewrite: Option<(Regex, String)>,
    },
    /// A number that the channel keeps for its life.
    ChannelId,
}

impl PartialEq for HashPolicyKind {
    fn eq(&self, other: &Self) -> bool {
        let rewritten = |rewrite: &Option<(Regex, String)>| {
            rewrite.as_ref().map(|(regex, text)| (regex.as_str().to_owned(), text.clone()))
        };
        match (self, other) {
            (Self::Header { name: a, rewrite: x }, Self::Header { name: b, rewrite: y }) => {
                a == b && rewritten(x) == rewritten(y)
            }
            (Self::ChannelId, Self::ChannelId) => true,
            _ => false,
        }
    }
}

impl Eq for HashPolicyKind {}
