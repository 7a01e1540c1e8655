//! What a step expects of what xDS clients have.

use hermesh_istiod::yaml::listed;
use hermesh_xds::ResourceType;
use schemars::JsonSchema;

use super::expect::Check;
use super::read::{At, Cursor, Place};
use super::schema::{ConfigStatus, Text, XdsType};
use super::xds::{XDS_TYPES, types};
use crate::mesh::{ClientConfig, ClientResource};

/// What CSDS says of a resource (gRFC A40), and the word for none at all.
pub(super) const STATUSES: [&str; 5] = ["REQUESTED", "DOES_NOT_EXIST", "ACKED", "NACKED", NONE];

/// How `get: {config: ...}` can show what clients have, besides as a table.
pub(super) const OUTPUTS: [&str; 1] = ["json"];

/// The word for nothing.
const NONE: &str = "none";

/// What clients must have. Without `name` it is about every resource that the rest chooses, of which there must be one
/// at least.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ConfigExpect {
    /// Resources of this type; of all if left out.
    #[schemars(with = "Option<XdsType>")]
    pub r#type: Option<ResourceType>,
    /// The resource of this name; all if left out.
    #[schemars(with = "Option<Text>")]
    pub name: Option<At<String>>,
    /// Those of the client of this channel target, or `#server`; of all if left out.
    #[schemars(with = "Option<Text>")]
    pub client: Option<At<String>>,
    /// What has become of them; `none` if no client may know of any.
    #[schemars(with = "ConfigStatus")]
    pub status: At<&'static str>,
    /// The version in use; `none` if nothing is.
    #[schemars(with = "Option<Text>")]
    pub version: Option<At<String>>,
    /// What the client says of the last copy.
    #[schemars(with = "Option<Text>")]
    pub error: Option<At<String>>,
    /// Where it begins.
    #[schemars(skip)]
    pub place: Place,
}

impl ConfigExpect {
    pub(super) fn judge(&self, config: &ClientConfig) -> Check {
        let chosen: Vec<&ClientResource> = config.0.iter().filter(|resource| self.chooses(resource)).collect();
        let wrong: Vec<&ClientResource> = chosen.iter().copied().filter(|resource| !self.fits(resource)).collect();
        let held = match self.status.value {
            NONE => chosen.is_empty(),
            _ => !chosen.is_empty() && wrong.is_empty(),
        };
        let told = if held || chosen.is_empty() { &chosen } else { &wrong };
        let seen = if chosen.is_empty() {
            "no such resource".to_owned()
        } else {
            told.iter().map(|resource| described(resource)).collect::<Vec<_>>().join("; ")
        };
        Check { check: "config", of: None, expected: self.described(), seen, held }
    }

    fn chooses(&self, resource: &ClientResource) -> bool {
        self.r#type.is_none_or(|kind| kind.short() == resource.resource_type)
            && self.name.as_ref().is_none_or(|name| name.value == resource.name)
            && self.client.as_ref().is_none_or(|client| client.value == resource.client)
    }

    fn fits(&self, resource: &ClientResource) -> bool {
        let version = |wanted: &At<String>| match wanted.value.as_str() {
            NONE => resource.version.is_empty(),
            version => resource.version == version,
        };
        let error = |wanted: &At<String>| resource.error.as_ref().is_some_and(|error| error.contains(&wanted.value));
        resource.status == self.status.value
            && self.version.as_ref().is_none_or(version)
            && self.error.as_ref().is_none_or(error)
    }

    /// `CDS outbound|7070||echo of xds:///echo:7070 NACKED, in use none, saying "type"`
    fn described(&self) -> String {
        let kind = self.r#type.map_or("all", ResourceType::short);
        let name = self.name.as_ref().map(|name| format!(" {}", name.value)).unwrap_or_default();
        let client = self.client.as_ref().map(|client| format!(" of {}", client.value)).unwrap_or_default();
        let version = self.version.as_ref().map(|version| format!(", in use {}", version.value)).unwrap_or_default();
        let error = self.error.as_ref().map(|error| format!(", saying {:?}", error.value)).unwrap_or_default();
        format!("{kind}{name}{client} {}{version}{error}", self.status.value)
    }
}

fn described(resource: &ClientResource) -> String {
    let ClientResource { client, resource_type, name, status, version, error, .. } = resource;
    let version = if version.is_empty() { NONE } else { version };
    let error = error.as_ref().map(|error| format!(", saying {error:?}")).unwrap_or_default();
    format!("{resource_type} {name} of {client} {status}, in use {version}{error}")
}

pub(super) fn expectations(field: &Cursor<'_>) -> Vec<ConfigExpect> {
    const EXPECTED: &str = "what clients must have: a mapping such as `{type: CDS, status: ACKED}`";
    field.one_or_many(EXPECTED).iter().filter_map(|item| expectation(item, EXPECTED)).collect()
}

fn expectation(cursor: &Cursor<'_>, expected: &str) -> Option<ConfigExpect> {
    let mut fields = cursor.fields(expected)?;
    let r#type = match fields.optional("type") {
        Some(field) => match types(&field)?.as_slice() {
            [only] => Some(*only),
            _ => {
                field.error("wrong-type", format!("expected one xDS type: {}", listed(&XDS_TYPES)));
                return None;
            }
        },
        None => None,
    };
    let name = fields.optional("name").and_then(|field| field.text("a resource's name"));
    let client = fields.optional("client").and_then(|field| field.text("a channel's target, or `#server`"));
    let status = fields.required("status").and_then(|field| field.word("status", &STATUSES));
    let version = fields.optional("version").and_then(|field| field.text("a version, or `none`"));
    let error = fields.optional("error").and_then(|field| field.text("what the client says"));
    let alone = [("version", version.as_ref()), ("error", error.as_ref())];
    for (field, text) in alone.iter().filter(|_| status.as_ref().is_some_and(|status| status.value == NONE)) {
        if let Some(text) = text {
            let message = format!("`{field}` is about a resource, and `status: none` expects that there is none");
            cursor.error_in(&text.place, "contradiction", message);
        }
    }
    if let Some(status) = &status {
        told_by(status.value, version.as_ref(), error.as_ref(), cursor);
    }
    fields.finish(&[]);
    Some(ConfigExpect { r#type, name, client, status: status?, version, error, place: cursor.place() })
}

/// What clients tell of a resource depends on its status (gRFC A40).
fn told_by(status: &str, version: Option<&At<String>>, error: Option<&At<String>>, cursor: &Cursor<'_>) {
    if let (Some(error), "REQUESTED" | "DOES_NOT_EXIST" | "ACKED") = (error, status) {
        let message = format!("a client tells of an error with NACKED only, not with {status}; leave one of them out");
        cursor.error_in(&error.place, "contradiction", message);
    }
    let used = version.filter(|version| version.value != NONE);
    if let (Some(version), "REQUESTED" | "DOES_NOT_EXIST") = (used, status) {
        let message = format!("with {status} no version is in use; write `version: none`, or leave it out");
        cursor.error_in(&version.place, "contradiction", message);
    }
}
