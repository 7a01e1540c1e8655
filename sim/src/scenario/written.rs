//! A step as its author wrote it, for those who read reports.

use hermesh_istiod::yaml::Node;
use serde_json::Value;

use crate::cluster::merge_patch;

/// The value as JSON: whole numbers and booleans as such, every other scalar as its text.
pub(super) fn written(node: &Node) -> Value {
    merge_patch::json(node)
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
