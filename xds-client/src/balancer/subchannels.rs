//! The subchannels of one channel, by address and security configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hermesh_runtime::Address;
use serde::Serialize;

use super::{Command, SubchannelState};
use crate::cause::Failure;
use crate::credentials::Security;

/// Names a subchannel within its channel. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SubchannelId(u64);

impl fmt::Display for SubchannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A subchannel's identity: two clusters that agree on it share the connection.
#[derive(Clone, Debug, PartialEq)]
pub struct SubchannelKey {
    /// Where to connect.
    pub address: Address,
    /// How the connection is secured.
    pub security: Security,
}

/// All subchannels, and what each reported last.
#[derive(Debug, Default)]
pub(super) struct Subchannels {
    entries: BTreeMap<SubchannelId, Entry>,
    by_address: BTreeMap<Address, Vec<SubchannelId>>,
    created: u64,
    failures: u64,
    commands: Vec<Command>,
}

#[derive(Debug)]
pub(super) struct Entry {
    key: SubchannelKey,
    pub(super) state: SubchannelState,
    /// The last failure since the subchannel was READY, numbered: it counts as failing until it is READY again, so
    /// that a channel does not waver while it retries (sticky TRANSIENT_FAILURE, gRFC A62).
    pub(super) failing: Option<(u64, Failure)>,
    asked: bool,
}

impl Subchannels {
    /// The subchannel with this identity, made if there is none.
    pub(super) fn obtain(&mut self, address: &Address, security: &Security) -> SubchannelId {
        let same_address = self.by_address.entry(address.clone()).or_default();
        if let Some(id) = same_address.iter().find(|id| self.entries[id].key.security == *security) {
            return *id;
        }
        self.created += 1;
        let id = SubchannelId(self.created);
        same_address.push(id);
        let key = SubchannelKey { address: address.clone(), security: security.clone() };
        self.commands.push(Command::Create(id, key.clone()));
        self.entries.insert(id, Entry { key, state: SubchannelState::Idle, failing: None, asked: false });
        id
    }

    pub(super) fn set(&mut self, id: SubchannelId, state: SubchannelState) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match &state {
            SubchannelState::Ready => entry.failing = None,
            SubchannelState::TransientFailure(failure) => {
                self.failures += 1;
                entry.failing = Some((self.failures, failure.clone()));
            }
            SubchannelState::Idle | SubchannelState::Connecting => {}
        }
        entry.asked &= state == SubchannelState::Connecting;
        entry.state = state;
    }

    /// Drops what nobody refers to and connects what is wanted and IDLE.
    pub(super) fn settle(
        &mut self,
        referenced: &BTreeSet<SubchannelId>,
        wanted: &BTreeSet<SubchannelId>,
    ) -> Vec<Command> {
        let mut commands = std::mem::take(&mut self.commands);
        let unused: Vec<SubchannelId> = self.entries.keys().filter(|id| !referenced.contains(id)).copied().collect();
        for id in unused {
            let entry = self.entries.remove(&id).expect("its key was just read");
            if let Some(same_address) = self.by_address.get_mut(&entry.key.address) {
                same_address.retain(|other| *other != id);
                if same_address.is_empty() {
                    self.by_address.remove(&entry.key.address);
                }
            }
            commands.push(Command::Drop(id));
        }
        for id in wanted {
            if let Some(entry) = self.entries.get_mut(id)
                && entry.state == SubchannelState::Idle
                && !entry.asked
            {
                entry.asked = true;
                commands.push(Command::Connect(*id));
            }
        }
        commands
    }
}

impl std::ops::Index<SubchannelId> for Subchannels {
    type Output = Entry;

    fn index(&self, id: SubchannelId) -> &Entry {
        &self.entries[&id]
    }
}
