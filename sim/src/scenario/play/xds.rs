//! `inject`, `eject`, `hold`, `release`, `drop`, `delay` and `reorder`, and `get: {config: ...}`.

use hermesh_istiod::yaml::Diagnostic;

use super::super::config::ConfigExpect;
use super::super::file::Step;
use super::super::inject::Inject;
use super::super::outcome::{Outcome, StepReport};
use super::super::read::At;
use super::super::settle::settle;
use super::super::target::Target;
use super::super::xds::{Deed, Delay, Drop, Held, Release, Reorder};
use super::{Played, Player, missed, words};
use crate::explain;
use crate::mesh::{Fault, Resource};

impl Player<'_> {
    /// As a table, or with all resources as JSON.
    pub(super) fn config(&mut self, target: &At<Target>, json: bool) -> Played {
        let name = target.value.to_string();
        let config = settle(self.mesh.try_client_config(&name), "xDS clients tell what they have")?;
        Ok(if json {
            (format!("get config of {name}, as JSON"), config.map(Outcome::Resources))
        } else {
            (format!("get config of {name}"), config.map(|config| Outcome::Config(config.without_contents())))
        })
    }

    /// Shows what clients have and judges it.
    pub(super) fn judged_config(
        &mut self,
        number: usize,
        step: &Step,
        (target, json): (&At<Target>, bool),
        notes: Vec<Diagnostic>,
    ) -> Result<StepReport, Fault> {
        let (began, name) = (self.mesh.now(), step.name.as_ref().map(|name| name.value.clone()));
        let (said, done) = self.config(target, json)?;
        let judge = |expect: &ConfigExpect, config| (expect.judge(config), expect.place.clone());
        let judged: Vec<_> = match &done {
            Ok(Outcome::Config(config) | Outcome::Resources(config)) => {
                step.expect_of_config().iter().map(|expect| judge(expect, config)).collect()
            }
            _ => Vec::new(),
        };
        let missed = judged.iter().find_map(|(check, place)| {
            let why = || self.mesh.with_trace(explain::broken);
            missed(std::slice::from_ref(check), why).map(|trouble| self.failure(trouble, place))
        });
        let report = self.report(number, name, began, said, done, &step.verb_place);
        let checks = judged.into_iter().map(|(check, _)| check).collect();
        let failure = report.failure.clone().or(missed);
        Ok(StepReport { step: step.written.clone(), checks, notes, failure, ..report })
    }

    pub(super) fn inject(&mut self, index: usize, inject: &Inject) -> Played {
        let scenario = self.scenario;
        let resources = inject.resource.as_ref().unwrap_or_else(|| &scenario.injected[&index]);
        let done = self.mesh.try_inject_all(&inject.to.value.to_string(), resources);
        let done = settle(done, "clients get resources in the place of istiod's")?;
        let names = match resources.as_slice() {
            [_] if inject.file.is_none() => String::new(),
            many => many.iter().map(Resource::to_string).collect::<Vec<_>>().join(", "),
        };
        Ok((inject.described(resources), words(done.map(|()| names))))
    }

    pub(super) fn xds(&mut self, deed: Deed<'_>) -> Played {
        let (responses, mesh) = (deed.responses(), &mut self.mesh);
        let done = match deed {
            Deed::Hold(Held { r#for, .. }) => mesh.try_hold(&responses, r#for.as_ref().map(|time| time.value.0)),
            Deed::Eject(_) => mesh.try_eject(&responses),
            Deed::Release(Release::All) => mesh.try_release(&responses).and_then(|()| mesh.try_release_links()),
            Deed::Release(_) => mesh.try_release(&responses),
            Deed::Drop(Drop { count, .. }) => mesh.try_drop_responses(&responses, *count),
            Deed::Delay(Delay { by, .. }) => mesh.try_delay(&responses, by.value.0.clone()),
            Deed::Reorder(Reorder { count, .. }) => {
                mesh.try_reorder(&responses, usize::try_from(*count).unwrap_or(usize::MAX))
            }
        };
        let outcome = settle(done, "istiod's responses are in hand")?;
        Ok((deed.described(), words(outcome.map(|()| String::new()))))
    }
}
