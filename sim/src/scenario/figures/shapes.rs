//! The shapes of figures, for the schema.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::Value;

use super::super::file::TIMEOUT_MAX;
use super::super::schema::schema_type;
use super::super::units::{Time, up_to};
use super::super::words::{ALL_CODES, CAUSES};
use super::NOBODY;

const QUANTILE: &str = r"^(max|p(?=[0.]*[1-9])0*[0-9]{1,2}(\.[0-9]{1,3})?)$";

macro_rules! shapes {
    ($($name:ident => $schema:expr)*) => {$(
        schema_type!($name => $schema.try_into().expect("it is an object"));
    )*};
}

shapes! {
    LatencyShape => latency()
    AttemptsShape => serde_json::json!({"anyOf": [count(), tally(serde_json::json!({"pattern": attempts()}))]})
    CodesShape => tally(serde_json::json!({"enum": ALL_CODES}))
    CausesShape => tally(serde_json::json!({"enum": CAUSES}))
    VersionsShape => tally(serde_json::json!({"pattern": r"\S"}))
    CallersShape => tally(serde_json::json!({"pattern": format!("^({NOBODY}|spiffe://[-._a-z0-9]+(/[-._A-Za-z0-9]+)+)$")}))
    CountShape => count()
}

fn latency() -> Value {
    let time = Time::pattern(TIMEOUT_MAX);
    serde_json::json!({
        "type": "object",
        "propertyNames": {"pattern": QUANTILE},
        "additionalProperties": {"type": "string", "pattern": format!(r"^(<(?=.*[1-9]){time}|>{time}|{time}\.\.{time})$")},
        "minProperties": 1,
    })
}

/// `3` or `1..3`
fn count() -> Value {
    let number = up_to(u64::MAX);
    serde_json::json!({"anyOf": [
        {"type": "integer", "minimum": 0, "maximum": u64::MAX},
        {"type": "string", "pattern": format!(r"^0*{number}(\.\.0*{number})?$")},
    ]})
}

fn attempts() -> String {
    format!("^(0|(?!0){})$", up_to(u64::from(u32::MAX)))
}

/// `3`, `2..3`, `all`, `20%` or `0%..1%` by key.
fn tally(keys: Value) -> Value {
    let (number, share) = (up_to(u64::MAX), r"0*(100(\.0{1,3})?|[0-9]{1,2}(\.[0-9]{1,3})?)%");
    serde_json::json!({
        "type": "object",
        "propertyNames": keys,
        "additionalProperties": {"anyOf": [
            {"type": "integer", "minimum": 0, "maximum": u64::MAX},
            {"type": "string", "pattern": format!(r"^(all|0*{number}(\.\.0*{number})?|{share}(\.\.{share})?)$")},
        ]},
        "minProperties": 1,
    })
}
