//! `kill`, `restart`, `pause` and `resume`.

use std::time::Duration;

use super::super::read::At;
use super::super::settle::{Trouble, settle};
use super::super::target::Target;
use super::trouble::span;
use super::{Played, Player, list, words};
use crate::mesh::{DisturbError, Fault, Mesh};

impl Player<'_> {
    pub(super) fn kill(&mut self, targets: &[At<Target>]) -> Played {
        let outcome = self.each(targets, "is killed", Mesh::try_kill)?;
        Ok((format!("kill {}", list(targets)), words(outcome)))
    }

    pub(super) fn restart(&mut self, targets: &[At<Target>]) -> Played {
        let outcome = self.each(targets, "restarts", Mesh::try_restart)?;
        Ok((format!("restart {}", list(targets)), words(outcome)))
    }

    pub(super) fn pause(&mut self, targets: &[At<Target>], lasting: Option<Duration>) -> Played {
        let pause = |mesh: &mut Mesh, target: &str| mesh.pause_lasting(target, lasting);
        let outcome = self.each(targets, "is paused", pause)?;
        Ok((format!("pause {}{}", list(targets), span(lasting)), words(outcome)))
    }

    pub(super) fn resume(&mut self, targets: &[At<Target>]) -> Played {
        let outcome = self.each(targets, "runs again", Mesh::try_resume)?;
        Ok((format!("resume {}", list(targets)), words(outcome)))
    }

    fn each<T>(
        &mut self,
        targets: &[At<Target>],
        expected: &str,
        act: impl Fn(&mut Mesh, &str) -> Result<T, DisturbError>,
    ) -> Result<Result<String, Trouble>, Fault> {
        for target in targets {
            let name = target.value.to_string();
            if let Err(trouble) = settle(act(&mut self.mesh, &name), &format!("{name} {expected}"))? {
                return Ok(Err(trouble));
            }
        }
        Ok(Ok(String::new()))
    }
}
