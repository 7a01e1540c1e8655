//! References to what does not exist: a cluster takes them, and people want to know.

mod directory;
mod references;

use std::collections::BTreeSet;

use hermesh_istiod::objects::Kind;
use hermesh_istiod::snapshot::{self, Snapshot};
use hermesh_istiod::translate;
use hermesh_istiod::yaml::Diagnostic;

use crate::cluster::Cluster;

/// The kinds that refer to hosts.
const REFERRING: [Kind; 2] = [Kind::DestinationRule, Kind::VirtualService];

/// The kinds they refer to.
const REFERRED: [Kind; 3] = [Kind::Service, Kind::ServiceEntry, Kind::DestinationRule];

/// What has been told of and still is as it was.
#[derive(Debug, Default)]
pub(super) struct Dangling {
    told: BTreeSet<Reference>,
}

/// An object, the field in it, and what is wrong there.
type Reference = (Option<String>, Option<String>, String);

impl Dangling {
    /// What is dangling now and has not been told of. What was mended and breaks again is told of again.
    pub(super) fn follow(&mut self, cluster: &Cluster) -> Vec<Diagnostic> {
        let list = |kinds: &'static [Kind]| kinds.iter().flat_map(|kind| cluster.store.list(*kind));
        let snapshot = Snapshot::new(snapshot::Mesh::default(), list(&REFERRED));
        let hosts = list(&REFERRING).flat_map(|object| translate::dangling(&snapshot, &object));
        let found: Vec<Diagnostic> = hosts.chain(references::dangling(&cluster.store)).collect();
        let now = found.iter().map(reference).collect();
        let before = std::mem::replace(&mut self.told, now);
        found.into_iter().filter(|warning| !before.contains(&reference(warning))).collect()
    }
}

fn reference(warning: &Diagnostic) -> Reference {
    let location = &warning.location;
    (location.object.clone(), location.field.clone(), warning.message.clone())
}
