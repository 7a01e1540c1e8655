//! `hold`, `release`, `drop`, `delay` and `reorder`, and `get: {config: ...}`.

use super::super::outcome::Outcome;
use super::super::read::At;
use super::super::settle::settle;
use super::super::target::Target;
use super::super::xds::{Deed, Delay, Drop, Hold, Reorder};
use super::{Played, Player, words};

impl Player<'_> {
    pub(super) fn config(&mut self, target: &At<Target>) -> Played {
        let name = target.value.to_string();
        let config = settle(self.mesh.try_client_config(&name), "xDS clients tell what they have")?;
        Ok((format!("get config of {name}"), config.map(Outcome::Config)))
    }

    pub(super) fn xds(&mut self, deed: Deed<'_>) -> Played {
        let (responses, mesh) = (deed.responses(), &mut self.mesh);
        let done = match deed {
            Deed::Hold(Hold { r#for, .. }) => mesh.try_hold(&responses, r#for.as_ref().map(|time| time.value.0)),
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
