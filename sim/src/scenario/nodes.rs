//! `mesh.nodes`, and `power`: the nodes that pods run on, and turning their power off and on.

use std::borrow::Cow;
use std::fmt;

use hermesh_istiod::objects::{is_dns_subdomain, is_label_key, is_label_value};
use hermesh_istiod::yaml::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::file::MeshOptions;
use super::read::{At, Cursor, Problems, unknown};
use super::schema::OneOrMore;
use crate::cluster::{NODES_MAX, NodeSpec};

/// A name of a node: a DNS subdomain (RFC 1123).
const NAME_PATTERN: &str = r"^(?=.{1,253}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*$";
/// A key of a label.
const KEY_PATTERN: &str = r"^((?=[^/]{1,253}/)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$";
/// A value of a label.
const VALUE_PATTERN: &str = "^([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?$";

/// Nodes whose power goes off, or on again.
#[derive(Clone, Debug)]
pub(super) struct Power {
    pub off: bool,
    pub nodes: Vec<At<String>>,
}

/// `power off node-2`
impl fmt::Display for Power {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.nodes.iter().map(|node| node.value.as_str()).collect();
        write!(f, "power {} {}", if self.off { "off" } else { "on" }, nodes.join(", "))
    }
}

/// The nodes of a mesh: those that it names, or one.
pub(super) fn of(mesh: &MeshOptions) -> Vec<NodeSpec> {
    mesh.nodes.clone().unwrap_or_else(|| NodeSpec::numbered(1))
}

/// `3`, or labels by name.
pub(super) fn nodes(field: &Cursor<'_>) -> Option<Vec<NodeSpec>> {
    const EXPECTED: &str = "a number of nodes, or labels by name such as `{node-1: {topology.kubernetes.io/zone: a}}`";
    let most = NODES_MAX as u64;
    if !matches!(field.node.value, Value::Mapping(_)) {
        let count = field.integer(1, most)?;
        return Some(NodeSpec::numbered(usize::try_from(count.value).unwrap_or(1)));
    }
    let entries = field.entries(EXPECTED)?;
    if entries.is_empty() {
        field.error("empty", format!("expected {EXPECTED}, found an empty mapping"));
        return None;
    }
    if entries.len() > NODES_MAX {
        field.error("out-of-range", format!("expected {most} nodes at most, found {}", entries.len()));
    }
    let whole = entries.len();
    let nodes: Vec<NodeSpec> = entries.iter().filter_map(|(name, labels)| node(name, labels)).collect();
    // Names that are missing would be unknown to later steps.
    (nodes.len() == whole).then_some(nodes)
}

fn node(name: &At<String>, labels: &Cursor<'_>) -> Option<NodeSpec> {
    if !is_dns_subdomain(&name.value) {
        labels.error_in(&name.place, "bad-value", no_name(&name.value));
        return None;
    }
    let entries = labels.entries("the node's labels: a mapping such as `{topology.kubernetes.io/zone: a}`, or `{}`")?;
    let label = |(key, value): (At<String>, Cursor<'_>)| {
        if !is_label_key(&key.value) {
            value.error_in(&key.place, "bad-value", format!("{:?} is no key of a label", key.value));
            return None;
        }
        let text = value.text("the label's value")?;
        if !is_label_value(&text.value) {
            let words = "up to 63 letters, digits, dashes, underscores and dots, a letter or digit first and last";
            value.error("bad-value", format!("{:?} is no value of a label: {words}", text.value));
            return None;
        }
        Some((key.value, text.value))
    };
    // A node with a label that is wrong would be another.
    let labels = entries.into_iter().map(label).collect::<Vec<_>>().into_iter().collect::<Option<_>>()?;
    Some(NodeSpec { name: name.value.clone(), labels })
}

fn no_name(text: &str) -> String {
    format!("{text:?} is no name of a node: lower-case letters, digits, `-` and `.`")
}

/// `{off: node-2}` or `{on: node-2}`
pub(super) fn power(field: &Cursor<'_>) -> Option<Power> {
    let mut fields = field.fields("a mapping such as `{off: node-2}` or `{on: node-2}`")?;
    let names = |field: Cursor<'_>| -> Vec<At<String>> {
        let items = field.one_or_many("a node, or a list of them");
        let name = |item: &Cursor<'_>| {
            let name = item.text("the name of a node")?;
            if !is_dns_subdomain(&name.value) {
                item.error("bad-value", no_name(&name.value));
                return None;
            }
            Some(name)
        };
        items.iter().filter_map(name).collect()
    };
    let (off, on) = (fields.optional("off"), fields.optional("on"));
    let has_more = fields.has_unknown();
    fields.finish(&[]);
    match (off, on) {
        (Some(_), Some(on)) => {
            on.error("two-verbs", "power goes off or on; make it two steps");
            None
        }
        (Some(off), None) => Some(Power { off: true, nodes: names(off) }),
        (None, Some(on)) => Some(Power { off: false, nodes: names(on) }),
        (None, None) if has_more => None,
        (None, None) => {
            field.error("missing-field", "expected `off` or `on` with the name of a node");
            None
        }
    }
}

/// Whether the mesh's nodes are not what they were meant to be, so that nobody can tell who is missing.
pub(super) fn are_wrong(problems: &Problems) -> bool {
    problems.any(|problem| problem.location.field.as_deref().is_some_and(|field| field.starts_with("mesh.nodes")))
}

/// Reports nodes that the mesh does not have, and those that stand there twice.
pub(super) fn check(power: &Power, mesh: &MeshOptions, problems: &Problems) {
    if are_wrong(problems) {
        return;
    }
    let known = of(mesh);
    let names: Vec<&str> = known.iter().map(|node| node.name.as_str()).collect();
    for (index, node) in power.nodes.iter().enumerate() {
        if power.nodes[..index].iter().any(|other| other.value == node.value) {
            problems.error(&node.place, "duplicate-name", format!("`{}` stands here twice", node.value));
        } else if !names.contains(&node.value.as_str()) {
            let message = match names.as_slice() {
                [only] if mesh.nodes.is_none() => {
                    format!(
                        "unknown node {:?}; the mesh has one, {only}: `mesh: {{nodes: 2}}` gives it more",
                        node.value
                    )
                }
                names => unknown("node", &node.value, names),
            };
            problems.error(&node.place, "unknown-node", message);
        }
    }
}

/// The form of `mesh.nodes`.
pub(super) struct NodesShape;

impl JsonSchema for NodesShape {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Nodes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [
            {"type": "integer", "minimum": 1, "maximum": NODES_MAX},
            {
                "type": "object",
                "propertyNames": {"pattern": NAME_PATTERN},
                "minProperties": 1,
                "maxProperties": NODES_MAX,
                "additionalProperties": {
                    "type": "object",
                    "propertyNames": {"pattern": KEY_PATTERN},
                    "additionalProperties": {"type": "string", "pattern": VALUE_PATTERN},
                },
            },
        ]})
    }
}

struct NodeName;

impl JsonSchema for NodeName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NodeName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": NAME_PATTERN})
    }
}

impl JsonSchema for Power {
    fn schema_name() -> Cow<'static, str> {
        "Power".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let nodes = generator.subschema_for::<OneOrMore<NodeName>>();
        json_schema!({
            "description": "Nodes whose power goes `off`, or `on` again.",
            "type": "object",
            "properties": {"off": nodes, "on": nodes},
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
        })
    }
}
