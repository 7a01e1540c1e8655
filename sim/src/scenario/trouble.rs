//! `disrupt`, `clock`, `expire`, `fill` and `tear`: what is done to istiod's services, and to clocks, tokens and
//! volumes of pods; how `heal` mends that; and `for`, after which a fault ends by itself.

use std::borrow::Cow;
use std::time::Duration;

use hermesh_istiod::disruption::Service;
use hermesh_istiod::yaml::listed;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::{Heal, Step, WAIT_MAX};
use super::read::{At, Cursor, Fields};
use super::reader::{at_most, target, time};
use super::schema::{Code, DelayTime, IstiodService, LastingTime, Pod, TearCount, Text};
use super::target::Target;
use super::units::{Time, TimeRange};
use super::words::CODES;

/// The services of istiod that can be disrupted.
pub(super) const SERVICES: [&str; 2] = ["ca", "xds"];

/// How many writes a step tears at most.
pub(super) const WRITES_MAX: u64 = 1_000;

/// The faults that may end by themselves after a time.
pub(super) const LASTING: [&str; 9] =
    ["pause", "partition", "slow", "lossy", "jam", "disrupt", "clock", "expire", "fill"];

/// A service of istiod that answers late or with an error.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("anyOf" = [{"required": ["error"]}, {"required": ["delay"]}]))]
pub(super) struct Disrupt {
    /// `ca`, which signs certificates, or `xds`.
    #[schemars(with = "IstiodService")]
    pub service: Service,
    /// The workload or pod whose calls it concerns; everybody's if left out.
    #[schemars(with = "Option<Pod>")]
    pub to: Option<At<Target>>,
    /// How calls are answered.
    #[schemars(with = "Option<Code>")]
    pub error: Option<At<&'static str>>,
    /// How late: a time, or a range from which the seed draws one for each call.
    #[schemars(with = "Option<DelayTime>")]
    pub delay: Option<At<TimeRange>>,
}

/// A clock that is wrong.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("oneOf" = [{"required": ["ahead"]}, {"required": ["behind"]}]))]
pub(super) struct Clock {
    /// The workload or pod whose clock it is.
    #[schemars(with = "Pod")]
    pub of: At<Target>,
    /// By how much it is ahead of the right time.
    #[schemars(with = "Option<LastingTime>")]
    pub ahead: Option<At<Time>>,
    /// By how much it is behind.
    #[schemars(with = "Option<LastingTime>")]
    pub behind: Option<At<Time>>,
}

/// Tokens that are not replaced any more.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Expire {
    /// The workload or pod that has them.
    #[schemars(with = "Pod")]
    pub tokens: At<Target>,
    /// Tokens that expire so soon take their place first; else those that are there stay.
    #[schemars(with = "Option<LastingTime>")]
    pub r#in: Option<At<Time>>,
}

/// A volume without room.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Fill {
    /// The volume's name in the pod, such as `istio-data`.
    #[schemars(with = "Text")]
    pub volume: At<String>,
    /// The workload or pod.
    #[schemars(with = "Pod")]
    pub of: At<Target>,
}

/// Writes that stop in the middle.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Tear {
    /// The volume's name in the pod, such as `istio-data`.
    #[schemars(with = "Text")]
    pub volume: At<String>,
    /// The workload or pod.
    #[schemars(with = "Pod")]
    pub of: At<Target>,
    /// How many of the next writes; 1 if left out.
    #[schemars(with = "Option<TearCount>")]
    pub count: Option<u64>,
}

/// What is mended that is no link.
#[derive(Clone, Debug)]
pub(super) enum Mended {
    /// A service of istiod.
    Service(Service, Option<At<Target>>),
    /// A clock.
    Clock(At<Target>),
    /// Tokens.
    Tokens(At<Target>),
    /// A volume.
    Volume(At<String>, At<Target>),
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed<'a> {
    Disrupt(&'a Disrupt),
    Clock(&'a Clock),
    Expire(&'a Expire),
    Fill(&'a Fill),
    Tear(&'a Tear),
    Mend(&'a Mended),
}

impl<'a> Deed<'a> {
    pub(super) fn of(step: &'a Step) -> Option<Self> {
        let mended = match &step.heal {
            Some(Heal::Other(mended)) => Some(mended),
            _ => None,
        };
        let deeds = [
            step.disrupt.as_ref().map(Self::Disrupt),
            step.clock.as_ref().map(Self::Clock),
            step.expire.as_ref().map(Self::Expire),
            step.fill.as_ref().map(Self::Fill),
            step.tear.as_ref().map(Self::Tear),
            mended.map(Self::Mend),
        ];
        deeds.into_iter().flatten().next()
    }

    /// Whom it is about, unless it is about everybody.
    pub(super) fn target(self) -> Option<&'a At<Target>> {
        match self {
            Self::Disrupt(Disrupt { to, .. }) | Self::Mend(Mended::Service(_, to)) => to.as_ref(),
            Self::Clock(Clock { of, .. })
            | Self::Expire(Expire { tokens: of, .. })
            | Self::Fill(Fill { of, .. })
            | Self::Tear(Tear { of, .. })
            | Self::Mend(Mended::Clock(of) | Mended::Tokens(of) | Mended::Volume(_, of)) => Some(of),
        }
    }

    /// The volume that it is about, and whose that is.
    pub(super) fn volume(self) -> Option<(&'a At<String>, &'a At<Target>)> {
        match self {
            Self::Fill(Fill { volume, of })
            | Self::Tear(Tear { volume, of, .. })
            | Self::Mend(Mended::Volume(volume, of)) => Some((volume, of)),
            Self::Disrupt(_) | Self::Clock(_) | Self::Expire(_) | Self::Mend(_) => None,
        }
    }

    /// Whether it is about tokens, by which istiod's clients say who they are.
    pub(super) fn is_about_tokens(self) -> bool {
        matches!(self, Self::Expire(_) | Self::Mend(Mended::Tokens(_)))
    }

    /// Why a container's name has no place here.
    pub(super) fn not_of_containers(self) -> &'static str {
        match self {
            Self::Disrupt(_) | Self::Mend(Mended::Service(..)) => "istiod knows its callers by their pods' addresses",
            Self::Clock(_) | Self::Mend(Mended::Clock(_)) => "the containers of a pod share the clock of its node",
            _ => "the containers of a pod share its volumes",
        }
    }

    /// `disrupt ca to web with UNAVAILABLE after 1s..5s`
    pub(super) fn described(self) -> String {
        match self {
            Self::Disrupt(Disrupt { service, to, error, delay }) => {
                let to = to.as_ref().map(|to| format!(" to {}", to.value)).unwrap_or_default();
                let error = error.as_ref().map(|error| format!(" with {}", error.value)).unwrap_or_default();
                let delay = delay.as_ref().map(|delay| format!(" after {}", delay.value)).unwrap_or_default();
                format!("disrupt {}{to}{error}{delay}", service.short())
            }
            Self::Clock(Clock { of, ahead: Some(by), .. }) => format!("clock of {} ahead by {}", of.value, by.value),
            Self::Clock(Clock { of, behind, .. }) => {
                let by = behind.as_ref().map_or(Time(Duration::ZERO), |by| by.value);
                format!("clock of {} behind by {by}", of.value)
            }
            Self::Expire(Expire { tokens, r#in: Some(time) }) => {
                format!("expire tokens of {} in {}", tokens.value, time.value)
            }
            Self::Expire(Expire { tokens, .. }) => format!("expire tokens of {}", tokens.value),
            Self::Fill(Fill { volume, of }) => format!("fill {} of {}", volume.value, of.value),
            Self::Tear(Tear { volume, of, count }) => match count.unwrap_or(1) {
                1 => format!("tear a write to {} of {}", volume.value, of.value),
                count => format!("tear {count} writes to {} of {}", volume.value, of.value),
            },
            Self::Mend(Mended::Service(service, to)) => {
                let to = to.as_ref().map(|to| format!(" to {}", to.value)).unwrap_or_default();
                format!("heal {}{to}", service.short())
            }
            Self::Mend(Mended::Clock(of)) => format!("heal the clock of {}", of.value),
            Self::Mend(Mended::Tokens(of)) => format!("heal the tokens of {}", of.value),
            Self::Mend(Mended::Volume(volume, of)) => format!("heal {} of {}", volume.value, of.value),
        }
    }
}

pub(super) fn disrupt(cursor: &Cursor<'_>) -> Option<Disrupt> {
    const EXPECTED: &str = "a service and how it answers: a mapping such as `{service: ca, error: UNAVAILABLE}`";
    let mut fields = cursor.fields(EXPECTED)?;
    let service = fields.required("service").and_then(|field| service(&field));
    let to = fields.optional("to").and_then(|field| target(&field, "a workload or a pod"));
    let error = fields.optional("error").and_then(|field| field.word("status code", CODES));
    let delay = fields.optional("delay").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `1s..5s`")?;
        at_most(&field, Time(*range.value.0.end()), WAIT_MAX)?;
        if range.value.0.end().is_zero() {
            field.error("out-of-range", "a delay of no time is none; expected 1ms at least");
            return None;
        }
        Some(range)
    });
    if !fields.has("error") && !fields.has("delay") {
        cursor.error("missing-field", "nothing is wrong with the service; expected an `error` or a `delay`");
    }
    fields.finish(&[("for", BESIDE)]);
    Some(Disrupt { service: service?, to, error, delay })
}

pub(super) fn clock(cursor: &Cursor<'_>) -> Option<Clock> {
    const EXPECTED: &str = "whose clock, and by how much it is wrong: a mapping such as `{of: web, ahead: 5m}`";
    let mut fields = cursor.fields(EXPECTED)?;
    let of = fields.required("of").and_then(|field| target(&field, "a workload or a pod"));
    let ahead = fields.optional("ahead").and_then(|field| some_time(&field));
    let behind = fields.optional("behind").and_then(|field| some_time(&field));
    match (fields.has("ahead"), fields.has("behind")) {
        (true, true) => cursor.error("contradiction", "a clock is `ahead` or `behind`; write one of them"),
        (false, false) => {
            cursor.error("missing-field", "expected `ahead` or `behind`; what sets a clock right is `heal`");
        }
        _ => {}
    }
    fields.finish(&[("for", BESIDE)]);
    Some(Clock { of: of?, ahead, behind })
}

pub(super) fn expire(cursor: &Cursor<'_>) -> Option<Expire> {
    let mut fields = cursor.fields("whose tokens: a mapping such as `{tokens: web, in: 10m}`")?;
    let tokens = fields.required("tokens").and_then(|field| target(&field, "a workload or a pod"));
    let time = fields.optional("in").and_then(|field| some_time(&field));
    fields.finish(&[("for", BESIDE)]);
    Some(Expire { tokens: tokens?, r#in: time })
}

pub(super) fn fill(cursor: &Cursor<'_>) -> Option<Fill> {
    let mut fields = cursor.fields("which volume: a mapping such as `{volume: istio-data, of: web}`")?;
    let (volume, of) = volume_of(&mut fields);
    fields.finish(&[("for", BESIDE), ("count", "`count` is for `tear`; a volume is full until it is healed")]);
    Some(Fill { volume: volume?, of: of? })
}

pub(super) fn tear(cursor: &Cursor<'_>) -> Option<Tear> {
    let mut fields = cursor.fields("which volume: a mapping such as `{volume: istio-data, of: web, count: 2}`")?;
    let (volume, of) = volume_of(&mut fields);
    let count = fields.optional("count").and_then(|field| field.integer(1, WRITES_MAX)).map(|count| count.value);
    fields.finish(&[]);
    Some(Tear { volume: volume?, of: of?, count })
}

/// `{service: ca, to: web}`, `{clock: web}`, `{tokens: web}` or `{volume: istio-data, of: web}`
pub(super) fn mended(cursor: &Cursor<'_>) -> Option<Mended> {
    const MENDED: [&str; 4] = ["service", "clock", "tokens", "volume"];
    let mut fields = cursor.fields("what is to be mended")?;
    let named: Vec<&str> = MENDED.into_iter().filter(|name| fields.has(name)).collect();
    let mended = match named.as_slice() {
        ["service"] => {
            let service = fields.required("service").and_then(|field| service(&field));
            let to = fields.optional("to").map(|field| target(&field, "a workload or a pod"));
            service.and_then(|service| Some(Mended::Service(service, to.map_or(Some(None), |to| to.map(Some))?)))
        }
        ["volume"] => match volume_of(&mut fields) {
            (Some(volume), Some(of)) => Some(Mended::Volume(volume, of)),
            _ => None,
        },
        [name @ ("clock" | "tokens")] => {
            let of = fields.required(name).and_then(|field| target(&field, "a workload or a pod"));
            of.map(|of| if *name == "clock" { Mended::Clock(of) } else { Mended::Tokens(of) })
        }
        [_, second, ..] => {
            let message = format!("one thing is mended, and this step has {} too; make it two steps", named[0]);
            fields.optional(second)?.error("two-verbs", message);
            return None;
        }
        [] => {
            let expected = format!("`all`, a list of two workloads or pods, or a mapping with {}", listed(&MENDED));
            cursor.error("missing-field", format!("expected {expected}"));
            return None;
        }
        _ => unreachable!("all names are those of MENDED"),
    };
    fields.finish(&[]);
    mended
}

const BESIDE: &str = "`for` stands beside the step's verb, not in it";

/// After what time a fault ends by itself; what cannot is told so.
pub(super) fn lasting(fields: &mut Fields<'_>) -> Option<At<Time>> {
    let field = fields.optional("for")?;
    if !LASTING.into_iter().any(|verb| fields.has(verb)) {
        let message = match fields.has("hold") {
            true => {
                "of a `hold`, `for` stands in it: `hold: {type: EDS, for: 2s}`, `hold: {link: [web, cart], for: 2s}`"
                    .to_owned()
            }
            false => format!("only faults end after a time; `for` goes with {}", listed(&LASTING)),
        };
        field.error("no-fault", message);
        return None;
    }
    some_time(&field)
}

/// A time that is one.
pub(super) fn some_time(field: &Cursor<'_>) -> Option<At<Time>> {
    let time = time(field, "a time such as `5s`", WAIT_MAX)?;
    if time.value.0.is_zero() {
        field.error("out-of-range", "expected 1ms at least, found no time at all");
        return None;
    }
    Some(time)
}

fn service(field: &Cursor<'_>) -> Option<Service> {
    let word = field.word("service of istiod", &SERVICES)?;
    Some(if word.value == "ca" { Service::Authority } else { Service::Discovery })
}

fn volume_of(fields: &mut Fields<'_>) -> (Option<At<String>>, Option<At<Target>>) {
    let volume = fields.required("volume").and_then(|field| field.text("the name of a volume"));
    let of = fields.required("of").and_then(|field| target(&field, "a workload or a pod"));
    (volume, of)
}

impl JsonSchema for Mended {
    fn schema_name() -> Cow<'static, str> {
        "Mended".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (pod, service) = (generator.subschema_for::<Pod>(), generator.subschema_for::<IstiodService>());
        let volume = generator.subschema_for::<Text>();
        let one = |properties: serde_json::Value, required: &[&str]| {
            serde_json::json!({
                "type": "object",
                "properties": properties,
                "required": required,
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "A service of istiod, a clock, tokens or a volume.",
            "anyOf": [
                one(serde_json::json!({"service": service, "to": pod}), &["service"]),
                one(serde_json::json!({"clock": pod}), &["clock"]),
                one(serde_json::json!({"tokens": pod}), &["tokens"]),
                one(serde_json::json!({"volume": volume, "of": pod}), &["volume", "of"]),
            ],
        })
    }
}
