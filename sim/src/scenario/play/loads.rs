//! `load` and `stop`, and what is expected of all that was sent.

use std::time::Duration;

use hermesh_runtime::EventId;

use super::super::file::Step;
use super::super::outcome::{Outcome, StepReport};
use super::super::settle::{Trouble, settle};
use super::super::target::Target;
use super::super::{stop, traffic};
use super::calls::late;
use super::{Played, Player, missed, words};
use crate::explain;
use crate::mesh::{Fault, Load};

impl Player<'_> {
    pub(super) fn load(&mut self, load: &traffic::Load) -> Played {
        let mut asked = Load::new(load.from.value.to_string(), load.url.value.clone()).name(&load.name.value);
        asked.qps = u32::try_from(load.qps).expect("the reader bounds the rate");
        asked.headers = load.headers.iter().map(|(name, value)| (name.value.clone(), value.clone())).collect();
        asked.message = load.message.clone().unwrap_or_default();
        if let Some(timeout) = &load.timeout {
            asked.timeout = timeout.value.0;
        }
        let said = format!("load {}: {} -> {}", load.name.value, load.from.value, load.url.value);
        let begun = settle(self.mesh.try_load(asked), "the load begins")?;
        let done = begun.map(|running| {
            self.loads.insert(load.name.value.clone(), running);
            format!("{} calls a second", load.qps)
        });
        Ok((said, words(done)))
    }

    /// Stops a load and judges what came of it.
    pub(super) fn stop(
        &mut self,
        number: usize,
        step: &Step,
        load: &str,
        began: Duration,
        reports: &[StepReport],
    ) -> Result<StepReport, Fault> {
        let running = self.loads.remove(load).expect("the reader knows which loads are under way");
        let calls = self.mesh.try_stop(&running)?;
        let ended = running.ended();
        let same = |target: &Target, name: &str| self.same(target, name);
        let judged: Vec<_> =
            step.expect_of_load().iter().map(|expect| stop::judge(expect, &calls, reports, same)).collect();
        let failure = match ended {
            Some(seen) => {
                let expected = "the load goes on until it is stopped".to_owned();
                let cause = running.ended_by().map(EventId::seq);
                let why = cause.map(|event| self.mesh.with_trace(|trace| explain::causes(trace, event)));
                let why = why.unwrap_or_default();
                Some(self.failure(Trouble { expected, seen, why }, &step.verb_place))
            }
            None => judged.iter().find_map(|judged| {
                let slowest = late(&judged.checks).then(|| self.slowest(&judged.calls, running.pod(), running.url()));
                let why = || match (slowest.flatten(), judged.calls.errors().next()) {
                    (Some(lines), _) => lines,
                    (None, Some(call)) => self.mesh.with_trace(|trace| explain::causes(trace, call.event)),
                    (None, None) => {
                        self.mesh.with_trace(|trace| explain::configuration(trace, running.pod(), running.url()))
                    }
                };
                missed(&judged.checks, why).map(|trouble| self.failure(trouble, judged.place))
            }),
        };
        let checks = judged.into_iter().flat_map(|judged| judged.checks).collect();
        let name = step.name.as_ref().map(|name| name.value.clone());
        let done = Ok(Outcome::Load(calls));
        let report = self.report(number, name, began, format!("stop {load}"), done, &step.verb_place);
        Ok(StepReport { step: step.written.clone(), checks, failure, ..report })
    }
}
