//! A step as its author wrote it, for those who read reports.

use hermesh_istiod::yaml::{Meaning, Node, Value as Yaml};
use serde_json::Value;

/// The value as JSON: whole numbers and booleans as such, every other scalar as its text.
pub(super) fn written(node: &Node) -> Value {
    match &node.value {
        Yaml::Mapping(entries) => entries.iter().map(|entry| (entry.key.text.clone(), written(&entry.value))).collect(),
        Yaml::Sequence(items) => items.iter().map(written).collect(),
        Yaml::Scalar(scalar) => match scalar.meaning() {
            Meaning::Bool(value) => value.into(),
            Meaning::Int(number) => i64::try_from(number).map_or_else(|_| scalar.text.as_str().into(), Value::from),
            _ => scalar.text.as_str().into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use hermesh_istiod::yaml;
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_stay_numbers_and_the_little_languages_text() {
        let text = "{call: {from: a, count: 5, headers: {x: \"1\"}}, expect: {to: {a: 2..3, b: 1}, share: {a: 0.5%}}}";
        let documents = yaml::parse("s.yaml", text).unwrap();
        let expected = json!({
            "call": {"from": "a", "count": 5, "headers": {"x": "1"}},
            "expect": {"to": {"a": "2..3", "b": 1}, "share": {"a": "0.5%"}},
        });
        assert_eq!(written(&documents[0].root), expected);
    }
}
