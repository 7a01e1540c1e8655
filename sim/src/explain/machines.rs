//! What is behind the health and the connections of machines outside of the cluster.

use std::collections::BTreeSet;

use super::{faults, fields, text};
use crate::trace::Recorded;

/// The unit of a machine that runs its agent.
const AGENT: &str = "istio-proxy";

/// The machine, `namespace/name`, that registered itself with the WorkloadEntry `entry`, `namespace/name`.
pub(super) fn behind(events: &[Recorded], entry: &str) -> Option<String> {
    let mut registered = events.iter().rev().filter(|event| event.kind == "istiod.workload.registered");
    faults::client(registered.find(|event| text(&fields(event), "entry") == Some(entry))?)
}

/// Why the application of `machine` is not healthy after `events`: what stops it, or keeps all from it.
pub(super) fn of_health<'t>(events: &'t [Recorded], machine: &str) -> Vec<&'t Recorded> {
    let faults = faults::standing(events).into_iter().filter(|fault| fault.is_of_the_world());
    let own = faults.filter(|fault| fault.concerns(machine, &BTreeSet::new())).map(|fault| fault.event);
    own.chain(stopped(events, machine).into_iter().filter(|event| !is_of_agent(event))).collect()
}

/// Why the agent of `machine` lost its connection to istiod before the end of `events`.
pub(super) fn of_connection<'t>(events: &'t [Recorded], machine: &str) -> Vec<&'t Recorded> {
    let istiods = faults::istiods(events);
    let faults = faults::standing(events).into_iter();
    let between = faults.filter(|fault| fault.is_of_the_world() && fault.concerns(machine, &istiods));
    let is_in_the_way = |event: &&Recorded| event.kind != "container.paused" || !is_of_app(event, machine);
    let between = between.map(|fault| fault.event).filter(is_in_the_way);
    between.chain(stopped(events, machine).into_iter().filter(|event| is_of_agent(event))).collect()
}

/// The units of `machine` that do not run, or are about to end, and the end of each.
fn stopped<'t>(events: &'t [Recorded], machine: &str) -> Vec<&'t Recorded> {
    let is_own = |event: &&Recorded| {
        event.at.strip_prefix(machine).is_some_and(|unit| unit.starts_with('/'))
            && matches!(
                event.kind,
                "container.started" | "container.terminating" | "container.killed" | "container.exited"
            )
    };
    let mut seen = BTreeSet::new();
    let last = events.iter().rev().filter(is_own).filter(|event| seen.insert(event.at.to_string()));
    last.filter(|event| event.kind != "container.started").collect()
}

fn is_of_agent(event: &Recorded) -> bool {
    event.at.ends_with(&format!("/{AGENT}"))
}

/// Whether an event is of a unit of `machine` that has no part in its connections to istiod.
fn is_of_app(event: &Recorded, machine: &str) -> bool {
    event.at.starts_with(&format!("{machine}/")) && !is_of_agent(event)
}
