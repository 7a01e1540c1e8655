//! What the shape of a scenario does not say: whether its names mean something and its expectations make sense.

use std::collections::{BTreeMap, BTreeSet};

use hermesh_istiod::yaml::Diagnostic;

use super::changing::{Change, Subject};
use super::delays;
use super::figures::{Figures, Sense};
use super::file::{Action, ByWorkload, CALLS_MAX, Call, Expect, File, Get, Step, Wait};
use super::inventory::{Inventory, Objects};
use super::links::LinkDeed;
use super::machines::{Boot, Deed as Machines};
use super::nodes;
use super::read::{At, Place, Problems, unknown};
use super::shares::{Confusion, calls_needed, confusion};
use super::target::Target;
use super::traffic::{Load, LoadExpect};
use super::trouble;
use super::units::{Calls, Percent};
use super::url::{Scheme, Url};
use crate::mesh::{LOAD_CALLS_MAX, TRY_AGAIN};

/// The objects that a step applies or deletes, by its number among all steps.
pub(super) type StepObjects = BTreeMap<usize, Objects>;

/// Checks `file`, of which the objects in the same file are `own` and those of its steps `objects`.
pub(super) fn check(file: &File, own: &Objects, objects: &StepObjects, problems: &Problems) {
    let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str());
    let mut now = Inventory::seen_from(namespace);
    now.apply_all(own);
    let mut ever = now.clone();
    objects.values().for_each(|objects| ever.apply_all(objects));
    file.all_steps().filter_map(|step| step.boot.as_ref()).for_each(|boot| ever.boot(&boot.machine.value));

    names_are_unique(&file.steps, problems);
    delays::check(&file.mesh.delays, &ever, problems);
    let mut unsettled = None;
    let mut loads = Loads::default();
    let steps: Vec<&Step> = file.all_steps().collect();
    for (index, &step) in steps.iter().enumerate() {
        let step_objects = objects.get(&index);
        let checker = Checker { now: &now, ever: &ever, problems };
        match step.action() {
            Some(Action::Apply(_)) => {
                step_objects.into_iter().for_each(|objects| checker.named_as_machines(objects, step));
                step_objects.into_iter().for_each(|objects| now.apply_all(objects));
                unsettled = Some("apply").filter(|_| step.rejection().is_none()).or(unsettled);
            }
            Some(Action::Delete(_)) => {
                step_objects.into_iter().flat_map(Objects::named).for_each(|object| now.delete(object));
                unsettled = Some("delete");
            }
            Some(Action::Change(changes)) => {
                checker.changes(changes);
                step_objects.into_iter().for_each(|objects| checker.named_as_machines(objects, step));
                step_objects.into_iter().for_each(|objects| now.apply_all(objects));
                let verb = changes.first().map(Change::verb);
                unsettled = verb.filter(|_| step.rejection().is_none()).or(unsettled);
            }
            Some(Action::Wait(wait)) => {
                checker.wait(wait, step);
                unsettled = None;
            }
            Some(Action::Call(call)) => {
                let is_patient = step.expect_of_call().is_some_and(|expect| expect.within.is_some());
                if let Some(verb) = unsettled.filter(|_| !is_patient) {
                    let message = format!(
                        "a call right after `{verb}` may meet the old configuration; `wait: {{converged: all}}` \
                         between them makes sure of the new one"
                    );
                    problems.note(&step.verb_place, "unsettled", message);
                }
                checker.call(call, step.expect_of_call());
                if let Some(expect) = step.expect_of_call() {
                    checker.expect(expect, call);
                }
            }
            Some(Action::Load(load)) => {
                checker.load(load);
                loads.begin(load, index, problems);
            }
            Some(Action::Stop(name)) => {
                let load = loads.end(name, problems);
                if step.expect_of_load().is_empty() {
                    let message = "nothing is expected of this load: whatever came of it, the step holds; write what \
                                   must have, such as `expect: {errors: none}`";
                    problems.note(&step.verb_place, "unjudged", message);
                }
                step.expect_of_load().iter().for_each(|expect| checker.expect_of_load(expect));
                let steps = (load.unwrap_or_default(), &steps[..index]);
                step.expect_of_load().iter().for_each(|expect| window(expect, steps, problems));
            }
            Some(Action::Kill(targets)) => targets.iter().for_each(|target| checker.container(target)),
            Some(Action::Restart(targets) | Action::Pause(targets) | Action::Resume(targets)) => {
                targets.iter().for_each(|target| checker.populated(target))
            }
            Some(Action::Power(power)) => nodes::check(power, &file.mesh, problems),
            Some(Action::Machine(Machines::Boot(boot))) => {
                // What has its name goes on being what it is.
                if checker.boot(boot) {
                    now.boot(&boot.machine.value);
                }
            }
            Some(Action::Machine(Machines::Shutdown(name))) => {
                checker.machine(name);
                now.shut_down(&name.value);
            }
            Some(Action::Link(deed)) => deed.pair().into_iter().for_each(|pair| checker.pair(pair, deed)),
            Some(Action::Trouble(deed)) => {
                deed.target().into_iter().for_each(|target| checker.of_pods(target, deed));
                deed.volume().into_iter().for_each(|(volume, of)| checker.volume(volume, &of.value));
            }
            Some(Action::Get(Get::Config { of, .. })) => checker.client_of_istiod(of),
            Some(Action::Inject(inject)) => checker.client_of_istiod(&inject.to),
            Some(Action::Xds(deed)) => deed.to().into_iter().for_each(|to| checker.client_of_istiod(to)),
            Some(Action::Get(_) | Action::Together(_)) | None => {}
        }
    }
    loads.finish(problems);
}

/// The loads under way, each with its step.
#[derive(Default)]
struct Loads<'a> {
    running: BTreeMap<&'a str, (usize, &'a Place)>,
    stopped: BTreeSet<&'a str>,
}

impl<'a> Loads<'a> {
    fn begin(&mut self, load: &'a Load, step: usize, problems: &Problems) {
        let name = load.name.value.as_str();
        if self.stopped.contains(name) || self.running.insert(name, (step, &load.name.place)).is_some() {
            problems.error(&load.name.place, "duplicate-name", format!("another load is called `{name}` already"));
        }
    }

    fn end(&mut self, name: &'a At<String>, problems: &Problems) -> Option<usize> {
        let running = self.running.remove(name.value.as_str());
        if running.is_none() {
            let known: Vec<&str> = self.running.keys().copied().collect();
            let message = match known.as_slice() {
                _ if self.stopped.contains(name.value.as_str()) => {
                    format!("load `{}` was stopped before", name.value)
                }
                [] => format!("no load `{}` is under way at this step", name.value),
                known => unknown("load", &name.value, known),
            };
            problems.error(&name.place, "unknown-load", message);
        }
        if running.is_some() {
            self.stopped.insert(&name.value);
        }
        running.map(|(step, _)| step)
    }

    /// What nobody stops, nobody judges.
    fn finish(self, problems: &Problems) {
        for (name, (_, place)) in self.running {
            let message =
                format!("load `{name}` is never stopped; add a step `stop: {name}` with what to expect of it");
            problems.error(place, "never-stopped", message);
        }
    }
}

/// Checks that the step of a window comes between the load and the end of it.
fn window(expect: &LoadExpect, (load, before): (usize, &[&Step]), problems: &Problems) {
    for name in expect.since.iter().chain(&expect.throughout).chain(&expect.eventually) {
        let named = |step: &&Step| step.name.as_ref().is_some_and(|own| own.value == name.value);
        match before.iter().position(named) {
            None => {
                let names: Vec<&str> =
                    before.iter().filter_map(|step| step.name.as_ref()).map(|name| name.value.as_str()).collect();
                let message = match names.as_slice() {
                    [] => format!("no step {:?} comes before this one", name.value),
                    names => unknown("step before this one", &name.value, names),
                };
                problems.error(&name.place, "unknown-window", message);
            }
            Some(step) if step < load => {
                let message = format!("step {:?} comes before the load begins", name.value);
                problems.error(&name.place, "unknown-window", message);
            }
            Some(_) => {}
        }
    }
}

fn names_are_unique(steps: &[Step], problems: &Problems) {
    let mut seen: BTreeMap<&str, &Place> = BTreeMap::new();
    for name in steps.iter().filter_map(|step| step.name.as_ref()) {
        match seen.get(name.value.as_str()) {
            Some(first) => {
                let message = format!("another step has this name already, at line {}", first.position.line);
                problems.error(&name.place, "duplicate-name", message);
            }
            None => {
                seen.insert(&name.value, &name.place);
            }
        }
    }
}

/// A field, and where it stands if it does.
type Written<'a> = (&'static str, Option<&'a Place>);

struct Checker<'a> {
    now: &'a Inventory,
    ever: &'a Inventory,
    problems: &'a Problems,
}

impl Checker<'_> {
    /// Of a machine, that its name is free and its group there. Answers whether the name is.
    fn boot(&self, boot: &Boot) -> bool {
        let taken = self.now.taken(&boot.machine.value);
        let is_free = taken.is_none();
        if let Some(taken) = taken {
            self.error(&boot.machine.place, "duplicate-name", taken);
        }
        if let Some(complaint) = self.now.group_complaint(&boot.group.value, self.ever) {
            self.error(&boot.group.place, "unknown-group", complaint);
        }
        is_free
    }

    /// Of objects, that none gets the name of a machine, nor one of its pods.
    fn named_as_machines(&self, objects: &Objects, step: &Step) {
        for (object, machine) in objects.named().filter_map(|object| Some((object, self.now.machine_named(object)?))) {
            let message = format!("{}: {machine} is a machine", object.key());
            let error = Diagnostic::error("name-taken", self.problems.location(&step.verb_place), message);
            let help = "a workload needs a name of its own; shut the machine down first, or take another";
            self.problems.add(error.with_help(help));
        }
    }

    fn machine(&self, name: &At<String>) {
        if let Some(complaint) = self.now.machine_complaint(&name.value, self.ever) {
            self.error(&name.place, "unknown-machine", complaint);
        }
    }

    fn wait(&self, wait: &Wait, step: &Step) {
        match wait {
            Wait::Ready { workloads: Some(workloads), .. } => {
                workloads.iter().for_each(|target| self.workload(target));
            }
            Wait::Ready { workloads: None, .. } if self.now.is_empty() => {
                self.error(&step.verb_place, "unknown-workload", "no step before this one deploys anything");
            }
            Wait::Nacked { to, .. } => to.iter().for_each(|to| self.client_of_istiod(to)),
            _ => {}
        }
    }

    fn changes(&self, changes: &[Change]) {
        for At { value, place } in changes.iter().map(|change| &change.subject) {
            if let Subject::Workload(target) = value {
                self.workload(&At { value: target.clone(), place: place.clone() });
            }
        }
    }

    fn load(&self, load: &Load) {
        self.caller(&load.from);
        match Url::parse(&load.url.value) {
            Ok(Url { scheme: Scheme::Grpc | Scheme::Http, .. }) => {
                let message = "a load keeps one channel of gRPC with xDS: expected xds:///host:port";
                self.error(&load.url.place, "bad-url", message);
            }
            Ok(url) => {
                if let Some(complaint) = self.unreachable(&load.from.value, &url) {
                    self.error(&load.url.place, "unknown-host", complaint);
                }
            }
            Err(message) => self.error(&load.url.place, "bad-url", message),
        }
    }

    fn expect_of_load(&self, expect: &LoadExpect) {
        let fails = expect.error.as_ref().or(expect.cause.as_ref()).is_some();
        let succeeds = [
            ("errors", expect.errors.as_ref().map(|errors| &errors.place)),
            ("to", expect.to.as_ref().map(|to| &to.place)),
            ("share", expect.share.as_ref().map(|share| &share.place)),
        ];
        for (field, place) in succeeds.into_iter().filter(|_| fails) {
            if let Some(place) = place {
                let message = format!("`{field}` is about calls that succeed, and every call is expected to fail here");
                self.error(place, "contradiction", message);
            }
        }
        let beside =
            [("errors", expect.errors.is_some()), ("error", expect.error.is_some()), ("cause", expect.cause.is_some())];
        let answers =
            [("to", expect.to.as_ref().map(|to| &to.place)), ("share", expect.share.as_ref().map(|it| &it.place))];
        self.figures(&expect.figures, (&beside, &answers), None, true);
        if let Some(to) = &expect.to {
            self.workloads_once(to.value.iter().map(|(target, _)| target));
        }
        if let Some(share) = &expect.share {
            self.workloads_once(share.value.iter().map(|(target, _)| target));
            self.sums_to_whole(share);
        }
    }

    fn caller(&self, from: &At<Target>) {
        self.populated(from);
        if from.value.container.is_some() {
            self.error(&from.place, "bad-value", "a pod calls, not one of its containers: leave the container out");
        }
    }

    fn call(&self, call: &Call, expect: Option<&Expect>) {
        self.caller(&call.from);
        // Whoever expects a failure may call anybody.
        let may_fail = expect.is_some_and(Expect::fails);
        for url in &call.url {
            let parsed = match Url::parse(&url.value) {
                Ok(parsed) => parsed,
                Err(message) => {
                    self.error(&url.place, "bad-url", message);
                    continue;
                }
            };
            if let Some(complaint) = self.unreachable(&call.from.value, &parsed).filter(|_| !may_fail) {
                let error = Diagnostic::error("unknown-host", self.problems.location(&url.place), complaint);
                self.problems.add(error.with_help("if the call is to fail, expect its `error`"));
            }
        }
        if call.total() > CALLS_MAX {
            let message = format!("these are {} calls; a step makes {CALLS_MAX} at most", call.total());
            let place = call.count.as_ref().map_or(&call.url[0].place, |count| &count.place);
            self.error(place, "out-of-range", message);
        }
    }

    /// Why a call from `caller` cannot reach anybody. If nobody knows the caller: not if it is only too early, nor if
    /// the call makes sense from any namespace.
    fn unreachable(&self, caller: &Target, url: &Url<'_>) -> Option<String> {
        if self.now.has_more() {
            return None;
        }
        let ever = self.ever.services();
        if let Some((namespace, _)) = self.now.resolve(caller) {
            return self.now.services().complaint(url, &namespace, ever);
        }
        let complaint = |namespace: &str| ever.complaint(url, namespace, ever);
        let namespaces = self.ever.namespaces(caller);
        if namespaces.iter().all(|namespace| complaint(namespace).is_some()) {
            complaint(self.ever.namespace_of(caller))
        } else {
            None
        }
    }

    /// Of calls without xDS, ForwardEcho tells less than a channel with xDS knows.
    fn knowable(&self, expect: &Expect, call: &Call) {
        let schemes: Vec<Scheme> =
            call.url.iter().filter_map(|url| Url::parse(&url.value).ok()).map(|url| url.scheme).collect();
        if let Some(cause) = &expect.cause
            && schemes.iter().any(|scheme| *scheme != Scheme::Xds)
        {
            let message = "why a call failed is known of xds:/// only; leave `cause` out and expect the `error`";
            self.error(&cause.place, "unknowable", message);
        }
        let Some(error) = &expect.error else { return };
        if schemes.contains(&Scheme::Http) && error.value != "UNKNOWN" {
            let message = "HTTP has no status codes of gRPC: ForwardEcho ends a call to http:// that fails with \
                           UNKNOWN; write `error: UNKNOWN`";
            self.error(&error.place, "unknowable", message);
        }
        if schemes.contains(&Scheme::Grpc) && call.count() > 1 {
            let message = "of a batch to grpc:// the code of the first failure is known, and of no other; leave \
                           `count` out and list the URL as often as it is to be called";
            self.error(&error.place, "unknowable", message);
        }
    }

    fn expect(&self, expect: &Expect, call: &Call) {
        let fails = expect.error.as_ref().or(expect.cause.as_ref());
        let succeeds = [
            ("ok", expect.ok.as_ref()),
            ("to", expect.to.as_ref().map(|to| &to.place)),
            ("share", expect.share.as_ref().map(|share| &share.place)),
        ];
        if fails.is_some() {
            for (field, place) in succeeds {
                if let Some(place) = place {
                    let message =
                        format!("`{field}` is about calls that succeed, and the same step expects every call to fail");
                    self.error(place, "contradiction", message);
                }
            }
        }
        self.knowable(expect, call);
        self.tries(expect, call);
        let beside =
            [("ok", expect.ok.is_some()), ("error", expect.error.is_some()), ("cause", expect.cause.is_some())];
        let told = call.url.iter().all(|url| Url::parse(&url.value).is_ok_and(|url| url.scheme == Scheme::Xds));
        self.figures(&expect.figures, (&beside, &succeeds[1..]), Some(call.total()), told);
        // Where some may fail, how many answer shows later.
        let answers = Some(call.total()).filter(|_| !expect.figures.let_fail());
        if let Some(to) = &expect.to {
            self.workloads_once(to.value.iter().map(|(target, _)| target));
            if let Some(answers) = answers {
                self.counts(to, answers);
            }
        }
        if let Some(share) = &expect.share {
            self.workloads_once(share.value.iter().map(|(target, _)| target));
            match answers {
                Some(answers) => self.shares(share, answers),
                None => drop(self.sums_to_whole(share)),
            }
        }
    }

    /// `beside` are other fields, and those of them that are about who answers.
    fn figures(
        &self,
        figures: &Figures,
        (beside, answers): (&[(&'static str, bool)], &[Written<'_>]),
        calls: Option<u64>,
        told: bool,
    ) {
        let beside = beside.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
        let answers = answers.iter().filter_map(|(name, place)| Some((*name, (*place)?))).collect();
        Sense { figures, beside, answers, calls, told, problems: self.problems }.check();
    }

    /// What is made again and again stays in memory as well.
    fn tries(&self, expect: &Expect, call: &Call) {
        let Some(within) = &expect.within else { return };
        let tries = within.value.0.as_secs() / TRY_AGAIN.as_secs() + 1;
        let calls = tries.saturating_mul(call.total());
        if calls > LOAD_CALLS_MAX {
            let message = format!(
                "made again once a second, these may be {calls} calls; expected {LOAD_CALLS_MAX} at most: give them \
                 less time, or make fewer at once"
            );
            self.error(&within.place, "out-of-range", message);
        }
    }

    fn counts(&self, to: &At<ByWorkload<Calls>>, total: u64) {
        let bounds: Vec<(u64, u64)> = to.value.iter().map(|(_, calls)| calls.value.bounds(total)).collect();
        let sum = |ends: &mut dyn Iterator<Item = u64>| ends.fold(0, u64::saturating_add);
        let least = sum(&mut bounds.iter().map(|(low, _)| *low));
        let most = sum(&mut bounds.iter().map(|(_, high)| *high));
        if least > total {
            let message = format!("these are at least {least} calls, and the step makes {total}");
            self.error(&to.place, "impossible-count", message);
        } else if total > most {
            let message =
                format!("these are at most {most} of the {total} calls the step makes; name who answers the others");
            self.error(&to.place, "impossible-count", message);
        }
    }

    fn shares(&self, share: &At<ByWorkload<Percent>>, total: u64) {
        if !self.sums_to_whole(share) {
            return;
        }
        let shares: Vec<Percent> = share.value.iter().map(|(_, share)| share.value).collect();
        let Some(confusion) = confusion(&shares, total) else { return };
        let describe = |index: usize| format!("{} {}", share.value[index].0.value, shares[index]);
        let what = match confusion {
            Confusion::Swapped(one, other) => {
                format!("cannot tell {} and {} from the swapped split", describe(one), describe(other))
            }
            Confusion::Unbounded(one) => format!("cannot tell {} from none or all", describe(one)),
        };
        let calls = if total == 1 { "1 call".to_owned() } else { format!("{total} calls") };
        let remedy = match calls_needed(&shares) {
            Some(needed) => format!("it takes {needed}"),
            None => "no sensible number can: make the shares equal or further apart".to_owned(),
        };
        self.error(&share.place, "too-few-calls", format!("{calls} {what}; {remedy}"));
    }

    fn sums_to_whole(&self, share: &At<ByWorkload<Percent>>) -> bool {
        let sum: u32 = share.value.iter().map(|(_, share)| share.value.thousandths()).sum();
        let whole = sum == Percent::WHOLE.thousandths();
        if !whole {
            let sum = f64::from(sum) / 1_000.0;
            self.error(&share.place, "shares-sum", format!("the shares sum to {sum}%; expected 100%"));
        }
        whole
    }

    fn workloads_once<'t>(&self, targets: impl Iterator<Item = &'t At<Target>>) {
        let mut seen = BTreeSet::new();
        for target in targets {
            self.workload(target);
            if self.now.resolve(&target.value).is_some_and(|key| !seen.insert(key)) {
                self.error(&target.place, "duplicate-name", format!("workload `{}` stands here twice", target.value));
            }
        }
    }

    fn container(&self, target: &At<Target>) {
        self.populated(target);
        if target.value.container.is_none() {
            let name = &target.value;
            let container = if name.workload == "istiod" { "discovery" } else { "istio-proxy" };
            let message = match name.ordinal {
                Some(_) => format!("expected a container, such as `{name}/{container}`, found the pod `{name}`"),
                None => format!("expected a container, such as `{name}/0/{container}`, found the workload `{name}`"),
            };
            self.error(&target.place, "bad-value", message);
        }
    }

    fn workload(&self, target: &At<Target>) {
        self.known(target);
        if target.value.ordinal.is_some() {
            let message = format!("expected a workload, such as `{}`, found `{}`", target.value.workload, target.value);
            self.error(&target.place, "bad-value", message);
        }
    }

    fn pair(&self, pair: &[At<Target>; 2], deed: LinkDeed<'_>) {
        for target in pair {
            self.populated(target);
            if target.value.container.is_some() {
                let message = "the network ends at pods: leave the container out";
                self.error(&target.place, "bad-value", message);
            }
        }
        let [one, other] = pair;
        if one.value == other.value {
            let code = if deed.is_one_way() { "overlap" } else { "bad-value" };
            self.error(&other.place, code, "expected two different workloads or pods, found the same twice");
        }
    }

    /// What is done to pods as wholes.
    fn of_pods(&self, target: &At<Target>, deed: trouble::Deed<'_>) {
        self.populated(target);
        if target.value.container.is_some() {
            let message = format!("{}: leave the container out", deed.not_of_containers());
            self.error(&target.place, "bad-value", message);
        } else if deed.is_about_tokens() && self.now.is_istiod(&target.value) {
            let message = "istiod has no token: it signs its own certificate; name a workload or a pod with an agent";
            self.error(&target.place, "no-client", message);
        }
    }

    /// Of a volume, that the pods can have it.
    fn volume(&self, volume: &At<String>, of: &Target) {
        if let Some(complaint) = self.now.volume_complaint(of, &volume.value) {
            self.error(&volume.place, "unknown-volume", complaint);
        }
    }

    /// As [`client`](Self::client), of what istiod itself is not.
    fn client_of_istiod(&self, target: &At<Target>) {
        self.client(target);
        if self.now.is_istiod(&target.value) {
            let message = "istiod serves xDS and asks nobody for it: name a workload or a pod that is its client";
            self.error(&target.place, "no-client", message);
        }
    }

    /// Whose pod is known to istiod as one node.
    fn client(&self, target: &At<Target>) {
        self.populated(target);
        if target.value.container.is_some() {
            let message = "istiod knows the clients of a pod as one node: leave the container out";
            self.error(&target.place, "bad-value", message);
        }
    }

    fn known(&self, target: &At<Target>) {
        if let Some(complaint) = self.now.complaint(&target.value, self.ever) {
            self.error(&target.place, "unknown-workload", complaint);
        }
    }

    /// As [`known`](Self::known), for what is done to or by pods.
    fn populated(&self, target: &At<Target>) {
        self.known(target);
        // An ordinal has been complained of already.
        if target.value.ordinal.is_none() && self.now.is_without_pods(&target.value) {
            let message =
                format!("workload `{}` has no pods: its Deployment says `replicas: 0`", target.value.workload);
            self.error(&target.place, "no-pods", message);
        }
    }

    fn error(&self, place: &Place, code: &'static str, message: impl Into<String>) {
        self.problems.error(place, code, message);
    }
}
