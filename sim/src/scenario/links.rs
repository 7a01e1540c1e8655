//! `partition`, `slow`, `lossy`, `jam`, `reset` and `heal`, and `hold` and `release` of links: what is done to links
//! between workloads or pods.

use std::borrow::Cow;
use std::fmt;

use hermesh_istiod::yaml::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::{Heal, Step};
use super::read::{At, Cursor, Fields};
use super::reader::{at_most, pair, target};
use super::schema::{LastingTime, LinkLatency, LinkLoss, Pair};
use super::target::{Target, pattern};
use super::trouble::some_time;
use super::units::{Percent, Time, TimeRange};
use super::xds::{Hold, Release};
use crate::mesh::SLOW_MAX;

/// Two workloads or pods, and whether it is about the way from the first to the second alone.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    pub pair: Box<[At<Target>; 2]>,
    pub one_way: bool,
}

/// Packets take longer.
#[derive(Clone, Debug)]
pub(super) struct Slow {
    pub ends: Ends,
    /// By how much; drawn for each packet.
    pub latency: TimeRange,
}

/// Packets are lost.
#[derive(Clone, Debug)]
pub(super) struct Lossy {
    pub ends: Ends,
    /// How many of them.
    pub loss: Percent,
}

/// Packets wait, for a time or until they are released.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct HeldLink {
    /// Whose link.
    pub link: Ends,
    /// How long; until it is released if left out.
    #[schemars(with = "Option<LastingTime>")]
    pub r#for: Option<At<Time>>,
}

/// What is done to links.
#[derive(Clone, Copy, Debug)]
pub(super) enum LinkDeed<'a> {
    /// `partition`
    Partition(&'a Ends),
    /// `slow`
    Slow(&'a Slow),
    /// `lossy`
    Lossy(&'a Lossy),
    /// `jam`
    Jam(&'a Ends),
    /// `hold: {link: ...}`
    Hold(&'a HeldLink),
    /// `release: {link: ...}`
    Release(&'a Ends),
    /// `reset`
    Reset(&'a [At<Target>; 2]),
    /// `heal`
    Heal(&'a Heal),
}

impl<'a> LinkDeed<'a> {
    /// `hold` or `release` of a link.
    pub(super) fn of_held(step: &'a Step) -> Option<Self> {
        match (&step.hold, &step.release) {
            (Some(Hold::Link(held)), _) => Some(Self::Hold(held)),
            (_, Some(Release::Link(ends))) => Some(Self::Release(ends)),
            _ => None,
        }
    }

    /// Between whom, unless it is about all there are.
    pub(super) fn pair(self) -> Option<&'a [At<Target>; 2]> {
        match self {
            Self::Reset(pair) => Some(pair),
            Self::Heal(Heal::Pair(pair)) => Some(pair),
            _ => self.ends().map(|ends| &*ends.pair),
        }
    }

    /// Whether it is about one direction.
    pub(super) fn is_one_way(self) -> bool {
        self.ends().is_some_and(|ends| ends.one_way)
    }

    fn ends(self) -> Option<&'a Ends> {
        match self {
            Self::Partition(ends) | Self::Jam(ends) | Self::Release(ends) => Some(ends),
            Self::Hold(held) => Some(&held.link),
            Self::Slow(slow) => Some(&slow.ends),
            Self::Lossy(lossy) => Some(&lossy.ends),
            Self::Reset(_) | Self::Heal(_) => None,
        }
    }
}

/// `from web to cart`, or `between web and cart`
impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b] = self.pair.each_ref().map(|end| &end.value);
        if self.one_way { write!(f, "from {a} to {b}") } else { write!(f, "between {a} and {b}") }
    }
}

/// `[web, cart]` or `{from: web, to: cart}`
pub(super) fn ends(field: &Cursor<'_>) -> Option<Ends> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        return pair(field, "a list of two workloads or pods, or a mapping with `from` and `to`").map(both_ways);
    }
    let mut fields = field.fields("a mapping with `from` and `to`")?;
    // Whoever wrote both ends under another name misses neither of these.
    let named_otherwise = |name: &str| OTHER_NAMES.iter().any(|(other, _)| *other == name);
    let ends = match fields.only_unknown(&[]) {
        Some((key, _)) if named_otherwise(&key.text) => None,
        _ => one_way(&mut fields),
    };
    fields.finish(&OTHER_NAMES);
    ends
}

const OTHER_NAMES: [(&str, &str); 2] = [
    ("between", "for both directions write a list of the two: `[web, cart]`"),
    ("link", "`link` is of `hold` and `release`; write the two without it: `[web, cart]`, or `from` and `to`"),
];

/// `{link: [web, cart], for: 2s}`
pub(super) fn held(cursor: &Cursor<'_>) -> Option<HeldLink> {
    let mut fields = cursor.fields("whose link: a mapping such as `{link: [web, cart], for: 2s}`")?;
    let link = fields.required("link").and_then(|field| ends(&field));
    let time = fields.optional("for").map(|field| some_time(&field));
    fields.finish(&BESIDE_LINK);
    Some(HeldLink { link: link?, r#for: time.unwrap_or_default() })
}

/// `{link: [web, cart]}`
pub(super) fn released(cursor: &Cursor<'_>) -> Option<Ends> {
    let mut fields = cursor.fields("whose link: a mapping such as `{link: [web, cart]}`")?;
    let link = fields.required("link").and_then(|field| ends(&field));
    fields.finish(&BESIDE_LINK);
    link
}

const BESIDE_LINK: [(&str, &str); 2] = [
    ("type", "`type` is of responses, which have no `link`; make it two steps"),
    ("to", "`to` is of responses; for one direction of a link write `link: {from: web, to: cart}`"),
];

pub(super) fn slow(field: &Cursor<'_>) -> Option<Slow> {
    const EXPECTED: &str = "a mapping such as `{from: web, to: cart, latency: 200ms..1s}`";
    let mut fields = field.fields(EXPECTED)?;
    let ends = either(&mut fields);
    let latency = fields.required("latency").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `200ms..1s`")?;
        at_most(&field, Time(*range.value.0.end()), Time(SLOW_MAX))?;
        if range.value.0.end().is_zero() {
            field.error("out-of-range", "no packet is slower by no time; expected 1ms at least");
            return None;
        }
        Some(range.value)
    });
    fields.finish(&[("loss", "packets are lost by `lossy`; make it two steps")]);
    Some(Slow { ends: ends?, latency: latency? })
}

pub(super) fn lossy(field: &Cursor<'_>) -> Option<Lossy> {
    const EXPECTED: &str = "a mapping such as `{from: web, to: cart, loss: 10%}`";
    let mut fields = field.fields(EXPECTED)?;
    let ends = either(&mut fields);
    let loss = fields.required("loss").and_then(|field| {
        let loss: At<Percent> = field.parsed("a share such as `10%`")?;
        if loss.value == Percent::WHOLE {
            field.error("out-of-range", "if every packet is lost, that is a `partition`; expected less than 100%");
            return None;
        }
        if loss.value.thousandths() == 0 {
            field.error("out-of-range", "no packet is lost of 0%; expected more");
            return None;
        }
        Some(loss.value)
    });
    fields.finish(&[("latency", "packets are late by `slow`; make it two steps")]);
    Some(Lossy { ends: ends?, loss: loss? })
}

/// `from` and `to`, or `between`.
fn either(fields: &mut Fields<'_>) -> Option<Ends> {
    let Some(between) = fields.optional("between") else { return one_way(fields) };
    for end in ["from", "to"] {
        if let Some(field) = fields.optional(end) {
            field
                .error("contradiction", format!("`{end}` is for one direction, `between` for both; write one of them"));
        }
    }
    pair(&between, "a list of two workloads or pods").map(both_ways)
}

fn one_way(fields: &mut Fields<'_>) -> Option<Ends> {
    let [from, to] =
        ["from", "to"].map(|end| fields.required(end).and_then(|field| target(&field, "a workload or a pod")));
    Some(Ends { pair: Box::new([from?, to?]), one_way: true })
}

fn both_ways(pair: [At<Target>; 2]) -> Ends {
    Ends { pair: Box::new(pair), one_way: false }
}

impl JsonSchema for Ends {
    fn schema_name() -> Cow<'static, str> {
        "Ends".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pair = generator.subschema_for::<Pair>();
        let end = serde_json::json!({"type": "string", "pattern": pattern::POD});
        json_schema!({
            "description": "Two workloads or pods, for both directions, or `from` one `to` the other.",
            "anyOf": [
                pair,
                {
                    "type": "object",
                    "properties": {"from": end, "to": end},
                    "required": ["from", "to"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

/// A mapping with `from` and `to`, or `between`, and one more field.
fn mapping(generator: &mut SchemaGenerator, about: &str, field: &str, value: Schema) -> Schema {
    let pair = generator.subschema_for::<Pair>();
    let end = serde_json::json!({"type": "string", "pattern": pattern::POD});
    let mut properties = serde_json::json!({"between": pair, "from": end, "to": end});
    properties[field] = value.to_value();
    json_schema!({
        "description": about,
        "type": "object",
        "properties": properties,
        "required": [field],
        "oneOf": [
            {"required": ["from", "to"]},
            {"required": ["between"], "not": {"anyOf": [{"required": ["from"]}, {"required": ["to"]}]}},
        ],
        "dependentSchemas": {"from": {"not": {"required": ["between"]}}},
        "additionalProperties": false,
    })
}

impl JsonSchema for Slow {
    fn schema_name() -> Cow<'static, str> {
        "Slow".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let latency = generator.subschema_for::<LinkLatency>();
        mapping(generator, "Between whom packets take longer, and by how much.", "latency", latency)
    }
}

impl JsonSchema for Lossy {
    fn schema_name() -> Cow<'static, str> {
        "Lossy".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let loss = generator.subschema_for::<LinkLoss>();
        mapping(generator, "Between whom packets are lost, and how many of them.", "loss", loss)
    }
}
