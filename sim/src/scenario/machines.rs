//! `boot` and `shutdown`: machines outside of the cluster.

use std::net::Ipv4Addr;

use hermesh_istiod::objects::is_dns_label;
use schemars::JsonSchema;

use super::file::Step;
use super::read::{At, Cursor};
use super::schema::{MachineAddress, MachineName, ScalarText, Text};
use crate::cluster::machines::reserved;
use crate::mesh::Machine;

/// A machine to boot.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Boot {
    /// Its name, by which it is a workload of the scenario's namespace: lower-case letters, digits and `-`.
    #[schemars(with = "MachineName")]
    pub machine: At<String>,
    /// The WorkloadGroup that it is of.
    #[schemars(with = "Text")]
    pub group: At<String>,
    /// Its address, an IPv4 one that nobody else has.
    #[schemars(with = "MachineAddress")]
    pub address: At<Ipv4Addr>,
    /// What its application runs; the stand-in if left out.
    #[schemars(with = "Option<Text>")]
    pub image: Option<At<String>>,
    /// The arguments of the application.
    #[schemars(with = "Vec<ScalarText>")]
    #[schemars(default)]
    pub args: Vec<String>,
}

/// What is done to machines.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed<'a> {
    /// `boot`
    Boot(&'a Boot),
    /// `shutdown`
    Shutdown(&'a At<String>),
}

impl<'a> Deed<'a> {
    /// What a step does to a machine, if it does.
    pub(super) fn of(step: &'a Step) -> Option<Self> {
        step.boot.as_ref().map(Deed::Boot).or_else(|| step.shutdown.as_ref().map(Deed::Shutdown))
    }
}

impl Boot {
    /// The machine that it boots.
    pub(super) fn machine(&self) -> Machine {
        let machine = Machine::new(&self.machine.value, &self.group.value, self.address.value);
        let machine = machine.args(&self.args);
        match &self.image {
            Some(image) => machine.image(&image.value),
            None => machine,
        }
    }
}

pub(super) fn boot(field: &Cursor<'_>) -> Option<Boot> {
    let mut fields = field.fields("a mapping such as `{machine: ledger-1, group: ledger, address: 192.168.7.11}`")?;
    let machine = fields.required("machine").and_then(|field| name(&field));
    let group = fields.required("group").and_then(|field| field.text("a WorkloadGroup"));
    let address = fields.required("address").and_then(|field| address(&field));
    let image = fields.optional("image").and_then(|field| field.text("an image"));
    let args = fields.optional("args").and_then(|field| {
        let items = field.items("a list of arguments")?;
        Some(items.iter().filter_map(|item| item.scalar("an argument")).map(|argument| argument.value).collect())
    });
    fields.finish(&[
        ("name", "a machine's name is its `machine`"),
        ("labels", "labels are those of the WorkloadGroup's `metadata`"),
        ("ports", "ports are those of the WorkloadGroup's `template`"),
        ("serviceAccount", "the service account is that of the WorkloadGroup's `template`"),
    ]);
    Some(Boot { machine: machine?, group: group?, address: address?, image, args: args.unwrap_or_default() })
}

/// A machine's name.
pub(super) fn name(field: &Cursor<'_>) -> Option<At<String>> {
    let name = field.text("a machine")?;
    if !is_dns_label(&name.value) {
        let message = format!("{:?} is no name of a machine: lower-case letters, digits and inner `-`", name.value);
        field.error("bad-value", message);
        return None;
    }
    Some(name)
}

fn address(field: &Cursor<'_>) -> Option<At<Ipv4Addr>> {
    const EXPECTED: &str = "an IPv4 address such as `192.168.7.11`";
    let text = field.text(EXPECTED)?;
    let Ok(address) = text.value.parse::<Ipv4Addr>() else {
        field.error("bad-value", format!("expected {EXPECTED}, found {:?}", text.value));
        return None;
    };
    if let Some(whose) = reserved(address.into()) {
        field.error("bad-value", format!("{address} is {whose}: a machine needs one of its own, such as 192.168.7.11"));
        return None;
    }
    Some(At { value: address, place: text.place })
}
