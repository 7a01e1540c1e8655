//! `scale`, `label`, `patch` and `rollout`: changes of objects that are there.

use std::borrow::Cow;
use std::time::Duration;

use hermesh_istiod::yaml::Node;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::read::{At, Cursor, Place};
use super::reader::targets;
use super::schema::{OneOrMore, Workload};
use super::target::{Target, pattern};
use crate::cluster::patch::Patch;
use crate::mesh::ObjectName;

/// The most pods that a workload can be asked for: Kubernetes keeps the number in 32 bits with a sign.
const REPLICAS_MAX: u64 = i32::MAX as u64;

/// One object, and what is to be changed of it.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub what: What,
    pub subject: At<Subject>,
    /// Where what changes it stands.
    file: String,
    value: Place,
}

/// The object that is changed.
#[derive(Clone, Debug)]
pub(super) enum Subject {
    /// A Deployment or StatefulSet.
    Workload(Target),
    /// An object of any kind.
    Object(ObjectName),
}

/// What is done to it.
#[derive(Clone, Debug)]
pub(super) enum What {
    Scale(u64),
    /// A mapping of labels.
    Label(Node),
    /// A mapping.
    Patch(Node),
    RolloutRestart,
}

impl Change {
    /// The change as a patch that is made when the wall clock shows `wall`.
    pub(super) fn patch(&self, wall: Duration) -> Patch {
        let (file, path, at) = (self.file.as_str(), self.value.path.as_str(), self.value.position);
        match &self.what {
            What::Scale(replicas) => Patch::replicas(file, path, *replicas, at),
            What::Label(labels) => Patch::labels(file, path, labels.clone()),
            What::Patch(tree) => Patch::new(file, path, tree.clone()),
            What::RolloutRestart => Patch::restart(file, path, wall, at),
        }
    }

    /// The verb, and what kubectl calls it.
    pub(super) fn verb(&self) -> &'static str {
        match self.what {
            What::Scale(_) => "scale",
            What::Label(_) => "label",
            What::Patch(_) => "patch",
            What::RolloutRestart => "rollout restart",
        }
    }

    /// `web to 5`, `namespace/shop istio-injection=disabled`
    fn describe(&self) -> String {
        let subject = match &self.subject.value {
            Subject::Workload(workload) => workload.to_string(),
            Subject::Object(object) => object.to_string(),
        };
        match &self.what {
            What::Scale(replicas) => format!("{subject} to {replicas}"),
            What::Label(labels) => {
                let label = |entry: &hermesh_istiod::yaml::Entry| match entry.value.text() {
                    Some(value) if !entry.value.is_null() => format!(" {}={value}", entry.key.text),
                    _ => format!(" {}-", entry.key.text),
                };
                format!("{subject}{}", labels.entries().into_iter().flatten().map(label).collect::<String>())
            }
            What::Patch(_) | What::RolloutRestart => subject,
        }
    }
}

/// What a step changes, in words.
pub(super) fn describe(changes: &[Change]) -> String {
    let verb = changes.first().map_or("", Change::verb);
    format!("{verb} {}", changes.iter().map(Change::describe).collect::<Vec<_>>().join(", "))
}

pub(super) fn scale(field: &Cursor<'_>) -> Vec<Change> {
    const EXPECTED: &str = "how many pods each workload is to have: a mapping such as `{web: 5}`";
    let change = |(key, value): (At<String>, Cursor<'_>)| {
        let replicas = value.integer(0, REPLICAS_MAX);
        Some(Change {
            what: What::Scale(replicas?.value),
            ..change(&key, &value, |text| text.parse().map(Subject::Workload))?
        })
    };
    filled(field, EXPECTED).into_iter().filter_map(change).collect()
}

pub(super) fn label(field: &Cursor<'_>) -> Vec<Change> {
    const EXPECTED: &str = "labels by object: a mapping such as `{namespace/shop: {istio-injection: disabled}}`";
    let change = |(key, value): (At<String>, Cursor<'_>)| {
        let labels = filled(&value, "labels: a mapping such as `{istio-injection: disabled}`");
        let is_label = |label: &Cursor<'_>| {
            // Nothing takes the label away.
            let fine = label.node.is_null() || label.node.text() == Some("");
            fine || label.text("the label's value, or `null` to remove it").is_some()
        };
        let wrong = labels.iter().filter(|(_, label)| !is_label(label)).count();
        if labels.is_empty() || wrong > 0 {
            return None;
        }
        let what = What::Label(value.node.clone());
        Some(Change { what, ..change(&key, &value, |text| text.parse().map(Subject::Object))? })
    };
    filled(field, EXPECTED).into_iter().filter_map(change).collect()
}

pub(super) fn patch(cursor: &Cursor<'_>) -> Vec<Change> {
    const EXPECTED: &str = "a patch: a mapping such as `{object: deployment/web, with: {spec: {replicas: 3}}}`";
    let Some(mut fields) = cursor.fields(EXPECTED) else { return Vec::new() };
    let object = fields
        .required("object")
        .and_then(|field| field.text("an object such as `deployment/web`").map(|text| (text, field)));
    let with = fields.required("with");
    fields.finish(&[("type", "a patch is a JSON merge patch; leave the type out")]);
    if let Some(with) = &with {
        filled(with, "what to change: a mapping such as `{spec: {replicas: 3}}`");
    }
    let (Some((object, at)), Some(with)) = (object, with) else { return Vec::new() };
    let subject = object.value.parse().map(Subject::Object);
    match subject {
        Ok(subject) => {
            let subject = At { value: subject, place: object.place };
            vec![Change { what: What::Patch(with.node.clone()), subject, file: file_of(&with), value: with.place() }]
        }
        Err(message) => {
            at.error("bad-value", message);
            Vec::new()
        }
    }
}

pub(super) fn rollout(cursor: &Cursor<'_>) -> Vec<Change> {
    let Some(mut fields) = cursor.fields("what to roll out: a mapping such as `{restart: web}`") else {
        return Vec::new();
    };
    let restart = fields.required("restart");
    let later = ["undo", "pause", "resume", "status", "history"];
    let message = "only `restart` is played; apply or patch the object, and wait until it is ready";
    fields.finish(&later.map(|name| (name, message)));
    let Some(restart) = restart else { return Vec::new() };
    let changes = targets(&restart, "a workload").into_iter().map(|target| Change {
        what: What::RolloutRestart,
        value: target.place.clone(),
        subject: At { value: Subject::Workload(target.value), place: target.place },
        file: file_of(&restart),
    });
    changes.collect()
}

/// The entries of a mapping that is not empty.
fn filled<'n>(field: &Cursor<'n>, expected: &str) -> Vec<(At<String>, Cursor<'n>)> {
    let entries = field.entries(expected).unwrap_or_default();
    if field.node.entries().is_some_and(<[_]>::is_empty) {
        field.error("empty", format!("expected {expected}, found an empty one"));
    }
    entries
}

/// The change of what a key names; what is done is filled in by the caller.
fn change(key: &At<String>, value: &Cursor<'_>, subject: impl Fn(&str) -> Result<Subject, String>) -> Option<Change> {
    match subject(&key.value) {
        Ok(subject) => Some(Change {
            what: What::RolloutRestart,
            subject: At { value: subject, place: key.place.clone() },
            file: file_of(value),
            value: value.place(),
        }),
        Err(message) => {
            value.error_in(&key.place, "bad-value", message);
            None
        }
    }
}

fn file_of(cursor: &Cursor<'_>) -> String {
    cursor.problems().location(&cursor.place()).file.to_string()
}

/// Types that exist for the schema.
macro_rules! shapes {
    ($($(#[doc = $doc:literal])* $name:ident($generator:ident) => $schema:tt)*) => {$(
        $(#[doc = $doc])*
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

shapes! {
    /// How many pods workloads have.
    Scale(_generator) => {
        "type": "object",
        "propertyNames": {"pattern": pattern::WORKLOAD},
        "additionalProperties": {"type": "integer", "minimum": 0, "maximum": REPLICAS_MAX},
        "minProperties": 1,
    }
    /// Labels of objects.
    Label(_generator) => {
        "type": "object",
        "propertyNames": {"pattern": ObjectName::pattern()},
        "additionalProperties": {
            "type": "object",
            // The type "null" would be taken out as what stands for a field that is left out.
            "additionalProperties": {"anyOf": [{"type": "string", "pattern": r"^$|\S"}, {"const": null}]},
            "minProperties": 1,
        },
        "minProperties": 1,
    }
    /// A JSON merge patch.
    MergePatch(_generator) => {
        "type": "object",
        "properties": {
            "object": {
                "description": "The object, as `kind/name` or `namespace/kind/name`.",
                "type": "string",
                "pattern": ObjectName::pattern(),
            },
            "with": {
                "description": "What to change: mappings are merged, `null` removes a field, lists are replaced.",
                "type": "object",
                "minProperties": 1,
            },
        },
        "required": ["object", "with"],
        "additionalProperties": false,
    }
    /// A rollout.
    Rollout(generator) => {
        "type": "object",
        "properties": {"restart": generator.subschema_for::<OneOrMore<Workload>>()},
        "required": ["restart"],
        "additionalProperties": false,
    }
}
