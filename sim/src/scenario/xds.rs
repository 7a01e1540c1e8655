//! `hold`, `release`, `drop`, `delay` and `reorder`: what is done to istiod's responses on their way to clients (of
//! links, `links` has the first two); and
//! `eject`, which takes back what was injected into them.

use hermesh_istiod::yaml::listed;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::{Step, WAIT_MAX};
use super::links::{self, Ends, HeldLink};
use super::read::{At, Cursor, Fields};
use super::reader::{at_most, target};
use super::schema::{DelayTime, DropCount, OneOrMore, Pod, ReorderCount, WaitTime, XdsType};
use super::target::Target;
use super::units::{Time, TimeRange};
use crate::mesh::Responses;
use hermesh_xds::ResourceType;

/// The types of responses.
pub(super) const XDS_TYPES: [&str; 4] = ["LDS", "RDS", "CDS", "EDS"];

/// How many responses a step drops or reorders at most.
pub(super) const RESPONSES_MAX: u64 = 1_000;

/// What to keep back.
#[derive(Clone, Debug)]
pub(super) enum Hold {
    /// Responses.
    Responses(Held),
    /// Packets.
    Link(HeldLink),
}

/// Responses to keep back.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Held {
    /// Of which types; all if left out.
    #[schemars(with = "Option<OneOrMore<XdsType>>")]
    pub r#type: Option<Vec<ResourceType>>,
    /// The workload or pod they go to; everybody if left out.
    #[schemars(with = "Option<Pod>")]
    pub to: Option<At<Target>>,
    /// How long; until they are released if left out.
    #[schemars(with = "Option<WaitTime>")]
    pub r#for: Option<At<Time>>,
}

/// What to let go.
#[derive(Clone, Debug)]
pub(super) enum Release {
    /// All.
    All,
    /// Some responses.
    Some(Released),
    /// The packets of a link.
    Link(Ends),
}

/// For the schema: what was injected, to take back.
pub(super) struct Ejected;

/// Responses to let go.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, extend("minProperties" = 1))]
pub(super) struct Released {
    /// Of which types; all if left out.
    #[schemars(with = "Option<OneOrMore<XdsType>>")]
    pub r#type: Option<Vec<ResourceType>>,
    /// The workload or pod they go to; everybody if left out.
    #[schemars(with = "Option<Pod>")]
    pub to: Option<At<Target>>,
}

/// Responses to lose.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Drop {
    /// Of which types; all if left out.
    #[schemars(with = "Option<OneOrMore<XdsType>>")]
    pub r#type: Option<Vec<ResourceType>>,
    /// The workload or pod they go to; everybody if left out.
    #[schemars(with = "Option<Pod>")]
    pub to: Option<At<Target>>,
    /// How many; every one until they are released if left out.
    #[schemars(with = "Option<DropCount>")]
    pub count: Option<u64>,
}

/// Responses to delay.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Delay {
    /// Of which types; all if left out.
    #[schemars(with = "Option<OneOrMore<XdsType>>")]
    pub r#type: Option<Vec<ResourceType>>,
    /// The workload or pod they go to; everybody if left out.
    #[schemars(with = "Option<Pod>")]
    pub to: Option<At<Target>>,
    /// How long: a time, or a range from which the seed draws one for each response.
    #[schemars(with = "DelayTime")]
    pub by: At<TimeRange>,
}

/// Responses to reverse.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Reorder {
    /// Of which types; all if left out.
    #[schemars(with = "Option<OneOrMore<XdsType>>")]
    pub r#type: Option<Vec<ResourceType>>,
    /// The workload or pod they go to; everybody if left out.
    #[schemars(with = "Option<Pod>")]
    pub to: Option<At<Target>>,
    /// How many on each stream wait for one another.
    #[schemars(with = "ReorderCount")]
    pub count: u64,
}

/// What a step does to responses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed<'a> {
    Eject(&'a Release),
    Hold(&'a Held),
    Release(&'a Release),
    Drop(&'a Drop),
    Delay(&'a Delay),
    Reorder(&'a Reorder),
}

impl<'a> Deed<'a> {
    pub(super) fn of(step: &'a Step) -> Option<Self> {
        let deeds = [
            step.eject.as_ref().map(Self::Eject),
            match &step.hold {
                Some(Hold::Responses(held)) => Some(Self::Hold(held)),
                _ => None,
            },
            step.release.as_ref().filter(|release| !matches!(release, Release::Link(_))).map(Self::Release),
            step.drop.as_ref().map(Self::Drop),
            step.delay.as_ref().map(Self::Delay),
            step.reorder.as_ref().map(Self::Reorder),
        ];
        deeds.into_iter().flatten().next()
    }

    /// Which responses it is about.
    fn about(self) -> (Option<&'a [ResourceType]>, Option<&'a At<Target>>) {
        let (types, to) = match self {
            Self::Hold(Held { r#type, to, .. })
            | Self::Eject(Release::Some(Released { r#type, to }))
            | Self::Release(Release::Some(Released { r#type, to }))
            | Self::Drop(Drop { r#type, to, .. })
            | Self::Delay(Delay { r#type, to, .. })
            | Self::Reorder(Reorder { r#type, to, .. }) => (r#type, to),
            Self::Eject(Release::All | Release::Link(_)) | Self::Release(Release::All | Release::Link(_)) => {
                return (None, None);
            }
        };
        (types.as_deref(), to.as_ref())
    }

    /// Whose responses it is about.
    pub(super) fn to(self) -> Option<&'a At<Target>> {
        self.about().1
    }

    pub(super) fn responses(self) -> Responses {
        let (types, to) = self.about();
        let responses = Responses::of(types.unwrap_or_default().iter().copied());
        match to {
            Some(to) => responses.to(to.value.to_string()),
            None => responses,
        }
    }

    /// `hold EDS to web for 2s`
    pub(super) fn described(self) -> String {
        let (types, to) = self.about();
        let types: Vec<&str> = types.unwrap_or_default().iter().map(|one| one.short()).collect();
        let types = if types.is_empty() { "all".to_owned() } else { types.join(", ") };
        let to = to.map(|to| format!(" to {}", to.value)).unwrap_or_default();
        match self {
            Self::Eject(_) => format!("eject {types}{to}"),
            Self::Hold(Held { r#for: Some(time), .. }) => format!("hold {types}{to} for {}", time.value),
            Self::Hold(_) => format!("hold {types}{to}"),
            Self::Release(_) => format!("release {types}{to}"),
            Self::Drop(Drop { count: Some(count), .. }) => format!("drop {count} of {types}{to}"),
            Self::Drop(_) => format!("drop {types}{to}"),
            Self::Delay(Delay { by, .. }) => format!("delay {types}{to} by {}", by.value),
            Self::Reorder(Reorder { count, .. }) => format!("reorder {count} of {types}{to}"),
        }
    }
}

pub(super) fn hold(cursor: &Cursor<'_>) -> Option<Hold> {
    if cursor.node.get("link").is_some() {
        return links::held(cursor).map(Hold::Link);
    }
    let mut fields = cursor.fields("which responses: a mapping such as `{type: EDS, to: web, for: 2s}`")?;
    let (r#type, to) = about(&mut fields);
    let time = fields.optional("for").and_then(|field| {
        let time: At<Time> = field.parsed("a time such as `2s`")?;
        at_most(&field, time.value, WAIT_MAX)?;
        Some(time)
    });
    fields.has("link");
    fields.finish(&[("by", "`by` is for `delay`; a hold lasts `for` a time")]);
    Some(Hold::Responses(Held { r#type: r#type?, to: to?, r#for: time }))
}

pub(super) fn release(cursor: &Cursor<'_>) -> Option<Release> {
    if cursor.node.get("link").is_some() {
        return links::released(cursor).map(Release::Link);
    }
    some_or_all(cursor, "expected which responses; to release all of them write `release: all`", Some("link"))
}

pub(super) fn eject(cursor: &Cursor<'_>) -> Option<Release> {
    some_or_all(cursor, "expected which responses; to take back all that was injected write `eject: all`", None)
}

/// `or` is a field that may stand there instead.
fn some_or_all(cursor: &Cursor<'_>, empty: &str, or: Option<&'static str>) -> Option<Release> {
    if cursor.node.text() == Some("all") {
        return Some(Release::All);
    }
    let mut fields = cursor.fields("`all`, or which responses: a mapping such as `{type: EDS, to: web}`")?;
    let (r#type, to) = about(&mut fields);
    if cursor.node.entries().is_some_and(<[_]>::is_empty) {
        cursor.error("empty", empty);
    }
    if let Some(or) = or {
        fields.has(or);
    }
    fields.finish(&[]);
    Some(Release::Some(Released { r#type: r#type?, to: to? }))
}

pub(super) fn drop(cursor: &Cursor<'_>) -> Option<Drop> {
    let mut fields = cursor.fields("which responses: a mapping such as `{type: EDS, to: web, count: 1}`")?;
    let (r#type, to) = about(&mut fields);
    let count = fields.optional("count").and_then(|field| field.integer(1, RESPONSES_MAX)).map(|count| count.value);
    fields.finish(&[]);
    Some(Drop { r#type: r#type?, to: to?, count })
}

pub(super) fn delay(cursor: &Cursor<'_>) -> Option<Delay> {
    let mut fields =
        cursor.fields("which responses, and how long: a mapping such as `{type: RDS, to: web, by: 5s}`")?;
    let (r#type, to) = about(&mut fields);
    let by = fields.required("by").and_then(|field| {
        let range: At<TimeRange> = field.parsed("a time or a range such as `1s..5s`")?;
        at_most(&field, Time(*range.value.0.end()), WAIT_MAX)?;
        if range.value.0.end().is_zero() {
            field.error("out-of-range", "a delay of no time is none; expected 1ms at least");
            return None;
        }
        Some(range)
    });
    fields.finish(&[("for", "`for` is for `hold`; a delay lasts until `release`, and is `by` a time")]);
    Some(Delay { r#type: r#type?, to: to?, by: by? })
}

pub(super) fn reorder(cursor: &Cursor<'_>) -> Option<Reorder> {
    let mut fields = cursor.fields("which responses, and how many: a mapping such as `{to: web, count: 2}`")?;
    let (r#type, to) = about(&mut fields);
    let count = fields.required("count").and_then(|field| field.integer(2, RESPONSES_MAX));
    fields.finish(&[]);
    Some(Reorder { r#type: r#type?, to: to?, count: count?.value })
}

/// Which responses to wait for until somebody rejects one.
pub(super) fn nacked(cursor: &Cursor<'_>) -> Option<(Vec<ResourceType>, Option<At<Target>>)> {
    let mut fields = cursor.fields("which responses: a mapping such as `{type: CDS, to: web}`")?;
    let (r#type, to) = about(&mut fields);
    fields.finish(&[("by", "write the workload whose clients reject it as `to`: the responses go there")]);
    Some((r#type?.unwrap_or_default(), to?))
}

/// What a field that may be left out says; `None` if that is wrong.
type Said<T> = Option<Option<T>>;

/// Which types, and whose.
fn about(fields: &mut Fields<'_>) -> (Said<Vec<ResourceType>>, Said<At<Target>>) {
    let types = match fields.optional("type") {
        Some(field) => types(&field).map(Some),
        None => Some(None),
    };
    let to = match fields.optional("to") {
        Some(field) => target(&field, "a workload or a pod").map(Some),
        None => Some(None),
    };
    (types, to)
}

pub(super) fn types(field: &Cursor<'_>) -> Option<Vec<ResourceType>> {
    let items = field.one_or_many("an xDS type");
    let mut types = Vec::new();
    for item in &items {
        let text = item.text(&format!("an xDS type: {}", listed(&XDS_TYPES)))?;
        let Some(found) = ResourceType::ALL.into_iter().find(|known| known.short() == text.value) else {
            // Any two of them differ by a letter: the nearest one means nothing.
            let message = format!("unknown xDS type {:?}; expected {}", text.value, listed(&XDS_TYPES));
            item.error("unknown-value", message);
            return None;
        };
        if types.contains(&found) {
            item.error("duplicate-name", format!("`{}` stands here twice", text.value));
        }
        types.push(found);
    }
    (!types.is_empty()).then_some(types)
}

impl JsonSchema for Release {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Release".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let ends = generator.subschema_for::<Ends>();
        let link = json_schema!({
            "type": "object",
            "properties": {"link": ends},
            "required": ["link"],
            "additionalProperties": false,
        });
        json_schema!({"anyOf": [{"const": "all"}, generator.subschema_for::<Released>(), link]})
    }
}

impl JsonSchema for Ejected {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ejected".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"const": "all"}, generator.subschema_for::<Released>()]})
    }
}

impl JsonSchema for Hold {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Hold".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [generator.subschema_for::<Held>(), generator.subschema_for::<HeldLink>()]})
    }
}
