//! Targets of one step that mean the same, or of which one is part of another.

use super::changing::{Change, Subject};
use super::file::{Action, File, Wait};
use super::read::{At, Problems};
use super::target::Target;

/// Reports what a step would do twice, or between a workload and itself.
pub(super) fn check(file: &File, problems: &Problems) {
    let namespace = file.namespace.as_ref().map_or("default", |namespace| namespace.value.as_str());
    let names = Names { namespace, problems };
    for step in file.all_steps() {
        match step.action() {
            Some(
                Action::Kill(targets) | Action::Restart(targets) | Action::Pause(targets) | Action::Resume(targets),
            ) => names.distinct(targets),
            Some(Action::Wait(Wait::Ready { workloads: Some(targets), .. })) => names.distinct(targets),
            Some(Action::Change(changes)) => names.distinct(&workloads(changes)),
            Some(Action::Link(deed)) => deed.pair().into_iter().for_each(|pair| names.apart(pair)),
            _ => {}
        }
    }
}

/// The workloads among what a step changes.
fn workloads(changes: &[Change]) -> Vec<At<Target>> {
    let target = |subject: &At<Subject>| match &subject.value {
        Subject::Workload(target) => Some(At { value: target.clone(), place: subject.place.clone() }),
        Subject::Object(_) => None,
    };
    changes.iter().filter_map(|change| target(&change.subject)).collect()
}

struct Names<'a> {
    namespace: &'a str,
    problems: &'a Problems,
}

impl Names<'_> {
    fn distinct(&self, targets: &[At<Target>]) {
        for (index, target) in targets.iter().enumerate() {
            let earlier = &targets[..index];
            let Some(other) = earlier.iter().find(|other| self.overlap(&other.value, &target.value)) else { continue };
            let (one, other) = (&target.value, &other.value);
            let message = match (self.covers(other, one), self.covers(one, other)) {
                (true, true) => format!("`{one}` stands here twice"),
                (true, false) => format!("`{one}` is part of `{other}`, which stands here already"),
                _ => format!("`{other}`, which stands here already, is part of `{one}`"),
            };
            let code = if one == other { "duplicate-name" } else { "overlap" };
            self.problems.error(&target.place, code, message);
        }
    }

    fn apart(&self, [one, other]: &[At<Target>; 2]) {
        let has_container = one.value.container.is_some() || other.value.container.is_some();
        if has_container || one.value == other.value || !self.overlap(&one.value, &other.value) {
            return;
        }
        let message = match (one.value.ordinal, other.value.ordinal) {
            (None, Some(_)) => format!("`{}` is a pod of `{}`", other.value, one.value),
            (Some(_), None) => format!("`{}` is a pod of `{}`", one.value, other.value),
            _ => format!("`{}` and `{}` are the same", one.value, other.value),
        };
        let message = format!("{message}; expected two workloads or pods with a network between them");
        self.problems.error(&other.place, "overlap", message);
    }

    fn overlap(&self, one: &Target, other: &Target) -> bool {
        self.covers(one, other) || self.covers(other, one)
    }

    /// Whether `part` is `whole`, or one of its pods or containers.
    fn covers(&self, whole: &Target, part: &Target) -> bool {
        // The name `istiod` alone may mean one of two namespaces; what it means is no business of this.
        let namespace = |target: &Target| match &target.namespace {
            None if target.workload != "istiod" => Some(self.namespace.to_owned()),
            named => named.clone(),
        };
        whole.workload == part.workload
            && namespace(whole) == namespace(part)
            && (whole.ordinal.is_none() || whole.ordinal == part.ordinal)
            && (whole.container.is_none() || whole.container == part.container)
    }
}
