//! What is done to links.

use std::time::Duration;

use super::super::file::Heal;
use super::super::links::{Ends, HeldLink, LinkDeed};
use super::super::read::At;
use super::super::settle::settle;
use super::super::target::Target;
use super::super::trouble::Deed;
use super::super::units::{Time, TimeRange};
use super::trouble::span;
use super::{Played, Player, words};
use crate::engine::LinkFault;
use crate::mesh::{DisturbError, Mesh};

impl Player<'_> {
    pub(super) fn link(&mut self, deed: LinkDeed<'_>, lasting: Option<Duration>) -> Played {
        match deed {
            LinkDeed::Partition(ends) if ends.one_way => {
                self.impair("partition", (ends, lasting), &LinkFault::Cut, "no packet passes", String::new())
            }
            LinkDeed::Partition(ends) => {
                let [a, b] = names(&ends.pair);
                let cut = self.mesh.partition_lasting(&a, &b, lasting);
                let outcome = settle(cut, "no packet passes between them")?;
                Ok((format!("partition {a} from {b}{}", span(lasting)), words(outcome.map(|_| String::new()))))
            }
            LinkDeed::Slow(slow) => {
                let by = format!(" by {}", range(&slow.latency));
                let fault = LinkFault::Slow(slow.latency.0.clone());
                self.impair("slow", (&slow.ends, lasting), &fault, "packets take longer", by)
            }
            LinkDeed::Lossy(lossy) => {
                let share = format!(": {}", lossy.loss);
                let fault = LinkFault::Lossy(lossy.loss.fraction());
                self.impair("lossy", (&lossy.ends, lasting), &fault, "packets are lost", share)
            }
            LinkDeed::Jam(ends) if !ends.one_way => self.held("jam", ends, lasting),
            LinkDeed::Hold(HeldLink { link, r#for }) if !link.one_way => {
                self.held("hold", link, r#for.as_ref().map(|time| time.value.0))
            }
            LinkDeed::Hold(HeldLink { link, r#for }) => {
                let lasting = r#for.as_ref().map(|time| time.value.0);
                self.impair("hold the link", (link, lasting), &LinkFault::Jammed, "packets wait", String::new())
            }
            LinkDeed::Release(ends) => {
                let [a, b] = names(&ends.pair);
                let done =
                    if ends.one_way { self.mesh.release_way(&a, &b) } else { self.mesh.try_release_link(&a, &b) };
                let outcome = settle(done, "what waits there arrives")?;
                Ok((format!("release the link {ends}"), words(outcome.map(|_| String::new()))))
            }
            LinkDeed::Jam(ends) => {
                self.impair("jam", (ends, lasting), &LinkFault::Jammed, "packets wait", String::new())
            }
            LinkDeed::Reset(pair) => {
                let [a, b] = names(pair);
                let outcome = settle(self.mesh.try_reset(&a, &b), "their connections are reset")?;
                let count = |connections| match connections {
                    1 => "1 connection".to_owned(),
                    many => format!("{many} connections"),
                };
                Ok((format!("reset {a} and {b}"), words(outcome.map(count))))
            }
            LinkDeed::Heal(Heal::All) => {
                let outcome = settle(self.mesh.try_heal_all(), "packets pass everywhere again")?;
                Ok(("heal all".to_owned(), words(outcome.map(|_| String::new()))))
            }
            LinkDeed::Heal(Heal::Other(mended)) => self.trouble(Deed::Mend(mended), None),
            LinkDeed::Heal(Heal::Pair(pair)) => {
                let [a, b] = names(pair);
                let outcome = settle(self.mesh.try_heal(&a, &b), "packets pass between them again")?;
                Ok((format!("heal {a} and {b}"), words(outcome.map(|_| String::new()))))
            }
        }
    }

    /// Holds both directions.
    fn held(&mut self, verb: &'static str, ends: &Ends, lasting: Option<Duration>) -> Played {
        let [a, b] = names(&ends.pair);
        let outcome = settle(self.mesh.hold_link_lasting(verb, &a, &b, lasting), &format!("packets wait {ends}"))?;
        let object = if verb == "hold" { " the link" } else { "" };
        Ok((format!("{verb}{object} {ends}{}", span(lasting)), words(outcome.map(|_| String::new()))))
    }

    /// Breaks one direction, or first that and then the other.
    fn impair(
        &mut self,
        verb: &str,
        (ends, lasting): (&Ends, Option<Duration>),
        fault: &LinkFault,
        expected: &str,
        how: String,
    ) -> Played {
        let [a, b] = names(&ends.pair);
        let impair = |mesh: &mut Mesh| -> Result<(), DisturbError> {
            mesh.impair_lasting(&a, &b, fault, lasting)?;
            if !ends.one_way {
                mesh.impair_lasting(&b, &a, fault, lasting)?;
            }
            Ok(())
        };
        let outcome = settle(impair(&mut self.mesh), &format!("{expected} {ends}"))?;
        Ok((format!("{verb} {ends}{how}{}", span(lasting)), words(outcome.map(|()| String::new()))))
    }
}

fn names(pair: &[At<Target>; 2]) -> [String; 2] {
    pair.each_ref().map(|end| end.value.to_string())
}

fn range(range: &TimeRange) -> String {
    let (least, most) = (Time(*range.0.start()), Time(*range.0.end()));
    if least == most { most.to_string() } else { format!("{least}..{most}") }
}
