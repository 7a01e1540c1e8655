//! The types of a ProxyConfig's fields, as protobuf's JSON has them.
//!
//! Source: istio `api/mesh/v1alpha1/proxy.proto`, read by `pkg/util/protomarshal` (`ApplyYAML`): a value of another
//! type is refused, an unknown field is not, names may be in snake case, and null is as if the field were not there.

use serde_json::{Map, Value, json};

#[derive(Clone, Copy, Debug)]
enum Type {
    Bool,
    Text,
    Integer,
    Duration,
    /// Texts by name.
    Texts,
    /// A list of texts.
    List,
    Message,
    /// One of these words.
    Word(&'static [&'static str]),
}

const FIELDS: [(&str, Type); 31] = [
    ("configPath", Type::Text),
    ("binaryPath", Type::Text),
    ("serviceCluster", Type::Text),
    (
        "tracingServiceName",
        Type::Word(&["APP_LABEL_AND_NAMESPACE", "CANONICAL_NAME_ONLY", "CANONICAL_NAME_AND_NAMESPACE"]),
    ),
    ("drainDuration", Type::Duration),
    ("terminationDrainDuration", Type::Duration),
    ("discoveryAddress", Type::Text),
    ("statsdUdpAddress", Type::Text),
    ("proxyAdminPort", Type::Integer),
    ("controlPlaneAuthPolicy", Type::Word(&["NONE", "MUTUAL_TLS"])),
    ("customConfigFile", Type::Text),
    ("statNameLength", Type::Integer),
    ("concurrency", Type::Integer),
    ("proxyBootstrapTemplatePath", Type::Text),
    ("interceptionMode", Type::Word(&["REDIRECT", "TPROXY", "NONE"])),
    ("statusPort", Type::Integer),
    ("meshId", Type::Text),
    ("proxyMetadata", Type::Texts),
    ("runtimeValues", Type::Texts),
    ("extraStatTags", Type::List),
    ("caCertificatesPem", Type::List),
    ("holdApplicationUntilProxyStarts", Type::Bool),
    ("tracing", Type::Message),
    ("sds", Type::Message),
    ("envoyAccessLogService", Type::Message),
    ("envoyMetricsService", Type::Message),
    ("gatewayTopology", Type::Message),
    ("proxyStatsMatcher", Type::Message),
    ("readinessProbe", Type::Message),
    ("image", Type::Message),
    ("privateKeyProvider", Type::Message),
];

/// The fields by their names in camel case, with numbers that were written as text as such.
///
/// # Errors
/// The first value that is none of its field's type.
pub(super) fn typed(config: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    for (written, value) in config {
        let name = camel_case(&written);
        let Some((_, kind)) = FIELDS.iter().find(|(known, _)| *known == name) else {
            fields.insert(written, value);
            continue;
        };
        if !value.is_null() {
            let value =
                kind.read(&value).map_err(|expected| format!("{written}: expected {expected}, found `{value}`"))?;
            fields.insert(name, value);
        }
    }
    Ok(fields)
}

impl Type {
    /// The value, or what was expected instead.
    fn read(self, value: &Value) -> Result<Value, String> {
        let texts = "a mapping of texts; in quotation marks numbers and `true` are such";
        let (fits, expected) = match self {
            Self::Bool => (value.is_boolean(), "true or false without quotation marks"),
            Self::Text => (value.is_string(), "a text"),
            Self::Integer => {
                return integer(value).map(|number| json!(number)).ok_or_else(|| "a whole number".to_owned());
            }
            Self::Duration => (value.as_str().is_some_and(is_duration), "seconds such as \"5s\""),
            Self::Texts => (value.as_object().is_some_and(|map| map.values().all(Value::is_string)), texts),
            Self::List => (value.as_array().is_some_and(|list| list.iter().all(Value::is_string)), "a list of texts"),
            Self::Message => (value.is_object(), "a mapping"),
            Self::Word(words) => {
                let fits = value.as_str().is_some_and(|word| words.contains(&word)) || integer(value).is_some();
                return if fits { Ok(value.clone()) } else { Err(words.join(" or ")) };
            }
        };
        if fits { Ok(value.clone()) } else { Err(expected.to_owned()) }
    }
}

/// A number of 32 bits; as text it is one too.
fn integer(value: &Value) -> Option<i32> {
    match value {
        Value::Number(number) => number.as_i64()?.try_into().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Seconds, with up to nine digits after the point.
fn is_duration(text: &str) -> bool {
    let Some(number) = text.strip_suffix('s') else { return false };
    let number = number.strip_prefix('-').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction) && fraction.len() <= 9
}

fn camel_case(name: &str) -> String {
    let mut camel = String::new();
    let mut raise = false;
    for letter in name.chars() {
        match letter {
            '_' => raise = true,
            letter if raise => {
                camel.push(letter.to_ascii_uppercase());
                raise = false;
            }
            letter => camel.push(letter),
        }
    }
    camel
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: Value) -> Result<Value, String> {
        let Value::Object(config) = config else { panic!("{config}") };
        typed(config).map(Value::Object)
    }

    #[test]
    fn a_value_of_another_type_is_refused() {
        let table = [
            (
                json!({"holdApplicationUntilProxyStarts": "true"}),
                "holdApplicationUntilProxyStarts: expected true or false without quotation marks, found `\"true\"`",
            ),
            (json!({"concurrency": "two"}), "concurrency: expected a whole number, found `\"two\"`"),
            (json!({"concurrency": 2.5}), "concurrency: expected a whole number, found `2.5`"),
            (
                json!({"proxyMetadata": {"A": 5}}),
                "proxyMetadata: expected a mapping of texts; in quotation marks numbers and `true` are such, found \
                 `{\"A\":5}`",
            ),
            (
                json!({"terminationDrainDuration": 5}),
                "terminationDrainDuration: expected seconds such as \"5s\", found `5`",
            ),
            (json!({"drainDuration": "1m"}), "drainDuration: expected seconds such as \"5s\", found `\"1m\"`"),
            (json!({"caCertificatesPem": "pem"}), "caCertificatesPem: expected a list of texts, found `\"pem\"`"),
            (json!({"image": "distroless"}), "image: expected a mapping, found `\"distroless\"`"),
            (json!({"discoveryAddress": 15012}), "discoveryAddress: expected a text, found `15012`"),
            (
                json!({"controlPlaneAuthPolicy": "TLS"}),
                "controlPlaneAuthPolicy: expected NONE or MUTUAL_TLS, found `\"TLS\"`",
            ),
        ];
        for (config, expected) in table {
            assert_eq!(read(config).unwrap_err(), expected);
        }
    }

    #[test]
    fn other_names_and_forms_are_read() {
        let config = json!({
            "hold_application_until_proxy_starts": true, "concurrency": "2", "drainDuration": "1.5s", "statusPort": null,
            "someday": "anything", "controlPlaneAuthPolicy": 1,
        });
        let expected = json!({
            "holdApplicationUntilProxyStarts": true, "concurrency": 2, "drainDuration": "1.5s", "someday": "anything",
            "controlPlaneAuthPolicy": 1,
        });
        assert_eq!(read(config).unwrap(), expected);
    }
}
