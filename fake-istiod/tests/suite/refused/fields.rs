//! The fields that the readers of objects know, found out by asking them: a mapping with a field that nobody knows is
//! answered with those that there are, and anything else with what is wanted instead.

use std::fmt;

use hermesh_istiod::objects::{self, Kind};
use hermesh_istiod::yaml::{self, Diagnostic, Location, Nulls, UnknownField, field_path};

/// A field that no type has, and a number for maps that have numbers for keys.
const NOBODY: &str = "1";

/// A field of an object of some kind.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// Where it stands. Entries of lists are number 0, and of maps [`NOBODY`].
    pub(super) path: Path,
    /// The type that has it, or that has the list or map that it is in.
    pub(super) owner: &'static str,
    /// Its name there.
    pub(super) name: &'static str,
    pub(super) shape: Shape,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Struct,
    Map,
    List,
    Boolean,
    /// One of some words.
    Choice,
    /// Text, a number, a duration, or the like.
    Other,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Field(String),
    Entry(String),
    Item,
}

impl Path {
    /// A path as diagnostics show it. Of maps nobody knows here, so that their entries are fields.
    pub(super) fn parse(text: &str) -> Self {
        let mut steps = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((_, after)) = rest.strip_prefix("[\"").and_then(|key| key.split_once("\"]")) {
                steps.push(Step::Field(rest[2..rest.len() - after.len() - 2].to_owned()));
                rest = after;
            } else if let Some((_, after)) = rest.strip_prefix('[').and_then(|index| index.split_once(']')) {
                steps.push(Step::Item);
                rest = after;
            } else {
                rest = rest.strip_prefix('.').unwrap_or(rest);
                let (name, _) = rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len()));
                steps.push(Step::Field(name.to_owned()));
                rest = &rest[name.len()..];
            }
        }
        Self(steps)
    }

    /// Whether `path` is this one, whatever the keys of maps.
    pub(super) fn covers(&self, path: &Self) -> bool {
        let same =
            |(own, other): (&Step, &Step)| matches!((own, other), (Step::Entry(_), Step::Field(_))) || own == other;
        self.0.len() == path.0.len() && self.0.iter().zip(&path.0).all(same)
    }

    /// The last name of this path, if it is of a field of what is at `owner`.
    pub(super) fn below(&self, owner: &Self) -> Option<&str> {
        match self.0.split_last() {
            Some((Step::Field(name), before)) if *before == *owner.0 => Some(name),
            _ => None,
        }
    }

    /// The path of a field of what is here.
    pub(super) fn field(&self, name: &str) -> String {
        field_path(&self.to_string(), name)
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// An object with `value` here, and the column at which that stands.
    pub(super) fn document(&self, kind: Kind, value: &str) -> (String, usize) {
        let (mut before, mut after) = (String::new(), String::new());
        for (index, step) in self.0.iter().enumerate() {
            let (opening, closing) = match step {
                Step::Field(name) if index == 0 && name == "metadata" && self.0.len() > 1 => {
                    before.push_str("metadata: ");
                    continue;
                }
                Step::Field(_) if index == 0 => (String::new(), ""),
                Step::Item => ("[".to_owned(), "]"),
                _ => ("{".to_owned(), "}"),
            };
            before.push_str(&opening);
            if let Step::Field(name) | Step::Entry(name) = step {
                before.push_str(&format!("{name}: "));
            }
            after.insert_str(0, closing);
        }
        let name = match self.0.first() {
            Some(Step::Field(first)) if first == "metadata" => "",
            _ => "metadata: {name: a}, ",
        };
        let head = format!("{{apiVersion: {}, kind: {kind}, {name}{before}", kind.api_versions()[0]);
        let column = head.chars().count() + 1;
        (format!("{head}{value}{after}}}"), column)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.0.iter().fold(String::new(), |path, step| match step {
            Step::Field(name) | Step::Entry(name) => field_path(&path, name),
            Step::Item => format!("{path}[0]"),
        });
        f.write_str(&path)
    }
}

/// All fields of a kind.
pub(super) fn of(kind: Kind) -> Vec<Field> {
    let mut fields = Vec::new();
    explore(kind, &Path::default(), ("", ""), &mut fields);
    fields
}

fn explore(kind: Kind, path: &Path, (owner, name): (&'static str, &'static str), fields: &mut Vec<Field>) {
    let (text, _) = path.document(kind, &format!("{{{NOBODY}: 5}}"));
    let text = if path.0.is_empty() { format!("{{{NOBODY}: 5}}") } else { text };
    let (mistakes, unknown) = read(kind, &text);
    let here = path.to_string();
    let below = path.field(NOBODY);
    let mut push = |shape| {
        if !path.0.is_empty() {
            fields.push(Field { path: path.clone(), owner, name, shape });
        }
    };
    if let Some(of_type) = unknown.iter().find(|field| field.location.field.as_deref() == Some(below.as_str())) {
        push(Shape::Struct);
        for name in of_type.known {
            explore(kind, &path.then(Step::Field((*name).to_owned())), (of_type.type_name, name), fields);
        }
        return;
    }
    match mistakes.iter().find(|mistake| mistake.location.field.as_deref().unwrap_or_default() == here) {
        Some(mistake) if mistake.message.starts_with("expected a list") => {
            push(Shape::List);
            explore(kind, &path.then(Step::Item), (owner, name), fields);
        }
        Some(mistake) if mistake.message.starts_with("expected `true` or `false`") => push(Shape::Boolean),
        Some(mistake) if mistake.code == "unknown-value" => push(Shape::Choice),
        Some(_) => push(Shape::Other),
        None => {
            push(Shape::Map);
            explore(kind, &path.then(Step::Entry(NOBODY.to_owned())), (owner, name), fields);
        }
    }
}

/// What the reader of a kind says of a text.
fn read(kind: Kind, text: &str) -> (Vec<Diagnostic>, Vec<UnknownField>) {
    let documents = yaml::parse("f", text).expect("it is YAML");
    macro_rules! read_as {
        ($($kind:ident)*) => {
            match kind {
                $(Kind::$kind => {
                    let at = Location::in_file("f");
                    let reading = yaml::read::<objects::$kind>(&documents[0].root, &at, Nulls::AreUnset);
                    (reading.mistakes, reading.unknown_fields)
                })*
            }
        };
    }
    read_as! {
        Namespace Node ServiceAccount ConfigMap Service EndpointSlice Pod Deployment StatefulSet Job ServiceEntry
        WorkloadEntry WorkloadGroup ProxyConfig DestinationRule VirtualService PeerAuthentication AuthorizationPolicy
    }
}
