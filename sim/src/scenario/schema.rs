//! The JSON Schema of scenario files, made from the types that hold them.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::config::{ConfigExpect, OUTPUTS, STATUSES};
use super::figures::{FIGURES, OF_OUTCOMES};
use super::file::{
    API_VERSION, BUILT_IN_IMAGES, CALLS_MAX, DEEDS, Expect, File, Get, Heal, ISTIO_VERSIONS, LATENCY_MAX, Moment,
    RATE_MAX, TIMEOUT_MAX, VERBS, WAIT_MAX, Wait,
};
use super::reader::gettable;
use super::rejection::{REJECTABLE, Rejection};
use super::target::pattern;
use super::traffic::{LOAD_RATE_MAX, LoadExpect};
use super::trouble::{LASTING, Mended, SERVICES, WRITES_MAX};
use super::units::{Time, up_to};
use super::words::{CAUSES, CODES};
use super::xds::{RESPONSES_MAX, XDS_TYPES};
use super::{header, url};
use crate::image::{FAILURES_MAX, PULL_MAX};
use crate::mesh::SLOW_MAX;

/// The JSON Schema of scenario files, as it is checked in at `examples/scenario.schema.json`.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(File);
    schema.insert("$id".to_owned(), "https://hermesh.dev/scenario-v1alpha1.schema.json".into());
    let mut schema = schema.to_value();
    forbid_null(&mut schema);
    schema
}

/// A field that may be left out may not be empty: the schema of an `Option` says otherwise.
fn forbid_null(schema: &mut serde_json::Value) {
    match schema {
        serde_json::Value::Object(fields) => {
            if let Some(serde_json::Value::Array(types)) = fields.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    fields.insert("type".to_owned(), only);
                }
            }
            if let Some(serde_json::Value::Array(words)) = fields.get_mut("enum") {
                words.retain(|word| !word.is_null());
            }
            if let Some(serde_json::Value::Array(choices)) = fields.get_mut("anyOf") {
                choices.retain(|choice| choice != &serde_json::json!({"type": "null"}));
            }
            fields.values_mut().for_each(forbid_null);
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(forbid_null),
        _ => {}
    }
}

/// Says in the schema what the types alone do not: a step has one verb, and only a call has expectations.
pub(super) fn exactly_one_verb(schema: &mut Schema) {
    let one_of: Vec<_> = VERBS.iter().map(|verb| serde_json::json!({"required": [verb]})).collect();
    schema.insert("oneOf".to_owned(), one_of.into());
    let expect = |schema: &str| serde_json::json!({"properties": {"expect": {"$ref": format!("#/$defs/{schema}")}}});
    let of_load = serde_json::json!({"anyOf": [
        {"$ref": "#/$defs/LoadExpect"},
        {"type": "array", "items": {"$ref": "#/$defs/LoadExpect"}, "minItems": 1},
    ]});
    let of_config = serde_json::json!({"anyOf": [
        {"$ref": "#/$defs/ConfigExpect"},
        {"type": "array", "items": {"$ref": "#/$defs/ConfigExpect"}, "minItems": 1},
    ]});
    let shown = serde_json::json!({"anyOf": [
        {"not": {"required": ["expect"]}},
        {"properties": {"get": {"type": "object", "required": ["config"]}, "expect": of_config}},
    ]});
    let may_expect: Vec<_> =
        ["call", "stop", "get"].iter().chain(&REJECTABLE).map(|verb| serde_json::json!({"required": [verb]})).collect();
    let mut dependent = serde_json::json!({
        "call": expect("Expect"),
        "stop": {"properties": {"expect": of_load}},
        "get": shown,
        "expect": {"anyOf": may_expect},
    });
    for verb in REJECTABLE {
        dependent[verb] = expect("Rejection");
    }
    dependent["for"] = goes_with_faults();
    schema.insert("dependentSchemas".to_owned(), dependent);
}

/// What `for` goes with.
fn goes_with_faults() -> serde_json::Value {
    let faults: Vec<_> = LASTING.iter().map(|verb| serde_json::json!({"required": [verb]})).collect();
    serde_json::json!({"anyOf": faults})
}

/// Says that a step expects its calls to succeed or to fail.
pub(super) fn success_or_failure(schema: &mut Schema) {
    let required = |field: &&str| serde_json::json!({"required": [field]});
    let success: Vec<_> = ["ok", "to", "share"].iter().chain(&OF_OUTCOMES).map(required).collect();
    let any = ["ok", "to", "share", "error", "cause"].iter().chain(&FIGURES).map(required);
    schema.insert("anyOf".to_owned(), any.collect::<Vec<_>>().into());
    schema.insert("dependentSchemas".to_owned(), exclusions(&success));
}

/// Which fields of an expectation say what others say, or the contrary; `success` are those about calls that succeed.
fn exclusions(success: &[serde_json::Value]) -> serde_json::Value {
    let only = serde_json::json!({"not": {"anyOf": success}});
    let without = |fields: &[&str]| {
        let fields: Vec<_> = fields.iter().map(|field| serde_json::json!({"required": [field]})).collect();
        serde_json::json!({"not": {"anyOf": fields}})
    };
    serde_json::json!({
        "error": only,
        "cause": only,
        "codes": without(&["ok", "errors"]),
        "causes": without(&["ok"]),
        "callers": without(&["caller"]),
    })
}

impl JsonSchema for Moment {
    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let pattern = Time::pattern(WAIT_MAX);
        let at = serde_json::json!({
            "description": "When, since the beginning of the step: a time, or a range from which the seed draws one.",
            "type": "string",
            "pattern": format!("^{pattern}(\\.\\.{pattern})?$"),
        });
        let verb =
            |verb: &&str| ((*verb).to_owned(), serde_json::json!({"$ref": format!("#/$defs/Step/properties/{verb}")}));
        let mut properties: serde_json::Map<_, _> = DEEDS.iter().chain(&["for"]).map(verb).collect();
        properties.insert("at".to_owned(), at);
        let one_of: Vec<_> = DEEDS.iter().map(|verb| serde_json::json!({"required": [verb]})).collect();
        json_schema!({
            "description": "One of the things that are done together.",
            "type": "object",
            "properties": properties,
            "required": ["at"],
            "oneOf": one_of,
            "dependentSchemas": {"for": goes_with_faults()},
            "additionalProperties": false,
        })
    }
}

/// Says that an expectation of a load expects something, with one window at most, and that calls succeed or fail.
pub(super) fn load_expectation(schema: &mut Schema) {
    let required = |field: &&str| serde_json::json!({"required": [field]});
    let any: Vec<_> = ["errors", "to", "share", "error", "cause"].iter().chain(&FIGURES).map(required).collect();
    let success: Vec<_> = ["errors", "to", "share"].iter().chain(&OF_OUTCOMES).map(required).collect();
    let windows = [["since", "throughout"], ["since", "eventually"], ["throughout", "eventually"]];
    let mut all_of = vec![serde_json::json!({"anyOf": any})];
    all_of.extend(windows.map(|both| serde_json::json!({"not": {"required": both}})));
    schema.insert("allOf".to_owned(), all_of.into());
    schema.insert("dependentRequired".to_owned(), serde_json::json!({"within": ["eventually"]}));
    schema.insert("dependentSchemas".to_owned(), exclusions(&success));
}

/// What a step expects, of a call or of a load.
pub(super) struct AnyExpect;

impl JsonSchema for AnyExpect {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "AnyExpect".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let of_call = generator.subschema_for::<Expect>();
        let of_load = generator.subschema_for::<OneOrMany<LoadExpect>>();
        let of_config = generator.subschema_for::<OneOrMany<ConfigExpect>>();
        let rejection = generator.subschema_for::<Rejection>();
        json_schema!({"anyOf": [of_call, of_load, of_config, rejection]})
    }
}

/// A type that exists for the schema.
macro_rules! schema_type {
    ($name:ident => $schema:expr) => {
        pub(super) struct $name;

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}
pub(super) use schema_type;

/// Closed words and texts that are not empty.
macro_rules! schema_types {
    ($($name:ident => $schema:tt)*) => {$(
        schema_type!($name => json_schema!($schema));
    )*};
}

schema_types! {
    ApiVersion => {"const": API_VERSION}
    Kind => {"const": "Scenario"}
    IstioVersion => {"enum": ISTIO_VERSIONS}
    BuiltInImage => {"enum": BUILT_IN_IMAGES}
    AllWord => {"const": "all"}
    Code => {"enum": CODES}
    CauseWord => {"enum": CAUSES}
    Text => {"type": "string", "pattern": "\\S"}
    Namespace => {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
    Seed => {"type": "integer", "minimum": 0, "maximum": u64::MAX}
    Workload => {"type": "string", "pattern": pattern::WORKLOAD}
    Pod => {"type": "string", "pattern": pattern::POD}
    Container => {"type": "string", "pattern": pattern::CONTAINER}
    AnyTarget => {"type": "string", "pattern": pattern::ANY}
    CallUrl => {"type": "string", "pattern": url::pattern()}
    Headers => {
        "type": "object",
        "propertyNames": {"pattern": header::NAME_PATTERN},
        "additionalProperties": {"type": ["string", "number", "boolean"], "pattern": header::VALUE_PATTERN},
    }
    ScalarText => {"type": ["string", "number", "boolean"], "pattern": "\\S"}
    CallCount => {"type": "integer", "minimum": 1, "maximum": CALLS_MAX}
    CallRate => {"type": "integer", "minimum": 1, "maximum": RATE_MAX}
    LoadName => {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"}
    LoadRate => {"type": "integer", "minimum": 1, "maximum": LOAD_RATE_MAX}
    LoadUrl => {"type": "string", "pattern": url::xds_pattern()}
    ErrorCount => {"anyOf": [
        {"type": "integer", "minimum": 0, "maximum": u64::MAX},
        {"type": "string", "pattern": format!(r"^(none|0*{0}(\.\.0*{0})?)$", up_to(u64::MAX))},
    ]}
    CallTime => {"type": "string", "pattern": format!("^(?=.*[1-9]){}$", Time::pattern(TIMEOUT_MAX))}
    WaitTime => {"type": "string", "pattern": format!("^{}$", Time::pattern(WAIT_MAX))}
    LastingTime => {"type": "string", "pattern": format!("^(?=.*[1-9]){}$", Time::pattern(WAIT_MAX))}
    IstiodService => {"enum": SERVICES}
    TearCount => {"type": "integer", "minimum": 1, "maximum": WRITES_MAX}
    Latency => {"type": "string", "pattern": format!("^{0}(\\.\\.{0})?$", Time::pattern(LATENCY_MAX))}
    LinkLatency => {"type": "string", "pattern": format!("^(?=.*[1-9]){0}(\\.\\.{0})?$", Time::pattern(Time(SLOW_MAX)))}
    PullTime => {"type": "string", "pattern": format!("^{0}(\\.\\.{0})?$", Time::pattern(Time(PULL_MAX)))}
    PullFailures => {"type": "integer", "minimum": 1, "maximum": FAILURES_MAX}
    LinkLoss => {"type": "string", "pattern": r"^(?=.*[1-9])0*[0-9]{1,2}(\.[0-9]{1,3})?%$"}
    Spiffe => {"type": "string", "pattern": "^spiffe://[-._a-z0-9]+(/[-._A-Za-z0-9]+)+$"}
    XdsType => {"enum": XDS_TYPES}
    ConfigStatus => {"enum": STATUSES}
    DropCount => {"type": "integer", "minimum": 1, "maximum": RESPONSES_MAX}
    ReorderCount => {"type": "integer", "minimum": 2, "maximum": RESPONSES_MAX}
    DelayTime => {"type": "string", "pattern": format!("^(?=.*[1-9]){0}(\\.\\.{0})?$", Time::pattern(WAIT_MAX))}
    MachineName => {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"}
    MachineAddress => {
        "type": "string",
        "pattern": r"^((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(?!$)|$)){4}$",
    }
    Pair => {
        "type": "array",
        "items": {"type": "string", "pattern": pattern::POD},
        "minItems": 2,
        "maxItems": 2,
        "uniqueItems": true,
    }
}

/// One value, or a list of them.
pub(super) struct OneOrMany<T>(std::marker::PhantomData<T>);

/// One value, or a list of them in which none stands twice.
pub(super) struct OneOrMore<T>(std::marker::PhantomData<T>);

/// Values by workload, of which there is one at least.
pub(super) struct PerWorkload<T>(std::marker::PhantomData<T>);

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMore_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1, "uniqueItems": true}]})
    }
}

impl<T: JsonSchema> JsonSchema for PerWorkload<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("PerWorkload_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "propertyNames": {"pattern": pattern::WORKLOAD},
            "additionalProperties": generator.subschema_for::<T>(),
            "minProperties": 1,
        })
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]})
    }
}

impl JsonSchema for Wait {
    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let time = generator.subschema_for::<WaitTime>();
        let workloads = generator.subschema_for::<OneOrMore<Workload>>();
        let types = generator.subschema_for::<OneOrMore<XdsType>>();
        let to = generator.subschema_for::<Pod>();
        json_schema!({
            "description": "A length of simulated time, or what to wait for; after `within` (60s) the wait fails.",
            "anyOf": [
                time,
                {
                    "type": "object",
                    "properties": {
                        "ready": {"description": "Workloads, or `all`, whose pods must be ready.", "anyOf": [{"const": "all"}, workloads]},
                        "within": time,
                    },
                    "required": ["ready"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "converged": {"description": "Everything applied is in use everywhere.", "const": "all"},
                        "within": time,
                    },
                    "required": ["converged"],
                    "additionalProperties": false,
                },
                {
                    "type": "object",
                    "properties": {
                        "nacked": {
                            "description": "A client rejects one of these responses.",
                            "type": "object",
                            "properties": {"type": types, "to": to},
                            "additionalProperties": false,
                        },
                        "within": time,
                    },
                    "required": ["nacked"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl JsonSchema for Get {
    fn schema_name() -> Cow<'static, str> {
        "Get".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let target = generator.subschema_for::<Pod>();
        json_schema!({
            "description": "`pods` and so on, as `kubectl get` shows them, or what xDS clients have.",
            "anyOf": [
                {"enum": gettable()},
                {
                    "type": "object",
                    "properties": {
                        "config": {"description": "A workload or pod: what its xDS clients asked for, accepted and rejected.", "allOf": [target]},
                        "output": {"description": "`json`: all of it, with the resources in use in protobuf's JSON mapping; a table if left out.", "enum": OUTPUTS},
                    },
                    "required": ["config"],
                    "additionalProperties": false,
                },
            ],
        })
    }
}

impl JsonSchema for Heal {
    fn schema_name() -> Cow<'static, str> {
        "Heal".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pair = generator.subschema_for::<Pair>();
        json_schema!({"anyOf": [{"const": "all"}, pair, generator.subschema_for::<Mended>()]})
    }
}
