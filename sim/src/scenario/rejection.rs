//! `expect: rejected`: what the API server or istiod's webhook is expected to refuse.

use std::borrow::Cow;

use hermesh_istiod::yaml::Diagnostic;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::expect::Check;
use super::file::Expected;
use super::read::{At, Cursor, Place};

/// The steps whose doing may be expected to be rejected.
pub(super) const REJECTABLE: [&str; 4] = ["apply", "scale", "label", "patch"];

/// What Hermesh refuses and a cluster would not: nobody can expect that.
const LIMITS: [&str; 9] = [
    "not-supported",
    "image-not-found",
    "pods-refused",
    "name-taken",
    "too-many-pods",
    "too-many-services",
    "beyond-bounds",
    "leading-zero",
    "not-written",
];

/// That something is rejected.
#[derive(Clone, Debug)]
pub(super) struct Rejection {
    /// What one of the reasons says, if it is to say something in particular.
    pub text: Option<At<String>>,
    /// Where it begins.
    pub place: Place,
}

impl Rejection {
    /// Judges the reasons that were given.
    pub(super) fn judge(&self, reasons: &[Diagnostic]) -> Check {
        // Not where it stands: a file's name or a field's path says nothing about the reason.
        let says = |reason: &Diagnostic, text: &str| reason.message.contains(text);
        let fits = |text: &At<String>| reasons.iter().any(|reason| says(reason, &text.value));
        let seen = reasons.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        self.check(seen, self.text.as_ref().is_none_or(fits))
    }

    /// Judges that nothing was said against it.
    pub(super) fn accepted(&self, what: &str) -> Check {
        self.check(format!("accepted: {what}"), false)
    }

    fn check(&self, seen: String, held: bool) -> Check {
        let expected = match &self.text {
            Some(text) => format!("rejected, and a reason says {:?}", text.value),
            None => "rejected".to_owned(),
        };
        Check { check: "rejected", of: None, expected, seen, held }
    }
}

/// Whether a cluster would not refuse it for this reason: it is beyond what Hermesh plays, or no YAML at all.
pub(super) fn is_limit(reason: &Diagnostic) -> bool {
    LIMITS.contains(&reason.code) || reason.code.starts_with("yaml")
}

pub(super) fn rejection(cursor: &Cursor<'_>) -> Expected {
    const EXPECTED: &str = "`rejected`, or `{rejected: ...}` with what a reason says";
    let place = cursor.place();
    if cursor.node.entries().is_none() {
        let word = cursor.word("expectation", &["rejected"]);
        return word.map_or(Expected::Nothing, |_| Expected::Rejected(Rejection { text: None, place }));
    }
    let Some(mut fields) = cursor.fields(EXPECTED) else { return Expected::Nothing };
    // Whatever stands in its place is told by `finish`.
    let is_empty = cursor.node.entries().is_some_and(|entries| entries.is_empty());
    let field = if is_empty { fields.required("rejected") } else { fields.optional("rejected") };
    let text = field.and_then(|field| field.text("what a reason says"));
    fields.finish(&[]);
    text.map_or(Expected::Nothing, |text| Expected::Rejected(Rejection { text: Some(text), place }))
}

impl JsonSchema for Rejection {
    fn schema_name() -> Cow<'static, str> {
        "Rejection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The API server or istiod's webhook rejects it, perhaps with a reason that says so.",
            "anyOf": [
                {"const": "rejected"},
                {
                    "type": "object",
                    "properties": {"rejected": {"type": "string", "pattern": "\\S"}},
                    "required": ["rejected"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}
