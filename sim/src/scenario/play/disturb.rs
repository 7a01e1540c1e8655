//! `kill`, `restart`, `partition` and `heal`.

use super::super::file::Heal;
use super::super::read::At;
use super::super::settle::{Trouble, settle};
use super::super::target::Target;
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

    pub(super) fn partition(&mut self, [a, b]: &[At<Target>; 2]) -> Played {
        let cut = self.mesh.try_partition(&a.value.to_string(), &b.value.to_string());
        let outcome = settle(cut, "no packet passes between them")?;
        Ok((format!("partition {} from {}", a.value, b.value), words(outcome.map(|_| String::new()))))
    }

    pub(super) fn heal(&mut self, heal: &Heal) -> Played {
        let (said, outcome) = match heal {
            Heal::All => {
                let outcome = settle(self.mesh.try_heal_all(), "packets pass everywhere again")?;
                ("heal all".to_owned(), outcome.map(|_| String::new()))
            }
            Heal::Pair(pair) => {
                let [a, b] = &**pair;
                let healed = self.mesh.try_heal(&a.value.to_string(), &b.value.to_string());
                let outcome = settle(healed, "packets pass between them again")?;
                (format!("heal {} and {}", a.value, b.value), outcome.map(|_| String::new()))
            }
        };
        Ok((said, words(outcome)))
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
