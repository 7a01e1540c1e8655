//! From YAML text to objects: what kubectl, the API server and istiod's webhook do to a file together.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::known::{self, Treatment};
use super::validate::{self, Check};
use super::{Kind, Object, Origin, Written, unplayed};
use crate::yaml::{self, Diagnostic, Location, Node, Nulls, Reading, UnknownField, Unread, listed, nearest};

/// What a text holds.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The objects that have no errors, in the order of the text.
    pub objects: Vec<Object>,
    /// Warnings and notes: unmodelled kinds and fields, each listed once, and values treated as others.
    pub notes: Vec<Diagnostic>,
    /// Everything that would be refused.
    pub errors: Vec<Diagnostic>,
    /// The objects that have errors, as far as they could be read: at least kind, namespace and name. For whoever
    /// looks at what refers to them.
    pub broken: Vec<Object>,
    /// Whether there is more, of which not even kind and name are known.
    pub more: bool,
}

/// Reads all objects in `text`. Those that name no namespace get `default_namespace`; `file` is the name diagnostics
/// show.
///
/// ```
/// let loaded = hermesh_istiod::objects::load("ns.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}",
/// "default"); assert_eq!(loaded.objects[0].key().to_string(), "Namespace a");
/// ```
#[must_use]
pub fn load(file: &str, text: &str, default_namespace: &str) -> Loaded {
    let mut loader = Loader::new(default_namespace);
    let parsed = yaml::parse_each(file, text);
    let is_yaml = parsed.errors.is_empty();
    loader.loaded.errors = parsed.errors;
    for document in parsed.documents {
        match document {
            Some(document) => loader.document(&document.root, &Location::in_file(file)),
            None => loader.loaded.more = true,
        }
    }
    // An object of which a part is written twice is not what its author thinks.
    let loaded = &mut loader.loaded;
    if !is_yaml {
        loaded.broken.append(&mut loaded.objects);
    }
    loader.finish()
}

/// As [`load`], of one object that has been parsed already, or was put together from several.
#[must_use]
pub fn load_tree(file: &str, root: &Node, default_namespace: &str) -> Loaded {
    let mut loader = Loader::new(default_namespace);
    loader.document(root, &Location::in_file(file));
    loader.finish()
}

struct Loader<'a> {
    default_namespace: &'a str,
    loaded: Loaded,
    /// The first note about each kind or field without effect, and how many more there were.
    without_effect: BTreeMap<(String, String), (Diagnostic, usize)>,
}

impl<'a> Loader<'a> {
    fn new(default_namespace: &'a str) -> Self {
        Self { default_namespace, loaded: Loaded::default(), without_effect: BTreeMap::new() }
    }

    fn finish(self) -> Loaded {
        let mut loaded = self.loaded;
        loaded.notes.extend(self.without_effect.into_values().map(|(mut note, more)| {
            if more > 0 {
                note.message.push_str(&format!(" (and {more} more like it)"));
            }
            note
        }));
        loaded.notes.sort_by_key(|note| note.location.position());
        loaded.errors.sort_by_key(|error| error.location.position());
        loaded
    }

    fn document(&mut self, root: &Node, file: &Location) {
        let Some((api_version, kind)) = self.type_of(root, file) else {
            self.loaded.more = true;
            return;
        };
        if kind == "List" && api_version == "v1" {
            match root.get("items").map(|items| (items, items.items())) {
                Some((_, Some(items))) => items.iter().for_each(|item| self.document(item, file)),
                Some((node, None)) if !node.is_null() => {
                    let at = file.clone().at(node.position).field("items");
                    self.loaded.errors.push(Diagnostic::error("wrong-type", at, "expected a list of objects"));
                    self.loaded.more = true;
                }
                _ => {}
            }
            return;
        }
        match Kind::ALL.into_iter().find(|known| known.name() == kind) {
            Some(known) if known.api_versions().contains(&api_version) => self.object(known, root, file, Vec::new()),
            known => self.other_kind(known, api_version, kind, root, file),
        }
    }

    fn type_of<'n>(&mut self, root: &'n Node, file: &Location) -> Option<(&'n str, &'n str)> {
        let mut field = |name: &'static str, example: &str| {
            let text = root.get(name).and_then(Node::text).filter(|text| !text.is_empty());
            if text.is_none() {
                let position = root.get(name).map_or(root.position, |node| node.position);
                let at = file.clone().at(position);
                let (message, at) = match root.entries() {
                    Some(_) => {
                        (format!("missing; every object needs one, such as `{name}: {example}`"), at.field(name))
                    }
                    None => {
                        ("expected a Kubernetes or Istio object, a mapping with apiVersion and kind".to_owned(), at)
                    }
                };
                self.loaded.errors.push(Diagnostic::error("missing-field", at, message));
            }
            text
        };
        if root.entries().is_none() {
            return field("kind", "Service").map(|kind| (kind, kind));
        }
        let (api_version, kind) = (field("apiVersion", "v1"), field("kind", "Service"));
        Some((api_version?, kind?))
    }

    /// A kind without a typed form, or a typed one in a version nobody serves.
    fn other_kind(&mut self, known: Option<Kind>, api_version: &str, kind: &str, root: &Node, file: &Location) {
        let name = root.at_path("metadata.name").text().unwrap_or("without name").to_owned();
        let at = |field: &str| {
            let position = root.get(field).map_or(root.position, |node| node.position);
            file.clone().at(position).object(format!("{kind} {name}")).field(field)
        };
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        if let Some(known) = known {
            let versions = listed(known.api_versions());
            let message = format!("no kind {kind} in version {api_version:?}; write {versions}");
            let error = Diagnostic::error("unknown-kind", at("apiVersion"), message);
            return self.object(known, root, file, vec![error]);
        }
        match known::kind(group, kind) {
            Some(Treatment::Refused) if kind != "HTTPRoute" || has_service_parent(root) => {
                let message = format!("{kind} is not supported yet; a real mesh would act on it");
                self.loaded.errors.push(Diagnostic::error("not-supported", at("kind"), message));
            }
            Some(_) => {
                let note = Diagnostic::note("no-effect", at("kind"), format!("{kind} has no effect here"));
                self.note_without_effect(api_version, kind, note);
            }
            None => {
                let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).chain(known::kind_names()).collect();
                let error = Diagnostic::error(
                    "unknown-kind",
                    at("kind"),
                    format!("no kind {kind:?} in version {api_version:?}"),
                );
                let near = nearest(kind, names.iter().copied());
                let error = match near {
                    Some(name) if name == kind => error.with_help("is the apiVersion right?"),
                    Some(name) => error.with_help(format!("did you mean `{name}`?")),
                    None => error,
                };
                let meant = Kind::ALL.into_iter().find(|known| near == Some(known.name()));
                match meant.filter(|meant| meant.api_versions().contains(&api_version)) {
                    Some(meant) => self.object(meant, root, file, vec![error]),
                    None => self.loaded.errors.push(error),
                }
            }
        }
    }

    /// An object of which `errors` are known already.
    fn object(&mut self, kind: Kind, root: &Node, file: &Location, errors: Vec<Diagnostic>) {
        macro_rules! read_as {
            ($($kind:ident => $validate:path)*) => {
                match kind {
                    $(Kind::$kind => self.typed::<super::$kind>(kind, root, file, errors, $validate),)*
                }
            };
        }
        read_as! {
            Namespace => validate::namespace
            Node => validate::node
            ServiceAccount => validate::service_account
            ConfigMap => validate::config_map
            Service => validate::service
            EndpointSlice => validate::endpoint_slice
            Pod => validate::pod
            Deployment => validate::deployment
            StatefulSet => validate::stateful_set
            Job => validate::job
            ServiceEntry => validate::service_entry
            WorkloadEntry => validate::workload_entry
            WorkloadGroup => validate::workload_group
            ProxyConfig => validate::proxy_config
            DestinationRule => validate::destination_rule
            VirtualService => validate::virtual_service
            PeerAuthentication => validate::peer_authentication
            AuthorizationPolicy => validate::authorization_policy
        }
    }

    fn typed<T>(
        &mut self,
        kind: Kind,
        root: &Node,
        file: &Location,
        mut errors: Vec<Diagnostic>,
        validate: fn(&mut Check<'_>, &T),
    ) where
        T: serde::de::DeserializeOwned + Clone + Into<Object>,
    {
        let named = |field: &str| root.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Node::text);
        let namespace = named("namespace").filter(|namespace| !namespace.is_empty()).unwrap_or(self.default_namespace);
        let name = named("name").unwrap_or("without name");
        let owner = if kind.is_namespaced() { format!("{kind} {namespace}/{name}") } else { format!("{kind} {name}") };
        let at = file.clone().at(root.position).object(owner);

        let Reading { value, mut mistakes, mut unread, unknown_fields, mut warnings } =
            yaml::read::<T>(root, &at, Nulls::AreUnset);
        errors.append(&mut mistakes);
        self.loaded.notes.append(&mut warnings);
        errors.append(&mut self.unknown_fields(root, &unknown_fields, &mut unread));
        let Some(value) = value else {
            self.loaded.more = true;
            self.loaded.errors.append(&mut errors);
            return;
        };
        let mut object: Object = value.clone().into();
        let mut check = Check::new(root, at.clone(), kind, namespace, unread);
        check.metadata(object.metadata());
        validate(&mut check, &value);
        errors.append(&mut check.errors);
        self.loaded.notes.append(&mut check.notes);

        let metadata = object.metadata_mut();
        metadata.origin = Origin(Some(at));
        let written = Arc::new(root.clone());
        metadata.written = Written { applied: Some(Arc::clone(&written)), live: Some(written) };
        if !kind.is_namespaced() {
            metadata.namespace.clear();
        } else if metadata.namespace.is_empty() {
            self.default_namespace.clone_into(&mut metadata.namespace);
        }
        if errors.is_empty() {
            self.loaded.objects.push(object);
        } else if metadata.name.is_empty() {
            self.loaded.more = true;
        } else {
            self.loaded.broken.push(object);
        }
        self.loaded.errors.append(&mut errors);
    }

    /// The errors among unknown fields. Neither those nor the fields they were meant to be count as read.
    fn unknown_fields(&mut self, root: &Node, fields: &[UnknownField], unread: &mut Unread) -> Vec<Diagnostic> {
        let mut errors = Vec::new();
        for field in fields {
            let path = field.location.field.clone().unwrap_or_default();
            if path == field.name && matches!(field.name.as_str(), "apiVersion" | "kind") {
                continue;
            }
            let value = root.at_path(&path);
            match known::field(field.type_name, &field.name, value) {
                Some(Treatment::Implied) => {}
                Some(Treatment::NoEffect) => {
                    if let Some(mistake) = unplayed::mistake(field.type_name, &path, &field.name, value) {
                        let place = field.location.clone().at(value.position);
                        errors.push(Diagnostic::error("invalid-value", place, mistake));
                        continue;
                    }
                    let note = Diagnostic::note("no-effect", field.location.clone(), "has no effect here");
                    self.note_without_effect(field.type_name, &field.name, note);
                }
                Some(Treatment::Refused) => {
                    let message = "not supported yet; a real mesh would act on it";
                    errors.push(Diagnostic::error("not-supported", field.location.clone(), message));
                    unread.add(path);
                }
                Some(Treatment::RefusedByIstio) => {
                    let message = "istiod refuses this: it is in Istio's API, and no proxy can do it yet";
                    errors.push(Diagnostic::error("invalid-value", field.location.clone(), message));
                    unread.add(path);
                }
                Some(Treatment::Replaceable(other)) => {
                    let error = Diagnostic::error("not-supported", field.location.clone(), "not supported yet");
                    errors.push(error.with_help(format!("write the like of `{other}`")));
                    unread.add(path);
                }
                None => {
                    let names: Vec<&str> =
                        field.known.iter().copied().chain(known::field_names(field.type_name)).collect();
                    errors.push(field.error_among(&names));
                    unread.add(path);
                    if let Some(meant) = field.meant_among(&names, root) {
                        unread.add(meant);
                    }
                }
            }
        }
        errors
    }

    fn note_without_effect(&mut self, owner: &str, name: &str, note: Diagnostic) {
        self.without_effect
            .entry((owner.to_owned(), name.to_owned()))
            .and_modify(|(_, more)| *more += 1)
            .or_insert((note, 0));
    }
}

/// A route for a Service instead of a Gateway is a mesh route (GAMMA).
fn has_service_parent(route: &Node) -> bool {
    let parents = route.get("spec").and_then(|spec| spec.get("parentRefs")).and_then(Node::items).unwrap_or_default();
    parents.iter().any(|parent| parent.get("kind").and_then(Node::text) == Some("Service"))
}
