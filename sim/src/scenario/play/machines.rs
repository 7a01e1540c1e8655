//! `boot` and `shutdown`.

use super::super::machines::Deed;
use super::super::settle::settle;
use super::{Played, Player, words};

impl Player<'_> {
    pub(super) fn machine(&mut self, deed: Deed<'_>) -> Played {
        let (said, outcome) = match deed {
            Deed::Boot(boot) => {
                let (name, group, address) = (&boot.machine.value, &boot.group.value, &boot.address.value);
                let done = self.mesh.try_boot(&boot.machine());
                let outcome = settle(done, &format!("machine {name} boots"))?;
                (format!("boot machine {name} of group {group} at {address}"), outcome)
            }
            Deed::Shutdown(name) => {
                let done = self.mesh.try_shut_down(&name.value);
                let outcome = settle(done, &format!("machine {} shuts down", name.value))?;
                (format!("shut machine {} down", name.value), outcome)
            }
        };
        Ok((said, words(outcome.map(|()| String::new()))))
    }
}
