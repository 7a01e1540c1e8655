//! What the API server and istiod's validation webhook refuse, and which values gRPC clients take for others.

mod authorization_policy;
mod destination_rule;
mod fault;
mod http_match;
mod istio;
mod kubernetes;
mod locality;
mod pod;
mod probe;
mod service_entry;
mod virtual_service;
mod volume;
mod workload;

pub(super) use authorization_policy::authorization_policy;
pub(super) use destination_rule::destination_rule;
pub(super) use istio::peer_authentication;
pub(super) use kubernetes::{config_map, endpoint_slice, namespace, node, service, service_account};
pub(super) use pod::pod;
pub(super) use service_entry::{proxy_config, service_entry, workload_entry, workload_group};
pub(super) use virtual_service::virtual_service;
pub(super) use workload::{deployment, job, stateful_set};

use serde::de::DeserializeOwned;

use super::names::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value, is_port_name, is_service_name};
use super::{IntOrString, Kind, Labels, Metadata};
use crate::yaml::{self, Diagnostic, Location, Node, Position, Unread, field_path};

/// How much the annotations of an object hold.
const ANNOTATIONS_MAX: usize = 256 << 10;

/// One object under examination: fields are named by path, positions come from the tree.
pub(super) struct Check<'a> {
    root: &'a Node,
    at: Location,
    kind: Kind,
    /// The object's, be it written or not.
    namespace: String,
    /// What is known to be wrong already, so that nothing is said of what follows from it.
    unread: Unread,
    pub(super) errors: Vec<Diagnostic>,
    pub(super) notes: Vec<Diagnostic>,
}

impl<'a> Check<'a> {
    pub(super) fn new(root: &'a Node, at: Location, kind: Kind, namespace: &str, unread: Unread) -> Self {
        Self { root, at, kind, namespace: namespace.to_owned(), unread, errors: Vec::new(), notes: Vec::new() }
    }

    /// Name, namespace and labels, which all kinds have.
    pub(super) fn metadata(&mut self, metadata: &Metadata) {
        let (grammar, words): (fn(&str) -> bool, _) = match self.kind {
            Kind::Namespace | Kind::StatefulSet => {
                (is_dns_label, "up to 63 lower-case letters, digits and inner dashes")
            }
            Kind::Service => (is_service_name, "up to 63 lower-case letters, digits and inner dashes, a letter first"),
            _ => (is_dns_subdomain, "lower-case letters, digits, dashes and dots, a letter or digit first and last"),
        };
        if metadata.name.is_empty() {
            self.error("missing-field", "metadata.name", "missing; every object needs a name");
        } else if !grammar(&metadata.name) {
            self.error("invalid-name", "metadata.name", format!("invalid name {:?}; use {words}", metadata.name));
        }
        if self.kind.is_namespaced() {
            if !metadata.namespace.is_empty() && !is_dns_label(&metadata.namespace) {
                let message = format!(
                    "invalid namespace {:?}; use lower-case letters, digits and inner dashes",
                    metadata.namespace
                );
                self.error("invalid-name", "metadata.namespace", message);
            }
        } else if !metadata.namespace.is_empty() {
            self.error(
                "invalid-value",
                "metadata.namespace",
                format!("a {} has no namespace; leave it out", self.kind),
            );
        }
        self.labels("metadata.labels", &metadata.labels);
        self.annotations("metadata.annotations", &metadata.annotations);
    }

    fn annotations(&mut self, path: &str, annotations: &Labels) {
        // Their keys are looked at in lower case, for they may name types.
        for key in annotations.keys().filter(|key| !is_label_key(&key.to_lowercase())) {
            self.error("invalid-name", &field_path(path, key), format!("invalid annotation key {key:?}"));
        }
        let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > ANNOTATIONS_MAX {
            let message = format!("{size} bytes are more than the {ANNOTATIONS_MAX} of an object's annotations");
            self.error("out-of-range", path, message);
        }
    }

    pub(super) fn labels(&mut self, path: &str, labels: &Labels) {
        for (key, value) in labels {
            let path = field_path(path, key);
            if !is_label_key(key) {
                self.error("invalid-name", &path, format!("invalid label key {key:?}"));
            }
            if !is_label_value(value) {
                let words =
                    "use up to 63 letters, digits, dashes, underscores and dots, a letter or digit first and last";
                self.error("invalid-value", &path, format!("invalid label value {value:?}; {words}"));
            }
        }
    }

    /// The selector of a policy, which istiod looks at less closely than at labels.
    ///
    /// Source: Istio `pkg/config/validation/validation.go` (`validateWorkloadSelector`).
    fn selector(&mut self, path: &str, selector: &Labels) {
        for (key, value) in selector {
            let path = field_path(path, key);
            if key.is_empty() || key.contains('*') || value.contains('*') {
                let message = format!("invalid label `{key}={value}`; a selector wants whole labels, without `*`");
                self.error("invalid-value", &path, message);
            } else if value.len() > 63 {
                let message = format!("a label's value has up to 63 characters, and this one {}", value.len());
                self.error("out-of-range", &path, message);
            } else if !is_label_key(key) || !is_label_value(value) {
                let message = format!("no workload can have the label `{key}={value}`");
                self.warning("never-matches", &path, message);
            }
        }
    }

    /// A name as objects of most kinds have it, if there is one.
    fn subdomain(&mut self, path: &str, name: &str, what: &str) {
        if !name.is_empty() && !is_dns_subdomain(name) {
            let message = format!("expected {what}, found {name:?}; use lower-case letters, digits, dashes and dots");
            self.error("invalid-name", path, message);
        }
    }

    /// A port's number or its name as Kubernetes has it.
    fn port_or_name(&mut self, path: &str, port: &IntOrString) {
        match port {
            IntOrString::Int(number) => self.port(path, *number),
            IntOrString::String(name) if !is_port_name(name) => {
                let message = format!("expected a port from 1 to 65535 or a port's name, found {name:?}");
                self.error("invalid-name", path, message);
            }
            IntOrString::String(_) => {}
        }
    }

    /// A port number as Kubernetes has it.
    fn port(&mut self, path: &str, port: impl Into<i64>) {
        let port = port.into();
        if self.root.at_path(path).position == self.parent(path) {
            self.error("missing-field", path, "missing; a port from 1 to 65535");
        } else if !(1..=65535).contains(&port) {
            self.error("out-of-range", path, format!("port {port} is out of range; expected 1 to 65535"));
        }
    }

    /// The position of the node above `path`, which is also what a missing field's path resolves to.
    fn parent(&self, path: &str) -> Position {
        let parent = path.rsplit_once('.').map_or("", |(parent, _)| parent);
        self.root.at_path(parent).position
    }

    fn error(&mut self, code: &'static str, path: &str, message: impl Into<String>) {
        if self.is_read(path) {
            let location = self.location(path);
            self.errors.push(Diagnostic::error(code, location, message));
        }
    }

    fn warning(&mut self, code: &'static str, path: &str, message: impl Into<String>) {
        let location = self.location(path);
        self.notes.push(Diagnostic::warning(code, location, message));
    }

    fn note(&mut self, code: &'static str, path: &str, message: impl Into<String>) {
        let location = self.location(path);
        self.notes.push(Diagnostic::note(code, location, message));
    }

    /// Where `path` stands; a missing field stands where its parent does.
    fn location(&self, path: &str) -> Location {
        self.at.clone().at(self.root.at_path(path).position).field(path)
    }

    /// Whether what the text has at `path` could be read, apart from what may be wrong inside of it.
    /// [`error`](Self::error) asks so of the path it is about; ask for any other that the error depends on.
    fn is_read(&self, path: &str) -> bool {
        self.unread.is_read(path)
    }

    /// What the text has at `path`, a field without effect: `default` if it is absent, `None` if it is malformed.
    fn unplayed<T: DeserializeOwned>(&self, path: &str, default: T) -> Option<T> {
        if self.has(path) { yaml::from_node(self.root.at_path(path), &self.at).ok() } else { Some(default) }
    }

    /// Whether what the text has at `path` could be read with all that is inside of it.
    fn is_whole(&self, path: &str) -> bool {
        self.unread.is_whole(path)
    }

    /// Whether the text has anything at `path`, or something that was meant to be there.
    fn is_given(&self, path: &str) -> bool {
        self.has(path) || !self.is_read(path)
    }

    /// That of the fields `names` of what is at `path` there is only one.
    fn only_one(&mut self, path: &str, names: &[&str], message: &str) {
        let given = names.iter().filter(|name| self.has(&format!("{path}.{name}")));
        if given.count() > 1 {
            self.error("invalid-value", path, message);
        }
    }

    /// Whether the text has anything at `path`.
    fn has(&self, path: &str) -> bool {
        let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
        self.root.at_path(parent).get(name).is_some_and(|node| !node.is_null())
    }
}
