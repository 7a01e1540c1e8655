//! `power`.

use super::super::nodes::Power;
use super::super::settle::settle;
use super::{Played, Player, words};
use crate::mesh::Mesh;

impl Player<'_> {
    pub(super) fn power(&mut self, power: &Power) -> Played {
        let (switch, state): (fn(&mut Mesh, &str) -> _, _) =
            if power.off { (Mesh::try_power_off, "off") } else { (Mesh::try_power_on, "on") };
        for node in &power.nodes {
            let expected = format!("the power of {} goes {state}", node.value);
            if let Err(trouble) = settle(switch(&mut self.mesh, &node.value), &expected)? {
                return Ok((power.to_string(), words(Err(trouble))));
            }
        }
        Ok((power.to_string(), words(Ok(String::new()))))
    }
}
