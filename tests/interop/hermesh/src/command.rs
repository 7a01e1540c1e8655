//! What a witness is told.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub(crate) enum Command {
    About {},
    Serve(Serve),
    StopServer { address: String },
    Call(Calls),
    Load(Calls),
    Stop { channel: String },
    Close { channel: String },
    Csds {},
}

/// A server to start.
#[derive(Debug, Deserialize)]
pub(crate) struct Serve {
    pub(crate) address: String,
    #[serde(default = "yes")]
    pub(crate) xds: bool,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default = "ten_seconds")]
    pub(crate) timeout_ms: u64,
}

/// Calls to make, on a channel that is made if nobody used its name before.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Calls {
    pub(crate) channel: String,
    pub(crate) target: String,
    #[serde(default)]
    pub(crate) credentials: Credentials,
    #[serde(default = "one")]
    pub(crate) count: usize,
    #[serde(default = "one")]
    pub(crate) concurrency: usize,
    /// How many calls to start a second; without it, one as soon as another has ended.
    pub(crate) qps: Option<u32>,
    #[serde(default)]
    pub(crate) metadata: BTreeMap<String, String>,
    #[serde(default = "two_seconds")]
    pub(crate) timeout_ms: u64,
    /// Between the starts of two calls of a load.
    #[serde(default = "ten_ms")]
    pub(crate) interval_ms: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Credentials {
    #[default]
    Xds,
    Insecure,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn ten_ms() -> u64 {
    10
}

fn two_seconds() -> u64 {
    2_000
}

fn ten_seconds() -> u64 {
    10_000
}
