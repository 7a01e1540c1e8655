//! `disrupt`, `clock`, `expire`, `fill` and `tear`, and what `heal` mends of that.

use std::time::Duration;

use super::super::read::At;
use super::super::settle::settle;
use super::super::trouble::{Clock, Deed, Disrupt, Expire, Fill, Mended, Tear};
use super::super::units::Time;
use super::super::words::code_of;
use super::{Played, Player, words};
use crate::mesh::Disruption;

impl Player<'_> {
    pub(super) fn trouble(&mut self, deed: Deed<'_>, lasting: Option<Duration>) -> Played {
        let mesh = &mut self.mesh;
        let done = match deed {
            Deed::Disrupt(Disrupt { service, to, error, delay }) => {
                let mut disruption = Disruption::of(*service);
                disruption.to = to.as_ref().map(|to| to.value.to_string());
                disruption.error = error.as_ref().map(|error| code_of(error.value));
                disruption.delay = delay.as_ref().map(|delay| delay.value.0.clone());
                disruption.lasting = lasting;
                mesh.try_disrupt(&disruption)
            }
            Deed::Mend(Mended::Service(service, to)) => {
                let mut disruption = Disruption::of(*service);
                disruption.to = to.as_ref().map(|to| to.value.to_string());
                mesh.try_end_disruption(&disruption)
            }
            Deed::Clock(Clock { of, ahead, behind }) => {
                let by = |time: &Option<At<Time>>| time.as_ref().map(|time| time.value.0);
                let (ahead, behind) = (by(ahead).unwrap_or_default(), by(behind).unwrap_or_default());
                mesh.skew(&of.value.to_string(), ahead, behind, lasting).map(drop)
            }
            Deed::Mend(Mended::Clock(of)) => mesh.try_set_clock_right(&of.value.to_string()).map(drop),
            Deed::Expire(Expire { tokens, r#in }) => {
                let life = r#in.as_ref().map(|time| time.value.0);
                mesh.expire(&tokens.value.to_string(), life, lasting).map(drop)
            }
            Deed::Mend(Mended::Tokens(of)) => mesh.try_renew_tokens(&of.value.to_string()).map(drop),
            Deed::Fill(Fill { volume, of }) => mesh.fill(&of.value.to_string(), &volume.value, lasting).map(drop),
            Deed::Mend(Mended::Volume(volume, of)) => {
                mesh.try_free_volume(&of.value.to_string(), &volume.value).map(drop)
            }
            Deed::Tear(Tear { volume, of, count }) => {
                mesh.try_tear_writes(&of.value.to_string(), &volume.value, count.unwrap_or(1)).map(drop)
            }
        };
        let outcome = settle(done, "what it is done to is there")?;
        Ok((format!("{}{}", deed.described(), span(lasting)), words(outcome.map(|()| String::new()))))
    }
}

/// ` for 5s`
pub(super) fn span(lasting: Option<Duration>) -> String {
    lasting.map(|time| format!(" for {}", Time(time))).unwrap_or_default()
}
