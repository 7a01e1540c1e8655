//! The responses of one stream that may not leave yet, and what a [`Gate`](super::Gate)'s rules make of them. Sans-I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use hermesh_xds::ResourceType;
use tokio::time::Instant;

use super::gate::{Deed, Rule, Rules};

/// Responses in the order in which istiod made them, of which none that is here has left.
#[derive(Debug)]
pub(super) struct Outbox<T> {
    /// Namespace and name of the stream's pod.
    pod: (String, String),
    waiting: Vec<Waiting<T>>,
    /// The rules that have done to this stream what they do but once.
    done: BTreeSet<u64>,
    /// Whether a rule is about this stream's pod.
    about: BTreeMap<u64, bool>,
}

/// A response that waits.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    pub(super) resource_type: ResourceType,
    pub(super) response: T,
    /// By which rule, if one has had a say: its number.
    pub(super) by: Option<u64>,
    /// The one by which it was told to wait.
    told: Option<u64>,
    since: Instant,
    /// When it leaves by the rule of this number, as was drawn.
    due: Option<(Instant, u64)>,
}

/// What becomes of a response.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate<T> {
    /// It leaves now.
    Leaves {
        response: T,
        resource_type: ResourceType,
        /// How long it has waited, if that was told.
        waited: Option<Duration>,
    },
    /// It never leaves, by the rule of this number.
    Dropped { response: T, resource_type: ResourceType, by: u64 },
}

/// Draws a number from the first to the second.
pub(super) type Draw<'a> = dyn FnMut(u64, u64) -> u64 + Send + 'a;

/// What a rule says of a response that waits.
enum Say {
    Leave,
    Stay(u64),
    Drop(u64),
    Gather(u64, usize),
}

impl<T> Outbox<T> {
    pub(super) fn of(pod: (String, String)) -> Self {
        Self { pod, waiting: Vec::new(), done: BTreeSet::new(), about: BTreeMap::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Those of which nobody has told yet that they wait, or by which rule they do now; they count as told then.
    pub(super) fn untold(&mut self) -> impl Iterator<Item = &Waiting<T>> {
        self.waiting.iter_mut().filter_map(|waiting| {
            let untold = waiting.by != waiting.told;
            waiting.told = waiting.by;
            untold.then_some(&*waiting)
        })
    }

    /// Takes in what istiod has made.
    pub(super) fn add(&mut self, resource_type: ResourceType, response: T, now: Instant) {
        self.waiting.push(Waiting { resource_type, response, by: None, told: None, since: now, due: None });
    }

    /// What becomes of the first response that does not wait any longer; `None` if all do. `draw` gives a number from
    /// the first to the second. A response that is dropped counts against its rule before the next one is asked for.
    pub(super) fn next(&mut self, rules: &Rules, now: Instant, draw: &mut Draw<'_>) -> Option<Fate<T>> {
        let mut blocked: BTreeMap<ResourceType, u64> = BTreeMap::new();
        let mut gathered: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for index in 0..self.waiting.len() {
            let resource_type = self.waiting[index].resource_type;
            if let Some(by) = blocked.get(&resource_type) {
                self.waiting[index].by = Some(*by);
                continue;
            }
            match self.say(index, rules, now, draw) {
                Say::Leave => return Some(self.leave(index, now)),
                Say::Drop(by) => {
                    let Waiting { response, resource_type, .. } = self.waiting.remove(index);
                    return Some(Fate::Dropped { response, resource_type, by });
                }
                Say::Stay(by) => {
                    self.waiting[index].by = Some(by);
                    blocked.insert(resource_type, by);
                }
                Say::Gather(by, count) => {
                    self.waiting[index].by = Some(by);
                    let all = gathered.entry(by).or_default();
                    all.push(index);
                    if all.len() == count {
                        self.done.insert(by);
                        let all = std::mem::take(all);
                        self.reverse(&all);
                        return self.next(rules, now, draw);
                    }
                }
            }
        }
        None
    }

    /// When something may move by itself.
    pub(super) fn next_turn(&self, rules: &Rules, now: Instant) -> Option<Instant> {
        if self.waiting.is_empty() {
            return None;
        }
        let due = self.waiting.iter().filter_map(|waiting| waiting.due).map(|(due, _)| due);
        due.filter(|due| *due > now).chain(rules.next_end(now)).min()
    }

    fn say(&mut self, index: usize, rules: &Rules, now: Instant, draw: &mut Draw<'_>) -> Say {
        let Waiting { resource_type, since, due: drawn, .. } = self.waiting[index];
        // What a rule has done to it stands as long as the rule does.
        let due = drawn.filter(|(due, by)| *due > now && rules.get(*by).is_some());
        let rule = self.deciding(resource_type, rules, now);
        match rule.map(|(number, rule)| (number, &rule.deed)) {
            None => due.map_or(Say::Leave, |(_, by)| Say::Stay(by)),
            Some((_, Deed::Pass)) => Say::Leave,
            Some((by, Deed::Hold { .. })) => Say::Stay(by),
            Some((by, Deed::Drop { .. })) => Say::Drop(by),
            Some((by, Deed::Reverse { count })) => Say::Gather(by, *count),
            Some((by, Deed::Delay { by: range })) => {
                let own = drawn.filter(|(_, of)| *of == by);
                let due = own.map_or_else(|| since + time_from(range, draw), |(due, _)| due);
                self.waiting[index].due = Some((due, by));
                if due > now { Say::Stay(by) } else { Say::Leave }
            }
        }
    }

    /// The latest rule that is about a response of this stream.
    fn deciding<'r>(&mut self, resource_type: ResourceType, rules: &'r Rules, now: Instant) -> Option<(u64, &'r Rule)> {
        let Self { pod, done, about, .. } = self;
        rules.standing(now).find(|(number, rule)| {
            !done.contains(number)
                && rule.responses.have_type(resource_type)
                && *about.entry(*number).or_insert_with(|| rule.responses.have_pod(pod))
        })
    }

    /// Puts the responses at these places there in reverse order.
    fn reverse(&mut self, places: &[usize]) {
        let (mut low, mut high) = (0, places.len() - 1);
        while low < high {
            self.waiting.swap(places[low], places[high]);
            (low, high) = (low + 1, high - 1);
        }
    }

    fn leave(&mut self, index: usize, now: Instant) -> Fate<T> {
        let Waiting { resource_type, response, since, told, .. } = self.waiting.remove(index);
        Fate::Leaves { response, resource_type, waited: told.map(|_| now - since) }
    }
}

/// A time of the range in whole milliseconds, the resolution of all timers.
fn time_from(range: &RangeInclusive<Duration>, draw: &mut Draw<'_>) -> Duration {
    let ms = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(draw(ms(range.start()), ms(range.end())))
}

#[cfg(test)]
mod tests {
    use ResourceType::{Cluster, Endpoints, Listener, RouteConfiguration};

    use super::super::gate::{Gate, Pods, Responses};
    use super::*;

    /// An outbox of pod shop/web, a gate, and a clock.
    struct Stream {
        outbox: Outbox<&'static str>,
        gate: Gate,
        now: Instant,
        draws: Vec<u64>,
    }

    impl Stream {
        fn new() -> Self {
            let outbox = Outbox::of(("shop".to_owned(), "web".to_owned()));
            Self { outbox, gate: Gate::new(), now: Instant::now(), draws: Vec::new() }
        }

        fn set(&self, types: &[ResourceType], deed: Deed) {
            let responses = Responses { types: types.iter().copied().collect(), to: None };
            self.gate.set(Rule { responses, deed, cause: None });
        }

        fn add(&mut self, resource_type: ResourceType, response: &'static str) {
            self.outbox.add(resource_type, response, self.now);
        }

        /// What leaves now; what is dropped has an exclamation mark.
        fn turn(&mut self) -> Vec<String> {
            let mut moved = Vec::new();
            loop {
                let rules = self.gate.reader().look(Rules::clone);
                let draws = &mut self.draws;
                let mut draw = |low, high| {
                    let drawn = draws.pop().unwrap_or(low);
                    assert!((low..=high).contains(&drawn));
                    drawn
                };
                match self.outbox.next(&rules, self.now, &mut draw) {
                    Some(Fate::Leaves { response, .. }) => moved.push(response.to_owned()),
                    Some(Fate::Dropped { response, by, .. }) => {
                        self.gate.dropped(by);
                        moved.push(format!("{response}!"));
                    }
                    None => return moved,
                }
            }
        }

        /// Lets time pass until something may move by itself; how much, in seconds.
        fn pass(&mut self) -> Option<u64> {
            let next = self.outbox.next_turn(&self.gate.reader().look(Rules::clone), self.now)?;
            let passed = next - self.now;
            self.now = next;
            Some(passed.as_secs())
        }
    }

    #[test]
    fn without_rules_all_leaves_at_once_and_in_order() {
        let mut stream = Stream::new();
        stream.add(Cluster, "c1");
        stream.add(Endpoints, "e1");
        assert_eq!(stream.turn(), ["c1", "e1"]);
        assert!(stream.outbox.is_empty() && stream.pass().is_none());
    }

    #[test]
    fn what_is_held_leaves_in_order_when_the_hold_ends_or_is_released() {
        let mut stream = Stream::new();
        stream.set(&[Endpoints], Deed::Hold { until: Some(stream.now + Duration::from_secs(2)) });
        for (resource_type, response) in [(Endpoints, "e1"), (Listener, "l1"), (Endpoints, "e2")] {
            stream.add(resource_type, response);
        }
        assert_eq!(stream.turn(), ["l1"]);
        let mut untold = || stream.outbox.untold().map(|waiting| (waiting.response, waiting.by)).collect::<Vec<_>>();
        assert_eq!((untold(), untold()), (vec![("e1", Some(1)), ("e2", Some(1))], vec![]), "each is told once");
        assert_eq!(stream.pass(), Some(2));
        assert_eq!(stream.turn(), ["e1", "e2"]);
        stream.set(&[], Deed::Hold { until: None });
        stream.add(Cluster, "c1");
        stream.add(Endpoints, "e3");
        assert!(stream.turn().is_empty() && stream.pass().is_none());
        stream.set(&[Cluster], Deed::Pass);
        assert_eq!(stream.turn(), ["c1"], "the latest rule decides");
        stream.set(&[], Deed::Pass);
        assert_eq!(stream.turn(), ["e3"]);
    }

    #[test]
    fn as_many_are_dropped_as_was_asked_also_of_those_that_wait() {
        let mut stream = Stream::new();
        stream.set(&[], Deed::Hold { until: None });
        stream.add(Endpoints, "e1");
        assert!(stream.turn().is_empty());
        stream.set(&[Endpoints], Deed::Drop { count: Some(2) });
        for (resource_type, response) in [(Endpoints, "e2"), (Endpoints, "e3"), (Cluster, "c1")] {
            stream.add(resource_type, response);
        }
        assert_eq!(stream.turn(), ["e1!", "e2!"], "then the hold decides again");
        stream.set(&[], Deed::Pass);
        assert_eq!(stream.turn(), ["e3", "c1"]);
    }

    #[test]
    fn delays_are_drawn_for_each_and_nothing_overtakes_within_its_type() {
        let mut stream = Stream::new();
        stream.set(&[Endpoints], Deed::Delay { by: Duration::from_secs(1)..=Duration::from_secs(5) });
        stream.draws = vec![2_000, 5_000];
        stream.add(Endpoints, "e1");
        stream.add(Endpoints, "e2");
        stream.add(Cluster, "c1");
        assert_eq!(stream.turn(), ["c1"]);
        let second = "its two seconds are over, and the first was in its way";
        assert_eq!((stream.pass(), stream.turn()), (Some(5), vec!["e1".to_owned(), "e2".to_owned()]), "{second}");
        stream.draws = vec![4_000];
        stream.add(Endpoints, "e3");
        assert!(stream.turn().is_empty());
        stream.set(&[], Deed::Pass);
        assert_eq!(stream.turn(), ["e3"], "released before its time");
    }

    #[test]
    fn so_many_leave_in_reverse_order_once() {
        let mut stream = Stream::new();
        stream.set(&[], Deed::Reverse { count: 3 });
        stream.add(Cluster, "c1");
        stream.add(Endpoints, "e1");
        assert!(stream.turn().is_empty(), "the third is not there");
        for (resource_type, response) in [(RouteConfiguration, "r1"), (Cluster, "c2")] {
            stream.add(resource_type, response);
        }
        assert_eq!(stream.turn(), ["r1", "e1", "c1", "c2"]);
        stream.add(Cluster, "c3");
        assert_eq!(stream.turn(), ["c3"]);
        stream.set(&[Endpoints], Deed::Reverse { count: 2 });
        stream.add(Endpoints, "e2");
        stream.add(Listener, "l1");
        assert_eq!(stream.turn(), ["l1"]);
        stream.add(Endpoints, "e3");
        assert_eq!(stream.turn(), ["e3", "e2"], "the older overtakes the newer's place");
    }

    #[test]
    fn rules_about_others_say_nothing() {
        let mut stream = Stream::new();
        let pods = Pods::new("shop/cart", |namespace, name| (namespace, name) == ("shop", "cart"));
        let responses = Responses { types: BTreeSet::new(), to: Some(pods) };
        stream.gate.set(Rule { responses, deed: Deed::Hold { until: None }, cause: None });
        stream.add(Cluster, "c1");
        assert_eq!(stream.turn(), ["c1"]);
    }
}
