//! A table of mistakes, field by field: what the API server or istiod's webhook refuses, where it stands and what would
//! be right.
//!
//! Each file in `refused/` is a stream of documents for one topic, read as a whole. Under a line with a mistake stands
//! a comment with a `^` below the mistake's first character, then the field and what is said of it; `#<` stands for the
//! line's first character. Nothing else may be refused. `accepted/` has what comes close and is right.

mod fields;

use std::collections::{BTreeMap, BTreeSet};

use hermesh_istiod::objects::{Kind, load};
use hermesh_istiod::yaml::{Diagnostic, Severity};

use fields::{Field, Path, Shape};

macro_rules! tables {
    ($folder:literal: $($name:literal)*) => {
        &[$(($name, include_str!(concat!($folder, "/", $name, ".yaml")))),*]
    };
}

const REFUSED: &[(&str, &str)] = tables!("refused":
    "metadata" "core" "service" "endpoint-slice" "pod" "probes" "volumes" "workloads" "service-entry" "destination-rule"
    "virtual-service" "matches" "policies" "unplayed"
);

const ACCEPTED: &[(&str, &str)] = tables!("accepted": "kubernetes" "istio");

/// Fields that take any value of their type, with the reason. Booleans and choices are no matter here: no other value
/// than those that are listed is taken of them.
const ANY_VALUE: &[(&str, &str, &str)] = &[
    ("ConsistentHash", "httpQueryParameterName", "gRPC clients do not look at it"),
    ("Container", "args", "text for the program"),
    ("Container", "command", "text for the program"),
    ("EmptyDirVolume", "medium", "text for the kubelet"),
    ("Endpoint", "zone", "text"),
    ("EnvVar", "value", "text for the program"),
    ("GrpcAction", "service", "text for the server"),
    ("GrpcHealthCheck", "service", "text for the server"),
    ("HealthCheckHeader", "value", "text for the server"),
    ("HttpCookie", "path", "text"),
    ("HttpGetAction", "host", "text for the resolver"),
    ("HttpGetAction", "path", "the kubelet makes a path of any text"),
    ("HttpHeader", "value", "text for the server"),
    ("HttpHealthCheck", "host", "text for the resolver"),
    ("HttpHealthCheck", "path", "the agent makes a path of any text"),
    ("HttpMatch", "name", "for people"),
    ("HttpRedirect", "authority", "text"),
    ("HttpRedirect", "uri", "text"),
    ("HttpRoute", "name", "for people"),
    ("PolicyTargetReference", "group", "it is refused of the kind that it does not have"),
    ("ProxyConfigSpec", "environmentVariables", "text for the agent"),
    ("ProxyImage", "imageType", "the pod of an image that is not there does not start"),
    ("ServiceAccountTokenProjection", "audience", "text for the issuer"),
    ("ServiceEntrySpec", "subjectAltNames", "a name that no certificate has fits none"),
    ("StringMatch", "exact", "text"),
    ("TargetReference", "kind", "for people"),
    ("TargetReference", "name", "for people"),
    ("TargetReference", "namespace", "for people"),
    ("TargetReference", "uid", "for people"),
    ("TcpHealthCheck", "host", "text for the resolver"),
    ("TcpSocketAction", "host", "text for the resolver"),
    ("WorkloadEntrySpec", "locality", "text: nobody has another locality"),
    ("WorkloadEntrySpec", "network", "text"),
    ("WorkloadEntrySpec", "serviceAccount", "who has another one fails the handshake"),
    ("WorkloadGroupMetadata", "annotations", "the API server looks at them in WorkloadEntries"),
];

/// Line, column, field and message.
type Found = (usize, usize, String);

fn found(error: &Diagnostic) -> Found {
    let text = error.to_string();
    let text = text.splitn(4, ':').nth(3).unwrap_or_default().trim_start();
    (error.location.line as usize, error.location.column as usize, text.to_owned())
}

/// What the comments of `text` say, and each of them belongs to the last line before it that is no such comment.
fn expected(text: &str) -> Vec<Found> {
    let mut line = 0;
    let mut expected = Vec::new();
    for (index, content) in text.lines().enumerate() {
        let mark = content.strip_prefix('#').map(str::trim_start).filter(|rest| rest.starts_with(['^', '<']));
        match mark {
            Some(rest) => {
                let column = if rest.starts_with('<') { 1 } else { content.len() - rest.len() + 1 };
                expected.push((line, column, rest[1..].trim().to_owned()));
            }
            None => line = index + 1,
        }
    }
    expected.sort();
    expected
}

#[test]
fn each_mistake_is_refused_where_it_stands_and_nothing_else_is() {
    let mut wrong = Vec::new();
    for (name, text) in REFUSED {
        let mut found: Vec<Found> = load("f", text, "default").errors.iter().map(found).collect();
        found.sort();
        let expected = expected(text);
        let lacks = |list: &[Found], other: &[Found], what: &str| {
            let lacking = list.iter().filter(|it| !other.contains(it));
            lacking
                .map(|(line, column, text)| format!("{name}.yaml:{line}:{column}: {what}: {text}"))
                .collect::<Vec<_>>()
        };
        wrong.extend(lacks(&expected, &found, "should be refused"));
        wrong.extend(lacks(&found, &expected, "is refused"));
        if wrong.is_empty() && found != expected {
            wrong.push(format!("{name}.yaml: a mistake is told of twice"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_comes_close_is_accepted() {
    for (name, text) in ACCEPTED {
        let loaded = load(&format!("{name}.yaml"), text, "default");
        assert_eq!(loaded.errors, [], "{name}");
        assert_eq!(loaded.objects.len(), text.split("\n---\n").count(), "{name}: each document is an object");
    }
}

/// How often all tables stand in one text.
const TIMES: usize = 40;

#[test]
fn thousands_of_documents_with_many_mistakes_each_are_told_of_in_one_pass() {
    let (mut text, mut all, mut lines) = (String::new(), Vec::new(), 0);
    for (_, table) in (0..TIMES).flat_map(|_| REFUSED) {
        all.extend(expected(table).into_iter().map(|(line, column, said)| (line + lines, column, said)));
        text.push_str(table);
        text.push_str("---\n");
        lines += table.lines().count() + 1;
    }
    let loaded = load("f", &text, "default");
    assert!(text.split("\n---\n").count() > 3_000 && all.len() > 20_000, "{}", all.len());
    assert!(loaded.errors.is_sorted_by_key(|error| error.location.position()), "in the order of the text");
    let mut found: Vec<Found> = loaded.errors.iter().map(found).collect();
    found.sort();
    assert!(found == all, "{} mistakes are told of, and there are {}", found.len(), all.len());
    assert_eq!(loaded.objects.len(), 0);
}

/// A value of no field's type stands where the field does, and is refused there once.
#[test]
fn every_field_refuses_what_is_of_another_type() {
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        for Field { path, shape, .. } in fields::of(kind) {
            let values: &[&str] = match shape {
                Shape::Boolean => &["[]", "{}", "5", "yes"],
                Shape::Choice => &["[]", "{}", "5", "true", "nobody-s"],
                Shape::Other => &["[]", "{a: b}", "true"],
                Shape::List => &["{a: b}", "true", "a"],
                Shape::Map | Shape::Struct => &["[]", "true", "a"],
            };
            for value in values {
                let (text, column) = path.document(kind, value);
                let errors = load("f", &text, "default").errors;
                let at: Vec<&Diagnostic> =
                    errors.iter().filter(|it| it.location.field == Some(path.to_string())).collect();
                if !matches!(at[..], [one] if one.location.column as usize == column && one.severity == Severity::Error)
                {
                    wrong.push(format!("{text}: {column}: {at:?}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_mapping_refuses_fields_that_it_does_not_have_and_names_the_nearest() {
    let mut mappings = 0;
    for kind in Kind::ALL {
        let all = fields::of(kind);
        for Field { path, .. } in all.iter().filter(|field| field.shape == Shape::Struct) {
            let Some(known) = all.iter().filter_map(|field| field.path.below(path)).max_by_key(|name| name.len())
            else {
                continue;
            };
            mappings += 1;
            let misspelt = format!("{}{known}", &known[..1]);
            let (text, column) = path.document(kind, &format!("{{{misspelt}: 5}}"));
            let errors = load("f", &text, "default").errors;
            let field = Some(path.field(&misspelt));
            let said: Vec<String> =
                errors.iter().filter(|it| it.location.field == field).map(|it| found(it).2).collect();
            let right = format!("{}: unknown field; did you mean `{known}`?", path.field(&misspelt));
            assert_eq!(said, [right], "{text}");
            let at = errors.iter().find(|it| it.location.field == field).expect("it was just there");
            assert_eq!(at.location.column as usize, column + 1, "{text}");
        }
    }
    assert!(mappings > 100, "{mappings}");
}

/// A field that a reader learns needs a row here, or a reason why it needs none.
#[test]
fn every_field_has_a_mistake_in_the_table_or_takes_any_value() {
    let fields: BTreeMap<Kind, Vec<Field>> = Kind::ALL.into_iter().map(|kind| (kind, fields::of(kind))).collect();
    let mut covered = BTreeSet::new();
    for error in REFUSED.iter().flat_map(|(_, text)| load("f", text, "default").errors) {
        // What is of another type is refused of all fields: see above.
        if error.code == "wrong-type" {
            continue;
        }
        let object = error.location.object.as_deref().unwrap_or_default();
        let Some(kind) = Kind::ALL.into_iter().find(|kind| object.split(' ').next() == Some(kind.name())) else {
            continue;
        };
        let path = Path::parse(error.location.field.as_deref().unwrap_or_default());
        let of_path = fields[&kind].iter().filter(|field| field.path.covers(&path));
        covered.extend(of_path.map(|field| (field.owner, field.name)));
    }
    let all = fields.values().flatten().filter(|field| field.shape == Shape::Other);
    let all: BTreeSet<_> = all.map(|field| (field.owner, field.name)).collect();
    let free: BTreeSet<_> = ANY_VALUE.iter().map(|(owner, name, _)| (*owner, *name)).collect();
    let lacking: Vec<_> = all.iter().filter(|field| !covered.contains(*field) && !free.contains(*field)).collect();
    assert!(lacking.is_empty(), "without a mistake in refused/*.yaml, and not among ANY_VALUE: {lacking:#?}");
    let stale: Vec<_> = free.iter().filter(|field| covered.contains(*field) || !all.contains(*field)).collect();
    assert!(stale.is_empty(), "among ANY_VALUE, and refused all the same or no field at all: {stale:#?}");
}
