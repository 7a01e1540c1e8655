//! Changes of objects that are there: a JSON merge patch, with the place where it was written.

use std::time::Duration;

use hermesh_istiod::objects::{Kind, Object, ObjectKey, Written, load_tree};
use hermesh_istiod::yaml::{Diagnostic, Entry, Key, Location, Node, Position, Scalar, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{admission, merge_patch};

/// The annotation of a pod template by which `kubectl rollout restart` makes it another one.
const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";

/// The field that it is one of: what a restart changes, and no other patch is written as.
const TEMPLATE_ANNOTATIONS: &str = "spec.template.metadata.annotations";

/// The kinds whose number of pods can be changed, and whose pods can be rolled out anew.
const SCALABLE: [Kind; 2] = [Kind::Deployment, Kind::StatefulSet];

/// A JSON merge patch, and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Patch {
    tree: Node,
    file: String,
    /// The field of the file that it is, which may be the whole of it.
    field: String,
    /// What that field is of the object: `spec.replicas` of what scales it.
    of_object: &'static str,
}

impl Patch {
    /// A patch that stands at `field` of a file.
    pub(crate) fn new(file: impl Into<String>, field: impl Into<String>, tree: Node) -> Self {
        Self { tree, file: file.into(), field: field.into(), of_object: "" }
    }

    /// How many pods a workload has.
    pub(crate) fn replicas(file: impl Into<String>, field: impl Into<String>, replicas: u64, at: Position) -> Self {
        let number = scalar(replicas.to_string(), true, at);
        Self { of_object: "spec.replicas", ..Self::new(file, field, within(&["spec", "replicas"], number)) }
    }

    /// Labels, a mapping in which `null` removes one.
    pub(crate) fn labels(file: impl Into<String>, field: impl Into<String>, labels: Node) -> Self {
        Self { of_object: "metadata.labels", ..Self::new(file, field, within(&["metadata", "labels"], labels)) }
    }

    /// What has a workload replace its pods: an annotation with the time, `wall` since 1970.
    pub(crate) fn restart(file: impl Into<String>, field: impl Into<String>, wall: Duration, at: Position) -> Self {
        let seconds = i64::try_from(wall.as_secs()).unwrap_or(i64::MAX);
        let date = OffsetDateTime::from_unix_timestamp(seconds).ok().and_then(|date| date.format(&Rfc3339).ok());
        let date = scalar(date.unwrap_or_else(|| format!("{seconds} s")), false, at);
        let tree = within(&["spec", "template", "metadata", "annotations", RESTARTED_AT], date);
        Self { of_object: TEMPLATE_ANNOTATIONS, ..Self::new(file, field, tree) }
    }

    fn is_restart(&self) -> bool {
        self.of_object == TEMPLATE_ANNOTATIONS
    }

    /// What it is, as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        merge_patch::json(&self.tree)
    }

    /// Whether it says something of this field itself.
    pub(crate) fn mentions(&self, field: &str) -> bool {
        self.tree.find(field).is_some()
    }

    /// What it makes of `object`, which a user's manifest has brought, with what is worth a note.
    ///
    /// # Errors
    /// What the API server would refuse, as far as it does not depend on other objects; positions are the patch's.
    pub(crate) fn change(&self, object: &Object) -> Result<(Object, Vec<Diagnostic>), Vec<Diagnostic>> {
        let key = object.key();
        let Some(live) = &object.metadata().written.live else {
            let message = format!("{key} was made by the cluster, and its controller would change it back");
            return Err(vec![self.error("not-written", "", message)]);
        };
        if matches!(object, Object::Deployment(deployment) if deployment.spec.paused && self.is_restart()) {
            let message = format!("{key} is paused, and kubectl restarts none that is");
            let error = self.error("paused", "", message);
            return Err(vec![error.with_help("patch it first, with {spec: {paused: false}}")]);
        }
        let tree = Node { position: self.tree.position, ..merge_patch::merge(Some(live), &self.tree) };
        let loaded = load_tree(&self.file, &tree, &key.namespace);
        let mut errors = loaded.errors;
        let mut changed = loaded.objects.into_iter().next();
        let another = changed.as_ref().is_none_or(|changed| changed.key() != key);
        if errors.is_empty() && another {
            let fields = ["apiVersion", "kind", "metadata.name", "metadata.namespace"];
            let field = fields.into_iter().find(|field| self.mentions(field)).unwrap_or_default();
            let message = format!("no patch makes another object of {key}");
            return Err(vec![self.error("immutable", field, message)]);
        }
        if let Some(changed) = &changed {
            errors.extend(admission::immutable_fields(object, changed));
            errors.extend(self.pod_spec(live, changed));
        }
        self.locate(&mut errors);
        let Some(mut changed) = changed.take().filter(|_| errors.is_empty()) else { return Err(errors) };
        let written = &mut changed.metadata_mut().written;
        *written = Written { applied: object.metadata().written.applied.clone(), live: written.live.take() };
        let mentioned = |note: &Diagnostic| note.location.field.as_ref().is_some_and(|field| self.mentions(field));
        let mut notes: Vec<Diagnostic> = loaded.notes.into_iter().filter(mentioned).collect();
        self.locate(&mut notes);
        Ok((changed, notes))
    }

    /// Nobody changes what runs in a Pod that is there; the manifest knows what that was, before injection.
    fn pod_spec(&self, live: &Node, changed: &Object) -> Option<Diagnostic> {
        let before = load_tree(&self.file, live, &changed.metadata().namespace).objects.into_iter().next();
        let (Some(Object::Pod(before)), Object::Pod(pod)) = (before, changed) else { return None };
        let message = "the spec of a Pod that is there changes";
        let error = || Diagnostic::error("immutable", Location::in_file(&self.file).field("spec"), message);
        (before.spec != pod.spec).then(|| error().with_help("delete the Pod first, and apply another"))
    }

    /// Gives diagnostics about fields of the patched object the place in the patch that brought them about.
    pub(crate) fn locate(&self, diagnostics: &mut [Diagnostic]) {
        for diagnostic in diagnostics {
            let field = diagnostic.location.field.take().unwrap_or_default();
            if !field.is_empty() && self.own(&field).is_none() {
                diagnostic.message = format!("{field}: {}", diagnostic.message);
            }
            let object = diagnostic.location.object.take();
            diagnostic.location = Location { object, ..self.place_of(&field) };
        }
    }

    /// Where a field of the patched object stands in the patch, or else the nearest one above it that does.
    pub(crate) fn place_of(&self, field: &str) -> Location {
        let own = self.own(field).unwrap_or_default();
        let dot = if self.field.is_empty() || own.is_empty() || own.starts_with(['.', '[']) { "" } else { "." };
        let path = format!("{}{dot}{own}", self.field);
        let location = Location::in_file(&self.file).at(self.tree.at_path(field).position);
        if path.is_empty() { location } else { location.field(path) }
    }

    /// The path of a field of the object within what the patch changes of it, if it is there.
    fn own<'f>(&self, field: &'f str) -> Option<&'f str> {
        let whole = self.of_object.is_empty();
        field.strip_prefix(self.of_object).filter(|rest| whole || rest.is_empty() || rest.starts_with(['.', '[']))
    }

    fn error(&self, code: &'static str, field: &str, message: String) -> Diagnostic {
        let mut error = [Diagnostic::error(code, Location::in_file(&self.file), message)];
        if !field.is_empty() {
            error[0].location.field = Some(field.to_owned());
        }
        self.locate(&mut error);
        let [error] = error;
        error
    }
}

/// What `kubectl apply` makes of the object `there`, if somebody has changed it since the last manifest was applied;
/// else it is what the manifest says.
///
/// # Errors
/// What the API server would refuse of what both come to, though it takes either of them.
pub(crate) fn apply_over(there: &Object, new: Object) -> Result<Object, Vec<Diagnostic>> {
    let (Some(last), Some(live)) = (&there.metadata().written.applied, &there.metadata().written.live) else {
        return Ok(new);
    };
    let Some(manifest) = new.metadata().written.applied.clone().filter(|_| last != live) else { return Ok(new) };
    let tree = merge_patch::apply(last, live, &manifest);
    let file = new.metadata().origin.0.as_ref().map_or("", |origin| &origin.file);
    let loaded = load_tree(file, &tree, &new.metadata().namespace);
    let Some(mut merged) = loaded.objects.into_iter().next() else {
        let help = "others have changed the object since it was last applied, and this is what both come to";
        return Err(loaded.errors.into_iter().map(|error| with_remark(error, help)).collect());
    };
    merged.metadata_mut().written.applied = Some(manifest);
    Ok(merged)
}

/// A diagnostic with a remark that comes after what it says itself.
fn with_remark(mut error: Diagnostic, remark: &str) -> Diagnostic {
    error.message = format!("{}; {remark}", error.message);
    error
}

/// Whether the number of its pods can be changed.
pub(crate) fn is_scalable(object: &ObjectKey) -> bool {
    SCALABLE.contains(&object.kind)
}

/// `value` under these keys, one within the other.
fn within(keys: &[&str], value: Node) -> Node {
    keys.iter().rev().fold(value, |value, key| {
        let position = value.position;
        let entry = Entry { key: Key { text: (*key).to_owned(), position }, value };
        Node { value: Value::Mapping(vec![entry]), position }
    })
}

fn scalar(text: String, plain: bool, position: Position) -> Node {
    Node { value: Value::Scalar(Scalar { text, plain }), position }
}

/// A mapping of texts, of which `None` is `null`.
pub(crate) fn texts(entries: &[(&str, Option<&str>)]) -> Node {
    let entry = |(key, value): &(&str, Option<&str>)| Entry {
        key: Key { text: (*key).to_owned(), position: Position::START },
        value: scalar(value.unwrap_or("null").to_owned(), value.is_none(), Position::START),
    };
    Node { value: Value::Mapping(entries.iter().map(entry).collect()), position: Position::START }
}
