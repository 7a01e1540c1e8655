//! `inject`: resources of one's own in the place of istiod's.

use std::borrow::Cow;

use hermesh_xds::ResourceType;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::{At, Cursor};
use super::reader::target;
use super::schema::{OneOrMany, OneOrMore, Pod, Text, XdsType};
use super::target::Target;
use super::xds;
use crate::mesh::{Resource, recorded};

/// Resources, and who gets them.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(deny_unknown_fields, transform = resource_or_file)]
pub(super) struct Inject {
    /// The workload or pod whose clients get them.
    #[schemars(with = "Pod")]
    pub to: At<Target>,
    /// The resources, in protobuf's JSON mapping with `@type`.
    #[schemars(with = "Option<OneOrMany<AnyMessage>>")]
    pub resource: Option<Vec<Resource>>,
    /// A file with resources: written by hand, or a dump of CSDS or of an Envoy.
    #[schemars(with = "Option<Text>")]
    pub file: Option<At<String>>,
    /// Those of which types are meant, of the file's; all if left out.
    #[schemars(with = "Option<OneOrMore<XdsType>>")]
    pub r#type: Option<Vec<ResourceType>>,
}

impl Inject {
    /// `inject dump.json to web`
    pub(super) fn described(&self, resources: &[Resource]) -> String {
        let what = match (&self.file, resources) {
            (Some(file), _) => file.value.clone(),
            (None, [only]) => format!("{} {}", only.resource_type().short(), only.name()),
            (None, many) => format!("{} resources", many.len()),
        };
        format!("inject {what} to {}", self.to.value)
    }
}

pub(super) fn inject(cursor: &Cursor<'_>) -> Option<Inject> {
    let mut fields = cursor.fields("what to give to whom: a mapping such as `{to: web, file: dump.json}`")?;
    let to = fields.required("to").and_then(|field| target(&field, "a workload or a pod"));
    let (resource, file, types) = (fields.optional("resource"), fields.optional("file"), fields.optional("type"));
    match (&resource, &file, &types) {
        (None, None, _) => {
            cursor.error("missing-field", "nothing to inject; expected a `resource`, or a `file` with resources");
        }
        (Some(_), Some(file), _) => file.error("contradiction", "`resource` and `file` exclude each other"),
        (Some(_), None, Some(types)) => {
            types.error("contradiction", "`type` chooses among a file's resources; a `resource` says its own `@type`");
        }
        _ => {}
    }
    let both = resource.is_some();
    let resource = resource.and_then(|field| resources(&field));
    // Which of the two is meant, nobody knows; one mistake is enough.
    let file = file.filter(|_| !both).and_then(|field| field.text("a file with resources"));
    let r#type = types.and_then(|field| xds::types(&field));
    fields.finish(&[("from", "a file is named by `file`")]);
    Some(Inject { to: to?, resource, file, r#type })
}

fn resources(field: &Cursor<'_>) -> Option<Vec<Resource>> {
    const EXPECTED: &str = "a resource, or a list of them: mappings with `@type`";
    if field.node.entries().is_none() {
        let items = field.items(EXPECTED)?;
        if items.is_empty() {
            field.error("empty", format!("expected {EXPECTED}, found an empty list"));
            return None;
        }
    }
    let place = field.place();
    let location = field.problems().location(&place);
    match recorded::within(field.node, &location.file, &place.path, &[]) {
        Ok(resources) => Some(resources),
        Err(errors) => {
            errors.into_iter().for_each(|error| field.problems().add(error));
            None
        }
    }
}

/// Says that the resources stand here or in a file.
fn resource_or_file(schema: &mut Schema) {
    let one_of = serde_json::json!([{"required": ["resource"]}, {"required": ["file"]}]);
    schema.insert("oneOf".to_owned(), one_of);
    schema.insert("dependentSchemas".to_owned(), serde_json::json!({"type": {"required": ["file"]}}));
}

/// A message whose type it names itself.
struct AnyMessage;

impl JsonSchema for AnyMessage {
    fn schema_name() -> Cow<'static, str> {
        "AnyMessage".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let types: Vec<&str> = ResourceType::ALL.map(ResourceType::type_url).to_vec();
        json_schema!({
            "description": "A resource of xDS in protobuf's JSON mapping.",
            "type": "object",
            "properties": {"@type": {"enum": types}},
            "required": ["@type"],
        })
    }
}
