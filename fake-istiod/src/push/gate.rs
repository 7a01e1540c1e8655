//! What somebody does to responses on their way to clients: keeps them back, loses them, delays or reverses them, or
//! puts resources into them.
//!
//! No istiod has a [`Gate`] of its own accord. Whoever gives it one sets rules in it; of those that are about a
//! response the one that was set last decides, each time that the response might leave. What becomes of the responses
//! of one stream, its outbox works out.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::protobuf::Any;
use hermesh_runtime::EventId;
use hermesh_runtime::latest::{Latest, Reader};
use hermesh_xds::ResourceType;
use tokio::time::Instant;

/// Rules about responses on all streams; clones share them. It may outlive an istiod, and be the next one's too.
#[derive(Clone, Debug)]
pub struct Gate {
    rules: Latest<Rules>,
}

/// Responses that a rule is about.
#[derive(Clone, Debug, Default)]
pub struct Responses {
    /// Those of these types; of all types if there are none.
    pub types: BTreeSet<ResourceType>,
    /// Those to these pods; to everybody if none.
    pub to: Option<Pods>,
}

/// Some pods, with those among them that are still to come.
#[derive(Clone)]
pub struct Pods {
    name: String,
    has: Arc<Has>,
}

/// Whether a pod is meant, given namespace and name.
type Has = dyn Fn(&str, &str) -> bool + Send + Sync;

/// What becomes of responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deed {
    /// They leave, whatever rules before this one say.
    Pass,
    /// They wait, and leave in order when this ends.
    Hold {
        /// When it ends by itself.
        until: Option<Instant>,
    },
    /// They never leave. istiod believes that they did.
    Drop {
        /// How many; all if none.
        count: Option<u64>,
    },
    /// Each waits for a time of its own. Those of one type do not overtake one another.
    Delay {
        /// How long: drawn for each.
        by: RangeInclusive<Duration>,
    },
    /// So many of a stream's next responses wait for one another, and leave in reverse order; then this is over for the
    /// stream.
    Reverse {
        /// How many.
        count: usize,
    },
}

/// What is done to some responses.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which responses.
    pub responses: Responses,
    /// What becomes of them.
    pub deed: Deed,
    /// Who wants it so.
    pub cause: Option<EventId>,
}

/// A resource that clients get in the place of istiod's own.
#[derive(Clone, Debug)]
pub struct Injection {
    /// Its type.
    pub resource_type: ResourceType,
    /// The name by which clients ask for it.
    pub name: String,
    /// The resource.
    pub body: Any,
    /// The pods that get it; everybody if none.
    pub to: Option<Pods>,
    /// Who wants it so.
    pub cause: Option<EventId>,
}

/// All that is done, in the order in which it began.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    rules: Vec<(u64, Rule)>,
    injections: Vec<(u64, Injection)>,
    /// Who changed the injections last.
    injected_by: Option<EventId>,
    last: u64,
}

impl Gate {
    /// A gate through which everything passes.
    #[must_use]
    pub fn new() -> Self {
        Self { rules: Latest::new(Rules::default()) }
    }

    /// Adds a rule, which decides before all others about what it is about.
    pub fn set(&self, rule: Rule) {
        self.rules.modify(|rules| rules.set(rule));
    }

    /// Gives clients a resource in the place of istiod's own, at once, until it is [taken back](Self::eject).
    pub fn inject(&self, injection: Injection) {
        self.rules.modify(|rules| rules.inject(injection));
    }

    /// Takes back the resources of these types that these pods, by name, were given; istiod's own go out again.
    pub fn eject(&self, responses: &Responses, cause: Option<EventId>) {
        self.rules.modify(|rules| rules.eject(responses, cause));
    }

    pub(super) fn reader(&self) -> Reader<Rules> {
        self.rules.reader()
    }

    /// A response was dropped by the rule `number`.
    pub(super) fn dropped(&self, number: u64) {
        self.rules.modify(|rules| rules.dropped(number));
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self::new()
    }
}

impl Rules {
    fn set(&mut self, rule: Rule) {
        if rule.deed == Deed::Pass {
            self.rules.retain(|(_, other)| !rule.responses.cover(&other.responses));
            if self.rules.is_empty() {
                return;
            }
        }
        self.last += 1;
        self.rules.push((self.last, rule));
    }

    fn inject(&mut self, injection: Injection) {
        self.last += 1;
        self.injected_by = injection.cause;
        self.injections.push((self.last, injection));
    }

    fn eject(&mut self, responses: &Responses, cause: Option<EventId>) {
        self.injected_by = cause;
        self.injections.retain(|(_, injection)| {
            let about = Responses { types: [injection.resource_type].into(), to: injection.to.clone() };
            !responses.cover(&about)
        });
    }

    /// The resources of a type that a pod gets, with their numbers; of two with one name the second counts.
    pub(super) fn injections<'r>(
        &'r self,
        resource_type: ResourceType,
        (namespace, name): &'r (String, String),
    ) -> impl Iterator<Item = (u64, &'r Injection)> {
        let of_type = self.injections.iter().filter(move |(_, injection)| injection.resource_type == resource_type);
        let mine = move |injection: &Injection| injection.to.as_ref().is_none_or(|pods| (pods.has)(namespace, name));
        of_type.filter(move |(_, injection)| mine(injection)).map(|(number, injection)| (*number, injection))
    }

    pub(super) fn injected_by(&self) -> Option<EventId> {
        self.injected_by
    }

    fn dropped(&mut self, number: u64) {
        if let Some((_, Rule { deed: Deed::Drop { count: Some(left) }, .. })) =
            self.rules.iter_mut().find(|(other, _)| *other == number)
        {
            *left = left.saturating_sub(1);
        }
    }

    /// Those that are not over yet, the latest first.
    pub(super) fn standing(&self, now: Instant) -> impl Iterator<Item = (u64, &Rule)> {
        self.rules.iter().rev().filter(move |(_, rule)| rule.deed.stands(now)).map(|(number, rule)| (*number, rule))
    }

    pub(super) fn get(&self, number: u64) -> Option<&Rule> {
        self.rules.iter().find(|(other, _)| *other == number).map(|(_, rule)| rule)
    }

    /// When the next rule is over.
    pub(super) fn next_end(&self, now: Instant) -> Option<Instant> {
        let end = |(_, rule): &(u64, Rule)| match rule.deed {
            Deed::Hold { until } => until.filter(|until| *until > now),
            _ => None,
        };
        self.rules.iter().filter_map(end).min()
    }
}

impl Deed {
    fn stands(&self, now: Instant) -> bool {
        match self {
            Self::Hold { until } => until.is_none_or(|until| now < until),
            Self::Drop { count } => *count != Some(0),
            Self::Pass | Self::Delay { .. } | Self::Reverse { .. } => true,
        }
    }

    /// What it is called where a response waits for its end.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pass => "release",
            Self::Hold { .. } => "hold",
            Self::Drop { .. } => "drop",
            Self::Delay { .. } => "delay",
            Self::Reverse { .. } => "reorder",
        }
    }
}

impl Responses {
    /// Whether those of `resource_type` are among them.
    pub(super) fn have_type(&self, resource_type: ResourceType) -> bool {
        self.types.is_empty() || self.types.contains(&resource_type)
    }

    /// Whether those to a pod are among them.
    pub(super) fn have_pod(&self, (namespace, name): &(String, String)) -> bool {
        self.to.as_ref().is_none_or(|pods| (pods.has)(namespace, name))
    }

    /// Whether all of `others` are among them, as far as names tell.
    fn cover(&self, others: &Self) -> bool {
        let types = self.types.is_empty() || (!others.types.is_empty() && others.types.is_subset(&self.types));
        let pods = match (&self.to, &others.to) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(other)) => own.name == other.name,
        };
        types && pods
    }
}

impl Pods {
    /// The pods of which `has` is true, given namespace and name; it must always say the same of a pod. Two that have
    /// one `name` are the same pods.
    pub fn new(name: impl Into<String>, has: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self { name: name.into(), has: Arc::new(has) }
    }

    /// Whether a pod is among them.
    #[must_use]
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        (self.has)(namespace, name)
    }
}

impl fmt::Debug for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pods").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(types: &[ResourceType], to: Option<&str>) -> Responses {
        let pods = |name: &str| {
            let own = name.to_owned();
            Pods::new(name, move |_, pod| pod == own)
        };
        Responses { types: types.iter().copied().collect(), to: to.map(pods) }
    }

    fn numbers(rules: &Rules, now: Instant) -> Vec<u64> {
        rules.standing(now).map(|(number, _)| number).collect()
    }

    #[test]
    fn what_is_released_leaves_no_rule_behind() {
        use ResourceType::{Cluster, Endpoints};
        let (mut rules, now) = (Rules::default(), Instant::now());
        let mut set = |deed, types: &[ResourceType], to| {
            rules.set(Rule { responses: responses(types, to), deed, cause: None });
            numbers(&rules, now)
        };
        let hold = || Deed::Hold { until: None };
        assert_eq!(set(hold(), &[Endpoints], Some("web")), [1]);
        assert_eq!(set(hold(), &[], None), [2, 1]);
        assert_eq!(set(Deed::Pass, &[Endpoints], Some("web")), [3, 2], "the wider one would still hold them");
        assert_eq!(set(hold(), &[Cluster], Some("cart")), [4, 3, 2]);
        assert_eq!(set(Deed::Pass, &[Cluster, Endpoints], None), [5, 2], "and again");
        assert!(set(Deed::Pass, &[], None).is_empty());
    }

    #[test]
    fn a_rule_is_over_in_time_or_when_it_is_used_up() {
        let (mut rules, now) = (Rules::default(), Instant::now());
        let until = now + Duration::from_secs(2);
        for deed in [Deed::Hold { until: Some(until) }, Deed::Drop { count: Some(1) }] {
            rules.set(Rule { responses: Responses::default(), deed, cause: None });
        }
        assert_eq!((numbers(&rules, now), rules.next_end(now)), (vec![2, 1], Some(until)));
        rules.dropped(2);
        assert_eq!(numbers(&rules, now), [1]);
        assert_eq!((numbers(&rules, until), rules.next_end(until)), (vec![], None));
    }
}
