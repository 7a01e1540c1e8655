//! Finds the xDS resources in what people write and tools record.

use envoy_types::pb::google::protobuf::Any;
use hermesh_istiod::yaml::{Diagnostic, Node, Position, Value, field_path, listed};
use hermesh_xds::ResourceType;

use super::read::Reader;

/// What a dump has beside the resources that clients use: copies that were refused or replaced, and what an Envoy was
/// started with.
const ASIDE: [&str; 14] = [
    "errorState",
    "error_state",
    "warmingState",
    "warming_state",
    "drainingState",
    "draining_state",
    "dynamicWarmingClusters",
    "dynamic_warming_clusters",
    "staticListeners",
    "static_listeners",
    "staticClusters",
    "static_clusters",
    "staticRouteConfigs",
    "static_route_configs",
];

/// A resource in a text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// Its bytes, with their type.
    pub(crate) body: Any,
    /// Where it begins.
    pub(crate) position: Position,
    /// Its field's path.
    pub(crate) path: String,
}

/// Every resource in `root`, which stands at `path` of `file`: a message with `@type`, a list of them, or a dump with
/// such messages in it: CSDS's, an Envoy's or a discovery response.
///
/// # Errors
/// All mistakes in them, or that there is none.
pub(crate) fn find(root: &Node, file: &str, path: &str) -> Result<Vec<Found>, Vec<Diagnostic>> {
    let mut finder = Finder { reader: Reader::of(file), found: Vec::new() };
    finder.walk(root, path, false);
    let Finder { mut reader, found } = finder;
    if found.is_empty() && reader.errors.is_empty() {
        let message = format!("no resource of xDS is here; expected messages with `@type`: {}", listed(&type_names()));
        reader.error(root.position, path, "no-resource", message);
    }
    if reader.errors.is_empty() { Ok(found) } else { Err(reader.errors) }
}

struct Finder<'a> {
    reader: Reader<'a>,
    found: Vec<Found>,
}

impl Finder<'_> {
    /// `in_dump` if something around the node holds resources and other things.
    fn walk(&mut self, node: &Node, path: &str, in_dump: bool) {
        let message = node.get("@type").and_then(Node::text).map(kind);
        match (&node.value, message) {
            (Value::Mapping(_), Some(Message::Resource)) => {
                let body = self.reader.any(node, path);
                self.found.push(Found { body, position: node.position, path: path.to_owned() });
            }
            (Value::Mapping(_), Some(Message::Other)) if in_dump => {}
            (Value::Mapping(_), Some(Message::Other)) => self.other(node, path),
            (Value::Mapping(entries), None | Some(Message::Holder)) => {
                for entry in entries.iter().filter(|entry| !ASIDE.contains(&entry.key.text.as_str())) {
                    self.walk(&entry.value, &field_path(path, &entry.key.text), true);
                }
            }
            (Value::Sequence(items), _) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(item, &format!("{path}[{index}]"), in_dump);
                }
            }
            (Value::Scalar(_), _) => {}
        }
    }

    /// A message that is no resource.
    fn other(&mut self, node: &Node, path: &str) {
        let before = self.reader.errors.len();
        let Any { type_url, .. } = self.reader.any(node, path);
        if self.reader.errors.len() == before {
            let message = format!("{type_url:?} is no type of resource; expected {}", listed(&type_names()));
            let position = node.get("@type").map_or(node.position, |at_type| at_type.position);
            self.reader.error(position, &field_path(path, "@type"), "bad-value", message);
        }
    }
}

/// What a message is to those who look for resources.
enum Message {
    Resource,
    /// It has resources in it.
    Holder,
    Other,
}

fn kind(type_url: &str) -> Message {
    let name = type_url.rsplit('/').next().unwrap_or_default();
    if type_names().contains(&name) {
        Message::Resource
    } else if name.starts_with("envoy.admin.") || name.starts_with("envoy.service.") {
        Message::Holder
    } else {
        Message::Other
    }
}

/// The names of the messages that are resources.
fn type_names() -> Vec<&'static str> {
    let name = |one: ResourceType| one.type_url().rsplit('/').next().unwrap_or_default();
    ResourceType::ALL.map(name).to_vec()
}
